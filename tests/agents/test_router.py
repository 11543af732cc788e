from __future__ import annotations

from collections.abc import Callable

import pytest

from aigenflow.agents.router import Router
from aigenflow.agents.routes import cast_roles
from aigenflow.core.config import AgentsSettings
from aigenflow.core.errors import (
    GatewayError,
    RefusedError,
    ServerFaultError,
    TruncatedAnswerError,
)
from aigenflow.core.events import Event, FellBack, TextArrived
from aigenflow.core.models import AgentRequest, AgentType, FinishReason, GatewayResponse, Route

REQUEST = AgentRequest(agent=AgentType.CLAUDE, phase=1, task="validate", prompt="p")
CAST = cast_roles(AgentsSettings(), lambda _: True)


class ScriptedCaller:
    """Answers by actor, from lists; remembers what it was asked."""

    def __init__(self, **script: list[GatewayResponse | GatewayError]) -> None:
        self._script = script
        self.asked: list[tuple[str, AgentRequest]] = []

    async def send(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        self.asked.append((route.actor.value, request))
        outcome = self._script[route.actor.value].pop(0)
        if isinstance(outcome, GatewayError):
            raise outcome
        on_text(len(outcome.content))
        return outcome


def cut(text: str) -> GatewayResponse:
    return GatewayResponse(content=text, finish_reason=FinishReason.LENGTH, success=False)


async def test_the_agent_itself_answers() -> None:
    """The answer carries who gave it, and its progress was told."""
    events: list[Event] = []
    caller = ScriptedCaller(claude=[GatewayResponse(content="hello")])
    answer = await Router(CAST, caller, on_event=events.append).ask(REQUEST)
    assert answer.response.agent is AgentType.CLAUDE
    assert not answer.fell_back_because
    assert any(isinstance(event, TextArrived) for event in events)


async def test_the_fallback_takes_over_and_is_told() -> None:
    """A down agent does not stop the run, and nobody is left to guess who answered."""
    events: list[Event] = []
    caller = ScriptedCaller(
        claude=[ServerFaultError("busy")], chatgpt=[GatewayResponse(content="x")]
    )
    answer = await Router(CAST, caller, on_event=events.append).ask(REQUEST)
    assert answer.route.actor is AgentType.CHATGPT
    assert answer.response.agent is AgentType.CHATGPT
    assert answer.fell_back_because == "busy"
    assert any(isinstance(event, FellBack) for event in events)


async def test_both_down_is_the_first_error_with_the_second_as_a_note() -> None:
    """The user learns why each of the two failed."""
    caller = ScriptedCaller(claude=[ServerFaultError("busy")], chatgpt=[ServerFaultError("gone")])
    with pytest.raises(ServerFaultError, match="busy") as caught:
        await Router(CAST, caller).ask(REQUEST)
    assert "gone" in caught.value.__notes__[0]


async def test_a_refusal_switches_only_with_leave() -> None:
    """Another provider hears a refused question only if the user allowed that."""
    with pytest.raises(RefusedError):
        await Router(CAST, ScriptedCaller(claude=[RefusedError("no")])).ask(REQUEST)
    caller = ScriptedCaller(claude=[RefusedError("no")], chatgpt=[GatewayResponse(content="x")])
    answer = await Router(CAST, caller, switch_on_refusal=True).ask(REQUEST)
    assert answer.route.actor is AgentType.CHATGPT


async def test_an_answer_cut_at_its_limit_is_gone_on_with() -> None:
    """The model is asked to go on from its own words, at most twice."""
    caller = ScriptedCaller(claude=[cut("one "), cut("two "), GatewayResponse(content="three")])
    answer = await Router(CAST, caller).ask(REQUEST)
    assert answer.response.content == "one two three"
    assert [request.answer_so_far for _who, request in caller.asked] == ["", "one ", "one two "]


async def test_an_answer_that_never_ends_is_not_passed_on() -> None:
    """After two continuations an unfinished text is an error, and the fallback is tried."""
    three = [cut("a "), cut("b "), cut("c ")]
    caller = ScriptedCaller(claude=list(three), chatgpt=list(three))
    with pytest.raises(TruncatedAnswerError):
        await Router(CAST, caller).ask(REQUEST)
    assert len(caller.asked) == 6
