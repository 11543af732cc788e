from __future__ import annotations

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
from aigenflow.core.errors import (
    JournalWriteError,
    PauseRequestedError,
    PhaseFailedError,
    RateLimitedError,
    ServerFaultError,
)
from aigenflow.core.events import Event, Warned, ignore_event
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    Citation,
    DocumentType,
    GatewayResponse,
    Language,
)
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec
from aigenflow.monitoring.budget import RingFencedError
from aigenflow.pipeline import phase1_framing, phase2_research
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.orchestrator import task_titles
from aigenflow.templates.loader import load_outline
from aigenflow.templates.prompt_library import PromptLibrary


class ScriptedAsker:
    """Answers by task; remembers what it was asked."""

    cast: Cast = cast_roles(AgentsSettings(), lambda _: True)

    def __init__(self, **script: GatewayResponse | Exception) -> None:
        self._script = script
        self.asked: dict[str, AgentRequest] = {}
        self.discarded: list[GatewayResponse] = []

    def expecting(
        self, requests: int
    ) -> AbstractContextManager[Sequence[AbstractContextManager[None]]]:
        return nullcontext([nullcontext()] * requests)

    async def ask(self, request: AgentRequest, fit: Fit) -> Answer:
        route = self.cast.routes[request.agent]
        self.asked[request.task] = fit(request, route)
        outcome = self._script.get(request.task, GatewayResponse(content=f"on {request.task}"))
        if isinstance(outcome, Exception):
            raise outcome
        return Answer(response=outcome, route=route)

    async def discard(self, response: GatewayResponse) -> None:
        self.discarded.append(response)


class PoorAsker(ScriptedAsker):
    """Answers what needs no search and at most ``room`` tokens; the rest is kept for later."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    async def ask(self, request: AgentRequest, fit: Fit) -> Answer:
        searches = request.web_search and request.agent is not AgentType.PERPLEXITY
        if searches or request.max_output_tokens > self._room:
            raise RingFencedError("no room", hint="raise it")
        return await super().ask(request, fit)


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


def a_run(session: LocalSession, asker: ScriptedAsker) -> PhaseContext:
    return PhaseContext(
        runner=session,
        asker=asker,
        prompts=PromptLibrary(),
        outline=load_outline(DocumentType.BIZPLAN, "default", Language.EN),
        titles=task_titles(Language.EN),
        clock=SystemClock(),
        on_event=ignore_event,
    )


async def test_a_task_hears_its_phase_and_all_earlier_ones(session: LocalSession) -> None:
    """What was answered before stands in the context, with the document's numbers of sources."""
    found = GatewayResponse(content="it grows [1]", citations=(Citation(url="https://a.example"),))
    asker = ScriptedAsker(brainstorm=found)
    records = await run_phase(phase1_framing.PHASE, (), a_run(session, asker))
    await run_phase(phase2_research.PHASE, records, a_run(session, asker))
    heard = {d.id: d.text for d in asker.asked["validate"].context}
    assert heard["phase1.brainstorm"] == "it grows [#1]"
    assert heard["sources"].startswith("- id: [#1]\n")
    assert {d.id for d in asker.asked["deep_search"].context} == {
        "assignment",
        "sources",
        "phase1.brainstorm",
        "phase1.validate",
    }


async def test_an_answer_that_was_paid_for_is_kept_when_the_ledger_fails(
    session: LocalSession,
) -> None:
    """The run stops, and the next one does not buy that answer again."""
    paid = GatewayResponse(content="dear words", backend=Backend.OPENAI)
    asker = ScriptedAsker(brainstorm=JournalWriteError("ledger is full", paid_answer=paid))
    with pytest.raises(JournalWriteError, match="ledger is full"):
        await run_phase(phase1_framing.PHASE, (), a_run(session, asker))
    again = ScriptedAsker()
    (brainstorm, _validate) = await run_phase(phase1_framing.PHASE, (), a_run(session, again))
    assert brainstorm.content == "dear words"
    assert set(again.asked) == {"validate"}


async def test_one_task_that_fails_does_not_lose_the_other(session: LocalSession) -> None:
    """The good half of the research is kept and recalled by the next run."""
    asker = ScriptedAsker(deep_search=ServerFaultError("down"))
    with pytest.raises(PhaseFailedError, match="deep_search: down"):
        await run_phase(phase2_research.PHASE, (), a_run(session, asker))
    again = ScriptedAsker()
    await run_phase(phase2_research.PHASE, (), a_run(session, again))
    assert set(again.asked) == {"deep_search"}


async def test_research_gives_way_to_what_is_kept_for_writing(session: LocalSession) -> None:
    """Asked for less until it fits: said once for each task, and kept in its record."""
    told: list[Event] = []
    asker = PoorAsker(room=4_000)
    run = replace(a_run(session, asker), on_event=told.append)
    searched, checked = await run_phase(phase2_research.PHASE, (), run)
    shorter = "an answer of at most 4000 tokens instead of 8000"
    assert searched.omissions == ("no web search", shorter)
    assert checked.omissions == (shorter,)
    assert not asker.asked["deep_search"].web_search
    warnings = [event.message for event in told if isinstance(event, Warned)]
    assert len(warnings) == 2
    assert any("deep_search gave up: no web search; " in warning for warning in warnings)


async def test_a_smaller_answer_is_not_asked_for_again(session: LocalSession) -> None:
    """What was answered in a smaller form is done, also when there is money again."""
    await run_phase(phase2_research.PHASE, (), a_run(session, PoorAsker(room=4_000)))
    rich = ScriptedAsker()
    searched, _checked = await run_phase(phase2_research.PHASE, (), a_run(session, rich))
    assert searched.omissions
    assert rich.asked == {}


async def test_a_run_stops_where_the_smallest_form_does_not_fit(session: LocalSession) -> None:
    """Nothing is written, the refusal says why, and with money the same session goes on."""
    with pytest.raises(RingFencedError):
        await run_phase(phase2_research.PHASE, (), a_run(session, PoorAsker(room=1_499)))
    assert session.records() == ()
    records = await run_phase(phase2_research.PHASE, (), a_run(session, ScriptedAsker()))
    assert [record.omissions for record in records] == [(), ()]


async def test_only_pauses_make_a_pause(session: LocalSession) -> None:
    """A phase that fails for one more reason is a failed phase."""
    slow = RateLimitedError("slow down", retry_after_s=3600)
    both = ScriptedAsker(deep_search=slow, fact_check=slow)
    with pytest.raises(PauseRequestedError):
        await run_phase(phase2_research.PHASE, (), a_run(session, both))
    one = ScriptedAsker(deep_search=slow, fact_check=ServerFaultError("down"))
    with pytest.raises(PhaseFailedError):
        await run_phase(phase2_research.PHASE, (), a_run(session, one))


async def test_text_that_no_file_can_hold_is_made_whole(session: LocalSession) -> None:
    """Half a surrogate pair in an answer becomes a question mark, in the journal and for all."""
    asker = ScriptedAsker(brainstorm=GatewayResponse(content="a\ud800b"))
    (brainstorm, _validate) = await run_phase(phase1_framing.PHASE, (), a_run(session, asker))
    assert brainstorm.content == "a?b"
    assert AgentType.CHATGPT is brainstorm.actor
