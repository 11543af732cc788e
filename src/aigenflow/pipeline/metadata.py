"""What ``metadata.json`` says of a run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from aigenflow.agents.routes import Cast
from aigenflow.core.models import AgentType, Backend, ServedFrom
from aigenflow.engine.models import StepRecord
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.sources import Sources, unresolved


def is_offline(records: Sequence[StepRecord]) -> bool:
    """No model wrote any of it. The drafter says so itself, at the top of its document."""
    return all(record.response.backend is Backend.OFFLINE for record in records)


def describe_run(
    records: Sequence[StepRecord],
    sources: Sources,
    body: str,
    notices: Sequence[str],
    run: PhaseContext,
) -> dict[str, Any]:
    """``metadata.json``: how the document came about, for people and for scripts."""
    spec, cast = run.spec, run.asker.cast
    backends = {record.response.backend for record in records}
    return {
        "session": spec.session,
        "topic": spec.topic,
        "document_type": spec.document_type.value,
        "template": spec.template,
        "language": spec.language.value,
        "parent": spec.parent or None,
        "created": spec.created.isoformat(),
        "finished": run.clock.now().isoformat(),
        "ai_written": not is_offline(records),
        "mixed": Backend.OFFLINE in backends and len(backends) > 1,
        "roles": {agent.value: _describe_role(agent, records, cast) for agent in AgentType},
        "tasks": [_describe_task(record) for record in records],
        "totals": {
            "input_tokens": sum(record.response.input_tokens for record in records),
            "output_tokens": sum(record.response.output_tokens for record in records),
            **_money(records),
        },
        "sources": [citation.model_dump(mode="json") for citation in sources.citations],
        "unresolved_citations": [] if is_offline(records) else list(unresolved(body, sources)),
        "notices": list(notices),
    }


def _money(records: Sequence[StepRecord]) -> dict[str, Any]:
    """What the document cost and what the cache avoided, in US dollars; null where unknown."""
    cost = {True: Decimal(0), False: Decimal(0)}
    unknown = 0
    for record in records:
        price = record.response.estimated_cost
        if price is None:
            unknown += record.response.backend is not Backend.OFFLINE
        else:
            cost[record.response.served_from is ServedFrom.CACHE] += price
    return {
        "cost_usd": str(cost[False]) if not unknown else None,
        "cost_avoided_usd": str(cost[True]),
        "tasks_of_unknown_cost": unknown,
    }


def _describe_role(agent: AgentType, records: Sequence[StepRecord], cast: Cast) -> dict[str, Any]:
    """Who played a role, as its last answer tells."""
    route = cast.routes[agent]
    record = [record for record in records if record.agent is agent][-1]
    response = record.response
    same = route.actor is record.actor and route.backend is response.backend
    return {
        "played_by": "offline" if response.backend is Backend.OFFLINE else record.actor.value,
        "backend": response.backend.value if response.backend else None,
        "model": response.model,
        "base_url": route.base_url if same else None,
    }


def _describe_task(record: StepRecord) -> dict[str, Any]:
    response = record.response
    return {
        "phase": record.phase,
        "task": record.task,
        "agent": record.agent.value,
        "played_by": "offline" if response.backend is Backend.OFFLINE else record.actor.value,
        "backend": response.backend.value if response.backend else None,
        "model": response.model,
        "served_from": response.served_from.value,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "usage_reported": response.usage_reported,
        "cost_usd": None if response.estimated_cost is None else str(response.estimated_cost),
        "sources": len(response.citations),
        "latency_seconds": round(response.latency_s, 3),
        "fell_back_because": record.fell_back_because or None,
        "left_out": list(record.omissions),
        "edited_by_hand": record.edited,
    }
