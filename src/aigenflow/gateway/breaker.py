"""A circuit breaker as a state machine that does no I/O: time (monotonic seconds) is an argument.

    CLOSED ──── too many failures ────> OPEN
      ^                                  │ after OPEN_S, on the next call
      │                                  v
      └──────── probe succeeds ───── HALF_OPEN ── probe fails ──> OPEN

OPEN lets nothing through; HALF_OPEN lets one probe through at a time. A provider that is down
then costs one call every half minute instead of three attempts for each request.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from aigenflow.core.errors import GatewayError, TransientError

FAILURES_IN_A_ROW = 5
FAILURE_RATIO = 0.5
MIN_CALLS = 10
"""Fewer calls than this in the window say nothing about the ratio."""
WINDOW_S = 60.0
OPEN_S = 30.0


class CircuitState(Enum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(Enum):
    """What one call says about the health of the provider."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


def outcome_of(error: GatewayError | None) -> Outcome:
    """A refusal, an unusable answer or any 4xx is an answer of a provider that is alive: neutral.

    That includes 429, which has its own remedy: a pause.
    """
    if error is None:
        return Outcome.SUCCESS
    client_error = error.status is not None and 400 <= error.status < 500
    if isinstance(error, TransientError) and not client_error:
        return Outcome.FAILURE
    return Outcome.NEUTRAL


class CircuitBreaker:
    """Counts the outcomes of the calls to one model of one provider.

    Each call asks for a ticket with :meth:`enter` and must hand it back with :meth:`leave`, also
    when it was cancelled (:attr:`Outcome.NEUTRAL`): a probe that is never handed back would keep
    the circuit shut. Neutral outcomes are not counted at all.
    """

    def __init__(self) -> None:
        self._state = CircuitState.CLOSED
        self._opened_at = 0.0
        self._probing = False
        self._in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque()
        self._recent_failures = 0
        # Grows with every change of state. An outcome of a call that began in an earlier state
        # is old news: it must neither stand in for the probe nor open the circuit again.
        self._generation = 0

    def state(self, now: float) -> CircuitState:
        """The state at ``now``; an open circuit that has rested is half-open."""
        if self._state is CircuitState.OPEN and now >= self._opened_at + OPEN_S:
            return CircuitState.HALF_OPEN
        return self._state

    def blocked_for_s(self, now: float) -> float | None:
        """``None`` where a call may be made, else the seconds until one may be tried.

        0 means: as soon as the probe that is under way has ended.
        """
        state = self.state(now)
        if state is CircuitState.OPEN:
            return self._opened_at + OPEN_S - now
        if state is CircuitState.HALF_OPEN and self._probing:
            return 0.0
        return None

    def enter(self, now: float) -> int | None:
        """A ticket for one call, or ``None`` where none may be made."""
        if self.blocked_for_s(now) is not None:
            return None
        if self._state is CircuitState.OPEN:
            self._change_to(CircuitState.HALF_OPEN)
        self._probing = self._state is CircuitState.HALF_OPEN
        return self._generation

    def leave(self, ticket: int, outcome: Outcome, now: float) -> None:
        """Hand back the ticket of a call that has ended, and tell how."""
        if ticket != self._generation:
            return
        self._probing = False
        if outcome is Outcome.NEUTRAL:
            return
        failed = outcome is Outcome.FAILURE
        if self._state is CircuitState.CLOSED:
            self._count(now, failed)
            if self._is_failing():
                self._open(now)
        elif failed:
            self._open(now)
        else:
            self._change_to(CircuitState.CLOSED)

    def _count(self, now: float, failed: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._recent.append((now, failed))
        self._recent_failures += failed
        while now - self._recent[0][0] > WINDOW_S:
            _, old_failed = self._recent.popleft()
            self._recent_failures -= old_failed

    def _is_failing(self) -> bool:
        calls = len(self._recent)
        return self._in_a_row >= FAILURES_IN_A_ROW or (
            calls >= MIN_CALLS and self._recent_failures >= FAILURE_RATIO * calls
        )

    def _open(self, now: float) -> None:
        self._change_to(CircuitState.OPEN)
        self._opened_at = now

    def _change_to(self, state: CircuitState) -> None:
        self._state = state
        self._generation += 1
        self._probing = False
        self._in_a_row = 0
        self._recent.clear()
        self._recent_failures = 0
