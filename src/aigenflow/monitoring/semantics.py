"""What telemetry says of a call, a task and a run. Pure, and without the SDK.

Names are those of OpenTelemetry's conventions for generative AI where they have one, else
``aigenflow.*``. What is not known is left out, which is not the same as zero. No text that a user
or a model wrote is in any of it, unless ``capture_content`` asks for it; keys and the messages of
errors never are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from aigenflow.core.errors import GatewayError
from aigenflow.core.events import RunStarted, TaskStarted
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    FinishReason,
    GatewayResponse,
    Json,
    Route,
)

Attributes: TypeAlias = dict[str, str | int | float | Sequence[str]]

TOKEN_BOUNDARIES = tuple(4**n for n in range(14))
DURATION_BOUNDARIES_S = tuple(0.01 * 2**n for n in range(14))
"""Of the two histograms, as the conventions advise."""

_PROVIDERS: Mapping[Backend, str] = {
    Backend.ANTHROPIC: "anthropic",
    Backend.OPENAI: "openai",
    Backend.GEMINI: "gcp.gemini",
    Backend.PERPLEXITY: "perplexity",
    Backend.COMPATIBLE: "compatible",
    Backend.OFFLINE: "offline",
}
_FINISH_REASONS: Mapping[FinishReason, str] = {
    FinishReason.COMPLETE: "stop",
    FinishReason.FILTERED: "content_filter",
}


class ProviderCall(Protocol):
    """One attempt that reached a provider. ``number`` counts from 1; ``duration_s`` in seconds.

    Either ``response`` is the answer, or ``error`` says why there is none to keep, and may hold
    the answer that came all the same.
    """

    @property
    def request(self) -> AgentRequest: ...
    @property
    def route(self) -> Route: ...
    @property
    def number(self) -> int: ...
    @property
    def response(self) -> GatewayResponse | None: ...
    @property
    def error(self) -> GatewayError | None: ...
    @property
    def started(self) -> datetime: ...
    @property
    def duration_s(self) -> float: ...


def answer_to(call: ProviderCall) -> GatewayResponse | None:
    """What the provider answered, whether or not it was kept."""
    return call.response or (call.error.response if call.error else None)


def run_attributes(event: RunStarted, *, capture_content: bool = False) -> Attributes:
    """Of the span around a run."""
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "aigenflow",
        "gen_ai.conversation.id": event.session,
    }
    if capture_content:
        attributes["aigenflow.topic"] = event.topic
    return attributes


def task_attributes(event: TaskStarted, session: str) -> Attributes:
    """Of the span around a task: all its attempts, and those of its fallback."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": event.route.agent.value,
        **_place(event.phase, event.task, session),
    }


def call_attributes(call: ProviderCall, *, capture_content: bool = False) -> Attributes:
    """Of the span of one attempt."""
    request, route = call.request, call.route
    attributes: Attributes = {
        **_model(call),
        "gen_ai.agent.name": route.agent.value,
        "gen_ai.request.max_tokens": request.max_output_tokens,
        "aigenflow.attempt": call.number,
        **_place(request.phase, request.task, request.session),
        **_server(route.base_url),
        **error_attributes(call.error),
    }
    answer = answer_to(call)
    if answer is not None:
        attributes |= _answer(answer)
    if capture_content:
        attributes |= _content(request, answer)
    return attributes


def token_attributes(call: ProviderCall, kind: str) -> Attributes:
    """Of ``gen_ai.client.token.usage``; ``kind`` is input or output."""
    return {**_model(call), "gen_ai.token.type": kind}


def duration_attributes(call: ProviderCall) -> Attributes:
    """Of ``gen_ai.client.operation.duration``."""
    return {**_model(call), **error_attributes(call.error)}


def cost_attributes(call: ProviderCall, answer: GatewayResponse) -> Attributes:
    """Of ``aigenflow.cost``."""
    return {**_model(call), "aigenflow.served_from": answer.served_from.value}


def error_attributes(error: BaseException | None) -> Attributes:
    """The kind of an error, never its message; nothing where there is none."""
    if error is None:
        return {}
    attributes: Attributes = {"error.type": type(error).__name__}
    if isinstance(error, GatewayError) and error.status is not None:
        attributes["http.response.status_code"] = error.status
    return attributes


def token_counts(call: ProviderCall) -> Mapping[str, int]:
    """Tokens by kind; none where the provider reported none."""
    answer = answer_to(call)
    if answer is None or not answer.usage_reported:
        return {}
    return {"input": answer.input_tokens, "output": answer.output_tokens}


def _model(call: ProviderCall) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS[call.route.backend],
        "gen_ai.request.model": call.route.model,
    }
    answer = answer_to(call)
    if answer is not None and answer.model:
        attributes["gen_ai.response.model"] = answer.model
    return attributes


def _place(phase: int, task: str, session: str) -> Attributes:
    place: Attributes = {"aigenflow.phase": phase, "aigenflow.task": task}
    return {**place, "gen_ai.conversation.id": session} if session else place


def _server(base_url: str | None) -> Attributes:
    """Host and port alone: a path or a user name in an address may be secret."""
    parts = urlsplit(base_url or "")
    if not parts.hostname:
        return {}
    server: Attributes = {"server.address": parts.hostname}
    return {**server, "server.port": parts.port} if parts.port else server


def _answer(answer: GatewayResponse) -> Attributes:
    reason = answer.finish_reason
    attributes: Attributes = {
        "gen_ai.response.finish_reasons": (_FINISH_REASONS.get(reason, reason.value),),
        "aigenflow.served_from": answer.served_from.value,
    }
    if answer.response_id:
        attributes["gen_ai.response.id"] = answer.response_id
    if answer.usage_reported:
        attributes |= {
            "gen_ai.usage.input_tokens": answer.input_tokens,
            "gen_ai.usage.output_tokens": answer.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": answer.cached_input_tokens,
            "gen_ai.usage.cache_write.input_tokens": answer.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": answer.reasoning_tokens,
        }
    if answer.estimated_cost is not None:
        attributes["aigenflow.cost_usd"] = float(answer.estimated_cost)
    return attributes


def _content(request: AgentRequest, answer: GatewayResponse | None) -> Attributes:
    """What was said, in the JSON of the conventions."""
    heard = [document.text for document in request.context]
    messages = [_message("user", [*heard, request.prompt])]
    if request.answer_so_far:
        messages.append(_message("assistant", [request.answer_so_far]))
    content: Attributes = {"gen_ai.input.messages": _json(messages)}
    if request.system:
        content["gen_ai.system_instructions"] = _json([_part(request.system)])
    if answer is not None:
        reason = _FINISH_REASONS.get(answer.finish_reason, answer.finish_reason.value)
        said = {**_message("assistant", [answer.content]), "finish_reason": reason}
        content["gen_ai.output.messages"] = _json([said])
    return content


def _message(role: str, texts: Sequence[str]) -> dict[str, Json]:
    return {"role": role, "parts": [_part(text) for text in texts]}


def _part(text: str) -> dict[str, Json]:
    return {"type": "text", "content": text}


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=True)
