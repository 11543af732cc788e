"""What every command shares: settings, running, and saying what went wrong."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Coroutine
from gettext import gettext as _
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aigenflow.core.errors import AigenflowError

if TYPE_CHECKING:
    from pathlib import Path

    from aigenflow.core.config import Settings

_T = TypeVar("_T")
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class TerminatedError(BaseException):
    """The process was asked to end (SIGTERM, SIGHUP)."""


def printable(text: str) -> str:
    """``text`` without what could drive a terminal; line breaks and tabs stay."""
    return _CONTROL.sub("", text)


def read_settings(
    *,
    output_dir: Path | None = None,
    trusted_hosts: tuple[str, ...] = (),
    no_cache: bool = False,
) -> tuple[Settings, Path]:
    """The settings in force, with a command's flags on top, and the home directory."""
    from pathlib import Path

    from aigenflow.core.config import home_directory, load_settings

    home = home_directory()
    settings = load_settings(home, Path.cwd())
    flags: dict[str, Any] = {}
    if output_dir is not None:
        flags["output_dir"] = output_dir
    if no_cache:
        flags["features"] = {"caching_enabled": False}
    if trusted_hosts:
        known = settings.network.trusted_hosts
        flags["network"] = {"trusted_hosts": (*known, *trusted_hosts)}
    return (load_settings(home, Path.cwd(), flags) if flags else settings), home


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """Run ``work`` to its end; Ctrl-C, SIGTERM and SIGHUP stop it cleanly.

    A second Ctrl-C does not wait. Raises ``KeyboardInterrupt`` or :class:`TerminatedError`.
    """
    import asyncio  # here, because --help needs none

    terminated = False

    async def watched() -> _T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if terminated:
            raise TerminatedError from None
        raise


def ask_leave(question: str) -> None:
    """Go on only after a yes. Without a terminal there is nobody to ask, and so no leave.

    Raises ``click.UsageError`` or ``click.Abort``.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(_("There is no terminal to ask on; give --yes."))
    click.confirm(question, abort=True)


def report_error(error: AigenflowError, *, as_json: bool) -> None:
    """One clear error: what happened, with what, what to try next."""
    if as_json:
        kind = type(error).__name__
        details = {"error": kind, "message": error.message, "hint": error.hint}
        click.echo(json.dumps(details, ensure_ascii=False))
        return
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    click.echo(printable(_("Error: {message}").format(message=error.message) + notes), err=True)
    if error.hint:
        click.echo(printable(_("Try: {hint}").format(hint=error.hint)), err=True)


def report_bug(error: Exception) -> None:
    """Say that this is ours to mend, and how to see more."""
    problem = printable(f"{type(error).__name__}: {error}")[:500]
    click.echo(_("This is a bug in aigenflow: {problem}").format(problem=problem), err=True)
    click.echo(_("Try: run the same command with --debug and report the traceback."), err=True)
