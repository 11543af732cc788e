"""``aigenflow budget`` through the command line, over a ledger filled by the tracker."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core.config import load_settings
from aigenflow.core.models import TokenUsage
from aigenflow.monitoring.models import Dimension, Estimate, Owner, Purpose, Reservation
from aigenflow.monitoring.opening import open_tracker
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing.clock import ManualClock
from tests.support.commands import NOON, Run, squeezed

HERE = socket.gethostname()
DEAD = Owner(host=HERE, pid=os.getpid(), started="another boot")


@pytest.fixture
def tracker(aigenflow: Run, own_home: Path, clock: ManualClock) -> Iterator[TokenTracker]:
    """The ledger that the commands read."""
    opened = open_tracker(load_settings(own_home), own_home, clock)
    yield opened
    opened.close()


def hold(tracker: TokenTracker, worst: str | None, owner: Owner | None = None) -> Reservation:
    """Reserve for a call, as the process ``owner``."""
    if owner is not None:
        tracker._owner = owner
    estimate = Estimate(
        bytes_sent=1,
        input_tokens=1,
        output_tokens=1,
        expected=None,
        worst=None if worst is None else Decimal(worst),
    )
    purpose = Purpose(
        provider="claude", model="claude-opus-5-5", session="s1", phase=4, task="main"
    )
    return tracker.reserve(estimate, purpose, allow_unpriced=True)


def spend(tracker: TokenTracker, cost: str) -> None:
    tracker.track(
        TokenUsage(
            provider="claude",
            input_tokens=1,
            output_tokens=1,
            phase=4,
            session="s1",
            billed_cost=Decimal(cost),
            when=NOON,
        )
    )


def as_json(aigenflow: Run, *arguments: str) -> Any:
    done = aigenflow("budget", *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def lost(tracker: TokenTracker) -> Any:
    """The ledger's sum of what was lost."""
    return next(row for row in tracker.totals(Dimension.WASTE) if row.key == "lost")


# show


def test_without_budgets_it_says_how_to_set_one(aigenflow: Run, own_home: Path):
    """And it makes no ledger."""
    done = aigenflow("budget", "show")
    assert done.code == 0
    assert "aigenflow config set daily_usd 5" in done.out
    assert as_json(aigenflow, "show")["budgets"] == []
    assert not own_home.exists()


def test_every_budget_shows_what_is_left_of_it(
    aigenflow: Run, tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch
):
    """Limit, spent, reserved and left add up; each window says when it ends, and where."""
    monkeypatch.setenv("AIGENFLOW_BUDGET__TIMEZONE", "Asia/Seoul")
    monkeypatch.setenv("AIGENFLOW_BUDGET__DAILY_USD", "0.1")
    monkeypatch.setenv("AIGENFLOW_BUDGET__WEEKLY_USD", "2")
    monkeypatch.setenv("AIGENFLOW_BUDGET__MONTHLY_USD", "8")
    spend(tracker, "0.05")
    hold(tracker, "0.02")
    text = squeezed(aigenflow("budget", "show").out)
    assert "Daily 2026-11-19 $0.1000 $0.0500 50.0 % $0.0200 $0.0300 2026-11-20 00:00" in text
    assert "Weekly 2026-W47 $2.0000 $0.0500 2.5 % $0.0200 $1.9300 2026-11-23 00:00" in text
    assert "Monthly 2026-11 $8.0000 $0.0500 0.6 % $0.0200 $7.9300 2026-12-01 00:00" in text
    assert "Days begin at midnight in Asia/Seoul." in text
    [day, _week, _month] = as_json(aigenflow, "show")["budgets"]
    assert day["resets"] == "2026-11-20T00:00:00+09:00"
    assert Decimal(day["left_usd"]) == Decimal("0.03")


def test_a_sessions_budgets_are_shown_when_it_is_named(
    aigenflow: Run, tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch
):
    """The session's own, each limited phase's, and the rules for all sessions."""
    monkeypatch.setenv("AIGENFLOW_BUDGET__SESSION_USD", "1")
    monkeypatch.setenv("AIGENFLOW_BUDGET__PHASE_USD", '{"4": 0.5, "2": 0.25}')
    monkeypatch.setenv("AIGENFLOW_BUDGET__RING_FENCE_PERCENT", "40")
    monkeypatch.setenv("AIGENFLOW_BUDGET__ON_EXCEED", "warn")
    spend(tracker, "0.1")
    text = squeezed(aigenflow("budget", "show", "--session", "s1").out)
    assert "Session s1 $1.0000 $0.1000 10.0 % $0.0000 $0.9000 -" in text
    assert "Phase s1/phase 2 $0.2500 $0.0000 0.0 % $0.0000 $0.2500 -" in text
    assert "Phase s1/phase 4 $0.5000 $0.1000 20.0 % $0.0000 $0.4000 -" in text
    rules = squeezed(aigenflow("budget", "show").out)
    assert "Every session may cost $1.0000." in rules
    assert "Phase 2 of a session may cost $0.2500." in rules
    assert "40.0 % of every budget is kept for writing and review." in rules
    assert "is made all the same, with a warning" in rules
    assert as_json(aigenflow, "show")["phase_usd"] == {"4": "0.5", "2": "0.25"}


# reservations


def test_open_reservations_say_who_answers_for_them(
    aigenflow: Run, tracker: TokenTracker, clock: ManualClock
):
    """Amount, purpose, process, host, age, and whether that process is still there."""
    alive = hold(tracker, "0.01")
    dead = hold(tracker, "0.02", DEAD)
    away = hold(tracker, "0.03", Owner(host="elsewhere", pid=7, started="x"))
    job = hold(tracker, None, DEAD)
    tracker.hand_over(job, "batch_42")
    clock.advance(7_200)
    listed = {one["id"]: one for one in as_json(aigenflow, "reservations")}
    assert [listed[one.id]["state"] for one in (alive, dead, away, job)] == [
        "active",
        "orphaned",
        "elsewhere",
        "job",
    ]
    assert listed[dead.id]["age_seconds"] == 7_200
    assert listed[dead.id]["amount_usd"] == "0.020000000"
    assert listed[job.id]["amount_usd"] is None
    text = squeezed(aigenflow("budget", "reservations").out)
    assert f"{dead.id} $0.0200 orphaned" in text
    assert "claude (claude-opus-5-5), task 4.main, session s1" in text
    assert f"process {os.getpid()} on {HERE}, 2h ago" in text
    assert f"{job.id} unknown price waiting for a batch job" in text
    assert "batch job batch_42" in text
    assert "budget reconcile ID" in text


def test_nothing_reserved_is_said(aigenflow: Run):
    """An empty list is an answer."""
    assert "No money is set aside." in aigenflow("budget", "reservations").out


# reconcile


def test_reconciling_books_the_worst_case_as_lost(aigenflow: Run, tracker: TokenTracker):
    """The money is set free and written down, marked as an estimate; an id may be shortened."""
    dead = hold(tracker, "0.02", DEAD)
    done = aigenflow("budget", "reconcile", dead.id[:12])
    assert done.code == 0, done.err
    assert "$0.0200 is booked as lost: the worst case" in done.out
    assert tracker.open_reservations() == []
    assert (lost(tracker).billed, lost(tracker).estimated_calls) == (Decimal("0.02"), 1)


def test_reconciling_books_what_was_billed(aigenflow: Run, tracker: TokenTracker):
    """What the provider charged, to the last digit, and not as an estimate."""
    dead = hold(tracker, "0.02", DEAD)
    done = aigenflow("budget", "reconcile", dead.id, "--billed", "$0.012345678")
    assert "$0.012345678 is booked as lost." in done.out
    assert (lost(tracker).billed, lost(tracker).estimated_calls) == (Decimal("0.012345678"), 0)


@pytest.mark.parametrize("said", [("--release",), ("--billed", "0")])
def test_a_release_books_nothing(aigenflow: Run, tracker: TokenTracker, said: tuple[str, ...]):
    """The user says that nothing was charged."""
    dead = hold(tracker, "0.02", DEAD)
    done = aigenflow("budget", "reconcile", dead.id, *said)
    assert "Released" in done.out
    assert tracker.open_reservations() == []
    assert tracker.totals() == []


def test_an_unknown_price_is_booked_as_unknown(aigenflow: Run, tracker: TokenTracker):
    """Never as zero."""
    dead = hold(tracker, None, DEAD)
    assert "unknown price" in aigenflow("budget", "reconcile", dead.id).out
    assert lost(tracker).unpriced_calls == 1


def test_a_call_under_way_is_left_alone(aigenflow: Run, tracker: TokenTracker):
    """Its process settles it; booking it here as well would drop what it really cost."""
    alive = hold(tracker, "0.02")
    done = aigenflow("budget", "reconcile", alive.id, "--yes")
    assert done.code == 2
    assert "still running" in done.err
    assert len(tracker.open_reservations()) == 1


@pytest.mark.parametrize("where", ["elsewhere", "job"])
def test_what_cannot_be_seen_from_here_needs_a_yes(
    aigenflow: Run, tracker: TokenTracker, where: str
):
    """Another machine or a batch job may still answer for it."""
    owner = Owner(host="elsewhere", pid=7, started="x") if where == "elsewhere" else DEAD
    held = hold(tracker, "0.02", owner)
    if where == "job":
        tracker.hand_over(held, "batch_42")
    refused = aigenflow("budget", "reconcile", held.id)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert len(tracker.open_reservations()) == 1
    assert aigenflow("budget", "reconcile", held.id, "--yes").code == 0
    assert tracker.open_reservations() == []


def test_an_id_must_name_one_reservation(aigenflow: Run, tracker: TokenTracker):
    """None and several are one clear error each."""
    hold(tracker, "0.02", DEAD)
    assert "No reservation zzz is open." in aigenflow("budget", "reconcile", "zzz").err
    assert aigenflow("budget", "reconcile", "").code == 2
    for _n in range(16):  # the seventeenth of sixteen first digits
        hold(tracker, "0.02")
    first_digits = [one.id[0] for one in tracker.open_reservations()]
    twice = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    done = aigenflow("budget", "reconcile", twice)
    assert done.code == 2
    assert "could be any of" in done.err


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "a dollar", "1e99"])
def test_an_amount_is_a_plain_number_of_dollars(aigenflow: Run, amount: str):
    """Wrong ones are refused before the ledger is opened."""
    done = aigenflow("budget", "reconcile", "ab", f"--billed={amount}")
    assert done.code == 2
    assert "is not an amount in dollars" in done.err


def test_billed_and_release_exclude_each_other(aigenflow: Run):
    """They say two things."""
    done = aigenflow("budget", "reconcile", "ab", "--billed", "1", "--release")
    assert done.code == 2
