"""``docs/guide/commands.md`` is what the program itself prints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aigenflow.cli.root import build_cli
from tests.docs.pages import DOCS
from tests.support.program import Program, clean_environment

PAGE = DOCS / "guide" / "commands.md"
INTRODUCTION = """\
# Commands

What `--help` prints, for every command there is. This page is generated:
`AIGENFLOW_TEST_UPDATE=1 .venv/bin/pytest tests/docs/test_commands.py` writes it anew.
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    environ = clean_environment(tmp_path / "home")
    return Program(tmp_path, {**environ, "COLUMNS": "80", "NO_COLOR": "1"})


def command_paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command below ``command``, each by the words to type."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from command_paths(child, (*path, name))


def render_page(program: Program) -> str:
    """The page as it should be."""
    parts = [INTRODUCTION]
    for path in command_paths(build_cli()):
        shown = program(*path, "--help")
        assert shown.returncode == 0, shown.stderr
        title = " ".join(("aigenflow", *path))
        parts.append(f"{'#' * (2 + (len(path) > 1))} {title}\n\n```text\n{shown.stdout}```\n")
    return "\n".join(parts)


def test_the_page_of_commands_is_what_the_program_prints(program: Program) -> None:
    """Every command and subcommand stands there with its help text of today."""
    page = render_page(program)
    if os.environ.get("AIGENFLOW_TEST_UPDATE"):
        PAGE.write_text(page, encoding="utf-8")
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    assert written == page, "run: AIGENFLOW_TEST_UPDATE=1 .venv/bin/pytest tests/docs"
