"""``aigenflow budget``: limits, what is left of them, and money set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import ask_leave, json_text, printable, read_settings
from aigenflow.cli.figures import dollars, draw, plain
from aigenflow.core import words

if TYPE_CHECKING:
    from aigenflow.core.config import Settings
    from aigenflow.monitoring.models import (
        Account,
        BudgetLimits,
        OpenReservation,
        ReservationState,
        Window,
    )
    from aigenflow.monitoring.tracker import TokenTracker


@click.group("budget", help=_("See the budgets and the money set aside from them."))
def command() -> None:
    pass


@contextmanager
def looking() -> Iterator[TokenTracker]:
    """The ledger, for commands that only look at it."""
    from aigenflow.core.clock import SystemClock
    from aigenflow.monitoring.opening import looking_at_tracker

    settings, home = read_settings()
    _warn_if_off(settings)
    with looking_at_tracker(settings, home, SystemClock()) as tracker:
        yield tracker


def _warn_if_off(settings: Settings) -> None:
    if not settings.features.monitoring_enabled:
        click.echo(
            _("Note: monitoring is switched off. Calls are not written down; budgets are off."),
            err=True,
        )


# show


@command.command("show", help=_("Show every budget: its limit, what is spent, reserved and left."))
@click.option("--session", type=options.TEXT, help=_("Also the budgets of this session."))
@options.as_json()
def show(session: str | None, as_json: bool) -> None:
    from aigenflow.monitoring.report import budget_accounts

    with looking() as tracker:
        limits, accounts = tracker.limits, budget_accounts(tracker, session or "")
    if as_json:
        value = {
            **_rules(limits),
            "budgets": [describe(account, limits.zone) for account in accounts],
        }
        click.echo(json_text(value))
        return
    if not accounts and limits.session_usd is None and not limits.phase_usd:
        click.echo(_("No budget is set. Set one like this: aigenflow config set daily_usd 5"))
        return
    if accounts:
        _print_table(accounts, limits.zone)
    for line in _explanations(limits):
        click.echo(line)


def describe(account: Account, zone: tzinfo) -> dict[str, object]:
    """One budget for programs."""
    window, resets = account.window, _resets(account.window, zone)
    return {
        "kind": window.kind.value,
        "window": window.name,
        "limit_usd": plain(window.cap),
        "spent_usd": plain(account.spent),
        "reserved_usd": plain(account.reserved),
        "left_usd": plain(_left(account)),
        "used_percent": plain(account.used_percent),
        "resets": resets.isoformat() if resets else None,
    }


def _rules(limits: BudgetLimits) -> dict[str, object]:
    session = limits.session_usd
    return {
        "time_zone": str(limits.zone),
        "on_exceed": limits.on_exceed.value,
        "thresholds": list(limits.thresholds),
        "ring_fence_percent": plain(limits.ring_fence * 100),
        "session_usd": None if session is None else plain(session),
        "phase_usd": {str(phase): plain(usd) for phase, usd in limits.phase_usd.items()},
    }


def _left(account: Account) -> Decimal:
    return account.window.cap - account.spent - account.reserved


def _resets(window: Window, zone: tzinfo) -> datetime | None:
    """When the next window of its kind begins; a session's never does."""
    if window.last_day is None:
        return None
    return datetime.combine(window.last_day + timedelta(days=1), time(), zone)


def _print_table(accounts: tuple[Account, ...], zone: tzinfo) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for heading in (_("Budget"), _("Window")):
        table.add_column(heading, no_wrap=True)
    for heading in (_("Limit"), _("Spent"), _("Used"), _("Reserved"), _("Left")):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column(_("Resets"), no_wrap=True)
    for account in accounts:
        resets = _resets(account.window, zone)
        table.add_row(
            words.budget(account.window.kind.value),
            printable(account.window.name),
            dollars(account.window.cap),
            dollars(account.spent),
            words.percent(account.used_percent),
            dollars(account.reserved),
            dollars(_left(account)),
            f"{resets:%Y-%m-%d %H:%M}" if resets else "-",
        )
    draw(table)


def _explanations(limits: BudgetLimits) -> Iterator[str]:
    if limits.session_usd is not None:
        yield _("Every session may cost {limit}.").format(limit=dollars(limits.session_usd))
    for phase, limit in sorted(limits.phase_usd.items()):
        yield _("Phase {phase} of a session may cost {limit}.").format(
            phase=phase, limit=dollars(limit)
        )
    if limits.ring_fence:
        yield _("{share} of every budget is kept for writing and review.").format(
            share=words.percent(limits.ring_fence * 100)
        )
    yield (
        _("A call that a budget has no room for is not made.")
        if limits.on_exceed.value == "stop"
        else _("A call that a budget has no room for is made all the same, with a warning.")
    )
    yield _("Days begin at midnight in {zone}.").format(zone=limits.zone)


# reservations


@command.command("reservations", help=_("List money set aside for calls that are not settled."))
@options.as_json()
def reservations(as_json: bool) -> None:
    from aigenflow.core.clock import SystemClock

    with looking() as tracker:
        found = tracker.open_reservations()
    now = SystemClock().now()
    if as_json:
        value = [_plain_reservation(one, now) for one in found]
        click.echo(json_text(value))
        return
    if not found:
        click.echo(_("No money is set aside."))
        return
    for one in found:
        click.echo(printable("\n".join(_lines(one, now))))
    if any(one.state.value == "orphaned" for one in found):
        click.echo(
            _(
                "The process of an orphaned reservation has ended: look up what the provider "
                "charged, then use `aigenflow budget reconcile ID --billed USD`."
            )
        )


def _plain_reservation(one: OpenReservation, now: datetime) -> dict[str, object]:
    purpose = one.purpose
    return {
        "id": one.id,
        "amount_usd": None if one.amount is None else plain(one.amount),
        "made": one.when.isoformat(),
        "age_seconds": int((now - one.when).total_seconds()),
        "state": one.state.value,
        "host": one.owner.host,
        "pid": one.owner.pid,
        "job": purpose.job or None,
        "provider": purpose.provider,
        "model": purpose.model,
        "phase": purpose.phase,
        "task": purpose.task,
        "session": purpose.session or None,
    }


def _lines(one: OpenReservation, now: datetime) -> Iterator[str]:
    purpose = one.purpose
    amount = _("unknown price") if one.amount is None else dollars(one.amount)
    yield f"{one.id}  {amount}  {_state_name(one.state)}"
    yield _("    {provider} ({model}), task {phase}.{task}, session {session}").format(
        provider=purpose.provider,
        model=purpose.model or "-",
        phase=purpose.phase,
        task=purpose.task or "-",
        session=purpose.session or "-",
    )
    owner = _("process {pid} on {host}, {age} ago").format(
        pid=one.owner.pid, host=one.owner.host, age=_age(now - one.when)
    )
    yield f"    {owner}" + (_(", batch job {job}").format(job=purpose.job) if purpose.job else "")


def _state_name(state: ReservationState) -> str:
    return {
        "active": _("under way"),
        "job": _("waiting for a batch job"),
        "elsewhere": _("made on another machine"),
        "orphaned": _("orphaned"),
    }[state.value]


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


# reconcile


class _Dollars(click.ParamType[Decimal]):
    name = "USD"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount < 0 or amount > 1_000_000:
            self.fail(_("{value} is not an amount in dollars.").format(value=value), param, ctx)
        return amount


@command.command(
    "reconcile",
    help=_(
        "Close a reservation whose process has ended. What it may have paid is booked as lost: the "
        "worst case, unless you say what was billed. ID may be shortened."
    ),
)
@click.argument("reservation_id", metavar="ID")
@click.option("--billed", type=_Dollars(), help=_("What the provider charged for it."))
@click.option("--release", is_flag=True, help=_("Nothing was charged."))
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
def reconcile(reservation_id: str, billed: Decimal | None, release: bool, yes: bool) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.monitoring.opening import open_tracker

    if release and billed is not None:
        raise click.UsageError(_("Give either --billed or --release."))
    with looking() as tracker:
        held = _only(tracker.open_reservations(), reservation_id)
    _refuse_if_under_way(held)
    if held.state.value != "orphaned" and not yes:
        ask_leave(
            _("It is not certain that nobody answers for it any more ({state}). Go on?").format(
                state=_state_name(held.state)
            )
        )
    settings, home = read_settings(keeps_books=True)
    writing = open_tracker(settings, home, SystemClock())
    try:
        writing.reconcile(held.id, Decimal(0) if release else billed)
    finally:
        writing.close()
    click.echo(_outcome(held, Decimal(0) if release else billed))


def _only(found: list[OpenReservation], start: str) -> OpenReservation:
    from aigenflow.core.errors import InputError

    matches = [one for one in found if start and one.id.startswith(start)]
    if len(matches) == 1:
        return matches[0]
    text = (
        _("{id} could be any of {count} reservations.")
        if matches
        else _("No reservation {id} is open.")
    )
    raise InputError(
        text.format(id=printable(start), count=len(matches)),
        hint=_("`aigenflow budget reservations` lists them; one may have been settled meanwhile."),
    )


def _refuse_if_under_way(held: OpenReservation) -> None:
    from aigenflow.core.errors import InputError

    if held.state.value == "active":
        raise InputError(
            _("The process {pid} that made this reservation is still running.").format(
                pid=held.owner.pid
            ),
            hint=_("It settles the call itself. Stop it first if it hangs."),
        )


def _outcome(held: OpenReservation, billed: Decimal | None) -> str:
    if billed == 0:
        return _("Released: nothing was charged.")
    amount = held.amount if billed is None else billed
    if amount is None:
        return _("Booked as lost, at an unknown price.")
    if billed is None:
        return _("{amount} is booked as lost: the worst case, marked as an estimate.").format(
            amount=dollars(amount)
        )
    return _("{amount} is booked as lost.").format(amount=dollars(amount))
