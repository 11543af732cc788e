"""What is shown on a terminal of few columns."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from tests.support.program import Program


def shown(program: Program, columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns is sent."""
    mine, theirs = pty.openpty()
    environ = {**program.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "aigenflow", *arguments]
    sent = b""
    with (
        os.fdopen(mine, "rb", buffering=0) as terminal,
        subprocess.Popen(command, cwd=program.folder, env=environ, stdout=theirs),
    ):
        os.close(theirs)
        with contextlib.suppress(OSError):  # how Linux says that the other side has closed
            while piece := terminal.read(4096):
                sent += piece
    return [line.rstrip() for line in sent.decode().splitlines()]


@pytest.mark.parametrize("columns", [40, 60])
def test_a_session_can_be_copied_from_the_list(offline: Program, columns: int) -> None:
    """Its id and state stand there whole, because `resume` wants them so."""
    offline("run", "--topic", "Subscription meal kits for people with diabetes", "--quiet")
    session = offline.session().name
    lines = shown(offline, columns, "status")
    assert any(line.split()[:2] == [session, "completed"] for line in lines)
    assert not any("…" in line or len(line) > columns for line in lines)


def test_no_figure_of_a_plan_is_cut(program: Program) -> None:
    """On 80 columns the table goes on below, with phase and task before every part."""
    topic = ("--topic", "Subscription meal kits for people with diabetes")
    wide = program("plan", *topic).stdout.split()
    narrow = shown(program, 80, "plan", *topic)
    table = narrow[: next(at for at, line in enumerate(narrow) if line.startswith("13 answers"))]
    assert not any("…" in line or len(line) > 80 for line in table)
    assert sum(line.startswith("Phase  Task") for line in table) > 1
    prices = {word for word in wide if word.startswith("$")}
    assert prices <= set(" ".join(narrow).split())
