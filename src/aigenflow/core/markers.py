"""Source markers in a text. Pure.

``[n]`` counts the sources of the answer it stands in, ``[#n]`` those of the whole document.
``[1](https://…)`` is a link, ``[^1]`` a footnote and ``[2024]`` a year: none is a marker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MARKER = re.compile(r"\[(\d{1,3})\](?!\()")
_SPACED_MARKER = re.compile(rf"([ \t]?){_MARKER.pattern}")
_SHARED_MARKER = re.compile(r"\[#(\d{1,3})\](?!\()")


def renumber(text: str, numbers: Mapping[int, int]) -> str:
    """Replace each marker ``[n]`` by ``[numbers[n]]``; those without a number go.

    The space before one that goes, goes as well: ``so [9].`` becomes ``so.``
    """

    def new(match: re.Match[str]) -> str:
        number = numbers.get(int(match[2]))
        return "" if number is None else f"{match[1]}[{number}]"

    return _SPACED_MARKER.sub(new, text)


def used_numbers(text: str) -> tuple[int, ...]:
    """The numbers of the markers in ``text``, each once, in ascending order."""
    return tuple(sorted({int(match[1]) for match in _MARKER.finditer(text)}))


def as_shared(text: str) -> str:
    """Write ``[n]`` as ``[#n]``, for a reader that may number sources of its own from ``[1]``."""
    return _MARKER.sub(r"[#\1]", text)


def from_shared(text: str) -> str:
    """Write ``[#n]`` as ``[n]`` again."""
    return _SHARED_MARKER.sub(r"[\1]", text)
