"""What every provider's batch jobs promise, against the wire-format server.

A new adapter's test inherits :class:`JobGatewayContract` and says how it is made.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import (
    ConnectionFailedError,
    GatewayError,
    JobItemNotRunError,
    JobUnknownError,
    MalformedAnswerError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    TooLargeError,
)
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    FinishReason,
    Json,
    Processing,
    Route,
    ServedFrom,
)
from aigenflow.gateway.base import Gateway, JobGateway, Timeouts
from aigenflow.gateway.jobs import ResilientJobs
from aigenflow.gateway.retry import RetryPolicy
from aigenflow.testing.clock import ManualClock
from aigenflow.testing.server import WireServer

KEY = "sk-CANARY-0123456789abcdef"
KOREAN = "한국 시장은 2025년에 12% 성장했다. 👍🏽"
TAG = "run-20261122-abc"


class JobGatewayContract(ABC):
    """The suite that every adapter of batch jobs inherits."""

    backend: Backend
    model: str
    agent: AgentType
    prefix: str
    keeps_tags = True
    counts_while_running = True
    deletes = 2

    @abstractmethod
    def connect(self, base_url: str, timeouts: Timeouts) -> Gateway:
        """The live adapter, with :data:`KEY` as its key."""

    @abstractmethod
    def make(self, connection: Gateway) -> JobGateway:
        """The batch jobs through that connection."""

    @property
    def route(self) -> Route:
        return Route(agent=self.agent, actor=self.agent, backend=self.backend, model=self.model)

    def items(self, count: int = 3, *, start: int = 0) -> list[JobItem]:
        """Items ``item-0``, ``item-1``...: the prompt of each says which it is."""
        return [
            JobItem(
                id=f"item-{number}",
                request=AgentRequest(
                    agent=self.agent,
                    phase=1,
                    task="brainstorm",
                    prompt=f"질문 number {number}.",
                    processing=Processing.BATCH,
                ),
                route=self.route,
            )
            for number in range(start, start + count)
        ]

    @asynccontextmanager
    async def playing(
        self, script: Mapping[str, Json] | None = None
    ) -> AsyncIterator[tuple[WireServer, JobGateway]]:
        """The server with ``script``, and the adapter under test."""
        async with WireServer(script) as server:
            connection = self.connect(server.url + self.prefix, Timeouts(connect_s=2, total_s=5))
            try:
                yield server, self.make(connection)
            finally:
                await connection.aclose()

    async def finished(self, jobs: JobGateway, job: str) -> JobStatus:
        """Ask for the status until the job is over."""
        for _look in range(10):
            status = await jobs.status(job)
            if status.state.is_over:
                return status
        raise AssertionError("the job never ended")

    async def run(
        self, jobs: JobGateway, items: Sequence[JobItem]
    ) -> tuple[JobStatus, tuple[ItemOutcome, ...]]:
        submitted = await jobs.submit(items, TAG)
        status = await self.finished(jobs, submitted.job)
        return status, await jobs.results(submitted.job)

    async def test_a_job_from_its_beginning_to_its_end(self) -> None:
        """Each item comes back once, as a batch answer with its counts; each is billed once."""
        rules = [{"action": {"text": KOREAN}}]
        async with self.playing({"rules": rules, "jobs": [{"action": {"polls": 2}}]}) as both:
            server, jobs = both
            submitted = await jobs.submit(self.items(), TAG)
            assert not submitted.state.is_over
            assert submitted.total == 3
            assert submitted.submitted is not None
            assert abs(datetime.now(UTC) - submitted.submitted) < timedelta(minutes=1)
            states = [(await jobs.status(submitted.job)).state for _look in range(3)]
            assert states[-1] is JobState.ENDED
            assert not any(state.is_over for state in states[:-1])
            found = await jobs.results(submitted.job)
            again = await jobs.results(submitted.job)
            bill = server.bill
        assert [outcome.id for outcome in found] == ["item-0", "item-1", "item-2"]
        assert found == again
        assert [(line.item, line.tier, line.billed) for line in bill] == [
            (f"item-{number}", "batch", True) for number in range(3)
        ]
        for outcome, line in zip(found, bill, strict=True):
            answer = outcome.response
            assert answer is not None
            assert outcome.error is None
            assert (answer.content, answer.served_from) == (KOREAN, ServedFrom.BATCH)
            assert answer.finish_reason is FinishReason.COMPLETE
            assert (answer.input_tokens, answer.output_tokens) == (
                line.input_tokens,
                line.output_tokens,
            )

    async def test_counts_of_a_job_that_is_over(self) -> None:
        """Items that failed are counted as such."""
        rules = [{"match": {"contains": "number 1"}, "action": {"status": 400}}]
        async with self.playing({"rules": rules}) as (_server, jobs):
            status, _outcomes = await self.run(jobs, self.items())
        assert (status.total, status.succeeded, status.failed) == (3, 2, 1)

    async def test_some_items_fail(self) -> None:
        """The error of an item is typed, costs nothing, and leaves the others alone."""
        rules = [
            {"match": {"contains": "number 1"}, "action": {"status": 400}},
            {"match": {"contains": "number 2"}, "action": {"status": 500}},
        ]
        async with self.playing({"rules": rules}) as (server, jobs):
            _status, outcomes = await self.run(jobs, self.items(4))
            billed = {line.item for line in server.bill if line.billed}
        found = {outcome.id: outcome for outcome in outcomes}
        assert found["item-0"].response is not None
        assert found["item-3"].response is not None
        assert isinstance(found["item-1"].error, RejectedError)
        assert isinstance(found["item-2"].error, ServerFaultError)
        assert not any(each.error and each.error.possibly_billed for each in outcomes)
        assert billed == {"item-0", "item-3"}

    async def test_every_item_fails(self) -> None:
        """Where no answer exists (OpenAI: an error file only), the errors are still all there."""
        async with self.playing({"rules": [{"action": {"status": 429}}]}) as (server, jobs):
            _status, outcomes = await self.run(jobs, self.items())
            assert not any(line.billed for line in server.bill)
        assert {outcome.id for outcome in outcomes} == {"item-0", "item-1", "item-2"}
        assert all(isinstance(outcome.error, RateLimitedError) for outcome in outcomes)

    async def test_answers_that_are_not_worth_keeping(self) -> None:
        """A refused or cut answer comes back as such: it is billed, and the caller judges it."""
        rules = [
            {"match": {"contains": "number 0"}, "action": {"finish": "length"}},
            {"match": {"contains": "number 1"}, "action": {"finish": "refusal"}},
        ]
        async with self.playing({"rules": rules}) as (_server, jobs):
            _status, outcomes = await self.run(jobs, self.items(2))
        answers = [outcome.response for outcome in outcomes]
        assert answers[0] is not None
        assert answers[1] is not None
        assert answers[0].finish_reason is FinishReason.LENGTH
        assert answers[1].finish_reason in {FinishReason.REFUSAL, FinishReason.FILTERED}
        assert {answer.served_from for answer in answers if answer} == {ServedFrom.BATCH}

    @pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
    @pytest.mark.parametrize("end", ["expired", "cancelled"])
    async def test_a_job_that_ends_early(self, end: str, share: float) -> None:
        """What was finished is there and billed, the rest is not billed and not an answer."""
        script = {"jobs": [{"action": {"end": end, "done": share}}]}
        async with self.playing(script) as (server, jobs):
            status, outcomes = await self.run(jobs, self.items(5))
            billed = {line.item for line in server.bill if line.billed}
        assert status.state.is_over
        assert status.state is not JobState.FAILED
        answered = {outcome.id for outcome in outcomes if outcome.response}
        assert answered == billed == {f"item-{number}" for number in range(round(5 * share))}
        rest = [outcome.error for outcome in outcomes if not outcome.response]
        assert all(isinstance(error, JobItemNotRunError) for error in rest)

    async def test_a_job_that_is_turned_down(self) -> None:
        """Nothing ran and nothing is billed."""
        async with self.playing({"jobs": [{"action": {"end": "failed"}}]}) as (server, jobs):
            status = await self.finished(jobs, (await jobs.submit(self.items(), TAG)).job)
            assert server.bill == ()
        self.check_turned_down(status)

    def check_turned_down(self, status: JobStatus) -> None:
        assert status.state is JobState.FAILED
        assert status.problem

    async def test_results_as_the_provider_gives_them(self) -> None:
        """Order, gaps, doubles and strangers are passed on: the caller keeps the books."""
        odd = {"reversed": True, "missing": [0], "duplicated": [2], "unknown": 1}
        async with self.playing({"jobs": [{"action": odd}]}) as (server, jobs):
            _status, outcomes = await self.run(jobs, self.items(4))
            assert len(server.bill) == 4
        assert [outcome.id for outcome in outcomes] == [
            "unknown-0",
            "item-2",
            "item-3",
            "item-2",
            "item-1",
        ]

    async def test_a_broken_line(self) -> None:
        """It is an error of its own item only."""
        async with self.playing({"jobs": [{"action": {"malformed": [1]}}]}) as (_server, jobs):
            _status, outcomes = await self.run(jobs, self.items())
        found = {outcome.id: outcome for outcome in outcomes}
        assert isinstance(found["item-1"].error, MalformedAnswerError)
        assert found["item-0"].response is not None
        assert found["item-2"].response is not None

    async def test_an_unknown_job(self) -> None:
        """Whatever is asked about it, the provider does not know it."""
        async with self.playing() as (_server, jobs):
            job = (await jobs.submit(self.items(1), TAG)).job + "0"
            for ask in (jobs.status, jobs.results, jobs.cancel):
                with pytest.raises(JobUnknownError) as caught:
                    await ask(job)
                assert job in caught.value.message
                assert caught.value.hint

    async def test_results_that_are_kept_no_longer(self) -> None:
        """The job is known, its results are not: nothing will bring them back."""
        async with self.playing({"jobs": [{"action": {"gone": True}}]}) as (_server, jobs):
            job = (await jobs.submit(self.items(), TAG)).job
            assert (await self.finished(jobs, job)).state.is_over
            with pytest.raises(JobUnknownError):
                await jobs.results(job)

    async def test_results_too_early(self) -> None:
        """A job that is still running has none; that is neither transient nor unknown."""
        async with self.playing({"jobs": [{"action": {"stuck": True}}]}) as (_server, jobs):
            job = (await jobs.submit(self.items(), TAG)).job
            with pytest.raises(GatewayError) as caught:
                await jobs.results(job)
            assert type(caught.value) is GatewayError

    async def test_cancelling(self) -> None:
        """The job stops some time after it was asked to."""
        script = {"jobs": [{"action": {"stuck": True, "done": 0.4, "cancel_polls": 1}}]}
        async with self.playing(script) as (server, jobs):
            job = (await jobs.submit(self.items(5), TAG)).job
            await jobs.status(job)
            await jobs.cancel(job)
            assert not (await jobs.status(job)).state.is_over
            assert (await self.finished(jobs, job)).state is JobState.CANCELLED
            outcomes = await jobs.results(job)
            assert len(server.bill) == 2
        assert sum(outcome.response is not None for outcome in outcomes) == 2

    async def test_cancelling_too_late(self) -> None:
        """A job that was faster stays as it is, and its results are there."""
        async with self.playing({"jobs": [{"action": {"polls": 0}}]}) as (_server, inner):
            jobs = ResilientJobs(inner, clock=SystemClock(), policy=RetryPolicy(base_s=0.01))
            job = (await jobs.submit(self.items(), TAG)).job
            await jobs.cancel(job)
            assert (await jobs.status(job)).state is JobState.ENDED
            assert len(await jobs.results(job)) == 3

    async def test_what_a_job_left_is_deleted(self) -> None:
        """Its files, or the job itself: what is asked for afterwards is not there any more."""
        async with self.playing() as (server, jobs):
            job = (await jobs.submit(self.items(), TAG)).job
            await self.finished(jobs, job)
            await jobs.delete(job)
            left = server.files
            with pytest.raises(JobUnknownError):
                await jobs.results(job)
        assert all(len(name) > 46 for name in left), "only what Google itself does not delete"

    async def test_deleting_again(self) -> None:
        """What is gone is no error; where the job is gone as well, that is said."""
        async with self.playing() as (_server, jobs):
            job = (await jobs.submit(self.items(), TAG)).job
            await self.finished(jobs, job)
            await jobs.delete(job)
            with suppress(JobUnknownError):
                await jobs.delete(job)

    async def test_a_job_that_is_not_over_is_not_deleted(self) -> None:
        """Its requests are still to be answered."""
        async with self.playing({"jobs": [{"action": {"polls": 2}}]}) as (server, jobs):
            job = (await jobs.submit(self.items(), TAG)).job
            await jobs.delete(job)
            assert not any(one.method == "DELETE" for one in server.requests)
            await self.finished(jobs, job)
            assert len(await jobs.results(job)) == 3

    async def test_what_cannot_be_deleted(self) -> None:
        """Everything is tried before the error is told."""
        async with self.playing({"jobs": [{"action": {"delete_status": 500}}]}) as both:
            server, jobs = both
            job = (await jobs.submit(self.items(), TAG)).job
            await self.finished(jobs, job)
            with pytest.raises(ServerFaultError):
                await jobs.delete(job)
            tried = [one.path for one in server.requests if one.method == "DELETE"]
        assert len(tried) == len(set(tried)) == self.deletes

    async def test_a_create_that_is_surely_refused_leaves_nothing(self) -> None:
        """The file of its requests is deleted; one of a job that may exist is not."""
        async with self.playing({"jobs": [{"action": {"create_status": 400}}]}) as (server, jobs):
            with pytest.raises(RejectedError):
                await jobs.submit(self.items(), TAG)
            assert server.files == ()
        async with self.playing({"jobs": [{"action": {"create_status": 503}}]}) as (server, jobs):
            with pytest.raises(ServerFaultError):
                await jobs.submit(self.items(), TAG)
            assert len(server.files) == int(self.deletes > 1)

    async def test_a_create_whose_answer_is_lost(self) -> None:
        """Nobody knows whether the job exists; it does, and can be found."""
        begun = datetime.now(UTC)
        async with self.playing({"jobs": [{"action": {"lost": True}}]}) as (server, jobs):
            with pytest.raises(ConnectionFailedError) as caught:
                await jobs.submit(self.items(), TAG)
            assert caught.value.possibly_billed
            (found,) = await jobs.find(TAG, since=begun, size=3)
            assert found.tag == (TAG if self.keeps_tags else None)
            await self.finished(jobs, found.job)
            outcomes = await jobs.results(found.job)
            assert {outcome.id for outcome in outcomes} == {"item-0", "item-1", "item-2"}
            assert len(server.bill) == 3

    @pytest.mark.parametrize(
        ("status", "may_exist"),
        [(400, False), (401, False), (413, False), (429, False), (500, True), (503, True)],
    )
    async def test_a_create_that_is_refused(self, status: int, may_exist: bool) -> None:
        """A refusal says that there is no job; a fault of the server says nothing."""
        script = {"jobs": [{"action": {"create_status": status}}]}
        async with self.playing(script) as (server, inner):
            jobs = ResilientJobs(inner, clock=ManualClock())
            with pytest.raises(GatewayError) as caught:
                await jobs.submit(self.items(), TAG)
            creates = [one for one in server.requests if self.is_create(one.method, one.path)]
        assert caught.value.status == status
        assert caught.value.possibly_billed is may_exist
        assert len(creates) == 1

    @abstractmethod
    def is_create(self, method: str, path: str) -> bool:
        """Whether a request of the log makes a job."""

    async def test_an_address_where_nobody_listens(self) -> None:
        """Nothing was sent, so there is surely no job."""
        connection = self.connect(f"http://127.0.0.1:1{self.prefix}", Timeouts())
        with pytest.raises(ConnectionFailedError) as caught:
            await self.make(connection).submit(self.items(), TAG)
        assert not caught.value.possibly_billed
        await connection.aclose()

    async def test_rate_limits_hold_for_creates(self) -> None:
        """The second job of the minute is turned away with the time to wait, and does not exist."""
        limits = {self.backend.value: {"requests_per_minute": 1}}
        begun = datetime.now(UTC)
        async with self.playing({"limits": limits}) as (_server, jobs):
            await jobs.submit(self.items(), TAG)
            with pytest.raises(RateLimitedError) as caught:
                await jobs.submit(self.items(), TAG)
            assert not caught.value.possibly_billed
            assert caught.value.retry_after_s is not None
            assert len(await jobs.find(TAG, since=begun, size=3)) == 1

    async def test_finding_among_many_pages(self) -> None:
        """All pages are walked; other tags or sizes and earlier jobs are left out."""
        script = {"jobs": [{"action": {"page_size": 2}}]}
        begun = datetime.now(UTC)
        async with self.playing(script) as (_server, jobs):
            mine = await jobs.submit(self.items(3), TAG)
            for number in range(5):
                await jobs.submit(self.items(2), f"other-{number}")
            found = await jobs.find(TAG, since=begun, size=3)
            later = await jobs.find(TAG, since=begun + timedelta(hours=1), size=3)
        assert [status.job for status in found] == [mine.job]
        assert later == ()

    async def test_nothing_is_found_where_nothing_is(self) -> None:
        """An account without jobs has no candidates."""
        async with self.playing() as (_server, jobs):
            assert await jobs.find(TAG, since=datetime.now(UTC), size=1) == ()

    async def test_too_much_for_one_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """More items or bytes than the provider takes are refused here, before anything is sent."""
        async with self.playing() as (server, jobs):
            for limit in ("max_items", "max_bytes"):
                with monkeypatch.context() as patch:
                    patch.setattr(type(jobs), limit, 2)
                    with pytest.raises(TooLargeError) as caught:
                        await jobs.submit(self.items(3), TAG)
                assert not caught.value.possibly_billed
            assert server.requests == ()

    async def test_the_key_travels_in_a_header_only(self, caplog: pytest.LogCaptureFixture) -> None:
        """The key is in no URL, no body and no log, whatever is asked."""
        caplog.set_level(logging.DEBUG)
        async with self.playing() as (server, jobs):
            submitted = await jobs.submit(self.items(1), TAG)
            await jobs.find(TAG, since=datetime.now(UTC), size=1)
            await self.finished(jobs, submitted.job)
            await jobs.results(submitted.job)
            seen = server.requests
        for request in seen:
            assert KEY not in f"{request.path}{request.query}{request.body}"
        assert KEY not in caplog.text

    async def test_a_wrong_key(self) -> None:
        """It is refused at once, the same as for a live call, and there is no job."""
        async with self.playing({"accepted_keys": ["another"]}) as (_server, jobs):
            with pytest.raises(RejectedError) as caught:
                await jobs.submit(self.items(), TAG)
            assert caught.value.status == 401
            assert not caught.value.possibly_billed
            assert KEY not in str(caught.value)

    async def test_errors_hold_no_request(self) -> None:
        """What an SDK raised, which holds the request and its key, is not behind our error."""
        async with self.playing({"jobs": [{"action": {"create_status": 500}}]}) as (_server, inner):
            jobs = ResilientJobs(inner, clock=ManualClock(auto_advance=True))
            with pytest.raises(GatewayError) as refused:
                await jobs.submit(self.items(), TAG)
            with pytest.raises(JobUnknownError) as unknown:
                await jobs.status("unknown-0")
        for caught in (refused, unknown):
            assert caught.value.__context__ is None
            assert caught.value.__cause__ is None

    async def test_unavailable_for_a_while(self) -> None:
        """A 503 when results are fetched loses nothing: the next time they are there."""
        async with self.playing({"jobs": [{"action": {"polls": 0, "unavailable": 2}}]}) as both:
            _server, jobs = both
            job = (await jobs.submit(self.items(), TAG)).job
            for _time in range(2):
                with pytest.raises(ServerFaultError):
                    await jobs.results(job)
            assert len(await jobs.results(job)) == 3

    def test_the_size_of_a_job(self, make_any: Callable[[], JobGateway]) -> None:
        """The limits are the provider's own."""
        jobs = make_any()
        assert (jobs.max_items, jobs.max_bytes) == self.limits

    limits: tuple[int, int]

    @pytest.fixture
    def make_any(self) -> Callable[[], JobGateway]:
        return lambda: self.make(self.connect("http://127.0.0.1:1", Timeouts()))
