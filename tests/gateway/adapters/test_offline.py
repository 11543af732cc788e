"""The offline back-end answers at once, free of charge, and always the same."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from aigenflow.core.errors import InputError
from aigenflow.core.models import AgentRequest, AgentType, Backend, FinishReason, Route, ServedFrom
from aigenflow.gateway.adapters.offline import OfflineGateway
from aigenflow.gateway.base import Gateway

ROUTE = Route(
    agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=Backend.OFFLINE, model="offline"
)
REQUEST = AgentRequest(agent=AgentType.CLAUDE, phase=4, task="draft", prompt="Write it.")


class Echo:
    """A composer that names the task."""

    def compose(self, request: AgentRequest) -> str:
        return f"# {request.task}"


class Failing:
    """A composer whose brief is unusable."""

    def compose(self, request: AgentRequest) -> str:
        raise InputError("bad brief")


async def test_answers_are_complete_and_free() -> None:
    """An answer is complete, names the offline model, and reports zero tokens and zero cost."""
    heard: list[int] = []
    gateway: Gateway = OfflineGateway(Echo())
    response = await gateway.send(REQUEST, ROUTE, heard.append)
    assert response.content == "# draft"
    assert heard == [len("# draft")]
    assert response.success
    assert response.finish_reason is FinishReason.COMPLETE
    assert (response.tokens_used, response.input_tokens, response.output_tokens) == (0, 0, 0)
    assert response.usage_reported
    assert response.estimated_cost == response.reported_cost == Decimal(0)
    assert (response.model, response.backend) == ("offline", Backend.OFFLINE)
    assert (response.agent, response.served_from) == (AgentType.CLAUDE, ServedFrom.LIVE)
    await gateway.aclose()


async def test_the_id_follows_the_request() -> None:
    """The same request has the same id, another one another, and the session cannot matter."""
    gateway = OfflineGateway(Echo())
    requests = [
        REQUEST,
        dataclasses.replace(REQUEST, session="other"),
        dataclasses.replace(REQUEST, task="polish"),
    ]
    first, same, other = [(await gateway.send(r, ROUTE)).response_id for r in requests]
    assert first == same != other
    assert first.startswith("offline-")


async def test_composer_errors_pass_through() -> None:
    """What the composer cannot use is told as it is."""
    with pytest.raises(InputError, match="bad brief"):
        await OfflineGateway(Failing()).send(REQUEST, ROUTE)


async def test_one_model() -> None:
    """There is one model, and no key is needed to list it."""
    assert await OfflineGateway(Echo()).list_models() == ("offline",)
