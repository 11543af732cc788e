from __future__ import annotations

import pytest

from aigenflow.cli.claims import _harmless


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\x1b[1m="])
def test_no_cell_is_a_formula(start: str) -> None:
    """Whatever a spreadsheet could compute is text, and drives no terminal."""
    cell = _harmless(f"{start}cmd|' /C calc'!A0")
    assert cell.startswith("'")
    assert "\x1b" not in cell


@pytest.mark.parametrize("cell", ["", "It grew 15%.", "15%", "매출", "'quoted'"])
def test_words_are_left_as_they_are(cell: str) -> None:
    """A cell that begins with a word or a digit is no formula."""
    assert _harmless(cell) == cell
