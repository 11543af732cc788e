"""Which process made a reservation, and whether it is still there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from aigenflow.monitoring.models import Owner, ReservationState

_PROC = Path("/proc")
_START_FIELD = 19
"""Where a process's start time stands in ``/proc/PID/stat`` after the name in brackets."""


def current_owner() -> Owner:
    """This process."""
    pid = os.getpid()
    return Owner(host=socket.gethostname(), pid=pid, started=started(pid) or "")


def started(pid: int) -> str | None:
    """When a process began, as text to compare; empty where the system does not say.

    ``None`` where there is no such process on this machine.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] == "Z" else f"{boot}/{fields[_START_FIELD]}"


def state_of(owner: Owner, job: str, here: str) -> ReservationState:
    """Who answers for a reservation, seen from the machine called ``here``."""
    if job:
        return ReservationState.JOB
    if owner.host != here:
        return ReservationState.ELSEWHERE
    alive = started(owner.pid) == owner.started
    return ReservationState.ACTIVE if alive else ReservationState.ORPHANED
