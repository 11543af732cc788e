"""What every ledger promises, whatever database it lives in."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aigenflow.core.db import open_database
from aigenflow.core.errors import BudgetExceededError, ConfigError, InputError
from aigenflow.core.models import ServedFrom, TokenUsage
from aigenflow.monitoring.budget import RingFencedError
from aigenflow.monitoring.models import (
    BudgetKind,
    BudgetLimits,
    CallDetails,
    Dimension,
    Estimate,
    OnExceed,
    Purpose,
    Reservation,
    ReservationState,
    Totals,
    Waste,
)
from aigenflow.monitoring.stats import grand_total
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing.clock import ManualClock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def usage(cost: str | None = "0.25", **fields: object) -> TokenUsage:
    """One call of 1,000 tokens in and 100 out."""
    call = TokenUsage(
        provider="claude",
        model="claude-sonnet-5-5",
        input_tokens=1000,
        output_tokens=100,
        phase=4,
        task="main",
        session="s1",
        billed_cost=None if cost is None else Decimal(cost),
        when=NOON,
    )
    return replace(call, **fields)  # type: ignore[arg-type]


def worst(dollars: str | None) -> Estimate:
    """An estimate whose worst case is that many dollars."""
    amount = None if dollars is None else Decimal(dollars)
    return Estimate(
        bytes_sent=3000, input_tokens=1000, output_tokens=50, expected=amount, worst=amount
    )


def reserve(tracker: TokenTracker, dollars: str, **fields: object) -> Reservation:
    """Reserve for a call of session s1."""
    purpose = Purpose(provider="claude", model="m", session="s1", phase=4)
    return tracker.reserve(worst(dollars), replace(purpose, **fields))  # type: ignore[arg-type]


class LedgerContract:
    """Inherit it and give it a fixture ``url``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(NOON)

    @pytest.fixture
    def open_tracker(self, url: str, clock: ManualClock) -> Iterator[Callable[..., TokenTracker]]:
        opened: list[TokenTracker] = []

        def open_one(**limits: object) -> TokenTracker:
            tracker = TokenTracker.open(url, BudgetLimits(**limits), clock)  # type: ignore[arg-type]
            opened.append(tracker)
            return tracker

        yield open_one
        for tracker in opened:
            tracker.close()

    # Rows

    def test_a_call_is_found_in_every_total(self, open_tracker: Callable[..., TokenTracker]):
        """One tracked call appears once under each dimension, with its exact cost."""
        tracker = open_tracker()
        tracker.track(usage("0.000000001"))
        keys = {by: [row.key for row in tracker.totals(by)] for by in Dimension}
        assert keys == {
            Dimension.PROVIDER: ["claude"],
            Dimension.MODEL: ["claude-sonnet-5-5"],
            Dimension.PHASE: ["4"],
            Dimension.TASK: ["main"],
            Dimension.SESSION: ["s1"],
            Dimension.DAY: ["2026-11-22"],
            Dimension.SERVED_FROM: ["live"],
            Dimension.WASTE: [""],
        }
        assert all(tracker.totals(by)[0].billed == Decimal("1E-9") for by in Dimension)
        assert tracker.totals(session="s1") == tracker.totals()
        assert tracker.totals(session="s2") == []

    def test_a_call_is_written_once(self, open_tracker: Callable[..., TokenTracker]):
        """A call id that comes again, from this tracker or another, changes nothing."""
        first, second = open_tracker(), open_tracker()
        for tracker in (first, second, first):
            tracker.track(usage(), call_id="step-1")
        [total] = second.totals()
        assert (total.calls, total.billed) == (1, Decimal("0.25"))

    def test_a_hit_costs_nothing_and_its_tokens_stand_apart(
        self, open_tracker: Callable[..., TokenTracker]
    ):
        """A cache hit adds its avoided cost and replayed tokens, but no billed tokens."""
        tracker = open_tracker()
        tracker.track(usage("0", served_from=ServedFrom.CACHE, avoided_cost=Decimal("0.25")))
        assert tracker.totals() == [
            Totals(
                calls=1,
                cache_hits=1,
                replayed_tokens=1100,
                response_cache_saving=Decimal("0.25"),
            )
        ]

    def test_savings_are_kept_apart_by_their_cause(self, open_tracker: Callable[..., TokenTracker]):
        """Batch, flex and prompt caching each have a column of their own."""
        tracker = open_tracker()
        tracker.track(usage("1", served_from=ServedFrom.BATCH, avoided_cost=Decimal(1)))
        tracker.track(usage("2", served_from=ServedFrom.FLEX, avoided_cost=Decimal(2)))
        details = CallDetails(prompt_cache_saving=Decimal("-0.5"))
        tracker.track(usage("3"), details=details)
        [total] = tracker.totals()
        assert (total.batch_saving, total.flex_saving) == (1, 2)
        assert (total.prompt_cache_saving, total.billed) == (Decimal("-0.5"), 6)

    def test_an_unknown_price_is_counted_and_not_added(
        self, open_tracker: Callable[..., TokenTracker]
    ):
        """A call without a price is one unpriced call, not a free one."""
        tracker = open_tracker()
        tracker.track(usage(None))
        tracker.track(usage("0.5"), details=CallDetails(price_is_estimate=True))
        [total] = tracker.totals()
        assert (total.unpriced_calls, total.estimated_calls) == (1, 1)
        assert total.billed == Decimal("0.5")

    def test_waste_is_told_with_its_reason(self, open_tracker: Callable[..., TokenTracker]):
        """Wasted money is billed money, listed by reason, also where it is known only later."""
        tracker = open_tracker()
        tracker.track(usage("1"), details=CallDetails(waste=Waste.RETRY))
        tracker.track(usage("2", waste=True))
        tracker.track(usage("4"), call_id="draft")
        tracker.mark_wasted(["draft", "nobody"], Waste.DISCARDED)
        wasted = {row.key: row.wasted for row in tracker.totals(Dimension.WASTE)}
        assert wasted == {"retry": 1, "other": 2, "discarded": 4}
        for _again in range(2):
            tracker.mark_wasted(["draft"], Waste.FAILED_PHASE)
        wasted = {row.key: row.wasted for row in tracker.totals(Dimension.WASTE)}
        assert wasted == {"retry": 1, "other": 2, "failed_phase": 4}
        [total] = tracker.totals()
        assert (total.calls, total.billed, total.wasted) == (3, 7, 7)
        assert tracker.totals(session="s1") == [total]

    def test_days_are_those_of_the_users_calendar(self, open_tracker: Callable[..., TokenTracker]):
        """A call late in the evening UTC belongs to the next day in Seoul, and keeps it."""
        seoul, utc = open_tracker(zone=ZoneInfo("Asia/Seoul")), open_tracker()
        late = datetime(2026, 11, 22, 15, tzinfo=UTC)
        seoul.track(usage("1", when=late))
        utc.track(usage("2", when=late))
        days = {row.key: row.billed for row in utc.totals(Dimension.DAY)}
        assert days == {"2026-11-23": 1, "2026-11-22": 2}
        [second] = utc.totals(first=date(2026, 11, 23), last=date(2026, 11, 23))
        assert second.billed == 1

    def test_sums_equal_the_rows(self, open_tracker: Callable[..., TokenTracker]):
        """Every breakdown of many random calls adds up to the same exact total."""
        tracker = open_tracker()
        dice = random.Random(4)
        expected = Decimal(0)
        for n in range(60):
            cost = Decimal(dice.randrange(10**10)).scaleb(-9)
            expected += cost
            call = usage(
                str(cost),
                provider=dice.choice(["claude", "gemini"]),
                phase=dice.randrange(6),
                session=dice.choice(["s1", "s2"]),
                served_from=dice.choice([ServedFrom.LIVE, ServedFrom.BATCH]),
                when=NOON.replace(day=dice.randrange(1, 28)),
            )
            tracker.track(call, call_id=str(n))
        [total] = tracker.totals()
        assert (total.billed, total.calls) == (expected, 60)
        for by in Dimension:
            assert grand_total(tracker.totals(by)) == total
        sessions = [tracker.totals(session=name)[0] for name in ("s1", "s2")]
        assert grand_total(sessions) == total

    def test_the_dearest_are_read_alone(self, open_tracker: Callable[..., TokenTracker]):
        """Of many sessions the dearest of a period are read, with their whole sums."""
        tracker = open_tracker()
        for n in range(1, 6):
            for day in (21, 22):
                when = NOON.replace(day=day)
                tracker.track(usage(f"0.0{n}", session=f"s{n}", when=when))
        tracker.track(usage("9", session="s1", when=NOON.replace(day=1)))
        everything = {row.key: row for row in tracker.totals(Dimension.SESSION)}
        dearest = tracker.totals(Dimension.SESSION, dearest=2)
        assert dearest == [everything["s1"], everything["s5"]]
        late = date(2026, 11, 20)
        of_late = tracker.totals(Dimension.SESSION, first=late, dearest=2)
        assert [(row.key, row.billed) for row in of_late] == [
            ("s4", Decimal("0.08")),
            ("s5", Decimal("0.10")),
        ]
        assert tracker.count_sessions() == tracker.count_sessions(first=late) == 5
        assert tracker.count_sessions(last=date(2026, 11, 1)) == 1

    def test_a_ledger_of_the_first_format_is_brought_up_to_date(
        self, open_tracker: Callable[..., TokenTracker], url: str
    ):
        """Sums over all time are made from the rows that are there; later calls are added."""
        tracker = open_tracker()
        tracker.track(usage("1"))
        tracker.track(usage("2", waste=True, provider="gemini"))
        before = tracker.totals(Dimension.PROVIDER)
        database = open_database(url)
        with database.transaction() as tx:
            tx.execute("DROP TABLE usage_ever")
            tx.execute("UPDATE ledger SET version = 1")
        database.close()
        for _again in range(2):
            newer = open_tracker()
            assert newer.totals(Dimension.PROVIDER) == before
        newer.track(usage("4"))
        assert newer.totals()[0].billed == 7

    def test_tokens_are_learned_per_model(self, open_tracker: Callable[..., TokenTracker]):
        """Calibration sums bytes and tokens of calls whose bytes are known, hits left out."""
        tracker = open_tracker()
        details = CallDetails(estimate=worst("1"))
        tracker.track(usage(), details=details)
        tracker.track(usage("0", served_from=ServedFrom.CACHE), details=details)
        tracker.track(usage())
        known = tracker.calibration("claude-sonnet-5-5")
        assert (known.calls, known.bytes_sent, known.input_tokens) == (1, 3000, 1000)
        assert tracker.calibration("other").calls == 0

    def test_a_review_sets_estimate_against_actual(self, open_tracker: Callable[..., TokenTracker]):
        """The estimate of a reservation is kept beside what the call really cost."""
        tracker = open_tracker()
        held = reserve(tracker, "1.00")
        tracker.settle(held, usage("0.40"))
        tracker.track(usage("5"))
        review = tracker.review("s1")
        assert (review.calls, review.expected, review.worst) == (1, 1, 1)
        assert (review.billed, review.input_tokens) == (Decimal("0.40"), 1000)

    # Reservations

    def test_money_is_reserved_until_it_is_settled(self, open_tracker: Callable[..., TokenTracker]):
        """Settling turns the worst case into the actual cost, in one step and once."""
        tracker = open_tracker(daily_usd=Decimal(1))
        held = reserve(tracker, "0.60")
        [before] = tracker.accounts()
        assert (before.spent, before.reserved) == (0, Decimal("0.60"))
        tracker.settle(held, usage("0.10"))
        tracker.settle(held.id, usage("0.10"))
        [after] = tracker.accounts()
        assert (after.spent, after.reserved) == (Decimal("0.10"), 0)
        assert tracker.open_reservations() == []

    def test_released_money_is_free_again(self, open_tracker: Callable[..., TokenTracker]):
        """A call that bought nothing leaves no trace."""
        tracker = open_tracker(daily_usd=Decimal(1))
        tracker.release(reserve(tracker, "1"))
        assert reserve(tracker, "1").amount == 1
        assert tracker.totals() == []

    def test_a_paid_call_is_never_lost(self, open_tracker: Callable[..., TokenTracker]):
        """Settling writes the row also where the reservation was released by mistake."""
        tracker = open_tracker()
        held = reserve(tracker, "1")
        tracker.release(held)
        tracker.settle(held, usage("0.10"))
        assert tracker.totals()[0].billed == Decimal("0.10")

    @pytest.mark.parametrize(
        ("limit", "kind"),
        [
            ("daily_usd", "daily"),
            ("weekly_usd", "weekly"),
            ("monthly_usd", "monthly"),
            ("session_usd", "session"),
        ],
    )
    def test_a_full_budget_refuses_the_call(
        self, open_tracker: Callable[..., TokenTracker], limit: str, kind: str
    ):
        """The refusal names the budget, what is spent, reserved and asked for, and what to try."""
        tracker = open_tracker(**{limit: Decimal(1)})
        tracker.track(usage("0.50"))
        reserve(tracker, "0.30")
        with pytest.raises(BudgetExceededError, match=f"The {kind} budget") as caught:
            reserve(tracker, "0.21")
        for amount in ("$1.00", "$0.50", "$0.30", "$0.21"):
            assert amount in caught.value.message
        assert "on_exceed" in caught.value.hint
        assert reserve(tracker, "0.20").amount == Decimal("0.20")

    def test_each_window_counts_only_its_own(self, open_tracker: Callable[..., TokenTracker]):
        """Yesterday is not today, Sunday's week is not Monday's, another session is not this."""
        tracker = open_tracker(
            daily_usd=Decimal(1),
            weekly_usd=Decimal(2),
            monthly_usd=Decimal(3),
            session_usd=Decimal(4),
            phase_usd={4: Decimal(5)},
        )
        for day, session, phase, cost in (
            (22, "s1", 4, "0.1"),  # Sunday, today
            (21, "s1", 4, "0.2"),
            (15, "s1", 4, "0.4"),
            (22, "s2", 4, "0.01"),
            (22, "s1", 3, "0.02"),
        ):
            when = NOON.replace(day=day)
            tracker.track(usage(cost, when=when, session=session, phase=phase))
        tracker.track(usage("9", when=NOON.replace(month=10)))
        spent = {a.window.kind: a.spent for a in tracker.accounts("s1", 4)}
        assert spent == {
            BudgetKind.DAY: Decimal("0.13"),
            BudgetKind.WEEK: Decimal("0.33"),
            BudgetKind.MONTH: Decimal("0.73"),
            BudgetKind.SESSION: Decimal("9.72"),
            BudgetKind.PHASE: Decimal("9.7"),
        }

    def test_a_call_over_midnight_stays_on_its_day(
        self, open_tracker: Callable[..., TokenTracker], clock: ManualClock
    ):
        """Money reserved on Sunday and settled on Monday is Sunday's money."""
        tracker = open_tracker(daily_usd=Decimal(1))
        held = reserve(tracker, "1")
        clock.advance(13 * 3600)
        tracker.settle(held, usage("1", when=clock.now()))
        assert [row.key for row in tracker.totals(Dimension.DAY)] == ["2026-11-22"]
        assert reserve(tracker, "1").amount == 1

    def test_a_free_call_fits_a_full_budget(self, open_tracker: Callable[..., TokenTracker]):
        """A local server goes on working when the money is gone."""
        tracker = open_tracker(daily_usd=Decimal(0))
        assert reserve(tracker, "0").amount == 0
        with pytest.raises(BudgetExceededError):
            reserve(tracker, "0.000000001")

    def test_warn_lets_the_call_go_and_says_so(self, open_tracker: Callable[..., TokenTracker]):
        """With on_exceed warn the reservation carries the budgets that had no room."""
        tracker = open_tracker(daily_usd=Decimal(1), on_exceed=OnExceed.WARN)
        held = reserve(tracker, "2")
        [short] = held.shortfalls
        assert (short.asked, short.limit, short.ring_fenced) == (2, 1, False)
        assert tracker.open_reservations()[0].amount == 2

    def test_research_leaves_money_for_writing(self, open_tracker: Callable[..., TokenTracker]):
        """A ring-fenced share is refused to phase 2 and open to phase 4 and to single questions."""
        tracker = open_tracker(session_usd=Decimal(1), ring_fence=Decimal("0.4"))
        reserve(tracker, "0.60", phase=2)
        with pytest.raises(RingFencedError, match="session budget") as caught:
            reserve(tracker, "0.01", phase=3)
        assert "$0.40" in caught.value.hint
        reserve(tracker, "0.30", phase=4)
        reserve(tracker, "0.10", phase=0)

    def test_an_unknown_price_is_refused(self, open_tracker: Callable[..., TokenTracker]):
        """Without a price there is no call, unless the user allows it; then it counts as such."""
        tracker = open_tracker()
        with pytest.raises(ConfigError, match="price of the model mystery"):
            tracker.reserve(worst(None), Purpose(provider="claude", model="mystery"))
        held = tracker.reserve(worst(None), Purpose(provider="claude"), allow_unpriced=True)
        tracker.settle(held, usage(None))
        assert tracker.totals()[0].unpriced_calls == 1

    def test_a_batch_job_answers_for_its_reservations(
        self, open_tracker: Callable[..., TokenTracker]
    ):
        """A job's money is settled by id, by any process, and never looks orphaned."""
        tracker, later = open_tracker(), open_tracker()
        held = reserve(tracker, "1", job="batch-7")
        other = reserve(tracker, "1")
        states = {r.id: r.state for r in later.open_reservations()}
        assert states == {held.id: ReservationState.JOB, other.id: ReservationState.ACTIVE}
        tracker.hand_over(other, "batch-8")
        assert {r.purpose.job for r in later.open_reservations()} == {"batch-7", "batch-8"}
        later.settle(held.id, usage("0.10", served_from=ServedFrom.BATCH))
        assert [r.id for r in tracker.open_reservations()] == [other.id]

    def test_reconciling_books_what_was_lost(self, open_tracker: Callable[..., TokenTracker]):
        """An open reservation becomes a wasted row: the worst case, what was charged, or none."""
        tracker = open_tracker()
        for billed in (None, Decimal("0.3"), Decimal(0)):
            held = reserve(tracker, "1", model="m1")
            tracker.reconcile(held.id, billed)
            with pytest.raises(InputError, match=held.id):
                tracker.reconcile(held.id, billed)
        [total] = tracker.totals(Dimension.WASTE)
        assert (total.key, total.calls, total.billed) == ("lost", 2, Decimal("1.3"))
        assert total.estimated_calls == 1
        assert tracker.open_reservations() == []

    # Alerts

    def test_an_alert_is_told_once_per_window(self, open_tracker: Callable[..., TokenTracker]):
        """Each threshold is reported by the call that reaches it, and again in the next window."""
        tracker, other = open_tracker(daily_usd=Decimal(1)), open_tracker(daily_usd=Decimal(1))
        told = [
            [alert.threshold for alert in one.track(usage(cost))]
            for one, cost in (
                (tracker, "0.49"),
                (tracker, "0.01"),
                (other, "0.01"),
                (tracker, "0.40"),
                (other, "0.09"),
                (tracker, "5"),
            )
        ]
        assert told == [[], [50], [], [75, 90], [100], []]
        tomorrow = usage("0.5", when=NOON.replace(day=23))
        assert [alert.threshold for alert in tracker.track(tomorrow)] == [50]

    def test_settling_tells_alerts_of_every_budget(self, open_tracker: Callable[..., TokenTracker]):
        """One call can pass thresholds of several budgets, each named."""
        tracker = open_tracker(daily_usd=Decimal(1), session_usd=Decimal(2), thresholds=(50,))
        alerts = tracker.settle(reserve(tracker, "1"), usage("1"))
        assert [(a.account.window.kind, a.threshold) for a in alerts] == [
            (BudgetKind.DAY, 50),
            (BudgetKind.SESSION, 50),
        ]

    # Concurrency and versions

    def test_threads_and_trackers_share_one_cap(self, open_tracker: Callable[..., TokenTracker]):
        """Four trackers with two threads each never hold more than the cap together."""
        trackers = [open_tracker(daily_usd=Decimal("0.50")) for _ in range(4)]
        granted: list[Reservation] = []

        def spend(tracker: TokenTracker) -> None:
            for _ in range(10):
                try:
                    granted.append(reserve(tracker, "0.01"))
                except BudgetExceededError:
                    return

        threads = [threading.Thread(target=spend, args=(t,)) for t in trackers * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(granted) == 50
        assert trackers[0].accounts()[0].reserved == Decimal("0.50")

    async def test_a_thousand_coroutines_share_one_cap(
        self, open_tracker: Callable[..., TokenTracker]
    ):
        """Of a thousand calls at once exactly those that fit are made."""
        tracker = open_tracker(daily_usd=Decimal("0.50"))

        async def call() -> bool:
            try:
                held = reserve(tracker, "0.01")
            except BudgetExceededError:
                return False
            await asyncio.sleep(0)
            tracker.settle(held, usage("0.01"))
            return True

        made = await asyncio.gather(*(call() for _ in range(1000)))
        assert sum(made) == 50
        assert tracker.accounts()[0].spent == Decimal("0.50")

    def test_a_newer_ledger_is_left_alone(
        self, open_tracker: Callable[..., TokenTracker], url: str
    ):
        """A ledger of a format that this version does not know is not opened."""
        open_tracker()
        database = open_database(url)
        with database.transaction() as tx:
            tx.execute("UPDATE ledger SET version = 99")
        database.close()
        with pytest.raises(ConfigError, match="99"):
            open_tracker()
