"""The page about testing names tests that exist."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "testing.md"
REFERENCE = re.compile(r"`([a-z0-9_/*]+\.py)?(?:::(test_[a-z0-9_*]+))?`")


def references(text: str) -> list[tuple[str, str]]:
    """(file, test) of every reference; one without a file means the last that was named."""
    found, file = [], ""
    for match in REFERENCE.finditer(text):
        if match[0] == "``" or not (match[1] or match[2]):
            continue
        file = match[1] or file
        found.append((file, match[2] or ""))
    return found


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_test_that_is_named_exists() -> None:
    """Whoever renames a test finds it here; ``*`` stands for any end of a name."""
    found = references(PAGE.read_text().partition("## What is promised")[2])
    assert len(found) > 50
    for file, test in found:
        files = [path for root in (TESTS, TESTS.parent) for path in root.glob(file)]
        assert files, f"no file {file}"
        names = {name for path in files for name in names_in(path)}
        assert not test or any(fnmatch(name, test) for name in names), f"no test {file}::{test}"
