"""The ledger is the bill: real SDKs, the whole stack, and a server that keeps its own account."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aigenflow.agents.metering import Meter
from aigenflow.agents.router import Router
from aigenflow.agents.routes import cast_roles
from aigenflow.app import App
from aigenflow.core.clock import SystemClock
from aigenflow.core.config import AgentsSettings, load_settings
from aigenflow.core.errors import BudgetExceededError, GatewayError, ServerFaultError
from aigenflow.core.events import ignore_event
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    ContextDocument,
    GatewayResponse,
    Json,
    Processing,
    Route,
)
from aigenflow.gateway.base import OnText, ignore_text
from aigenflow.gateway.retry import ResilientGateway
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.models import BudgetLimits
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing import WireServerProcess
from aigenflow.testing.bill import BillLine
from aigenflow.testing.clock import ManualClock
from aigenflow.testing.scripted import ScriptedGateway
from tests.support.bill import (
    UNCOUNTED,
    charge_in,
    charge_of,
    differences,
    ledger_rows,
    sort_lines,
    sort_rows,
)
from tests.support.program import Wire

CALLS = int(os.environ.get("AIGENFLOW_TEST_CALLS", "300"))
MANY = 1000
AT_ONCE = 32 if CALLS <= 300 else 256
MIX = {Processing.LIVE: 0.8, Processing.FLEX: 0.1, Processing.BATCH: 0.1 if CALLS > 300 else 0.0}
"""How answers are bought. A batch job takes seconds, so there is none in a short run."""

SEED = 20261122

HUGE_INPUT = 300_000
"""Input tokens beyond every price cliff."""

COUNTS_SEARCHES = ("anthropic", "perplexity")
"""Providers that count searches among the tokens; the others show each one in the answer."""

FAULTS: Sequence[tuple[float, dict[str, Json]]] = (
    (0.02, {"status": 429}),
    (0.01, {"status": 500}),
    (0.01, {"status": 503}),
    (0.01, {"status": 529}),
    (0.004, {"status": 404}),
    (0.01, {"fault": "reset_before_headers"}),
    (0.01, {"fault": "reset_mid_body"}),
    (0.015, {"fault": "stream_cut_after:4"}),
    (0.01, {"fault": "no_terminal_event"}),
    (0.01, {"fault": "error_event:4"}),
    (0.005, {"fault": "malformed_json"}),
    (0.004, {"fault": "html_200"}),
    (0.004, {"fault": "empty_body"}),
    (0.004, {"fault": "empty_object"}),
    (0.03, {"fault": "only_thinking"}),
    (0.01, {"fault": "content_null"}),
    (0.01, {"fault": "whitespace"}),
    (0.01, {"fault": "no_usage"}),
    (0.005, {"fault": "zero_usage"}),
    (0.05, {"finish": "length"}),
    (0.02, {"finish": "refusal"}),
    (0.01, {"finish": "safety"}),
    (0.03, {"usage": {"input_tokens": HUGE_INPUT}}),
)
"""How often what goes wrong, and what is counted out of the ordinary."""

OPTIONS: dict[AgentType, Sequence[dict[str, Json]]] = {
    AgentType.CLAUDE: (
        {"thinking": {"type": "adaptive"}},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ),
    AgentType.CHATGPT: ({"service_tier": "flex"}, {"reasoning": {"effort": "none"}}),
    AgentType.GEMINI: ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},),
    AgentType.PERPLEXITY: ({"reasoning": {"effort": "low"}},),
}


@pytest.fixture(scope="module")
def wire_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with WireServerProcess(state_dir=tmp_path_factory.mktemp("wire")) as server:
        yield server.url


@pytest.fixture
def wire(wire_url: str) -> Wire:
    server = Wire(url=wire_url)
    server.reset()
    return server


def lines(wire: Wire) -> list[BillLine]:
    return [BillLine(**entry) for entry in wire.bill()]


def open_app(wire: Wire, home: Path, *, claude: str = "claude-haiku-5-5", **flags: Any) -> App:
    """The program with all four agents at the server, quick to try again."""
    agents = {agent.value: {"base_url": wire.url} for agent in AgentType}
    agents["claude"]["model"] = claude
    settings = load_settings(
        home,
        flags={
            "agents": agents,
            "retry": {"base_seconds": 0.001, "cap_seconds": 0.002, "switch_on_refusal": True},
            "timeouts": {"first_event_seconds": 20, "idle_seconds": 20},
            "batch": {"max_wait_seconds": 0.0},
            "output_dir": home / "output",
            **flags,
        },
    )
    return App(settings, home=home)


def random_requests(count: int, random: Random) -> list[AgentRequest]:
    """Questions to all agents, of every length; every fourth is one that was asked before."""
    shared = [f"Finding {n} of the report. " * 300 for n in range(4)]
    asked: list[AgentRequest] = []
    for n in range(count):
        if asked and random.random() < 0.25:
            asked.append(random.choice(asked))
            continue
        agent = random.choice(list(AgentType))
        context = ContextDocument(id="report", title="Report", text=random.choice(shared))
        asked.append(
            AgentRequest(
                agent=agent,
                phase=random.randint(1, 5),
                task=f"task{n % 7}",
                prompt=f"Question {n}: " + "what does the market want? " * random.randint(1, 30),
                context=(context,) if random.random() < 0.4 else (),
                system=random.choice(("", "You are an analyst.")),
                max_output_tokens=random.choice((400, 1500, 4096) if n % 20 else (60,)),
                web_search=random.random() < 0.2,
                processing=random_processing(agent, random),
                options=random.choice(OPTIONS[agent]) if random.random() < 0.4 else {},
                session="s1",
            )
        )
    return asked


def random_processing(agent: AgentType, random: Random) -> Processing:
    """As in the mix; flex only where its price is known."""
    [chosen] = random.choices(tuple(MIX), tuple(MIX.values()))
    known = chosen is not Processing.FLEX or agent is AgentType.CHATGPT
    return chosen if known else Processing.LIVE


async def ask_all(app: App, requests: Iterable[AgentRequest]) -> int:
    """Ask many at once; how many were answered. Anything but a provider's failure is raised."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(request: AgentRequest) -> bool:
        async with slots:
            with suppress(GatewayError):
                return bool((await app.ask(request)).response.content)
        return False

    return sum(await asyncio.gather(*map(ask, requests)))


def with_faults(seed: int) -> dict[str, Json]:
    faults = [
        {"match": {"probability": probability}, "action": action} for probability, action in FAULTS
    ]
    tiers = [
        {"match": {"tier": "flex", "probability": 0.2}, "action": {"fault": "no_capacity"}},
        {
            "match": {"provider": "openai", "tier": "default", "probability": 0.05},
            "action": {"tier": "priority"},
        },
    ]
    return {"seed": seed, "rules": [*faults, *tiers, *many_searches(5, 0.2)]}


def with_its_fault(line: BillLine) -> BillLine:
    """An item of a batch job is billed as complete, also where it came without its counts."""
    if line.tier != "batch" or line.rule is None:
        return line
    fault = with_faults(SEED)["rules"][line.rule]["action"].get("fault")
    return replace(line, outcome=fault) if fault in UNCOUNTED else line


def many_searches(searches: int, probability: float) -> list[dict[str, Json]]:
    return [
        {
            "match": {"provider": provider, "contains": "web_search", "probability": probability},
            "action": {"usage": {"search_calls": searches}},
        }
        for provider in COUNTS_SEARCHES
    ]


@pytest.mark.timeout(120 + CALLS // 10)
@pytest.mark.parametrize("calls", [pytest.param(CALLS, marks=[pytest.mark.slow] * (CALLS > 300))])
async def test_the_ledger_is_the_bill(wire: Wire, own_home: Path, calls: int) -> None:
    """Whatever fails, repeats, thinks, searches or is remembered: to the nano-dollar, per call."""
    wire.script(**with_faults(SEED))
    async with open_app(wire, own_home) as app:
        answered = await ask_all(app, random_requests(calls, Random(SEED)))
    billed = [with_its_fault(line) for line in lines(wire)]
    books, bill = sort_rows(ledger_rows(own_home)), sort_lines(billed)
    assert differences(books.exact, bill.answered) == ""
    spent = sum(row["billed_nano"] for row in books.exact)
    assert spent == sum(charge_of(line).nano_dollars for line in bill.answered) > 0
    assert len(books.lost) == len(bill.lost)
    assert len(books.uncounted) == len(bill.uncounted)
    assert ledger_rows(own_home, "reservations") == []
    assert answered > calls * 3 / 4
    check_estimates(books.lost, books.uncounted)
    check_hits(books.hits)
    check_variety(bill.answered, bill.turned_away)


def check_estimates(lost: list[dict[str, Any]], uncounted: list[dict[str, Any]]) -> None:
    """Rows without the provider's counts say so, and are never free."""
    assert all(row["estimated_calls"] and row["billed_nano"] > 0 for row in lost + uncounted)
    assert all(row["waste"] != "lost" for row in uncounted)


def check_hits(hits: list[dict[str, Any]]) -> None:
    """Hits cost nothing, and each avoided what it names."""
    assert hits
    assert all(row["billed_nano"] == 0 < row["avoided_nano"] for row in hits)


def check_variety(answered: list[BillLine], turned_away: list[BillLine]) -> None:
    """The calls were as different as they were meant to be."""
    assert len({line.provider for line in answered}) == 4
    assert {line.stream for line in answered} == {True, False}
    tiers = {line.tier for line in answered}
    assert tiers >= {"flex", "priority"} | ({"batch"} if CALLS > 300 else set())
    for count in (
        *("cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
        *("reasoning_tokens", "search_calls"),
    ):
        assert any(getattr(line, count) for line in answered), count
    assert {line.outcome for line in answered} > {"complete"}
    assert any(line.input_tokens >= HUGE_INPUT for line in answered)
    assert turned_away


async def test_no_call_cost_more_than_was_reserved(wire: Wire, own_home: Path) -> None:
    """Answers within their limits stay within the worst case, on every path and provider."""
    wire.script(
        seed=SEED,
        rules=[
            {"match": {"probability": 0.1}, "action": {"fault": "only_thinking"}},
            {"match": {"probability": 0.1}, "action": {"status": 500}},
            *many_searches(8, 0.3),
        ],
    )
    requests = [
        replace(request, web_search=True) if n % 2 else request
        for n, request in enumerate(random_requests(80, Random(SEED + 1)))
    ]
    async with open_app(wire, own_home, features={"caching_enabled": False}) as app:
        await ask_all(app, requests)
    rows = ledger_rows(own_home)
    assert len(rows) > 80
    over = [row for row in rows if row["billed_nano"] > row["worst_nano"]]
    assert over == []
    assert ledger_rows(own_home, "reservations") == []


# Several turns within one call

SEARCH = AgentRequest(
    agent=AgentType.CLAUDE,
    phase=2,
    task="deep_search",
    prompt="What did the market do in 2025?",
    max_output_tokens=600,
    web_search=True,
    session="s1",
)


def rules(*actions: dict[str, Json]) -> dict[str, Json]:
    """One action for each of the first calls to Anthropic."""
    return {
        "rules": [
            {"match": {"provider": "anthropic", "nth": n}, "action": action}
            for n, action in enumerate(actions, start=1)
        ]
    }


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5"])
@pytest.mark.parametrize("pauses", [0, 1, 2, 3])
async def test_a_paused_turn_is_billed_with_all_its_turns(
    wire: Wire, own_home: Path, pauses: int, model: str
) -> None:
    """One row holds what every turn cost, and the worst case reserved covers them all."""
    many = {"usage": {"search_calls": 8, "output_tokens": 600}}
    wire.script(**rules(*[{"finish": "pause_turn", **many}] * pauses, many))
    async with open_app(wire, own_home, claude=model) as app:
        await app.ask(SEARCH)
    [row] = ledger_rows(own_home)
    bill = lines(wire)
    assert len(bill) == pauses + 1
    assert row["billed_nano"] == sum(charge_of(line).nano_dollars for line in bill)
    for count in ("input_tokens", "output_tokens"):
        assert row[count] == sum(getattr(line, count) for line in bill)
    assert row["billed_nano"] <= row["worst_nano"]
    assert (row["waste"], row["estimated_calls"]) == ("", 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [(60_000, 70_000), (60_000, 110_000), (120_000, 130_000)],
    ids=["only the sum is beyond the cliff", "the second is", "both are"],
)
async def test_each_turn_falls_into_a_tier_of_its_own(
    wire: Wire, own_home: Path, first: int, second: int
) -> None:
    """Haiku costs five times as much above 100,000 tokens of one turn, not of all together."""
    begin = {"finish": "pause_turn", "usage": {"input_tokens": first, "output_tokens": 1_000}}
    wire.script(**rules(begin, {"usage": {"input_tokens": second, "output_tokens": 1_000}}))
    async with open_app(wire, own_home) as app:
        answer = await app.ask(SEARCH)
        hit = await app.ask(SEARCH)
    row, remembered = ledger_rows(own_home)
    charged = [charge_of(line).nano_dollars for line in lines(wire)]
    assert len(charged) == 2
    assert row["billed_nano"] == sum(charged) == remembered["avoided_nano"]
    assert answer.response.estimated_cost == Decimal(row["billed_nano"]).scaleb(-9)
    assert (hit.response.calls, hit.response.call_ids) == (answer.response.calls, ())


async def test_a_turn_that_never_ends_is_waste_to_the_last_token(
    wire: Wire, own_home: Path
) -> None:
    """Every paused turn is billed, and the fallback's answer beside it."""
    wire.script(rules=[{"match": {"provider": "anthropic"}, "action": {"finish": "pause_turn"}}])
    async with open_app(wire, own_home, claude="claude-sonnet-5-5") as app:
        answer = await app.ask(SEARCH)
    assert answer.route.actor is AgentType.CHATGPT
    rows = ledger_rows(own_home)
    assert [row["waste"] for row in rows] == ["retry", "discarded", ""]
    charged = sum(charge_of(line).nano_dollars for line in lines(wire))
    assert sum(row["billed_nano"] for row in rows) == charged
    assert len(lines(wire)) == 4 + 4 + 1


async def test_turns_before_a_lost_one_are_on_the_books(wire: Wire, own_home: Path) -> None:
    """The paused turn is booked with its counts; that more may be billed is marked."""
    wire.script(**rules({"finish": "pause_turn"}, {"fault": "reset_mid_body"}))
    async with open_app(wire, own_home, claude="claude-sonnet-5-5") as app:
        await app.ask(SEARCH)
    broken, whole = ledger_rows(own_home)
    first, _lost, last = lines(wire)
    assert (broken["waste"], broken["estimated_calls"]) == ("retry", 1)
    assert broken["billed_nano"] == charge_of(first).nano_dollars
    assert charge_in(whole) == charge_of(last)


# Many at once


class Charging(ScriptedGateway):
    """Charges a share of the worst case, and watches the budget at each call."""

    def __init__(self, tracker: TokenTracker, shares: tuple[float, float], faults: float) -> None:
        super().__init__()
        self._tracker = tracker
        self._shares = shares
        self._faults = faults
        self._random = Random(SEED)
        self.answered = 0

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        [account] = self._tracker.accounts(request.session)
        assert account.spent + account.reserved <= account.window.cap
        if self._random.random() < self._faults:
            raise ServerFaultError("busy")
        share = Decimal(str(round(self._random.uniform(*self._shares), 3)))
        self.answered += 1
        return GatewayResponse(
            content="An answer.",
            input_tokens=1,
            output_tokens=1,
            tokens_used=2,
            reported_cost=WORST * share,
        )


QUESTION = AgentRequest(
    agent=AgentType.CLAUDE, phase=4, task="t", prompt="", max_output_tokens=1000, session="s1"
)
WORST = Decimal("0.01")
"""Dollars: 1,000 output tokens of claude-sonnet-5-5."""


async def wave(router: Router, coroutines: int) -> int:
    """Ask as many questions at once; how many were made."""

    async def ask(n: int) -> bool:
        try:
            await router.ask(QUESTION)
        except BudgetExceededError:
            return False
        return True

    return sum(await asyncio.gather(*map(ask, range(coroutines))))


@pytest.mark.parametrize(
    ("shares", "faults", "least", "most"),
    [((1.0, 1.0), 0.0, 50, 50), ((0.2, 1.0), 0.05, 51, 250)],
    ids=["as reserved", "less than reserved"],
)
async def test_a_thousand_coroutines_keep_a_cap(
    tmp_path: Path, shares: tuple[float, float], faults: float, least: int, most: int
) -> None:
    """Never above the cap at any call, at least 95 % of it usable, nothing left reserved."""
    cap = 50 * WORST
    tracker = TokenTracker.open(f"sqlite:///{tmp_path}/ledger.db", BudgetLimits(session_usd=cap))
    gateway = Charging(tracker, shares, faults)
    meter = Meter(AsyncTracker(tracker), PriceBook.load(), SystemClock(), on_event=ignore_event)
    clock = ManualClock(auto_advance=True)
    caller = ResilientGateway(meter.wrap(gateway), provider="anthropic", clock=clock)
    router = Router(cast_roles(AgentsSettings(), lambda _: True), caller, books=meter)
    await wave(router, MANY)
    while await wave(router, MANY // 10):
        pass
    [account] = tracker.accounts("s1")
    assert cap * Decimal("0.95") <= account.spent <= cap
    assert account.reserved == 0
    assert tracker.open_reservations() == []
    assert least <= gateway.answered <= most
    [total] = tracker.totals()
    assert total.calls == gateway.answered
    await meter.aclose()
