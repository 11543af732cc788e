"""The OpenAI Responses format."""

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
    render,
    source_at,
)

_ERROR_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_exceeded", "rate_limit_exceeded"),
}
_NAMED_TIERS = frozenset({"flex", "priority"})
_PARTS_OF_ROLE = {"assistant": ("output_text", "refusal")}
_INPUT_PARTS = ("input_text", "input_image", "input_file")


class _Item(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[dict[str, Json]] | None = None


class _Tool(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str


class _Request(BaseModel):
    """The body of ``POST /v1/responses``."""

    model_config = ConfigDict(extra="forbid")
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[str, Field(min_length=1)] | Annotated[list[_Item], Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    tools: list[_Tool] = []
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    metadata: dict[str, str] | None = None
    access_programs: Json = None
    background: bool | None = None
    background_options: Json = None
    context_management: Json = None
    conversation: Json = None
    image: Json = None
    include: list[str] | None = None
    max_tool_calls: int | None = None
    moderation: Json = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Json = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Json = None
    prompt_cache_retention: str | None = None
    reasoning: dict[str, Json] | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    stream_options: Json = None
    temperature: float | None = None
    text: dict[str, Json] | None = None
    tool_choice: Json = None
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None


class OpenAIFormat:
    """``POST /v1/responses``; see :class:`~aigenflow.testing.wire_models.WireFormat`."""

    newline = "\n"
    ping = b": keep-alive\n\n"

    def check_key(self, received: Received) -> str:
        key = bearer_of(received)
        if not key:
            raise Rejection(401, "Missing bearer authentication in header")
        return key

    def read(self, received: Received) -> Ask:
        request = _parsed(received.body)
        items = items_of(request.input)
        return Ask(
            backend=Backend.OPENAI,
            model=request.model,
            received=received,
            parts=tuple(_parts(request, items)),
            instruction=instruction_of(items),
            stream=bool(request.stream),
            max_output_tokens=request.max_output_tokens,
            web_search=any(tool.type.startswith("web_search") for tool in request.tools),
            thinks=(request.reasoning or {}).get("effort") != "none",
            tier=request.service_tier or "default",
        )

    def whole(self, answer: Answer) -> dict[str, Json]:
        return _envelope(answer, _status(answer), _items(answer))

    def events(self, answer: Answer) -> list[SseEvent]:
        return numbered(
            [
                _event("response.created", response=_envelope(answer, "in_progress", [])),
                _event("response.in_progress", response=_envelope(answer, "in_progress", [])),
                *_output_events(answer),
                _event(
                    f"response.{_status(answer)}",
                    terminal=True,
                    response=_envelope(answer, _status(answer), _items(answer)),
                ),
            ]
        )

    def without_content(self, body: dict[str, Json]) -> None:
        for item in body["output"]:
            for part in item.get("content") or []:
                part["text"] = None

    def error(self, status: int, message: str) -> dict[str, Json]:
        fallback = ("server_error", None) if status >= 500 else ("invalid_request_error", None)
        error_type, code = _ERROR_TYPES.get(status, fallback)
        return {"error": {"message": message, "type": error_type, "param": None, "code": code}}

    def error_event(self, sequence: int) -> SseEvent:
        return _event(
            "error",
            code="server_error",
            message="The server had an error while processing your request.",
            param=None,
            sequence_number=sequence,
        )


def items_of(given: str | list[_Item]) -> list[_Item]:
    """The input as a list; raises ``Rejection`` where a part does not fit its role."""
    if isinstance(given, str):
        return [_Item(role="user", content=given)]
    for index, item in enumerate(given):
        if item.type == "message" and (item.role is None or item.content is None):
            missing = "role" if item.role is None else "content"
            raise Rejection(400, f"Missing required parameter: 'input[{index}].{missing}'.")
        allowed = _PARTS_OF_ROLE.get(item.role or "", _INPUT_PARTS)
        for at, part in enumerate(item.content if isinstance(item.content, list) else []):
            if item.type == "message" and part.get("type") not in allowed:
                raise Rejection(
                    400,
                    f"Invalid value: '{part.get('type')}'. Supported values are: "
                    f"{', '.join(allowed)} (input[{index}].content[{at}]).",
                )
    return given


def instruction_of(items: list[_Item]) -> str:
    """The last text of the last user message."""
    for item in reversed(items):
        texts = list(_texts(item))
        if item.role == "user" and texts:
            return texts[-1]
    return ""


def numbered(events: list[SseEvent]) -> list[SseEvent]:
    """The events with their ``sequence_number``."""
    return [
        SseEvent(
            name=event.name,
            data={**event.data, "sequence_number": number},
            text=event.text,
            terminal=event.terminal,
        )
        for number, event in enumerate(events)
        if isinstance(event.data, Mapping)
    ]


def _parsed(body: dict[str, Json]) -> _Request:
    try:
        return _Request.model_validate(body)
    except ValidationError as error:
        place, kind, problem = first_problem(error)
        if kind == "extra_forbidden":
            raise Rejection(400, f"Unknown parameter: '{place}'.") from error
        if kind == "missing":
            raise Rejection(400, f"Missing required parameter: '{place}'.") from error
        raise Rejection(400, f"Invalid '{place}': {problem}.") from error


def _parts(request: _Request, items: list[_Item]) -> Iterator[Part]:
    for tool in request.tools:
        yield Part(text=dump(tool.model_dump()))
    if request.instructions:
        yield Part(text=request.instructions)
    for item in items:
        for text in _texts(item):
            yield Part(text=text)


def _texts(item: _Item) -> Iterator[str]:
    if isinstance(item.content, str):
        yield item.content
    elif item.content is None:
        yield dump(item.model_dump())
    else:
        for part in item.content:
            yield str(part.get("text") or dump(part))


def _status(answer: Answer) -> str:
    incomplete = answer.incomplete or answer.finish in (Finish.SAFETY, Finish.RECITATION)
    return "incomplete" if incomplete else "completed"


def _envelope(answer: Answer, status: str, output: list[dict[str, Json]]) -> dict[str, Json]:
    body = answer.ask.received.body
    reason = "max_output_tokens" if answer.incomplete else "content_filter"
    envelope: dict[str, Json] = {
        "id": answer.hex_id("resp_"),
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": answer.ask.tier if answer.ask.tier in _NAMED_TIERS else "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }
    if status != "in_progress":
        envelope["completed_at"] = answer.created
        envelope["usage"] = None if answer.usage is None else _usage(answer.usage)
        if answer.usage is None:
            del envelope["usage"]
    return envelope


def _usage(counts: Counts) -> dict[str, Json]:
    written = counts.cache_write_5m_tokens + counts.cache_write_1h_tokens
    total = counts.input_tokens + counts.tool_prompt_tokens
    return {
        "input_tokens": total,
        "input_tokens_details": {
            "cached_tokens": counts.cached_input_tokens,
            "cache_write_tokens": written,
        },
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": total + counts.output_tokens,
    }


def _items(answer: Answer) -> list[dict[str, Json]]:
    items: list[dict[str, Json]] = []
    if answer.thinking:
        items.append({"id": answer.hex_id("rs_"), "type": "reasoning", "summary": []})
    if answer.ask.web_search:
        items.append(_search_item(answer))
    if answer.segments or not answer.incomplete:
        items.append(_message(answer, _content(answer), "completed"))
    return items


def _search_item(answer: Answer) -> dict[str, Json]:
    return {
        "id": answer.hex_id("ws_"),
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": answer.query, "queries": [answer.query]},
    }


def _message(answer: Answer, content: list[dict[str, Json]], status: str) -> dict[str, Json]:
    if status == "completed" and _status(answer) == "incomplete":
        status = "incomplete"
    return {
        "id": answer.hex_id("msg_"),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _content(answer: Answer) -> list[dict[str, Json]]:
    if answer.finish in (Finish.REFUSAL, Finish.BLOCKED):
        return [{"type": "refusal", "refusal": "I cannot help with that."}]
    text, spans = render(answer, lambda index: _link(answer, index))
    out_of_range = len(text) + 1000
    annotations = []
    for start, end, index in spans:
        source = source_at(answer.sources, index)
        found = index < len(answer.sources)
        annotations.append(
            {
                "type": "url_citation",
                "start_index": start,
                "end_index": end if found else out_of_range,
                "url": source.url,
                "title": source.title,
            }
        )
    return [{"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}]


def _link(answer: Answer, index: int) -> str:
    return f" ([example.com]({source_at(answer.sources, index).url}))"


def _output_events(answer: Answer) -> Iterator[SseEvent]:
    for index, item in enumerate(_items(answer)):
        place: dict[str, Json] = {"output_index": index}
        if item["type"] == "message":
            yield from _message_events(answer, item, index)
            continue
        started = {**item, "status": "in_progress"} if "status" in item else item
        yield _event("response.output_item.added", item=started, **place)
        if item["type"] == "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                yield _event(f"response.web_search_call.{state}", item_id=item["id"], **place)
        yield _event("response.output_item.done", item=item, **place)


def _message_events(answer: Answer, item: dict[str, Json], index: int) -> Iterator[SseEvent]:
    yield _event(
        "response.output_item.added",
        output_index=index,
        item=_message(answer, [], "in_progress"),
    )
    for at, part in enumerate(item["content"]):
        place = {"item_id": item["id"], "output_index": index, "content_index": at}
        yield from _part_events(part, place, answer.chunks)
    yield _event("response.output_item.done", output_index=index, item=item)


def _part_events(part: dict[str, Json], place: dict[str, Json], chunks: int) -> Iterator[SseEvent]:
    field = "refusal" if part["type"] == "refusal" else "text"
    name = "response.refusal" if field == "refusal" else "response.output_text"
    extra: dict[str, Json] = {} if field == "refusal" else {"logprobs": []}
    empty = {**part, field: ""} | ({"annotations": []} if field == "text" else {})
    yield _event("response.content_part.added", part=empty, **place)
    for piece in pieces_of(part[field], chunks):
        yield _event(f"{name}.delta", text=piece, delta=piece, **place, **extra)
    for number, annotation in enumerate(part.get("annotations", [])):
        yield _event(
            "response.output_text.annotation.added",
            annotation_index=number,
            annotation=annotation,
            **place,
        )
    yield SseEvent(
        name=f"{name}.done",
        data={"type": f"{name}.done", field: part[field], **place, **extra},
    )
    yield _event("response.content_part.done", part=part, **place)


def _event(kind: str, *, text: str = "", terminal: bool = False, **data: Json) -> SseEvent:
    return SseEvent(name=kind, data={"type": kind, **data}, text=text, terminal=terminal)
