from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.agents.routes import cast_roles
from aigenflow.core.config import AgentsSettings
from aigenflow.core.errors import InputError
from aigenflow.core.models import Backend, Processing, ProcessingChoice
from aigenflow.pipeline.orchestrator import PHASES
from aigenflow.pipeline.scheduling import (
    ALL_LIVE,
    BATCH_S,
    OFFERED_BY,
    TAIL_FACTOR,
    Errand,
    Schedule,
    Waves,
    Way,
    can_be,
    cheapest_in_time,
    parse_deadline,
    plan_waves,
)

NOW = datetime(2026, 11, 22, 20, 15, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
CAST = cast_roles(AgentsSettings(), lambda _: True)
WAVES = plan_waves(PHASES, CAST.routes)
LIVE_S = sum(max(errand.live_s for errand in wave) for wave in WAVES)


def schedule(choice: ProcessingChoice, hours: float | None = None) -> Schedule:
    deadline = None if hours is None else NOW + timedelta(hours=hours)
    return Schedule(choice=choice, deadline=deadline, waves=WAVES)


def ways_of(made: Schedule) -> dict[str, Processing]:
    return made.choose(made.waves, NOW)


def test_batch_means_everything_that_can() -> None:
    """Searches and Perplexity are live, the rest is in jobs."""
    ways = ways_of(schedule(ProcessingChoice.BATCH))
    live = {task for task, way in ways.items() if way is Processing.LIVE}
    assert live == {"deep_search", "fact_check", "verify"}
    assert set(ways.values()) == {Processing.LIVE, Processing.BATCH}


def test_flex_means_everything_that_can() -> None:
    """OpenAI and Gemini have it."""
    ways = ways_of(schedule(ProcessingChoice.FLEX))
    assert ways["brainstorm"] is ways["charts"] is ways["deep_search"] is Processing.FLEX
    assert ways["draft"] is ways["fact_check"] is Processing.LIVE


def test_auto_without_a_deadline_is_live() -> None:
    """So is one that has passed, and one that is too near."""
    for hours in (None, -1.0, 0.1):
        ways = ways_of(schedule(ProcessingChoice.AUTO, hours))
        assert set(ways.values()) == {Processing.LIVE}, hours


def test_auto_with_a_day_takes_what_batch_takes() -> None:
    """Where time does not matter, the cheapest way is."""
    cheapest = {**ways_of(schedule(ProcessingChoice.BATCH)), "deep_search": Processing.FLEX}
    assert ways_of(schedule(ProcessingChoice.AUTO, 24)) == cheapest


def test_a_longer_deadline_never_costs_more() -> None:
    """The price falls from all live to all in jobs."""
    prices = [
        price_of(WAVES, ways_of(schedule(ProcessingChoice.AUTO, hours))) for hours in range(25)
    ]
    assert prices == sorted(prices, reverse=True)
    assert len(set(prices)) > 5


def price_of(waves: Waves, ways: dict[str, Processing]) -> Decimal:
    errands = [errand for wave in waves for errand in wave]
    found = [errand.way(ways[errand.task]) for errand in errands]
    return sum((way.price for way in found if way), Decimal(0))


def seconds_of(waves: Waves, ways: dict[str, Processing]) -> float:
    total = 0.0
    for wave in waves:
        found = [errand.way(ways[errand.task]) for errand in wave]
        total += max(way.seconds for way in found if way)
    return total


WAYS = st.tuples(
    st.integers(1, 5), st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.just(40))
)


def an_errand(name: str, live: int, flex: int | None, batch: int | None) -> Errand:
    ways = [Way(processing=Processing.LIVE, seconds=live, price=Decimal(10))]
    if batch is not None:
        ways.append(Way(processing=Processing.BATCH, seconds=live + batch, price=Decimal(5)))
    if flex is not None:
        ways.append(Way(processing=Processing.FLEX, seconds=live + flex, price=Decimal(6)))
    return Errand(task=name, ways=tuple(ways))


@given(
    st.lists(st.lists(WAYS, min_size=1, max_size=2), min_size=1, max_size=3),
    st.integers(0, 200),
)
def test_auto_is_the_cheapest_of_all_that_are_in_time(
    rows: list[list[tuple[int, int | None, int | None]]], seconds: int
) -> None:
    """Compared with every combination there is."""
    waves = tuple(
        tuple(an_errand(f"t{w}.{n}", *row) for n, row in enumerate(wave))
        for w, wave in enumerate(rows)
    )
    chosen = cheapest_in_time(waves, seconds)
    errands = [errand for wave in waves for errand in wave]
    tail = TAIL_FACTOR * max(errand.live_s for errand in errands)
    possible = [
        {errand.task: way.processing for errand, way in zip(errands, ways, strict=True)}
        for ways in product(*(errand.ways for errand in errands))
    ]
    in_time = [ways for ways in possible if seconds_of(waves, ways) + tail <= seconds]
    if not in_time:
        assert set(chosen.values()) == {Processing.LIVE}
    else:
        assert seconds_of(waves, chosen) + tail <= seconds
        assert price_of(waves, chosen) == min(price_of(waves, ways) for ways in in_time)


def test_a_task_is_decided_on_when_its_wave_begins() -> None:
    """What took longer than planned leaves less time, and the rest becomes live."""
    made = schedule(ProcessingChoice.AUTO, 24)
    assert made.manner_of("polish", NOW).processing is Processing.BATCH
    late = NOW + timedelta(hours=23.5)
    assert made.manner_of("polish", late).processing is Processing.LIVE
    assert ALL_LIVE.manner_of("polish", NOW).processing is Processing.LIVE


def test_complete_by_leaves_time_for_the_rest_live() -> None:
    """On the minute, before the deadline by the live tail; without a deadline there is none."""
    made = schedule(ProcessingChoice.BATCH, 24)
    assert made.deadline is not None
    first, last = made.manner_of("brainstorm", NOW), made.manner_of("polish", NOW)
    assert first.complete_by is not None
    assert last.complete_by is not None
    assert first.complete_by < last.complete_by < made.deadline
    left = (made.deadline - first.complete_by).total_seconds()
    assert TAIL_FACTOR * LIVE_S <= left < TAIL_FACTOR * LIVE_S + 60
    assert first.complete_by.second == 0
    assert schedule(ProcessingChoice.BATCH).manner_of("polish", NOW).complete_by is None


def test_a_job_is_planned_with_an_hour() -> None:
    """As long as nine of ten take."""
    batch = WAVES[0][0].way(Processing.BATCH)
    assert batch is not None
    assert batch.seconds == WAVES[0][0].live_s + BATCH_S


def test_who_offers_what() -> None:
    """Closed: every way has its back-ends, live has them all, no search is put into a job."""
    assert set(OFFERED_BY) == set(Processing)
    assert OFFERED_BY[Processing.LIVE] == frozenset(Backend)
    for route in CAST.routes.values():
        assert can_be(Processing.LIVE, route, searches=True)
        assert not can_be(Processing.BATCH, route, searches=True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("09:00", datetime(2026, 11, 23, 9, tzinfo=SEOUL)),
        ("5:14", datetime(2026, 11, 24, 5, 14, tzinfo=SEOUL)),
        ("5:16", datetime(2026, 11, 23, 5, 16, tzinfo=SEOUL)),
        ("2h", NOW + timedelta(hours=2)),
        ("90m", NOW + timedelta(minutes=90)),
        ("1h30m", NOW + timedelta(minutes=90)),
        (" 45 min ", NOW + timedelta(minutes=45)),
        ("2026-11-25T08:00", datetime(2026, 11, 25, 8, tzinfo=SEOUL)),
        ("2026-11-25 08:00+00:00", datetime(2026, 11, 25, 8, tzinfo=UTC)),
    ],
)
def test_deadlines_are_read_as_people_write_them(text: str, moment: datetime) -> None:
    """Times without an offset are the user's own; a time of day is the next one."""
    assert parse_deadline(text, NOW, SEOUL) == moment


@pytest.mark.parametrize("text", ["", "soon", "25:00", "9", "h", "2026-13-01", "-2h", "2020-01-01"])
def test_what_is_no_deadline_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(InputError) as caught:
        parse_deadline(text, NOW, SEOUL)
    assert "--deadline" in caught.value.hint
