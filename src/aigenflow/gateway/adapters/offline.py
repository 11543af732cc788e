"""The back-end of last resort: no key, no server, no network, and no cost.

What it answers is composed by rules elsewhere; this adapter only gives it the normal form.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Protocol

from aigenflow.core.canonical import fingerprint
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    FinishReason,
    GatewayResponse,
    Route,
    what_matters,
)
from aigenflow.gateway.base import OnText, ignore_text

MODEL = "offline"


class Composer(Protocol):
    """Writes the text for a request by rules: the same request, the same text."""

    def compose(self, request: AgentRequest) -> str:
        """The whole answer, as Markdown."""
        ...


class OfflineGateway:
    """A :class:`~aigenflow.gateway.base.Gateway` that reaches no model. Its answers are free."""

    def __init__(self, compose: Composer) -> None:
        self._composer = compose

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Compose the answer. Raises what the composer raises (an ``AigenflowError``)."""
        # A long brief takes a moment to read; other requests go on meanwhile.
        text = await asyncio.to_thread(self._composer.compose, request)
        on_text(len(text))
        return GatewayResponse(
            content=text,
            estimated_cost=Decimal(0),
            reported_cost=Decimal(0),
            model=MODEL,
            backend=Backend.OFFLINE,
            agent=request.agent,
            finish_reason=FinishReason.COMPLETE,
            response_id=_response_id(request),
        )

    async def list_models(self) -> tuple[str, ...]:
        return (MODEL,)

    async def aclose(self) -> None:
        """Nothing is open."""


def _response_id(request: AgentRequest) -> str:
    return f"{MODEL}-{fingerprint(what_matters(request))[:24]}"
