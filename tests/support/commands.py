"""What the tests of commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

NOON = datetime(2026, 11, 19, 12, tzinfo=UTC)
"""A Thursday."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Outcome]


def squeezed(text: str) -> str:
    """What was drawn, without frames and the spaces that align it."""
    return " ".join(text.replace("│", " ").split())
