"""``aigenflow resume``: go on where a session stopped."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from aigenflow.cli import options
from aigenflow.cli.console import read_settings


@click.command(
    "resume",
    help=_(
        "Go on with a session. What is finished is not asked or paid again; a phase result that "
        "you edited is used, and what follows from it is done anew."
    ),
)
@click.argument("session")
@click.option(
    "--retry-failed", is_flag=True, help=_("Try again a step that failed in five runs in a row.")
)
@options.processing()
@options.formats()
@options.output_dir()
@options.quiet()
@options.as_json()
@options.caching()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    session: str,
    retry_failed: bool,
    processing: str | None,
    deadline: str | None,
    formats: tuple[str, ...] | None,
    output_dir: Path | None,
    quiet: bool,
    as_json: bool,
    no_cache: bool,
    refresh: bool,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> None:
    from aigenflow.app import App
    from aigenflow.cli.writing import Manner, write_session
    from aigenflow.engine.local import LocalSession

    def take(app: App) -> LocalSession:
        taken = app.engine.open(session)
        if retry_failed:
            taken.forgive()
        return taken

    settings, home = read_settings(
        output_dir=output_dir,
        trusted_hosts=trusted_hosts,
        no_cache=no_cache,
        keeps_books=True,
        formats=formats,
    )
    choice, wanted_by = options.read_processing(processing, deadline, settings)
    manner = Manner(
        refresh=refresh,
        allow_unpriced=allow_unpriced,
        quiet=quiet,
        as_json=as_json,
        processing=choice,
        deadline=wanted_by,
    )
    write_session(settings, home, take, manner)
