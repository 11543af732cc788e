"""How an answer is bought: live, at the flex rate, or in a batch job. Live is always the way out.

::

    live  -> the provider
    flex  -> the provider at half the rate -> refused there: live, and for a while without asking
    batch -> the desk -> did not run, or no time left: live (or the run stops, if so set)

What a batch job has bought, or is about to, is never bought again another way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from gettext import gettext as _
from typing import Literal, Protocol, TypeAlias

from aigenflow.agents.router import Caller
from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    CapacityError,
    GatewayError,
    JobItemNotRunError,
    RunStoppedError,
    TransientError,
)
from aigenflow.core.events import OnEvent, Warned, ignore_event
from aigenflow.core.models import AgentRequest, Backend, GatewayResponse, Processing, Route

Unfinished = Literal["live", "fail"]

FLEX_PAUSE_S = 5 * 60.0
"""How long a model that was refused the flex rate is not asked for it again, in seconds.

A few answers long: a run that is refused once loses no call with each of its tasks, and goes back
to half the price before long.
"""

_FlexPlace: TypeAlias = tuple[Backend, str | None, str]
"""A model at an address: what has room at the flex rate, or has none."""


class Job(Protocol):
    """A batch job, and where it is."""

    @property
    def tag(self) -> str: ...

    @property
    def route(self) -> Route: ...


class Desk(Protocol):
    """Buys answers in providers' batch jobs."""

    def serves(self, route: Route) -> bool:
        """Whether the route's provider has batch jobs."""
        ...

    def knows(self, request: AgentRequest, route: Route) -> bool:
        """Whether a job has the answer already, or is about to."""
        ...

    def open_at_another(self, request: AgentRequest, route: Route) -> Job | None:
        """The open job in which another agent than that of ``route`` answers the task."""
        ...

    async def send(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        """The answer; ``JobItemNotRunError`` where it surely was not bought."""
        ...


class Dispatcher:
    """A :class:`~aigenflow.agents.router.Caller` that does as ``request.processing`` says.

    From ``request.complete_by`` on everything is live, and without ``is_on`` at any time.
    ``unfinished`` says what happens to a request whose job ended before it ran.
    """

    def __init__(
        self,
        live: Caller,
        desk: Desk | None,
        clock: Clock,
        *,
        unfinished: Unfinished = "live",
        is_on: bool = True,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self._live = live
        self._desk = desk
        self._clock = clock
        self._unfinished = unfinished
        self._is_on = is_on
        self._on_event = on_event
        self._warnings: set[str] = set()
        self._no_flex_until: dict[_FlexPlace, float] = {}

    async def send(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        """Ask in the way the request wants. Raises as the live caller and the desk do.

        Raises :class:`~aigenflow.core.errors.RunStoppedError` where the request did not run in
        its job and is not to be bought live, and where an agent would stand in for one whose
        answer is in an open job.
        """
        now = self._clock.now()
        if self._desk is not None and route.actor is not route.agent:
            job = self._desk.open_at_another(request, route)
            if job is not None:
                raise _not_for_a_stand_in(request, route, job)
        if not self._is_on:
            request = _live(request)
        if self._desk is not None and self._is_for(self._desk, request, route):
            by = request.complete_by if request.processing is Processing.BATCH else now
            return await self._in_a_job(
                self._desk, replace(request, complete_by=by), route, on_text
            )
        if request.processing is Processing.FLEX and not _is_over(request.complete_by, now):
            return await self._at_flex(request, route, on_text)
        return await self._live.send(_live(request), route, on_text)

    @staticmethod
    def _is_for(desk: Desk, request: AgentRequest, route: Route) -> bool:
        if request.processing is Processing.BATCH and desk.serves(route):
            return True
        return desk.knows(request, route)

    async def _at_flex(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        place = route.backend, route.base_url, route.model
        if self._clock.monotonic() < self._no_flex_until.get(place, -math.inf):
            return await self._live.send(_live(request), route, on_text)
        try:
            return await self._live.send(request, route, on_text)
        except CapacityError:
            self._no_flex_until[place] = self._clock.monotonic() + FLEX_PAUSE_S
            self._warn_once(
                _("{provider} refuses the flex rate; buying live.").format(
                    provider=route.backend.value
                )
            )
            return await self._live.send(_live(request), route, on_text)

    async def _in_a_job(
        self, desk: Desk, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        try:
            return await desk.send(request, route, on_text)
        except (JobItemNotRunError, TransientError) as error:
            if isinstance(error, TransientError) and _may_be_paid(error):
                raise
            if not _is_over(request.complete_by, self._clock.now()):
                if self._unfinished == "fail":
                    raise _stopped(request, error) from error
                self._warn_once(
                    _("Not everything ran in its batch job; buying the rest live. {why}").format(
                        why=error.message
                    )
                )
        return await self._live.send(_live(request), route, on_text)

    def _warn_once(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.add(message)
            self._on_event(Warned(message=message))


def _live(request: AgentRequest) -> AgentRequest:
    if request.processing is Processing.LIVE:
        return request
    return replace(request, processing=Processing.LIVE)


def _is_over(by: datetime | None, now: datetime) -> bool:
    return by is not None and now >= by


def _may_be_paid(error: GatewayError) -> bool:
    return error.possibly_billed or error.response is not None


def _not_for_a_stand_in(request: AgentRequest, route: Route, job: Job) -> RunStoppedError:
    told = _(
        "{task} is in batch job {job} at {provider}, which is still open: {agent} does not answer "
        "it as well, since it would be paid twice."
    )
    hint = _(
        "Make {provider} reachable again (its key, its address) and resume; or stop the job with "
        "`aigenflow batch cancel {job}`."
    )
    names = {"job": job.tag, "provider": job.route.backend.value}
    return RunStoppedError(
        told.format(task=request.task, agent=route.actor.value, **names), hint=hint.format(**names)
    )


def _stopped(request: AgentRequest, error: GatewayError) -> RunStoppedError:
    return RunStoppedError(
        _("{task} did not run in its batch job. {why}").format(
            task=request.task, why=error.message
        ),
        hint=_("Resume to try again; `--processing live` buys it at the full price."),
    )
