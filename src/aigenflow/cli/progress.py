"""Showing a run while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from gettext import gettext as _
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from aigenflow.cli.console import printable
from aigenflow.core import events, words
from aigenflow.core.models import Backend, Route, ServedFrom

if TYPE_CHECKING:
    from rich.console import RenderableType

CHARACTERS_PER_TOKEN = 3


class PlainProgress:
    """One line per happening, on standard error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return

    def __call__(self, event: events.Event) -> None:
        """Show ``event``."""
        for line in describe(event):
            self.show(line)

    def show(self, line: str) -> None:
        """Print one line."""
        click.echo(printable(line), err=True)

    def labelled(self, label: str) -> events.OnEvent:
        """Shows events of one session among many."""

        def show(event: events.Event) -> None:
            for line in describe(event):
                self.show(f"{label}  {line}")

        return show


class SilentProgress(PlainProgress):
    """Nothing but warnings."""

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Warned):
            super().__call__(event)

    def labelled(self, label: str) -> events.OnEvent:
        return self


class LiveProgress(PlainProgress):
    """A table of the tasks under way below the lines of what happened."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._started: dict[tuple[int, str], float] = {}
        self._who: dict[tuple[int, str], str] = {}
        self._characters: dict[tuple[int, str], int] = {}
        self._console = Console(stderr=True)
        self._live = Live(
            get_renderable=self._table, console=self._console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._started.clear()
        self._live.stop()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.TaskStarted():
                key = (event.phase, event.task)
                self._started[key] = time.monotonic()
                self._who[key] = _player(event.route)
                return
            case events.FellBack():
                self._who[event.phase, event.task] = _player(event.to)
            case events.TextArrived():
                self._characters[event.phase, event.task] = event.characters
                return
            case events.TaskFinished():
                self._started.pop((event.phase, event.task), None)
            case _:
                pass
        super().__call__(event)

    def show(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for key, start in tuple(self._started.items()):
            elapsed = time.monotonic() - start
            tokens = self._characters.get(key, 0) // CHARACTERS_PER_TOKEN
            so_far = _("about {count} tokens").format(count=tokens) if tokens else _("waiting")
            cells = ("  …", key[1], self._who[key], f"{elapsed:.0f} s", so_far)
            table.add_row(*(Text(printable(cell)) for cell in cells))
        return table


def _player(route: Route) -> str:
    return f"{route.actor} · {route.model}"


def open_progress(*, quiet: bool, plain: bool = False) -> PlainProgress:
    """The way of showing that fits: nothing, a live table, or plain lines."""
    if quiet:
        return SilentProgress()
    return LiveProgress() if sys.stderr.isatty() and not plain else PlainProgress()


def describe(event: events.Event) -> list[str]:
    """What to tell of ``event``, as lines; an event that is only for live displays gives none."""
    match event:
        case events.RunStarted():
            return [
                _("Session {id}: {topic}").format(id=event.session, topic=_short(event.topic)),
                *event.notices,
            ]
        case events.PhaseStarted():
            return [
                _("Phase {number} of 5: {name}").format(
                    number=event.phase, name=words.phase(event.name)
                )
            ]
        case events.TaskFinished():
            return [_describe_finished(event)]
        case events.FellBack():
            return [
                _("  {agent} is down; {to} takes over {task}. {reason}").format(
                    agent=event.agent, to=event.to.actor, task=event.task, reason=event.reason
                )
            ]
        case events.ContextShortened():
            return [
                _("  {task} hears a shortened context: {what}").format(
                    task=event.task, what="; ".join(event.omissions)
                )
            ]
        case events.JobWatched():
            told = (
                _("  Batch job {job} is over ({done} of {total} done).")
                if event.state.is_over
                else _("  Waiting for batch job {job} ({done} of {total} done); Ctrl-C is safe.")
            )
            return [told.format(job=event.job, done=event.done, total=event.total)]
        case events.Warned():
            return [_("Note: {message}").format(message=event.message)]
        case _:
            return []


def _describe_finished(event: events.TaskFinished) -> str:
    response = event.response
    who = response.agent or ""
    if event.reused:
        return _("  {task}: already done").format(task=event.task)
    if response.backend is Backend.OFFLINE:
        return _("  {task}: drafted offline").format(task=event.task)
    if response.served_from is ServedFrom.CACHE:
        return _("  {task}: {who}, from the cache").format(task=event.task, who=who)
    line = _("  {task}: {who} ({model}), {count} tokens, {seconds:.1f} s").format(
        task=event.task,
        who=who,
        model=response.model,
        count=response.tokens_used,
        seconds=response.latency_s,
    )
    cost = response.estimated_cost
    return line if cost is None else f"{line}, ${cost:.4f}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"
