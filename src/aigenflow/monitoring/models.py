"""The nouns of money: rates, costs, estimates, budgets, reservations, totals.

Money is in US dollars as ``Decimal``; ``None`` means unknown, which is never the same as zero. The
ledger alone keeps it as whole nano-dollars (see :func:`to_nano`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from types import MappingProxyType

from aigenflow.core.models import ServedFrom

_NANO = Decimal(1_000_000_000)
_ONE = Decimal(1)
ZERO = Decimal(0)


def to_nano(dollars: Decimal) -> int:
    """Whole nano-dollars, the ledger's unit; half a nano-dollar goes to the even neighbour."""
    return int((dollars * _NANO).quantize(_ONE, rounding=ROUND_HALF_EVEN))


def from_nano(nano_dollars: int) -> Decimal:
    """Dollars, exactly."""
    return Decimal(nano_dollars).scaleb(-9)


# Prices


class RateSource(StrEnum):
    """Where a price comes from, the first that knows it wins."""

    RULE = "rule"
    USER = "user"
    SHIPPED = "shipped"
    EXACT = "exact"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRates:
    """What one token costs, in dollars per token, and one search or request, in dollars.

    ``cached_input`` is read from the provider's prompt cache, ``cache_write`` written to it for
    five minutes, ``cache_write_1h`` for an hour.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    reasoning: Decimal
    search: Decimal = ZERO
    request: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The rates of every token of a call whose input is larger than ``above_input_tokens``."""

    above_input_tokens: int
    rates: TokenRates


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices of one model, served one way, on one day.

    ``tiers`` ascend. ``estimate`` marks prices that stand in for ones not known: an agent's
    fallback rate, or the full price where the rate of flex, batch or priority is not known.
    """

    model: str
    mode: ServedFrom
    source: RateSource
    base: TokenRates
    tiers: tuple[Tier, ...] = ()
    estimate: bool = False

    def at(self, input_tokens: int) -> TokenRates:
        """The rates of a call with that much input: crossing a threshold reprices every token."""
        chosen = self.base
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                chosen = tier.rates
        return chosen


# Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class CostParts:
    """A cost by what it was for, in dollars. The parts do not overlap."""

    input: Decimal = ZERO
    cached_input: Decimal = ZERO
    cache_write: Decimal = ZERO
    output: Decimal = ZERO
    reasoning: Decimal = ZERO
    fees: Decimal = ZERO

    def __add__(self, other: CostParts) -> CostParts:
        names = [each.name for each in fields(self)]
        return CostParts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def total(self) -> Decimal:
        """All parts together."""
        return (
            self.input
            + self.cached_input
            + self.cache_write
            + self.output
            + self.reasoning
            + self.fees
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call cost, in dollars.

    ``total`` is the sum of ``parts`` unless the provider itself reported the charge (``reported``).
    """

    total: Decimal
    parts: CostParts
    reported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one answer cost and what was saved, in dollars.

    ``billed`` is ``None`` where the price is not known. ``billed`` + ``discount_saving`` +
    ``prompt_cache_saving`` is the same work at live full price; writing to a prompt cache that is
    never read makes ``prompt_cache_saving`` negative.
    """

    billed: Decimal | None
    discount_saving: Decimal = ZERO
    prompt_cache_saving: Decimal = ZERO
    is_estimate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call is expected to use, before it is made.

    ``expected`` and ``worst`` are dollars, ``None`` where the price is not known. ``bytes_sent``
    counts the UTF-8 bytes of the whole prompt.
    """

    bytes_sent: int
    input_tokens: int
    output_tokens: int
    expected: Decimal | None
    worst: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the ledger knows about a model's tokens: bytes sent against input tokens billed."""

    calls: int
    bytes_sent: int
    input_tokens: int


# The ledger


class Waste(StrEnum):
    """Why money bought nothing that was used.

    ``RETRY``: the answer could not be used and was asked for again. ``DISCARDED``: it was not used
    in the end. ``FAILED_PHASE``: nobody could do its task, so its phase failed. ``LOST``: it never
    arrived.
    """

    RETRY = "retry"
    DISCARDED = "discarded"
    FAILED_PHASE = "failed_phase"
    LOST = "lost"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDetails:
    """What the ledger keeps of a call beside its ``TokenUsage``.

    ``price_is_estimate`` is taken from the ``Bill``; ``estimate`` is what was expected.
    """

    waste: Waste | None = None
    price_is_estimate: bool = False
    prompt_cache_saving: Decimal = ZERO
    estimate: Estimate | None = None


class Dimension(StrEnum):
    """What totals can be kept apart by."""

    PROVIDER = "provider"
    MODEL = "model"
    PHASE = "phase"
    TASK = "task"
    SESSION = "session"
    DAY = "day"
    SERVED_FROM = "served_from"
    WASTE = "waste"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Exact sums over calls. Money in dollars.

    Tokens are those that were billed; ``replayed_tokens`` are those of answers that came from the
    response cache. ``billed`` leaves out ``unpriced_calls``, whose price is not known.
    """

    key: str = ""
    calls: int = 0
    cache_hits: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    replayed_tokens: int = 0
    billed: Decimal = ZERO
    response_cache_saving: Decimal = ZERO
    batch_saving: Decimal = ZERO
    flex_saving: Decimal = ZERO
    prompt_cache_saving: Decimal = ZERO
    wasted: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateReview:
    """Estimate against actual, over the calls that had an estimate. Money in dollars."""

    calls: int
    estimated_input_tokens: int
    input_tokens: int
    expected: Decimal
    worst: Decimal
    billed: Decimal


# Budgets


class OnExceed(StrEnum):
    """What happens to a call that a budget has no room for."""

    STOP = "stop"
    WARN = "warn"


class BudgetKind(StrEnum):
    """What a budget runs over."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    SESSION = "session"
    PHASE = "phase"


_NO_PHASES: Mapping[int, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """The limits a user set, in dollars; ``None`` is no limit.

    ``phase_usd`` limits a phase of one session. ``thresholds`` are per cent of a budget spent.
    ``zone`` decides when a day begins. ``ring_fence`` is the share (0 to 1) of every budget that
    phases 1 to 3 leave for writing and review.
    """

    daily_usd: Decimal | None = None
    weekly_usd: Decimal | None = None
    monthly_usd: Decimal | None = None
    session_usd: Decimal | None = None
    phase_usd: Mapping[int, Decimal] = field(default_factory=lambda: _NO_PHASES)
    thresholds: tuple[int, ...] = (50, 75, 90, 100)
    on_exceed: OnExceed = OnExceed.STOP
    zone: tzinfo = UTC
    ring_fence: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one budget counts at one time.

    ``name`` tells it from the others of its kind: ``2026-11-22``, ``2026-W47``, ``2026-11``, a
    session, or ``session/phase 3``. Days are both included; a session has none.
    """

    kind: BudgetKind
    name: str
    cap: Decimal
    first_day: date | None = None
    last_day: date | None = None
    session: str = ""
    phase: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A budget and how far it is used, in dollars. ``reserved`` may still be spent."""

    window: Window
    spent: Decimal
    reserved: Decimal = ZERO

    @property
    def used_percent(self) -> Decimal:
        """Per cent of the cap spent; 100 where the cap is zero."""
        return self.spent * 100 / self.window.cap if self.window.cap else Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A budget has passed a threshold, in per cent: told once per window."""

    threshold: int
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A budget has no room for a call that may cost ``asked`` dollars.

    ``limit`` is what the call may use of the cap; less than the cap where ``ring_fenced``.
    """

    account: Account
    asked: Decimal
    limit: Decimal
    ring_fenced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What money is set aside for. ``provider`` is what the call's ``TokenUsage`` will say.

    ``job`` names a batch job that answers for the call after this process has ended.
    """

    provider: str
    model: str = ""
    phase: int = 0
    task: str = ""
    session: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Money set aside for one call. ``id`` is also the id of the call's row in the ledger.

    ``amount`` is the worst case in dollars. ``shortfalls`` are budgets that had no room although
    the call may go on (``on_exceed: warn``).
    """

    id: str
    amount: Decimal
    shortfalls: tuple[Shortfall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that made a reservation. ``started`` tells it from a later one of the same id."""

    host: str
    pid: int
    started: str


class ReservationState(StrEnum):
    """Who answers for an open reservation."""

    ACTIVE = "active"
    JOB = "job"
    ELSEWHERE = "elsewhere"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReservation:
    """A reservation neither settled nor released. ``amount`` is ``None`` where it had no price."""

    id: str
    amount: Decimal | None
    when: datetime
    purpose: Purpose
    owner: Owner
    state: ReservationState
