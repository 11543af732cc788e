from __future__ import annotations

from datetime import UTC, datetime

from aigenflow.core.models import AgentType, Citation, GatewayResponse
from aigenflow.engine.models import StepRecord, digest
from aigenflow.pipeline.sources import cited, number_sources, unresolved

A, B, C = (Citation(url=f"https://{name}.example", title=name) for name in "abc")


def a_record(phase: int, task: str, content: str, *citations: Citation) -> StepRecord:
    return StepRecord(
        phase=phase,
        task=task,
        agent=AgentType.GEMINI,
        actor=AgentType.GEMINI,
        fingerprint="f",
        content=content,
        content_sha256=digest(content),
        response=GatewayResponse(content=content, citations=citations),
        finished=datetime(2026, 11, 22, tzinfo=UTC),
    )


def test_every_address_has_one_number_in_the_whole_document() -> None:
    """Two agents that number their own sources from 1 end up with one numbering."""
    sources = number_sources(
        [a_record(2, "deep_search", "x [1] y [2]", A, B), a_record(2, "fact_check", "z [1]", B)]
    )
    assert [citation.url for citation in sources.citations] == [A.url, B.url]
    assert sources.texts[2, "deep_search"] == "x [1] y [2]"
    assert sources.texts[2, "fact_check"] == "z [2]"


def test_an_agent_that_searches_can_cite_both_lists() -> None:
    """[#1] is the document's source 1; [1] is what the agent found itself."""
    sources = number_sources(
        [a_record(2, "deep_search", "x [1]", A), a_record(5, "verify", "ok [#1], new [1]", C)]
    )
    assert sources.texts[5, "verify"] == "ok [1], new [2]"


def test_markers_of_a_writer_without_sources_are_the_documents() -> None:
    """A text written from the numbered list keeps its numbers."""
    for marker in ("[1]", "[#1]"):
        records = [a_record(2, "deep_search", "x [1]", A), a_record(4, "draft", marker)]
        assert number_sources(records).texts[4, "draft"] == "[1]"


def test_an_unasked_search_of_a_writer_does_not_take_over_its_citations() -> None:
    """Perplexity searches also when it writes: [#1] still is the document's source 1."""
    records = [a_record(2, "deep_search", "x [1]", A), a_record(4, "draft", "see [#1] [1]", C)]
    assert number_sources(records).texts[4, "draft"] == "see [1] [2]"


def test_a_year_in_brackets_is_no_marker() -> None:
    """[2024] stays as it is."""
    assert (
        number_sources([a_record(2, "deep_search", "in [2024] [1]", A)]).texts[2, "deep_search"]
        == "in [2024] [1]"
    )


def test_an_own_marker_without_a_source_goes() -> None:
    """A number that the agent's own list does not have stands for nothing."""
    sources = number_sources([a_record(2, "deep_search", "x [1] y [7].", A)])
    assert sources.texts[2, "deep_search"] == "x [1] y."


def test_the_document_lists_what_it_cites_and_reports_what_it_cannot_resolve() -> None:
    """Uncited sources are left out, invented numbers are found."""
    sources = number_sources([a_record(2, "deep_search", "[1][2]", A, B)])
    text = "see [2] and [9], but [1](https://x.example) is a link"
    assert [(n, c.url) for n, c in cited(text, sources)] == [(2, B.url)]
    assert unresolved(text, sources) == (9,)
