"""What every store of the cache promises, wherever it keeps its entries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from aigenflow.cache.models import Counters, Usage
from aigenflow.cache.storage import LEASE_S, CacheStorage, Selection
from aigenflow.core.errors import InputError
from tests.cache.questions import ANSWER, NOON, ask, reply, stored

OpenStorage = Callable[[], CacheStorage]

ABSENT = "0" * 32


class CacheStorageContract:
    """Inherit, and give a fixture ``open_storage`` that opens one and the same store each time."""

    shared_between_openings = True

    @pytest.fixture
    def storage(self, open_storage: OpenStorage) -> Iterator[CacheStorage]:
        """The store, closed at the end."""
        storage = open_storage()
        yield storage
        storage.close()

    @pytest.fixture
    def other(self, storage: CacheStorage, open_storage: OpenStorage) -> Iterator[CacheStorage]:
        """The same store as another process would open it."""
        if not self.shared_between_openings:
            yield storage
            return
        other = open_storage()
        yield other
        other.close()

    def test_a_new_store_is_empty(self, storage: CacheStorage) -> None:
        """Nothing is found, listed, counted or wrong in a store that was just made."""
        assert storage.get(ABSENT, 1) is None
        assert storage.peek(ABSENT) is None
        assert storage.usage() == Usage()
        assert storage.counters() == Counters()
        assert list(storage.names()) == []
        assert storage.select(Selection()) == []
        assert storage.check(fix=False) == []
        assert storage.trim(0, 0) == 0
        assert storage.clear() == 0

    def test_what_was_put_is_found(self, storage: CacheStorage, other: CacheStorage) -> None:
        """An entry comes back byte for byte, also to another opener."""
        meta, data = stored()
        storage.put(meta, data, 1)
        assert storage.get(meta.key, 2) == data
        assert other.get(meta.key, 3) == data
        assert other.peek(meta.key) == data
        assert list(other.names()) == [meta.key]

    def test_an_entry_is_replaced(self, storage: CacheStorage, other: CacheStorage) -> None:
        """Of two entries under one name the later one stays, and only its size counts."""
        meta, first = stored(response=reply("first", 2_000))
        _same, second = stored(response=reply("second"))
        assert storage.put(meta, first, 1) == Usage(entries=1, size_bytes=len(first))
        assert other.put(meta, second, 2) == Usage(entries=1, size_bytes=len(second))
        assert storage.get(meta.key, 3) == second
        assert storage.usage() == Usage(entries=1, size_bytes=len(second))

    def test_large_entries_come_back(self, storage: CacheStorage) -> None:
        """Two megabytes are an ordinary entry."""
        meta, data = stored(response=reply("x", 2_000_000))
        storage.put(meta, data, 1)
        assert storage.get(meta.key, 2) == data

    def test_deletion(self, storage: CacheStorage, other: CacheStorage) -> None:
        """What is deleted is gone for everybody, and what was not there does not count."""
        kept, removed = stored(ask(1)), stored(ask(2))
        storage.put(*kept, 1)
        storage.put(*removed, 2)
        assert storage.delete([removed[0].key, ABSENT]) == 1
        assert other.get(removed[0].key, 3) is None
        assert other.usage() == Usage(entries=1, size_bytes=len(kept[1]))
        assert other.delete([removed[0].key]) == 0

    def test_clear_leaves_the_counters(self, storage: CacheStorage) -> None:
        """Clearing removes every entry and forgets no count."""
        for number in range(5):
            storage.put(*stored(ask(number)), number)
        storage.set_aside(stored(ask(0))[0].key)
        assert storage.clear() == 4
        assert storage.usage() == Usage()
        assert storage.counters().stores == 5

    def test_setting_aside(self, storage: CacheStorage) -> None:
        """An entry that was set aside is not found any more, and its size does not count."""
        meta, data = stored()
        storage.put(meta, data, 1)
        storage.set_aside(meta.key)
        storage.set_aside(ABSENT)
        assert storage.get(meta.key, 2) is None
        assert storage.usage() == Usage()
        storage.put(meta, data, 3)
        assert storage.get(meta.key, 4) == data

    def test_trim_keeps_what_was_used_last(self, storage: CacheStorage) -> None:
        """Eviction goes by the order of use, whatever the order of writing."""
        entries = [stored(ask(number), reply("x", 1_000)) for number in range(10)]
        for at, (meta, data) in enumerate(entries):
            storage.put(meta, data, 100 + at)
        for at in (3, 0, 7):
            storage.get(entries[at][0].key, 200 + at)
        size = storage.usage().size_bytes
        one = len(entries[0][1])
        assert storage.trim(size, one) == 0, "at the limit is not over it"
        assert storage.trim(size - 1, 3 * one) == 7
        assert set(storage.names()) == {entries[at][0].key for at in (3, 0, 7)}
        assert storage.usage() == Usage(entries=3, size_bytes=3 * one)
        assert storage.counters().evictions == 7
        assert storage.trim(2 * one, one) == 2
        assert list(storage.names()) == [entries[7][0].key]

    def test_order_of_use_survives_closing(
        self, storage: CacheStorage, open_storage: OpenStorage
    ) -> None:
        """Recency is kept for the next process."""
        if not self.shared_between_openings:
            pytest.skip("nothing of this store outlives the process")
        entries = [stored(ask(number), reply("x", 1_000)) for number in range(4)]
        first = open_storage()
        for at, (meta, data) in enumerate(entries):
            first.put(meta, data, at + 1)
        first.get(entries[0][0].key, 50)
        first.close()
        size = storage.usage().size_bytes
        storage.trim(size - 1, len(entries[0][1]))
        assert list(storage.names()) == [entries[0][0].key]

    def test_counters_add_up(self, storage: CacheStorage, other: CacheStorage) -> None:
        """Counts of several openers are summed."""
        for store in (storage, other, storage):
            store.count(Counters(hits=2, misses=1, hit_ns=5_000_000_000))
        storage.put(*stored(), 1)
        assert other.counters() == Counters(hits=6, misses=3, stores=1, hit_ns=15_000_000_000)

    def test_selection(self, storage: CacheStorage) -> None:
        """Entries are chosen by each of their properties."""
        requests = {
            "plain": stored(ask(1), created=NOON),
            "phase": stored(ask(2, phase=4), created=NOON - timedelta(hours=1)),
            "task": stored(ask(3, task="pitch"), created=NOON - timedelta(hours=2)),
            "session": stored(ask(4, session="s2"), created=NOON - timedelta(hours=3)),
        }
        for at, entry in enumerate(requests.values()):
            storage.put(*entry, at)

        def chosen(**wanted: object) -> list[str]:
            found = storage.select(Selection(**wanted))  # type: ignore[arg-type]
            names = {entry[0].key: name for name, entry in requests.items()}
            assert all(size == len(requests[names[key]][1]) for key, size in found)
            return [names[key] for key, _size in found]

        assert chosen() == ["plain", "phase", "task", "session"]
        assert chosen(limit=2) == ["plain", "phase"]
        assert chosen(limit=0) == []
        assert chosen(phase="4") == ["phase"]
        assert chosen(task="pitch") == ["task"]
        assert chosen(session="s2") == ["session"]
        assert chosen(agent="claude", session="s1") == ["plain", "phase", "task"]
        assert chosen(agent="gemini") == []
        assert chosen(provider="anthropic") == chosen(provider="claude") == chosen()
        assert chosen(provider="gemini") == []
        assert chosen(created_before=NOON - timedelta(hours=1)) == ["task", "session"]
        limits = {"": NOON - timedelta(hours=2), "4": NOON}
        assert chosen(expired=True, expired_from=limits) == ["phase", "task", "session"]
        assert chosen(expired=False, expired_from=limits) == ["plain"]
        assert chosen(expired=True, expired_from={"": NOON - timedelta(hours=3)}) == ["session"]

    def test_selection_is_sorted(self, storage: CacheStorage) -> None:
        """Lists come newest, largest or dearest first, and unknown cost comes last."""
        costs = {1: Decimal("0.02"), 2: None, 3: Decimal("0.5")}
        keys = {}
        for number, cost in costs.items():
            response = reply("x", 100 * number).model_copy(update={"estimated_cost": cost})
            meta, data = stored(ask(number), response, created=NOON + timedelta(days=number % 3))
            storage.put(meta, data, number)
            keys[meta.key] = number
        order = {
            sort: [keys[name] for name, _size in storage.select(Selection(sort=sort))]
            for sort in ("created", "size", "cost")
        }
        assert order == {"created": [2, 1, 3], "size": [3, 2, 1], "cost": [3, 1, 2]}

    def test_lists_follow_changes(self, storage: CacheStorage, other: CacheStorage) -> None:
        """What another opener adds, replaces and removes shows in the next list."""
        first, second = stored(ask(1)), stored(ask(2))
        storage.put(*first, 1)
        assert len(storage.select(Selection())) == 1
        other.put(*second, 2)
        other.delete([first[0].key])
        assert storage.select(Selection()) == [(second[0].key, len(second[1]))]
        meta, data = stored(ask(2), reply("longer", 5_000))
        other.put(meta, data, 3)
        assert storage.select(Selection()) == [(meta.key, len(data))]

    @pytest.mark.parametrize(
        "name", ["", "../../escape", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n", "é"]
    )
    def test_names_are_checked(self, storage: CacheStorage, name: str) -> None:
        """Nothing but 32 hex digits becomes part of a path or a statement."""
        meta, data = stored()
        for attempt in (
            lambda: storage.get(name, 1),
            lambda: storage.peek(name),
            lambda: storage.delete([name]),
            lambda: storage.set_aside(name),
            lambda: storage.lease(name, 0.0),
            lambda: storage.put(meta.model_copy(update={"key": name}), data, 1),
        ):
            with pytest.raises(InputError):
                attempt()

    def test_one_lease_at_a_time(self, storage: CacheStorage, other: CacheStorage) -> None:
        """A lease is refused while somebody has it, and free after its release."""
        now = NOON.timestamp()
        lease = storage.lease(ABSENT, now)
        assert lease is not None
        assert other.lease(ABSENT, now) is None
        assert other.lease("1" * 32, now) is not None
        lease.release()
        again = other.lease(ABSENT, now)
        assert again is not None
        again.release()

    def test_a_lease_lives_by_its_heartbeat(
        self, storage: CacheStorage, other: CacheStorage
    ) -> None:
        """A renewed lease is kept; one that is not renewed goes to the next who asks."""
        now = NOON.timestamp()
        lease = storage.lease(ABSENT, now)
        assert lease is not None
        lease.renew(now + LEASE_S)
        assert other.lease(ABSENT, now + 1.5 * LEASE_S) is None
        taken = other.lease(ABSENT, now + 2 * LEASE_S + 1)
        assert taken is not None
        lease.release()
        assert storage.lease(ABSENT, now + 2 * LEASE_S + 2) is None
        taken.release()

    def test_threads_do_not_disturb_each_other(self, storage: CacheStorage) -> None:
        """Eight threads write, read and remove; nothing is torn and the sums are right."""
        entries = [stored(ask(number), reply("x", 500)) for number in range(10)]
        wrong: list[object] = []

        def work(seed: int) -> None:
            for step in range(60):
                meta, data = entries[(seed * 7 + step) % 10]
                if step % 3 == 0:
                    storage.put(meta, data, step + 1)
                elif step % 17 == 0:
                    storage.delete([meta.key])
                elif (found := storage.get(meta.key, step + 1)) not in (None, data):
                    wrong.append(found)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        there = [storage.peek(name) or b"" for name in storage.names()]
        assert storage.usage() == Usage(entries=len(there), size_bytes=sum(map(len, there)))
        assert storage.counters().stores == 8 * 20
        assert storage.check(fix=False) == []

    def test_closing_twice_is_harmless(self, open_storage: OpenStorage) -> None:
        """``close`` raises nothing."""
        storage = open_storage()
        storage.put(*stored(response=ANSWER), 1)
        storage.close()
        storage.close()
