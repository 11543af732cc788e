"""Patience around batch jobs: reading is repeated, making a job is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import pytest

from aigenflow.core.errors import (
    CapacityError,
    ConnectionFailedError,
    GatewayError,
    JobUnknownError,
    MalformedAnswerError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
)
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.gateway.base import JobGateway
from aigenflow.gateway.jobs import ResilientJobs
from aigenflow.gateway.retry import DEFAULT_POLICY, RetryPolicy
from aigenflow.testing.clock import START, ManualClock


@dataclass
class FlakyJobs:
    """Raises ``errors``, one a call, and then answers; knows one job in ``state``."""

    errors: list[GatewayError]
    state: JobState = JobState.RUNNING
    calls: list[str] = field(default_factory=list)
    max_items: int = 7
    max_bytes: int = 70

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.errors:
            raise self.errors.pop(0)

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        self._call("submit")
        return JobStatus(job="j", tag=tag, state=self.state)

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        self._call("find")
        return (JobStatus(job="j", tag=tag, state=self.state),)

    async def status(self, job: str) -> JobStatus:
        self._call("status")
        return JobStatus(job=job, tag=None, state=self.state)

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        self._call("results")
        return ()

    async def cancel(self, job: str) -> None:
        self._call("cancel")

    async def delete(self, job: str) -> None:
        self._call("delete")


def patient(
    inner: FlakyJobs, clock: ManualClock, policy: RetryPolicy = DEFAULT_POLICY
) -> JobGateway:
    return ResilientJobs(inner, clock=clock, policy=policy, random=Random(1))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(auto_advance=True)


async def ask(jobs: JobGateway, name: str) -> object:
    """Call the method ``name`` that reads."""
    if name == "find":
        return await jobs.find("t", since=START, size=1)
    return await {"status": jobs.status, "results": jobs.results, "cancel": jobs.cancel}[name]("j")


@pytest.mark.parametrize("name", ["find", "status", "results", "cancel"])
async def test_what_may_pass_is_tried_again(name: str, clock: ManualClock) -> None:
    """Two faults of the server are waited out with growing patience."""
    inner = FlakyJobs([ServerFaultError("1"), ConnectionFailedError("2")])
    await ask(patient(inner, clock), name)
    assert inner.calls == [name] * 3
    assert len(clock.sleeps) == 2
    assert 0 <= clock.sleeps[0] <= 1.0
    assert 0 <= clock.sleeps[1] <= 2.0


@pytest.mark.parametrize("name", ["find", "status", "results"])
async def test_after_the_policys_attempts_the_error_is_raised(
    name: str, clock: ManualClock
) -> None:
    """The caller hears of it and can ask again later: nothing is lost."""
    inner = FlakyJobs([ServerFaultError(str(number)) for number in range(9)])
    jobs = patient(inner, clock)
    with pytest.raises(ServerFaultError, match="2"):
        await ask(jobs, name)
    assert len(inner.calls) == 3
    inner.errors.clear()
    await ask(jobs, name)


async def test_a_create_is_never_repeated(clock: ManualClock) -> None:
    """Also where the error may pass: the job may exist."""
    inner = FlakyJobs([ServerFaultError("1", possibly_billed=True)])
    with pytest.raises(ServerFaultError):
        await patient(inner, clock).submit([], "t")
    assert inner.calls == ["submit"]
    assert clock.sleeps == []


async def test_the_wait_that_the_provider_asks_for(clock: ManualClock) -> None:
    """It is kept in full; one that is too long is not waited for."""
    inner = FlakyJobs([RateLimitedError("1", retry_after_s=30.0)])
    await patient(inner, clock).status("j")
    assert 30.0 <= clock.sleeps[0] <= 31.0
    inner = FlakyJobs([RateLimitedError("1", retry_after_s=3600.0)])
    with pytest.raises(RateLimitedError):
        await patient(inner, clock).status("j")
    assert inner.calls == ["status"]


@pytest.mark.parametrize("error", [RejectedError("no"), JobUnknownError("no"), CapacityError("no")])
async def test_what_will_not_pass_is_not_tried_again(
    error: GatewayError, clock: ManualClock
) -> None:
    """Another attempt would bring the same."""
    inner = FlakyJobs([error])
    with pytest.raises(type(error)):
        await patient(inner, clock).status("j")
    assert inner.calls == ["status"]


async def test_an_answer_in_pieces_is_read_once_more(clock: ManualClock) -> None:
    """An unreadable answer may have been cut on its way."""
    inner = FlakyJobs([MalformedAnswerError("cut"), MalformedAnswerError("cut")])
    with pytest.raises(MalformedAnswerError):
        await patient(inner, clock).results("j")
    assert inner.calls == ["results"] * 2


@pytest.mark.parametrize(
    "state", [JobState.ENDED, JobState.EXPIRED, JobState.CANCELLED, JobState.CANCELLING]
)
async def test_cancelling_what_is_over(state: JobState, clock: ManualClock) -> None:
    """The provider's refusal to stop a job that has ended is no error."""
    inner = FlakyJobs([RejectedError("it has ended")], state=state)
    await patient(inner, clock).cancel("j")
    assert inner.calls == ["cancel", "status"]


async def test_cancelling_that_fails(clock: ManualClock) -> None:
    """A job that goes on in spite of it is an error; so is one that nobody knows."""
    with pytest.raises(RejectedError):
        await patient(FlakyJobs([RejectedError("no")]), clock).cancel("j")
    with pytest.raises(JobUnknownError):
        await patient(FlakyJobs([JobUnknownError("no")]), clock).cancel("j")


def test_the_size_is_the_providers(clock: ManualClock) -> None:
    """Patience changes no limits."""
    jobs = patient(FlakyJobs([]), clock)
    assert (jobs.max_items, jobs.max_bytes) == (7, 70)
