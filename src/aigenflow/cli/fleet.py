"""``aigenflow fleet``: many documents on many machines, seen and steered from anywhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings
from aigenflow.cli.figures import dollars, draw, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aigenflow.core.config import Settings
    from aigenflow.core.db import PostgresDatabase
    from aigenflow.engine.fleet_control import FleetControl, OnDeath
    from aigenflow.engine.fleet_models import FleetSession, FleetStatus, FleetWorker, Overview
    from aigenflow.monitoring.models import Account

WATCH_S = 1.0
"""How often the live view looks again, in seconds."""

LISTED = 20
"""How many sessions are shown where nobody says."""


# What the commands of a fleet share


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet, opened. Cache and ledger of ``settings`` are the fleet's own."""

    url: str
    settings: Settings
    home: Path
    database: PostgresDatabase
    control: FleetControl


def database_option() -> options.Decorator[Any]:
    """``--database``: where the fleet is."""
    return click.option(
        "--database",
        metavar="URL",
        help=_("PostgreSQL database of the fleet. Default: the setting fleet.database_url."),
    )


@contextlib.contextmanager
def opened_fleet(database_url: str | None, output_dir: Path | None = None) -> Iterator[Fleet]:
    """The fleet that the options and settings name, its tables made where there are none.

    Raises :class:`~aigenflow.core.errors.ConfigError`, also where the database goes away later.
    """
    from aigenflow.engine.fleet_control import (
        FleetControl,
        open_fleet_database,
        prepare,
        reaching_database,
    )
    from aigenflow.gateway import shared_limits

    settings, home = read_settings(output_dir=output_dir, keeps_books=True)
    url = database_url or settings.fleet.database_url
    with reaching_database(), contextlib.ExitStack() as stack:
        database = open_fleet_database(url)
        stack.callback(database.close)
        store = prepare(url, database)
        shared_limits.prepare(database)
        control = FleetControl(url, store, settings.fleet.version or _package_version())
        stack.callback(control.close)
        yield Fleet(
            url=url,
            settings=with_shared_stores(settings, url),
            home=home,
            database=database,
            control=control,
        )


def with_shared_stores(settings: Settings, url: str) -> Settings:
    """``settings`` with cache and ledger in the fleet's database, unless they are elsewhere."""
    changed: dict[str, object] = {}
    if settings.cache.url == "file:":
        changed["cache"] = settings.cache.model_copy(update={"url": url})
    if settings.ledger.url == "sqlite:":
        changed["ledger"] = settings.ledger.model_copy(update={"url": url})
    return settings.model_copy(update=changed)


def clearing_up(fleet: Fleet) -> OnDeath:
    """Frees a dead worker's slots, and books as lost what it had reserved."""
    import json

    from aigenflow.core.clock import SystemClock
    from aigenflow.gateway.shared_limits import free_slots
    from aigenflow.monitoring.models import Owner
    from aigenflow.monitoring.opening import looking_at_tracker

    def clear_up(worker: FleetWorker) -> None:
        free_slots(fleet.database, worker.id)
        if fleet.settings.features.monitoring_enabled:
            with looking_at_tracker(fleet.settings, fleet.home, SystemClock()) as tracker:
                tracker.write_off(Owner(**json.loads(worker.owner)))

    return clear_up


def _package_version() -> str:
    from importlib.metadata import version

    return version("aigenflow")


# The commands


@click.group("fleet", help=_("See and steer the sessions of many workers."))
def command() -> None:
    """See the subcommands."""


@command.command("status", help=_("How many sessions stand where, who works, what was spent."))
@database_option()
@options.as_json()
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LISTED,
    show_default=True,
    help=_("Sessions to list: running ones first, then stopped ones, the newest first."),
)
@click.option("--watch", is_flag=True, help=_("Look again every second, until Ctrl-C."))
def status(database: str | None, as_json: bool, limit: int, watch: bool) -> None:
    with opened_fleet(database) as fleet, _books(fleet) as books:
        if as_json:
            click.echo(json_text(_plain(fleet, books, limit)))
        elif watch:
            _watch(fleet, books, limit)
        else:
            draw(_view(fleet, books, limit))


@command.command("cancel", help=_("Let nobody go on with these sessions. Calls under way end."))
@click.argument("sessions", nargs=-1)
@click.option("--all", "everything", is_flag=True, help=_("All that are not finished."))
@database_option()
def cancel(sessions: tuple[str, ...], everything: bool, database: str | None) -> None:
    from aigenflow.engine.fleet_models import FleetStatus

    unfinished = (FleetStatus.WAITING, FleetStatus.RUNNING, FleetStatus.STOPPED)
    with opened_fleet(database) as fleet:
        cancelled = fleet.control.cancel(_chosen(fleet, sessions, everything, unfinished))
    click.echo(_("Cancelled: {count}").format(count=len(cancelled)))


@command.command("resume", help=_("Let stopped and cancelled sessions wait for a worker again."))
@click.argument("sessions", nargs=-1)
@click.option("--all", "everything", is_flag=True, help=_("All that stopped or were cancelled."))
@database_option()
def resume(sessions: tuple[str, ...], everything: bool, database: str | None) -> None:
    from aigenflow.engine.fleet_models import FleetStatus

    ended = (FleetStatus.STOPPED, FleetStatus.CANCELLED)
    with opened_fleet(database) as fleet:
        if everything:
            tell_of_others(_ended_elsewhere(fleet, ended))
        resumed = fleet.control.resume(
            _chosen(fleet, sessions, everything, ended, fleet.control.version)
        )
    click.echo(_("Waiting again: {count}").format(count=len(resumed)))


@command.command(
    "recover",
    help=_(
        "Take the sessions of dead workers from them, and queue what was lost on its way. Workers "
        "do the first by themselves; this is for a fleet that has none left."
    ),
)
@database_option()
def recover(database: str | None) -> None:
    with opened_fleet(database) as fleet:
        silent_s = fleet.settings.fleet.dead_after_seconds
        workers, queued = fleet.control.recover(silent_s, clearing_up(fleet))
    click.echo(
        _("Dead workers cleared up: {workers}. Sessions queued anew: {sessions}.").format(
            workers=workers, sessions=queued
        )
    )


@command.command("fetch", help=_("Write sessions into folders, as one machine would have."))
@click.argument("sessions", nargs=-1)
@click.option("--all", "everything", is_flag=True, help=_("All that are finished."))
@options.output_dir()
@database_option()
def fetch(
    sessions: tuple[str, ...], everything: bool, output_dir: Path | None, database: str | None
) -> None:
    import asyncio

    from aigenflow.core.clock import SystemClock
    from aigenflow.engine.fleet_models import FleetStatus
    from aigenflow.engine.local import LocalEngine

    with opened_fleet(database, output_dir) as fleet:
        engine = LocalEngine(fleet.settings.output_dir, SystemClock())
        for name in _chosen(fleet, sessions, everything, (FleetStatus.COMPLETED,)):
            folder = asyncio.run(fleet.control.fetch(name, engine))
            click.echo(printable(str(folder)))


def tell_of_others(counts: Mapping[str, int]) -> None:
    """Say how many sessions of other versions there are, and that nothing is done with them."""
    for other, count in counts.items():
        click.echo(
            _(
                "{count} sessions belong to version {other} and are left to workers of that "
                "version."
            ).format(count=count, other=other)
        )


def _ended_elsewhere(fleet: Fleet, statuses: Sequence[FleetStatus]) -> dict[str, int]:
    """How many sessions of ``statuses`` each other version has."""
    found: dict[str, int] = {}
    for (version, status), count in fleet.control.overview().counts.items():
        if status in statuses and version != fleet.control.version:
            found[version] = found.get(version, 0) + count
    return found


def _chosen(
    fleet: Fleet,
    named: Sequence[str],
    everything: bool,
    statuses: Sequence[FleetStatus],
    version: str | None = None,
) -> list[str]:
    """The sessions named, which must be there, or all of ``statuses`` (of ``version``)."""
    if everything == bool(named):
        raise click.UsageError(_("Name sessions, or give --all."))
    if named:
        return [fleet.control.session(name).spec.session for name in named]
    return [
        each.spec.session
        for each in fleet.control.store.sessions()
        if each.status in statuses and version in (None, each.version)
    ]


# What is shown


class _Books:
    """What was spent so far, and the budgets; nothing where monitoring is off."""

    def __init__(self, fleet: Fleet) -> None:
        from aigenflow.core.clock import SystemClock
        from aigenflow.monitoring.opening import open_tracker

        self._tracker = (
            open_tracker(fleet.settings, fleet.home, SystemClock())
            if fleet.settings.features.monitoring_enabled
            else None
        )

    def spent(self) -> Decimal | None:
        """All that the ledger has, in dollars."""
        if self._tracker is None:
            return None
        return sum((row.billed for row in self._tracker.totals()), start=Decimal(0))

    def accounts(self) -> tuple[Account, ...]:
        """The budgets of today."""
        return self._tracker.accounts() if self._tracker else ()

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()


@contextlib.contextmanager
def _books(fleet: Fleet) -> Iterator[_Books]:
    books = _Books(fleet)
    try:
        yield books
    finally:
        books.close()


def _plain(fleet: Fleet, books: _Books, limit: int) -> dict[str, object]:
    overview = fleet.control.overview()
    return {
        "version": fleet.control.version,
        "counts": [
            {"version": version, "status": status.value, "sessions": count}
            for (version, status), count in overview.counts.items()
        ],
        "unserved": overview.unserved,
        "workers": [
            {
                "worker": each.id,
                "version": each.version,
                "sessions": each.sessions,
                "silent_seconds": round(each.silent_s, 1),
            }
            for each in overview.workers
        ],
        "spent_usd": None if (spent := books.spent()) is None else plain(spent),
        "budgets": [_plain_account(account) for account in books.accounts()],
        "sessions": [_plain_session(each) for each in fleet.control.store.latest(limit)],
    }


def _plain_account(account: Account) -> dict[str, object]:
    return {
        "budget": account.window.name,
        "limit_usd": plain(account.window.cap),
        "spent_usd": plain(account.spent),
        "reserved_usd": plain(account.reserved),
    }


def _plain_session(session: FleetSession) -> dict[str, object]:
    return {
        "session": session.spec.session,
        "topic": session.spec.topic,
        "version": session.version,
        "status": session.status.value,
        "worker": session.worker or None,
        "phase": session.phase,
        "runs": session.runs,
        "message": session.message,
        "updated": session.updated.isoformat(),
    }


def _watch(fleet: Fleet, books: _Books, limit: int) -> None:
    from rich.live import Live

    with Live(_view(fleet, books, limit), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(WATCH_S)
            live.update(_view(fleet, books, limit), refresh=True)


def _view(fleet: Fleet, books: _Books, limit: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    overview = fleet.control.overview()
    lines = [Text(_headline(overview)), *(Text(line) for line in _money(books))]
    for version, count in overview.unserved.items():
        lines.append(Text(_unserved(version, count)))
    workers = Table(box=None, pad_edge=False, header_style="")
    for title in (_("Worker"), _("Version"), _("Sessions"), _("Heard")):
        workers.add_column(title, no_wrap=True)
    for each in overview.workers:
        heard = _("{seconds:.0f} s ago").format(seconds=each.silent_s)
        workers.add_row(each.id, each.version, str(each.sessions), heard)
    return Group(
        *lines, *([workers] if overview.workers else []), *_unfinished(fleet, overview, limit)
    )


def status_words() -> dict[FleetStatus, str]:
    """What the states of a session are called."""
    from aigenflow.engine.fleet_models import FleetStatus

    return {
        FleetStatus.WAITING: _("waiting"),
        FleetStatus.RUNNING: _("running"),
        FleetStatus.COMPLETED: _("completed"),
        FleetStatus.STOPPED: _("stopped"),
        FleetStatus.CANCELLED: _("cancelled"),
    }


def _headline(overview: Overview) -> str:
    told = _("{count} {what}")
    return ", ".join(
        told.format(count=overview.count(each), what=word) for each, word in status_words().items()
    )


def _money(books: _Books) -> Iterator[str]:
    spent = books.spent()
    if spent is not None:
        yield _("Spent so far: {amount}").format(amount=dollars(spent))
    for account in books.accounts():
        yield _("Budget {name}: {spent} of {limit}, {reserved} reserved").format(
            name=account.window.name,
            spent=dollars(account.spent),
            limit=dollars(account.window.cap),
            reserved=dollars(account.reserved),
        )


def _unserved(version: str, count: int) -> str:
    return _("{count} sessions belong to version {version}, which no worker has.").format(
        count=count, version=version
    )


def _unfinished(fleet: Fleet, overview: Overview, limit: int) -> Iterator[RenderableType]:
    """The sessions under way, and why others stopped; the first of them."""
    from rich.table import Table

    from aigenflow.engine.fleet_models import FleetStatus

    listed = list(fleet.control.store.latest(limit))
    for wanted in (FleetStatus.RUNNING, FleetStatus.STOPPED):
        found = [each for each in listed if each.status is wanted]
        table = Table(box=None, pad_edge=False, header_style="")
        for title in (_("Session"), _("Phase"), _("Runs"), _("Topic"), _("Message")):
            table.add_column(title, no_wrap=True)
        for each in found:
            topic = printable(" ".join(each.spec.topic.split()))[:50]
            message = printable(each.message)[:80]
            table.add_row(each.spec.session, f"{each.phase}/5", str(each.runs), topic, message)
        if found:
            yield table
        if (more := overview.count(wanted) - len(found)) > 0:
            yield _("… and {count} more: {what}").format(count=more, what=status_words()[wanted])
