from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.agents.metering import (
    MAX_SEARCHES,
    MAX_TURNS,
    TOKENS_PER_SEARCH,
    Meter,
    counted,
    dearest_mode,
    foresee,
    may_search,
    output_limit,
)
from aigenflow.agents.router import Router
from aigenflow.agents.routes import cast_roles
from aigenflow.core.config import AgentsSettings
from aigenflow.core.errors import (
    BudgetExceededError,
    ConfigError,
    ConnectionFailedError,
    GatewayError,
    JournalWriteError,
    ModelNotFoundError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
)
from aigenflow.core.events import Event, Warned
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    FinishReason,
    GatewayResponse,
    Route,
    ServedFrom,
    TokenUsage,
)
from aigenflow.gateway.adapters import anthropic as anthropic_adapter
from aigenflow.gateway.base import Gateway, OnText, ignore_text
from aigenflow.gateway.limits import count_bytes
from aigenflow.gateway.retry import ResilientGateway
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.models import BudgetLimits, OnExceed, OpenReservation, Rates
from aigenflow.monitoring.price_book import ModelRow, PriceBook, PriceTable
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing.clock import ManualClock
from aigenflow.testing.scripted import Script, ScriptedGateway, default_answer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CAST = cast_roles(AgentsSettings(), lambda _: True)
CLAUDE = CAST.routes[AgentType.CLAUDE]
PRICES = PriceTable(
    models=tuple(
        ModelRow(
            name=route.model,
            input_per_million=Decimal(2),
            output_per_million=Decimal(10),
            cached_input_per_million=Decimal("0.1"),
            cache_write_per_million=Decimal("2.5"),
            search_per_thousand=Decimal(10),
            flex_multiplier=Decimal("0.5"),
        )
        for route in CAST.routes.values()
    )
)
REQUEST = AgentRequest(
    agent=AgentType.CLAUDE,
    phase=4,
    task="narrative",
    prompt="Write about the market. " * 20,
    session="s1",
    max_output_tokens=1000,
)
UNPRICED = replace(
    CLAUDE, backend=Backend.COMPATIBLE, base_url="https://models.example/v1", model="nobody-knows"
)


def answer(**fields: Any) -> GatewayResponse:
    """100 tokens in, 200 out: $0.0022 at the prices of these tests."""
    counts = {"input_tokens": 100, "output_tokens": 200, "tokens_used": 300}
    return GatewayResponse(**{"content": "A whole answer.", **counts, **fields})


def cut(text: str = "The first half ") -> GatewayResponse:
    return answer(content=text, finish_reason=FinishReason.LENGTH, success=False)


def empty() -> GatewayResponse:
    return answer(content="", finish_reason=FinishReason.EMPTY, success=False)


def rates(route: Route) -> Rates:
    found = PriceBook(PriceTable(), PRICES).rates_for(route.actor, route.backend, route.model, NOW)
    assert found is not None
    return found


def worst(request: AgentRequest, route: Route = CLAUDE) -> Decimal:
    amount = foresee(request, route, rates(route)).worst
    assert amount is not None
    return amount


@dataclass
class Books:
    """A meter on a ledger in a file, and what it told."""

    tracker: TokenTracker
    meter: Meter
    path: Path
    events: list[Event] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    def rows(self) -> list[dict[str, Any]]:
        """The ledger's rows in the order of their writing, read without the product."""
        with sqlite3.connect(self.path) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM usage ORDER BY rowid").fetchall()
        connection.close()
        return [dict(row) for row in found]

    def row(self) -> dict[str, Any]:
        [row] = self.rows()
        return row

    def held(self) -> list[OpenReservation]:
        return self.tracker.open_reservations()


OpenBooks = Callable[..., Books]


@pytest.fixture
def open_books(tmp_path: Path) -> Iterator[OpenBooks]:
    """Opens books; each in a file of its own."""
    opened: list[TokenTracker] = []

    def open_them(*, allow_unpriced: bool = False, **limits: Any) -> Books:
        path = tmp_path / f"ledger{len(opened)}.db"
        clock = ManualClock(NOW, auto_advance=True)
        tracker = TokenTracker.open(f"sqlite:///{path}", BudgetLimits(**limits), clock)
        opened.append(tracker)
        events: list[Event] = []
        meter = Meter(
            AsyncTracker(tracker),
            PriceBook(PriceTable(), PRICES),
            clock,
            on_event=events.append,
            allow_unpriced=allow_unpriced,
        )
        return Books(tracker=tracker, meter=meter, path=path, events=events)

    yield open_them
    for tracker in opened:
        tracker.close()


@pytest.fixture
def books(open_books: OpenBooks) -> Books:
    return open_books()


class Provider(ScriptedGateway):
    """A scripted gateway that looks, at each call, at what is reserved for it."""

    def __init__(self, books: Books, script: Script) -> None:
        super().__init__(script)
        self._books = books
        self.reserved: list[Decimal] = []

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        self.reserved.append(
            sum((one.amount or Decimal(0) for one in self._books.held()), Decimal(0))
        )
        return await super().send(request, route, on_text)


class Hanging(ScriptedGateway):
    """A gateway whose calls begin and never end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError


async def ask(
    books: Books, *script: GatewayResponse | Exception, request: AgentRequest = REQUEST
) -> GatewayResponse:
    """One attempt through the meter."""
    return await books.meter.wrap(Provider(books, script)).send(request, CLAUDE)


# One attempt


async def test_money_is_set_aside_before_the_call_and_set_free_after(books: Books) -> None:
    """While the provider works, the worst case is reserved; afterwards nothing is."""
    provider = Provider(books, [answer()])
    await books.meter.wrap(provider).send(REQUEST, CLAUDE)
    assert provider.reserved == [worst(REQUEST)]
    assert books.held() == []


async def test_a_call_that_the_budget_has_no_room_for_is_not_made(open_books: OpenBooks) -> None:
    """One nano-dollar short of the worst case, the provider is never asked."""
    short = worst(REQUEST) - Decimal("1e-9")
    books = open_books(daily_usd=short)
    provider = Provider(books, [answer()])
    with pytest.raises(BudgetExceededError):
        await books.meter.wrap(provider).send(REQUEST, CLAUDE)
    assert provider.calls == []
    assert books.rows() == []
    exact = open_books(daily_usd=worst(REQUEST))
    await ask(exact, answer())
    assert len(exact.rows()) == 1


async def test_an_answer_is_written_down_with_what_it_used_and_cost(books: Books) -> None:
    """Counts, place and price of the call are one row, and the answer carries its cost."""
    parts = {"cached_input_tokens": 40, "cache_write_tokens": 20, "reasoning_tokens": 50}
    response = await ask(books, answer(**parts, search_calls=1))
    cost = Decimal("0.000134") + Decimal("0.002") + Decimal("0.01")
    assert response.estimated_cost == cost
    row = books.row()
    assert row["billed_nano"] == cost * 10**9
    assert {name: row[name] for name in parts} == parts
    assert (row["input_tokens"], row["output_tokens"]) == (100, 200)
    place = ("provider", "model", "phase", "task", "session", "served_from", "waste")
    assert [row[name] for name in place] == [
        *("claude", CLAUDE.model, 4, "narrative", "s1", "live", "")
    ]
    assert (row["calls"], row["estimated_calls"], row["unpriced_calls"]) == (1, 0, 0)


async def test_the_row_keeps_what_was_foreseen(books: Books) -> None:
    """Estimate and actual stand side by side, so that the estimate can be calibrated."""
    await ask(books, answer())
    row, foreseen = books.row(), foresee(REQUEST, CLAUDE, rates(CLAUDE))
    assert row["estimated_input_tokens"] == foreseen.input_tokens
    assert row["worst_nano"] == worst(REQUEST) * 10**9
    assert row["measured_bytes"] == count_bytes(REQUEST)


async def test_the_providers_own_charge_wins(books: Books) -> None:
    """A cost that the provider reports is what is billed."""
    response = await ask(books, answer(reported_cost=Decimal("0.0125")))
    assert response.estimated_cost == Decimal("0.0125")
    assert books.row()["billed_nano"] == 12_500_000


async def test_a_discount_is_billed_and_what_it_saved_is_kept(books: Books) -> None:
    """A flex answer costs half, and the other half is what was avoided."""
    await ask(books, answer(served_from=ServedFrom.FLEX))
    row = books.row()
    assert (row["billed_nano"], row["avoided_nano"]) == (1_100_000, 1_100_000)


@pytest.mark.parametrize(
    "reason",
    [
        FinishReason.EMPTY,
        FinishReason.REFUSAL,
        FinishReason.FILTERED,
        FinishReason.PAUSED,
        FinishReason.UNKNOWN,
    ],
)
async def test_an_answer_that_cannot_be_used_is_paid_for_as_waste(
    books: Books, reason: FinishReason
) -> None:
    """The provider bills an answer that we discard; the ledger says so."""
    await ask(books, answer(finish_reason=reason, success=False))
    row = books.row()
    assert (row["waste"], row["billed_nano"], row["estimated_calls"]) == ("discarded", 2_200_000, 0)


async def test_an_answer_cut_at_its_limit_is_no_waste(books: Books) -> None:
    """The model is asked to go on from it, so it is used."""
    await ask(books, cut())
    assert books.row()["waste"] == ""


async def test_an_error_with_an_answer_is_billed_by_that_answer(books: Books) -> None:
    """Tokens that a failed response reports are exact."""
    error = ServerFaultError("broken", possibly_billed=True)
    error.response = answer(finish_reason=FinishReason.UNKNOWN, success=False)
    with pytest.raises(ServerFaultError):
        await ask(books, error)
    row = books.row()
    assert (row["waste"], row["billed_nano"], row["estimated_calls"]) == ("discarded", 2_200_000, 0)


async def test_a_paused_turn_that_could_not_go_on_is_an_estimate(books: Books) -> None:
    """What the turns before cost is booked, marked: the one that failed may be billed as well."""
    paused = answer(finish_reason=FinishReason.PAUSED, success=False)
    error = ConnectionFailedError("cut", response=paused, possibly_billed=True)
    with pytest.raises(ConnectionFailedError):
        await ask(books, error)
    row = books.row()
    assert (row["waste"], row["billed_nano"], row["estimated_calls"]) == ("discarded", 2_200_000, 1)


async def test_a_lost_answer_that_may_be_billed_is_booked_as_foreseen(books: Books) -> None:
    """A connection cut after sending is waste, at the expected cost, marked as an estimate."""
    with pytest.raises(ConnectionFailedError):
        await ask(books, ConnectionFailedError("cut", possibly_billed=True))
    row, foreseen = books.row(), foresee(REQUEST, CLAUDE, rates(CLAUDE))
    assert (row["waste"], row["estimated_calls"]) == ("lost", 1)
    assert foreseen.expected is not None
    assert row["billed_nano"] == foreseen.expected * 10**9 > 0
    assert row["input_tokens"] == foreseen.input_tokens
    assert books.held() == []


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("slow down"),
        ServerFaultError("busy"),
        ModelNotFoundError("who?"),
        ConnectionFailedError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_call_that_cannot_have_been_billed_leaves_nothing(
    books: Books, error: GatewayError
) -> None:
    """The money is set free, and there is no row."""
    with pytest.raises(type(error)):
        await ask(books, error)
    assert books.rows() == []
    assert books.held() == []


async def test_a_cancelled_call_may_be_billed(books: Books) -> None:
    """Ctrl-C while the provider works books the call as lost, and lets go of the money."""
    provider = Hanging()
    call = asyncio.create_task(books.meter.wrap(provider).send(REQUEST, CLAUDE))
    await provider.begun.wait()
    assert [one.amount for one in books.held()] == [worst(REQUEST)]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    row = books.row()
    assert (row["waste"], row["measured_calls"]) == ("lost", 0)
    assert books.held() == []


async def test_a_bug_in_a_gateway_may_have_been_billed(books: Books) -> None:
    """An exception that nobody foresaw is raised as it is, and booked as lost."""
    with pytest.raises(ZeroDivisionError):
        await ask(books, ZeroDivisionError("a bug"))
    assert books.row()["waste"] == "lost"
    assert books.held() == []


async def test_a_paid_answer_is_not_passed_on_if_it_cannot_be_written_down(books: Books) -> None:
    """Where the ledger fails, the run stops before it buys more, and the money stays reserved."""

    def break_the_ledger(request: AgentRequest) -> GatewayResponse:
        with sqlite3.connect(books.path) as connection:
            connection.execute("ALTER TABLE usage RENAME TO elsewhere")
        connection.close()
        return answer()

    with pytest.raises(JournalWriteError):
        await books.meter.wrap(ScriptedGateway(break_the_ledger)).send(REQUEST, CLAUDE)
    assert len(books.held()) == 1


async def test_looking_at_the_models_costs_nothing(books: Books) -> None:
    """A list of models, and closing, pass through the meter without a trace."""
    provider = Provider(books, [])
    gateway = books.meter.wrap(provider)
    assert await gateway.list_models() == ("scripted",)
    await gateway.aclose()
    assert provider.closed
    assert books.rows() == []


# What nobody counted, what nobody knows the price of


@pytest.mark.parametrize(
    "claimed",
    [{"usage_reported": False}, {}, {"reported_cost": Decimal(0)}],
    ids=["missing", "zero", "zero dollars"],
)
async def test_without_a_count_the_cost_comes_from_our_own(books: Books, claimed: Any) -> None:
    """No usage, or zero tokens for a text, is never free: estimated, marked, and told once."""
    silent = GatewayResponse(content="A whole answer." * 10, **claimed)
    for _ in range(2):
        response = await ask(books, silent)
        assert response.estimated_cost
        assert response.estimated_cost > 0
        assert not response.usage_reported
    first = books.rows()[0]
    assert first["input_tokens"] == -(-count_bytes(REQUEST) // 3)
    assert first["output_tokens"] == 50
    assert (first["estimated_calls"], first["waste"]) == (1, "")
    assert (first["measured_calls"], first["worst_nano"]) == (0, worst(REQUEST) * 10**9)
    assert len(books.warnings) == 1
    assert CLAUDE.model in books.warnings[0]


def test_a_count_that_can_be_true_is_kept() -> None:
    """An answer with its counts, and an empty one without tokens, stay as they are."""
    for reported in (answer(), GatewayResponse(content="")):
        assert counted(REQUEST, reported) is reported


async def test_an_unknown_price_is_refused_unless_allowed(open_books: OpenBooks) -> None:
    """Unknown is never zero: the call is not made, or its row says that its price is unknown."""
    strict = open_books()
    provider = Provider(strict, [answer()])
    with pytest.raises(ConfigError, match="nobody-knows"):
        await strict.meter.wrap(provider).send(REQUEST, UNPRICED)
    assert provider.calls == []
    lenient = open_books(allow_unpriced=True, daily_usd=Decimal(1))
    response = await lenient.meter.wrap(Provider(lenient, [answer()])).send(REQUEST, UNPRICED)
    assert response.estimated_cost is None
    row = lenient.row()
    assert (row["unpriced_calls"], row["billed_nano"]) == (1, 0)


async def test_a_local_server_costs_nothing(open_books: OpenBooks) -> None:
    """Free by rule: also with an empty budget, also without a count, and without a warning."""
    books = open_books(daily_usd=Decimal(0))
    local = replace(UNPRICED, base_url="http://127.0.0.1:11434/v1")
    silent = GatewayResponse(content="Hello.", usage_reported=False)
    response = await books.meter.wrap(Provider(books, [silent])).send(REQUEST, local)
    assert response.estimated_cost == 0
    assert books.row()["unpriced_calls"] == 0
    assert books.warnings == []


# Budgets


async def test_alerts_are_told_once(open_books: OpenBooks) -> None:
    """Each threshold is a warning when it is reached, and not again."""
    books = open_books(daily_usd=Decimal("0.02"), thresholds=(20,))
    await ask(books, answer())
    assert books.warnings == []
    for _ in range(3):
        await ask(books, answer())
    assert len(books.warnings) == 1
    assert "20 %" in books.warnings[0]


async def test_a_lost_call_can_raise_an_alert(open_books: OpenBooks) -> None:
    """Money that bought nothing is spent all the same."""
    books = open_books(daily_usd=worst(REQUEST), thresholds=(10,))
    with pytest.raises(ConnectionFailedError):
        await ask(books, ConnectionFailedError("cut", possibly_billed=True))
    assert "10 %" in books.warnings[0]


async def test_a_budget_that_only_warns_lets_calls_through(open_books: OpenBooks) -> None:
    """With ``on_exceed: warn`` the calls are made and booked, and it is said once."""
    books = open_books(daily_usd=Decimal("0.001"), on_exceed=OnExceed.WARN, thresholds=())
    for _ in range(3):
        await ask(books, answer())
    assert len(books.rows()) == 3
    assert books.warnings == ["A budget has no room left; going on as you set."]


# The response cache


async def test_a_hit_is_billed_nothing_and_says_what_it_avoided(open_books: OpenBooks) -> None:
    """An answer from the cache is a row that costs nothing, whatever the budget."""
    books = open_books(daily_usd=Decimal(0))
    await books.meter.hit(REQUEST, CLAUDE, answer(served_from=ServedFrom.CACHE))
    row = books.row()
    assert (row["served_from"], row["billed_nano"], row["avoided_nano"]) == ("cache", 0, 2_200_000)
    assert (row["input_tokens"], row["waste"]) == (100, "")


async def test_closing_waits_for_the_ledger(books: Books) -> None:
    """What was under way when the app closes is written first."""
    asked = asyncio.create_task(books.meter.hit(REQUEST, CLAUDE, answer()))
    await asyncio.sleep(0)
    await books.meter.aclose()
    await asked
    assert len(books.rows()) == 1


# The worst case


@given(
    input_tokens=st.integers(0, 20_000),
    output_tokens=st.integers(1, 20_000),
    cached=st.floats(0, 1),
    searches=st.integers(0, MAX_SEARCHES),
    agent=st.sampled_from(list(AgentType)),
)
def test_no_call_within_its_limits_costs_more_than_was_reserved(
    input_tokens: int, output_tokens: int, cached: float, searches: int, agent: AgentType
) -> None:
    """Whatever is cached, written, thought or searched, the worst case covers it."""
    route = CAST.routes[agent]
    request = replace(
        REQUEST,
        agent=agent,
        prompt="x" * 2 * input_tokens,
        max_output_tokens=output_tokens,
        web_search=True,
    )
    used = answer(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_write_tokens=int(input_tokens * cached),
        reasoning_tokens=output_tokens // 2,
        search_calls=searches,
    )
    assert cost_of(used, route) <= worst(request, route)


def cost_of(used: GatewayResponse, route: Route) -> Decimal:
    at = rates(route).base
    plain = used.input_tokens - used.cache_write_tokens
    return (
        plain * at.input
        + used.cache_write_tokens * at.cache_write
        + used.output_tokens * at.output
        + used.search_calls * at.search
    )


def test_a_search_at_anthropic_is_reserved_with_all_its_turns() -> None:
    """A paused turn goes on within one call: four limits, four times the searches, input again."""
    once = replace(REQUEST, web_search=True)
    at = rates(CLAUDE).base
    found = MAX_SEARCHES * TOKENS_PER_SEARCH
    grown = sum(count_bytes(once) // 3 + found + turn * 1000 for turn in range(MAX_TURNS))
    bill = grown * at.input + MAX_TURNS * (1000 * at.output + MAX_SEARCHES * at.search)
    assert worst(once) >= bill
    openai = CAST.routes[AgentType.CHATGPT]
    assert worst(once, openai) < worst(once) / 3
    one_turn = count_bytes(once) // 3 + found
    bill = one_turn * at.input + 1000 * at.output + MAX_SEARCHES * at.search
    assert worst(once, openai) >= bill


def test_the_worst_case_knows_the_limits_of_the_adapter() -> None:
    """Searches and turns are counted as the Anthropic adapter allows them."""
    assert MAX_SEARCHES == anthropic_adapter._MAX_SEARCHES
    assert MAX_TURNS == 1 + anthropic_adapter._MAX_CONTINUATIONS


def test_what_was_foreseen_is_one_turn() -> None:
    """The expected cost of a search is that of a call that is not paused."""
    searching = replace(REQUEST, web_search=True)
    expected = foresee(searching, CLAUDE, rates(CLAUDE)).expected
    plain = foresee(REQUEST, CLAUDE, rates(CLAUDE)).expected
    assert expected is not None
    assert plain is not None
    assert expected == plain + rates(CLAUDE).base.search


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 1000),
        ({"max_tokens": 5000}, 5000),
        ({"max_output_tokens": 6000}, 6000),
        ({"max_completion_tokens": 7000}, 7000),
        ({"generationConfig": {"maxOutputTokens": 8000}}, 8000),
        ({"generationConfig": None, "max_tokens": None}, 1000),
        ({"max_tokens": 10}, 1000),
    ],
    ids=json.dumps,
)
def test_options_that_allow_a_longer_answer_are_reserved_for(
    options: Mapping[str, Any], limit: int
) -> None:
    """What goes on top of the request counts, from the settings and from the request."""
    assert output_limit(REQUEST, replace(CLAUDE, options=options)) == limit
    assert output_limit(replace(REQUEST, options=options), CLAUDE) == limit
    longer = replace(REQUEST, max_output_tokens=limit)
    assert worst(replace(REQUEST, options=options)) == worst(longer)


def test_searches_are_reserved_where_they_may_be_charged() -> None:
    """Asked for, given as a tool, or made unasked by Perplexity; not otherwise."""
    tools = {"tools": [{"type": "web_search"}]}
    assert may_search(replace(REQUEST, web_search=True), CLAUDE)
    assert may_search(replace(REQUEST, options=tools), CLAUDE)
    assert may_search(REQUEST, replace(CLAUDE, options=tools))
    assert may_search(REQUEST, CAST.routes[AgentType.PERPLEXITY])
    assert not may_search(REQUEST, CLAUDE)


def test_everything_the_model_hears_is_counted() -> None:
    """System, prompt, answer so far and documents with their titles, in UTF-8."""
    document = ContextDocument(id="d", title="제목", text="본문")
    heard = replace(
        REQUEST, prompt="p", system="system", answer_so_far="so far", context=(document,)
    )
    assert count_bytes(heard) == 1 + 6 + 6 + 6 + 6


def test_broken_characters_can_be_counted() -> None:
    """Half a surrogate pair is for the adapter to report."""
    assert count_bytes(replace(REQUEST, prompt="\ud800")) > 0


# Every path on which money is spent


@dataclass(frozen=True, kw_only=True)
class SpendPath:
    """A way through router and retries: what the provider says, call by call."""

    script: Sequence[GatewayResponse | Exception]
    request: AgentRequest = REQUEST
    billed: tuple[bool, ...]


LONG = replace(REQUEST, max_output_tokens=4000)
SPEND_PATHS = {
    "live": SpendPath(script=[answer()], billed=(True,)),
    "search": SpendPath(
        script=[answer()], billed=(True,), request=replace(REQUEST, web_search=True)
    ),
    "retry": SpendPath(script=[ServerFaultError("busy"), answer()], billed=(False, True)),
    "retry of a lost call": SpendPath(
        script=[ConnectionFailedError("cut", possibly_billed=True), answer()], billed=(True, True)
    ),
    "second retry": SpendPath(
        script=[ServerFaultError("busy"), RateLimitedError("slow"), answer()],
        billed=(False, False, True),
    ),
    "re-ask": SpendPath(script=[empty(), answer()], billed=(True, True)),
    "continuation": SpendPath(script=[cut(), answer()], billed=(True, True)),
    "second continuation": SpendPath(
        script=[cut(), cut("and a third "), answer()], billed=(True, True, True)
    ),
    "retry of a continuation": SpendPath(
        script=[cut(), ServerFaultError("busy"), answer()], billed=(True, False, True)
    ),
    "fallback": SpendPath(script=[ModelNotFoundError("gone"), answer()], billed=(False, True)),
    "fallback after waste": SpendPath(
        script=[answer(finish_reason=FinishReason.REFUSAL, success=False), answer()],
        billed=(True, True),
    ),
    "continuation of a fallback": SpendPath(
        script=[ModelNotFoundError("gone"), cut(), answer()], billed=(False, True, True)
    ),
}
paths = pytest.mark.parametrize("path", SPEND_PATHS.values(), ids=SPEND_PATHS)


def router_to(books: Books, provider: Gateway) -> Router:
    """The router, the retries and the meter as the app puts them together."""
    clock = ManualClock(NOW, auto_advance=True)
    caller = ResilientGateway(
        books.meter.wrap(provider),
        provider="scripted",
        clock=clock,
        on_attempt=books.meter.on_attempt,
    )
    return Router(CAST, caller, books=books.meter, switch_on_refusal=True)


@paths
async def test_every_call_of_every_path_is_reserved_for(books: Books, path: SpendPath) -> None:
    """Each call finds the worst case of what is really sent reserved; a row per billed call."""
    provider = Provider(books, path.script)
    response = (await router_to(books, provider).ask(path.request)).response
    assert response.content.endswith("A whole answer.")
    sent = [worst(call.request, call.route) for call in provider.calls]
    assert provider.reserved == sent
    assert len(sent) == len(path.billed)
    assert len(books.rows()) == sum(path.billed)
    assert books.held() == []


@paths
async def test_every_call_of_every_path_can_be_refused(
    open_books: OpenBooks, path: SpendPath
) -> None:
    """Where the budget is used up meanwhile, the last call of a path is not made."""
    books = open_books(session_usd=Decimal(1))
    spent_elsewhere = TokenUsage(
        provider="gemini", input_tokens=1, output_tokens=1, session="s1", billed_cost=Decimal(1)
    )
    script = iter(path.script)

    def spend_before_the_last(request: AgentRequest) -> GatewayResponse | Exception:
        if len(provider.calls) == len(path.script) - 1:
            books.tracker.track(spent_elsewhere)
        return next(script)

    if len(path.script) == 1:
        books.tracker.track(spent_elsewhere)
    provider = Provider(books, spend_before_the_last)
    with pytest.raises(BudgetExceededError):
        await router_to(books, provider).ask(path.request)
    assert len(provider.calls) == len(path.script) - 1
    assert len(books.rows()) == 1 + sum(path.billed[:-1])
    assert books.held() == []


async def test_a_reask_is_reserved_with_its_longer_limit(books: Books) -> None:
    """The second attempt after an empty answer may be twice as long, and is reserved as such."""
    provider = Provider(books, [empty(), answer()])
    await router_to(books, provider).ask(REQUEST)
    assert [call.request.max_output_tokens for call in provider.calls] == [1000, 2000]
    first, second = provider.reserved
    assert second - first == 1000 * rates(CLAUDE).base.output


async def test_a_budget_that_is_used_up_is_no_reason_for_a_fallback(
    open_books: OpenBooks,
) -> None:
    """The other agent spends from the same budget, so it is not asked instead."""
    books = open_books(daily_usd=Decimal("0.0001"))
    provider = Provider(books, default_answer)
    with pytest.raises(BudgetExceededError):
        await router_to(books, provider).ask(REQUEST)
    assert provider.calls == []


def refusal() -> GatewayResponse:
    return answer(content="No.", finish_reason=FinishReason.REFUSAL, success=False)


UNFINISHED = [cut("a "), cut("b "), cut("c ")]
WASTE = {
    "nothing": ([answer()], [""]),
    "a cut answer that is whole in the end": ([cut(), answer()], ["", ""]),
    "an answer asked for again": ([empty(), answer()], ["retry", ""]),
    "a refusal before the fallback": ([refusal(), answer()], ["discarded", ""]),
    "an answer that never ends": ([*UNFINISHED, answer()], ["discarded"] * 3 + [""]),
    "a continuation that is refused": ([cut(), refusal(), answer()], ["discarded"] * 2 + [""]),
    "a continuation that fails": (
        [cut(), ModelNotFoundError("gone"), answer()],
        ["discarded", ""],
    ),
    "a continuation that is empty twice": (
        [cut(), empty(), empty(), answer()],
        ["discarded", "retry", "discarded", ""],
    ),
    "nobody finishes": (UNFINISHED * 2, ["failed_phase"] * 6),
    "nobody answers": ([refusal(), cut(), refusal()], ["failed_phase"] * 3),
    "both lost": (
        [
            ConnectionFailedError("cut", possibly_billed=True),
            ModelNotFoundError("gone"),
            ModelNotFoundError("gone"),
        ],
        ["lost"],
    ),
}


@pytest.mark.parametrize(("script", "waste"), WASTE.values(), ids=WASTE)
async def test_money_that_bought_nothing_says_why(
    books: Books, script: Sequence[GatewayResponse | Exception], waste: list[str]
) -> None:
    """Whatever was paid for a question and is not in its answer is waste, with its reason."""
    with suppress(GatewayError):
        await router_to(books, Provider(books, script)).ask(REQUEST)
    await books.meter.aclose()
    assert [row["waste"] for row in books.rows()] == waste


async def test_an_answer_knows_the_rows_that_paid_for_it(books: Books) -> None:
    """One id for each call, in order; an answer for somebody else has none."""
    router = router_to(books, Provider(books, [cut(), answer()]))
    response = (await router.ask(REQUEST)).response
    assert response.call_ids == tuple(row["call_id"] for row in books.rows())
    assert response.as_hit().call_ids == ()
    await router.discard(response)
    assert [row["waste"] for row in books.rows()] == ["discarded", "discarded"]


async def test_pieces_of_an_answer_that_the_budget_broke_off_are_waste(
    open_books: OpenBooks,
) -> None:
    """Where there is no money to go on, what came so far is paid for and of no use."""
    going_on = replace(REQUEST, answer_so_far=cut().content)
    books = open_books(daily_usd=Decimal("0.0022") + worst(going_on) - Decimal("1e-9"))
    with pytest.raises(BudgetExceededError):
        await router_to(books, Provider(books, [cut(), answer()])).ask(REQUEST)
    assert books.row()["waste"] == "discarded"


async def test_pieces_of_an_answer_that_was_broken_off_are_waste(books: Books) -> None:
    """Ctrl-C while the model goes on: the piece is waste, the call under way may be lost."""

    class HangsSecond(Hanging):
        async def send(
            self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
        ) -> GatewayResponse:
            if not request.answer_so_far:
                return cut()
            return await super().send(request, route, on_text)

    provider = HangsSecond()
    asking = asyncio.create_task(router_to(books, provider).ask(REQUEST))
    await provider.begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert sorted(row["waste"] for row in books.rows()) == ["discarded", "lost"]


async def test_the_answer_in_an_error_has_its_cost(books: Books) -> None:
    """Those who watch attempts learn what an unusable answer cost, and which row it is."""
    error = ServerFaultError("broken", possibly_billed=True)
    error.response = answer(finish_reason=FinishReason.UNKNOWN, success=False)
    with pytest.raises(ServerFaultError) as caught:
        await ask(books, error)
    assert caught.value.response is not None
    assert caught.value.response.estimated_cost == Decimal("0.0022")
    assert caught.value.response.call_ids == (books.row()["call_id"],)


# Priority


async def test_priority_without_a_known_price_is_an_estimate(books: Books) -> None:
    """The full price stands in, the row says so, and it is told once."""
    for _ in range(2):
        response = await ask(books, answer(served_from=ServedFrom.PRIORITY))
        assert response.estimated_cost == Decimal("0.0022")
    assert [row["estimated_calls"] for row in books.rows()] == [1, 1]
    assert [row["served_from"] for row in books.rows()] == ["priority", "priority"]
    assert len(books.warnings) == 1
    assert "priority price" in books.warnings[0]


def test_a_call_that_asks_for_priority_is_reserved_as_such() -> None:
    """In the request's options or in the settings: both go into its body."""
    options = {"service_tier": "priority"}
    assert dearest_mode(REQUEST, CLAUDE) is ServedFrom.LIVE
    assert dearest_mode(replace(REQUEST, options=options), CLAUDE) is ServedFrom.PRIORITY
    assert dearest_mode(REQUEST, replace(CLAUDE, options=options)) is ServedFrom.PRIORITY
    flex = replace(REQUEST, options={"service_tier": "flex"})
    assert dearest_mode(flex, CLAUDE) is ServedFrom.LIVE


async def test_refused_without_leave_to_switch_is_one_wasted_call(books: Books) -> None:
    """The refusal is paid, and nobody else is."""
    clock = ManualClock(NOW, auto_advance=True)
    gateway = books.meter.wrap(Provider(books, [refusal()]))
    caller = ResilientGateway(gateway, provider="scripted", clock=clock)
    with pytest.raises(RefusedError):
        await Router(CAST, caller).ask(REQUEST)
    assert books.row()["waste"] == "discarded"
