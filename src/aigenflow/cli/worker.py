"""``aigenflow worker``: one of many that write a fleet's documents."""

from __future__ import annotations

import contextlib
import json
import os
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from aigenflow.cli import options
from aigenflow.cli.console import printable, run_async
from aigenflow.cli.fleet import (
    Fleet,
    clearing_up,
    database_option,
    opened_fleet,
    status_words,
    tell_of_others,
)
from aigenflow.core.errors import AigenflowError, ConfigError, SessionInUseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aigenflow.engine.fleet import WorkerOptions
    from aigenflow.engine.fleet_models import FleetStatus


@click.command(
    "worker",
    help=_(
        "Write the sessions of a fleet until stopped. Start any number, on any machines. On "
        "SIGTERM it hands back what it cannot finish within seconds."
    ),
)
@database_option()
@click.option(
    "--sessions",
    type=click.IntRange(min=1),
    help=_("Documents at the same time. Default: the setting fleet.sessions_per_worker."),
)
@click.option(
    "--shared-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help=_("Folder into which each finished session is written, as `fleet fetch` would."),
)
@options.quiet()
@options.allow_unpriced()
def command(
    database: str | None,
    sessions: int | None,
    shared_dir: Path | None,
    quiet: bool,
    allow_unpriced: bool,
) -> None:
    with opened_fleet(database) as fleet:
        run_async(
            _work(
                fleet,
                worker_options(fleet, sessions),
                shared_dir,
                quiet=quiet,
                allow_unpriced=allow_unpriced,
            )
        )


def worker_options(fleet: Fleet, sessions: int | None) -> WorkerOptions:
    """How a worker of this process works."""
    from dataclasses import asdict

    from aigenflow.engine.fleet import WorkerOptions
    from aigenflow.monitoring.owners import current_owner
    from aigenflow.pipeline.orchestrator import PHASES

    settings = fleet.settings.fleet
    return WorkerOptions(
        url=fleet.url,
        version=fleet.control.version,
        steps=[f"phase{phase.number}.{task.name}" for phase in PHASES for task in phase.tasks],
        owner=json.dumps(asdict(current_owner())),
        sessions=sessions or settings.sessions_per_worker,
        fleet_sessions=settings.sessions,
        poll_s=settings.poll_seconds,
        dead_after_s=settings.dead_after_seconds,
    )


async def _work(
    fleet: Fleet,
    how: WorkerOptions,
    shared_dir: Path | None,
    *,
    quiet: bool,
    allow_unpriced: bool,
) -> None:
    from aigenflow.app import App
    from aigenflow.cli.progress import SilentProgress
    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.fleet import FleetWorkerProcess, new_worker_id
    from aigenflow.gateway.limits import Limits
    from aigenflow.gateway.shared_limits import SharedLimiter

    name, clock = new_worker_id(), SystemClock()

    def open_limiter(place: str, limits: Limits, longest_pause_s: float) -> SharedLimiter:
        return SharedLimiter(
            fleet.database,
            place,
            limits,
            worker=name,
            clock=clock,
            longest_pause_s=longest_pause_s,
        )

    async with App(
        fleet.settings,
        home=fleet.home,
        allow_unpriced=allow_unpriced,
        on_event=SilentProgress(),
        open_limiter=open_limiter,
    ) as app:
        if app.cache is None and fleet.settings.features.caching_enabled:
            raise ConfigError(
                _("The fleet's cache cannot be opened; without it, answers are paid twice."),
                hint=_("Start the worker again, or switch caching off for the whole fleet."),
            )
        worker = FleetWorkerProcess(
            name,
            how,
            fleet.control,
            app.write_with,
            on_death=clearing_up(fleet),
            on_lost=_end_at_once,
            on_session=_silent if quiet else _tell,
            on_finished=_sharing(fleet, shared_dir) if shared_dir else None,
        )
        if not quiet:
            _greet(fleet, name)
        await worker.run()


def _end_at_once() -> NoReturn:
    """End as if killed: nothing else ends every call in time, whatever the process is doing."""
    error = SessionInUseError(
        _("This worker was silent for so long that others take its sessions over."),
        hint=_("Start it again. Was the machine overloaded or asleep, or the database away?"),
    )
    with contextlib.suppress(OSError):
        os.write(2, f"{printable(error.message)} {printable(error.hint)}\n".encode())
    os._exit(error.exit_code)


def _greet(fleet: Fleet, worker: str) -> None:
    version = fleet.control.version
    click.echo(_("Worker {worker}, version {version}.").format(worker=worker, version=version))
    unserved = fleet.control.overview().unserved
    tell_of_others({other: count for other, count in unserved.items() if other != version})


def _sharing(fleet: Fleet, folder: Path) -> Callable[[str], Awaitable[None]]:
    """Writes a finished session into the shared folder."""
    import asyncio

    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.local import LocalEngine

    engine = LocalEngine(folder, SystemClock())

    def write(session: str) -> None:
        asyncio.run(fleet.control.fetch(session, engine))

    async def share(session: str) -> None:
        try:
            await asyncio.to_thread(write, session)
        except AigenflowError as error:  # it is finished all the same, and can be fetched
            click.echo(printable(f"{session}: {error.message} {error.hint}"), err=True)

    return share


def _tell(session: str, status: FleetStatus, message: str) -> None:
    click.echo(printable(f"{session}: {status_words()[status]} {message}".rstrip()))


def _silent(session: str, status: FleetStatus, message: str) -> None:
    """Told to nobody."""
