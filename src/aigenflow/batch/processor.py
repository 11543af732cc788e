"""Sends requests together: all providers at once, and all requests of a provider at once.

::

    send()           -> queue -> leaves with its group -\\
                                                        -> one lane per provider -> caller
    process_batch()  -> a batch already ---------------/

What is asked for twice while it is under way is bought once. How fast and how many at once a
provider may be asked is decided below, by the gateway: a lane only bounds memory. Nothing is
bought a second time here; retries too are the gateway's.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, Token, copy_context
from dataclasses import dataclass, field
from functools import partial
from gettext import gettext as _
from operator import attrgetter
from types import TracebackType
from typing import Protocol, TypeAlias

from aigenflow.batch.models import (
    BatchLimits,
    BatchRequest,
    BatchResponse,
    Provider,
    provider_of,
)
from aigenflow.batch.queue import BatchQueue, Ticket
from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.errors import ConnectionFailedError, GatewayError
from aigenflow.core.events import OnEvent, Warned, ignore_event
from aigenflow.core.models import (
    FIELDS_THAT_CANNOT_MATTER,
    AgentRequest,
    GatewayResponse,
    Route,
)

OnText: TypeAlias = Callable[[int], None]

_ticket: ContextVar[Ticket | None] = ContextVar("aigenflow_batch_ticket", default=None)


class Caller(Protocol):
    """Reaches the model of a route: limits, retries, deadlines and breaker included."""

    async def send(self, request: AgentRequest, route: Route, on_text: OnText) -> GatewayResponse:
        """Ask; raise a :class:`~aigenflow.core.errors.GatewayError` where no answer came."""
        ...


def ignore_text(characters: int) -> None:
    """An ``OnText`` that does nothing."""


class BatchProcessor:
    """Stands between those who ask and the gateways; one for all sessions of an app.

    Every call belongs to those who wait for it: it goes on while one of them does, and is
    cancelled when the last one is. So nothing outlives the ``await`` it was started for.

    Whoever joins a call that another has paid for gets the answer as served from the cache, which
    is what it costs them. One event loop only.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        limits: BatchLimits | None = None,
        clock: Clock | None = None,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self._caller = caller
        self._limits = limits or BatchLimits()
        self._clock = clock or SystemClock()
        self._on_event = on_event
        self._queue: BatchQueue[_Call] = BatchQueue(
            max_batch_size=self._limits.max_batch_size, max_wait_s=self._limits.max_wait_s
        )
        self._calls: dict[Hashable, _Call] = {}
        self._lanes: defaultdict[Provider, _Lane] = defaultdict(_Lane)
        self._timer: asyncio.Task[None] | None = None

    async def process_batch(self, batch: Sequence[BatchRequest]) -> list[BatchResponse]:
        """One outcome for each request of ``batch``, in its order. Raises no request's error.

        A batch that takes longer than ``timeout_s`` falls apart into individual calls. Those under
        way go on, each until the deadline the caller gives it, because to send them again would be
        to pay for them again; and they give up their places to what was not sent yet.
        """
        shares: list[_Share] = []
        try:
            shares.extend(self._join(each.request, each.route, ignore_text) for each in batch)
            self._start(s.call for s in shares if s.is_new or self._queue.remove(s.call))
            await self._ended([share.call for share in shares])
        finally:
            await self._leave(shares)
        return [share.outcome_for(each) for share, each in zip(shares, batch, strict=True)]

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask in company: with those announced by :meth:`expecting`, or whoever else comes.

        A request that was not announced waits up to ``max_wait_s`` for company. Once it has left
        the queue it waits for nothing but its own call. Raises that call's error.
        """
        ticket, now = _ticket.get(), self._clock.monotonic()
        share = self._join(request, route, on_text)
        try:
            if share.is_new:
                group = share.call.lane
                self._release(self._queue.offer(share.call, group=group, now=now, ticket=ticket))
            elif ticket is not None:
                self._release(self._queue.withdraw(ticket, now))
            await asyncio.shield(share.call.outcome)
        finally:
            await self._leave([share])
        return share.answer()

    @contextmanager
    def expecting(self, requests: int) -> Iterator[tuple[Asker, ...]]:
        """Announce ``requests`` that leave together as soon as the last of them has come.

        One :class:`Asker` for each; those that have not asked by the end are not waited for.
        """
        askers = tuple(Asker(ticket, self._withdraw) for ticket in self._queue.announce(requests))
        try:
            yield askers
        finally:
            for asker in askers:
                asker.withdraw()

    # Joining and leaving

    def _join(self, request: AgentRequest, route: Route, on_text: OnText) -> _Share:
        """A share in the call for ``request``: the one under way, or a new one."""
        key = _identity(request, route)
        call = self._calls.get(key)
        is_new = call is None
        if call is None:
            call = _Call(
                key=key,
                request=request,
                route=route,
                lane=self._lanes[provider_of(route)],
                outcome=asyncio.get_running_loop().create_future(),
                context=copy_context(),
            )
            self._calls[key] = call
        call.listeners.append(on_text)
        return _Share(call=call, on_text=on_text, is_new=is_new)

    async def _leave(self, shares: Sequence[_Share]) -> None:
        """Give up shares; what nobody waits for any more is cancelled, and its end awaited."""
        cancelled = []
        for share in shares:
            call = share.call
            call.listeners.remove(share.on_text)
            if call.listeners or call.outcome.done():
                continue
            self._forget(call)
            self._queue.remove(call)
            call.outcome.cancel()
            if call.task is not None:
                call.task.cancel()
                cancelled.append(call.task)
        self._keep_time()
        if cancelled:
            await asyncio.wait(cancelled)

    def _withdraw(self, ticket: Ticket) -> None:
        self._release(self._queue.withdraw(ticket, self._clock.monotonic()))

    def _forget(self, call: _Call) -> None:
        if self._calls.get(call.key) is call:
            del self._calls[call.key]

    # From the queue to the lanes, and from there to the caller

    def _release(self, calls: Iterable[_Call]) -> None:
        self._start(calls)
        self._keep_time()

    def _keep_time(self) -> None:
        """Let a timer run while somebody is in the queue, and only then."""
        if self._queue.next_due() is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._release_when_due())

    async def _release_when_due(self) -> None:
        while (due := self._queue.next_due()) is not None:
            await self._clock.sleep(due - self._clock.monotonic())
            self._start(self._queue.due(self._clock.monotonic()))

    def _start(self, calls: Iterable[_Call]) -> None:
        for call in calls:
            call.lane.backlog.append(call)
            self._fill(call.lane)

    def _fill(self, lane: _Lane) -> None:
        while lane.backlog and len(lane.running) < self._limits.max_in_flight:
            call = lane.backlog.popleft()
            if call.outcome.done():
                continue
            call.task = asyncio.get_running_loop().create_task(
                self._caller.send(call.request, call.route, call.tell), context=call.context
            )
            call.task.add_done_callback(partial(self._settle, call))
            lane.running.add(call)

    def _settle(self, call: _Call, task: asyncio.Task[GatewayResponse]) -> None:
        """Tell everybody who waits for ``call`` how it ended, and pass on its place."""
        self._forget(call)
        call.lane.running.discard(call)
        self._fill(call.lane)
        if not call.outcome.done():
            call.outcome.set_result(_outcome(task, call.route))

    # A batch and its time

    async def _ended(self, calls: Sequence[_Call]) -> None:
        """Wait until every one of ``calls`` has ended."""
        if not calls:
            return
        stopwatch = asyncio.create_task(self._give_up_places(calls))
        try:
            await asyncio.wait([call.outcome for call in calls])
        finally:
            stopwatch.cancel()

    async def _give_up_places(self, calls: Sequence[_Call]) -> None:
        """When the batch's time is up, let no call that is still under way hold up another."""
        await self._clock.sleep(self._limits.timeout_s)
        late = [call for call in calls if not call.outcome.done()]
        if not late:
            return
        for call in late:
            call.lane.running.discard(call)
        for lane in {call.lane for call in late}:
            self._fill(lane)
        self._on_event(
            Warned(
                message=_(
                    "{late} of {all} requests have taken longer than {seconds:.0f} s; each of "
                    "them goes on by itself."
                ).format(late=len(late), all=len(calls), seconds=self._limits.timeout_s)
            )
        )


class Asker:
    """One of those who were announced: ``with asker:`` around whatever may send the request.

    What is sent inside is what was announced. Whoever leaves without having sent anything (the
    answer was in the cache, something failed) is not waited for any longer.
    """

    def __init__(self, ticket: Ticket, withdraw: Callable[[Ticket], None]) -> None:
        self._ticket = ticket
        self._withdraw = withdraw
        self._entered: list[Token[Ticket | None]] = []

    def withdraw(self) -> None:
        """Not going to ask; changes nothing after having asked."""
        self._withdraw(self._ticket)

    def __enter__(self) -> None:
        self._entered.append(_ticket.set(self._ticket))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _ticket.reset(self._entered.pop())
        self.withdraw()


_Outcome: TypeAlias = GatewayResponse | BaseException


@dataclass(slots=True, eq=False, kw_only=True)
class _Call:
    """One purchase. ``listeners`` has one entry for each who waits for it.

    ``outcome`` holds an error as its result, not as its exception, so that nobody has to fetch
    it; it is cancelled where nobody waits any more. ``task`` is ``None`` until the call is sent;
    it runs in the ``context`` of the first who asked.
    """

    key: Hashable
    request: AgentRequest
    route: Route
    lane: _Lane
    outcome: asyncio.Future[_Outcome]
    context: Context
    listeners: list[OnText] = field(default_factory=list)
    task: asyncio.Task[GatewayResponse] | None = None

    def tell(self, characters: int) -> None:
        """Pass the progress on to everybody who waits."""
        for listener in tuple(self.listeners):
            listener(characters)


@dataclass(slots=True, eq=False)
class _Lane:
    """The way to one provider: calls that hold a place, and calls that wait for one."""

    running: set[_Call] = field(default_factory=set)
    backlog: deque[_Call] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """One waiter's part in a call; ``is_new`` for the one whose request it was sent for."""

    call: _Call
    on_text: OnText
    is_new: bool

    def answer(self) -> GatewayResponse:
        """The answer, once the call has ended. Raises its error."""
        outcome = self.call.outcome.result()
        if isinstance(outcome, GatewayResponse):
            return self._priced(outcome)
        if isinstance(outcome, GatewayError) and not self.is_new:
            # Whoever catches an error may add notes to it, which are not for the others.
            raise copy.copy(outcome) from outcome
        raise outcome

    def outcome_for(self, request: BatchRequest) -> BatchResponse:
        """The outcome, once the call has ended, as that of ``request``."""
        outcome = self.call.outcome.result()
        if isinstance(outcome, GatewayResponse):
            return BatchResponse(request=request, response=self._priced(outcome))
        return BatchResponse(request=request, error=outcome)

    def _priced(self, response: GatewayResponse) -> GatewayResponse:
        return response if self.is_new else response.as_hit()


def _outcome(task: asyncio.Task[GatewayResponse], route: Route) -> _Outcome:
    """How a task ended. One that was cancelled, not by us, fails alone and takes nobody along."""
    if task.cancelled():
        return ConnectionFailedError(
            _("The call to {provider} was broken off.").format(provider=route.backend.value),
            hint=_("Try again."),
            provider=route.backend.value,
            possibly_billed=True,
        )
    return task.exception() or task.result()


def _fields_of(noun: type[AgentRequest | Route]) -> Callable[[object], tuple[Hashable, ...]]:
    """Reads every field that can matter but ``options``, which is no hashable value."""
    left_out = FIELDS_THAT_CANNOT_MATTER | {"options"}
    return attrgetter(
        *(each.name for each in dataclasses.fields(noun) if each.name not in left_out)
    )


_of_request = _fields_of(AgentRequest)
_of_route = _fields_of(Route)


def _identity(request: AgentRequest, route: Route) -> Hashable:
    """Equal for two requests exactly where one answer is right for both."""
    # As text: to Python the options 1 and True are equal, to a provider they are not.
    options = repr(dict(request.options)), repr(dict(route.options))
    return _of_request(request), _of_route(route), options
