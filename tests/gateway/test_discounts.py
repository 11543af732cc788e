"""What is bought at a discount is priced at one: the adapters' answers against the price book."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.config import Settings
from aigenflow.core.jobs import JobItem
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    GatewayResponse,
    Json,
    Processing,
    Route,
    ServedFrom,
)
from aigenflow.gateway.registry import Gateways
from aigenflow.monitoring.cost_calculator import bill, cost
from aigenflow.monitoring.models import Rates
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.testing.server import WireServer

BOOK = PriceBook.load()
WHEN = datetime(2026, 11, 22, tzinfo=UTC)
WAYS = {
    Backend.ANTHROPIC: (AgentType.CLAUDE, "claude-sonnet-5-5", "/anthropic"),
    Backend.OPENAI: (AgentType.CHATGPT, "gpt-6.1-sol", "/openai/v1"),
    Backend.GEMINI: (AgentType.GEMINI, "gemini-3.8-flash", "/gemini"),
}
over_providers = pytest.mark.parametrize("backend", WAYS)


class NoDrafter:
    """Nothing here is drafted offline."""

    def compose(self, request: AgentRequest) -> str:
        raise AssertionError


def route_of(backend: Backend, server: WireServer) -> Route:
    agent, model, path = WAYS[backend]
    return Route(agent=agent, actor=agent, backend=backend, model=model, base_url=server.url + path)


def question(route: Route, processing: Processing) -> AgentRequest:
    return AgentRequest(
        agent=route.agent,
        phase=1,
        task="t",
        prompt="How large is the market? " * 400,
        max_output_tokens=512,
        processing=processing,
    )


async def live(gateways: Gateways, route: Route, processing: Processing) -> GatewayResponse:
    return await gateways.send(question(route, processing), route)


async def batched(gateways: Gateways, route: Route) -> GatewayResponse:
    jobs = gateways.jobs(route)
    assert jobs is not None
    request = question(route, Processing.BATCH)
    job = await jobs.submit([JobItem(id="i", request=request, route=route)], "tag")
    while not (await jobs.status(job.job)).state.is_over:
        pass
    (outcome,) = await jobs.results(job.job)
    assert outcome.response is not None
    return outcome.response


def rates_of(backend: Backend, way: ServedFrom) -> Rates:
    agent, model, _path = WAYS[backend]
    rates = BOOK.rates_for(agent, backend, model, WHEN, way)
    assert rates is not None
    return rates


def price_of(answer: GatewayResponse, backend: Backend) -> tuple[Decimal, Decimal]:
    """What the answer costs, and what it would have cost at the full price."""
    full = rates_of(backend, ServedFrom.LIVE)
    charged = bill(answer, rates_of(backend, answer.served_from), full)
    assert charged.billed is not None
    return charged.billed, cost(answer, full).total


@over_providers
@pytest.mark.parametrize("way", [Processing.BATCH, Processing.FLEX])
async def test_half_the_price(backend: Backend, way: Processing) -> None:
    """A batch or flex answer costs half of the same answer live, where the provider sells it so."""
    script: dict[str, Json] = {"defaults": {"usage": {"cached_input_tokens": 0}}}
    async with WireServer(script) as server:
        gateways = Gateways(Settings(), lambda _agent: None, NoDrafter(), SystemClock())
        route = route_of(backend, server)
        answer = (
            await batched(gateways, route)
            if way is Processing.BATCH
            else await live(gateways, route, way)
        )
        await gateways.aclose()
        tier = server.bill[0].tier
    sold = way is Processing.BATCH or backend is not Backend.ANTHROPIC
    assert answer.served_from.value == (way.value if sold else "live")
    assert (tier == way.value) is sold
    price, full = price_of(answer, backend)
    assert full > 0
    assert price == (full / 2 if sold else full)
    # Nobody lists the flex price of Gemini; that it equals the batch price is our assumption.
    assumed = (backend, way) == (Backend.GEMINI, Processing.FLEX)
    assert rates_of(backend, answer.served_from).estimate is assumed


@over_providers
async def test_flex_served_at_the_full_price_is_billed_at_it(backend: Backend) -> None:
    """Asking for flex makes no answer cheaper: what the provider says counts."""
    script = {"defaults": {"tier": "standard"}}
    async with WireServer(script) as server:
        gateways = Gateways(Settings(), lambda _agent: None, NoDrafter(), SystemClock())
        answer = await live(gateways, route_of(backend, server), Processing.FLEX)
        await gateways.aclose()
    price, full = price_of(answer, backend)
    assert price == full
