"""The chat completions format of OpenAI-compatible local servers."""

from __future__ import annotations

from collections.abc import Iterator
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

_FINISH_REASONS = {
    Finish.LENGTH: "length",
    Finish.CONTEXT_WINDOW: "length",
    Finish.PAUSE_TURN: "length",
    Finish.SAFETY: "content_filter",
    Finish.RECITATION: "content_filter",
    Finish.BLOCKED: "content_filter",
}


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Json]] | None = None


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class _Request(BaseModel):
    """The body of ``POST /v1/chat/completions``; local servers ignore what they do not know."""

    model_config = ConfigDict(extra="ignore")
    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    tools: list[dict[str, Json]] = []
    web_search_options: dict[str, Json] | None = None


class ChatFormat:
    """``POST /v1/chat/completions``; see :class:`~aigenflow.testing.wire_models.WireFormat`."""

    newline = "\n"
    ping = b": keep-alive\n\n"

    def check_key(self, received: Received) -> str:
        """The key, which a local server does not ask for."""
        return bearer_of(received)

    def read(self, received: Received) -> Ask:
        try:
            request = _Request.model_validate(received.body)
        except ValidationError as error:
            place, _kind, problem = first_problem(error)
            raise Rejection(400, f"{place}: {problem}") from error
        stream = bool(request.stream)
        options = request.stream_options or _StreamOptions()
        return Ask(
            backend=Backend.COMPATIBLE,
            model=request.model,
            received=received,
            parts=tuple(_parts(request)),
            instruction=_instruction(request),
            stream=stream,
            max_output_tokens=request.max_completion_tokens or request.max_tokens,
            web_search=request.web_search_options is not None,
            thinks=request.reasoning_effort not in (None, "none"),
            tier=request.service_tier or "default",
            reports_usage=not stream or options.include_usage,
        )

    def whole(self, answer: Answer) -> dict[str, Json]:
        choice = {"index": 0, "message": _message(answer), "finish_reason": _finish(answer)}
        body = _envelope(answer, "chat.completion") | {"choices": [choice | {"logprobs": None}]}
        if answer.usage is not None:
            body["usage"] = _usage(answer.usage)
        return body

    def events(self, answer: Answer) -> list[SseEvent]:
        return [*_delta_events(answer), *_closing_events(answer)]

    def without_content(self, body: dict[str, Json]) -> None:
        body["choices"][0]["message"]["content"] = None

    def error(self, status: int, message: str) -> dict[str, Json]:
        fallback = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": fallback, "param": None, "code": status}}

    def error_event(self, sequence: int) -> SseEvent:
        return SseEvent(data=self.error(500, "The model runner stopped unexpectedly."))


def _parts(request: _Request) -> Iterator[Part]:
    for tool in request.tools:
        yield Part(text=dump(tool))
    for message in request.messages:
        for text in _texts(message):
            yield Part(text=text)


def _texts(message: _Message) -> list[str]:
    if message.content is None:
        return []
    if isinstance(message.content, str):
        return [message.content]
    return [str(part.get("text") or dump(part)) for part in message.content]


def _instruction(request: _Request) -> str:
    spoken = [_texts(message) for message in request.messages if message.role == "user"]
    return spoken[-1][-1] if spoken and spoken[-1] else ""


def _finish(answer: Answer) -> str:
    return _FINISH_REASONS.get(answer.finish, "stop")


def _envelope(answer: Answer, kind: str) -> dict[str, Json]:
    return {
        "id": answer.make_id("chatcmpl-", 29),
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "fp_local",
    }


def _text(answer: Answer) -> str:
    return render(answer, lambda index: f"[{index + 1}]")[0]


def _message(answer: Answer) -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": _text(answer), "refusal": None}
    if answer.finish is Finish.REFUSAL:
        message |= {"content": None, "refusal": "I cannot help with that."}
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.ask.web_search:
        message["annotations"] = _annotations(answer)
    return message


def _annotations(answer: Answer) -> list[dict[str, Json]]:
    _, spans = render(answer, lambda index: f"[{index + 1}]")
    annotations = []
    for start, end, index in spans:
        source = source_at(answer.sources, index)
        citation = {
            "url": source.url,
            "title": source.title,
            "start_index": start,
            "end_index": end,
        }
        annotations.append({"type": "url_citation", "url_citation": citation})
    return annotations


def _usage(counts: Counts) -> dict[str, Json]:
    total = counts.input_tokens + counts.tool_prompt_tokens
    return {
        "prompt_tokens": total,
        "completion_tokens": counts.output_tokens,
        "total_tokens": total + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
    }


def _delta_events(answer: Answer) -> Iterator[SseEvent]:
    yield _chunk(answer, {"role": "assistant", "content": ""})
    if answer.thinking:
        yield _chunk(answer, {"reasoning_content": answer.thinking}, text=answer.thinking)
    if answer.finish is Finish.REFUSAL:
        yield _chunk(answer, {"refusal": "I cannot help with that."})
    for piece in pieces_of(_text(answer), answer.chunks):
        yield _chunk(answer, {"content": piece}, text=piece)
    if answer.ask.web_search:
        yield _chunk(answer, {"annotations": _annotations(answer)})


def _closing_events(answer: Answer) -> Iterator[SseEvent]:
    yield _chunk(answer, {}, finish=_finish(answer), terminal=True)
    if answer.usage is not None and answer.ask.reports_usage:
        usage: dict[str, Json] = {"choices": [], "usage": _usage(answer.usage)}
        yield SseEvent(data=_envelope(answer, "chat.completion.chunk") | usage, terminal=True)
    yield SseEvent(data="[DONE]", terminal=True)


def _chunk(
    answer: Answer,
    delta: dict[str, Json],
    *,
    finish: str | None = None,
    text: str = "",
    terminal: bool = False,
) -> SseEvent:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    data = _envelope(answer, "chat.completion.chunk") | {"choices": [choice]}
    return SseEvent(data=data, text=text, terminal=terminal)
