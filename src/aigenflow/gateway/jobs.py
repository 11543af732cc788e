"""Patience around a provider's batch jobs.

Reading may be repeated, making a job may not: a second create would buy everything twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from random import Random
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState

from aigenflow.core.clock import Clock
from aigenflow.core.errors import GatewayError, JobUnknownError
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.gateway.base import JobGateway
from aigenflow.gateway.retry import DEFAULT_POLICY, RetryPolicy, Step, next_step, wait_s

T = TypeVar("T")


class ResilientJobs:
    """A :class:`~aigenflow.gateway.base.JobGateway` that asks again after what may pass.

    ``submit`` and ``delete`` go through once. Everything else is tried as often as the policy says
    and then raises the last error: nothing is lost by it, the caller asks again later. Waits longer
    than the policy's are not waited for.
    """

    def __init__(
        self,
        inner: JobGateway,
        *,
        clock: Clock,
        policy: RetryPolicy = DEFAULT_POLICY,
        random: Random | None = None,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._policy = policy
        self._random = Random() if random is None else random  # noqa: S311 (jitter, not a secret)

    @property
    def max_items(self) -> int:
        return self._inner.max_items

    @property
    def max_bytes(self) -> int:
        return self._inner.max_bytes

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Make one job, tried exactly once."""
        return await self._once(lambda: self._inner.submit(items, tag))

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        return await self._patiently(lambda: self._inner.find(tag, since=since, size=size))

    async def status(self, job: str) -> JobStatus:
        return await self._patiently(lambda: self._inner.status(job))

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        return await self._patiently(lambda: self._inner.results(job))

    async def cancel(self, job: str) -> None:
        """Ask the provider to stop; that the job was faster, or stops already, is no error."""
        try:
            await self._patiently(lambda: self._inner.cancel(job))
        except JobUnknownError:
            raise
        except GatewayError:
            state = (await self.status(job)).state
            if not (state.is_over or state is JobState.CANCELLING):
                raise

    async def delete(self, job: str) -> None:
        """Delete what the job left, tried exactly once: nobody waits for it."""
        await self._once(lambda: self._inner.delete(job))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            retry=self._is_worth_another,
            wait=self._wait_s,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await retrying(self._once, call)

    async def _once(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except GatewayError as error:
            # What an SDK raised lies behind it, and holds the request with its key.
            error.__context__ = None
            raise

    def _is_worth_another(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, GatewayError):
            return False
        # A re-ask is for the answer of a model; a file that was cut off is read again as well.
        step = next_step(
            error,
            attempts=state.attempt_number,
            reasks=state.attempt_number - 1,
            policy=self._policy,
        )
        return step is not Step.STOP

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, GatewayError)
        return wait_s(
            error, failures=state.attempt_number, policy=self._policy, random=self._random
        )
