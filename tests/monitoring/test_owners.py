"""Who answers for a reservation."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from aigenflow.monitoring.models import ReservationState
from aigenflow.monitoring.owners import current_owner, started, state_of


def test_a_running_process_is_active():
    """This process answers for what it reserved."""
    me = current_owner()
    assert (me.pid, started(me.pid)) == (os.getpid(), me.started)
    assert state_of(me, "", me.host) is ReservationState.ACTIVE


def test_a_process_of_the_same_number_is_another():
    """A process id that was given to a later process does not keep a reservation alive."""
    me = replace(current_owner(), started="earlier")
    assert state_of(me, "", me.host) is ReservationState.ORPHANED


def test_a_process_that_has_ended_is_gone():
    """An ended process has no start, also before its parent has noticed."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert started(child.pid)
    child.kill()
    while started(child.pid):
        os.sched_yield()
    assert started(child.pid) is None
    child.communicate()
    assert started(child.pid) is None


def test_another_machine_cannot_be_judged():
    """What runs elsewhere is neither alive nor dead from here."""
    me = current_owner()
    assert state_of(me, "", "other-host") is ReservationState.ELSEWHERE


def test_a_job_outlives_its_process():
    """A batch job holds its reservations, whatever became of the process that made them."""
    gone = replace(current_owner(), started="earlier")
    assert state_of(gone, "batch-1", gone.host) is ReservationState.JOB
