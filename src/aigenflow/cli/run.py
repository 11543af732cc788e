"""``aigenflow run``: from a topic to a document."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import read_settings

if TYPE_CHECKING:
    from aigenflow.app import Assignment

RD_TEMPLATES = frozenset({"rd", "sbir", "horizon"})


@click.command(
    "run", help=_("Write a document on a topic, from the first idea to the reviewed text.")
)
@click.option("--topic", required=True, help=_("What the document is about."))
@click.option(
    "--type",
    "document_type",
    type=click.Choice(["bizplan", "rd"]),
    help=_("Business plan or R&D proposal. Default: what the template is for, else bizplan."),
)
@click.option(
    "--template",
    default="default",
    show_default=True,
    help=_("Outline to follow: default, startup, strategy, rd, or one of your own."),
)
@click.option(
    "--lang",
    type=click.Choice(["ko", "en"]),
    help=_("Language of the document. Default: that of the topic."),
)
@click.option(
    "--brief",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("File with what you know already (Markdown or YAML): market, price, team, budget."),
)
@click.option(
    "--from-phase",
    type=click.IntRange(1, 5),
    default=1,
    help=_("Start at this phase, with the earlier results of a session on the same topic."),
)
@click.option(
    "--session",
    "parent",
    default="",
    help=_("Session to take those results from. Default: the newest on the topic."),
)
@options.output_dir()
@options.quiet()
@options.as_json()
@options.caching()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    topic: str,
    document_type: str | None,
    template: str,
    lang: str | None,
    brief: Path | None,
    from_phase: int,
    parent: str,
    output_dir: Path | None,
    quiet: bool,
    as_json: bool,
    no_cache: bool,
    refresh: bool,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> None:
    from aigenflow.cli.writing import write_session

    settings, home = read_settings(
        output_dir=output_dir, trusted_hosts=trusted_hosts, no_cache=no_cache
    )
    assignment = _assignment(topic, document_type, template, lang, brief)
    write_session(
        settings,
        home,
        lambda app: (
            app.branch(assignment, from_phase, parent) if from_phase > 1 else app.start(assignment)
        ),
        refresh=refresh,
        allow_unpriced=allow_unpriced,
        quiet=quiet,
        as_json=as_json,
    )


def _assignment(
    topic: str, document_type: str | None, template: str, lang: str | None, brief: Path | None
) -> Assignment:
    from aigenflow.app import Assignment
    from aigenflow.core.models import DocumentType, Language
    from aigenflow.templates.brief import read_brief

    kind = document_type or ("rd" if template in RD_TEMPLATES else "bizplan")
    return Assignment(
        topic=topic,
        document_type=DocumentType(kind),
        template="rd" if kind == "rd" and template == "default" else template,
        language=Language(lang or ("ko" if _has_hangul(topic) else "en")),
        brief=read_brief(brief.read_bytes(), brief.name) if brief else "",
    )


def _has_hangul(text: str) -> bool:
    return any("가" <= character <= "힣" for character in text)
