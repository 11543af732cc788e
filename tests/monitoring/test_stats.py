"""Summaries: exact sums, periods, trends and savings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import InputError
from aigenflow.monitoring.models import Totals
from aigenflow.monitoring.stats import Period, grand_total, parse_period, savings, trend

TODAY = date(2026, 11, 22)
money = st.integers(-(10**15), 10**15).map(lambda nano: Decimal(nano).scaleb(-9))
rows = st.lists(
    st.builds(
        Totals,
        key=st.text(max_size=3),
        calls=st.integers(0, 10**9),
        input_tokens=st.integers(0, 10**12),
        billed=money,
        prompt_cache_saving=money,
        wasted=money,
    ),
    max_size=8,
)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", "2026-11-22", "2026-11-22"),
        ("week", "2026-11-16", "2026-11-22"),
        ("weekly", "2026-11-16", "2026-11-22"),
        ("month", "2026-11-01", "2026-11-22"),
        ("2026-10-01..2026-10-31", "2026-10-01", "2026-10-31"),
        ("2026-10-01..2026-10-01", "2026-10-01", "2026-10-01"),
    ],
)
def test_a_period_is_its_days(text: str, first: str, last: str):
    """Each word and each pair of dates stands for days on the calendar, both included."""
    period = parse_period(text, TODAY)
    assert (str(period.first), str(period.last)) == (first, last)


def test_all_is_open_at_both_ends():
    """All means since the first call."""
    assert parse_period("all", TODAY) == Period()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "..",
        "2026-10-01",
        "2026-10-01..",
        "2026-10-02..2026-10-01",
        "a..b",
        "2026-13-01..2026-13-02",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str):
    """A period that cannot be read is an error that shows how to write one."""
    with pytest.raises(InputError) as caught:
        parse_period(text, TODAY)
    assert "2026-11-01..2026-11-15" in caught.value.hint


@given(rows, rows)
def test_sums_are_exact_and_in_any_order(some: list[Totals], others: list[Totals]):
    """Adding parts and then the parts' sums is adding everything."""
    both = grand_total([grand_total(some), grand_total(others)])
    assert both == grand_total(others + some)
    assert both.billed == sum((row.billed for row in some + others), start=Decimal(0))


def test_the_sum_of_nothing_is_nothing():
    """No calls make a total of zeros, under its name."""
    assert grand_total([], "total") == Totals(key="total")


def test_savings_are_set_against_the_live_price():
    """Billed and saved are the price of the same work at live full price."""
    view = savings(
        Totals(
            billed=Decimal(6),
            response_cache_saving=Decimal(1),
            prompt_cache_saving=Decimal("-0.5"),
            batch_saving=Decimal(2),
            flex_saving=Decimal("1.5"),
            wasted=Decimal("0.25"),
        )
    )
    assert (view.live_price, view.saved, view.saved_percent) == (10, 4, 40)
    assert view.wasted == Decimal("0.25")


def test_no_work_saves_no_share():
    """Nothing is divided by zero."""
    assert savings(Totals()).saved_percent is None


def test_a_trend_shows_every_day_to_scale():
    """The dearest day fills the width, a day without calls is empty, a tiny one still shows."""
    by_day = [
        Totals(key="2026-11-16", billed=Decimal(8)),
        Totals(key="2026-11-18", billed=Decimal(3)),
        Totals(key="2026-11-19", billed=Decimal("0.000001")),
    ]
    bars = trend(by_day, Period(first=date(2026, 11, 16), last=date(2026, 11, 20)), width=4)
    assert [(bar.day.day, bar.bar) for bar in bars] == [
        (16, "████"),
        (17, ""),
        (18, "█▌"),
        (19, "▏"),
        (20, ""),
    ]


def test_an_open_trend_runs_from_the_first_day_to_the_last():
    """Without dates the trend has the days of the ledger."""
    by_day = [Totals(key="2026-11-02", billed=Decimal(1)), Totals(key="2026-11-05")]
    assert [bar.day.day for bar in trend(by_day, Period())] == [2, 3, 4, 5]
    assert trend([], Period()) == []


def test_days_that_cost_nothing_have_no_bar():
    """A trend of local or cached work is drawn without dividing by zero."""
    assert [bar.bar for bar in trend([Totals(key="2026-11-02", calls=3)], Period())] == [""]


@given(st.lists(st.decimals(0, 1000, places=6), min_size=1, max_size=20), st.integers(1, 80))
def test_no_bar_is_wider_than_the_trend(amounts: list[Decimal], width: int):
    """Whatever the amounts, bars fit and a dearer day has no shorter bar."""
    by_day = [
        Totals(key=date.fromordinal(TODAY.toordinal() + n).isoformat(), billed=amount)
        for n, amount in enumerate(amounts)
    ]
    bars = trend(by_day, Period(), width)
    assert max(len(bar.bar) for bar in bars) <= width
    lengths = [len(bar.bar) for bar in sorted(bars, key=lambda bar: bar.billed)]
    assert lengths == sorted(lengths)
