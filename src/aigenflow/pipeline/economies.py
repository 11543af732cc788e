"""Asking for less, where a budget keeps its rest for writing and review. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from gettext import gettext as _

from aigenflow.agents.metering import may_search
from aigenflow.core.models import AgentRequest, Language, Route

SHORTEST_ANSWER_TOKENS = 1_500
"""Below this, research says too little to write from."""

_WORDS_PER_TOKEN = 0.6
_SYLLABLES_PER_TOKEN = 0.8

_WITHOUT_SEARCH = {
    Language.EN: (
        "You cannot search the web for this task. Answer from what you know and from the texts you "
        "were given, name no source that you were not given, and mark what has to be checked."
    ),
    Language.KO: (
        "이 과제에서는 웹을 검색할 수 없다. 알고 있는 것과 주어진 글만으로 답하고, 주어지지 않은 "
        "출처는 적지 않으며, 확인이 필요한 내용은 그렇다고 표시한다."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallerRequest:
    """A request that costs less, and what it gives up, in phrases for the user."""

    request: AgentRequest
    given_up: tuple[str, ...]


def smaller_requests(request: AgentRequest, route: Route) -> Iterator[SmallerRequest]:
    """``request`` in ever cheaper forms: without its search, then with half the answer each time.

    The model is told, so that it neither invents sources nor runs into its limit. An agent that
    searches in any case keeps its search.
    """
    given_up: tuple[str, ...] = ()
    without = replace(request, web_search=False)
    if request.web_search and not may_search(without, route):
        request = _told(without, _WITHOUT_SEARCH[request.language])
        given_up = (_("no web search"),)
        yield SmallerRequest(request=request, given_up=given_up)
    limit = request.max_output_tokens
    while limit > SHORTEST_ANSWER_TOKENS:
        limit = max(limit // 2, SHORTEST_ANSWER_TOKENS)
        shorter = _("an answer of at most {limit} tokens instead of {usual}").format(
            limit=limit, usual=request.max_output_tokens
        )
        yield SmallerRequest(
            request=_told(replace(request, max_output_tokens=limit), _length(limit, request)),
            given_up=(*given_up, shorter),
        )


def _told(request: AgentRequest, instruction: str) -> AgentRequest:
    return replace(request, prompt=f"{request.prompt}\n\n{instruction}")


def _length(limit: int, request: AgentRequest) -> str:
    if request.language is Language.KO:
        return f"답변 전체를 {int(limit * _SYLLABLES_PER_TOKEN)}자 이내로 쓴다."
    return f"Keep the whole answer within {int(limit * _WORDS_PER_TOKEN)} words."
