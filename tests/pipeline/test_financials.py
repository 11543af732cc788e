"""The model is worked out from the record; bad drivers are asked for once more, and only once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.agents.router import Answer, Fit
from aigenflow.agents.routes import Cast, cast_roles
from aigenflow.core.clock import SystemClock
from aigenflow.core.config import AgentsSettings
from aigenflow.core.events import ignore_event
from aigenflow.core.models import AgentRequest, Backend, DocumentType, GatewayResponse, Language
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.export import charts
from aigenflow.pipeline import financials, phase3_strategy, phase4_writing
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.orchestrator import task_titles
from aigenflow.templates.loader import load_outline
from aigenflow.templates.prompt_library import PromptLibrary

GOOD = json.dumps(
    {
        "currency": "USD",
        "years": 2,
        "revenue": [{"name": "A", "price": 1237, "volume": [10, 20], "unit_cost": 400}],
        "costs": [{"name": "Rent", "amount": 5000}],
        "trl": {"start": 3, "target": 5},
    }
)
BAD = '{"revenue": [{"name": "A", "price": -1237, "volume": 10}]}'


class Asker:
    """Answers by task, as an AI back-end; remembers what it was asked."""

    cast: Cast = cast_roles(AgentsSettings(), lambda _: True)

    def __init__(self, *, backend: Backend = Backend.OPENAI, **answers: str) -> None:
        self._answers, self._backend = answers, backend
        self.asked: dict[str, AgentRequest] = {}

    def expecting(
        self, requests: int
    ) -> AbstractContextManager[Sequence[AbstractContextManager[None]]]:
        return nullcontext([nullcontext()] * requests)

    async def ask(self, request: AgentRequest, fit: Fit) -> Answer:
        route = self.cast.routes[request.agent]
        self.asked[request.task] = fit(request, route)
        text = self._answers.get(request.task, f"on {request.task}")
        return Answer(response=GatewayResponse(content=text, backend=self._backend), route=route)

    async def discard(self, response: GatewayResponse) -> None:
        raise AssertionError("nothing is discarded here")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LocalSession]:
    spec = SessionSpec(
        session="s1",
        topic="Subscription meal kits",
        document_type=DocumentType.BIZPLAN,
        template="default",
        language=Language.EN,
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )
    session = LocalEngine(tmp_path / "output", SystemClock()).create(spec)
    yield session
    session.close()


async def play(session: LocalSession, asker: Asker) -> tuple[tuple[StepRecord, ...], PhaseContext]:
    """Phase 3 and the question after it, if any."""
    run = PhaseContext(
        runner=session,
        asker=asker,
        prompts=PromptLibrary(),
        outline=load_outline(DocumentType.BIZPLAN, "default", Language.EN),
        titles=task_titles(Language.EN),
        clock=SystemClock(),
        on_event=ignore_event,
    )
    records = await run_phase(phase3_strategy.PHASE, (), run)
    records += await financials.ask_again(phase3_strategy.PHASE, records, run)
    return records, financials.with_model(records, run)


async def test_who_writes_hears_the_computed_tables_instead_of_the_drivers(
    session: LocalSession,
) -> None:
    """The tables with their marks are in the context, the raw drivers are not."""
    asker = Asker(financial_model=GOOD)
    records, run = await play(session, asker)
    assert "financial_model_again" not in asker.asked
    await run_phase(phase4_writing.PHASE, records, run)
    heard = {document.id: document.text for document in asker.asked["draft"].context}
    assert "[[table:income_statement]]" in heard["financial_model"]
    assert "12,370" in heard["financial_model"]
    assert "phase3.financial_model" not in heard


async def test_bad_drivers_are_asked_for_once_more_with_what_is_wrong(
    session: LocalSession,
) -> None:
    """The question carries the answer and its faults; the corrected answer is used."""
    asker = Asker(financial_model=BAD, financial_model_again=GOOD)
    records, _run = await play(session, asker)
    heard = {
        document.id: document.text for document in asker.asked["financial_model_again"].context
    }
    assert "below 0" in heard["problems"]
    assert heard["phase3.financial_model"] == BAD
    assert financials.work_out(records, Language.EN).model is not None


async def test_the_second_answer_is_remembered(session: LocalSession) -> None:
    """A run that is resumed asks neither question again."""
    await play(session, Asker(financial_model=BAD, financial_model_again=GOOD))
    later = Asker()
    records, _run = await play(session, later)
    assert later.asked == {}
    assert financials.work_out(records, Language.EN).model is not None


async def test_drivers_that_stay_bad_cost_the_model_not_the_document(
    session: LocalSession,
) -> None:
    """Two bad answers: no third question, no model, and the reason is told."""
    asker = Asker(financial_model=BAD, financial_model_again="I cannot.")
    records, run = await play(session, asker)
    found = financials.work_out(records, Language.EN)
    assert found.model is None
    assert "no JSON object" in found.reason
    assert found.describe()["financial_model"] is False
    assert found.files() == {}
    assert run.added == ()
    body = "## 12. Financials\n\n[[table:income_statement]]\n\nText."
    text, remarks = financials.with_tables(body, found, run.outline)
    assert "[[" not in text
    assert any("no financial model" in remark for remark in remarks)


async def test_without_an_ai_nobody_is_asked_twice(session: LocalSession) -> None:
    """The offline drafter has said all that the brief gives."""
    asker = Asker(backend=Backend.OFFLINE, financial_model="nothing known")
    await play(session, asker)
    assert "financial_model_again" not in asker.asked


async def test_edited_drivers_count(session: LocalSession) -> None:
    """A person's correction of the answer wins over the agent's second try."""
    records, _run = await play(session, Asker(financial_model=BAD, financial_model_again=GOOD))
    edited = [
        r.model_copy(update={"content": GOOD.replace("1237", "2000")})
        if r.task == "financial_model"
        else r
        for r in records
    ]
    model = financials.work_out(edited, Language.EN).model
    assert model is not None
    assert model.base["revenue"] == (20_000, 40_000)


async def test_figures_that_cannot_be_drawn_are_told(
    session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Korean font: the document goes on without figures, with one remark."""
    records, run = await play(session, Asker(financial_model=GOOD))
    found = financials.work_out(records, Language.KO)
    monkeypatch.setattr(charts, "_has_hangul", lambda _font: False)
    charts._pen.cache_clear()
    try:
        body, figures = financials.with_figures("text", found, run.outline)
    finally:
        charts._pen.cache_clear()
    assert (body, figures.files) == ("text", {})
    [remark] = figures.remarks
    assert "fonts-nanum" in remark


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"use_of_funds": [{"name": "Vans", "amount": 9000}]}, "adds up to USD 9,000"),
        ({"use_of_funds": [{"name": "Vans", "amount": 5000}]}, ""),
        ({"market": {"som": 20_000}}, "more than the SOM of USD 20,000"),
        ({"market": {"som": 24_740}}, ""),
    ],
)
async def test_figures_that_are_hard_to_believe_are_told(
    session: LocalSession, changed: dict[str, object], told: str
) -> None:
    """Uses against funding, sales against the market: a remark, and the model is there."""
    funding = [{"name": "Seed", "kind": "equity", "amount": 5000}]
    answer = json.dumps({**json.loads(GOOD), "funding": funding, **changed})
    records, _run = await play(session, Asker(financial_model=answer))
    worked = financials.work_out(records, Language.EN)
    assert worked.model is not None
    assert len(worked.remarks) == bool(told)
    assert told in "".join(worked.remarks)


async def test_a_source_that_is_not_there_is_no_origin(session: LocalSession) -> None:
    """The driver is an assumption and says so; nothing is left that points nowhere."""
    answer = json.loads(GOOD)
    answer["revenue"][0]["unit_cost"] = {"value": 400, "origin": "#7"}
    records, _run = await play(session, Asker(financial_model=json.dumps(answer)))
    worked = financials.work_out(records, Language.EN)
    assert "[7]" not in "".join(table.markdown for table in worked.tables)
    assert any("no such source: 7" in repair for repair in worked.repairs)
