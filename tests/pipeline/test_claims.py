from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aigenflow.core.evidence import Origin
from aigenflow.core.models import (
    AgentType,
    Backend,
    Citation,
    DocumentType,
    GatewayResponse,
    Language,
    ServedFrom,
)
from aigenflow.engine.models import SessionSpec, StepRecord, digest
from aigenflow.pipeline.claims import Claim, Verdict, list_claims

SPEC = SessionSpec(
    session="s1",
    topic="Meal kits",
    document_type=DocumentType.BIZPLAN,
    template="default",
    language=Language.EN,
    brief="price: $30\n",
    created=datetime(2026, 11, 22, tzinfo=UTC),
)
DRAFT = "## Market\n\nIt grew 15% [#2]. Nobody else does it [#1].\n\n## Price\n\nIt is $30.\n"
POLISHED = (
    "## Market\n\nIt grew 15% [#2]. Nobody else does it [#1]. Share: 98%.\n\n## Price\n\n$30.\n"
)
DOCUMENT = """\
# Meal kits

## Market

It grew 15% [1]. Nobody else does it [2]. Share: 98%.

## Price

$30.

## References

1. B. <https://b.example>
2. A. <https://a.example>

---

**About this document.** Made with 4 agents.
"""
AUDIT = """\
## Claims

| No. | Section | Claim | Verdict | Source | Correction |
| --- | --- | --- | --- | --- | --- |
| 1 | Market | It grew 15% | **Confirmed** | [1] | |
| 2 | Market | “Share: 98%…” | refuted | | Share: 9% |
"""


def a_record(phase: int, task: str, content: str, **response: object) -> StepRecord:
    agent = AgentType.PERPLEXITY if task in ("fact_check", "verify") else AgentType.CLAUDE
    answer = GatewayResponse.model_validate(
        {"content": content, "response_id": f"call-{task}", **response}
    )
    return StepRecord(
        phase=phase,
        task=task,
        agent=agent,
        actor=agent,
        fingerprint="f",
        content=content,
        content_sha256=digest(content),
        response=answer,
        finished=datetime(2026, 11, 22, tzinfo=UTC),
    )


def a_session(audit: str = AUDIT, **draft: object) -> list[StepRecord]:
    sources = (
        Citation(url="https://a.example", quote="the only one"),
        Citation(url="https://b.example", quote="up 15.2% in a year"),
    )
    return [
        a_record(2, "fact_check", "[1][2]", citations=sources),
        a_record(4, "draft", DRAFT, **{"estimated_cost": Decimal("0.04"), **draft}),
        a_record(5, "verify", audit, estimated_cost=Decimal(1)),
        a_record(5, "polish", POLISHED, estimated_cost=Decimal("0.02")),
    ]


def claims_of(audit: str = AUDIT, **draft: object) -> dict[str, Claim]:
    claims = list_claims(DOCUMENT, SPEC, a_session(audit, **draft))
    return {claim.figure or claim.sentence: claim for claim in claims}


def test_every_figure_and_every_cited_statement_is_a_claim() -> None:
    """In the order of the document; its references and its last words claim nothing."""
    claims = list_claims(DOCUMENT, SPEC, a_session())
    assert [(c.section, c.figure, c.sentence) for c in claims] == [
        ("Market", "15%", "It grew 15%."),
        ("Market", "", "Nobody else does it."),
        ("Market", "98%", "Share: 98%."),
        ("Price", "$30", "$30."),
    ]


def test_a_claim_names_its_source_whatever_the_document_numbers_it() -> None:
    """The reference list counts in its own order; evidence keeps its ids."""
    claims = claims_of()
    assert (claims["15%"].source, claims["15%"].url) == ("e2", "https://b.example")
    assert claims["Nobody else does it."].source == "e1"
    assert claims["15%"].cited == ("e2",)
    assert (claims["98%"].origin, claims["98%"].source) == (Origin.UNKNOWN, "")
    assert (claims["$30"].origin, claims["$30"].source) == (Origin.BRIEF, "price")


def test_a_claim_names_who_wrote_it_first_and_by_which_call() -> None:
    """What polishing kept is the draft's; what it added is its own."""
    claims = claims_of()
    assert (claims["15%"].task, claims["15%"].call) == ("phase4.draft", "call-draft")
    assert (claims["98%"].task, claims["98%"].agent) == ("phase5.polish", "claude")
    assert claims_of(backend=Backend.OFFLINE)["15%"].agent == "offline"
    assert claims_of(call_ids=("c1", "c2"))["15%"].call == "c1 c2"


def test_what_no_agent_wrote_names_nobody() -> None:
    """A sentence that a person added to the file."""
    edited = DOCUMENT.replace("$30.", "$30. By hand: 7 shops.")
    claim = list_claims(edited, SPEC, a_session())[-1]
    assert (claim.figure, claim.agent, claim.task, claim.call) == ("7 shops", "", "", "")


def test_the_audits_verdict_is_found_by_words_and_figure() -> None:
    """What the audit did not look at is a state of its own."""
    claims = claims_of()
    assert claims["15%"].verdict is Verdict.SUPPORTED
    assert (claims["98%"].verdict, claims["98%"].reason) == (Verdict.UNSUPPORTED, "Share: 9%")
    assert claims["$30"].verdict is Verdict.NOT_AUDITED


def test_a_corrected_sentence_is_supported() -> None:
    """The words that the audit itself put there."""
    audit = AUDIT.replace("It grew 15% ", "It grew 55% ").replace(
        "**Confirmed** | [1] | |", "inexact | [1] | It grew 15%. |"
    )
    assert claims_of(audit)["15%"].verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("confirmed", Verdict.SUPPORTED),
        ("Supported ✅", Verdict.SUPPORTED),
        ("확인", Verdict.SUPPORTED),
        ("unsupported", Verdict.UNSUPPORTED),
        ("not supported", Verdict.UNSUPPORTED),
        ("inexact", Verdict.UNSUPPORTED),
        ("outdated", Verdict.UNSUPPORTED),
        ("‘사실 아님’", Verdict.UNSUPPORTED),
        ("부정확", Verdict.UNSUPPORTED),
        ("오래됨", Verdict.UNSUPPORTED),
        ("not verifiable", Verdict.UNCLEAR),
        ("확인 불가", Verdict.UNCLEAR),
        ("perhaps", Verdict.NOT_AUDITED),
        ("", Verdict.NOT_AUDITED),
    ],
)
def test_verdicts_are_read_in_both_languages(said: str, verdict: Verdict) -> None:
    """The more doubtful reading wins, and an unknown word is no verdict."""
    table = f"| 번호 | 주장(원문) | 판정 |\n| --- | --- | --- |\n| 1 | It grew 15% | {said} |\n"
    assert claims_of(table)["15%"].verdict is verdict


@pytest.mark.parametrize("audit", ["", "all fine", "| Claim |\n|---|\n| x |", "| | |\n|||\n"])
def test_without_a_table_nothing_was_audited(audit: str) -> None:
    """Praise is no audit."""
    assert {claim.verdict for claim in claims_of(audit).values()} == {Verdict.NOT_AUDITED}


def test_a_section_costs_its_part_of_what_its_writers_cost() -> None:
    """Shared by length; the audit writes nothing, and an answer from the cache was free."""
    market, price = claims_of()["15%"].section_cost, claims_of()["$30"].section_cost
    assert market is not None
    assert price is not None
    assert market > price > 0
    assert market + price == pytest.approx(Decimal("0.06"), abs=Decimal("0.00001"))
    wordy = claims_of("## Market\n\nA long text of the audit.\n\n## Price\n\nNone.\n" + AUDIT)
    assert wordy["$30"].section_cost == price
    cached = claims_of(served_from=ServedFrom.CACHE)["$30"].section_cost
    assert cached is not None
    assert cached < price
    assert claims_of(estimated_cost=None)["$30"].section_cost is None
