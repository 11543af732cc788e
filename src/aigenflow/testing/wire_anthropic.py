"""The Anthropic Messages format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigenflow.core.models import Backend, Json
from aigenflow.testing.wire_models import (
    Answer,
    Ask,
    Counts,
    Finish,
    Part,
    Received,
    Rejection,
    SseEvent,
    bearer_of,
    dump,
    first_problem,
    pieces_of,
    source_at,
)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    Finish.COMPLETE: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.CONTEXT_WINDOW: "model_context_window_exceeded",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.PAUSE_TURN: "pause_turn",
}
_CACHE_TTL_S = {"5m": 300, "1h": 3600}
_ENCRYPTED = "RXhhbXBsZSBvZiBhbiBvcGFxdWUgdmFsdWU="


class _CacheControl(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Block(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None
    cache_control: _CacheControl | None = None


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant", "system"]
    content: Annotated[str, Field(min_length=1)] | Annotated[list[_Block], Field(min_length=1)]


class _Tool(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    type: str = "custom"
    cache_control: _CacheControl | None = None


class _Request(BaseModel):
    """The body of ``POST /v1/messages``; sampling parameters are unknown to it."""

    model_config = ConfigDict(extra="forbid")
    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    system: str | list[_Block] = ""
    stream: bool = False
    tools: list[_Tool] = []
    thinking: dict[str, Json] | None = None
    cache_control: _CacheControl | None = None
    container: Json = None
    diagnostics: Json = None
    inference_geo: str | None = None
    metadata: dict[str, Json] | None = None
    output_config: dict[str, Json] | None = None
    service_tier: Literal["auto", "standard_only"] = "auto"
    speed: Literal["standard", "fast"] | None = None
    stop_sequences: list[str] = []
    tool_choice: dict[str, Json] | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None


class AnthropicFormat:
    """``POST /v1/messages``; see :class:`~aigenflow.testing.wire_models.WireFormat`."""

    newline = "\n"
    ping = SseEvent(name="ping", data={"type": "ping"}).encode()

    def check_key(self, received: Received) -> str:
        key = received.headers.get("x-api-key") or bearer_of(received)
        if not key:
            raise Rejection(401, "x-api-key header is required")
        return key

    def read(self, received: Received) -> Ask:
        if "anthropic-version" not in received.headers:
            raise Rejection(400, "anthropic-version: header is required")
        request = _parsed(received.body)
        _check_turns(request.messages)
        _check_thinking(request)
        return Ask(
            backend=Backend.ANTHROPIC,
            model=request.model,
            received=received,
            parts=tuple(_parts(request)),
            instruction=_instruction(request.messages),
            stream=request.stream,
            max_output_tokens=request.max_tokens,
            web_search=any(tool.type.startswith("web_search") for tool in request.tools),
            thinks=(request.thinking or {}).get("type") in ("enabled", "adaptive"),
        )

    def whole(self, answer: Answer) -> dict[str, Json]:
        message = _envelope(answer)
        message["content"] = _blocks(answer)
        if answer.usage is not None:
            message["usage"] = _usage(answer.usage) | _tier(answer)
        return message | _stop(answer)

    def events(self, answer: Answer) -> list[SseEvent]:
        start = _envelope(answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
        if answer.usage is not None:
            start["usage"] = _usage(answer.usage) | _tier(answer) | {"output_tokens": 1}
        events = [_event("message_start", message=start)]
        for index, block in enumerate(_blocks(answer)):
            events += _block_events(index, block, answer)
            if index == 0:
                events.insert(2, _event("ping"))
        delta: dict[str, Json] = {"delta": _stop(answer)}
        if answer.usage is not None:
            delta["usage"] = _final_usage(answer.usage)
        events.append(_event("message_delta", terminal=True, **delta))
        events.append(_event("message_stop", terminal=True))
        return events

    def without_content(self, body: dict[str, Json]) -> None:
        body["content"] = None

    def error(self, status: int, message: str) -> dict[str, Json]:
        kind = _ERROR_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_event(self, sequence: int) -> SseEvent:
        return SseEvent(name="error", data=self.error(529, "Overloaded"))


def _parsed(body: dict[str, Json]) -> _Request:
    try:
        return _Request.model_validate(body)
    except ValidationError as error:
        place, kind, problem = first_problem(error)
        if kind == "extra_forbidden":
            problem = "Extra inputs are not permitted"
        raise Rejection(400, f"{place}: {problem}") from error


def _check_turns(messages: list[_Message]) -> None:
    if messages[0].role == "assistant":
        raise Rejection(400, 'messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        for at, block in enumerate(message.content):
            if (
                isinstance(block, _Block)
                and block.type == "text"
                and not (block.text or "").strip()
            ):
                place = f"messages.{index}.content.{at}.text"
                raise Rejection(400, f"{place}: text content blocks must be non-empty")
    last = messages[-1]
    paused = any(isinstance(b, _Block) and b.type == "server_tool_use" for b in last.content)
    if last.role == "assistant" and not paused:
        raise Rejection(
            400,
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message.",
        )


def _check_thinking(request: _Request) -> None:
    thinking = request.thinking or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < 1024:
        raise Rejection(400, "thinking.enabled.budget_tokens: must be at least 1024")
    if budget >= request.max_tokens:
        raise Rejection(400, "max_tokens must be greater than thinking.budget_tokens")


def _parts(request: _Request) -> Iterator[Part]:
    for tool in request.tools:
        yield _part(dump(tool.model_dump(exclude={"cache_control"})), tool.cache_control)
    blocks = (
        [_Block(type="text", text=request.system)]
        if isinstance(request.system, str)
        else request.system
    )
    texts = [(_text_of(block), block.cache_control) for block in blocks if _text_of(block)]
    for message in request.messages:
        if isinstance(message.content, str):
            texts.append((message.content, None))
        else:
            texts += [(_text_of(block), block.cache_control) for block in message.content]
    for index, (text, control) in enumerate(texts):
        last = index == len(texts) - 1
        yield _part(text, control or (request.cache_control if last else None))


def _part(text: str, control: _CacheControl | None) -> Part:
    return Part(text=text, cache_ttl_s=None if control is None else _CACHE_TTL_S[control.ttl])


def _text_of(block: _Block) -> str:
    if block.text is not None:
        return block.text
    return dump(block.model_dump(exclude={"cache_control"}, exclude_none=True))


def _instruction(messages: list[_Message]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            texts = [block.text for block in message.content if block.text]
            if texts:
                return texts[-1]
    return ""


def _envelope(answer: Answer) -> dict[str, Json]:
    return {
        "id": answer.make_id("msg_01", 22),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
    }


def _stop(answer: Answer) -> dict[str, Json]:
    stop: dict[str, Json] = {
        "stop_reason": _STOP_REASONS.get(answer.finish, "refusal"),
        "stop_sequence": None,
    }
    if answer.finish is Finish.STOP_SEQUENCE:
        stop["stop_sequence"] = (answer.ask.received.body.get("stop_sequences") or [None])[0]
    if stop["stop_reason"] == "refusal":
        stop["stop_details"] = {
            "type": "refusal",
            "category": "general_harms",
            "explanation": "The request was declined.",
        }
    return stop


def _blocks(answer: Answer) -> list[dict[str, Json]]:
    blocks: list[dict[str, Json]] = []
    if answer.thinking:
        blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": _ENCRYPTED})
    if answer.ask.web_search:
        blocks += _search_blocks(answer)
    for segment in answer.segments:
        if segment.source is not None:
            blocks.append(_cited_block(answer, segment.text, segment.source))
        elif blocks and blocks[-1].get("type") == "text" and "citations" not in blocks[-1]:
            blocks[-1]["text"] += segment.text
        elif segment.text:
            blocks.append({"type": "text", "text": segment.text})
    return blocks


def _search_blocks(answer: Answer) -> list[dict[str, Json]]:
    tool_use_id = answer.make_id("srvtoolu_01", 22)
    results = [
        {
            "type": "web_search_result",
            "url": source.url,
            "title": source.title,
            "encrypted_content": _ENCRYPTED,
            "page_age": source.date,
        }
        for source in answer.sources
    ]
    return [
        {
            "type": "server_tool_use",
            "id": tool_use_id,
            "name": "web_search",
            "input": {"query": answer.query},
        },
        {"type": "web_search_tool_result", "tool_use_id": tool_use_id, "content": results},
    ]


def _cited_block(answer: Answer, text: str, index: int) -> dict[str, Json]:
    source = source_at(answer.sources, index)
    citation = {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title,
        "encrypted_index": _ENCRYPTED,
        "cited_text": source.snippet[:150],
    }
    return {"type": "text", "text": text, "citations": [citation]}


def _usage(counts: Counts) -> dict[str, Json]:
    written = counts.cache_write_5m_tokens + counts.cache_write_1h_tokens
    fresh = counts.input_tokens - counts.cached_input_tokens - written
    return {
        "input_tokens": max(0, fresh) + counts.tool_prompt_tokens,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": counts.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": counts.cache_write_1h_tokens,
        },
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"thinking_tokens": counts.reasoning_tokens},
        "server_tool_use": _server_tools(counts),
    }


def _tier(answer: Answer) -> dict[str, Json]:
    return {"service_tier": "batch" if answer.ask.tier == "batch" else "standard"}


def _final_usage(counts: Counts) -> dict[str, Json]:
    """The counts of ``message_delta``: cumulative, without the parts of the cache."""
    usage = _usage(counts)
    return {name: usage[name] for name in usage if name != "cache_creation"}


def _server_tools(counts: Counts) -> dict[str, int] | None:
    if not counts.search_calls:
        return None
    return {"web_search_requests": counts.search_calls, "web_fetch_requests": 0}


def _block_events(index: int, block: Mapping[str, Json], answer: Answer) -> list[SseEvent]:
    empty, deltas = _deltas(block, answer)
    events = [_event("content_block_start", index=index, content_block=empty)]
    for delta in deltas:
        text = delta.get("text") or delta.get("thinking") or ""
        events.append(_event("content_block_delta", text=text, index=index, delta=delta))
    events.append(_event("content_block_stop", index=index))
    return events


def _deltas(
    block: Mapping[str, Json], answer: Answer
) -> tuple[dict[str, Json], list[dict[str, Json]]]:
    """The block as it starts, and what is then added to it."""
    match block["type"]:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "server_tool_use":
            delta = {"type": "input_json_delta", "partial_json": dump(block["input"])}
            return {**block, "input": {}}, [delta]
        case "text":
            cited = block.get("citations", [])
            share = -(-answer.chunks * len(block["text"]) // max(1, len(answer.text)))
            start: dict[str, Json] = {"type": "text", "text": ""}
            if cited:
                start["citations"] = []
            return start, [
                *({"type": "text_delta", "text": text} for text in pieces_of(block["text"], share)),
                *({"type": "citations_delta", "citation": citation} for citation in cited),
            ]
        case _:
            return dict(block), []


def _event(kind: str, *, text: str = "", terminal: bool = False, **data: Json) -> SseEvent:
    return SseEvent(name=kind, data={"type": kind, **data}, text=text, terminal=terminal)
