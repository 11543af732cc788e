"""Writing sessions to their end, for ``run`` and ``resume``: one, or many side by side."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from gettext import gettext as _
from pathlib import Path
from typing import TypeAlias

import click

from aigenflow.app import App
from aigenflow.batch.job_store import Job
from aigenflow.cli.console import (
    TerminatedError,
    escaped,
    json_text,
    printable,
    read_settings,
    run_async,
)
from aigenflow.cli.options import Writing, read_processing
from aigenflow.cli.progress import PlainProgress, open_progress
from aigenflow.core.config import Settings
from aigenflow.core.errors import AigenflowError, UsageError
from aigenflow.core.events import OnEvent
from aigenflow.core.models import ProcessingChoice
from aigenflow.engine.local import LocalSession
from aigenflow.pipeline.assignment import Assignment

Take: TypeAlias = Callable[[App], LocalSession]

AT_ONCE = 20
"""How many documents are written at the same time; providers' own limits come on top."""

AT_ONCE_IN_JOBS = 100
"""The same where answers are bought in batch jobs.

A document then does little but wait, and the next round would begin hours later. More would bring
no larger discount, and each holds a file open, of which some systems allow a program only 256.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How documents are written, and how the user is told."""

    refresh: bool
    allow_unpriced: bool
    quiet: bool
    as_json: bool
    processing: ProcessingChoice | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of one session: its document, or why there is none.

    ``session`` is ``None`` where it could not be begun.
    """

    session: LocalSession | None
    document: Path | None = None
    error: AigenflowError | None = None


def read_manner(how: Writing) -> tuple[Settings, Path, Manner]:
    """The settings in force, the home directory, and how documents are written.

    Raises :class:`~aigenflow.core.errors.UsageError`.
    """
    settings, home = read_settings(
        output_dir=how["output_dir"],
        trusted_hosts=how["trusted_hosts"],
        no_cache=how["no_cache"],
        keeps_books=True,
        formats=how["formats"],
    )
    choice, wanted_by = read_processing(how["processing"], how["deadline"], settings)
    manner = Manner(
        refresh=how["refresh"],
        allow_unpriced=how["allow_unpriced"],
        quiet=how["quiet"],
        as_json=how["as_json"],
        processing=choice,
        deadline=wanted_by,
    )
    return settings, home, manner


def write_session(settings: Settings, home: Path, take: Take, manner: Manner) -> None:
    """Write one session and say where the document is. Raises what stops it."""
    (outcome,) = _write_all(settings, home, [take], manner)
    if outcome.error is not None:
        raise outcome.error
    if manner.as_json and outcome.session is not None:
        metadata = outcome.session.folder / "metadata.json"
        click.echo(escaped(metadata.read_text(encoding="utf-8").rstrip()))
    else:
        click.echo(_("Document: {path}").format(path=outcome.document))
        for name in settings.output_formats:
            if name not in ("md", "html") and outcome.document is not None:
                path = outcome.document.with_suffix(f".{name}")
                click.echo(_("Exported: {path}").format(path=path))


def write_sessions(
    settings: Settings, home: Path, assignments: Sequence[Assignment], manner: Manner
) -> int:
    """Write a session for each assignment, side by side; say what became of each.

    A session that stops does not disturb the others. Returns the exit code: that of the first one
    that stopped, or 0.
    """
    takes = [starting(assignment) for assignment in assignments]
    outcomes = _write_all(settings, home, takes, manner)
    told = [(each.topic, one) for each, one in zip(assignments, outcomes, strict=True)]
    if manner.as_json:
        click.echo(json_text([_plain(topic, one) for topic, one in told]))
    else:
        for topic, one in told:
            _report(topic, one)
    return next((one.error.exit_code for one in outcomes if one.error is not None), 0)


def at_once(processing: ProcessingChoice | None, settings: Settings) -> int:
    """How many documents are written side by side, bought in that way or as the settings say."""
    choice = processing or settings.batch.processing
    return AT_ONCE_IN_JOBS if choice is ProcessingChoice.BATCH else AT_ONCE


def starting(assignment: Assignment) -> Take:
    """Begins a new session."""
    return lambda app: app.start(assignment)


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
            processing=manner.processing,
            deadline=manner.deadline,
        )
        sessions: list[LocalSession] = []
        try:
            side_by_side = at_once(manner.processing, settings)
            return run_async(_write_together(app, takes, sessions, progress, side_by_side))
        except (KeyboardInterrupt, TerminatedError):
            progress.show(_("Stopped; finished tasks are kept."))
            for job in app.jobs_left:
                progress.show(job_hint(job))
            for session in sessions:
                if not session.is_completed:
                    progress.show(_resume_hint(session))
            if len(sessions) < len(takes):
                left = len(takes) - len(sessions)
                progress.show(_("{count} documents were not begun.").format(count=left))
            raise


async def _write_together(
    app: App,
    takes: Sequence[Take],
    sessions: list[LocalSession],
    progress: PlainProgress,
    side_by_side: int,
) -> list[_Outcome]:
    """Write every session, each taken when its turn comes: ``side_by_side`` at the same time.

    All of them have ended when this does, however it ends. ``sessions`` gets those that were
    taken, for the caller to name.
    """
    free = asyncio.Semaphore(side_by_side)

    async def write(take: Take) -> _Outcome:
        async with free:
            try:
                session = take(app)
            except AigenflowError as error:
                return _Outcome(session=None, error=error)
            sessions.append(session)
            with contextlib.closing(session):
                on_event = progress.labelled(session.spec.session[-6:]) if many else progress
                return await _write_one(app, session, on_event)

    many = len(takes) > 1
    async with app:
        # Without return_exceptions, the first to fail would not wait for those still at work.
        ended = await asyncio.gather(*map(write, takes), return_exceptions=True)
    outcomes = []
    for one in ended:
        if isinstance(one, BaseException):
            raise one
        outcomes.append(one)
    return outcomes


async def _write_one(app: App, session: LocalSession, on_event: OnEvent) -> _Outcome:
    try:
        return _Outcome(session=session, document=await app.write(session, on_event))
    except AigenflowError as error:
        if not isinstance(error, UsageError):
            error.hint = " ".join(filter(None, (error.hint, _resume_hint(session))))
        return _Outcome(session=session, error=error)


def _report(topic: str, one: _Outcome) -> None:
    if one.error is None:
        click.echo(_("Document: {path}").format(path=one.document))
        return
    topic = " ".join(topic.split())[:60]
    click.echo(
        printable(_("Error: {topic}: {message}").format(topic=topic, message=one.error.message)),
        err=True,
    )
    if one.error.hint:
        click.echo(printable(_("Try: {hint}").format(hint=one.error.hint)), err=True)


def _plain(topic: str, one: _Outcome) -> dict[str, str | None]:
    return {
        "session": one.session.spec.session if one.session else None,
        "topic": topic.strip(),
        "document": str(one.document) if one.document else None,
        "error": type(one.error).__name__ if one.error else None,
        "message": one.error.message if one.error else None,
    }


def job_hint(job: Job) -> str:
    """That a batch job outlives this process, and what to do about it."""
    return _(
        "Batch job {job} goes on at {provider}: `aigenflow batch list` shows it, "
        "`aigenflow batch wait` collects it, and so does resuming."
    ).format(job=job.tag, provider=job.route.backend.value)


def _resume_hint(session: LocalSession) -> str:
    return resume_hint(session.spec.session, session.folder.parent)


def resume_hint(session: str, output_dir: Path) -> str:
    """How to go on with a session in ``output_dir``."""
    command = ["aigenflow", "resume", session]
    if output_dir != Path("output"):
        command += ["--output-dir", str(output_dir)]
    return _("Go on with: {command}").format(command=shlex.join(command))
