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

from aigenflow.core.errors import AigenflowError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from aigenflow.core.config import Settings

_T = TypeVar("_T")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_ESCAPED = {number: f"\\u{number:04x}" for number in range(0x7F, 0xA0)}
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class TerminatedError(BaseException):
    """The process was asked to end (SIGTERM, SIGHUP)."""


def printable(text: str) -> str:
    """``text`` without what could drive a terminal; line breaks and tabs stay."""
    return _CONTROL.sub("", text)


def harmless(cell: str) -> str:
    """``cell`` as :func:`printable` text that no spreadsheet takes for a formula."""
    clean = printable(cell)
    is_formula = any(text.startswith(_FORMULA_STARTS) for text in (cell, clean))
    return f"'{clean}" if is_formula else clean


def json_text(value: object, *, indent: int | None = 2) -> str:
    """``value`` as JSON; every control character in it is an escape."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=indent))


def escaped(text: str) -> str:
    """JSON text with escapes for the control characters that JSON allows: DEL and C1."""
    return text.translate(_ESCAPED)


def read_settings(
    *,
    output_dir: Path | None = None,
    trusted_hosts: tuple[str, ...] = (),
    no_cache: bool = False,
    keeps_books: bool = False,
    formats: tuple[str, ...] | None = None,
) -> tuple[Settings, Path]:
    """The settings in force, with a command's flags on top, and the home directory.

    For a command that ``keeps_books``, that is where it can write. Raises
    :class:`~aigenflow.core.errors.ConfigError`.
    """
    from aigenflow.core.config import check_home, home_directory, load_settings, make_home

    home, project = home_directory(), current_folder()
    check_home(home)
    settings = load_settings(home, project)
    if keeps_books and settings.features.monitoring_enabled:
        make_home(home)
    flags: dict[str, Any] = {}
    if output_dir is not None:
        flags["output_dir"] = output_dir
    if formats is not None:
        flags["output_formats"] = formats
    if no_cache:
        flags["features"] = {"caching_enabled": False}
    if trusted_hosts:
        known = settings.network.trusted_hosts
        flags["network"] = {"trusted_hosts": (*known, *trusted_hosts)}
    return (load_settings(home, project, flags) if flags else settings), home


def current_folder() -> Path:
    """The current folder. Raises :class:`~aigenflow.core.errors.ConfigError`."""
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(
            _("The current folder cannot be used: {problem}").format(problem=error.strerror),
            hint=_("Change to a folder that exists."),
        ) from error


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """Run ``work`` to its end; Ctrl-C, SIGTERM and SIGHUP stop it cleanly, unless ignored.

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
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
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
        click.echo(json_text(details, indent=None))
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
