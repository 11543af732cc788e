"""``aigenflow submit``: hand topics to a fleet."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text
from aigenflow.cli.fleet import Fleet, database_option, opened_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aigenflow.engine.models import SessionSpec
    from aigenflow.pipeline.assignment import Assignment


@click.command("submit", help=_("Hand topics to a fleet of workers; they are written there."))
@click.option(
    "--topics",
    "topics_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("File with the topics (lines, CSV or YAML)."),
)
@click.option(
    "--type", "document_type", type=click.Choice(["bizplan", "rd"]), help=_("As in `run`.")
)
@click.option("--template", default="default", show_default=True, help=_("As in `run`."))
@click.option("--lang", type=click.Choice(["ko", "en"]), help=_("As in `run`."))
@click.option(
    "--brief",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("As in `run`, for every topic that has none of its own."),
)
@database_option()
@options.as_json()
def command(
    topics_file: Path,
    document_type: str | None,
    template: str,
    lang: str | None,
    brief: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    from aigenflow.cli.topics import read_topics

    defaults = {
        "document_type": document_type,
        "template": template,
        "lang": lang,
        "brief": brief,
    }
    with opened_fleet(database) as fleet:
        assignments = read_topics(topics_file, defaults, fleet.home / "templates")
        specs = _specify(fleet, assignments)
        fleet.control.submit(specs)
        if as_json:
            click.echo(json_text([spec.session for spec in specs]))
            return
        click.echo(
            _("Submitted: {count}, for workers of version {version}.").format(
                count=len(specs), version=fleet.control.version
            )
        )


def _specify(fleet: Fleet, assignments: Sequence[Assignment]) -> list[SessionSpec]:
    """The sessions, with names that count up: they stay in order, and no two are equal."""
    import asyncio

    from aigenflow.app import App

    async def specify() -> list[SessionSpec]:
        async with App(fleet.settings, home=fleet.home) as app:
            first = app.engine.new_id()
            return [
                app.specify(assignment).model_copy(update={"session": f"{first}-{number:06}"})
                for number, assignment in enumerate(assignments, start=1)
            ]

    return asyncio.run(specify())
