"""The Gemini generateContent format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

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
    dump,
    first_problem,
    pieces_of,
    render,
    source_at,
)

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISH_REASONS = {
    Finish.COMPLETE: "STOP",
    Finish.STOP_SEQUENCE: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.CONTEXT_WINDOW: "MAX_TOKENS",
    Finish.REFUSAL: "PROHIBITED_CONTENT",
    Finish.SAFETY: "SAFETY",
    Finish.RECITATION: "RECITATION",
}
_GENERATE = (":generateContent", ":streamGenerateContent")


class _Wire(BaseModel):
    """Names in camelCase; snake_case is understood as well, unknown names are not."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: str | None = None


class _Content(_Wire):
    parts: Annotated[list[_Part], Field(min_length=1)]
    role: Literal["user", "model", "function", "system"] = "user"


class _GenerationConfig(_Wire):
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    thinking_config: dict[str, Json] | None = None
    audio_timestamp: Json = None
    candidate_count: int | None = None
    enable_enhanced_civic_answers: Json = None
    frequency_penalty: float | None = None
    image_config: Json = None
    logprobs: int | None = None
    media_resolution: Json = None
    presence_penalty: float | None = None
    response_json_schema: Json = None
    response_logprobs: bool | None = None
    response_mime_type: str | None = None
    response_modalities: Json = None
    response_schema: Json = None
    routing_config: Json = None
    seed: int | None = None
    speech_config: Json = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_k: float | None = None
    top_p: float | None = None


class _Tool(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Request(_Wire):
    """The body of ``:generateContent``."""

    contents: Annotated[list[_Content], Field(min_length=1)]
    system_instruction: _Content | None = None
    generation_config: _GenerationConfig = _GenerationConfig()
    tools: list[_Tool] = []
    tool_config: Json = None
    safety_settings: Json = None
    cached_content: str | None = None
    service_tier: str | None = None
    labels: dict[str, str] | None = None
    store: bool | None = None
    model: str | None = None


class GeminiFormat:
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``."""

    newline = "\r\n"
    ping = b": keep-alive\r\n\r\n"

    def check_key(self, received: Received) -> str:
        if "key" in received.query:
            raise Rejection(400, "The API key belongs in the x-goog-api-key header, not in the URL")
        key = received.headers.get("x-goog-api-key", "")
        if not key:
            raise Rejection(401, "Method doesn't allow unregistered callers. Give an API key.")
        return key

    def read(self, received: Received) -> Ask:
        name, verb = received.path.removeprefix("models/").rsplit(":", 1)
        if name.endswith("-latest") and received.api_version == "v1":
            raise Rejection(404, f"models/{name} is not found for API version v1")
        request = _parsed(received.body)
        search = ("googleSearch", "google_search")
        tools = [tool.model_dump() for tool in request.tools]
        thinking = request.generation_config.thinking_config or {}
        return Ask(
            backend=Backend.GEMINI,
            model=name,
            received=received,
            parts=tuple(_parts(request, tools)),
            instruction=_instruction(request),
            stream=verb == "streamGenerateContent",
            max_output_tokens=request.generation_config.max_output_tokens,
            web_search=any(key in tool for tool in tools for key in search),
            thinks=thinking.get("thinkingBudget") != 0,
            tier=(request.service_tier or "standard").lower(),
        )

    def whole(self, answer: Answer) -> dict[str, Json]:
        if answer.finish is Finish.BLOCKED:
            blocked: dict[str, Json] = {"blockReason": "PROHIBITED_CONTENT"}
            return _envelope(answer, answer.usage, promptFeedback=blocked)
        text, _ = render(answer, _no_mark)
        candidate = _candidate([{"text": text}] if text else [])
        candidate |= _ending(answer)
        return _envelope(answer, answer.usage, candidates=[candidate])

    def events(self, answer: Answer) -> list[SseEvent]:
        if answer.finish is Finish.BLOCKED:
            return [SseEvent(data=self.whole(answer), terminal=True)]
        text, _ = render(answer, _no_mark)
        growing = None if answer.usage is None else _without_output(answer.usage)
        events = [
            SseEvent(
                data=_envelope(answer, growing, candidates=[_candidate([{"text": piece}])]),
                text=piece,
            )
            for piece in pieces_of(text, answer.chunks)
        ]
        last = _candidate([{"text": ""}]) | _ending(answer)
        final = _envelope(answer, answer.usage, candidates=[last])
        return [*events, SseEvent(data=final, terminal=True)]

    def without_content(self, body: dict[str, Json]) -> None:
        for candidate in body.get("candidates", []):
            candidate["content"] = None

    def error(self, status: int, message: str) -> dict[str, Json]:
        name = _STATUS_NAMES.get(status, "UNKNOWN")
        return {"error": {"code": status, "message": message, "status": name}}

    def error_event(self, sequence: int) -> SseEvent:
        return SseEvent(data=self.error(503, "The model is overloaded. Please try again later."))


def is_generate_path(path: str) -> bool:
    """Whether a path without prefix asks a Gemini model for an answer."""
    return path.startswith("models/") and path.endswith(_GENERATE)


def _no_mark(_index: int) -> str:
    return ""


def _parsed(body: dict[str, Json]) -> _Request:
    try:
        return _Request.model_validate(body)
    except ValidationError as error:
        place, kind, problem = first_problem(error)
        if kind == "extra_forbidden":
            parent, _, name = place.rpartition(".")
            problem = f"Unknown name \"{name}\" at '{parent}': Cannot find field."
            raise Rejection(400, f"Invalid JSON payload received. {problem}") from error
        raise Rejection(400, f"* GenerateContentRequest.{place}: {problem}") from error


def _parts(request: _Request, tools: list[dict[str, Json]]) -> Iterator[Part]:
    for tool in tools:
        yield Part(text=dump(tool))
    instruction = [request.system_instruction] if request.system_instruction else []
    for content in [*instruction, *request.contents]:
        for part in content.parts:
            yield Part(text=_text_of(part))


def _text_of(part: _Part) -> str:
    return part.text if part.text is not None else dump(part.model_dump(exclude_none=True))


def _instruction(request: _Request) -> str:
    spoken = [content for content in request.contents if content.role == "user"]
    return _text_of(spoken[-1].parts[-1]) if spoken else ""


def _envelope(answer: Answer, usage: Counts | None, **content: Json) -> dict[str, Json]:
    envelope: dict[str, Json] = dict(content)
    if usage is not None:
        envelope["usageMetadata"] = _usage(usage)
    envelope["modelVersion"] = answer.model
    envelope["responseId"] = answer.make_id("", 22)
    return envelope


def _usage(counts: Counts) -> dict[str, Json]:
    """Counts that are zero are left out, as the service does."""
    said = counts.output_tokens - counts.reasoning_tokens
    total = counts.input_tokens + counts.tool_prompt_tokens + counts.output_tokens
    usage: dict[str, Json] = {
        "promptTokenCount": counts.input_tokens,
        "cachedContentTokenCount": counts.cached_input_tokens,
        "candidatesTokenCount": max(0, said),
        "toolUsePromptTokenCount": counts.tool_prompt_tokens,
        "thoughtsTokenCount": counts.reasoning_tokens,
        "totalTokenCount": total,
    }
    kept = {name: count for name, count in usage.items() if count or name == "totalTokenCount"}
    if counts.input_tokens:
        kept["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.input_tokens}]
    return kept


def _without_output(counts: Counts) -> Counts:
    return Counts(input_tokens=counts.input_tokens, cached_input_tokens=counts.cached_input_tokens)


def _candidate(parts: list[dict[str, Json]]) -> dict[str, Json]:
    content: dict[str, Json] = {"role": "model"}
    if parts:
        content["parts"] = parts
    return {"content": content, "index": 0}


def _ending(answer: Answer) -> dict[str, Json]:
    ending: dict[str, Json] = {"finishReason": _FINISH_REASONS.get(answer.finish, "OTHER")}
    if answer.finish is Finish.SAFETY:
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH"}
        ending["safetyRatings"] = [rating | {"blocked": True}]
    if answer.sources:
        ending["groundingMetadata"] = _grounding(answer)
    return ending


def _grounding(answer: Answer) -> dict[str, Json]:
    text, spans = render(answer, _no_mark)
    return {
        "searchEntryPoint": {"renderedContent": "<div>Search</div>"},
        "webSearchQueries": [answer.query],
        "groundingChunks": [
            {"web": {"uri": source.url, "title": source.title, "domain": "example.com"}}
            for source in answer.sources
        ],
        "groundingSupports": [_support(answer, text, *span) for span in spans],
    }


def _support(answer: Answer, text: str, start: int, end: int, index: int) -> dict[str, Json]:
    """A supported span; its offsets count UTF-8 bytes, and an offset of zero is left out."""
    first = len(text[:start].encode("utf-8", "replace"))
    segment: dict[str, Json] = {"startIndex": first} if first else {}
    segment["endIndex"] = first + len(text[start:end].encode("utf-8", "replace"))
    segment["text"] = text[start:end]
    support: dict[str, Json] = {"segment": segment, "groundingChunkIndices": [index]}
    if source_at(answer.sources, index).snippet:
        support["confidenceScores"] = [0.9]
    return support
