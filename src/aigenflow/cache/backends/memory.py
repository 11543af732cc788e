"""A store in memory: for tests, and for runs that must leave nothing on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aigenflow.cache.index import Index
from aigenflow.cache.models import Counters, EntryMeta, Finding, Usage
from aigenflow.cache.policy import Use, victims
from aigenflow.cache.storage import LEASE_S, Selection, check_name


@dataclass(slots=True, kw_only=True)
class _Kept:
    meta: EntryMeta
    data: bytes
    used_ns: int
    number: int


class MemoryStorage:
    """Entries in a dictionary of this process."""

    remote = False

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._leases: dict[str, _MemoryLease] = {}
        self._counters = Counters()
        self._lock = threading.RLock()

    def get(self, name: str, used_ns: int) -> bytes | None:
        with self._lock:
            kept = self._kept.get(check_name(name))
            if kept is None:
                return None
            kept.used_ns = used_ns
            return kept.data

    def peek(self, name: str) -> bytes | None:
        kept = self._kept.get(check_name(name))
        return None if kept is None else kept.data

    def put(self, meta: EntryMeta, data: bytes, used_ns: int) -> Usage:
        with self._lock:
            self._counters += Counters(stores=1)
            self._kept[check_name(meta.key)] = _Kept(
                meta=meta, data=data, used_ns=used_ns, number=self._counters.stores
            )
            return self.usage()

    def delete(self, names: Iterable[str]) -> int:
        with self._lock:
            return sum(self._kept.pop(check_name(name), None) is not None for name in names)

    def clear(self) -> int:
        return self.delete(list(self._kept))

    def set_aside(self, name: str) -> None:
        self.delete([name])

    def trim(self, limit_bytes: int, target_bytes: int) -> int:
        with self._lock:
            size = self.usage().size_bytes
            if size <= limit_bytes:
                return 0
            uses = [
                Use(key=name, used_ns=kept.used_ns, size_bytes=len(kept.data))
                for name, kept in self._kept.items()
            ]
            evicted = self.delete([use.key for use in victims(uses, size, target_bytes)])
            self._counters += Counters(evictions=evicted)
            return evicted

    def usage(self) -> Usage:
        with self._lock:
            kept = self._kept.values()
            return Usage(entries=len(kept), size_bytes=sum(len(entry.data) for entry in kept))

    def names(self) -> Iterator[str]:
        return iter(list(self._kept))

    def select(self, selection: Selection) -> list[tuple[str, int]]:
        with self._lock:
            index = Index()
            index.update(
                {name: kept.number for name, kept in self._kept.items()},
                0,
                lambda name: (self._kept[name].meta, len(self._kept[name].data)),
            )
            return index.select(selection)

    def count(self, happened: Counters) -> None:
        with self._lock:
            self._counters += happened

    def counters(self) -> Counters:
        return self._counters

    def lease(self, name: str, now: float) -> _MemoryLease | None:
        with self._lock:
            holder = self._leases.get(check_name(name))
            if holder is not None and now - holder.renewed <= LEASE_S:
                return None
            lease = self._leases[name] = _MemoryLease(self._leases, name, now)
            return lease

    def check(self, *, fix: bool) -> list[Finding]:
        return []

    def close(self) -> None:
        return None


class _MemoryLease:
    def __init__(self, leases: dict[str, _MemoryLease], name: str, renewed: float) -> None:
        self._leases = leases
        self._name = name
        self.renewed = renewed

    def renew(self, now: float) -> None:
        self.renewed = now

    def release(self) -> None:
        if self._leases.get(self._name) is self:
            del self._leases[self._name]
