"""Attempts as telemetry sees them, made up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from aigenflow.core.errors import GatewayError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    GatewayResponse,
    Route,
)

STARTED = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
SECRETS = ("the-prompt", "the-context", "the-system", "the-answer", "the-message", "the-user")

REQUEST = AgentRequest(
    agent=AgentType.GEMINI,
    phase=2,
    task="deep_search",
    prompt="the-prompt",
    system="the-system",
    context=(ContextDocument(id="phase1.validate", title="t", text="the-context"),),
    max_output_tokens=2000,
    session="20261122-101500-3f9a2c",
)
ROUTE = Route(
    agent=AgentType.GEMINI,
    actor=AgentType.GEMINI,
    backend=Backend.GEMINI,
    model="gemini-3.8-flash",
    base_url="http://the-user@127.0.0.1:8200/secret",
)
ANSWER = GatewayResponse(
    content="the-answer",
    input_tokens=1200,
    output_tokens=300,
    tokens_used=1500,
    cached_input_tokens=1000,
    cache_write_tokens=50,
    reasoning_tokens=100,
    estimated_cost=Decimal("0.0025"),
    model="gemini-3.8-flash-001",
    response_id="r1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One attempt."""

    request: AgentRequest = REQUEST
    route: Route = ROUTE
    number: int = 1
    response: GatewayResponse | None = None
    error: GatewayError | None = None
    started: datetime = STARTED
    duration_s: float = 2.5
