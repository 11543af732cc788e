from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.cache.policy import (
    CLOCK_TOLERANCE,
    Freshness,
    TtlPolicy,
    Use,
    age,
    freshness,
    in_order_of_eviction,
    low_water,
    storable,
    victims,
)
from aigenflow.core.models import FinishReason
from tests.cache.questions import ANSWER, NOON

DAY = timedelta(hours=24)
MOMENTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize("reason", FinishReason)
def test_only_whole_answers_are_kept(reason: FinishReason) -> None:
    """Cut, refused, filtered, empty, paused and unknown answers are not worth hearing again."""
    answer = ANSWER.model_copy(update={"finish_reason": reason})
    assert storable(answer) is (reason is FinishReason.COMPLETE)


@pytest.mark.parametrize("change", [{"success": False}, {"content": ""}, {"content": " \n\t"}])
def test_failures_and_empty_answers_are_not_kept(change: dict[str, object]) -> None:
    """A failure is not an answer, and white space is not a text."""
    assert not storable(ANSWER.model_copy(update=change))


@pytest.mark.parametrize(
    ("hours_later", "expected"),
    [
        (0, Freshness.FRESH),
        (23.99, Freshness.FRESH),
        (24, Freshness.EXPIRED),
        (24 * 365 * 10, Freshness.EXPIRED),
        (-1 / 120, Freshness.FRESH),
        (-CLOCK_TOLERANCE / timedelta(hours=1), Freshness.FRESH),
        (-1, Freshness.AHEAD),
        (-24 * 365 * 10, Freshness.AHEAD),
    ],
)
def test_freshness_by_any_clock(hours_later: float, expected: Freshness) -> None:
    """An entry lives for its TTL; a clock that was set back makes it neither old nor immortal."""
    assert freshness(NOON, NOON, DAY, NOON + timedelta(hours=hours_later)) is expected


def test_an_entry_from_the_future_lives_for_one_ttl() -> None:
    """Dated anew when it was first met, it expires one TTL later."""
    made = NOON + timedelta(days=3650)
    assert freshness(made, NOON, DAY, NOON) is Freshness.FRESH
    assert freshness(made, NOON, DAY, NOON + timedelta(hours=23)) is Freshness.FRESH
    assert freshness(made, NOON, DAY, NOON + DAY) is Freshness.EXPIRED


def test_a_clock_put_right_again_counts_from_the_true_date() -> None:
    """What was dated anew by a wrong clock keeps its own date."""
    back_then = NOON - timedelta(days=3650)
    assert freshness(NOON, back_then, DAY, NOON + timedelta(hours=1)) is Freshness.FRESH


@given(MOMENTS, MOMENTS, MOMENTS)
def test_age_is_never_negative(created: datetime, seen: datetime, now: datetime) -> None:
    """Whatever the clocks say."""
    assert age(created, seen, now) >= timedelta(0)


def test_ttl_by_phase() -> None:
    """Phases without an exception share one TTL."""
    policy = TtlPolicy(hours=24, hours_by_phase={2: 6})
    assert policy.of(2) == timedelta(hours=6)
    assert policy.of(3) == DAY


USES = st.lists(
    st.builds(
        Use,
        key=st.text("0123456789abcdef", min_size=32, max_size=32),
        used_ns=st.integers(0, 50),
        size_bytes=st.integers(1, 1000),
    ),
    unique_by=lambda use: use.key,
)


@given(USES, st.integers(0, 5000))
def test_the_fewest_of_the_oldest_are_evicted(uses: list[Use], target: int) -> None:
    """Eviction takes a beginning of the order of use, just long enough to reach the target."""
    size = sum(use.size_bytes for use in uses)
    chosen = victims(uses, size, target)
    assert chosen == in_order_of_eviction(uses)[: len(chosen)]
    left = size - sum(use.size_bytes for use in chosen)
    assert left <= target or len(chosen) == len(uses)
    if chosen:
        assert left + chosen[-1].size_bytes > target


def test_what_fits_exactly_stays() -> None:
    """Eviction ends as soon as the size is reached, also to the byte."""
    uses = [Use(key=str(n), used_ns=n, size_bytes=10) for n in range(3)]
    assert [use.key for use in victims(uses, 30, 30)] == []
    assert [use.key for use in victims(uses, 30, 20)] == ["0"]
    assert [use.key for use in victims(uses, 30, 19)] == ["0", "1"]


def test_low_water() -> None:
    """Eviction stops at nine tenths of the limit."""
    assert low_water(1000) == 900
