"""The prices in force for people to read, and where they differ from the published ones.

Pure but for the price tables, which the :class:`~aigenflow.monitoring.price_book.PriceBook` reads.
Money in dollars: per million tokens, per thousand searches, per request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

from aigenflow.core.config import AgentSettings, AgentsSettings
from aigenflow.core.models import AgentType, Backend, ServedFrom
from aigenflow.monitoring.models import Rates, RateSource, TokenRates
from aigenflow.monitoring.price_book import ModelRow, PriceBook, PriceTable
from aigenflow.monitoring.published import Listing

STALE_AFTER_DAYS = 45
"""Vendors change some price about once a month."""

_SCALES: Mapping[str, Decimal] = {
    "input": Decimal(1_000_000),
    "cached_input": Decimal(1_000_000),
    "cache_write": Decimal(1_000_000),
    "cache_write_1h": Decimal(1_000_000),
    "output": Decimal(1_000_000),
    "reasoning": Decimal(1_000_000),
    "search": Decimal(1_000),
    "request": Decimal(1),
}
_MAIN = ("input", "output")
_NOWHERE = Listing(source="", last_change=None, next_change=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The prices of every token of a call whose input is larger than ``above_input_tokens``.

    ``prices`` are by kind, in the units of this module.
    """

    above_input_tokens: int
    prices: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One way a model is served, and what it costs: the first step, then the cliffs."""

    mode: ServedFrom
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What will count from a day on."""

    day: date
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an agent's calls cost as it is configured. No ``offers`` means: nobody knows.

    ``origin`` is the page the price was taken from. Flex and batch are only offered where their
    price is known.
    """

    agent: AgentType
    backend: Backend
    model: str
    source: RateSource | None = None
    estimate: bool = False
    origin: str = ""
    last_change: date | None = None
    offers: tuple[Offer, ...] = ()
    change: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A price of a table that is not the published one. ``in_force`` says that calls are billed so.

    ``row`` is the table's row, ``model`` what it was compared with.
    """

    source: RateSource
    row: str
    model: str
    kind: str
    above_input_tokens: int
    ours: Decimal
    published: Decimal

    @property
    def in_force(self) -> bool:
        """A fallback price counts only for models that nobody else knows."""
        return self.source is not RateSource.FALLBACK


# What is in force


def quotes(book: PriceBook, agents: AgentsSettings, at: datetime) -> tuple[Quote, ...]:
    """The prices of the four agents' models."""
    return tuple(_quote(book, agents, agent, at) for agent in AgentType)


def _quote(book: PriceBook, agents: AgentsSettings, agent: AgentType, at: datetime) -> Quote:
    reached = agents.of(agent)
    live = _rates(book, agent, reached, at)
    if live is None:
        return Quote(agent=agent, backend=reached.backend, model=reached.model)
    origin = _origin(book, live, agent, reached, at)
    offers = _offers(book, agent, reached, at)
    return Quote(
        agent=agent,
        backend=reached.backend,
        model=reached.model,
        source=live.source,
        estimate=live.estimate,
        origin=origin.source,
        last_change=origin.last_change,
        offers=offers,
        change=_change(book, agent, reached, origin.next_change, offers),
    )


def _change(
    book: PriceBook,
    agent: AgentType,
    reached: AgentSettings,
    day: date | None,
    offers: tuple[Offer, ...],
) -> Change | None:
    if day is None:
        return None
    later = _offers(book, agent, reached, datetime.combine(day, time(), UTC))
    return Change(day=day, offers=later) if later != offers else None


def _rates(
    book: PriceBook,
    agent: AgentType,
    reached: AgentSettings,
    at: datetime,
    mode: ServedFrom = ServedFrom.LIVE,
) -> Rates | None:
    return book.rates_for(
        agent, reached.backend, reached.model, at, mode, base_url=reached.base_url
    )


def _offers(
    book: PriceBook, agent: AgentType, reached: AgentSettings, at: datetime
) -> tuple[Offer, ...]:
    found = [
        _rates(book, agent, reached, at, mode)
        for mode in (ServedFrom.LIVE, ServedFrom.FLEX, ServedFrom.BATCH)
    ]
    return tuple(
        Offer(mode=rates.mode, steps=_steps(rates))
        for rates in found
        if rates is not None and (rates.mode is ServedFrom.LIVE or not _is_guess(rates))
    )


def _is_guess(rates: Rates) -> bool:
    return rates.estimate or rates.source is RateSource.RULE


def _steps(rates: Rates) -> tuple[Step, ...]:
    first = Step(above_input_tokens=0, prices=_prices(rates.base))
    return first, *(
        Step(above_input_tokens=tier.above_input_tokens, prices=_prices(tier.rates))
        for tier in rates.tiers
    )


def _prices(rates: TokenRates) -> Mapping[str, Decimal]:
    per_unit: Mapping[str, Decimal] = {kind: getattr(rates, kind) for kind in _SCALES}
    return {kind: amount * _SCALES[kind] for kind, amount in per_unit.items()}


def _origin(
    book: PriceBook, rates: Rates, agent: AgentType, reached: AgentSettings, at: datetime
) -> Listing:
    if rates.source is RateSource.RULE:
        return _NOWHERE
    if rates.source is RateSource.EXACT:
        return (
            book.published.listing(reached.backend, reached.model, at, reached.base_url) or _NOWHERE
        )
    table = book.user if rates.source is RateSource.USER else book.shipped
    if row := table.model(reached.model, at.date()):
        return Listing(
            source=row.source,
            last_change=_since(row),
            next_change=_next_row(table, row, at.date()),
        )
    agent_row = table.provider(agent)
    return replace(_NOWHERE, source=agent_row.source) if agent_row else _NOWHERE


def _since(row: ModelRow) -> date | None:
    return None if row.since == date.min else row.since


def _next_row(table: PriceTable, row: ModelRow, today: date) -> date | None:
    later = (one.since for one in table.models if one.name == row.name and one.since > today)
    return min(later, default=None)


# What differs


def differences(
    book: PriceBook, agents: AgentsSettings, at: datetime
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Where the user's and the shipped table differ from the published prices.

    Also the models that a table has a row for and that are not published, so that nothing can be
    compared. Fallback prices are compared with the models that the agents are configured with.
    """
    found: list[Difference] = []
    unlisted: list[str] = []
    for source, table in ((RateSource.USER, book.user), (RateSource.SHIPPED, book.shipped)):
        for row in _rows_in_force(table, at.date()):
            published = _published(book, agents, row.name, at)
            if published is None:
                unlisted.append(row.name)
                continue
            ours = _alone(PriceTable(models=(row,)), AgentType.CLAUDE, row.name, at)
            found += _compare(source, row.name, ours, published, tuple(_SCALES))
        found += _compare_agents(book, agents, source, table, at)
    return tuple(found), tuple(unlisted)


def _rows_in_force(table: PriceTable, today: date) -> Iterator[ModelRow]:
    for name in dict.fromkeys(row.name for row in table.models):
        if row := table.model(name, today):
            yield row


def _compare_agents(
    book: PriceBook,
    agents: AgentsSettings,
    source: RateSource,
    table: PriceTable,
    at: datetime,
) -> Iterator[Difference]:
    """Agents' rows against the models that the agents are configured with.

    Shipped ones are fallbacks for models of any size, so only their base prices are compared.
    """
    for row in table.providers:
        reached = agents.of(row.name)
        published = book.published.rates(
            reached.backend, reached.model, at, base_url=reached.base_url
        )
        if published is None:
            continue
        ours = _alone(PriceTable(providers=(row,)), row.name, reached.model, at)
        if source is RateSource.USER:
            yield from _compare(source, row.name.value, ours, published, _MAIN)
        else:
            flat = replace(published, tiers=())
            yield from _compare(RateSource.FALLBACK, row.name.value, ours, flat, _MAIN)


def _alone(table: PriceTable, agent: AgentType, model: str, at: datetime) -> Rates:
    """What a table says of a model where nobody else is asked."""
    return PriceBook(PriceTable(), table).require(agent, Backend.ANTHROPIC, model, at)


def _published(book: PriceBook, agents: AgentsSettings, model: str, at: datetime) -> Rates | None:
    """The published price of a model, first on the back-end of an agent that uses it."""
    configured = [agents.of(agent) for agent in AgentType]
    backends = [one.backend for one in configured if one.model == model] + list(Backend)
    tried = (book.published.rates(backend, model, at) for backend in backends)
    return next((rates for rates in tried if rates is not None), None)


def _compare(
    source: RateSource, row: str, ours: Rates, published: Rates, kinds: Sequence[str]
) -> Iterator[Difference]:
    for start in (0, *(tier.above_input_tokens for tier in published.tiers)):
        own, theirs = _prices(ours.at(start + 1)), _prices(published.at(start + 1))
        for kind in kinds:
            if own[kind] != theirs[kind]:
                yield Difference(
                    source=source,
                    row=row,
                    model=published.model,
                    kind=kind,
                    above_input_tokens=start,
                    ours=own[kind],
                    published=theirs[kind],
                )
