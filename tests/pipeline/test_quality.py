"""A document that fails its gates goes back to the writer, at most twice, while that helps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.agents.router import Answer, Fit
from aigenflow.agents.routes import Cast, cast_roles
from aigenflow.core.clock import SystemClock
from aigenflow.core.config import AgentsSettings
from aigenflow.core.errors import AigenflowError, BudgetExceededError, ServerFaultError
from aigenflow.core.events import Event, Warned
from aigenflow.core.models import AgentRequest, DocumentType, GatewayResponse, Language
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.orchestrator import task_titles
from aigenflow.pipeline.quality import (
    Edition,
    Judged,
    as_list,
    improve,
    inputs_for_text,
    is_better,
    to_mend,
)
from aigenflow.quality.models import Inputs, Verdict
from aigenflow.quality.report import assess
from aigenflow.templates.loader import load_outline
from aigenflow.templates.prompt_library import PromptLibrary

sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))

from corpus import Document, build
from defects import DEFECTS

OUTLINE = load_outline(DocumentType.BIZPLAN, "strategy", Language.EN)


class Writer:
    """Answers every revision from a list."""

    cast: Cast = cast_roles(AgentsSettings(), lambda _: True)

    def __init__(self, *answers: str | AigenflowError) -> None:
        self._answers = list(answers)
        self.asked: list[AgentRequest] = []
        self.discarded: list[str] = []

    def expecting(
        self, requests: int
    ) -> AbstractContextManager[Sequence[AbstractContextManager[None]]]:
        return nullcontext([nullcontext()] * requests)

    async def ask(self, request: AgentRequest, fit: Fit) -> Answer:
        route = self.cast.routes[request.agent]
        self.asked.append(fit(request, route))
        answer = self._answers.pop(0)
        if isinstance(answer, AigenflowError):
            raise answer
        return Answer(response=GatewayResponse(content=answer), route=route)

    async def discard(self, response: GatewayResponse) -> None:
        self.discarded.append(response.content)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LocalSession]:
    spec = SessionSpec(
        session="s1",
        topic="Clinic reminders",
        document_type=DocumentType.BIZPLAN,
        template="strategy",
        language=Language.EN,
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )
    session = LocalEngine(tmp_path / "output", SystemClock()).create(spec)
    yield session
    session.close()


CLEAN = build(2, Language.EN)


def spoiled(*checks: str) -> str:
    """The clean document's text with defects planted."""
    document: Document = build(2, Language.EN)
    for check in checks:
        assert DEFECTS[check](document)
    return document.markdown()


def edit(text: str, _records: Sequence[StepRecord]) -> Edition:
    """The text as it is."""
    return Edition(body=text, document=text, facts=CLEAN.inputs().facts or ())


def inputs_of(edition: Edition) -> Inputs:
    """All that is known about the clean document, with another text."""
    return replace(CLEAN.inputs(), markdown=edition.document, facts=edition.facts)


async def improved(
    session: LocalSession, writer: Writer, text: str, revisions: int = 2
) -> tuple[Judged, list[Event]]:
    """The document that comes of ``text``, and what was told on the way."""
    told: list[Event] = []
    run = PhaseContext(
        runner=session,
        asker=writer,
        prompts=PromptLibrary(),
        outline=OUTLINE,
        titles=task_titles(Language.EN),
        clock=SystemClock(),
        on_event=told.append,
        revisions=revisions,
    )
    return await improve(edit(text, ()), edit, inputs_of, (), run), told


async def test_a_revision_mends_the_document(session: LocalSession) -> None:
    """One round is asked where one is enough, and its text is the document."""
    writer = Writer(CLEAN.markdown())
    judged, _told = await improved(session, writer, spoiled("Q04", "Q06"))
    assert judged.report.verdict is Verdict.PASS
    assert judged.edition.document.strip() == CLEAN.markdown().strip()
    assert (judged.rounds, [r.task for r in judged.records]) == (1, ["revise_1"])


async def test_the_writer_hears_the_text_and_the_findings_alone(session: LocalSession) -> None:
    """The request has the document and the list of what is wrong, quoted without marks."""
    writer = Writer(CLEAN.markdown())
    await improved(session, writer, spoiled("Q04", "Q06"))
    [request] = writer.asked
    heard = {document.id: document.text for document in request.context}
    assert set(heard) == {"assignment", "document", "findings"}
    assert "Insert name" in heard["findings"]
    assert "Q06" in heard["findings"]
    assert "[77]" not in heard["findings"].split("expected")[0]
    assert request.task == "revise_1"
    assert "COMPLETE revised document" in request.prompt


async def test_a_document_that_passes_is_not_touched(session: LocalSession) -> None:
    """Nothing is asked where nothing is wrong."""
    judged, _told = await improved(session, Writer(), CLEAN.markdown())
    assert judged.rounds == 0


async def test_two_rounds_are_the_most(session: LocalSession) -> None:
    """What two revisions did not mend is published with its failed gate."""
    writer = Writer(spoiled("Q04", "Q06"), spoiled("Q06"))
    judged, _told = await improved(session, writer, spoiled("Q04", "Q06", "Q15"))
    assert [each.id for each in judged.report.failed_gates] == ["Q06"]
    assert judged.rounds == 2


async def test_a_revision_that_helps_nothing_is_the_last(session: LocalSession) -> None:
    """The better text stays, and the other one is said to be waste."""
    worse = spoiled("Q04", "Q06", "Q15")
    writer = Writer(worse, CLEAN.markdown())
    judged, _told = await improved(session, writer, spoiled("Q06"))
    assert [each.id for each in judged.report.failed_gates] == ["Q06"]
    assert writer.discarded == [worse]
    assert len(writer.asked) == 1


@pytest.mark.parametrize(
    "problem", [BudgetExceededError("no room", hint=""), ServerFaultError("down")]
)
async def test_without_money_or_provider_the_best_text_is_published(
    session: LocalSession, problem: AigenflowError
) -> None:
    """The run goes on, and says that there was no revision."""
    judged, told = await improved(session, Writer(problem), spoiled("Q06"))
    assert judged.rounds == 0
    assert judged.remarks
    assert any(isinstance(event, Warned) for event in told)


async def test_a_revision_that_drops_text_is_not_taken(session: LocalSession) -> None:
    """Fewer sections have fewer faults, and are no better for it."""
    text = spoiled("Q06", "Q15")
    start = CLEAN.markdown().partition("## 3.")[0]
    writer = Writer(start)
    judged, _told = await improved(session, writer, text)
    assert judged.edition.document == text
    assert writer.discarded == [start]


async def test_no_rounds_means_no_rounds(session: LocalSession) -> None:
    """With quality.max_rounds 0 nothing is asked."""
    judged, _told = await improved(session, Writer(), spoiled("Q06"), revisions=0)
    assert [each.id for each in judged.report.failed_gates] == ["Q06"]


async def test_a_revision_is_bought_once(session: LocalSession) -> None:
    """A resumed run finds the revision in its journal."""
    await improved(session, Writer(CLEAN.markdown()), spoiled("Q06"))
    judged, _told = await improved(session, Writer(), spoiled("Q06"))
    assert judged.report.verdict is Verdict.PASS


def test_a_text_without_most_sections_is_not_revised() -> None:
    """It is another document: no revision away."""
    report = assess(inputs_for_text("# A\n\nTODO.", CLEAN.inputs().today, outline=OUTLINE))
    assert report.failed_gates
    assert to_mend(report) == ()


def test_what_code_decides_is_not_asked_of_a_writer() -> None:
    """Foreign addresses, broken exports and the statement are no matter of writing."""
    document = build(2, Language.EN)
    for check in ("Q07", "Q29"):
        DEFECTS[check](document)
    report = assess(document.inputs())
    assert {each.id for each in report.failed_gates} == {"Q07", "Q29"}
    assert to_mend(report) == ()


def test_fewer_failed_gates_are_better_than_points() -> None:
    """The gates come first, then the score."""
    one, two = (assess(inputs_of(edit(spoiled(*c), ()))) for c in (["Q06"], ["Q06", "Q15"]))
    assert is_better(one, two)
    assert not is_better(two, one)
    assert not is_better(one, one)


def test_the_list_of_findings_is_bounded() -> None:
    """A check with very many findings names the first twenty and counts the rest."""
    text = CLEAN.markdown() + "\n\n## More\n\n" + "\n\n".join(f"TODO {n}." for n in range(50))
    report = assess(inputs_of(edit(text, ())))
    listed = as_list([c for c in report.checks if c.id == "Q04"], Language.EN)
    assert listed.count("\n- ") == 21
    assert "and 30 more of this kind" in listed


@pytest.mark.parametrize(
    ("text", "language"), [("이 문서는 한국어이다.", Language.KO), ("It is English.", Language.EN)]
)
def test_the_language_of_a_file_is_read_from_it(text: str, language: Language) -> None:
    """Without --lang, Hangul decides."""
    assert inputs_for_text(text, CLEAN.inputs().today).language is language
