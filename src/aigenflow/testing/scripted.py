"""A gateway that answers from a script: no network, no key, no cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from aigenflow.core.canonical import fingerprint
from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.models import AgentRequest, Citation, GatewayResponse, Route, what_matters
from aigenflow.gateway.base import OnText, ignore_text
from aigenflow.gateway.limits import BYTES_PER_TOKEN, estimate_input_tokens

Answer: TypeAlias = GatewayResponse | Exception
"""What one call gives: a response to return, or an exception to raise."""

Script: TypeAlias = Callable[[AgentRequest], Answer] | Iterable[Answer]
"""Answers by request, or in the order of the calls and then :func:`default_answer`."""

_NO_SCRIPTS: Mapping[str, Script] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as it arrived."""

    request: AgentRequest
    route: Route


def default_answer(request: AgentRequest) -> GatewayResponse:
    """A whole answer built from the request alone: equal requests get equal answers.

    A request for web search gets one source, cited in the text.
    """
    digest = fingerprint(what_matters(request))[:12]
    citations: tuple[Citation, ...] = ()
    author = f"{request.agent.value} in phase {request.phase}"
    content = f"# {request.task}\n\nThe answer of {author} ({digest})."
    if request.web_search:
        citations = (
            Citation(
                url=f"https://example.com/{digest}",
                title=f"Source for {request.task}",
                agent=request.agent,
            ),
        )
        content += " [1]"
    input_tokens = estimate_input_tokens(request)
    output_tokens = len(content.encode()) // BYTES_PER_TOKEN
    return GatewayResponse(
        content=content,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        tokens_used=input_tokens + output_tokens,
        agent=request.agent,
        citations=citations,
        response_id=f"scripted-{digest}",
    )


class ScriptedGateway:
    """A :class:`~aigenflow.gateway.base.Gateway` whose answers you write beforehand.

    ``script`` answers every call. ``scripts`` answers by task or, where it names no script for
    the task, by agent; the rest falls to ``script``. Responses that leave ``model``, ``backend``
    or ``latency_s`` open get those of the call.

    ``latency_s`` is what every call takes, on ``clock``. ``calls`` records what arrived, in
    order; ``most_in_flight`` is the largest number of calls that ran at once.
    """

    def __init__(
        self,
        script: Script = default_answer,
        *,
        scripts: Mapping[str, Script] = _NO_SCRIPTS,
        latency_s: float = 0.0,
        clock: Clock | None = None,
        models: tuple[str, ...] = ("scripted",),
    ) -> None:
        self.calls: list[Call] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed = False
        self._script = _as_function(script)
        self._scripts = {name: _as_function(each) for name, each in scripts.items()}
        self._latency_s = latency_s
        self._clock: Clock = SystemClock() if clock is None else clock
        self._models = models

    @property
    def requests(self) -> list[AgentRequest]:
        """The requests that arrived, in order."""
        return [call.request for call in self.calls]

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        self.calls.append(Call(request=request, route=route))
        answer = self._answer(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._clock.sleep(self._latency_s)
        finally:
            self.in_flight -= 1
        if isinstance(answer, Exception):
            raise answer
        on_text(len(answer.content))
        return answer.model_copy(
            update={
                "model": answer.model or route.model,
                "backend": answer.backend or route.backend,
                "latency_s": answer.latency_s or self._latency_s,
            }
        )

    async def list_models(self) -> tuple[str, ...]:
        return self._models

    async def aclose(self) -> None:
        self.closed = True

    def _answer(self, request: AgentRequest) -> Answer:
        script = self._scripts.get(request.task) or self._scripts.get(request.agent.value)
        return (script or self._script)(request)


def _as_function(script: Script) -> Callable[[AgentRequest], Answer]:
    if callable(script):
        return script
    answers: Iterator[Answer] = iter(script)

    def next_answer(request: AgentRequest) -> Answer:
        answer = next(answers, None)
        return default_answer(request) if answer is None else answer

    return next_answer
