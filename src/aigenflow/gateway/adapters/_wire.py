"""Reading JSON that may not be what its format promises.

Each function gives the value if it has the expected type, else the empty value of that type, so
that a parser reads straight down and decides once what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aigenflow.core.models import Json

LARGEST_COUNT = 10**9
"""More tokens than any answer has: a larger count is a fault, and no ledger could hold it."""


def as_dict(value: Json) -> dict[str, Json]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_dicts(value: Json) -> list[dict[str, Json]]:
    """The objects in the array ``value``; what is not an object is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Json) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_count(value: Json) -> int:
    """``value`` as a number of things, 0 where it is none: see :func:`is_count`."""
    return int(value) if is_count(value) else 0


def is_count(value: Json) -> bool:
    """Whether ``value`` can be a count at all, so that a missing one is told from a zero."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= LARGEST_COUNT
    )


def is_storable(value: Json) -> bool:
    """Whether ``value`` can be written out again: no NaN, no half surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def joined(pieces: Iterable[str]) -> str:
    """One text of its pieces, also where a cut went through a surrogate pair."""
    text = "".join(pieces)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
