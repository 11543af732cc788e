"""``aigenflow status``: where sessions stand."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings
from aigenflow.cli.figures import draw
from aigenflow.core import words

if TYPE_CHECKING:
    from aigenflow.engine.local import LocalEngine
    from aigenflow.engine.models import DamagedSession, SessionState, Survey


@click.command("status", help=_("List the sessions, or show one."))
@click.argument("session", required=False)
@options.output_dir()
@options.as_json()
def command(session: str | None, output_dir: Path | None, as_json: bool) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.local import LocalEngine

    settings, _home = read_settings(output_dir=output_dir)
    engine = LocalEngine(settings.output_dir, SystemClock())
    if session is not None:
        _show_one(engine, session, as_json=as_json)
        return
    survey = engine.survey()
    if as_json:
        listed = [*map(_summary, survey.readable), *map(_damaged_summary, survey.damaged)]
        click.echo(json_text(listed))
    elif not survey.readable and not survey.damaged:
        click.echo(_("No sessions in {folder}.").format(folder=settings.output_dir))
    else:
        _print_table(survey)


def _summary(state: SessionState) -> dict[str, object]:
    spec = state.spec
    return {
        "session": spec.session,
        "status": state.status.value,
        "phase": state.current_phase,
        "completed_phases": state.completed_phases,
        "topic": spec.topic,
        "document_type": spec.document_type.value,
        "template": spec.template,
        "language": spec.language.value,
        "created": spec.created.isoformat(),
        "updated": state.updated.isoformat(),
        "message": state.message,
    }


def _damaged_summary(damaged: DamagedSession) -> dict[str, object]:
    unknown = ("phase", "completed_phases", "topic", "document_type", "template", "language")
    return {
        "session": damaged.session,
        "status": "damaged",
        **dict.fromkeys((*unknown, "created", "updated")),
        "message": damaged.message,
    }


def _print_table(survey: Survey) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for title in (_("Session"), _("Status"), _("Phases")):
        table.add_column(title, no_wrap=True)
    table.add_column(_("Topic"), overflow="fold")
    for state in survey.readable:
        done = f"{len(state.completed_phases)}/5"
        topic = printable(" ".join(state.spec.topic.split()))[:80]
        table.add_row(state.spec.session, words.status(state.status.value), done, topic)
    for damaged in survey.damaged:
        table.add_row(damaged.session, words.status("damaged"), "", "")
    draw(table)
    for damaged in survey.damaged:
        click.echo(printable(f"{damaged.message} {damaged.hint}"), err=True)


def _show_one(engine: LocalEngine, session: str, *, as_json: bool) -> None:
    state = engine.read(session)
    records = engine.results(session)
    if as_json:
        tasks = [
            {
                "phase": record.phase,
                "task": record.task,
                "played_by": record.actor.value,
                "model": record.response.model,
                "tokens": record.response.tokens_used,
                "finished": record.finished.isoformat(),
            }
            for record in records
        ]
        click.echo(json_text({**_summary(state), "tasks": tasks}))
        return
    click.echo(printable(f"{session}: {words.status(state.status.value)}\n  {state.spec.topic}"))
    for record in records:
        click.echo(
            _("  phase {phase} {task}: {who} ({model}), {count} tokens").format(
                phase=record.phase,
                task=record.task,
                who=record.actor,
                model=record.response.model,
                count=record.response.tokens_used,
            )
        )
    if state.message:
        click.echo(printable(state.message), err=True)
    click.echo(_("Folder: {path}").format(path=engine.folder(session)))
