"""A lease is renewed in time, or lost before the others may act."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from aigenflow.core.db import DatabaseAwayError
from aigenflow.engine.fleet_lease import Lease

DEAD_AFTER_S = 0.5


def no() -> bool:
    return False


def away() -> bool:
    raise DatabaseAwayError("no server")


def hanging() -> bool:
    threading.Event().wait(3)
    return True


@pytest.mark.parametrize("renew", [away, hanging, no])
def test_a_lease_that_is_not_renewed_is_lost_before_the_others_act(renew: Callable[[], bool]):
    """Whether the server refuses, hangs, or says that it is too late: once, and in time."""
    lost: list[float] = []
    gone = threading.Event()

    def on_lost() -> None:
        lost.append(time.monotonic())
        gone.set()

    lease = Lease(renew, DEAD_AFTER_S, on_lost)
    began = time.monotonic()
    lease.start()
    assert gone.wait(10)
    lease.end()
    assert len(lost) == 1
    assert lease.lasts_s < DEAD_AFTER_S
    assert lost[0] - began >= (0 if renew is no else lease.lasts_s)


def test_a_lease_that_is_renewed_is_kept():
    """It outlives its length several times."""
    renewals = threading.Semaphore(0)

    def renew() -> bool:
        renewals.release()
        return True

    lost = threading.Event()
    lease = Lease(renew, DEAD_AFTER_S, lost.set)
    lease.start()
    for _ in range(15):
        assert renewals.acquire(timeout=10)
    lease.end()
    assert not lost.is_set()


def test_a_lease_that_has_ended_is_not_lost():
    """A renewal that fails after the end, because the worker has signed off, means nothing."""
    began, go_on = threading.Event(), threading.Event()

    def renew() -> bool:
        began.set()
        go_on.wait(10)
        return False

    lost = threading.Event()
    lease = Lease(renew, 4 * DEAD_AFTER_S, lost.set)
    lease.start()
    assert began.wait(10)
    lease.end()
    go_on.set()
    assert not lost.wait(0.1)
