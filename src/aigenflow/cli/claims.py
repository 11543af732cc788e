"""``aigenflow claims``: what a document claims, and what each claim rests on."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import harmless, json_text, printable, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aigenflow.pipeline.claims import Claim

_SENTENCE_WIDTH = 70


@click.command(
    "claims",
    help=_(
        "List the figures and cited statements of a finished document: who wrote each, what it "
        "rests on, what the audit said, and what its section cost."
    ),
)
@click.argument("session")
@options.output_dir()
@click.option("--section", default="", help=_("Only sections with these words in their heading."))
@options.as_json()
@click.option("--csv", "as_csv", is_flag=True, help=_("Print a table for spreadsheets."))
def command(
    session: str, output_dir: Path | None, section: str, as_json: bool, as_csv: bool
) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.local import LocalEngine
    from aigenflow.pipeline.finished import read_claims

    if as_json and as_csv:
        raise click.UsageError(_("Give --json or --csv, not both."))
    settings, _home = read_settings(output_dir=output_dir)
    claims = [
        claim
        for claim in read_claims(LocalEngine(settings.output_dir, SystemClock()), session)
        if section.casefold() in claim.section.casefold()
    ]
    if as_json:
        click.echo(json_text([_fields(claim) for claim in claims]))
    elif as_csv:
        click.echo(_csv_text(claims), nl=False)
    elif not claims:
        click.echo(_("No figure and no cited statement was found."))
    else:
        _print_sections(claims)


def _fields(claim: Claim) -> dict[str, str | None]:
    """A claim for scripts; ``None`` where nothing is known."""
    from aigenflow.cli.figures import plain

    return {
        "section": claim.section,
        "sentence": claim.sentence,
        "figure": claim.figure or None,
        "agent": claim.agent or None,
        "task": claim.task or None,
        "call": claim.call or None,
        "origin": claim.origin.value,
        "source": claim.source or None,
        "url": claim.url or None,
        "cited": " ".join(claim.cited) or None,
        "verdict": claim.verdict.value,
        "reason": claim.reason or None,
        "section_cost_usd": None if claim.section_cost is None else plain(claim.section_cost),
    }


def _csv_text(claims: Sequence[Claim]) -> str:
    import csv
    from io import StringIO

    table = StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        (
            *(_("Section"), _("Statement"), _("Figure"), _("Agent"), _("Task"), _("Call")),
            *(_("Origin"), _("Source"), _("Address"), _("Cites"), _("Verdict"), _("Reason")),
            _("Cost of the section (USD)"),
        )
    )
    for claim in claims:
        writer.writerow(harmless(value or "") for value in _fields(claim).values())
    return table.getvalue()


def _print_sections(claims: Sequence[Claim]) -> None:
    from itertools import groupby

    from rich.table import Table

    from aigenflow.cli.figures import dollars, draw

    for section, group in groupby(claims, key=lambda claim: claim.section):
        listed = list(group)
        cost = listed[0].section_cost
        amount = _("cost not known") if cost is None else dollars(cost)
        click.echo(f"\n{printable(section) or '—'} ({amount})")
        table = Table(box=None, pad_edge=False, header_style="")
        for title in (_("Figure"), _("Source"), _("Verdict"), _("Written by"), _("Call")):
            table.add_column(title, no_wrap=True)
        table.add_column(_("Statement"), overflow="fold")
        for claim in listed:
            table.add_row(*_row(claim))
        draw(table)
    _print_sum(claims)


def _row(claim: Claim) -> tuple[str, ...]:
    agent = f"{claim.agent} {claim.task}" if claim.agent else "—"
    sentence = claim.sentence[:_SENTENCE_WIDTH]
    cells = (claim.figure or "—", _source(claim), _verdict(claim), agent, claim.call or "—")
    return tuple(printable(cell) for cell in (*cells, sentence))


def _source(claim: Claim) -> str:
    words = {
        "brief": _("brief"),
        "evidence": _("source"),
        "model": _("model"),
        "assumption": _("assumption"),
        "unknown": _("NOT KNOWN"),
    }
    word = words[claim.origin.value]
    if not claim.source and claim.cited:
        cited = _("cites {sources}").format(sources=" ".join(claim.cited))
        return f"{word} ({cited})"
    return f"{word}: {claim.source}" if claim.source else word


def _verdict(claim: Claim) -> str:
    words = {
        "supported": _("supported"),
        "unsupported": _("UNSUPPORTED"),
        "unclear": _("unclear"),
        "not audited": _("not audited"),
    }
    return words[claim.verdict.value]


def _print_sum(claims: Sequence[Claim]) -> None:
    from collections import Counter

    origins = Counter(claim.origin.value for claim in claims)
    verdicts = Counter(claim.verdict.value for claim in claims)
    click.echo(
        "\n"
        + _(
            "{count} claims: {brief} from the brief, {evidence} from sources, {model} from the "
            "model, {assumption} assumptions, {unknown} of unknown origin."
        ).format(
            count=len(claims),
            **{name: origins[name] for name in ("brief", "evidence", "model")},
            **{name: origins[name] for name in ("assumption", "unknown")},
        )
    )
    click.echo(
        _(
            "Audit: {supported} supported, {unsupported} unsupported, {unclear} unclear, "
            "{silent} not audited."
        ).format(
            supported=verdicts["supported"],
            unsupported=verdicts["unsupported"],
            unclear=verdicts["unclear"],
            silent=verdicts["not audited"],
        )
    )
