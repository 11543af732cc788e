from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.agents.metering import MAX_SEARCHES, count_bytes, foresee
from aigenflow.agents.routes import Cast
from aigenflow.core.errors import PhaseFailedError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    DocumentType,
    GatewayResponse,
    Language,
    Route,
    ServedFrom,
)
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.monitoring.models import (
    ZERO,
    Account,
    BudgetKind,
    Calibration,
    Rates,
    RateSource,
    Tier,
    TokenRates,
    Totals,
    Window,
)
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.pipeline.orchestrator import PHASES
from aigenflow.pipeline.planner import (
    BATCH_S,
    Knowledge,
    Offer,
    Plan,
    Supply,
    TaskPlan,
    cliffs,
    make_plan,
    outlook,
    total_by_mode,
)
from aigenflow.pipeline.rehearsal import Length, LookUp, Rehearsal, expected_length, usual_lengths
from aigenflow.templates.loader import load_outline
from aigenflow.templates.prompt_library import PromptLibrary
from aigenflow.testing.clock import ManualClock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODELS = {
    AgentType.CLAUDE: (Backend.ANTHROPIC, "claude-sonnet-5-5"),
    AgentType.CHATGPT: (Backend.OPENAI, "gpt-6.1-sol"),
    AgentType.GEMINI: (Backend.GEMINI, "gemini-3.8-flash"),
    AgentType.PERPLEXITY: (Backend.PERPLEXITY, "perplexity/sonar"),
}
CAST = Cast(
    routes={
        agent: Route(
            agent=agent,
            actor=agent,
            backend=backend,
            model=model,
            context_window_tokens=200_000,
        )
        for agent, (backend, model) in MODELS.items()
    },
    fallbacks={},
)
SPEC = SessionSpec(
    session="s",
    topic="Subscription meal kits for people with diabetes",
    document_type=DocumentType.BIZPLAN,
    template="default",
    language=Language.EN,
    created=NOON,
)
BOOK = PriceBook.load()
TASKS = [task.name for phase in PHASES for task in phase.tasks]


def in_no_cache(request: AgentRequest, route: Route) -> GatewayResponse | None:
    return None


def from_the_book(route: Route, mode: ServedFrom) -> Rates | None:
    return BOOK.rates_for(route.actor, route.backend, route.model, NOON, mode)


def uncalibrated(model: str) -> Calibration | None:
    return None


def knowing(
    rates: Callable[[Route, ServedFrom], Rates | None] = from_the_book,
    usual: Mapping[str, Length] | None = None,
    accounts: tuple[Account, ...] = (),
) -> Knowledge:
    return Knowledge(rates=rates, calibration=uncalibrated, usual=usual or {}, accounts=accounts)


async def plan(
    look_up: LookUp = in_no_cache,
    *,
    cast: Cast = CAST,
    known: Knowledge | None = None,
    kept: tuple[StepRecord, ...] = (),
    spec: SessionSpec = SPEC,
) -> tuple[Plan, Rehearsal]:
    known = known or knowing()
    rehearsal = Rehearsal(
        spec,
        cast,
        look_up=look_up,
        calibration=known.calibration,
        usual=known.usual,
        kept=kept,
    )
    made = await make_plan(
        rehearsal,
        known,
        prompts=PromptLibrary(),
        outline=load_outline(spec.document_type, spec.template, spec.language),
        clock=ManualClock(),
    )
    return made, rehearsal


def answer(text: str = "A short answer.") -> GatewayResponse:
    return GatewayResponse(content=text, input_tokens=1000, output_tokens=100)


def supplies(made: Plan) -> dict[str, Supply]:
    return {task.task: task.supply for task in made.tasks}


# What is asked


async def test_every_task_is_planned_in_order_with_its_limits() -> None:
    """Twelve tasks, each with who plays it, tokens, searches and a live price."""
    made, _rehearsal = await plan()
    assert [task.task for task in made.tasks] == TASKS
    limits = {task.name: task.max_output_tokens for phase in PHASES for task in phase.tasks}
    assert {task.task: task.max_output_tokens for task in made.tasks} == limits
    assert {t.task for t in made.tasks if t.max_searches == MAX_SEARCHES} == {
        "deep_search",
        "fact_check",
        "verify",
    }
    assert all(t.supply is Supply.BOUGHT and t.offer(ServedFrom.LIVE) for t in made.tasks)


async def test_only_questions_without_a_stand_in_are_looked_up() -> None:
    """The first question is known before the run; all others hear an answer that is not there."""
    asked: list[str] = []

    def nothing(request: AgentRequest, route: Route) -> GatewayResponse | None:
        asked.append(request.task)
        return None

    made, _rehearsal = await plan(nothing)
    assert asked == ["brainstorm"]
    assert [task.task for task in made.tasks if task.key_known] == ["brainstorm"]


async def test_a_miss_leaves_the_questions_that_do_not_hear_it_known() -> None:
    """One researcher missing: the other is looked up all the same, and nothing after them."""

    def all_but_one(request: AgentRequest, route: Route) -> GatewayResponse | None:
        return None if request.task == "deep_search" else answer()

    made, _rehearsal = await plan(all_but_one)
    cached = {name for name, supply in supplies(made).items() if supply is Supply.CACHED}
    assert cached == {"brainstorm", "validate", "fact_check"}


async def test_tables_do_not_hear_the_draft() -> None:
    """A new draft leaves the tables in the cache; the summary and the review hear it."""

    def all_but_the_draft(request: AgentRequest, route: Route) -> GatewayResponse | None:
        return None if request.task == "draft" else answer()

    made, _rehearsal = await plan(all_but_the_draft)
    bought = {name for name, supply in supplies(made).items() if supply is Supply.BOUGHT}
    assert bought == {"draft", "executive_summary", "verify", "final_review", "polish"}


async def test_a_cached_answer_is_heard_by_the_next_question() -> None:
    """The text from the cache, not a stand-in, is in the next request, so its key is the real."""
    made, rehearsal = await plan(lambda request, route: answer(f"The words of {request.task}."))
    heard = rehearsal.questions[5, "polish"].request.context
    texts = " ".join(document.text for document in heard)
    assert all(f"The words of {task}." in texts for task in TASKS[:-1])
    assert made.count(Supply.CACHED) == 13
    assert made.live.expected == made.live.worst == 0
    assert made.live.expected_seconds == 0


async def test_what_the_cache_saves_is_the_live_price_of_its_answers() -> None:
    """1,000 tokens in and 100 out, twelve times, at each agent's own live rate."""
    made, _rehearsal = await plan(lambda request, route: answer())
    one = {
        agent: rates.base.input * 1000 + rates.base.output * 100
        for agent, route in CAST.routes.items()
        if (rates := from_the_book(route, ServedFrom.LIVE))
    }
    assert made.saved == sum(one[task.agent] for task in made.tasks)


async def test_results_of_an_earlier_session_are_kept_while_their_question_is_the_same() -> None:
    """Kept where the fingerprint is that of the question, or a person has edited the text."""

    def record(task: str, fingerprint: str, *, edited: bool = False) -> StepRecord:
        return StepRecord(
            phase=1,
            task=task,
            agent=AgentType.CHATGPT,
            actor=AgentType.CHATGPT,
            fingerprint=fingerprint,
            content_sha256="",
            content="Kept.",
            response=answer(),
            finished=NOON,
            edited=edited,
        )

    edited = record("brainstorm", "anything", edited=True)
    stale = record("validate", "of another question")
    made, rehearsal = await plan(kept=(edited, stale))
    assert supplies(made)["brainstorm"] is Supply.KEPT
    assert supplies(made)["validate"] is Supply.BOUGHT
    assert made.tasks[1].key_known
    assert "Kept." in rehearsal.questions[1, "validate"].request.context[-1].text


async def test_offline_nothing_is_bought() -> None:
    """Without any model the plan is free, and nothing is looked up."""
    routes = {
        agent: replace(route, backend=Backend.OFFLINE, model="offline")
        for agent, route in CAST.routes.items()
    }

    def never(request: AgentRequest, route: Route) -> GatewayResponse | None:
        raise AssertionError("looked up")

    made, _rehearsal = await plan(never, cast=Cast(routes=routes, fallbacks={}))
    assert made.count(Supply.OFFLINE) == 13
    assert made.live.expected == made.live.worst == ZERO
    assert [total.mode for total in made.totals] == [ServedFrom.LIVE]


async def test_a_brief_that_no_model_takes_stops_the_plan_as_it_stops_the_run() -> None:
    """The same error as from the run, before anything is spent."""
    with pytest.raises(PhaseFailedError, match="needs about"):
        await plan(spec=SPEC.model_copy(update={"brief": "Known facts. " * 60_000}))


# Sizes


async def test_stand_ins_are_as_long_as_the_answers_are_expected() -> None:
    """What later questions hear grows by the expected length of each answer, not by its limit."""
    usual = {task: Length(output=3000, text=1000) for task in TASKS}
    made, rehearsal = await plan(known=knowing(usual=usual))
    sizes = {task.task: task.input_tokens for task in made.tasks}
    question = rehearsal.questions[1, "validate"].request
    assert sizes["validate"] == pytest.approx(count_bytes(question) / 3, abs=1)
    assert 1000 <= question.context[-1].text.count(" ") * 3 < 12_000
    assert len(question.context[-1].text) / 3 == pytest.approx(1000, rel=0.05)
    assert all(task.output_tokens == 3000 for task in made.tasks)


async def test_the_worst_case_hears_every_stand_in_at_its_full_length() -> None:
    """Longer answers, and half as much again by the tokenizer, but never above the window."""
    made, _rehearsal = await plan()
    by_task = {task.task: task for task in made.tasks}
    assert by_task["brainstorm"].worst_input_tokens <= by_task["brainstorm"].input_tokens * 1.5 + 1
    validate = by_task["validate"]
    assert validate.worst_input_tokens == pytest.approx((validate.input_tokens + 4000) * 1.5, abs=9)
    assert all(t.input_tokens <= t.worst_input_tokens <= 200_000 for t in made.tasks)


async def test_a_small_window_shortens_the_context_and_the_plan_says_so() -> None:
    """Sizes are those after fitting, and what is left out is named."""
    small = {agent: replace(r, context_window_tokens=40_000) for agent, r in CAST.routes.items()}
    made, _rehearsal = await plan(cast=Cast(routes=small, fallbacks={}))
    polish = made.tasks[-1]
    assert polish.omissions
    assert polish.max_output_tokens == 40_000 // 3
    assert polish.input_tokens + polish.max_output_tokens <= 40_000
    assert polish.worst_input_tokens <= 40_000


def test_usual_lengths_need_three_bought_answers() -> None:
    """Hits do not count as answers; reasoning is billed but not heard by others."""
    totals = [
        Totals(key="draft", calls=5, cache_hits=2, output_tokens=900, reasoning_tokens=300),
        Totals(key="polish", calls=5, cache_hits=3, output_tokens=900),
    ]
    assert usual_lengths(totals) == {"draft": Length(output=300, text=200)}


@given(
    st.integers(16, 128_000),
    st.one_of(st.none(), st.tuples(st.integers(0, 200_000), st.integers(0, 200_000))),
)
def test_no_answer_is_expected_beyond_its_limit(limit: int, usual: tuple[int, int] | None) -> None:
    """Whatever the ledger remembers."""
    request = AgentRequest(
        agent=AgentType.CLAUDE, phase=4, task="draft", prompt="x", max_output_tokens=limit
    )
    known = {"draft": Length(output=usual[0], text=usual[1])} if usual else {}
    length = expected_length(request, known)
    assert 0 <= length.text <= limit
    assert 0 <= length.output <= limit


# Money


async def test_a_discount_is_only_offered_where_its_rate_is_published() -> None:
    """Flex at OpenAI, batch at three providers, none at Perplexity: as the price table has it."""
    made, _rehearsal = await plan()
    offered = {(task.backend, offer.mode) for task in made.tasks for offer in task.offers} - {
        (backend, ServedFrom.LIVE) for backend in Backend
    }
    assert offered == {
        (Backend.OPENAI, ServedFrom.FLEX),
        (Backend.OPENAI, ServedFrom.BATCH),
        (Backend.ANTHROPIC, ServedFrom.BATCH),
        (Backend.GEMINI, ServedFrom.BATCH),
    }
    by_mode = {total.mode: total for total in made.totals}
    live, batch = by_mode[ServedFrom.LIVE], by_mode[ServedFrom.BATCH]
    assert (live.calls, by_mode[ServedFrom.FLEX].calls, batch.calls) == (13, 4, 10)
    assert live.expected is not None
    assert batch.expected is not None
    assert live.expected / 2 <= batch.expected < live.expected


async def test_a_rate_that_stands_in_for_an_unknown_one_is_no_offer() -> None:
    """A fallback price is shown as an estimate, and never with a discount."""
    made, _rehearsal = await plan(
        cast=Cast(
            routes={a: replace(r, model="nobody-knows-it-9") for a, r in CAST.routes.items()},
            fallbacks={},
        )
    )
    assert [total.mode for total in made.totals] == [ServedFrom.LIVE]
    assert all(task.price_is_estimate for task in made.tasks)
    assert {task.price_source for task in made.tasks} == {RateSource.FALLBACK}


async def test_the_worst_case_is_what_the_run_would_set_aside() -> None:
    """Where nothing is guessed, it is the reservation of the very same request, to the cent."""
    made, rehearsal = await plan()
    question = rehearsal.questions[1, "brainstorm"]
    rates = from_the_book(question.route, ServedFrom.LIVE)
    assert made.tasks[0].offers[0].worst == foresee(question.request, question.route, rates).worst


async def test_an_unknown_price_stays_unknown() -> None:
    """One model without a price: no total, and the model is named once."""

    def rates(route: Route, mode: ServedFrom) -> Rates | None:
        return None if route.agent is AgentType.GEMINI else from_the_book(route, mode)

    made, _rehearsal = await plan(known=knowing(rates))
    assert made.live.expected is None
    assert made.live.worst is None
    assert made.unpriced_models == ("gemini-3.8-flash",)


async def test_the_totals_are_the_sums_of_the_tasks() -> None:
    """Expected and worst, live and in batch."""
    made, _rehearsal = await plan()
    for total in made.totals:
        offers = [offer for task in made.tasks if (offer := task.offer(total.mode))]
        assert total.expected == sum(o.expected for o in offers if o.expected is not None)
        assert total.worst == sum(o.worst for o in offers if o.worst is not None)
        assert all(o.expected and o.worst and o.expected <= o.worst for o in offers)


def flat(rate: str) -> TokenRates:
    price = Decimal(rate)
    return TokenRates(
        input=price,
        output=price,
        cached_input=price,
        cache_write=price,
        cache_write_1h=price,
        reasoning=price,
    )


TIERED = Rates(
    model="m",
    mode=ServedFrom.LIVE,
    source=RateSource.EXACT,
    base=flat("0.000001"),
    tiers=(Tier(above_input_tokens=100_000, rates=flat("0.000005")),),
)


@pytest.mark.parametrize(
    ("expected", "worst", "found"),
    [
        (100_000, 100_000, []),
        (100_000, 100_001, [False]),
        (100_001, 150_000, [True]),
    ],
)
def test_cliffs_are_named_from_the_first_token_above(
    expected: int, worst: int, found: list[bool]
) -> None:
    """At the threshold itself the old price holds; possible is told from expected."""
    named = cliffs(expected, worst, TIERED)
    assert [cliff.expected for cliff in named] == found
    assert all((c.above_input_tokens, c.factor) == (100_000, 5) for c in named)


# Time


def task_plan(name: str, phase: int, *offers: Offer) -> TaskPlan:
    return TaskPlan(
        phase=phase,
        phase_name="",
        task=name,
        agent=AgentType.CLAUDE,
        actor=AgentType.CLAUDE,
        backend=Backend.ANTHROPIC,
        model="m",
        supply=Supply.BOUGHT,
        offers=offers,
    )


def offer(cost: str, worst: str = "", *, seconds: float = 10, mode: str = "live") -> Offer:
    return Offer(
        mode=ServedFrom(mode),
        expected=Decimal(cost),
        worst=Decimal(worst or cost),
        expected_seconds=seconds,
        worst_seconds=seconds * 2,
    )


def test_tasks_of_one_wave_take_the_time_of_the_slowest() -> None:
    """Draft and tables run together, the summary waits for the draft."""
    [live] = total_by_mode(
        [
            task_plan("draft", 4, offer("1", seconds=100)),
            task_plan("charts", 4, offer("1", seconds=30)),
            task_plan("executive_summary", 4, offer("1", seconds=20)),
        ],
        PHASES,
    )
    assert (live.expected_seconds, live.worst_seconds) == (120, 240)


def test_calls_without_the_discount_run_live() -> None:
    """The total of batch takes the batch price of one and the live price of the other."""
    live, batch = total_by_mode(
        [
            task_plan("brainstorm", 1, offer("4"), offer("2", mode="batch", seconds=BATCH_S)),
            task_plan("validate", 1, offer("1")),
        ],
        PHASES,
    )
    assert (live.expected, batch.expected) == (Decimal(5), Decimal(3))
    assert (live.calls, batch.calls) == (2, 1)
    assert batch.expected_seconds == BATCH_S + 10


# Budgets


def account(cap: str, spent: str = "0", reserved: str = "0", **window: object) -> Account:
    kind = BudgetKind.PHASE if "phase" in window else BudgetKind.DAY
    return Account(
        window=Window(
            kind=kind,
            name="2026-11-22",
            cap=Decimal(cap),
            first_day=date(2026, 11, 22),
            last_day=date(2026, 11, 22),
            **window,  # type: ignore[arg-type]
        ),
        spent=Decimal(spent),
        reserved=Decimal(reserved),
    )


RUN = [
    task_plan("brainstorm", 1, offer("1", "2")),
    task_plan("draft", 4, offer("2", "5")),
    task_plan("polish", 5, offer("1", "3")),
]


@pytest.mark.parametrize(
    ("budget", "exceeded", "worst_exceeded", "refused"),
    [
        (account("10"), False, False, ""),
        (account("11", spent="1"), False, False, ""),
        (account("10", spent="1"), False, True, ""),
        (account("9", spent="1", reserved="1"), False, True, ""),
        (account("6", spent="1"), False, True, "draft"),
        (account("4"), False, True, "draft"),
        (account("3.99"), True, True, "draft"),
        (account("5", phase=4), False, False, ""),
        (account("1.5", phase=4), True, True, "draft"),
    ],
)
def test_budgets_are_told_by_expected_and_by_worst_case(
    budget: Account, exceeded: bool, worst_exceeded: bool, refused: str
) -> None:
    """A run of $4 expected and $10 at worst; a call is refused where its worst case has no room."""
    seen = outlook(budget, RUN, ZERO)
    assert (seen.exceeded, seen.worst_exceeded, seen.refused) == (exceeded, worst_exceeded, refused)


def test_research_may_not_take_what_is_kept_for_writing() -> None:
    """With nine tenths ring-fenced, a dollar of research does not fit: it is cut short."""
    seen = outlook(account("9"), RUN, Decimal("0.9"))
    assert seen.exceeded
    assert (seen.cut_short, seen.refused) == ("brainstorm", "")


def test_a_run_from_the_cache_fits_into_a_budget_that_is_used_up() -> None:
    """What costs nothing is never over budget."""
    seen = outlook(account("1", spent="2"), [task_plan("draft", 4)], ZERO)
    assert not seen.exceeded
    assert not seen.worst_exceeded
    assert seen.left == -1


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=6),
    st.integers(0, 5 * 10**9),
    st.integers(0, 5 * 10**9),
)
def test_a_run_that_fits_at_worst_is_never_refused(
    costs: list[tuple[int, int]], cap: int, spent: int
) -> None:
    """Worst case fits => expected fits and no call is refused; exceeded <=> expected > left."""
    nano = Decimal("1e-9")
    tasks = [
        task_plan(f"t{n}", 4, offer(str(min(pair) * nano), str(max(pair) * nano)))
        for n, pair in enumerate(costs)
    ]
    seen = outlook(account(str(cap * nano), str(spent * nano)), tasks, ZERO)
    expected = sum(min(pair) for pair in costs)
    assert seen.exceeded == (expected > 0 and expected > cap - spent)
    if not seen.worst_exceeded:
        assert not seen.exceeded
        assert seen.refused == ""


async def test_accounts_given_are_judged_one_by_one() -> None:
    """Two budgets, one too small: the plan is over budget."""
    made, _rehearsal = await plan(known=knowing(accounts=(account("100"), account("0.01"))))
    assert [budget.exceeded for budget in made.budgets] == [False, True]
    assert made.is_over_budget
