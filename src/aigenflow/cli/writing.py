"""Writing sessions to their end, for ``run`` and ``resume``: one, or many side by side."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TypeAlias

import click

from aigenflow.app import App
from aigenflow.cli.console import TerminatedError, printable, run_async
from aigenflow.cli.progress import PlainProgress, open_progress
from aigenflow.core.config import Settings
from aigenflow.core.errors import AigenflowError, UsageError
from aigenflow.core.events import OnEvent
from aigenflow.engine.local import LocalSession

Take: TypeAlias = Callable[[App], LocalSession]

AT_ONCE = 20
"""How many documents are written at the same time; providers' own limits come on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How documents are written, and how the user is told."""

    refresh: bool
    allow_unpriced: bool
    quiet: bool
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of one session: its document, or why there is none."""

    session: LocalSession
    document: Path | None = None
    error: AigenflowError | None = None


def write_session(settings: Settings, home: Path, take: Take, manner: Manner) -> None:
    """Write one session and say where the document is. Raises what stops it."""
    (outcome,) = _write_all(settings, home, [take], manner)
    if outcome.error is not None:
        raise outcome.error
    if manner.as_json:
        metadata = outcome.session.folder / "metadata.json"
        click.echo(metadata.read_text(encoding="utf-8").rstrip())
    else:
        click.echo(_("Document: {path}").format(path=outcome.document))


def write_sessions(settings: Settings, home: Path, takes: Sequence[Take], manner: Manner) -> int:
    """Write many sessions side by side; say what became of each; return the exit code.

    A session that stops does not disturb the others. The exit code is that of the first one that
    stopped, or 0.
    """
    outcomes = _write_all(settings, home, takes, manner)
    if manner.as_json:
        click.echo(json.dumps([_plain(one) for one in outcomes], ensure_ascii=False, indent=2))
    else:
        for one in outcomes:
            _report(one)
    return next((one.error.exit_code for one in outcomes if one.error is not None), 0)


def _write_all(
    settings: Settings, home: Path, takes: Sequence[Take], manner: Manner
) -> list[_Outcome]:
    """However it ends, every session is released, and the user is told how to go on."""
    with open_progress(quiet=manner.quiet or manner.as_json, plain=len(takes) > 1) as progress:
        app = App(
            settings,
            home=home,
            refresh=manner.refresh,
            allow_unpriced=manner.allow_unpriced,
            on_event=progress,
        )
        sessions: list[LocalSession] = []
        try:
            return run_async(_write_together(app, takes, sessions, progress))
        except (KeyboardInterrupt, TerminatedError):
            progress.show(_("Stopped; finished tasks are kept."))
            for session in sessions:
                if not session.is_completed:
                    progress.show(_resume_hint(session))
            raise
        finally:
            for session in sessions:
                session.close()


async def _write_together(
    app: App, takes: Sequence[Take], sessions: list[LocalSession], progress: PlainProgress
) -> list[_Outcome]:
    """Take every session into ``sessions``, where the caller finds it, and write them all."""
    free = asyncio.Semaphore(AT_ONCE)

    async def write(session: LocalSession) -> _Outcome:
        on_event: OnEvent = progress
        if len(takes) > 1:
            on_event = progress.labelled(session.spec.session[-6:])
        try:
            async with free:
                document = await app.write(session, on_event)
            return _Outcome(session=session, document=document)
        except AigenflowError as error:
            if not isinstance(error, UsageError):
                error.hint = " ".join(filter(None, (error.hint, _resume_hint(session))))
            return _Outcome(session=session, error=error)

    async with app:
        sessions.extend(take(app) for take in takes)
        return list(await asyncio.gather(*(write(session) for session in sessions)))


def _report(one: _Outcome) -> None:
    if one.error is None:
        click.echo(_("Document: {path}").format(path=one.document))
        return
    topic = " ".join(one.session.spec.topic.split())[:60]
    click.echo(
        printable(_("Error: {topic}: {message}").format(topic=topic, message=one.error.message)),
        err=True,
    )
    if one.error.hint:
        click.echo(printable(_("Try: {hint}").format(hint=one.error.hint)), err=True)


def _plain(one: _Outcome) -> dict[str, str | None]:
    return {
        "session": one.session.spec.session,
        "topic": one.session.spec.topic,
        "document": str(one.document) if one.document else None,
        "error": type(one.error).__name__ if one.error else None,
        "message": one.error.message if one.error else None,
    }


def _resume_hint(session: LocalSession) -> str:
    command = ["aigenflow", "resume", session.spec.session]
    if session.folder.parent != Path("output"):
        command += ["--output-dir", str(session.folder.parent)]
    return _("Go on with: {command}").format(command=shlex.join(command))
