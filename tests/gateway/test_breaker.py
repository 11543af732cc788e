"""The circuit breaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AuthenticationError,
    CapacityError,
    ConnectionFailedError,
    EmptyAnswerError,
    GatewayError,
    ModelNotFoundError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    StalledError,
)
from aigenflow.gateway.breaker import (
    FAILURES_IN_A_ROW,
    MIN_CALLS,
    OPEN_S,
    WINDOW_S,
    CircuitBreaker,
    CircuitState,
    Outcome,
    outcome_of,
)

OUTCOMES = {"S": Outcome.SUCCESS, "F": Outcome.FAILURE, "n": Outcome.NEUTRAL}


def play(
    breaker: CircuitBreaker, outcomes: str, *, now: float = 0.0, every_s: float = 0.0
) -> float:
    """Make one call per letter, ``every_s`` apart, and return the time of the last."""
    for number, letter in enumerate(outcomes):
        at = now + number * every_s
        ticket = breaker.enter(at)
        assert ticket is not None
        breaker.leave(ticket, OUTCOMES[letter], at)
    return now + max(0, len(outcomes) - 1) * every_s


def opened() -> CircuitBreaker:
    """A breaker that opened at time 0."""
    breaker = CircuitBreaker()
    play(breaker, "FFFFF")
    return breaker


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.SUCCESS),
        (ServerFaultError("x", status=500), Outcome.FAILURE),
        (ServerFaultError("x", status=529), Outcome.FAILURE),
        (ServerFaultError("x"), Outcome.FAILURE),
        (ConnectionFailedError("x"), Outcome.FAILURE),
        (StalledError("x"), Outcome.FAILURE),
        (ServerFaultError("x", status=408), Outcome.NEUTRAL),
        (ServerFaultError("x", status=409), Outcome.NEUTRAL),
        (RateLimitedError("x"), Outcome.NEUTRAL),
        (CapacityError("x", status=503), Outcome.NEUTRAL),
        (AuthenticationError("x", status=401), Outcome.NEUTRAL),
        (ModelNotFoundError("x", status=404), Outcome.NEUTRAL),
        (RefusedError("x"), Outcome.NEUTRAL),
        (EmptyAnswerError("x"), Outcome.NEUTRAL),
    ],
)
def test_only_faults_of_the_provider_count(error: GatewayError | None, outcome: Outcome) -> None:
    """Refusals, unusable answers and any 4xx come from a provider that is alive."""
    assert outcome_of(error) is outcome


@pytest.mark.parametrize(
    ("outcomes", "every_s", "state"),
    [
        ("", 0, CircuitState.CLOSED),
        ("FFFF", 0, CircuitState.CLOSED),
        ("FFFFF", 0, CircuitState.OPEN),
        ("FFFFSF", 0, CircuitState.CLOSED),
        ("FnFnFnFnF", 0, CircuitState.OPEN),
        ("FFFFF", WINDOW_S * 2, CircuitState.OPEN),
        ("FFFFSSSSF", 0, CircuitState.CLOSED),
        ("FFFFSSSSSF", 0, CircuitState.OPEN),
        ("FFFFSSSSSS", 0, CircuitState.CLOSED),
        ("SFSFSFSFS", 0, CircuitState.CLOSED),
        ("SFSFSFSFSF", 0, CircuitState.OPEN),
        ("SFSFSFSFSF", 9, CircuitState.CLOSED),
        ("SSFSFSFSFSF", 6, CircuitState.CLOSED),
        ("FFFFSSSSSSSSSFFFF", 5, CircuitState.CLOSED),
        ("nnnnnnnnnnnn", 0, CircuitState.CLOSED),
        ("FFFFnSSSSF", 0, CircuitState.CLOSED),
        ("SSSSSSSSSSSS", 0, CircuitState.CLOSED),
    ],
)
def test_opens_on_failures_in_a_row_or_on_their_share(
    outcomes: str, every_s: float, state: CircuitState
) -> None:
    """Five in a row whenever they came, or half of at least ten calls within 60 seconds."""
    breaker = CircuitBreaker()
    now = play(breaker, outcomes, every_s=every_s)
    assert breaker.state(now) is state


def test_an_open_circuit_says_how_long_it_rests() -> None:
    """Nothing passes for 30 seconds, and the time left is known."""
    breaker = opened()
    assert breaker.blocked_for_s(0.0) == OPEN_S
    assert breaker.blocked_for_s(10.0) == OPEN_S - 10.0
    assert breaker.enter(OPEN_S - 0.001) is None
    assert breaker.state(OPEN_S) is CircuitState.HALF_OPEN
    assert breaker.blocked_for_s(OPEN_S) is None


def test_one_probe_at_a_time() -> None:
    """While the probe is under way, nothing else passes, and nobody knows for how long."""
    breaker = opened()
    assert breaker.enter(OPEN_S) is not None
    assert breaker.enter(OPEN_S) is None
    assert breaker.blocked_for_s(OPEN_S + 500.0) == 0.0


def test_a_probe_that_succeeds_closes_the_circuit_with_a_clean_slate() -> None:
    """The failures before count no longer."""
    breaker = opened()
    play(breaker, "S", now=OPEN_S)
    assert breaker.state(OPEN_S) is CircuitState.CLOSED
    play(breaker, "FFFFS", now=OPEN_S)
    assert breaker.state(OPEN_S) is CircuitState.CLOSED
    play(breaker, "SSSSF", now=OPEN_S)
    assert breaker.state(OPEN_S) is CircuitState.OPEN


def test_a_probe_that_fails_opens_it_for_another_rest() -> None:
    """The rest begins again at the failure, which one probe is enough for."""
    breaker = opened()
    ticket = breaker.enter(OPEN_S)
    assert ticket is not None
    breaker.leave(ticket, Outcome.FAILURE, OPEN_S + 12.0)
    assert breaker.blocked_for_s(OPEN_S + 12.0) == OPEN_S


def test_a_probe_that_tells_nothing_makes_room_for_the_next() -> None:
    """A probe that was cancelled or refused neither closes nor opens."""
    breaker = opened()
    play(breaker, "nn", now=OPEN_S)
    assert breaker.state(OPEN_S) is CircuitState.HALF_OPEN
    assert breaker.enter(OPEN_S) is not None


@pytest.mark.parametrize("outcome", list(Outcome))
def test_calls_from_before_the_opening_are_old_news(outcome: Outcome) -> None:
    """A slow call that ends later neither closes nor reopens, nor stands in for the probe."""
    breaker = CircuitBreaker()
    slow = [breaker.enter(0.0) for _ in range(3)]
    play(breaker, "FFFFF")
    assert slow[0] is not None
    breaker.leave(slow[0], outcome, 20.0)
    assert breaker.blocked_for_s(20.0) == OPEN_S - 20.0
    assert breaker.enter(OPEN_S) is not None
    assert slow[1] is not None
    breaker.leave(slow[1], outcome, OPEN_S)
    assert breaker.state(OPEN_S) is CircuitState.HALF_OPEN
    assert breaker.enter(OPEN_S) is None


STEPS = st.lists(
    st.tuples(st.sampled_from(list(Outcome)), st.floats(0, 40), st.integers(0, 3)), max_size=60
)


@given(STEPS)
def test_never_more_than_one_probe_and_never_a_call_during_the_rest(
    steps: list[tuple[Outcome, float, int]],
) -> None:
    """Whatever happens, in whatever order calls end."""
    breaker = CircuitBreaker()
    now, rest_ends = 0.0, 0.0
    in_flight: list[tuple[int, CircuitState]] = []
    for outcome, pause_s, which in steps:
        now += pause_s
        state = breaker.state(now)
        blocked = breaker.blocked_for_s(now)
        ticket = breaker.enter(now)
        assert (ticket is None) == (blocked is not None)
        if ticket is not None:
            assert now >= rest_ends
            in_flight.append((ticket, state))
        if which < len(in_flight):
            ended, _ = in_flight.pop(which)
            before = breaker.state(now)
            breaker.leave(ended, outcome, now)
            if breaker.state(now) is CircuitState.OPEN and before is not CircuitState.OPEN:
                rest_ends = now + OPEN_S
        current = breaker.state(now)
        if current is CircuitState.HALF_OPEN:
            newest = max((ticket for ticket, _ in in_flight), default=-1)
            probes = [t for t, s in in_flight if s is CircuitState.HALF_OPEN and t == newest]
            assert len(probes) <= 1


@given(st.text("Sn"), st.integers(0, FAILURES_IN_A_ROW - 1))
def test_few_failures_never_open(outcomes: str, failures: int) -> None:
    """Neutral outcomes and successes cannot open, nor fewer failures than the least that do."""
    breaker = CircuitBreaker()
    play(breaker, "S" * (MIN_CALLS + 1) + outcomes + "F" * failures)
    assert breaker.state(0.0) is CircuitState.CLOSED


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=80))
def test_agrees_with_the_definition(calls: list[tuple[bool, float]]) -> None:
    """Open exactly when the definition, counted naively over the whole history, says so."""
    breaker = CircuitBreaker()
    now = 0.0
    history: list[tuple[float, bool]] = []
    for failed, pause_s in calls:
        now += pause_s
        play(breaker, "F" if failed else "S", now=now)
        history.append((now, failed))
        recent = [fault for at, fault in history if now - at <= WINDOW_S]
        in_a_row = [fault for _, fault in history[-FAILURES_IN_A_ROW:]]
        is_open = (len(in_a_row) == FAILURES_IN_A_ROW and all(in_a_row)) or (
            len(recent) >= MIN_CALLS and sum(recent) >= len(recent) / 2
        )
        assert (breaker.state(now) is CircuitState.OPEN) == is_open
        if is_open:
            return
