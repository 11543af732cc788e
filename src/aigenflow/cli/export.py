"""``aigenflow export``: a finished document in other formats."""

from __future__ import annotations

import contextlib
from gettext import gettext as _
from pathlib import Path

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, read_settings


@click.command(
    "export",
    help=_(
        "Bring a finished document into other formats. Nobody is asked and nothing is paid; a "
        "document that you edited is exported as it is now."
    ),
)
@click.argument("session")
@options.formats()
@click.option(
    "--output",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help=_("Folder to write into, over what is there. Default: the session's own, final/."),
)
@options.output_dir()
@options.as_json()
def command(
    session: str,
    formats: tuple[str, ...] | None,
    target: Path | None,
    output_dir: Path | None,
    as_json: bool,
) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.local import LocalEngine
    from aigenflow.pipeline.orchestrator import document_name
    from aigenflow.pipeline.publishing import export_session

    settings, _home = read_settings(output_dir=output_dir)
    engine = LocalEngine(settings.output_dir, SystemClock())
    with contextlib.closing(engine.open(session)) as taken:
        name = document_name(taken.spec)
        done = export_session(taken, name, formats or settings.output_formats, target)
    if as_json:
        click.echo(json_text({"files": list(map(str, done.files)), "edited": done.is_edited}))
        return
    if done.is_edited:
        click.echo(_("Note: {file} was edited; your text is exported.").format(file=name), err=True)
    for path in done.files:
        click.echo(_("Exported: {path}").format(path=path))
