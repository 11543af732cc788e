"""A worker's lease on its sessions and slots: renewed in time, or the process is gone in time.

The others take over from a worker that was silent for too long. Its calls must have ended by then,
or the provider would see more of them than the limits allow. So the lease is kept by threads and a
connection of their own, which wait for nothing else in the process, and a worker that could not
renew it ends before the others may act, as if it were killed: that closes every connection to a
provider, whatever the rest of the process is doing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from aigenflow.core.db import DatabaseError

BEATS = 5
"""Renewals within the time after which a worker counts as dead; the last one's is the margin."""


class Lease:
    """Renewed until :meth:`end`; ``on_lost`` is called, once, from a thread, where it is lost.

    ``renew`` is false where others have taken over, and may raise ``DatabaseError`` or hang.
    ``dead_after_s`` is when they do, in seconds after the last renewal; ``lasts_s``, when the lease
    is lost without another one, is shorter.
    """

    def __init__(
        self, renew: Callable[[], bool], dead_after_s: float, on_lost: Callable[[], None]
    ) -> None:
        self._renew = renew
        self._on_lost = on_lost
        self._pause_s = dead_after_s / BEATS
        self.lasts_s = dead_after_s - self._pause_s
        self._until = 0.0
        self._is_ended = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Renew from now on; the lease has just been taken."""
        self._until = time.monotonic() + self.lasts_s
        for work in (self._keep, self._watch):
            threading.Thread(target=work, name="fleet lease", daemon=True).start()

    def end(self) -> None:
        """It is not needed any more."""
        with self._lock:
            self._is_ended.set()

    def _keep(self) -> None:
        while not self._is_ended.wait(self._pause_s):
            asked = time.monotonic()
            try:
                is_ours = self._renew()
            except DatabaseError:
                continue
            if not is_ours:
                self._lose()
                return
            self._until = asked + self.lasts_s

    def _watch(self) -> None:
        while (left_s := self._until - time.monotonic()) > 0:
            if self._is_ended.wait(left_s):
                return
        self._lose()

    def _lose(self) -> None:
        with self._lock:
            if self._is_ended.is_set():
                return
            self._is_ended.set()
        self._on_lost()
