"""A run of this process is watched as it goes, and stops when it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aigenflow.app import App
from aigenflow.core.config import Settings
from aigenflow.core.db import DatabaseError
from aigenflow.core.errors import ConfigError, SessionDamagedError
from aigenflow.core.events import TaskFinished, TaskStarted, TextArrived, Warned
from aigenflow.core.models import (
    AgentType,
    Backend,
    DocumentType,
    GatewayResponse,
    Language,
    Route,
)
from aigenflow.dashboard.live import LiveRun, Runs, as_event, watch
from aigenflow.dashboard.progress import phases_of
from aigenflow.engine.local import LocalSession
from aigenflow.engine.models import SessionStatus
from aigenflow.pipeline.assignment import Assignment

ROUTE = Route(
    agent=AgentType.CHATGPT, actor=AgentType.CHATGPT, backend=Backend.OPENAI, model="gpt-6.1-sol"
)
ASSIGNMENT = Assignment(
    topic="Meal kits for pets",
    document_type=DocumentType.BIZPLAN,
    template="default",
    language=Language.EN,
)


def test_events_become_progress() -> None:
    """A task under way is shown with who has it and how much has come; then it is done."""
    run = LiveRun("s")
    run(TaskStarted(phase=1, task="brainstorm", route=ROUTE))
    run(TextArrived(phase=1, task="brainstorm", characters=300))
    [framing, *_rest] = phases_of((), run)
    task = framing.tasks[0]
    assert (task.state, task.agent, task.model) == ("asked", "chatgpt", "gpt-6.1-sol")
    assert task.tokens_so_far == 100
    assert framing.state == "asked"
    answer = GatewayResponse(content="x")
    run(TaskFinished(phase=1, task="brainstorm", response=answer, reused=False))
    assert not run.tasks


def test_a_notice_is_kept_once() -> None:
    """The same warning twice is one line, and there is no end of memory for them."""
    run = LiveRun("s")
    for number in range(200):
        run(Warned(message=f"note {number // 2}"))
    assert run.notices[-1] == "note 99"
    assert len(run.notices) == 50


class _WaitingApp:
    """Writes until it is stopped, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def write(self, session: LocalSession, on_event: object) -> Path:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(60)
        raise AssertionError


async def _session(settings: Settings, home: Path) -> tuple[App, LocalSession]:
    app = App(settings, home=home)
    return app, app.start(ASSIGNMENT)


async def test_a_cancelled_run_can_be_resumed(settings: Settings, tmp_path: Path) -> None:
    """Its task ends, its session is free, and says what happened."""
    app, session = await _session(settings, tmp_path / "home")
    runs = Runs(_WaitingApp())  # type: ignore[arg-type]
    runs.begin(session)
    await asyncio.sleep(0)
    assert runs.names() == [session.spec.session]
    assert await runs.cancel(session.spec.session)
    assert runs.names() == []
    state = app.engine.read(session.spec.session)
    assert state.status is SessionStatus.STOPPED
    assert "Cancelled" in state.message
    app.engine.open(session.spec.session).close()
    assert not await runs.cancel(session.spec.session)
    await app.__aexit__(None, None, None)


async def test_errors_and_bugs_are_seen_where_the_run_is(
    settings: Settings, tmp_path: Path
) -> None:
    """Whatever stops a run stands in its session, not only in a log."""
    app = App(settings, home=tmp_path / "home")
    for error, told in (
        (ConfigError("No such font.", hint="Install it."), "No such font."),
        (RuntimeError("oops"), "RuntimeError: oops"),
    ):
        session = app.start(ASSIGNMENT)
        runs = Runs(_WaitingApp(error))  # type: ignore[arg-type]
        runs.begin(session)
        live = runs.of(session.spec.session)
        assert live is not None
        assert live.task is not None
        await live.task
        assert app.engine.read(session.spec.session).message == told
    await app.__aexit__(None, None, None)


async def test_the_end_of_the_dashboard_names_what_is_unfinished(
    settings: Settings, tmp_path: Path
) -> None:
    """Every run stops, and the user can be told how to go on."""
    app, session = await _session(settings, tmp_path / "home")
    runs = Runs(_WaitingApp())  # type: ignore[arg-type]
    runs.begin(session)
    await asyncio.sleep(0)
    await runs.aclose()
    assert runs.unfinished == [session.spec.session]
    app.engine.open(session.spec.session).close()
    await app.__aexit__(None, None, None)


class _TidyingApp(_WaitingApp):
    """Has something to settle when it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.settled = False

    async def write(self, session: LocalSession, on_event: object) -> Path:
        try:
            return await super().write(session, on_event)
        finally:
            await asyncio.sleep(0.05)
            self.settled = True


async def test_a_second_cancel_does_not_disturb_the_first(
    settings: Settings, tmp_path: Path
) -> None:
    """What a stopped run settles on its way out is settled, however often it is told to stop."""
    app, session = await _session(settings, tmp_path / "home")
    tidying = _TidyingApp()
    runs = Runs(tidying)  # type: ignore[arg-type]
    runs.begin(session)
    await asyncio.sleep(0)
    name = session.spec.session
    first = asyncio.create_task(runs.cancel(name))
    await asyncio.sleep(0.01)
    assert await runs.cancel(name)
    assert await first
    assert tidying.settled
    await app.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "error", [SessionDamagedError("It cannot be read."), DatabaseError("It is away.")]
)
async def test_a_session_that_cannot_be_read_ends_the_stream(error: Exception) -> None:
    """Without the word that the run has ended: the page asks again by itself."""
    answers: list[Exception | bool] = [True, error]

    async def draw() -> str:
        return "a"

    async def goes_on() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    run = LiveRun("s")
    run.wake()
    assert [text async for text in watch(draw, lambda: run, goes_on)] == [as_event("a")]


async def test_only_what_looks_different_is_sent() -> None:
    """The stream says each view once, and then that the run has ended."""
    views = iter(["a", "a", "b"])
    steps = iter([True, True, False])
    run = LiveRun("s")

    async def draw() -> str:
        return next(views)

    async def goes_on() -> bool:
        run.wake()
        return next(steps)

    sent = [text async for text in watch(draw, lambda: run, goes_on)]
    assert sent == [as_event("a"), as_event("b"), as_event("", name="ended")]


def test_an_event_cannot_be_broken_by_its_text() -> None:
    """Line breaks in a page, of any kind, do not end the event."""
    text = as_event("one\ntwo\r\n\r\nevent: ended")
    assert text == "data: one\ndata: two\ndata: \ndata: event: ended\n\n"
    assert as_event("", name="ended") == "event: ended\ndata: \n\n"
