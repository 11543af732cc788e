"""Putting an answer together that came in pieces. Pure."""

from __future__ import annotations

from decimal import Decimal

from aigenflow.core.markers import renumber
from aigenflow.core.models import Citation, GatewayResponse

MAX_CONTINUATIONS = 2
_MAX_OVERLAP = 400
_MIN_OVERLAP_BYTES = 12


def join_answers(first: GatewayResponse, rest: GatewayResponse) -> GatewayResponse:
    """One answer from two: texts joined without their overlap, tokens and sources added up.

    Markers ``[n]`` of the second are renumbered to the joined list of sources. The finish reason
    is the second's.
    """
    numbers: dict[int, int] = {}
    citations: list[Citation] = list(first.citations)
    for n, citation in enumerate(rest.citations, start=1):
        if citation not in citations:
            citations.append(citation)
        numbers[n] = citations.index(citation) + 1
    text = renumber(rest.content, numbers) if rest.citations else rest.content
    return rest.model_copy(
        update={
            "content": join_texts(first.content, text),
            "citations": tuple(citations),
            "success": rest.success,
            "usage_reported": first.usage_reported and rest.usage_reported,
            "latency_s": first.latency_s + rest.latency_s,
            "reported_cost": _sum(first.reported_cost, rest.reported_cost),
            "estimated_cost": _sum(first.estimated_cost, rest.estimated_cost),
            "calls": (*first.counts_by_call, *rest.counts_by_call),
            "call_ids": (*first.call_ids, *rest.call_ids),
            **{name: getattr(first, name) + getattr(rest, name) for name in _COUNTS},
        }
    )


_COUNTS = (
    "tokens_used",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "search_calls",
)


def join_texts(first: str, rest: str) -> str:
    """``first`` and ``rest`` with the words they share at the seam only once.

    A model that goes on often repeats its last words. A shared run of fewer than twelve bytes of
    UTF-8 (four Korean syllables) is taken for chance.
    """
    window = first[-_MAX_OVERLAP:]
    start = rest.lstrip()
    for size in range(min(len(window), len(start)), 0, -1):
        shared = start[:size]
        if len(shared.encode("utf-8", "replace")) < _MIN_OVERLAP_BYTES:
            break
        if window.endswith(shared):
            return first + start[size:]
    return first + rest


def _sum(first: Decimal | None, second: Decimal | None) -> Decimal | None:
    """Unknown plus anything is unknown."""
    return None if first is None or second is None else first + second
