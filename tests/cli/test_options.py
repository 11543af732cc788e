"""What the command line does not let in."""

from __future__ import annotations

import pytest

from tests.support.commands import Run

HALF = "a\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", HALF],
        ["ask", "hello", "--system", HALF],
        ["cache", "why", "--prompt", HALF],
        ["cache", "list", "--provider", HALF],
        ["cache", "list", "--session", HALF],
        ["cache", "clear", "--session", HALF, "--yes"],
        ["stats", "--session", HALF],
        ["budget", "show", "--session", HALF],
    ],
    ids=" ".join,
)
def test_bytes_of_another_encoding_are_refused(aigenflow: Run, arguments: list[str]) -> None:
    """They arrive as halves of characters, which no store and no provider takes."""
    done = aigenflow(*arguments)
    assert done.code == 2
    assert "not valid Unicode" in done.err


@pytest.mark.parametrize("age", ["999999d", "99999999999999999w", "7", "-7d", "7 years", ""])
def test_an_impossible_age_is_refused(aigenflow: Run, age: str) -> None:
    """Also one that reaches back before the calendar begins, which no clock can count."""
    done = aigenflow("cache", "clear", f"--older-than={age}", "--yes")
    assert done.code == 2
    assert "is not an age like" in done.err


@pytest.mark.parametrize("age", ["30m", "12h", "7d", "2w", "99999w"])
def test_an_age_is_taken(aigenflow: Run, age: str) -> None:
    """From minutes to centuries."""
    assert aigenflow("cache", "clear", "--older-than", age, "--yes").code == 0


def test_why_asks_as_ask_does(aigenflow: Run) -> None:
    """A limit that `ask` would refuse makes no question to compare with."""
    assert aigenflow("cache", "why", "--prompt", "x", "--max-output-tokens", "-5").code == 2
