"""A provider of batch jobs, books and a process that can die, all in memory."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aigenflow.batch.job_moves import question_of
from aigenflow.core.errors import (
    ConnectionFailedError,
    GatewayError,
    JobItemNotRunError,
    JobUnknownError,
)
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    GatewayResponse,
    Route,
    ServedFrom,
)
from aigenflow.testing.clock import ManualClock


class KilledError(BaseException):
    """The process is dead: nothing it does has an effect any more."""


def route_at(backend: Backend) -> Route:
    return Route(agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=backend, model="m")


def a_request(task: str = "draft", session: str = "s1", **fields: Any) -> AgentRequest:
    values = {"agent": AgentType.CLAUDE, "phase": 4, "prompt": f"Write the {task}.", **fields}
    return AgentRequest(task=task, session=session, **values)


def answer_to(request: AgentRequest) -> GatewayResponse:
    return GatewayResponse(
        content=f"Answer to {request.prompt}",
        input_tokens=100,
        output_tokens=200,
        tokens_used=300,
        served_from=ServedFrom.BATCH,
    )


@dataclass
class Held:
    """One job at the provider."""

    id: str
    tag: str
    items: tuple[JobItem, ...]
    submitted: datetime
    cancelled: bool = False
    results: tuple[ItemOutcome, ...] | None = None


@dataclass
class JobProvider:
    """A :class:`~aigenflow.batch.jobs.JobGateway`; what it does wrong is in its fields.

    A job takes ``takes_s`` and then ends as ``end`` with the share ``done`` of its items run.
    ``faults`` are raised in turn by the named method; a ``change`` is made to every job's results.
    ``billed`` counts, by question, how often an answer was made and charged.
    """

    clock: ManualClock
    keeps_tags: bool = True
    takes_s: float = 420.0
    end: JobState = JobState.ENDED
    done: float = 1.0
    loses_create: int = 0
    forgets: bool = False
    gone: bool = False
    is_deaf_to_cancel: bool = False
    max_items: int = 1000
    max_bytes: int = 10_000_000
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    change: Callable[[list[ItemOutcome]], Sequence[ItemOutcome]] = list
    jobs: dict[str, Held] = field(default_factory=dict)
    billed: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        self._begin("submit")
        held = Held(f"job-{len(self.jobs) + 1}", tag, tuple(items), self.clock.now())
        self.jobs[held.id] = held
        if self.loses_create:
            self.loses_create -= 1
            raise ConnectionFailedError("cut", possibly_billed=True)
        return self._status(held)

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        self._begin("find")
        return tuple(
            self._status(held)
            for held in self.jobs.values()
            if held.submitted >= since
            and (held.tag == tag if self.keeps_tags else len(held.items) == size)
        )

    async def status(self, job: str) -> JobStatus:
        self._begin("status")
        return self._status(self._held(job))

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        self._begin("results")
        held = self._held(job)
        if self.gone:
            raise JobUnknownError("gone after 29 days")
        self._status(held)
        assert held.results is not None, "asked for too early"
        return tuple(self.change(list(held.results)))

    async def cancel(self, job: str) -> None:
        self._begin("cancel")
        held = self._held(job)
        if self._state(held).is_over or self.is_deaf_to_cancel:
            return
        held.cancelled = True

    async def delete(self, job: str) -> None:
        self._begin("delete")
        self._held(job)
        self.deleted.append(job)

    def _begin(self, method: str) -> None:
        self.calls[method] += 1
        if faults := self.faults.get(method):
            raise faults.pop(0)

    def _held(self, job: str) -> Held:
        if self.forgets or job not in self.jobs:
            raise JobUnknownError("no such job")
        return self.jobs[job]

    def _state(self, held: Held) -> JobState:
        if held.cancelled:
            return JobState.CANCELLED
        over_at = held.submitted + timedelta(seconds=self.takes_s)
        return self.end if self.clock.now() >= over_at else JobState.RUNNING

    def _status(self, held: Held) -> JobStatus:
        state = self._state(held)
        if state.is_over and held.results is None:
            held.results = self._run(held, state)
        ran = [one for one in held.results or () if one.response is not None]
        return JobStatus(
            job=held.id,
            tag=held.tag if self.keeps_tags else None,
            state=state,
            submitted=held.submitted,
            total=len(held.items),
            succeeded=len(ran),
            problem="turned down" if state is JobState.FAILED else "",
        )

    def _run(self, held: Held, state: JobState) -> tuple[ItemOutcome, ...]:
        if state is JobState.FAILED:
            return ()
        share = 1.0 if state is JobState.ENDED else self.done
        outcomes = []
        for number, item in enumerate(held.items):
            if number < share * len(held.items):
                self.billed[question_of(item.request, item.route)] += 1
                outcomes.append(ItemOutcome(id=item.id, response=answer_to(item.request)))
            else:
                outcomes.append(ItemOutcome(id=item.id, error=JobItemNotRunError("not run")))
        return tuple(outcomes)


@dataclass
class MemoryBooks:
    """A :class:`~aigenflow.batch.jobs.JobBooks`: what is set aside, and what was paid, by id."""

    held: dict[str, str] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    refusal: Exception | None = None
    made: int = 0

    async def reserve(self, request: AgentRequest, route: Route) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.made += 1
        self.held[f"r{self.made}"] = ""
        return f"r{self.made}"

    async def hand_over(self, reservation: str, job: str) -> None:
        if reservation in self.held:
            self.held[reservation] = job

    async def settle(
        self, reservation: str, request: AgentRequest, route: Route, outcome: ItemOutcome
    ) -> ItemOutcome:
        self.held.pop(reservation, None)
        error = outcome.error
        if outcome.response is not None or (error is not None and error.response is not None):
            self.rows.setdefault(reservation, "paid")
        elif error is not None and error.possibly_billed:
            self.rows.setdefault(reservation, "lost")
        if outcome.response is None:
            return outcome
        paid = outcome.response.model_copy(update={"call_ids": (reservation,)})
        return ItemOutcome(id=outcome.id, response=paid)

    async def waste(
        self, call_id: str, request: AgentRequest, route: Route, response: GatewayResponse
    ) -> None:
        self.rows.setdefault(call_id, "waste")

    async def release(self, reservation: str) -> None:
        self.held.pop(reservation, None)

    def count(self, kind: str) -> int:
        return sum(row == kind for row in self.rows.values())


@dataclass
class Life:
    """How long a process lives: it dies at its ``steps_left``-th step, with or without effect."""

    steps_left: int | None = None
    dies_after: bool = False
    is_over: bool = False

    def check(self) -> None:
        if self.is_over:
            raise KilledError

    def before(self) -> None:
        self.check()
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left == 0 and not self.dies_after:
                self.end()

    def after(self) -> None:
        if self.steps_left == 0:
            self.end()

    def end(self) -> None:
        self.is_over = True
        raise KilledError


UNTOUCHED = frozenset({"close", "max_items", "max_bytes", "claim", "is_there"})


class Mortal:
    """``inner`` as a process sees it: every call is a step of its life."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name in UNTOUCHED or not callable(attribute):
            return attribute
        if inspect.iscoroutinefunction(attribute):

            async def later(*args: Any, **kwargs: Any) -> Any:
                self._life.before()
                value = await attribute(*args, **kwargs)
                self._life.check()
                self._life.after()
                return value

            return later

        def now(*args: Any, **kwargs: Any) -> Any:
            self._life.before()
            value = attribute(*args, **kwargs)
            self._life.after()
            return value

        return now


def is_typed(error: BaseException) -> bool:
    """An error of a provider, as callers may expect it."""
    return isinstance(error, GatewayError)
