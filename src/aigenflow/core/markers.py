"""Source markers ``[n]`` in a text. Pure.

``[1](https://…)`` is a link and not a marker; footnotes ``[^1]`` are not markers either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MARKER = re.compile(r"\[(\d{1,4})\](?!\()")
_SHARED_MARKER = re.compile(r"\[S(\d{1,4})\](?!\()")


def renumber(text: str, numbers: Mapping[int, int]) -> str:
    """Replace each marker ``[n]`` by ``[numbers[n]]``; those without a number go."""

    def new(match: re.Match[str]) -> str:
        number = numbers.get(int(match[1]))
        return "" if number is None else f"[{number}]"

    return _MARKER.sub(new, text)


def used_numbers(text: str) -> tuple[int, ...]:
    """The numbers of the markers in ``text``, each once, in ascending order."""
    return tuple(sorted({int(match[1]) for match in _MARKER.finditer(text)}))


def as_shared(text: str) -> str:
    """Write ``[n]`` as ``[Sn]``, for a reader that numbers sources of its own from ``[1]``."""
    return _MARKER.sub(r"[S\1]", text)


def from_shared(text: str) -> str:
    """Write ``[Sn]`` as ``[n]`` again."""
    return _SHARED_MARKER.sub(r"[\1]", text)
