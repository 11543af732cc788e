"""The decisions of the cache. Pure: the time is always an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from aigenflow.core.models import FinishReason, GatewayResponse

DEFAULT_TTL_HOURS = 24.0
DEFAULT_MAX_SIZE_BYTES = 500 * 1024 * 1024
LOW_WATER = 0.9
"""Eviction goes down to this share of the limit, so that it is rare and cheap per entry."""

_NO_TIME = timedelta(0)
CLOCK_TOLERANCE = timedelta(minutes=1)
"""Entries may be this far ahead of the clock: machines that share a store disagree a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlPolicy:
    """How long answers may be served, in hours, with exceptions by phase."""

    hours: float = DEFAULT_TTL_HOURS
    hours_by_phase: Mapping[int, float] = field(default_factory=dict)

    def of(self, phase: int) -> timedelta:
        """The time to live of an answer of ``phase``."""
        return _hours(self.hours_by_phase.get(phase, self.hours))


@lru_cache
def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


class Freshness(Enum):
    """Whether an entry may be served at a time.

    ``AHEAD`` is fresh, but dated in the future: the clock was set back, or was wrong when the
    entry was made. It is served and dated anew, so that it neither expires at once nor lives for
    ever.
    """

    FRESH = auto()
    EXPIRED = auto()
    AHEAD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """When an entry was last used (nanoseconds since 1970) and how large it is (bytes)."""

    key: str
    used_ns: int
    size_bytes: int


def storable(response: GatewayResponse) -> bool:
    """Whether an answer is worth hearing again: whole, successful, and not empty."""
    return (
        response.success
        and response.finish_reason is FinishReason.COMPLETE
        and bool(response.content.strip())
    )


def age(created: datetime, seen: datetime, now: datetime) -> timedelta:
    """How old an entry is, never negative.

    ``seen`` is the date that counts while ``created`` lies in the future: when it was first met
    by a clock that is behind it.
    """
    if created <= now:
        return now - created
    return max(_NO_TIME, now - seen)


def freshness(created: datetime, seen: datetime, ttl: timedelta, now: datetime) -> Freshness:
    """Whether an entry may be served at ``now``; an age equal to ``ttl`` is too old."""
    if age(created, seen, now) >= ttl:
        return Freshness.EXPIRED
    if created > now and min(created, seen) > now + CLOCK_TOLERANCE:
        return Freshness.AHEAD
    return Freshness.FRESH


def low_water(limit_bytes: int) -> int:
    """The size in bytes at which eviction stops."""
    return int(limit_bytes * LOW_WATER)


def in_order_of_eviction(uses: Iterable[Use]) -> list[Use]:
    """Least recently used first; the key decides between equal times."""
    return sorted(uses, key=lambda use: (use.used_ns, use.key))


def victims(uses: Iterable[Use], size_bytes: int, target_bytes: int) -> list[Use]:
    """The fewest entries in order of eviction that bring ``size_bytes`` to ``target_bytes``."""
    chosen: list[Use] = []
    for use in in_order_of_eviction(uses):
        if size_bytes <= target_bytes:
            break
        chosen.append(use)
        size_bytes -= use.size_bytes
    return chosen
