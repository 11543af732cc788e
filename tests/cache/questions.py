"""Requests, routes and answers for the tests of the cache."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aigenflow.cache.key_generator import identify, ingredients
from aigenflow.cache.models import Codec, Entry, EntryMeta, PlainCodec, encode_entry
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    Citation,
    ContextDocument,
    GatewayResponse,
    Route,
    ServedFrom,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

REQUEST = AgentRequest(
    agent=AgentType.CLAUDE,
    phase=3,
    task="narrative",
    prompt="Write the strategy narrative.",
    system="You are the architect.",
    context=(
        ContextDocument(id="phase1.brainstorm", title="Ideas", text="Meal kits."),
        ContextDocument(id="phase2.research", title="Research", text="| a | b |\n| 1 | 2 |"),
    ),
    session="s1",
)
ROUTE = Route(
    agent=AgentType.CLAUDE,
    actor=AgentType.CLAUDE,
    backend=Backend.ANTHROPIC,
    model="claude-sonnet-5-5",
)
ANSWER = GatewayResponse(
    content="The strategy: 건강한 식단 m² “plan”\n\u2028end",
    tokens_used=30,
    input_tokens=10,
    output_tokens=20,
    estimated_cost=Decimal("0.00022"),
    reported_cost=Decimal("0.00021"),
    model="claude-sonnet-5-5-20261001",
    backend=Backend.ANTHROPIC,
    agent=AgentType.CLAUDE,
    citations=(Citation(url="https://example.org", title="A", agent=AgentType.GEMINI),),
    latency_s=1.25,
    raw={"id": "msg_1", "content": [{"type": "text", "text": "x"}], "n": 1.5, "null": None},
)


def ask(number: int = 0, **fields: Any) -> AgentRequest:
    """One of many different requests."""
    return replace(REQUEST, prompt=f"Question number {number}", **fields)


def reply(text: str = "An answer", size: int = 0) -> GatewayResponse:
    """A whole answer of at least ``size`` characters."""
    return ANSWER.model_copy(update={"content": text + "." * max(0, size - len(text))})


def stored(
    request: AgentRequest = REQUEST,
    response: GatewayResponse = ANSWER,
    *,
    route: Route = ROUTE,
    created: datetime = NOON,
    codec: Codec | None = None,
) -> tuple[EntryMeta, bytes]:
    """An entry as a manager would put it into a store."""
    identity = identify(request, route)
    meta = EntryMeta(
        key=identity.key,
        fingerprint=identity.fingerprint,
        agent=identity.agent,
        phase=identity.phase,
        task=request.task,
        actor=route.actor.value,
        provider=route.backend.value,
        model=route.model,
        session=request.session,
        created=created,
        seen=created,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        cost=response.estimated_cost,
    )
    entry = Entry(meta=meta, parts=ingredients(request, route), response=response)
    return meta, encode_entry(entry, codec or PlainCodec())


def from_cache(response: GatewayResponse) -> GatewayResponse:
    """The answer as the cache gives it back."""
    return response.model_copy(update={"served_from": ServedFrom.CACHE})
