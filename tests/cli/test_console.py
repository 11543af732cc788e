from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.cli.console import TerminatedError, harmless, json_text, run_async
from tests.support.commands import Run


@given(st.text())
def test_json_carries_no_control_character(text: str) -> None:
    """Whatever stands in a value: the same value comes back, and no terminal obeys it."""
    printed = json_text({"text": text})
    assert json.loads(printed) == {"text": text}
    assert not any((ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 for c in printed)


def test_errors_for_scripts_carry_none_either(aigenflow: Run) -> None:
    """A session name is repeated in the message."""
    done = aigenflow("resume", "a\x9b2Jb", "--json")
    assert "\x9b" not in done.out
    assert "a" in json.loads(done.out)["message"]


@given(st.text())
def test_no_text_begins_a_formula(text: str) -> None:
    """Whatever a model or a session is called, also behind control characters."""
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\x1b[1m="])
def test_no_cell_is_a_formula(start: str) -> None:
    """Whatever a spreadsheet could compute is text, and drives no terminal."""
    cell = harmless(f"{start}cmd|' /C calc'!A0")
    assert cell.startswith("'")
    assert "\x1b" not in cell


@pytest.mark.parametrize("cell", ["", "It grew 15%.", "15%", "매출", "'quoted'"])
def test_words_are_left_as_they_are(cell: str) -> None:
    """A cell that begins with a word or a digit is no formula."""
    assert harmless(cell) == cell


async def _rises(number: signal.Signals) -> str:
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.05)
    return "done"


def test_an_ignored_signal_stays_ignored() -> None:
    """`nohup aigenflow run` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_async(_rises(signal.SIGHUP)) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_the_work(number: signal.Signals) -> None:
    """Cleanly, through its own ``finally`` clauses."""
    with pytest.raises(TerminatedError):
        run_async(_rises(number))
