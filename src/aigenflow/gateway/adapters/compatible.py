"""Servers that speak OpenAI's chat completions: Ollama, vLLM, llama.cpp, LM Studio."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from gettext import gettext as _
from typing import ClassVar

from aigenflow.core.models import (
    AgentRequest,
    Backend,
    FinishReason,
    GatewayResponse,
    Json,
    Route,
)
from aigenflow.gateway.adapters._faults import ended_early, malformed
from aigenflow.gateway.adapters._openai_gateway import OpenAISdkGateway
from aigenflow.gateway.adapters._prompt import turns
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text, is_count, joined
from aigenflow.gateway.base import OnText
from aigenflow.gateway.http_errors import error_from_event

_FINISH = {
    "stop": FinishReason.COMPLETE,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTERED,
}
_THOUGHT = re.compile(r"(?:\A\s*)?<think(?:ing)?>.*?(?:</think(?:ing)?>\s*|\Z)", re.DOTALL)
_OPEN_THOUGHT = re.compile(r"\A.*?</think(?:ing)?>\s*", re.DOTALL)
"""A thought whose opening tag the chat template has swallowed."""


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of the request; a live call adds only the stream settings.

    The interface has no web search, so ``web_search`` is not passed on.
    """
    system = [{"role": "system", "content": request.system}] if request.system else []
    body: dict[str, Json] = {
        "model": route.model,
        "messages": [*system, *turns(request)],
        "max_tokens": request.max_output_tokens,
    }
    return {**body, **route.options, **request.options}


def parse(raw: dict[str, Json]) -> GatewayResponse:
    """The normal form of a chat completion.

    Raises ``MalformedAnswerError``, or the error that the server put in place of an answer.
    """
    choices = as_dicts(raw.get("choices"))
    if not choices:
        if raw.get("error"):
            raise error_from_event(provider=Backend.COMPATIBLE, event=raw)
        raise malformed(Backend.COMPATIBLE, _("it has no choices"))
    message = as_dict(choices[0].get("message"))
    refusal = as_text(message.get("refusal"))
    content = _without_thoughts(_content(message)) or refusal
    finish = _FINISH.get(as_text(choices[0].get("finish_reason")), FinishReason.UNKNOWN)
    if refusal:
        finish = FinishReason.REFUSAL
    elif not content.strip() and finish in {FinishReason.COMPLETE, FinishReason.LENGTH}:
        content, finish = "", FinishReason.EMPTY
    return _to_response(raw, content, finish)


def _to_response(raw: dict[str, Json], content: str, finish: FinishReason) -> GatewayResponse:
    usage = as_dict(raw.get("usage"))
    inputs = as_dict(usage.get("prompt_tokens_details"))
    cached = as_count(inputs.get("cached_tokens"))
    written = as_count(inputs.get("cache_write_tokens"))
    reasoning = as_count(as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    # Totals contain their parts, also where a server's own arithmetic does not add up.
    total_in = max(as_count(usage.get("prompt_tokens")), cached + written)
    total_out = max(as_count(usage.get("completion_tokens")), reasoning)
    counted = is_count(usage.get("prompt_tokens")) and is_count(usage.get("completion_tokens"))
    return GatewayResponse(
        content=content,
        success=finish is FinishReason.COMPLETE,
        tokens_used=total_in + total_out,
        input_tokens=total_in,
        output_tokens=total_out,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        usage_reported=counted,
        model=as_text(raw.get("model")),
        backend=Backend.COMPATIBLE,
        finish_reason=finish,
        response_id=as_text(raw.get("id")),
        raw=raw,
    )


class CompatibleGateway(OpenAISdkGateway):
    """A :class:`~aigenflow.gateway.base.Gateway` to a server of one's own; the key is optional."""

    backend: ClassVar[Backend] = Backend.COMPATIBLE
    default_base_url: ClassVar[str] = "http://127.0.0.1:11434/v1"
    path: ClassVar[str] = "/chat/completions"
    key_optional: ClassVar[bool] = True
    extra_when_streaming: ClassVar[dict[str, Json]] = {"stream_options": {"include_usage": True}}
    build = staticmethod(build_body)
    read = staticmethod(parse)

    async def collect(
        self, events: AsyncIterator[dict[str, Json]], on_text: OnText
    ) -> dict[str, Json]:
        """The chunks put together as the completion they would have been without a stream."""
        answer = _Assembly()
        async for chunk in events:
            answer.add(chunk)
            on_text(answer.characters)
        if not answer.finish_reason:
            raise ended_early(self.backend, began=answer.has_begun)
        return answer.completion()


class _Assembly:
    """A chat completion growing out of its chunks.

    The usage comes after the chunk with the finish reason, so the stream is read to its end.
    """

    def __init__(self) -> None:
        self.characters = 0
        self.has_begun = False
        self.finish_reason = ""
        self._head: dict[str, Json] = {}
        self._usage: Json = None
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}

    def add(self, chunk: dict[str, Json]) -> None:
        for name in ("id", "model", "created"):
            self._head.setdefault(name, chunk.get(name))
        self._usage = chunk.get("usage") or self._usage
        for choice in as_dicts(chunk.get("choices"))[:1]:
            self.has_begun = True
            delta = as_dict(choice.get("delta"))
            for name, texts in self._texts.items():
                texts.append(as_text(delta.get(name)))
            self.characters += len(self._texts["content"][-1])
            self.finish_reason = as_text(choice.get("finish_reason")) or self.finish_reason

    def completion(self) -> dict[str, Json]:
        texts = {name: joined(texts) or None for name, texts in self._texts.items()}
        message = {"role": "assistant", **texts}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        whole = {**self._head, "object": "chat.completion", "choices": [choice]}
        return whole if self._usage is None else {**whole, "usage": self._usage}


def _content(message: dict[str, Json]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = as_dicts(content)
        return "".join(as_text(p.get("text")) for p in parts if p.get("type") == "text")
    return as_text(content)


def _without_thoughts(text: str) -> str:
    return _OPEN_THOUGHT.sub("", _THOUGHT.sub("", text))
