"""Writing a session to its end, for ``run`` and ``resume``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path

import click

from aigenflow.app import App
from aigenflow.cli.console import TerminatedError, run_async
from aigenflow.cli.progress import open_progress
from aigenflow.core.config import Settings
from aigenflow.core.errors import AigenflowError, UsageError
from aigenflow.engine.local import LocalSession


def write_session(
    settings: Settings,
    home: Path,
    take: Callable[[App], LocalSession],
    *,
    refresh: bool,
    allow_unpriced: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Take a session, write it, and say where the document is.

    However it ends, the session is released, and the user is told how to go on.
    """
    with open_progress(quiet=quiet or as_json) as progress:
        app = App(
            settings, home=home, refresh=refresh, allow_unpriced=allow_unpriced, on_event=progress
        )
        session = take(app)
        try:
            document = run_async(_write(app, session))
        except AigenflowError as error:
            if not isinstance(error, UsageError):
                error.hint = _join(error.hint, _resume_hint(session))
            raise
        except (KeyboardInterrupt, TerminatedError):
            progress.show(_("Stopped; finished tasks are kept.") + " " + _resume_hint(session))
            raise
        finally:
            session.close()
    _report(session, document, as_json=as_json)


async def _write(app: App, session: LocalSession) -> Path:
    async with app:
        return await app.write(session)


def _report(session: LocalSession, document: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo((session.folder / "metadata.json").read_text(encoding="utf-8").rstrip())
        return
    click.echo(_("Document: {path}").format(path=document))


def _resume_hint(session: LocalSession) -> str:
    command = ["aigenflow", "resume", session.spec.session]
    if session.folder.parent != Path("output"):
        command += ["--output-dir", str(session.folder.parent)]
    return _("Go on with: {command}").format(command=shlex.join(command))


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
