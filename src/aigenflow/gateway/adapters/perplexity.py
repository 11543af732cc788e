"""Perplexity, by its Agent API: the Responses form with search results and a cost."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import ClassVar

from aigenflow.core.errors import GatewayError
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    Citation,
    GatewayResponse,
    Json,
    Route,
)
from aigenflow.gateway.adapters._responses import (
    ResponsesGateway,
    build_request,
    check,
    cite_annotations,
    refusal_text,
    text_parts,
    to_response,
)
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text

_MARKER = re.compile(r"[ \t]*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()")
"""One or more source numbers in brackets; not the text of a Markdown link, not a year."""

_DEAREST_USD = Decimal(10_000)
"""No single answer costs more: a larger sum is a fault, not a price."""


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of the request; a live call adds only ``stream``."""
    return build_request(request, route)


def parse(raw: dict[str, Json]) -> GatewayResponse:
    """The normal form of a final response object, with the provider's own cost.

    Raises a ``GatewayError`` for a failed response and ``MalformedAnswerError`` for anything that
    is no response object.
    """
    try:
        check(raw, Backend.PERPLEXITY)
    except GatewayError as error:
        if error.response is not None:
            error.response = _with_fees(error.response, raw)
        raise
    messages = text_parts(raw)
    numbers, citations = _sources(raw)
    if citations:
        text = "\n\n".join("".join(part.text for part in parts) for parts in messages)
    else:
        text, citations = cite_annotations(messages)
        numbers = {n: n for n in range(1, len(citations) + 1)}
    content = _renumber(text, numbers) or refusal_text(raw)
    return _with_fees(to_response(raw, Backend.PERPLEXITY, content, citations), raw)


def _with_fees(answer: GatewayResponse, raw: dict[str, Json]) -> GatewayResponse:
    """``answer`` with what it cost by the provider's own count, which holds the searches' fees."""
    usage = as_dict(raw.get("usage"))
    return answer.model_copy(
        update={
            "reported_cost": _dollars(as_dict(usage.get("cost"))),
            "search_calls": _searches(raw, usage) or answer.search_calls,
        }
    )


class PerplexityGateway(ResponsesGateway):
    """A :class:`~aigenflow.gateway.base.Gateway` to Perplexity."""

    backend: ClassVar[Backend] = Backend.PERPLEXITY
    default_base_url: ClassVar[str] = "https://api.perplexity.ai/v1"
    build = staticmethod(build_body)
    read = staticmethod(parse)


def _sources(raw: dict[str, Json]) -> tuple[dict[int, int], tuple[Citation, ...]]:
    """From a result's number in the text to its place among the citations, and these.

    A result is numbered by its ``id``, or by its place where it has none. Two results with one
    URL are one citation.
    """
    numbers: dict[int, int] = {}
    places: dict[str, int] = {}
    citations: list[Citation] = []
    results = [result for item in _search_items(raw) for result in as_dicts(item.get("results"))]
    for position, result in enumerate(results, start=1):
        url = as_text(result.get("url"))
        if not url:
            continue
        if url not in places:
            citations.append(
                Citation(
                    url=url,
                    title=as_text(result.get("title")),
                    quote=as_text(result.get("snippet")),
                    date=as_text(result.get("date")),
                )
            )
            places[url] = len(citations)
        numbers.setdefault(as_count(result.get("id")) or position, places[url])
    return numbers, tuple(citations)


def _search_items(raw: dict[str, Json]) -> list[dict[str, Json]]:
    output = as_dicts(raw.get("output"))
    return [item for item in output if item.get("type") == "search_results"]


def _renumber(text: str, numbers: dict[int, int]) -> str:
    """``text`` with each marker counting the citations; a marker without a source is dropped."""

    def replace(match: re.Match[str]) -> str:
        named = (numbers.get(int(n)) for n in match[1].split(","))
        marks = "".join(f"[{number}]" for number in dict.fromkeys(named) if number)
        space = match[0][: match[0].index("[")]
        return space + marks if marks else ""

    return _MARKER.sub(replace, text)


def _searches(raw: dict[str, Json], usage: dict[str, Json]) -> int:
    tools = as_dict(usage.get("tool_calls_details"))
    named = (as_dict(tools.get(name)) for name in ("web_search", "search_web"))
    return sum(as_count(tool.get("invocation")) for tool in named) or len(_search_items(raw))


def _dollars(cost: dict[str, Json]) -> Decimal | None:
    """``total_cost`` exactly as the provider wrote it: a float's shortest form is that text."""
    total = cost.get("total_cost")
    if isinstance(total, bool) or cost.get("currency", "USD") != "USD":
        return None
    try:
        dollars = Decimal(str(total))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and 0 <= dollars <= _DEAREST_USD else None
