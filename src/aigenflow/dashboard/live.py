"""The runs of this process while they go on: started, watched, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from gettext import gettext as _

from aigenflow.app import App
from aigenflow.core import events
from aigenflow.core.db import DatabaseError
from aigenflow.core.errors import AigenflowError
from aigenflow.core.models import Route
from aigenflow.engine.local import LocalSession

PULSE_S = 2.0
"""A page that is watched is drawn anew at least this often."""
BREATH_S = 0.25
"""... and at most this often."""
MAX_NOTICES = 50


@dataclass(slots=True, kw_only=True)
class Underway:
    """A task that is being asked. ``started`` is monotonic, in seconds."""

    route: Route
    started: float
    characters: int = 0


@dataclass(slots=True)
class LiveRun:
    """What is known of a run that goes on in this process. It is an ``OnEvent``."""

    session: str
    notices: list[str] = field(default_factory=list)
    jobs: dict[str, events.JobWatched] = field(default_factory=dict)
    tasks: dict[tuple[int, str], Underway] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: events.Event) -> None:
        """Take notice of ``event``."""
        match event:
            case events.RunStarted():
                self._note(*event.notices)
            case events.TaskStarted():
                self.tasks[event.phase, event.task] = Underway(
                    route=event.route, started=time.monotonic()
                )
            case events.TextArrived():
                if underway := self.tasks.get((event.phase, event.task)):
                    underway.characters = event.characters
            case events.FellBack():
                self.tasks[event.phase, event.task] = Underway(
                    route=event.to, started=time.monotonic()
                )
                self._note(event.reason)
            case events.TaskFinished():
                self.tasks.pop((event.phase, event.task), None)
            case events.JobWatched():
                self.jobs[event.job] = event
            case events.Warned():
                self._note(event.message)
            case _:
                pass
        self.wake()

    def wake(self) -> None:
        """Let those who watch look again."""
        self._changed.set()

    async def change(self, within_s: float) -> None:
        """Wait until something happens, or ``within_s`` seconds have passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), within_s)
        self._changed.clear()

    def _note(self, *notices: str) -> None:
        for notice in notices:
            if notice and notice not in self.notices:
                self.notices.append(notice)
        del self.notices[:-MAX_NOTICES]


class Runs:
    """The runs that this process has begun and not ended."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._live: dict[str, LiveRun] = {}
        self.unfinished: list[str] = []

    def begin(self, session: LocalSession) -> None:
        """Write ``session`` to its end, in the background."""
        live = LiveRun(session.spec.session)
        self._live[live.session] = live
        live.task = asyncio.create_task(self._write(session, live))

    def of(self, session: str) -> LiveRun | None:
        """The run of ``session``, where it goes on in this process."""
        return self._live.get(session)

    def names(self) -> list[str]:
        """The sessions that are being written here, newest first."""
        return sorted(self._live, reverse=True)

    async def cancel(self, session: str) -> bool:
        """Stop a run; what is finished is kept. False where it does not go on here."""
        live = self._live.get(session)
        if live is None or live.task is None:
            return False
        _stop_task(live.task)
        await asyncio.wait([live.task])
        return True

    async def aclose(self) -> None:
        """Stop every run; ``unfinished`` names their sessions."""
        self.unfinished = self.names()
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            _stop_task(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, session: LocalSession, live: LiveRun) -> None:
        with contextlib.closing(session):
            try:
                await self._app.write(session, live)
            except AigenflowError as error:
                # The pipeline has written most reasons down; wrong use, before it began, not.
                _stop(session, error.message, error.hint)
            except asyncio.CancelledError:
                _stop(
                    session,
                    _("Cancelled from the dashboard."),
                    _("What is finished is kept; resume it whenever you like."),
                )
                raise
            except Exception as error:  # noqa: BLE001 (a bug must be seen where the run is watched)
                _stop(session, f"{type(error).__name__}: {error}"[:500], "")
            finally:
                del self._live[live.session]
                live.wake()


def _stop_task(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` once: again would break into what it settles on its way out."""
    if not task.cancelling():
        task.cancel()


def _stop(session: LocalSession, message: str, hint: str) -> None:
    if not session.is_completed:
        with contextlib.suppress(AigenflowError):  # a full disk: nothing to add to that
            session.stopped(message, hint)


Draw = Callable[[], Awaitable[str]]


async def watch(
    draw: Draw, live: Callable[[], LiveRun | None], goes_on: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """A page's changing part as server-sent events, whenever it looks different.

    The last event is called ``ended``, unless the session cannot be read any more. ``live`` is the
    run to listen to, if it is one of ours.
    """
    shown = ""
    while True:
        try:
            going_on = await goes_on()
        except (DatabaseError, AigenflowError):  # the page asks again by itself
            return
        text = await draw()
        if text != shown:
            yield as_event(text)
            shown = text
        if not going_on:
            yield as_event("", name="ended")
            return
        run = live()
        await asyncio.sleep(BREATH_S)
        if run is None:
            await asyncio.sleep(PULSE_S - BREATH_S)
        else:
            await run.change(PULSE_S)


def as_event(text: str, name: str = "") -> str:
    """``text`` as one server-sent event."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n" if name else f"{lines}\n"
