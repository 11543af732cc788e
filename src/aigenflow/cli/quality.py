"""``aigenflow quality``: what can be checked about a document without an AI."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings
from aigenflow.core import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aigenflow.quality.models import CheckResult, Finding, QualityReport

EXIT_FAILED = 7
EXIT_NOT_VERIFIED = 8
_FINDINGS_SHOWN = 5


@click.command(
    "quality",
    help=_(
        "Check a document: a session's, or any Markdown file. No AI and no network. Exit code 0 "
        "means that every gate passed, 7 that one failed, 8 that one could not be verified."
    ),
)
@click.argument("target", metavar="FILE|SESSION")
@options.output_dir()
@click.option("--template", default="", help=_("The form that a file follows."))
@click.option(
    "--lang", type=click.Choice(["ko", "en"]), help=_("Language of a file. Default: as it reads.")
)
@options.as_json()
def command(
    target: str, output_dir: Path | None, template: str, lang: str | None, as_json: bool
) -> int:
    from aigenflow.core.clock import SystemClock
    from aigenflow.core.models import Language
    from aigenflow.engine.local import LocalEngine
    from aigenflow.pipeline.finished import assess_file, assess_session

    settings, home = read_settings(output_dir=output_dir)
    path, clock = Path(target), SystemClock()
    if path.is_file() or path.suffix:
        language = Language(lang) if lang else None
        report = assess_file(path, template, language, home / "templates", clock.now().date())
    elif template or lang:
        raise click.UsageError(_("A session has its own template and language."))
    else:
        report = assess_session(LocalEngine(settings.output_dir, clock), target, home / "templates")
    if as_json:
        click.echo(json_text(report.to_json()))
    else:
        _print_report(report)
    return {"pass": 0, "fail": EXIT_FAILED, "not_verified": EXIT_NOT_VERIFIED}[report.verdict.value]


def _print_report(report: QualityReport) -> None:
    from rich.panel import Panel

    from aigenflow.cli.figures import draw

    verdicts = {
        "pass": _("PASS: every gate was checked and passed."),
        "fail": _("FAIL: a gate failed."),
        "not_verified": _("NOT VERIFIED: no gate failed, but some could not be checked."),
    }
    lines = [
        verdicts[report.verdict.value],
        _("Score: {score} of 100").format(score=f"{report.score:g}"),
        "",
        *_scores(report),
    ]
    draw(Panel("\n".join(lines), title=_("Document quality"), expand=False))
    for title, lines in (
        (_("Failed gates:"), [line for each in report.failed_gates for line in _check(each)]),
        (_("Could not be verified:"), [_unverified(each) for each in report.unverified]),
        (_("Other findings:"), list(_others(report))),
    ):
        if lines:
            click.echo()
            click.echo(title)
            click.echo("\n".join(printable(line) for line in lines))


def _scores(report: QualityReport) -> Iterator[str]:
    from aigenflow.quality.models import WEIGHTS

    for group, points in report.scores.items():
        yield _("{group}: {points} of {most}").format(
            group=words.quality_group(group.value), points=f"{points:g}", most=WEIGHTS[group]
        )


def _check(result: CheckResult) -> Iterator[str]:
    yield f"  {result.id} {result.name} ({result.target})"
    for finding in result.findings[:_FINDINGS_SHOWN]:
        yield f"    - {_finding(finding)}"
    more = len(result.findings) - _FINDINGS_SHOWN
    if more > 0:
        yield "    " + _("and {count} more").format(count=more)


def _finding(finding: Finding) -> str:
    quote = f"“{finding.quote}” " if finding.quote else ""
    section = f"{finding.section}: " if finding.section else ""
    text = _("{section}{quote}expected {expected}, found {found}")
    return text.format(section=section, quote=quote, expected=finding.expected, found=finding.found)


def _unverified(result: CheckResult) -> str:
    return f"  {result.id} {result.name}: {result.note}"


def _others(report: QualityReport) -> Iterator[str]:
    for each in report.checks:
        if each.findings and each not in report.failed_gates:
            yield from _check(each)
