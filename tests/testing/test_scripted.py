"""The shipped scripted gateway."""

import asyncio
from dataclasses import replace

import pytest

from aigenflow.core.errors import ServerFaultError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    FinishReason,
    GatewayResponse,
    Language,
    Route,
)
from aigenflow.gateway.base import Gateway
from aigenflow.testing.clock import ManualClock
from aigenflow.testing.scripted import Call, ScriptedGateway, default_answer

REQUEST = AgentRequest(agent=AgentType.CLAUDE, phase=1, task="validate", prompt="Is it any good?")
ROUTE = Route(
    agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=Backend.ANTHROPIC, model="claude-1"
)


async def test_is_a_gateway() -> None:
    """It can stand wherever a gateway is asked for, and says when it was closed."""
    scripted = ScriptedGateway(models=("a", "b"))
    gateway: Gateway = scripted
    assert await gateway.list_models() == ("a", "b")
    assert not scripted.closed
    await gateway.aclose()
    assert scripted.closed


async def test_answers_a_request_without_a_script() -> None:
    """The default answer is whole, counts its tokens and names model and back-end of the route."""
    response = await ScriptedGateway().send(REQUEST, ROUTE)
    assert response.content.startswith("# validate")
    assert response.finish_reason is FinishReason.COMPLETE
    assert (response.model, response.backend) == ("claude-1", Backend.ANTHROPIC)
    assert response.input_tokens == 5
    assert response.output_tokens > 0
    assert response.tokens_used == response.input_tokens + response.output_tokens


def test_the_default_answer_depends_on_the_question_alone() -> None:
    """Equal requests get equal answers; another session is not another question."""
    answer = default_answer(REQUEST)
    assert default_answer(replace(REQUEST, session="other")) == answer
    assert default_answer(replace(REQUEST, prompt="Is it bad?")).content != answer.content
    assert default_answer(replace(REQUEST, language=Language.KO)).content != answer.content


def test_the_default_answer_to_a_search_names_its_source() -> None:
    """Every citation number in the text has its source, and there is one."""
    answer = default_answer(replace(REQUEST, web_search=True))
    assert answer.content.endswith("[1]")
    assert len(answer.citations) == 1


async def test_records_every_call() -> None:
    """Requests and routes are kept in the order of arrival, also of calls that failed."""
    gateway = ScriptedGateway([ServerFaultError("down")])
    other = replace(REQUEST, task="narrative")
    with pytest.raises(ServerFaultError):
        await gateway.send(REQUEST, ROUTE)
    await gateway.send(other, ROUTE)
    assert gateway.calls == [Call(request=REQUEST, route=ROUTE), Call(request=other, route=ROUTE)]
    assert gateway.requests == [REQUEST, other]


async def test_a_list_is_answered_in_order_and_then_by_default() -> None:
    """A list scripts the first calls only."""
    gateway = ScriptedGateway([GatewayResponse(content="one"), GatewayResponse(content="two")])
    contents = [(await gateway.send(REQUEST, ROUTE)).content for _ in range(3)]
    assert contents == ["one", "two", default_answer(REQUEST).content]


async def test_a_function_answers_from_the_request() -> None:
    """A function may raise by returning an exception."""
    gateway = ScriptedGateway(lambda request: GatewayResponse(content=request.prompt.upper()))
    assert (await gateway.send(REQUEST, ROUTE)).content == "IS IT ANY GOOD?"
    broken = ScriptedGateway(lambda request: ServerFaultError(request.task))
    with pytest.raises(ServerFaultError, match="validate"):
        await broken.send(REQUEST, ROUTE)


async def test_a_script_for_the_task_goes_before_one_for_the_agent() -> None:
    """Task, then agent, then the script for all."""
    gateway = ScriptedGateway(
        lambda request: GatewayResponse(content="anyone"),
        scripts={
            AgentType.CLAUDE: lambda request: GatewayResponse(content="claude"),
            "validate": [GatewayResponse(content="validation")],
        },
    )

    async def ask(request: AgentRequest) -> str:
        return (await gateway.send(request, ROUTE)).content

    assert await ask(REQUEST) == "validation"
    assert await ask(replace(REQUEST, task="narrative")) == "claude"
    assert await ask(replace(REQUEST, task="x", agent=AgentType.GEMINI)) == "anyone"


async def test_what_the_script_says_about_itself_is_kept() -> None:
    """Model, back-end and latency of a scripted response are not overwritten."""
    scripted = GatewayResponse(
        content="x", model="another", backend=Backend.OFFLINE, latency_s=9.0, input_tokens=7
    )
    response = await ScriptedGateway([scripted]).send(REQUEST, ROUTE)
    assert response == scripted


async def test_tells_how_much_text_has_come() -> None:
    """The listener hears the length of the answer."""
    heard: list[int] = []
    response = await ScriptedGateway().send(REQUEST, ROUTE, heard.append)
    assert heard == [len(response.content)]


async def test_latency_passes_on_the_clock() -> None:
    """Calls made together take as long as one, and are seen to overlap."""
    clock = ManualClock(auto_advance=True)
    gateway = ScriptedGateway(latency_s=30, clock=clock)
    responses = await asyncio.gather(*(gateway.send(REQUEST, ROUTE) for _ in range(4)))
    assert clock.monotonic() == 30.0
    assert {response.latency_s for response in responses} == {30.0}
    assert gateway.most_in_flight == 4
    assert gateway.in_flight == 0


async def test_a_cancelled_call_is_no_longer_in_flight() -> None:
    """Cancelling ends the wait and is counted as an end."""
    gateway = ScriptedGateway(latency_s=30, clock=ManualClock())
    call = asyncio.create_task(gateway.send(REQUEST, ROUTE))
    await asyncio.sleep(0)
    assert gateway.in_flight == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert gateway.in_flight == 0
