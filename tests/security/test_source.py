"""What the source must not contain, read from its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
EXECUTING = frozenset(
    {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "dbm"}
    | {"code", "codeop", "pty", "jsonpickle", "diskcache", "yaml", "xmlrpc", "telnetlib"}
)
"""Modules that run, or can be made to run, what they read."""
PROCESSES = frozenset({"export/pandoc.py", "testing/process.py"})
"""The only modules that start another program, from a list of arguments of our own."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield path.relative_to(ROOT / "src" / "aigenflow").as_posix(), ast.parse(path.read_text())


def violations(name: str, tree: ast.AST) -> list[str]:
    """``file:line what`` of everything forbidden."""
    found = [(node.lineno, what) for node, what in _forbidden(name, tree)]
    return [f"{name}:{line} {what}" for line, what in found]


def _forbidden(name: str, tree: ast.AST) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node, module) for module in _imported(node) if _is_forbidden(module, name))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"eval", "exec", "compile", "__import__", "breakpoint", "os.system"}:
                yield node, called
            if called.startswith(("os.exec", "os.spawn", "os.popen", "os.fork", "os.posix_spawn")):
                yield node, called
            if any(keyword.arg == "shell" for keyword in node.keywords):
                yield node, "shell="
            if called.endswith("YAML") and _typ(node) not in {"base", "safe", "rt"}:
                yield node, "YAML without a safe type"
            if any(k.arg == "follow_redirects" and _is_true(k.value) for k in node.keywords):
                yield node, "follow_redirects"


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def _is_forbidden(module: str, name: str) -> bool:
    top = module.partition(".")[0]
    return top in EXECUTING or (top == "subprocess" and name not in PROCESSES)


def _typ(call: ast.Call) -> object:
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    return ast.literal_eval(values["typ"]) if "typ" in values else "rt"


def _is_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


def test_nothing_that_is_read_can_run() -> None:
    """No pickle or its kin, no eval, no shell, no unsafe YAML, no redirect that is followed."""
    assert [line for name, tree in trees() for line in violations(name, tree)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import shelve as s",
        "def f():\n    import marshal",
        "import yaml",
        "import subprocess",
        "eval(x)",
        "exec(x)",
        "__import__(x)",
        "os.system(x)",
        "os.execv(x, y)",
        "run(x, shell=True)",
        "YAML(typ='unsafe')",
        "ruamel.yaml.YAML(typ='full')",
        "Client(follow_redirects=True)",
    ],
)
def test_the_scan_finds_it(text: str) -> None:
    """Otherwise a clean scan would say nothing."""
    assert violations("core/x.py", ast.parse(text))
