from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.agents.metering import may_search
from aigenflow.agents.routes import cast_roles
from aigenflow.core.config import AgentsSettings
from aigenflow.core.models import AgentRequest, AgentType, Language
from aigenflow.pipeline.economies import SHORTEST_ANSWER_TOKENS, smaller_requests

ROUTES = cast_roles(AgentsSettings(), lambda _: True).routes
RESEARCH = AgentRequest(
    agent=AgentType.GEMINI,
    phase=2,
    task="deep_search",
    prompt="Search.",
    web_search=True,
    max_output_tokens=8_000,
)


def test_the_search_goes_first_then_half_of_the_answer_each_time() -> None:
    """Ever smaller forms, each with everything that was given up so far."""
    forms = list(smaller_requests(RESEARCH, ROUTES[AgentType.GEMINI]))
    assert [(one.request.web_search, one.request.max_output_tokens) for one in forms] == [
        (False, 8_000),
        (False, 4_000),
        (False, 2_000),
        (False, 1_500),
    ]
    assert [one.given_up[0] for one in forms] == ["no web search"] * 4
    assert forms[0].given_up == ("no web search",)
    assert forms[-1].given_up[1:] == ("an answer of at most 1500 tokens instead of 8000",)


@pytest.mark.parametrize(
    ("language", "search", "length"),
    [
        (Language.EN, "cannot search", "within 2400 words"),
        (Language.KO, "검색할 수 없다", "3200자"),
    ],
)
def test_the_model_is_told(language: Language, search: str, length: str) -> None:
    """In the language of the document, so that it neither invents sources nor is cut off."""
    request = replace(RESEARCH, language=language)
    without, shorter, *_rest = smaller_requests(request, ROUTES[AgentType.GEMINI])
    assert without.request.prompt.startswith("Search.\n\n")
    assert search in without.request.prompt
    assert length not in without.request.prompt
    assert search in shorter.request.prompt
    assert length in shorter.request.prompt


def test_an_agent_that_searches_in_any_case_keeps_its_search() -> None:
    """Perplexity charges for searches whether asked or not: giving them up would save nothing."""
    request = replace(RESEARCH, agent=AgentType.PERPLEXITY)
    forms = list(smaller_requests(request, ROUTES[AgentType.PERPLEXITY]))
    assert all(one.request.web_search for one in forms)
    assert [one.request.max_output_tokens for one in forms] == [4_000, 2_000, 1_500]


@given(st.integers(1, 64_000), st.booleans(), st.sampled_from(list(AgentType)))
def test_every_form_asks_for_less_than_the_one_before(
    limit: int, web_search: bool, agent: AgentType
) -> None:
    """Down to the floor and never below it, nor above what was asked for at first."""
    request = replace(RESEARCH, agent=agent, web_search=web_search, max_output_tokens=limit)
    route = ROUTES[agent]
    sizes = [
        (may_search(one, route), one.max_output_tokens)
        for one in (request, *(form.request for form in smaller_requests(request, route)))
    ]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1][1] == min(limit, SHORTEST_ANSWER_TOKENS)
