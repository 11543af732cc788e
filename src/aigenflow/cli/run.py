"""``aigenflow run``: from a topic to a document."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options

if TYPE_CHECKING:
    from typing import Unpack

    from aigenflow.cli.writing import Take
    from aigenflow.pipeline.assignment import Assignment


@click.command(
    "run", help=_("Write a document on a topic, from the first idea to the reviewed text.")
)
@click.option("--topic", help=_("What the document is about."))
@click.option(
    "--topics",
    "topics_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("File with many topics (lines, CSV or YAML), written side by side."),
)
@options.document()
@options.writing()
def command(
    topic: str | None,
    topics_file: Path | None,
    document_type: str | None,
    template: str,
    lang: str | None,
    brief: Path | None,
    from_phase: int,
    parent: str,
    **how: Unpack[options.Writing],
) -> int:
    options.check_topics(topic, topics_file, from_phase, parent)
    from aigenflow.cli.topics import make_assignment, read_topics
    from aigenflow.cli.writing import read_manner, starting, write_session, write_sessions

    settings, home, manner = read_manner(how)
    if topics_file is not None:
        defaults = options.defaults(document_type, template, lang, brief)
        assignments = read_topics(topics_file, defaults, home / "templates")
        return write_sessions(settings, home, assignments, manner)
    assignment = make_assignment(
        topic or "", document_type, template, lang, brief, templates=home / "templates"
    )
    take = _branch(assignment, from_phase, parent) if from_phase > 1 else starting(assignment)
    write_session(settings, home, take, manner)
    return 0


def _branch(assignment: Assignment, from_phase: int, parent: str) -> Take:
    return lambda app: app.branch(assignment, from_phase, parent)
