"""The life of one request.

request -> route -> cache? -> gateway (limits, retries, breaker) -> go on where it was cut
        -> agent down: its fallback, told to whoever watches
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from gettext import gettext as _
from typing import Protocol, TypeAlias

from aigenflow.agents.continuation import MAX_CONTINUATIONS, join_answers
from aigenflow.agents.routes import Cast
from aigenflow.core.errors import GatewayError, RefusedError, TruncatedAnswerError
from aigenflow.core.events import (
    CacheLookedUp,
    FellBack,
    OnEvent,
    TaskStarted,
    TextArrived,
    ignore_event,
)
from aigenflow.core.models import AgentRequest, Backend, FinishReason, GatewayResponse, Route
from aigenflow.monitoring.models import Waste

Buy: TypeAlias = Callable[[], Awaitable[GatewayResponse]]


class Caller(Protocol):
    """Reaches the model of a route: limits, retries and breaker included."""

    async def send(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        """Ask; raise a :class:`~aigenflow.core.errors.GatewayError` where no answer came."""
        ...


Company: TypeAlias = AbstractContextManager[Sequence[AbstractContextManager[None]]]
"""One context for each request that was announced; whatever it asks is asked inside."""


Fit: TypeAlias = Callable[[AgentRequest, Route], AgentRequest]
"""Cuts a request to what the model of a route can hear."""


def as_it_is(request: AgentRequest, _route: Route) -> AgentRequest:
    """A ``Fit`` that changes nothing."""
    return request


class Queue(Protocol):
    """Lets requests that were announced together leave together."""

    def expecting(self, requests: int) -> Company:
        """Announce ``requests``."""
        ...


class Remembered(Protocol):
    """An answer that was looked up or bought."""

    @property
    def response(self) -> GatewayResponse:
        """The answer."""
        ...

    @property
    def hit(self) -> bool:
        """Whether it was remembered."""
        ...


class ResponseCache(Protocol):
    """Remembers answers, so that none is bought twice."""

    async def get_or_buy(
        self, request: AgentRequest, route: Route, buy: Buy, *, refresh: bool = False
    ) -> Remembered:
        """The remembered answer, else what ``buy`` returns; ``refresh`` buys in any case."""
        ...


class Books(Protocol):
    """Writes down what became of answers. Calls are written where they are made."""

    async def hit(self, request: AgentRequest, route: Route, response: GatewayResponse) -> None:
        """``response`` was remembered."""
        ...

    async def wasted(self, response: GatewayResponse, why: Waste) -> None:
        """What was paid for ``response`` bought nothing that is used; the last reason counts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, who gave it, and why somebody else did not (empty if nobody failed)."""

    response: GatewayResponse
    route: Route
    fell_back_because: str = ""


class Router:
    """Brings each request to its agent and the answer back."""

    def __init__(
        self,
        cast: Cast,
        caller: Caller,
        *,
        cache: ResponseCache | None = None,
        books: Books | None = None,
        queue: Queue | None = None,
        refresh: bool = False,
        switch_on_refusal: bool = False,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self.cast = cast
        self._caller = caller
        self._cache = cache
        self._books = books
        self._queue = queue
        self._refresh = refresh
        self._switch_on_refusal = switch_on_refusal
        self._on_event = on_event

    def expecting(self, requests: int) -> Company:
        """Announce that ``requests`` are about to be asked at the same time."""
        if self._queue is None:
            return nullcontext([nullcontext()] * requests)
        return self._queue.expecting(requests)

    async def ask(self, request: AgentRequest, fit: Fit = as_it_is) -> Answer:
        """One whole answer, from the request's agent or from its fallback.

        ``fit`` is asked for each of the two. Raises the first agent's
        :class:`~aigenflow.core.errors.GatewayError` where nobody could answer; a note on it names
        the fallback's failure.
        """
        try:
            return await self._answer(request, fit)
        except GatewayError as error:
            for failure in (error, error.__cause__):
                if isinstance(failure, GatewayError) and failure.response is not None:
                    await self._write_off(failure.response, Waste.FAILED_PHASE)
            raise

    async def discard(self, response: GatewayResponse) -> None:
        """Say of an answer that was given that it is not used after all."""
        await self._write_off(response, Waste.DISCARDED)

    async def _answer(self, request: AgentRequest, fit: Fit) -> Answer:
        """The agent's answer, else its fallback's, whose error is the cause of the first's."""
        route = self.cast.routes[request.agent]
        self._on_event(TaskStarted(phase=request.phase, task=request.task, route=route))
        try:
            response = await self._remembered(fit(request, route), route)
            return Answer(response=response, route=route)
        except GatewayError as error:
            understudy = self.cast.for_fallback(route)
            if understudy is None or not self._may_switch(error):
                raise
            self._on_event(
                FellBack(
                    phase=request.phase,
                    task=request.task,
                    agent=route.actor,
                    to=understudy,
                    reason=error.message,
                )
            )
            try:
                response = await self._remembered(fit(request, understudy), understudy)
            except GatewayError as second:
                error.add_note(
                    _("{agent} did not answer either: {problem}").format(
                        agent=understudy.actor, problem=second.message
                    )
                )
                raise error from second
            return Answer(response=response, route=understudy, fell_back_because=error.message)

    def _may_switch(self, error: GatewayError) -> bool:
        return self._switch_on_refusal or not isinstance(error, RefusedError)

    async def _remembered(self, request: AgentRequest, route: Route) -> GatewayResponse:
        """A whole answer, bought only if it is not remembered.

        The pieces of an answer that came in several are not remembered one by one: what is asked
        again is the whole question.
        """

        async def buy() -> GatewayResponse:
            return await self._whole_answer(request, route)

        if self._cache is None or route.backend is Backend.OFFLINE:
            return await buy()  # what costs nothing is not worth remembering
        answer = await self._cache.get_or_buy(request, route, buy, refresh=self._refresh)
        self._on_event(CacheLookedUp(phase=request.phase, task=request.task, hit=answer.hit))
        if answer.hit and self._books is not None:
            await self._books.hit(request, route, answer.response)
        return answer.response

    async def _whole_answer(self, request: AgentRequest, route: Route) -> GatewayResponse:
        """An answer that is not cut: one that reached its length limit is asked to go on."""
        answer = await self._send(request, route)
        for _round in range(MAX_CONTINUATIONS):
            if answer.finish_reason is not FinishReason.LENGTH:
                return answer
            answer = await self._go_on(answer, request, route)
        if answer.finish_reason is FinishReason.LENGTH:
            await self.discard(answer)
            raise TruncatedAnswerError(
                _("{model} did not finish {task} within its output limit.").format(
                    model=route.model, task=request.task
                ),
                hint=_("Use a model with longer answers, or a shorter template."),
                provider=route.backend.value,
                response=answer,
            )
        return answer

    async def _go_on(
        self, begun: GatewayResponse, request: AgentRequest, route: Route
    ) -> GatewayResponse:
        """``begun`` and what follows it; an error carries all that was paid for in vain."""
        try:
            rest = await self._send(replace(request, answer_so_far=begun.content), route)
        except BaseException as error:  # cancelled or refused money as well: it is of no use now
            await self.discard(begun)
            if isinstance(error, GatewayError):
                error.response = join_answers(begun, error.response) if error.response else begun
            raise
        return join_answers(begun, rest)

    async def _write_off(self, response: GatewayResponse, why: Waste) -> None:
        if self._books is not None:
            await self._books.wasted(response, why)

    async def _send(self, request: AgentRequest, route: Route) -> GatewayResponse:
        def on_text(characters: int) -> None:
            self._on_event(
                TextArrived(phase=request.phase, task=request.task, characters=characters)
            )

        answer = await self._caller.send(request, route, on_text)
        return answer.model_copy(update={"agent": route.actor, "backend": route.backend})
