"""``aigenflow batch``: the batch jobs at the providers, whichever session they are for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from gettext import gettext as _
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings, run_async
from aigenflow.cli.figures import draw

if TYPE_CHECKING:
    from aigenflow.batch.job_store import Job
    from aigenflow.batch.jobs import JobDesk
    from aigenflow.core.errors import AigenflowError

_T = TypeVar("_T")


@click.group(
    "batch",
    help=_(
        "See and steer the batch jobs at the providers. They go on whether or not anything runs "
        "here; `aigenflow resume` uses what they bring."
    ),
)
def command() -> None:
    pass


@command.command("list", help=_("List the jobs as they were last seen; asks nobody."))
@click.option("--all", "everything", is_flag=True, help=_("Also those that are done."))
@options.as_json()
def list_jobs(everything: bool, as_json: bool) -> None:
    async def look(desk: JobDesk) -> list[tuple[Job, dict[str, Any]]]:
        jobs = desk.all_jobs() if everything else desk.open_jobs()
        return [(job, _value(desk, job)) for job in jobs]

    found = _at_the_desk(look)
    if as_json:
        click.echo(json_text([value for _job, value in found]))
    elif found:
        _print_table([value for _job, value in found])
    else:
        click.echo(_("No batch job is open."))


@command.command("status", help=_("Ask the provider how a job stands; without JOB, all open ones."))
@click.argument("job", required=False)
@options.as_json()
def status(job: str | None, as_json: bool) -> None:
    async def look(desk: JobDesk) -> list[dict[str, Any]]:
        names = [job] if job else [each.tag for each in desk.open_jobs()]
        return [_value(desk, await desk.look(name)) for name in names]

    found = _at_the_desk(look)
    if as_json:
        click.echo(json_text(found[0] if job else found))
    elif found:
        _print_table(found)
    else:
        click.echo(_("No batch job is open."))


@command.command(
    "wait",
    help=_(
        "Wait until jobs are over, collect their results and write down what they cost. Without "
        "JOB, all open ones. Ctrl-C is safe."
    ),
)
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@options.quiet()
@options.as_json()
def wait(jobs: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    import asyncio  # here, because --help needs none

    async def collect(desk: JobDesk) -> list[dict[str, Any]]:
        names = jobs or [each.tag for each in desk.open_jobs()]
        tags = [desk.find(name).tag for name in names]
        ended = await asyncio.gather(*map(desk.wait, tags), return_exceptions=True)
        return [_collected(desk, tag, outcome) for tag, outcome in zip(tags, ended, strict=True)]

    found = _at_the_desk(collect, quiet=quiet or as_json)
    if as_json:
        click.echo(json_text(found))
    elif not found:
        click.echo(_("No batch job is open."))
    for value in () if as_json else found:
        click.echo(printable(_sentence(value)), err=bool(value.get("message")))
    return next((value["exit_code"] for value in found if value["exit_code"]), 0)


@command.command(
    "cancel",
    help=_(
        "Ask the provider to stop a job. What is done by then is paid, and kept: "
        "`aigenflow batch wait` collects it."
    ),
)
@click.argument("job")
@options.as_json()
def cancel(job: str, as_json: bool) -> None:
    async def stop(desk: JobDesk) -> dict[str, Any]:
        return _value(desk, await desk.cancel(job))

    value = _at_the_desk(stop)
    if as_json:
        click.echo(json_text(value))
    else:
        click.echo(
            _(
                "The provider was asked to stop {job}. `aigenflow batch wait {job}` collects it."
            ).format(job=value["job"])
        )


def _at_the_desk(work: Callable[[JobDesk], Awaitable[_T]], *, quiet: bool = True) -> _T:
    """Do ``work`` with the desk open."""
    from aigenflow.app import App
    from aigenflow.cli.progress import open_progress

    settings, home = read_settings(keeps_books=True)

    with open_progress(quiet=quiet, plain=True) as progress:

        async def at_work() -> _T:
            async with App(settings, home=home, on_event=progress) as app:
                return await work(app.jobs)

        return run_async(at_work())


def _value(desk: JobDesk, job: Job) -> dict[str, Any]:
    """One job for programs."""
    endings = desk.endings(job.tag)
    return {
        "job": job.tag,
        "provider": job.route.backend.value,
        "model": job.route.model,
        "provider_ids": list(job.ids),
        "stage": job.stage.value,
        "state": job.state.value if job.state else None,
        "items": job.size,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "endings": {ending.value: count for ending, count in endings.items()},
        "sessions": desk.sessions(job.tag),
        "created": job.created.isoformat(),
        "submitted": job.submitted.isoformat() if job.submitted else None,
        "cancel_asked": job.cancelled.isoformat() if job.cancelled else None,
        "problem": job.problem or None,
    }


def _collected(desk: JobDesk, tag: str, outcome: Job | BaseException | None) -> dict[str, Any]:
    from aigenflow.core.errors import AigenflowError

    if outcome is None:
        return {"job": tag, "stage": None, "exit_code": 0}
    if isinstance(outcome, AigenflowError):
        return {"job": tag, **_problem(outcome)}
    if isinstance(outcome, BaseException):
        raise outcome
    return {**_value(desk, outcome), "exit_code": 0}


def _problem(error: AigenflowError) -> dict[str, Any]:
    return {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}


def _sentence(value: dict[str, Any]) -> str:
    """What became of a job that was waited for."""
    if "message" in value:
        told = _("Error: {job}: {message}").format(job=value["job"], message=value["message"])
        return f"{told}\n{value['hint']}" if value["hint"] else told
    if value["stage"] is None:
        return _("{job}: it never reached its provider, and nothing was billed.").format(
            job=value["job"]
        )
    return _("{job}: {endings}").format(job=value["job"], endings=_in_words(value["endings"]))


def _in_words(endings: dict[str, int]) -> str:
    words: dict[str, str] = {
        "result": _("{count} answered"),
        "error": _("{count} failed"),
        "not_run": _("{count} not run"),
        "open": _("{count} open"),
    }
    return ", ".join(words[name].format(count=count) for name, count in endings.items())


def _print_table(values: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for heading in (_("Job"), _("Provider"), _("State"), _("Done"), _("Since"), _("Sessions")):
        table.add_column(heading, no_wrap=heading == _("Job"))
    for value in values:
        ended = value["endings"]
        seen = max(
            value["succeeded"] + value["failed"], ended.get("result", 0) + ended.get("error", 0)
        )
        done = f"{seen}/{value['items']}"
        cells = [value["job"], value["provider"], _state(value), done]
        cells += [value["created"][:16].replace("T", " "), ", ".join(value["sessions"])]
        table.add_row(*map(printable, cells))
    draw(table)


def _state(value: dict[str, Any]) -> str:
    if value["stage"] == "intended":
        return _("not confirmed")
    if value["stage"] == "closed":
        return _in_words(value["endings"])
    state = _state_words()[value["state"] or value["stage"]]
    return _("{state}, stopping").format(state=state) if value["cancel_asked"] else state


def _state_words() -> dict[str, str]:
    """Where a job stands at its provider, or in our books where the provider has not said."""
    return {
        "submitted": _("waiting"),
        "collected": _("ended"),
        "waiting": _("waiting"),
        "running": _("running"),
        "cancelling": _("being cancelled"),
        "ended": _("ended"),
        "expired": _("expired"),
        "cancelled": _("cancelled"),
        "failed": _("failed"),
    }
