from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.cache.backends.memory import MemoryStorage
from aigenflow.cache.codec import AesCodec
from aigenflow.cache.manager import CacheManager
from aigenflow.cache.models import EntryFilter
from aigenflow.cache.policy import TtlPolicy
from aigenflow.cache.storage import CacheStorage, Lease, StorageError, open_storage
from aigenflow.core.errors import ConfigError, InputError, ServerFaultError
from aigenflow.core.models import AgentType, Backend, FinishReason, ServedFrom
from aigenflow.testing.clock import ManualClock
from tests.cache.buying import Shop, never, settle, until
from tests.cache.questions import ANSWER, NOON, REQUEST, ROUTE, ask, from_cache, reply, stored

HOUR = 3600.0


def everything_in(folder: Path) -> bytes:
    """Names and contents of all files."""
    return b"\n".join(
        path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    )


class SetClock(ManualClock):
    """A clock whose wall time can be set, also backwards."""

    def set_by(self, delta: timedelta) -> None:
        self._start += delta


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOON)


@pytest.fixture
def open_manager(tmp_path: Path, clock: SetClock) -> Iterator[Callable[..., CacheManager]]:
    """Opens managers of one file store, each as a process of its own would."""
    opened: list[CacheManager] = []

    def opener(url: str = "file:", **options: object) -> CacheManager:
        manager = CacheManager(
            open_storage(url, home=tmp_path),
            **({"clock": clock} | options),  # type: ignore[arg-type]
        )
        opened.append(manager)
        return manager

    yield opener
    for manager in opened:
        manager.close()


@pytest.fixture
def cache(open_manager: Callable[..., CacheManager]) -> CacheManager:
    return open_manager()


async def test_a_miss_buys_and_a_hit_does_not(cache: CacheManager) -> None:
    """The same question again costs nothing and gives the same answer."""
    shop = Shop(ANSWER)
    bought = await cache.get_or_buy(REQUEST, ROUTE, shop)
    assert (bought.hit, bought.stored, bought.response) == (False, True, ANSWER)
    again = await cache.get_or_buy(REQUEST, ROUTE, never())
    assert (again.hit, again.response) == (True, from_cache(ANSWER))
    assert again.key == bought.key
    assert shop.sold == 1


async def test_answers_outlive_the_process(open_manager: Callable[..., CacheManager]) -> None:
    """Another manager of the same store finds them."""
    await open_manager().get_or_buy(REQUEST, ROUTE, Shop(ANSWER))
    assert (await open_manager().get_or_buy(REQUEST, ROUTE, never())).hit


async def test_another_question_is_another_answer(cache: CacheManager) -> None:
    """Similar prompts and other models are bought for themselves."""
    shop = Shop()
    for request, route in (
        (ask(1), ROUTE),
        (ask(11), ROUTE),
        (ask(1), replace(ROUTE, model="claude-opus-5-5")),
        (ask(1, system="Another"), ROUTE),
    ):
        assert not (await cache.get_or_buy(request, route, shop)).hit
    assert shop.sold == 4


async def test_expired_answers_are_bought_again(cache: CacheManager, clock: SetClock) -> None:
    """After 24 hours a new answer replaces the old one."""
    await cache.get_or_buy(REQUEST, ROUTE, Shop(reply("old")))
    clock.advance(24 * HOUR - 1)
    hit = await cache.get_or_buy(REQUEST, ROUTE, never())
    assert hit.age == timedelta(hours=24, seconds=-1)
    clock.advance(1)
    renewed = await cache.get_or_buy(REQUEST, ROUTE, Shop(reply("new")))
    assert not renewed.hit
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).response.content == "new"
    assert cache.stats().total_entries == 1


async def test_phases_age_differently(
    open_manager: Callable[..., CacheManager], clock: SetClock
) -> None:
    """The TTL of a phase overrides the general one."""
    cache = open_manager(ttl=TtlPolicy(hours=24, hours_by_phase={2: 1}))
    for phase in (2, 3):
        await cache.get_or_buy(ask(1, phase=phase), ROUTE, Shop())
    clock.advance(2 * HOUR)
    assert cache.get(ask(1, phase=2), ROUTE) is None
    assert cache.get(ask(1, phase=3), ROUTE) is not None
    assert [row.meta.phase for row in cache.list(EntryFilter(expired=True))] == ["2"]


@pytest.mark.parametrize(
    "jump", [timedelta(hours=-1), timedelta(days=-3650), timedelta(hours=1), timedelta(0)]
)
async def test_a_clock_that_jumps_expires_nothing(
    cache: CacheManager, clock: SetClock, jump: timedelta
) -> None:
    """A clock set back, or forward by less than the TTL, leaves the answers where they are."""
    await cache.get_or_buy(REQUEST, ROUTE, Shop())
    clock.set_by(jump)
    hit = await cache.get_or_buy(REQUEST, ROUTE, never())
    assert hit.age == max(timedelta(0), jump)


async def test_no_entry_is_immortal(cache: CacheManager, clock: SetClock) -> None:
    """What a clock ten years ahead has stored lives for one TTL once the clock is right."""
    clock.set_by(timedelta(days=3650))
    await cache.get_or_buy(REQUEST, ROUTE, Shop())
    clock.set_by(timedelta(days=-3650))
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).hit
    clock.advance(23 * HOUR)
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).hit
    clock.advance(HOUR)
    assert not (await cache.get_or_buy(REQUEST, ROUTE, Shop())).hit


@pytest.mark.parametrize(
    "change",
    [{"finish_reason": reason} for reason in FinishReason if reason is not FinishReason.COMPLETE]
    + [{"success": False}, {"content": "  "}],
)
async def test_bad_answers_pass_through(cache: CacheManager, change: dict[str, object]) -> None:
    """An answer that is not worth hearing again is returned and not kept."""
    bad = ANSWER.model_copy(update=change)
    answer = await cache.get_or_buy(REQUEST, ROUTE, Shop(bad))
    assert (answer.response, answer.hit, answer.stored) == (bad, False, False)
    assert (await cache.get_or_buy(REQUEST, ROUTE, Shop(ANSWER))).response == ANSWER


async def test_errors_pass_through(cache: CacheManager) -> None:
    """The error of the purchase is raised, and the next one tries again."""
    with pytest.raises(ServerFaultError):
        await cache.get_or_buy(REQUEST, ROUTE, Shop(ServerFaultError("down")))
    assert not (await cache.get_or_buy(REQUEST, ROUTE, Shop())).hit


async def test_refresh_buys_and_replaces(cache: CacheManager) -> None:
    """``refresh`` ignores what is there, and the next look-up sees the new answer."""
    await cache.get_or_buy(REQUEST, ROUTE, Shop(reply("old")))
    renewed = await cache.get_or_buy(REQUEST, ROUTE, Shop(reply("new")), refresh=True)
    assert (renewed.hit, renewed.response.content) == (False, "new")
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).response.content == "new"


async def test_identical_requests_at_the_same_time_cost_one(cache: CacheManager) -> None:
    """One goes out; the others get its answer as a hit."""
    shop = Shop(ANSWER, hold=True)
    asked = [asyncio.create_task(cache.get_or_buy(REQUEST, ROUTE, shop)) for _ in range(64)]
    await settle()
    shop.open()
    answers = await asyncio.gather(*asked)
    assert shop.sold == 1
    assert sum(answer.hit for answer in answers) == 63
    assert {a.response.served_from for a in answers if a.hit} == {ServedFrom.CACHE}
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (63, 1)


async def test_an_answer_that_cannot_be_kept_is_not_shared(cache: CacheManager) -> None:
    """Those who waited for a refusal ask for themselves, one at a time."""
    bad = ANSWER.model_copy(update={"finish_reason": FinishReason.REFUSAL})
    shop = Shop(bad, hold=True)
    asked = [asyncio.create_task(cache.get_or_buy(REQUEST, ROUTE, shop)) for _ in range(5)]
    await settle()
    shop.open()
    answers = await asyncio.gather(*asked)
    assert shop.sold == 2
    assert sum(answer.response == bad for answer in answers) == 1


async def test_a_leader_who_goes_leaves_the_purchase_to_the_others(cache: CacheManager) -> None:
    """The call goes on while one still waits, and is cancelled with the last."""
    shop = Shop(hold=True)
    first = asyncio.create_task(cache.get_or_buy(REQUEST, ROUTE, shop))
    second = asyncio.create_task(cache.get_or_buy(REQUEST, ROUTE, shop))
    await until(lambda: shop.sold == 1)
    first.cancel()
    await settle()
    shop.open()
    assert (await second).response.content == "answer 1"
    assert (shop.sold, shop.cancelled) == (1, 0)


@pytest.mark.parametrize("url", ["file:", "sqlite:///{home}/cache.db"])
async def test_two_processes_buy_once(
    open_manager: Callable[..., CacheManager], tmp_path: Path, url: str
) -> None:
    """Whoever has the lease buys; the other waits and reads."""
    one, two = (
        open_manager(url.format(home=tmp_path), clock=ManualClock(NOON, auto_advance=True))
        for _ in range(2)
    )
    shop = Shop(ANSWER, hold=True)
    first = asyncio.create_task(one.get_or_buy(REQUEST, ROUTE, shop))
    await until(lambda: shop.sold == 1)
    second = asyncio.create_task(two.get_or_buy(REQUEST, ROUTE, never()))
    await settle()
    shop.open()
    assert (await second).hit
    assert not (await first).hit


async def test_a_failed_purchase_elsewhere_hands_over(
    open_manager: Callable[..., CacheManager],
) -> None:
    """When the other process fails, the one that waited buys."""
    one, two = (open_manager(clock=ManualClock(NOON, auto_advance=True)) for _ in range(2))
    failing, shop = Shop(ServerFaultError("down"), hold=True), Shop(ANSWER)
    first = asyncio.create_task(one.get_or_buy(REQUEST, ROUTE, failing))
    await until(lambda: failing.sold == 1)
    second = asyncio.create_task(two.get_or_buy(REQUEST, ROUTE, shop))
    await settle()
    failing.open()
    assert (await second).response == ANSWER
    with pytest.raises(ServerFaultError):
        await first


async def test_the_least_recently_used_go(open_manager: Callable[..., CacheManager]) -> None:
    """Over the limit, what was not used for longest is evicted; the limit holds."""
    size = len(stored(ask(0), reply("x", 10_000))[1])
    cache = open_manager(max_size_bytes=10 * size + size // 2)
    for number in range(10):
        await cache.get_or_buy(ask(number), ROUTE, Shop(reply("x", 10_000)))
    for number in (0, 5):
        assert (await cache.get_or_buy(ask(number), ROUTE, never())).hit
    await cache.get_or_buy(ask(10), ROUTE, Shop(reply("x", 10_000)))
    stats = cache.stats()
    assert stats.size_bytes <= 10 * size + size // 2
    assert stats.evictions == 2
    there = [n for n in range(11) if cache.get(ask(n), ROUTE) is not None]
    assert there == [0, 3, 4, 5, 6, 7, 8, 9, 10]
    assert cache.doctor() == ()


async def test_what_is_larger_than_the_limit_is_not_stored(
    open_manager: Callable[..., CacheManager],
) -> None:
    """One giant does not push everything else out."""
    cache = open_manager(max_size_bytes=10_000)
    await cache.get_or_buy(ask(1), ROUTE, Shop())
    giant = await cache.get_or_buy(ask(2), ROUTE, Shop(reply("x", 20_000)))
    assert not giant.stored
    assert cache.stats().total_entries == 1


async def test_answers_that_are_not_json_are_not_stored(cache: CacheManager) -> None:
    """Half a character in the provider's answer does not stop the run."""
    strange = reply("\ud800")
    answer = await cache.get_or_buy(REQUEST, ROUTE, Shop(strange))
    assert (answer.response, answer.stored) == (strange, False)


async def test_a_request_without_a_key_is_refused(cache: CacheManager) -> None:
    """A lone surrogate in the prompt is an error before anything is bought."""
    with pytest.raises(InputError):
        await cache.get_or_buy(replace(REQUEST, prompt="\ud800"), ROUTE, never())


async def test_an_entry_in_the_wrong_place_is_a_miss(cache: CacheManager, tmp_path: Path) -> None:
    """A file copied over another by hand is never an answer to the other question."""
    await cache.get_or_buy(ask(1), ROUTE, Shop(reply("one")))
    two = await cache.get_or_buy(ask(2), ROUTE, Shop(reply("two")))
    entries = tmp_path / "cache" / "entries"
    (one,) = (path for path in entries.iterdir() if path.stem != two.key)
    (entries / f"{two.key}.json").write_bytes(one.read_bytes())
    assert not (await cache.get_or_buy(ask(2), ROUTE, Shop(reply("two again")))).hit
    assert (await cache.get_or_buy(ask(2), ROUTE, never())).response.content == "two again"
    assert len(list((tmp_path / "cache" / "quarantine").iterdir())) == 1


async def test_a_collision_of_keys_is_a_miss(cache: CacheManager, tmp_path: Path) -> None:
    """Equal first halves of two digests are not enough to be served."""
    answer = await cache.get_or_buy(REQUEST, ROUTE, Shop())
    path = tmp_path / "cache" / "entries" / f"{answer.key}.json"
    data = path.read_bytes()
    fingerprint = json.loads(data)["meta"]["fingerprint"].encode()
    start = data.index(b'","meta_bytes"')
    checked = data[start:].replace(fingerprint, fingerprint[:-1] + b"x")
    path.write_bytes(data[: start - 8] + b"%08x" % zlib.crc32(checked) + checked)
    assert cache.get(REQUEST, ROUTE) is None


async def test_stats(open_manager: Callable[..., CacheManager], clock: SetClock) -> None:
    """Hits and misses of all processes are summed, and the rates come from them."""
    one, two = open_manager(), open_manager()
    await one.get_or_buy(ask(1), ROUTE, Shop())
    for cache in (one, two, two):
        await cache.get_or_buy(ask(1), ROUTE, never())
    assert two.get(ask(2), ROUTE) is None
    one.close()
    stats = two.stats()
    assert (stats.hits, stats.misses, stats.stores, stats.total_entries) == (3, 2, 1, 1)
    assert (stats.hit_rate, stats.miss_rate) == (0.6, 0.4)
    assert stats.average_hit_latency_ms == 0.0, "no time passes on this clock"
    assert stats.size_bytes == sum(row.size_bytes for row in two.list())


async def test_list_and_filters(open_manager: Callable[..., CacheManager], clock: SetClock) -> None:
    """Entries are listed newest first, by provider, phase, session, age and expiry."""
    cache = open_manager()
    gemini = replace(
        ROUTE, actor=AgentType.GEMINI, backend=Backend.GEMINI, model="gemini-3.8-flash"
    )
    by_gemini = ANSWER.model_copy(update={"agent": AgentType.GEMINI})
    await cache.get_or_buy(ask(1), ROUTE, Shop(ANSWER))
    clock.advance(23 * HOUR)
    await cache.get_or_buy(ask(2, phase=2, session="s2"), gemini, Shop(by_gemini))
    clock.advance(HOUR)
    rows = cache.list()
    assert [row.meta.actor for row in rows] == ["gemini", "claude"]
    assert [row.expired for row in rows] == [False, True]
    assert rows[1].meta.cost == Decimal("0.00022")
    assert rows[1].meta.created == NOON
    first, second = (row.meta.key for row in rows)

    def found(**wanted: object) -> list[str]:
        return [row.meta.key for row in cache.list(EntryFilter(**wanted))]  # type: ignore[arg-type]

    assert found(provider="claude") == found(provider="anthropic") == [second]
    assert found(provider="gemini") == found(phase=2) == found(session="s2") == [first]
    assert found(older_than=timedelta(hours=2)) == found(expired=True) == [second]
    assert found(expired=False) == [first]
    assert [row.meta.key for row in cache.list(limit=1)] == [first]
    assert cache.clear(EntryFilter(provider="gemini")) == 1
    assert cache.clear(EntryFilter(provider="gemini")) == 0
    assert cache.clear() == 1
    assert cache.list() == ()


async def test_invalidate_and_show(cache: CacheManager) -> None:
    """One entry can be looked at and removed by its key; other texts are refused."""
    answer = await cache.get_or_buy(REQUEST, ROUTE, Shop(ANSWER))
    entry = cache.show(answer.key)
    assert entry is not None
    assert entry.response.content == ANSWER.content
    assert cache.invalidate(answer.key) is True
    assert cache.invalidate(answer.key) is False
    assert cache.show(answer.key) is None
    assert not (await cache.get_or_buy(REQUEST, ROUTE, Shop())).hit
    for use in (cache.invalidate, cache.show, cache.why):
        with pytest.raises(InputError):
            use("../../etc/passwd")


async def test_why(cache: CacheManager, clock: SetClock) -> None:
    """The ingredient that differs from the nearest entry is named, for a key and a request."""
    await cache.get_or_buy(REQUEST, ROUTE, Shop())
    await cache.get_or_buy(ask(5, phase=1, task="other"), ROUTE, Shop())
    other = replace(ROUTE, model="claude-opus-5-5")
    asked = cache.why_request(REQUEST, other)
    assert (asked.found, asked.expired) == (False, False)
    assert [(d.name, d.before, d.after) for d in asked.differences] == [
        ("route.model", "claude-sonnet-5-5", "claude-opus-5-5")
    ]
    bought = await cache.get_or_buy(REQUEST, other, Shop())
    assert bought.key == asked.key
    assert [d.name for d in cache.why(bought.key).differences] == ["route.model"]
    clock.advance(25 * HOUR)
    again = cache.why_request(REQUEST, other)
    assert (again.found, again.expired) == (True, True)
    assert cache.why("0" * 32).found is False


async def test_why_in_an_empty_cache(cache: CacheManager) -> None:
    """Nothing is near."""
    asked = cache.why_request(REQUEST, ROUTE)
    assert (asked.found, asked.nearest, asked.differences) == (False, None, ())
    assert asked.ingredients["route.model"].display == "claude-sonnet-5-5"


async def test_encrypted_entries_keep_their_secrets(
    open_manager: Callable[..., CacheManager], tmp_path: Path
) -> None:
    """Neither content, names nor digests in the folder tell what was asked."""
    plain_key = (await open_manager("memory:").get_or_buy(REQUEST, ROUTE, Shop())).key
    cache = open_manager(codec=AesCodec(bytes(32)))
    answer = await cache.get_or_buy(REQUEST, ROUTE, Shop(ANSWER))
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).response == from_cache(ANSWER)
    assert answer.key != plain_key
    cache.list()
    cache.close()
    written = everything_in(tmp_path)
    assert b"strategy" not in written
    assert plain_key.encode() not in written
    assert open_manager(codec=AesCodec(b"x" * 32)).get(REQUEST, ROUTE) is None
    assert open_manager().get(REQUEST, ROUTE) is None
    wrong = open_manager(codec=AesCodec(b"x" * 32)).doctor(fix=True)
    assert [finding.fixed for finding in wrong] == [False], "a wrong key destroys nothing"
    assert open_manager(codec=AesCodec(bytes(32))).get(REQUEST, ROUTE) is not None


async def test_doctor_puts_mayhem_right(cache: CacheManager, tmp_path: Path) -> None:
    """Renamed, removed, swapped, cut and strange files are found, and then nothing is."""
    for number in range(40):
        cache.put(ask(number), ROUTE, reply("x", 100 * number))
    entries = sorted((tmp_path / "cache" / "entries").iterdir())
    entries[0].rename(entries[0].with_name("f" * 32 + ".json"))
    entries[1].unlink()
    swapped = entries[2].read_bytes()
    entries[2].write_bytes(entries[3].read_bytes())
    entries[3].write_bytes(swapped)
    entries[4].write_bytes(entries[4].read_bytes()[:50])
    entries[5].write_bytes(b"")
    entries[6].unlink()
    entries[6].mkdir()
    (tmp_path / "cache" / "entries" / "notes.txt").write_text("mine")
    found = cache.doctor()
    assert len(found) >= 7
    assert cache.doctor() == found, "looking changes nothing"
    assert all(finding.fixed for finding in cache.doctor(fix=True))
    assert cache.doctor() == ()
    assert cache.stats().total_entries == 33
    assert sum(cache.get(ask(number), ROUTE) is not None for number in range(40)) == 33


class Broken(MemoryStorage):
    """A store that fails in one of its methods."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()
        self.calls = 0

        def fail(*_args: object, **_options: object) -> None:
            self.calls += 1
            raise error

        setattr(self, method, fail)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StorageError("locked")])
@pytest.mark.parametrize("method", ["get", "put", "trim", "lease", "count", "set_aside"])
async def test_a_store_that_fails_steps_aside(method: str, error: Exception) -> None:
    """Every request is answered, one warning is given, and the store is left alone."""
    warnings: list[str] = []
    storage = Broken(method, error)
    cache = CacheManager(storage, on_warning=warnings.append, max_size_bytes=3_000)
    for number in (1, 1, 2, 3, 4):
        answer = await cache.get_or_buy(ask(number), ROUTE, Shop(reply(f"answer {number}")))
        assert answer.response.content == f"answer {number}"
    cache.close()
    expected = 0 if method in {"count", "set_aside"} else 1
    assert len(warnings) == expected
    assert storage.calls <= 1


def test_management_reports_a_broken_store() -> None:
    """Commands that are about the store say what is wrong with it."""
    for method, command in (
        ("select", CacheManager.list),
        ("usage", CacheManager.stats),
        ("clear", CacheManager.clear),
        ("names", CacheManager.doctor),
    ):
        cache = CacheManager(Broken(method, OSError(5, "Input/output error")))
        with pytest.raises(ConfigError, match="Input/output error"):
            command(cache)  # type: ignore[operator]


class Remote(MemoryStorage):
    """A store that is far away, and remembers on which threads it was called."""

    remote = True

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[object] = set()

    def get(self, name: str, used_ns: int) -> bytes | None:
        import threading

        self.threads.add(threading.current_thread())
        return super().get(name, used_ns)


async def test_remote_stores_do_not_stop_the_loop() -> None:
    """Their calls run on other threads."""
    import threading

    storage = Remote()
    cache = CacheManager(storage)
    assert not (await cache.get_or_buy(REQUEST, ROUTE, Shop())).hit
    assert (await cache.get_or_buy(REQUEST, ROUTE, never())).hit
    assert threading.main_thread() not in storage.threads


@pytest.mark.parametrize(("remote", "bought"), [(True, 2), (False, 3)])
async def test_a_server_that_was_away_is_used_again(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, remote: bool, bought: int
) -> None:
    """After a minute a store on another machine is tried once more; a disk that failed is not."""
    storage = MemoryStorage()
    storage.remote = remote
    cache = CacheManager(storage, clock=clock)
    shop = Shop()
    with monkeypatch.context() as away:

        def fail(name: str, used_ns: int) -> None:
            raise StorageError("the server is away")

        away.setattr(storage, "get", fail)
        await cache.get_or_buy(REQUEST, ROUTE, shop)
    clock.advance(59)
    assert storage.usage().entries == 0
    clock.advance(1)
    for _ in range(2):
        await cache.get_or_buy(REQUEST, ROUTE, shop)
    assert shop.sold == bought


async def test_a_lease_is_kept_alive_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the purchase lasts the lease is renewed; afterwards it is released."""
    monkeypatch.setattr("aigenflow.cache.manager._HEARTBEAT_S", 0.001)
    storage = MemoryStorage()
    seen: list[str] = []

    class Watched:
        def renew(self, now: float) -> None:
            seen.append("renewed")

        def release(self) -> None:
            seen.append("released")

    def lease(name: str, now: float) -> Lease:
        return Watched()

    monkeypatch.setattr(storage, "lease", lease)
    shop = Shop(hold=True)
    task = asyncio.create_task(CacheManager(storage).get_or_buy(REQUEST, ROUTE, shop))
    await until(lambda: len(seen) >= 3)
    shop.open()
    await task
    assert set(seen[:-1]) == {"renewed"}
    assert seen[-1] == "released"


def test_normalization_can_be_switched_off(open_manager: Callable[..., CacheManager]) -> None:
    """By default case and spacing do not matter; with ``none`` they do."""
    shouted = replace(REQUEST, prompt=REQUEST.prompt.upper())
    for normalize, is_found in (("specified", True), ("none", False)):
        cache = open_manager("memory:", normalize=normalize)
        cache.put(REQUEST, ROUTE, ANSWER)
        assert (cache.get(shouted, ROUTE) is not None) is is_found


def test_put_says_whether_it_kept(cache: CacheManager) -> None:
    """``put`` keeps whole answers and says so."""
    assert cache.put(REQUEST, ROUTE, ANSWER) is True
    assert cache.put(REQUEST, ROUTE, reply("").model_copy(update={"content": ""})) is False
    storage: CacheStorage = MemoryStorage()
    assert CacheManager(storage, max_size_bytes=100).put(REQUEST, ROUTE, ANSWER) is False


@pytest.mark.parametrize("url", ["redis://x", "nonsense", "sqlite:", "https://user:pw@host/x"])
def test_unknown_stores_are_refused(tmp_path: Path, url: str) -> None:
    """The message names what can be used and shows no password."""
    with pytest.raises(ConfigError) as caught:
        open_storage(url, home=tmp_path)
    assert "sqlite:///" in caught.value.hint
    assert "pw" not in str(caught.value)


def test_a_file_store_can_be_anywhere(tmp_path: Path) -> None:
    """``file:PATH`` and ``file:///PATH`` are folders of the user's choice."""
    for url in (f"file:{tmp_path}/a", f"file://{tmp_path}/b"):
        cache = CacheManager(open_storage(url, home=tmp_path / "home"))
        cache.put(REQUEST, ROUTE, ANSWER)
        cache.close()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
