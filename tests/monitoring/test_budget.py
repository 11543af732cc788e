"""What counts against which budget, what fits, and what is told."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.core.errors import BudgetExceededError
from aigenflow.core.models import TokenUsage
from aigenflow.monitoring.budget import (
    RingFencedError,
    calendar_day,
    days_of,
    describe_alert,
    dollars,
    due_alerts,
    refusal,
    shortfalls,
    windows,
)
from aigenflow.monitoring.models import (
    Account,
    BudgetKind,
    BudgetLimits,
    Estimate,
    Purpose,
    Reservation,
    Window,
)
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing.clock import ManualClock

SUNDAY = date(2026, 11, 22)
ALL = BudgetLimits(
    daily_usd=Decimal(1),
    weekly_usd=Decimal(2),
    monthly_usd=Decimal(3),
    session_usd=Decimal(4),
    phase_usd={2: Decimal(5)},
)
DAY = windows(BudgetLimits(daily_usd=Decimal(10)), SUNDAY, "", 0)[0]


def account(spent: str, reserved: str = "0", window: Window = DAY) -> Account:
    return Account(window=window, spent=Decimal(spent), reserved=Decimal(reserved))


def test_windows_are_named():
    """Every budget that a call counts against is named so that nobody can mix them up."""
    named = {w.kind.value: w.name for w in windows(ALL, SUNDAY, "s1", 2)}
    assert named == {
        "day": "2026-11-22",
        "week": "2026-W47",
        "month": "2026-11",
        "session": "s1",
        "phase": "s1/phase 2",
    }


def test_windows_count_what_they_are_named_after():
    """Each with its own cap; a session's and a phase's count that session and that phase alone."""
    day, week, month, session, phase = windows(ALL, SUNDAY, "s1", 2)
    assert [w.cap for w in (day, week, month, session, phase)] == [1, 2, 3, 4, 5]
    assert {(w.session, w.phase) for w in (day, week, month)} == {("", None)}
    assert (session.session, session.phase) == ("s1", None)
    assert (phase.session, phase.phase) == ("s1", 2)


def test_limits_that_are_not_set_do_not_count():
    """No limit is no window; a call without a session has no session budget."""
    assert windows(BudgetLimits(), SUNDAY, "s1", 2) == ()
    kinds = {w.kind for w in windows(ALL, SUNDAY, "", 2)}
    assert kinds == {BudgetKind.DAY, BudgetKind.WEEK, BudgetKind.MONTH}
    assert BudgetKind.PHASE not in {w.kind for w in windows(ALL, SUNDAY, "s1", 3)}


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.sampled_from(["day", "week", "month"]))
def test_windows_tile_the_calendar(day: date, kind: str):
    """A window contains its day, its days share its name, and the next window begins after it."""
    first, last = days_of(BudgetKind(kind), day)
    assert first <= day <= last
    assert days_of(BudgetKind(kind), first) == days_of(BudgetKind(kind), last) == (first, last)
    assert days_of(BudgetKind(kind), last + timedelta(days=1))[0] == last + timedelta(days=1)
    names = {w.name for d in (first, last) for w in windows(ALL, d, "", 0) if w.kind == kind}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("Asia/Seoul", "2026-11-22T14:59:59", "2026-11-22"),
        ("Asia/Seoul", "2026-11-22T15:00:00", "2026-11-23"),
        ("America/New_York", "2026-03-08T04:59:59", "2026-03-07"),  # clocks go forward at 07:00
        ("America/New_York", "2026-03-09T03:59:59", "2026-03-08"),
        ("America/New_York", "2026-03-09T04:00:00", "2026-03-09"),
        ("Europe/Berlin", "2026-10-24T22:00:00", "2026-10-25"),  # clocks go back at 01:00
        ("Europe/Berlin", "2026-10-25T22:59:59", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00", "2026-10-26"),
        ("Asia/Kathmandu", "2026-11-22T18:15:00", "2026-11-23"),
        ("Africa/Cairo", "2026-04-23T22:00:00", "2026-04-24"),  # midnight itself is skipped
    ],
)
def test_a_day_is_that_of_the_clocks_on_the_wall(zone: str, at: str, day: str):
    """Days of 23 and 25 hours begin and end when the user's clocks say so."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert calendar_day(moment, ZoneInfo(zone)).isoformat() == day


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_days_of_changing_clocks_have_all_their_hours(day: str, hours: int):
    """The day the clocks change owns 23 or 25 hours of calls."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    moments = (start + timedelta(hours=n) for n in range(72))
    berlin = ZoneInfo("Europe/Berlin")
    assert sum(calendar_day(at, berlin).isoformat() == day for at in moments) == hours


@given(*[st.decimals(0, 20, places=9)] * 3, st.decimals(0, 1, places=2), st.integers(0, 5))
def test_what_is_granted_fits(
    spent: Decimal, reserved: Decimal, asked: Decimal, ring_fence: Decimal, phase: int
):
    """A call is granted exactly where spent, reserved and asked are within what it may use."""
    used = Account(window=DAY, spent=spent, reserved=reserved)
    short = shortfalls([used], asked, phase, ring_fence)
    limit = 10 * (1 - ring_fence) if phase in (1, 2, 3) else Decimal(10)
    assert bool(short) == (asked > 0 and spent + reserved + asked > limit)


def test_every_budget_without_room_is_named():
    """A call can be too much for several budgets at once."""
    week = windows(BudgetLimits(weekly_usd=Decimal(12)), SUNDAY, "", 0)[0]
    accounts = [account("9"), account("9", window=week)]
    assert [s.account.window.kind for s in shortfalls(accounts, Decimal(2), 0, Decimal(0))] == [
        "day"
    ]
    assert len(shortfalls(accounts, Decimal(4), 0, Decimal(0))) == 2


def test_a_refusal_says_when_there_is_money_again():
    """The hint names the first day of the next window."""
    month = windows(ALL, SUNDAY, "", 0)[2]
    [short] = shortfalls([account("3", window=month)], Decimal(1), 0, Decimal(0))
    error = refusal(short)
    assert isinstance(error, BudgetExceededError)
    assert "monthly" in error.message
    assert "2026-11" in error.message
    assert "2026-12-01" in error.hint


def test_a_refusal_names_every_amount():
    """What is allowed, spent, under way and asked for; and what helps."""
    session = windows(ALL, SUNDAY, "s1", 1)[3]
    [short] = shortfalls([account("3", "0.5", session)], Decimal("0.75"), 4, Decimal(0))
    error = refusal(short)
    assert error.message == (
        "The session budget (s1) allows $4.00: $3.00 is spent, $0.50 is reserved for calls under "
        "way, and this call could cost up to $0.75."
    )
    assert error.hint.startswith("Raise the session's budget")
    [kept] = shortfalls([account("3", window=session)], Decimal("0.75"), 1, Decimal("0.25"))
    assert "allows $3.00" in refusal(kept).message
    assert refusal(kept).hint.startswith("$1.00 of the budget is kept")


@pytest.mark.parametrize(
    ("number", "word"), [*enumerate(["daily", "weekly", "monthly", "session", "phase"])]
)
def test_an_alert_names_its_budget(number: int, word: str):
    """How much of which budget is spent."""
    window = windows(ALL, SUNDAY, "s1", 2)[number]
    [alert] = due_alerts([account(str(window.cap / 2), window=window)], (50, 75), ())
    assert describe_alert(alert) == (
        f"50 % of the {word} budget ({window.name}) is spent: "
        f"${dollars(window.cap / 2)} of ${dollars(window.cap)}."
    )
    assert alert.account.window is window


def test_a_ring_fence_is_a_refusal_of_its_own_kind():
    """Research learns that money is left, but kept for later phases."""
    [short] = shortfalls([account("8")], Decimal(1), 2, Decimal("0.2"))
    assert isinstance(refusal(short), RingFencedError)
    [full] = shortfalls([account("10")], Decimal(1), 4, Decimal("0.2"))
    assert not isinstance(refusal(full), RingFencedError)


def test_a_phase_may_use_all_of_its_own_budget():
    """A ring-fence keeps money of the whole, not of the research phase's own share."""
    window = windows(ALL, SUNDAY, "s1", 2)[-1]
    assert shortfalls([account("0", window=window)], Decimal(5), 2, Decimal("0.5")) == ()


@given(
    st.lists(st.decimals(0, 4, places=2), max_size=12),
    st.lists(st.integers(1, 200), max_size=6),
)
def test_each_threshold_is_told_once_and_when_it_is_reached(
    costs: list[Decimal], thresholds: list[int]
):
    """However spending goes on, each threshold is told exactly once, as soon as it is reached."""
    told: list[tuple[BudgetKind, str, int]] = []
    spent = Decimal(0)
    for amount in costs:
        spent += amount
        alerts = due_alerts([account(str(spent))], tuple(thresholds), told)
        told.extend((DAY.kind, DAY.name, alert.threshold) for alert in alerts)
        reached = {t for t in thresholds if spent * 100 >= t * DAY.cap}
        assert {threshold for _, _, threshold in told} == (reached if spent else set())
    assert len(told) == len(set(told))


def test_a_budget_of_zero_is_used_up_by_the_first_cent():
    """Nothing is divided by zero."""
    window = windows(BudgetLimits(daily_usd=Decimal(0)), SUNDAY, "", 0)[0]
    assert due_alerts([account("0", window=window)], (50,), ()) == ()
    assert [a.threshold for a in due_alerts([account("0.01", window=window)], (50,), ())] == [50]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00"),
        ("5", "5.00"),
        ("1234.5", "1,234.50"),
        ("0.105", "0.1050"),
        ("0.01", "0.01"),
        ("0.0095", "0.0095"),
        ("0.001", "0.001"),
        ("-0.01", "-0.01"),
        ("0.000000001", "0.000000001"),
    ],
)
def test_amounts_are_shown_as_people_write_them(amount: str, shown: str):
    """Cents where they do, more digits where cents would hide the amount."""
    assert dollars(Decimal(amount)) == shown


cents = st.integers(1, 40).map(lambda n: Decimal(n).scaleb(-2))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), cents, st.integers(1, 5)),
        st.tuples(st.just("settle"), st.integers(0, 100), st.integers(0, 20)),
        st.tuples(st.just("release"), st.integers(0, 0), st.integers(0, 20)),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_a_cap_holds_whatever_happens(steps: list[tuple[str, Decimal | int, int]]):
    """Spent and reserved never pass the cap while no call costs more than was reserved."""
    with tempfile.TemporaryDirectory() as folder:
        limits = BudgetLimits(daily_usd=Decimal(1), ring_fence=Decimal("0.3"))
        tracker = TokenTracker.open(f"sqlite:///{folder}/ledger.db", limits, ManualClock())
        held: list[Reservation] = []
        spent = Decimal(0)
        for what, number, which in steps:
            if what == "reserve":
                with_reservation(tracker, held, Decimal(number), which)
            elif held:
                reservation = held.pop(which % len(held))
                if what == "settle":
                    cost = (reservation.amount * number / 100).quantize(Decimal("1E-9"))
                    tracker.settle(reservation, one_call(cost))
                    spent += cost
                else:
                    tracker.release(reservation)
            [state] = tracker.accounts()
            assert state.spent == spent
            assert state.reserved == sum(r.amount for r in held)
            assert state.spent + state.reserved <= 1
        tracker.close()


def with_reservation(
    tracker: TokenTracker, held: list[Reservation], amount: Decimal, phase: int
) -> None:
    """Reserve where there is room; a refusal is right only where there is none."""
    estimate = Estimate(
        bytes_sent=0, input_tokens=0, output_tokens=0, expected=amount, worst=amount
    )
    [before] = tracker.accounts()
    limit = Decimal("0.7") if phase <= 3 else Decimal(1)
    fits = before.spent + before.reserved + amount <= limit
    try:
        held.append(tracker.reserve(estimate, Purpose(provider="claude", phase=phase)))
        assert fits
    except BudgetExceededError:
        assert not fits


def one_call(cost: Decimal) -> TokenUsage:
    return TokenUsage(provider="claude", input_tokens=1, output_tokens=1, billed_cost=cost)
