from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aigenflow.batch import jobs as jobs_module
from aigenflow.batch.job_moves import (
    ABANDONED_S,
    FIRST_POLL_S,
    LISTING_S,
    MOVE_IN_STATE,
    SLOWEST_POLL_S,
    STUCK_S,
    Move,
    item_id,
    match,
    merge,
    new_tag,
    next_move,
    poll_pause,
    question_of,
)
from aigenflow.batch.job_store import Ending, Job, JobStore, Stage, jobs_url
from aigenflow.batch.jobs import JobDesk
from aigenflow.core.errors import (
    AuthenticationError,
    BudgetExceededError,
    GatewayError,
    InputError,
    JobItemNotRunError,
    JobUnknownError,
    MalformedAnswerError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedError,
    RunStoppedError,
    ServerFaultError,
    TooLargeError,
)
from aigenflow.core.events import Event, JobWatched, Warned
from aigenflow.core.jobs import ItemOutcome, JobState, JobStatus
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    GatewayResponse,
    Route,
    ServedFrom,
)
from aigenflow.testing.clock import START, ManualClock
from tests.support.jobs import (
    JobProvider,
    KilledError,
    Life,
    MemoryBooks,
    Mortal,
    a_request,
    answer_to,
    is_typed,
    route_at,
)

TASKS = ("draft", "charts", "review", "polish", "summary")
PROVIDERS = {Backend.ANTHROPIC: False, Backend.OPENAI: True, Backend.GEMINI: True}
"""Whether it keeps tags."""


@pytest.fixture(autouse=True)
def threads_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done in a thread is done at once, so that only the clock of the test moves."""

    async def at_once(function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    monkeypatch.setattr(jobs_module.asyncio, "to_thread", at_once)


class World:
    """One provider, one ledger and one home, outliving the processes that use them."""

    def __init__(self, home: Path, backend: Backend = Backend.OPENAI, **behaviour: Any) -> None:
        self.clock = ManualClock(auto_advance=True)
        self.home = home
        self.route = route_at(backend)
        self.books = MemoryBooks()
        self.provider = JobProvider(self.clock, keeps_tags=PROVIDERS[backend], **behaviour)
        self.events: list[Event] = []

    @asynccontextmanager
    async def process(self, life: Life | None = None) -> AsyncIterator[JobDesk]:
        """A desk in a process of its own."""
        life = life or Life()
        store = JobStore(jobs_url("sqlite:", self.home), self.home)
        provider: Any = Mortal(self.provider, life)
        mortal_store: Any = Mortal(store, life)
        books: Any = Mortal(self.books, life)
        desk = JobDesk(
            mortal_store, lambda _route: provider, books, self.clock, on_event=self.events.append
        )
        try:
            yield desk
        finally:
            await desk.aclose()
            store.close()

    @property
    def store(self) -> JobStore:
        return JobStore(jobs_url("sqlite:", self.home), self.home)

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    async def ask(
        self,
        tasks: Sequence[str] = TASKS,
        life: Life | None = None,
        requests: Callable[[str], AgentRequest] = a_request,
    ) -> list[GatewayResponse | BaseException]:
        """Ask everything at the same time, in a process of its own."""
        async with self.process(life) as desk:
            return await asyncio.gather(
                *(desk.send(requests(task), self.route) for task in tasks), return_exceptions=True
            )


async def until(condition: Callable[[], object]) -> None:
    for _turn in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


def answers(outcomes: Sequence[GatewayResponse | BaseException]) -> list[str]:
    return [one.content for one in outcomes if isinstance(one, GatewayResponse)]


def expected(tasks: Sequence[str] = TASKS) -> list[str]:
    return [answer_to(a_request(task)).content for task in tasks]


# Decisions


def test_every_state_of_a_provider_has_its_move() -> None:
    """The table is closed: a state that is added must be decided on."""
    assert set(MOVE_IN_STATE) == set(JobState)
    for state, move in MOVE_IN_STATE.items():
        assert (move is Move.POLL) is not state.is_over


A_JOB = Job(tag="t", route=route_at(Backend.OPENAI), created=START, size=1)
RUNNING = replace(A_JOB, stage=Stage.SUBMITTED, ids=("j",), state=JobState.RUNNING, submitted=START)

JUST_STOPPED = replace(RUNNING, cancelled=START + timedelta(seconds=ABANDONED_S))


@pytest.mark.parametrize(
    ("job", "age_s", "flags", "move"),
    [
        (A_JOB, 0, {"is_new": True}, Move.SUBMIT),
        (A_JOB, 0, {}, Move.RECONCILE),
        (replace(A_JOB, stage=Stage.CLOSED), 0, {}, Move.REST),
        (replace(A_JOB, stage=Stage.COLLECTED), 0, {}, Move.SETTLE),
        (RUNNING, 60, {}, Move.POLL),
        (RUNNING, -3600, {}, Move.POLL),
        (RUNNING, 60, {"is_too_late": True}, Move.CANCEL),
        (replace(RUNNING, cancelled=START), 60, {"is_too_late": True}, Move.POLL),
        (RUNNING, STUCK_S + 1, {}, Move.CANCEL),
        (replace(RUNNING, cancelled=START), STUCK_S + 1, {}, Move.POLL),
        (replace(RUNNING, cancelled=START), ABANDONED_S + 1, {}, Move.ABANDON),
        (replace(RUNNING, cancelled=START), ABANDONED_S + 1, {"is_seen": False}, Move.POLL),
        (RUNNING, ABANDONED_S + 1, {"is_seen": False, "is_too_late": True}, Move.POLL),
        (JUST_STOPPED, ABANDONED_S + 1, {}, Move.POLL),
        (RUNNING, ABANDONED_S + 1, {}, Move.CANCEL),
        (replace(RUNNING, state=JobState.EXPIRED), ABANDONED_S + 1, {}, Move.COLLECT),
        (replace(RUNNING, state=JobState.FAILED), 0, {}, Move.WRITE_OFF),
    ],
)
def test_the_next_move(job: Job, age_s: float, flags: dict[str, bool], move: Move) -> None:
    """What is done follows from the job, the time, and who waits."""
    given = {"is_new": False, "is_seen": True, "is_too_late": False, **flags}
    assert next_move(job, START + timedelta(seconds=age_s), **given) is move


def test_pauses_grow_from_five_seconds_to_five_minutes() -> None:
    """Never shorter than the one before, however long the job takes."""
    pauses = [poll_pause(polls) for polls in range(200)]
    assert pauses[0] == FIRST_POLL_S
    assert pauses[-1] == SLOWEST_POLL_S
    assert pauses == sorted(pauses)


def result(item: str, text: str = "yes") -> ItemOutcome:
    return ItemOutcome(id=item, response=GatewayResponse(content=text))


def failure(item: str) -> ItemOutcome:
    return ItemOutcome(id=item, error=ServerFaultError("no"))


def test_results_are_matched_by_id_alone() -> None:
    """Order, doubled lines and unknown ids change nothing; what is missing did not run."""
    matched = match(["a", "b", "c"], [[result("c"), result("x"), result("a"), result("a")]])
    assert [one.id for one in matched.outcomes] == ["a", "b", "c"]
    assert isinstance(matched.outcomes[1].error, JobItemNotRunError)
    assert matched.unknown == 1
    assert matched.again == ()


def test_of_two_submissions_each_item_counts_once() -> None:
    """The first answer is used; a second one was paid for nothing; an error is replaced."""
    matched = match(["a", "b"], [[result("a", "1"), failure("b")], [result("a", "2"), result("b")]])
    assert [one.response.content for one in matched.outcomes if one.response] == ["1", "yes"]
    assert [one.response.content for one in matched.again if one.response] == ["2"]


@given(st.lists(st.sampled_from("abcx"), max_size=12), st.randoms())
def test_any_results_give_every_item_one_outcome(ids: list[str], random: Any) -> None:
    """Whatever comes back, in whatever order."""
    lines = [random.choice([result, failure])(one) for one in ids]
    matched = match(["a", "b", "c"], [lines])
    assert [one.id for one in matched.outcomes] == ["a", "b", "c"]
    for outcome in matched.outcomes:
        assert (outcome.response is None) is not (outcome.error is None)
        good = any(line.id == outcome.id and line.response for line in lines)
        assert bool(outcome.response) is good


def test_a_job_submitted_twice_is_over_when_both_are() -> None:
    """One that was turned down does not count beside one that was not."""
    status = {state: JobStatus(job=state, tag="t", state=state) for state in JobState}
    both = [status[JobState.ENDED], status[JobState.RUNNING]]
    assert merge(both).state is JobState.RUNNING
    assert merge([status[JobState.FAILED], status[JobState.ENDED]]).state is JobState.ENDED
    assert merge([status[JobState.FAILED]]).state is JobState.FAILED


@given(st.text(max_size=80), st.integers(0, 99_999))
def test_ids_are_what_providers_take(session: str, number: int) -> None:
    """1 to 64 of letters, digits, - and _, whatever the session is called."""
    name = item_id(new_tag(session, "0123456789ab"), number)
    assert 1 <= len(name) <= 64
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in name)


def test_a_question_is_the_same_for_whomever_and_however_it_is_bought() -> None:
    """Session and way of buying make no difference; the account's address and the model do."""
    route = route_at(Backend.OPENAI)
    same = question_of(a_request(session="other", complete_by=START), route)
    assert same == question_of(a_request(), route)
    assert same != question_of(a_request(), replace(route, model="n"))
    assert same != question_of(a_request(prompt="Else?"), route)


# The fourteen cases, at each provider


@dataclass(frozen=True)
class Case:
    """What a provider does, and what must come of five requests."""

    behaviour: dict[str, Any]
    answered: int
    failed: type[GatewayError] | None = None
    rows: dict[str, int] | None = None
    warns: str = ""


def reverse(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return lines[::-1]


def without_first(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return lines[1:]


def doubled(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return [*lines, *lines]


def strange(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return [*lines, result("nobody-1")]


def two_failed(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return [*lines[:3], *(failure(line.id) for line in lines[3:])]


def only_errors(lines: list[ItemOutcome]) -> list[ItemOutcome]:
    return [failure(line.id) for line in lines]


def unavailable(times: int) -> list[Exception]:
    return [ServerFaultError("503") for _ in range(times)]


CASES = {
    "lost after create": Case({"loses_create": 1}, 5),
    "expired with nothing done": Case(
        {"end": JobState.EXPIRED, "done": 0.0}, 0, JobItemNotRunError
    ),
    "expired with 40 % done": Case({"end": JobState.EXPIRED, "done": 0.4}, 2, JobItemNotRunError),
    "expired with all done": Case({"end": JobState.EXPIRED}, 5),
    "partial failure": Case({"change": two_failed}, 3, ServerFaultError),
    "out of order": Case({"change": reverse}, 5),
    "missing": Case({"change": without_first}, 4, JobItemNotRunError),
    "duplicated": Case({"change": doubled}, 5),
    "unknown id": Case({"change": strange}, 5, warns="nobody asked for"),
    "error file and no output": Case({"change": only_errors}, 0, ServerFaultError),
    "stuck for 25 hours": Case({"takes_s": 10 * 86_400, "done": 0.4}, 2, JobItemNotRunError),
    "does not even stop": Case(
        {"takes_s": 10 * 86_400, "is_deaf_to_cancel": True},
        0,
        JobItemNotRunError,
        {"lost": 5},
        "does not stop",
    ),
    "results window passed": Case({"gone": True}, 0, JobUnknownError, {"lost": 5}),
    "id unknown at the provider": Case({"forgets": True}, 0, JobUnknownError, {"lost": 5}),
    "503 for hours": Case({"faults": {"status": unavailable(40), "results": unavailable(40)}}, 5),
    "turned down as a whole": Case({"end": JobState.FAILED}, 0, JobItemNotRunError),
    "a result file that is cut off": Case(
        {"faults": {"results": [MalformedAnswerError("half a file")]}}, 5
    ),
}


@pytest.mark.parametrize("backend", PROVIDERS)
@pytest.mark.parametrize("name", CASES)
async def test_every_request_ends_exactly_once(tmp_path: Path, backend: Backend, name: str) -> None:
    """A result, a typed error, or the word that it did not run; the money is settled."""
    case = CASES[name]
    world = World(tmp_path, backend, **case.behaviour)
    outcomes = await world.ask()
    assert len(answers(outcomes)) == case.answered
    errors = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(is_typed(error) for error in errors), errors
    if case.failed is not None:
        assert {type(error) for error in errors} == {case.failed}
    assert world.books.held == {}
    assert world.provider.calls["submit"] == 1
    wanted = {"paid": case.answered, "lost": 0, "waste": 0, **(case.rows or {})}
    assert {kind: world.books.count(kind) for kind in wanted} == wanted
    assert case.warns in " ".join(world.warnings())
    (job,) = world.store.jobs()
    assert job.stage is Stage.CLOSED


@pytest.mark.parametrize("backend", PROVIDERS)
async def test_a_job_submitted_twice_is_found_and_its_second_answers_are_waste(
    tmp_path: Path, backend: Backend
) -> None:
    """Both carry the tag: one is used, the others are stopped, and what they cost is written."""
    if not PROVIDERS[backend]:
        pytest.skip("without tags a second job cannot be told from somebody else's")
    world = World(tmp_path, backend, loses_create=1)
    submit = world.provider.submit

    async def twice(items: Any, tag: str) -> JobStatus:
        with pytest.raises(GatewayError):
            await submit(items, tag)
        world.provider.loses_create = 1
        return await submit(items, tag)

    world.provider.submit = twice  # type: ignore[method-assign]
    world.provider.done = 0.4
    outcomes = await world.ask()
    assert answers(outcomes) == expected()
    assert world.provider.jobs["job-2"].cancelled
    assert world.books.count("paid") == 5
    assert world.books.count("waste") == 2
    assert "submitted 2 times" in " ".join(world.warnings())


async def test_a_cancelled_job_keeps_what_it_had_done(tmp_path: Path) -> None:
    """From the time an answer is wanted by, the job is stopped; what it answered is used."""
    world = World(tmp_path, takes_s=86_000, done=0.4)
    by = START + timedelta(hours=1)
    outcomes = await world.ask(requests=lambda task: a_request(task, complete_by=by))
    assert answers(outcomes) == expected(TASKS[:2])
    assert all(isinstance(one, JobItemNotRunError) for one in outcomes[2:])
    assert world.provider.calls["cancel"] == 1
    assert START + timedelta(hours=1) <= world.clock.now() < START + timedelta(hours=2)


async def test_a_job_that_ends_as_it_is_cancelled_is_used(tmp_path: Path) -> None:
    """The race is the provider's to decide: its last word counts."""
    world = World(tmp_path, takes_s=3601)
    by = START + timedelta(hours=1)
    cancel = world.provider.cancel

    async def too_late(job: str) -> None:
        world.clock.advance(2)
        await cancel(job)

    world.provider.cancel = too_late  # type: ignore[method-assign]
    outcomes = await world.ask(requests=lambda task: a_request(task, complete_by=by))
    assert answers(outcomes) == expected()
    assert sum(world.provider.billed.values()) == 5


# Handing in


async def test_requests_of_one_account_and_model_share_a_job(tmp_path: Path) -> None:
    """Others do not; nor do those wanted by another time."""
    world = World(tmp_path)
    async with world.process() as desk:
        await asyncio.gather(
            *(desk.send(a_request(task), world.route) for task in TASKS),
            desk.send(a_request("else"), replace(world.route, model="n")),
            desk.send(a_request("soon", complete_by=START + timedelta(hours=9)), world.route),
        )
    assert sorted(len(job.items) for job in world.provider.jobs.values()) == [1, 1, 5]


@pytest.mark.parametrize("limit", [{"max_items": 2}, {"max_bytes": 10_000}])
async def test_a_job_never_exceeds_what_its_provider_takes(
    tmp_path: Path, limit: dict[str, int]
) -> None:
    """More requests than that become several jobs."""
    world = World(tmp_path, **limit)
    assert answers(await world.ask()) == expected()
    assert sorted(len(job.items) for job in world.provider.jobs.values()) == [1, 2, 2]


async def test_the_same_question_twice_is_one_item(tmp_path: Path) -> None:
    """Who did not pay gets the answer as from a cache."""
    world = World(tmp_path)
    async with world.process() as desk:
        first, second = await asyncio.gather(
            desk.send(a_request(session="s1"), world.route),
            desk.send(a_request(session="s2"), world.route),
        )
    assert (first.served_from, second.served_from) == (ServedFrom.BATCH, ServedFrom.CACHE)
    assert first.call_ids
    assert not second.call_ids
    assert world.books.made == 1


async def test_a_budget_without_room_is_told_before_anything_is_handed_in(tmp_path: Path) -> None:
    """Nothing is written down and nothing submitted."""
    world = World(tmp_path)
    world.books.refusal = BudgetExceededError("no room")
    outcomes = await world.ask()
    assert all(isinstance(one, BudgetExceededError) for one in outcomes)
    assert world.provider.calls["submit"] == 0
    assert world.store.jobs() == []


async def test_a_create_that_is_surely_refused_is_repeated_where_that_may_help(
    tmp_path: Path,
) -> None:
    """A rate limit is waited for; the job is made once."""
    world = World(tmp_path, faults={"submit": [RateLimitedError("429", retry_after_s=700.0)]})
    assert answers(await world.ask()) == expected()
    assert world.provider.calls["submit"] == 2
    assert len(world.provider.jobs) == 1
    assert 700.0 in world.clock.sleeps


async def test_a_create_that_is_refused_for_good_is_told_as_not_run(tmp_path: Path) -> None:
    """So it can be bought live; no money stays set aside."""
    world = World(tmp_path, faults={"submit": [TooLargeError("413")]})
    outcomes = await world.ask()
    assert all(isinstance(one, JobItemNotRunError) for one in outcomes)
    assert world.books.held == {}
    assert "413" in str(outcomes[0])


REFUSALS = [
    AuthenticationError("401"),
    QuotaExhaustedError("402"),
    ModelNotFoundError("404"),
    RejectedError("400"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
@pytest.mark.parametrize("method", ["status", "results", "find", "cancel"])
async def test_what_is_refused_about_an_open_job_stops_the_run_and_not_the_job(
    tmp_path: Path, method: str, refusal: GatewayError
) -> None:
    """Not an error that another agent stands in for: the answers may be on their way."""
    world = World(tmp_path, faults={method: [refusal]}, loses_create=int(method == "find"))
    by = START + timedelta(seconds=60) if method == "cancel" else None
    outcomes = await world.ask(requests=lambda task: a_request(task, complete_by=by))
    (job,) = world.store.jobs()
    assert job.stage is not Stage.CLOSED
    for outcome in outcomes:
        assert isinstance(outcome, RunStoppedError)
        assert job.tag in outcome.message
        assert refusal.message in outcome.message
        assert f"aigenflow batch cancel {job.tag}" in outcome.hint
    assert len({id(one) for one in outcomes}) == 5
    assert set(world.books.held.values()) == {job.tag}
    world.clock.advance(3600)
    assert answers(await world.ask()) == expected()
    assert world.provider.calls["submit"] == 1
    assert set(world.provider.billed.values()) == {1}


async def test_who_waits_for_a_job_only_is_told_the_provider_s_own_words(tmp_path: Path) -> None:
    """`aigenflow batch wait` names the job itself."""
    world = World(tmp_path)
    await hand_in_and_die(world)
    world.provider.faults["status"] = [AuthenticationError("401")]
    async with world.process() as desk:
        with pytest.raises(AuthenticationError, match="401"):
            await desk.wait("job-1")


async def test_an_open_job_is_known_to_those_who_would_stand_in(tmp_path: Path) -> None:
    """By session and task, as long as it is not settled, and only to another agent."""
    world = World(tmp_path)
    await hand_in_and_die(world)
    stand_in = replace(world.route, actor=AgentType.CHATGPT)
    async with world.process() as desk:
        found = desk.open_at_another(a_request(prompt="Cut to fit."), stand_in)
        assert found is not None
        assert found.tag == desk.open_jobs()[0].tag
        assert desk.open_at_another(a_request(), world.route) is None
        assert desk.open_at_another(a_request("charts"), stand_in) is None
        assert desk.open_at_another(a_request(session="s2"), stand_in) is None
        await desk.wait(found.tag)
        assert desk.open_at_another(a_request(), stand_in) is None


# Several who wait for one job


def urgent(task: str) -> AgentRequest:
    return a_request(task, session="urgent", complete_by=START + timedelta(seconds=60))


async def test_who_is_late_does_not_stop_a_job_that_others_wait_for(tmp_path: Path) -> None:
    """It waits with them, which is said once: to buy it again would be to pay twice."""
    world = World(tmp_path)
    async with world.process() as desk:
        patient = asyncio.create_task(desk.send(a_request(), world.route))
        await until(lambda: any(job.ids for job in desk.open_jobs()))
        both = await asyncio.gather(patient, desk.send(urgent("draft"), world.route))
    assert answers(both) == expected(["draft"]) * 2
    assert world.provider.calls["cancel"] == 0
    assert ["to pay twice" in told for told in world.warnings()] == [True]


async def test_when_nobody_can_wait_any_longer_the_job_is_stopped(tmp_path: Path) -> None:
    """Also where the one who could wait has gone; what sessions elsewhere lose is said."""
    world = World(tmp_path, done=0.4)
    async with world.process() as desk:
        patient = [asyncio.create_task(desk.send(a_request(t), world.route)) for t in TASKS]
        await until(lambda: any(job.ids for job in desk.open_jobs()))
        late = [asyncio.create_task(desk.send(urgent(t), world.route)) for t in TASKS]
        await until(lambda: world.clock.now() > START + timedelta(seconds=120))
        assert world.provider.calls["cancel"] == 0
        for task in patient:
            task.cancel()
        outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert answers(outcomes) == expected(TASKS[:2])
    assert all(isinstance(one, JobItemNotRunError) for one in outcomes[2:])
    assert world.provider.calls["cancel"] == 1
    assert any("was also for s1" in told for told in world.warnings())


async def test_a_process_that_is_late_leaves_the_job_to_one_that_is_not(tmp_path: Path) -> None:
    """The late one has the right to work the job, and offers it before it stops anything."""
    world = World(tmp_path, takes_s=600.0)
    async with world.process() as hasty, world.process() as patient:
        first = asyncio.create_task(hasty.send(urgent("draft"), world.route))
        await until(lambda: any(job.ids for job in hasty.open_jobs()))
        second = asyncio.create_task(patient.send(a_request(), world.route))
        both = await asyncio.gather(first, second)
    assert answers(both) == expected(["draft"]) * 2
    assert world.provider.calls["cancel"] == 0
    assert sum(world.provider.billed.values()) == 1


async def test_two_processes_that_are_both_late_stop_the_job(tmp_path: Path) -> None:
    """They do not offer it to each other for ever."""
    world = World(tmp_path, takes_s=80_000.0, done=0.0)
    async with world.process() as one, world.process() as other:
        first = asyncio.create_task(one.send(urgent("draft"), world.route))
        await until(lambda: any(job.ids for job in one.open_jobs()))
        late = replace(urgent("draft"), session="s2")
        both = await asyncio.gather(first, other.send(late, world.route), return_exceptions=True)
    assert {type(one) for one in both} == {JobItemNotRunError}
    assert world.provider.calls["cancel"] == 1
    assert world.clock.now() < START + timedelta(hours=1)


async def test_a_job_that_a_session_left_behind_is_not_waited_for_on_its_behalf(
    tmp_path: Path,
) -> None:
    """Who is alone and late stops it, whatever sleeping sessions it was for as well."""
    world = World(tmp_path, takes_s=80_000.0, done=0.0)
    await hand_in_and_die(world)
    outcomes = await world.ask(["draft"], requests=urgent)
    assert {type(one) for one in outcomes} == {JobItemNotRunError}
    assert world.provider.calls["cancel"] == 1


# What a job left at its provider


async def test_what_a_job_left_is_deleted_when_its_answers_are_kept_here(tmp_path: Path) -> None:
    """Never before they are: another process finds every outcome in the store."""
    world = World(tmp_path)
    delete, endings = world.provider.delete, list[dict[Any, int]]()

    async def watched(job: str) -> None:
        (known,) = world.store.jobs()
        assert known.stage is Stage.COLLECTED
        endings.append(world.store.endings(known.tag))
        await delete(job)

    world.provider.delete = watched  # type: ignore[method-assign]
    assert answers(await world.ask()) == expected()
    assert endings == [{Ending.RESULT: 5}]
    assert world.provider.deleted == ["job-1"]


@pytest.mark.parametrize("fault", [ServerFaultError("503"), RejectedError("not yours")])
async def test_what_cannot_be_deleted_is_said_and_stops_nothing(
    tmp_path: Path, fault: GatewayError
) -> None:
    """It is tried once; the answers are there, and the job is closed."""
    world = World(tmp_path, faults={"delete": [fault]})
    assert answers(await world.ask()) == expected()
    assert world.provider.calls["delete"] == 1
    assert [fault.message in told for told in world.warnings()] == [True]
    assert world.store.jobs()[0].stage is Stage.CLOSED


async def test_a_job_that_is_not_there_any_more_left_nothing(tmp_path: Path) -> None:
    """Nobody is told that it cannot be deleted."""
    world = World(tmp_path, gone=True, forgets=True)
    await world.ask()
    assert not any("deleted" in told for told in world.warnings())


async def test_a_create_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """A provider that fails every time, and surely has no job, does not hold a run for ever."""
    faults = [ServerFaultError("500", possibly_billed=True) for _ in range(50)]
    world = World(tmp_path, faults={"submit": faults})
    outcomes = await world.ask()
    assert {type(one) for one in outcomes} == {JobItemNotRunError}
    assert world.provider.calls["submit"] == 3
    assert world.books.held == {}
    assert world.store.jobs() == []


async def test_the_job_answers_for_the_money_before_the_provider_has_it(tmp_path: Path) -> None:
    """So nobody writes it off as a dead process's, whenever that dies."""
    world = World(tmp_path)
    submit, held = world.provider.submit, list[str]()

    async def watched(items: Any, tag: str) -> JobStatus:
        held.extend(world.books.held.values())
        return await submit(items, tag)

    world.provider.submit = watched  # type: ignore[method-assign]
    await world.ask()
    assert len(held) == 5
    assert all(held)


async def test_no_time_left_is_told_without_a_job(tmp_path: Path) -> None:
    """What is wanted by now is not handed in."""
    world = World(tmp_path)
    outcomes = await world.ask(requests=lambda task: a_request(task, complete_by=START))
    assert all(isinstance(one, JobItemNotRunError) for one in outcomes)
    assert world.provider.calls == {}


async def test_progress_is_told_when_something_has_changed(tmp_path: Path) -> None:
    """Not once per poll."""
    world = World(tmp_path, takes_s=7200)
    await world.ask()
    told = [event for event in world.events if isinstance(event, JobWatched)]
    assert [(one.state, one.done, one.total) for one in told] == [
        (JobState.RUNNING, 0, 5),
        (JobState.ENDED, 5, 5),
    ]
    assert world.provider.calls["status"] > 10


# Processes that end


async def test_who_stops_waiting_leaves_the_job_to_the_provider(tmp_path: Path) -> None:
    """Nothing is cancelled there, the money stays with the job, and the next one goes on."""
    world = World(tmp_path)
    async with world.process() as desk:
        asked = asyncio.create_task(desk.send(a_request(), world.route))
        await until(lambda: world.provider.jobs and desk.open_jobs()[0].ids)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        (job,) = desk.open_jobs()
        assert job.stage is Stage.SUBMITTED
    assert list(world.books.held.values()) == [job.tag]
    assert answers(await world.ask(["draft"])) == expected(["draft"])
    assert (world.provider.calls["submit"], world.provider.calls["cancel"]) == (1, 0)


async def test_who_leaves_before_the_job_is_made_leaves_nothing_behind(tmp_path: Path) -> None:
    """No job, no money set aside."""
    world = World(tmp_path)
    async with world.process() as desk:
        asked = asyncio.create_task(desk.send(a_request(), world.route))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert world.books.held == {}
    assert world.provider.calls == {}


async def test_a_result_that_nobody_took_is_for_whoever_asks_next(tmp_path: Path) -> None:
    """Collected without a session, used by another one on another day, and then no more."""
    world = World(tmp_path)
    async with world.process() as desk:
        asked = asyncio.create_task(desk.send(a_request(), world.route))
        await until(lambda: any(job.ids for job in desk.open_jobs()))
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    async with world.process() as desk:
        (job,) = desk.open_jobs()
        closed = await desk.wait(job.tag)
    assert closed is not None
    assert closed.stage is Stage.CLOSED
    assert world.books.count("paid") == 1
    for session, submits in (("s9", 1), ("s9", 1), ("s1", 1), ("s7", 2)):
        (outcome,) = await world.ask(["draft"], requests=lambda t, s=session: a_request(t, s))
        assert isinstance(outcome, GatewayResponse)
        assert world.provider.calls["submit"] == submits, session


async def test_waiting_for_a_job_that_never_got_there_frees_its_money(tmp_path: Path) -> None:
    """After its provider's list can be trusted, it is forgotten."""
    world = World(tmp_path)
    async with world.process(Life()) as desk:
        world.provider.faults["submit"] = [KilledError()]  # type: ignore[list-item]
        with pytest.raises(KilledError):
            await desk.send(a_request(), world.route)
    async with world.process() as desk:
        (job,) = desk.open_jobs()
        assert await desk.wait(job.tag) is None
    assert world.books.held == {}
    assert world.clock.now() - START >= timedelta(seconds=LISTING_S)
    assert world.store.jobs() == []


async def hand_in_and_die(world: World) -> None:
    """A process that ends while its job runs."""
    async with world.process() as desk:
        asked = asyncio.create_task(desk.send(a_request(), world.route))
        await until(lambda: any(job.ids for job in desk.open_jobs()))
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


@pytest.mark.parametrize("days", [1.5, 3, 20])
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_job_is_collected_days_later(
    tmp_path: Path, days: float, is_cancelled: bool
) -> None:
    """It is looked at before anything is thought of its age."""
    world = World(tmp_path)
    await hand_in_and_die(world)
    if is_cancelled:
        async with world.process() as desk:
            world.clock.advance(10_000)
            await desk.cancel("job-1")
    world.clock.advance(days * 86_400)
    assert answers(await world.ask(["draft"])) == expected(["draft"])
    assert (world.provider.calls["submit"], world.provider.calls["cancel"]) == (1, is_cancelled)
    assert world.books.count("paid") == 1


async def test_a_late_create_is_waited_for_in_the_list(tmp_path: Path) -> None:
    """It may be made long after its intent, and be listed a while after that."""
    world = World(tmp_path)
    submit, find = world.provider.submit, world.provider.find

    async def slow(items: Any, tag: str) -> JobStatus:
        await world.clock.sleep(300)
        world.provider.loses_create = 1
        return await submit(items, tag)

    async def lagging(tag: str, *, since: Any, size: int) -> tuple[JobStatus, ...]:
        found = await find(tag, since=since, size=size)
        listed = world.clock.now() - timedelta(seconds=LISTING_S / 2)
        return tuple(one for one in found if one.submitted and one.submitted < listed)

    world.provider.submit, world.provider.find = slow, lagging  # type: ignore[method-assign]
    assert answers(await world.ask()) == expected()
    assert set(world.provider.billed.values()) == {1}


async def test_a_job_that_is_not_known_yet_is_not_lost(tmp_path: Path) -> None:
    """A provider may need a moment until it knows what it has just made."""
    world = World(tmp_path)
    find, status = world.provider.find, world.provider.status
    known_from = START + timedelta(seconds=LISTING_S / 2)

    async def hazy(job: str) -> JobStatus:
        if world.clock.now() < known_from:
            raise JobUnknownError("no such job")
        return await status(job)

    async def empty(tag: str, *, since: Any, size: int) -> tuple[JobStatus, ...]:
        return () if world.clock.now() < known_from else await find(tag, since=since, size=size)

    world.provider.status, world.provider.find = hazy, empty  # type: ignore[method-assign]
    assert answers(await world.ask()) == expected()
    assert world.books.count("lost") == 0


async def test_a_fault_while_a_lost_job_is_found_again_is_not_told(tmp_path: Path) -> None:
    """Who is told of one buys live, and the job is still there: it is looked for once more."""
    world = World(tmp_path)
    status, failures = world.provider.status, [ServerFaultError("503")]

    async def renamed(job: str) -> JobStatus:
        held = world.provider.jobs.pop("job-1", None)
        if held is not None:
            held.id = "job-one"
            world.provider.jobs[held.id] = held
        elif failures:
            raise failures.pop()
        return await status(job)

    world.provider.status = renamed  # type: ignore[method-assign]
    assert answers(await world.ask()) == expected()
    assert failures == []
    assert set(world.provider.billed.values()) == {1}


async def test_wasted_answers_are_written_once_whatever_their_order(tmp_path: Path) -> None:
    """A crash between the books and the store, and the provider lists them the other way round."""
    world = World(tmp_path, loses_create=1)
    submit = world.provider.submit

    async def twice(items: Any, tag: str) -> JobStatus:
        with pytest.raises(GatewayError):
            await submit(items, tag)
        world.provider.loses_create = 1
        return await submit(items, tag)

    world.provider.submit = twice  # type: ignore[method-assign]
    world.provider.is_deaf_to_cancel = True
    waste, written = world.books.waste, list[str]()

    async def dying(call_id: str, *about: Any) -> None:
        await waste(call_id, *about)
        written.append(call_id)
        if len(written) == 2:
            raise KilledError

    world.books.waste = dying  # type: ignore[assignment,method-assign]
    assert answers(await world.ask(TASKS[:3])) == []
    world.provider.change = reverse
    assert answers(await world.ask(TASKS[:3])) == expected(TASKS[:3])
    assert world.books.count("waste") == 3


async def test_two_processes_work_one_job_once(tmp_path: Path) -> None:
    """The other waits for the outcome; nobody buys or settles twice."""
    world = World(tmp_path)
    async with world.process() as one, world.process() as other:
        first, second = await asyncio.gather(
            one.send(a_request(session="s1"), world.route),
            other.send(a_request(session="s2"), world.route),
        )
    assert first.content == second.content
    assert world.provider.calls["submit"] == 1
    assert sum(world.provider.billed.values()) == world.books.count("paid") == 1
    assert world.books.held == {}


async def test_a_job_can_be_looked_at_and_cancelled(tmp_path: Path) -> None:
    """By our name of it or the provider's; what is over cannot be cancelled."""
    world = World(tmp_path, takes_s=80_000, done=0.4)
    async with world.process() as desk:
        asked = [asyncio.create_task(desk.send(a_request(task), world.route)) for task in TASKS]
        await until(lambda: world.provider.calls["status"])
        looked = await desk.look("job-1")
        assert looked.state is JobState.RUNNING
        assert (await desk.cancel(looked.tag)).cancelled is not None
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert answers(outcomes) == expected(TASKS[:2])
        with pytest.raises(InputError, match="over already"):
            await desk.cancel("job-1")
        with pytest.raises(InputError, match="no batch job"):
            await desk.look("nothing")


async def test_an_error_of_an_item_is_told_once(tmp_path: Path) -> None:
    """Who asks again afterwards buys again."""
    world = World(tmp_path, change=only_errors)
    assert isinstance((await world.ask(["draft"]))[0], ServerFaultError)
    world.provider.change = list
    assert answers(await world.ask(["draft"])) == expected(["draft"])
    assert world.provider.calls["submit"] == 2


@pytest.mark.parametrize("backend", PROVIDERS)
@pytest.mark.parametrize("dies_after", [False, True])
async def test_killed_at_any_step_nothing_is_bought_twice(
    tmp_path: Path, backend: Backend, dies_after: bool
) -> None:
    """Every call of store, books and provider is once the last one of its process."""
    steps = 0
    while True:
        steps += 1
        world = World(tmp_path / str(steps), backend)
        life = Life(steps_left=steps, dies_after=dies_after)
        outcomes = await world.ask(TASKS[:2], life)
        again = await world.ask(TASKS[:2])
        assert answers(again) == expected(TASKS[:2]), steps
        assert set(world.provider.billed.values()) == {1}, steps
        assert world.books.count("paid") == 2, steps
        handed_over = [job for job in world.books.held.values() if job]
        assert not handed_over, "only money that no job answers for may be left"
        if not life.is_over:
            assert answers(outcomes) == expected(TASKS[:2])
            break
    assert steps > 15


FAULTS = st.dictionaries(
    st.sampled_from(["status", "results", "find", "cancel"]),
    st.integers(0, 3).map(unavailable),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    backend=st.sampled_from(list(PROVIDERS)),
    lives=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=4),
    faults=FAULTS,
    loses=st.integers(0, 1),
    end=st.sampled_from([JobState.ENDED, JobState.EXPIRED, JobState.FAILED]),
    done=st.sampled_from([0.0, 0.4, 1.0]),
    change=st.sampled_from([list, reverse, doubled, strange]),
)
def test_whatever_fails_and_whenever_it_dies_nothing_is_bought_twice(
    tmp_path_factory: pytest.TempPathFactory, backend: Backend, **happens: Any
) -> None:
    """Any crashes and faults in any order: one ending each, and the books agree with the bill."""
    asyncio.run(live_through(tmp_path_factory.mktemp("world"), backend, **happens))


async def live_through(
    home: Path,
    backend: Backend,
    *,
    lives: list[tuple[int, bool]],
    faults: dict[str, list[Exception]],
    loses: int,
    end: JobState,
    done: float,
    change: Any,
) -> None:
    world = World(
        home,
        backend,
        faults={name: list(errors) for name, errors in faults.items()},
        loses_create=loses,
        end=end,
        done=done,
        change=change,
    )
    for steps, dies_after in lives:
        await world.ask(TASKS[:3], Life(steps_left=steps, dies_after=dies_after))
        world.clock.advance(3600)
    outcomes = await world.ask(TASKS[:3])
    for outcome in outcomes:
        assert isinstance(outcome, GatewayResponse | GatewayError)
    assert all(times == 1 for times in world.provider.billed.values())
    assert len(answers(outcomes)) == len(world.provider.billed)
    assert world.books.count("paid") == sum(world.provider.billed.values())
    assert world.books.count("waste") == world.books.count("lost") == 0
    assert not [job for job in world.books.held.values() if job]


async def test_ten_thousand_requests_go_through_one_process(tmp_path: Path) -> None:
    """In jobs of the size that the provider takes, without a stall."""
    world = World(tmp_path, max_items=4000, max_bytes=256_000_000)
    tasks = [f"task-{number}" for number in range(10_000)]
    outcomes = await world.ask(tasks)
    assert answers(outcomes) == expected(tasks)
    assert len(world.provider.jobs) == 3


def test_the_route_of_a_request_is_what_its_provider_is_asked_with() -> None:
    """A desk serves the routes whose provider has jobs."""
    store = JobStore("sqlite:////nowhere/jobs.db", Path("/nowhere"))

    def jobs_of(route: Route) -> JobProvider | None:
        return JobProvider(ManualClock()) if route.backend is Backend.OPENAI else None

    desk = JobDesk(store, jobs_of, MemoryBooks(), ManualClock())
    assert desk.serves(route_at(Backend.OPENAI))
    assert not desk.serves(route_at(Backend.PERPLEXITY))
    assert not desk.knows(a_request(), route_at(Backend.OPENAI))
