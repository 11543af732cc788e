"""The Perplexity Agent API: the Responses form with search results and a price of its own."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
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
)
from aigenflow.testing.wire_openai import numbered

INPUT_USD_PER_TOKEN = Decimal("0.25") / 1_000_000
CACHE_READ_USD_PER_TOKEN = Decimal("0.0625") / 1_000_000
OUTPUT_USD_PER_TOKEN = Decimal("2.50") / 1_000_000
USD_PER_SEARCH = Decimal("2.50") / 1_000
"""The fake's own tariff, whatever the model: what matters is that the provider names the sum."""

_ERROR_TYPES = {401: "authentication_error", 404: "not_found", 429: "rate_limit_exceeded"}


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] = "user"
    content: str | list[dict[str, Json]] = ""


class _Tool(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: Literal["web_search", "fetch_url", "function"]


class _Request(BaseModel):
    """The body of ``POST /v1/responses``; what the service does not know it ignores."""

    model_config = ConfigDict(extra="ignore")
    input: Annotated[str, Field(min_length=1)] | Annotated[list[_Message], Field(min_length=1)]
    model: str | None = None
    models: list[str] | None = None
    preset: str | None = None
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=10)] | None = None
    reasoning: dict[str, Json] | None = None
    tools: list[_Tool] = []


class PerplexityFormat:
    """``POST /v1/responses``; see :class:`~aigenflow.testing.wire_models.WireFormat`."""

    newline = "\n"
    ping = b": keep-alive\n\n"

    def check_key(self, received: Received) -> str:
        key = bearer_of(received)
        if not key:
            raise Rejection(401, "Invalid API key provided.")
        return key

    def read(self, received: Received) -> Ask:
        try:
            request = _Request.model_validate(received.body)
        except ValidationError as error:
            place, _kind, problem = first_problem(error)
            raise Rejection(400, f"{place}: {problem}") from error
        model = (request.models or [request.model or ""])[0]
        if not model and request.preset:
            model = f"preset/{request.preset}"
        if "/" not in model:
            raise Rejection(400, "model: must be given as provider/model, or give a preset")
        return Ask(
            backend=Backend.PERPLEXITY,
            model=model,
            received=received,
            parts=tuple(_parts(request)),
            instruction=_instruction(request),
            stream=request.stream,
            max_output_tokens=request.max_output_tokens,
            web_search=_searches(request, model),
            thinks=request.reasoning is not None,
        )

    def whole(self, answer: Answer) -> dict[str, Json]:
        return _envelope(answer, "completed", _output(answer))

    def events(self, answer: Answer) -> list[SseEvent]:
        return numbered(
            [
                _event("response.created", response=_envelope(answer, "in_progress", [])),
                _event("response.in_progress", response=_envelope(answer, "in_progress", [])),
                *_search_events(answer),
                *_message_events(answer),
                _event("response.completed", terminal=True, response=self.whole(answer)),
            ]
        )

    def without_content(self, body: dict[str, Json]) -> None:
        for item in body["output"]:
            for part in item.get("content") or []:
                part["text"] = None

    def error(self, status: int, message: str) -> dict[str, Json]:
        fallback = "server_error" if status >= 500 else "invalid_request_error"
        error_type = _ERROR_TYPES.get(status, fallback)
        return {"error": {"message": message, "type": error_type, "code": status}}

    def error_event(self, sequence: int) -> SseEvent:
        error = {"message": "Internal server error", "type": "server_error", "code": "500"}
        return _event("response.failed", error=error, sequence_number=sequence)


def total_cost(counts: Counts) -> Decimal:
    """What the fake charges for ``counts``, in US dollars, search fees included."""
    return sum(_costs(counts).values(), Decimal(0))


def _costs(counts: Counts) -> dict[str, Decimal]:
    fresh = counts.input_tokens - counts.cached_input_tokens + counts.tool_prompt_tokens
    return {
        "input_cost": max(0, fresh) * INPUT_USD_PER_TOKEN,
        "cache_read_cost": counts.cached_input_tokens * CACHE_READ_USD_PER_TOKEN,
        "output_cost": counts.output_tokens * OUTPUT_USD_PER_TOKEN,
        "tool_calls_cost": counts.search_calls * USD_PER_SEARCH,
    }


def _usage(counts: Counts) -> dict[str, Json]:
    total = counts.input_tokens + counts.tool_prompt_tokens
    costs = _costs(counts) | {"total_cost": total_cost(counts)}
    usage: dict[str, Json] = {
        "input_tokens": total,
        "input_tokens_details": {
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": counts.cached_input_tokens,
        },
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": total + counts.output_tokens,
        "cost": {"currency": "USD"} | {name: float(cost) for name, cost in costs.items()},
    }
    if counts.search_calls:
        usage["tool_calls_details"] = {"search_web": {"invocation": counts.search_calls}}
    return usage


def _parts(request: _Request) -> Iterator[Part]:
    for tool in request.tools:
        yield Part(text=dump(tool.model_dump()))
    if request.instructions:
        yield Part(text=request.instructions)
    if isinstance(request.input, str):
        yield Part(text=request.input)
        return
    for message in request.input:
        for text in _texts(message):
            yield Part(text=text)


def _texts(message: _Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [str(part.get("text") or dump(part)) for part in message.content]


def _instruction(request: _Request) -> str:
    if isinstance(request.input, str):
        return request.input
    spoken = [_texts(message) for message in request.input if message.role == "user"]
    return spoken[-1][-1] if spoken and spoken[-1] else ""


def _searches(request: _Request, model: str) -> bool:
    """Sonar models and presets always search; other models where they are given the tool."""
    asked = any(tool.type == "web_search" for tool in request.tools)
    return asked or model.startswith(("perplexity/", "preset/"))


def _envelope(answer: Answer, status: str, output: list[dict[str, Json]]) -> dict[str, Json]:
    done = status != "in_progress"
    if done and answer.incomplete:
        status = "incomplete"
    envelope: dict[str, Json] = {
        "id": answer.hex_id("resp_", 32),
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "model": answer.model,
        "output": output,
    }
    if status == "incomplete":
        envelope["incomplete_details"] = {"reason": "max_output_tokens"}
    if done and answer.usage is not None:
        envelope["usage"] = _usage(answer.usage)
    return envelope


def _output(answer: Answer) -> list[dict[str, Json]]:
    found = [_search_item(answer)] if answer.sources else []
    return [*found, _message(answer, _text(answer), "completed")]


def _search_item(answer: Answer) -> dict[str, Json]:
    return {"type": "search_results", "queries": [answer.query], "results": _results(answer)}


def _results(answer: Answer) -> list[dict[str, Json]]:
    return [
        {
            "id": number,
            "url": source.url,
            "title": source.title,
            "snippet": source.snippet,
            "date": source.date,
            "last_updated": source.date,
            "source": "web",
        }
        for number, source in enumerate(answer.sources, 1)
    ]


def _text(answer: Answer) -> str:
    if answer.finish in (Finish.REFUSAL, Finish.SAFETY, Finish.BLOCKED):
        return ""
    return render(answer, lambda index: f"[{index + 1}]")[0]


def _message(answer: Answer, text: str | None, status: str) -> dict[str, Json]:
    content: list[dict[str, Json]] = []
    if answer.finish in (Finish.REFUSAL, Finish.SAFETY, Finish.BLOCKED):
        content = [{"type": "refusal", "refusal": "I cannot help with that."}]
    elif text is not None:
        content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": answer.hex_id("msg_", 32),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _search_events(answer: Answer) -> Iterator[SseEvent]:
    if not answer.sources:
        return
    yield _event("response.reasoning.started", thought="Looking for sources.")
    yield _event("response.reasoning.search_queries", queries=[answer.query])
    yield _event("response.reasoning.search_results", results=_results(answer))
    yield _event("response.reasoning.stopped")
    item = _search_item(answer)
    yield _event("response.output_item.added", output_index=0, item=item)
    yield _event("response.output_item.done", output_index=0, item=item)


def _message_events(answer: Answer) -> Iterator[SseEvent]:
    text = _text(answer)
    index = 1 if answer.sources else 0
    place: dict[str, Json] = {
        "item_id": answer.hex_id("msg_", 32),
        "output_index": index,
        "content_index": 0,
    }
    yield _event(
        "response.output_item.added",
        output_index=index,
        item=_message(answer, None, "in_progress"),
    )
    part = {"type": "output_text", "text": "", "annotations": []}
    yield _event("response.content_part.added", part=part, **place)
    for piece in pieces_of(text, answer.chunks):
        yield _event("response.output_text.delta", text=piece, delta=piece, **place)
    yield SseEvent(
        name="response.output_text.done",
        data={"type": "response.output_text.done", "text": text, **place},
    )
    yield _event("response.content_part.done", part={**part, "text": text}, **place)
    yield _event(
        "response.output_item.done",
        output_index=index,
        item=_message(answer, text, "completed"),
    )


def _event(kind: str, *, text: str = "", terminal: bool = False, **data: Json) -> SseEvent:
    return SseEvent(name=kind, data={"type": kind, **data}, text=text, terminal=terminal)
