"""The Responses form, as OpenAI and Perplexity speak it: requests, events and answers."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from gettext import gettext as _

from aigenflow.core.errors import GatewayError
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    Citation,
    FinishReason,
    GatewayResponse,
    Json,
    Route,
    ServedFrom,
)
from aigenflow.gateway.adapters._faults import ended_early, malformed
from aigenflow.gateway.adapters._openai_gateway import OpenAISdkGateway
from aigenflow.gateway.adapters._prompt import turns
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text, is_count
from aigenflow.gateway.base import OnText
from aigenflow.gateway.http_errors import error_from_event

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_SERVED_FROM = {
    "flex": ServedFrom.FLEX,
    "priority": ServedFrom.PRIORITY,
    "ultrafast": ServedFrom.PRIORITY,
}
_REASONS = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTERED,
}


class ResponsesGateway(OpenAISdkGateway):
    """The stream of the Responses form: deltas to count, and one terminal event to keep."""

    path = "/responses"

    async def collect(
        self, events: AsyncIterator[dict[str, Json]], on_text: OnText
    ) -> dict[str, Json]:
        """The response object of the terminal event: deltas are shown, never assembled."""
        characters = 0
        began = False
        async for event in events:
            kind = event.get("type")
            began = began or kind is not None
            if kind == "response.output_text.delta":
                characters += len(as_text(event.get("delta")))
                on_text(characters)
            elif kind in _TERMINAL:
                response = event.get("response")
                if not isinstance(response, dict):
                    raise malformed(self.backend, _("its last event holds no response"))
                return response
            elif kind == "error":
                raise error_from_event(provider=self.backend, event=event, secrets=(self._api_key,))
        raise ended_early(self.backend, began=began)


def build_request(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The body both providers take; options of the route, then of the request, go on top."""
    body: dict[str, Json] = {
        "model": route.model,
        "input": turns(request),
        "max_output_tokens": request.max_output_tokens,
    }
    if request.system:
        body["instructions"] = request.system
    if request.web_search:
        body["tools"] = [{"type": "web_search"}]
    return {**body, **route.options, **request.options}


def check(raw: dict[str, Json], backend: Backend) -> None:
    """Raise unless ``raw`` is an answer: an error, a failed response, or not this form at all."""
    error = raw.get("error")
    if raw.get("status") == "failed":
        if finish_reason(raw) is not FinishReason.FILTERED:
            raise _failed(raw, backend)
    elif not isinstance(raw.get("output"), list):
        if error:
            raise error_from_event(provider=backend, event=raw)
        raise malformed(backend, _("it has no output"))


def finish_reason(raw: dict[str, Json]) -> FinishReason:
    """Why the model stopped, before looking at whether there is any text."""
    if any(part.get("type") == "refusal" for message in _messages(raw) for part in message):
        return FinishReason.REFUSAL
    status = raw.get("status")
    if status == "completed":
        return FinishReason.COMPLETE
    if status == "incomplete":
        reason = as_text(as_dict(raw.get("incomplete_details")).get("reason"))
        return _REASONS.get(reason, FinishReason.UNKNOWN)
    code = as_text(as_dict(raw.get("error")).get("code"))
    if status == "failed" and ("policy" in code or "content_filter" in code):
        return FinishReason.FILTERED
    return FinishReason.UNKNOWN


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an answer's text with the annotations whose positions count within it."""

    text: str
    annotations: list[dict[str, Json]] = field(default_factory=list)


def text_parts(raw: dict[str, Json]) -> list[list[Part]]:
    """The text of each message, in order. Reasoning and commentary are not part of the answer."""
    found = []
    for message in _messages(raw):
        parts = [
            Part(as_text(part.get("text")), as_dicts(part.get("annotations")))
            for part in message
            if part.get("type") == "output_text"
        ]
        if any(part.text for part in parts):
            found.append(parts)
    return found


def refusal_text(raw: dict[str, Json]) -> str:
    """What the model said when it refused; empty if it did not."""
    words = (as_text(part.get("refusal")) for message in _messages(raw) for part in message)
    return "\n\n".join(word for word in words if word)


def cite_annotations(messages: Iterable[list[Part]]) -> tuple[str, tuple[Citation, ...]]:
    """The text with a ``[n]`` marker after each cited span, and the citations they count.

    ``n`` counts distinct URLs in the order of their first citation. Positions are code points of
    the part's own text, as Python counts them.
    """
    numbers: dict[str, int] = {}
    titles: dict[str, str] = {}
    texts = []
    for parts in messages:
        marked = []
        for part in parts:
            marks: list[tuple[int, int]] = []
            for note in part.annotations:
                url = as_text(note.get("url"))
                if note.get("type") == "url_citation" and url:
                    number = numbers.setdefault(url, len(numbers) + 1)
                    titles[url] = titles.get(url) or as_text(note.get("title"))
                    marks.append((_position(part.text, note.get("end_index")), number))
            marked.append(_insert(part.text, marks))
        texts.append("".join(marked))
    return "\n\n".join(texts), tuple(Citation(url=url, title=titles[url]) for url in numbers)


def to_response(
    raw: dict[str, Json], backend: Backend, content: str, citations: tuple[Citation, ...] = ()
) -> GatewayResponse:
    """The normal form of an answer whose text has been read."""
    finish = finish_reason(raw)
    if not content.strip() and finish in {FinishReason.COMPLETE, FinishReason.LENGTH}:
        finish = FinishReason.EMPTY
    usage = as_dict(raw.get("usage"))
    inputs = as_dict(usage.get("input_tokens_details"))
    # Perplexity has its own names for the same two parts.
    cached = as_count(inputs.get("cached_tokens") or inputs.get("cache_read_input_tokens"))
    written = as_count(
        inputs.get("cache_write_tokens") or inputs.get("cache_creation_input_tokens")
    )
    reasoning = as_count(as_dict(usage.get("output_tokens_details")).get("reasoning_tokens"))
    # Totals contain their parts, also where a provider's own arithmetic does not add up.
    total_in = max(as_count(usage.get("input_tokens")), cached + written)
    total_out = max(as_count(usage.get("output_tokens")), reasoning)
    return GatewayResponse(
        content=content if finish is not FinishReason.EMPTY else "",
        success=finish is FinishReason.COMPLETE,
        tokens_used=total_in + total_out,
        input_tokens=total_in,
        output_tokens=total_out,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        search_calls=sum(_is_search(item) for item in as_dicts(raw.get("output"))),
        usage_reported=is_count(usage.get("input_tokens")) and is_count(usage.get("output_tokens")),
        model=as_text(raw.get("model")),
        backend=backend,
        finish_reason=finish,
        citations=citations,
        served_from=_SERVED_FROM.get(as_text(raw.get("service_tier")), ServedFrom.LIVE),
        response_id=as_text(raw.get("id")),
        raw=raw,
    )


def _failed(raw: dict[str, Json], backend: Backend) -> GatewayError:
    error = error_from_event(provider=backend, event=as_dict(raw.get("error")))
    answer = to_response(raw, backend, "")
    if answer.usage_reported:
        error.response = answer  # its tokens are billed all the same
    return error


def _messages(raw: dict[str, Json]) -> list[list[dict[str, Json]]]:
    return [
        as_dicts(item.get("content"))
        for item in as_dicts(raw.get("output"))
        if item.get("type") == "message" and item.get("phase") != "commentary"
    ]


def _is_search(item: dict[str, Json]) -> bool:
    # Opening a page found by a search is not charged as one.
    action = as_dict(item.get("action")).get("type", "search")
    return item.get("type") == "web_search_call" and action == "search"


def _position(text: str, index: Json) -> int:
    """Where a marker may stand: at ``index``, or after the characters that join onto it."""
    position = min(as_count(index), len(text)) if is_count(index) else len(text)
    while position < len(text) and _joins(text[position]):
        position += 1
    return position


def _joins(character: str) -> bool:
    """Whether ``character`` completes the one before it: accents, jamo, variation selectors."""
    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"}
        or "\u1160" <= character <= "\u11ff"
    )


def _insert(text: str, marks: Iterable[tuple[int, int]]) -> str:
    pieces = []
    done = 0
    for position, number in sorted(set(marks)):
        pieces.append(f"{text[done:position]}[{number}]")
        done = position
    return "".join(pieces) + text[done:]
