from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aigenflow.agents.continuation import join_answers, join_texts
from aigenflow.core.models import Citation, FinishReason, GatewayResponse

A, B = Citation(url="https://a.example"), Citation(url="https://b.example")


def test_repeated_words_at_the_seam_stand_once() -> None:
    """A model that repeats its last sentence does not double it in the document."""
    assert join_texts("One. The market grows by", "The market grows by 4 %.") == (
        "One. The market grows by 4 %."
    )
    assert join_texts("시장은 빠르게 성장하고 있으며 특히", "성장하고 있으며 특히 국내는") == (
        "시장은 빠르게 성장하고 있으며 특히 국내는"
    )


def test_a_chance_match_of_a_few_letters_is_kept() -> None:
    """'ana' + 'ana' is not an overlap."""
    assert join_texts("banana", "ananas") == "bananaananas"


@given(st.text(max_size=50), st.text(max_size=50))
def test_nothing_of_the_first_text_is_lost(first: str, rest: str) -> None:
    """Whatever the second piece is, the first stands whole at the start."""
    assert join_texts(first, rest).startswith(first)


def test_sources_are_merged_and_renumbered() -> None:
    """The second piece's [1] becomes its place in the joined list."""
    first = GatewayResponse(
        content="x [1]", citations=(A,), output_tokens=5, finish_reason=FinishReason.LENGTH
    )
    rest = GatewayResponse(content=" y [1] [2]", citations=(B, A), output_tokens=7)
    joined = join_answers(first, rest)
    assert joined.content == "x [1] y [2] [1]"
    assert joined.citations == (A, B)
    assert joined.output_tokens == 12
    assert joined.finish_reason is FinishReason.COMPLETE


def test_an_unknown_cost_stays_unknown() -> None:
    """Unknown plus something is not something."""
    known = GatewayResponse(content="a", reported_cost=Decimal(1))
    unknown = GatewayResponse(content="b")
    assert join_answers(known, unknown).reported_cost is None
    assert join_answers(known, known).reported_cost == 2
