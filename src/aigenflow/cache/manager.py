"""The response cache: never pays twice for the same answer, and never stands in the way.

Whatever goes wrong with the store becomes a miss and one warning. A damaged entry is set aside
and its answer bought again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from gettext import gettext as _
from typing import Final, ParamSpec, TypeAlias, TypeVar

from aigenflow.cache.key_generator import (
    Identity,
    Ingredients,
    Normalize,
    differences,
    identify,
    ingredients,
)
from aigenflow.cache.models import (
    MAX_ENTRY_BYTES,
    CachedAnswer,
    CacheStats,
    Codec,
    Counters,
    DamagedEntryError,
    Entry,
    EntryFilter,
    EntryMeta,
    Explanation,
    Finding,
    Listed,
    PlainCodec,
    SealedEntryError,
    Stamp,
    Usage,
    decode_answer,
    decode_entry,
    decode_meta,
    encode_entry,
)
from aigenflow.cache.policy import (
    DEFAULT_MAX_SIZE_BYTES,
    Freshness,
    TtlPolicy,
    age,
    freshness,
    low_water,
    storable,
)
from aigenflow.cache.single_flight import SingleFlight
from aigenflow.cache.storage import (
    LEASE_S,
    CacheStorage,
    Lease,
    Selection,
    Sort,
    StorageError,
    check_name,
)
from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.errors import ConfigError
from aigenflow.core.models import AgentRequest, GatewayResponse, Route

Buy: TypeAlias = Callable[[], Awaitable[GatewayResponse]]
OnWarning: TypeAlias = Callable[[str], None]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FLUSH_AFTER_S: Final = 1.0
_FLUSH_AFTER_HITS: Final = 256
_HEARTBEAT_S: Final = LEASE_S / 5
_FIRST_POLL_S: Final = 0.02
_SLOWEST_POLL_S: Final = 0.25
_LONGEST_WAIT_S: Final = 3600.0
_AWAY_S: Final = 60.0
"""A store on another machine that could not be used is tried again after so long."""
_COMPARED: Final = 200
_FAULTS: Final = (OSError, StorageError)


def ignore_warning(message: str) -> None:
    """An ``OnWarning`` that does nothing."""


class CacheManager:
    """Answers from ``storage`` while they are fresh, and buys the others once.

    ``on_warning`` is told, at most once, that the cache steps aside. Only ``get_or_buy`` is for
    the event loop; the other methods are plain calls.
    """

    def __init__(
        self,
        storage: CacheStorage,
        *,
        ttl: TtlPolicy | None = None,
        max_size_bytes: int = DEFAULT_MAX_SIZE_BYTES,
        normalize: Normalize = "specified",
        codec: Codec | None = None,
        clock: Clock | None = None,
        on_warning: OnWarning = ignore_warning,
    ) -> None:
        self._storage = storage
        self._ttl = ttl or TtlPolicy()
        self._max_size_bytes = max_size_bytes
        self._normalize: Normalize = normalize
        self._codec = codec or PlainCodec()
        self._clock = clock or SystemClock()
        self._on_warning = on_warning
        self._flights: SingleFlight[CachedAnswer] = SingleFlight()
        self._can_read = self._can_write = self._can_count = True
        self._has_warned = False
        self._back_at = 0.0
        self._last_use_ns = 0
        self._hits = self._misses = self._hit_ns = 0
        self._flushed_at = self._looked_up_at = self._clock.monotonic()

    async def get_or_buy(
        self, request: AgentRequest, route: Route, buy: Buy, *, refresh: bool = False
    ) -> CachedAnswer:
        """The stored answer, or the one that ``buy`` returns, stored if it is worth keeping.

        Of identical requests at the same time, in this process and in others that share the
        store, one calls ``buy``; its error goes to that one, and another takes over. ``refresh``
        buys whatever is stored. Raises what ``buy`` raises, and ``InputError`` where the request
        has no key.
        """
        identity = self._identify(request, route)
        if not refresh:
            if self._storage.remote:
                found = await asyncio.to_thread(self._look_up, identity, request.phase)
            else:
                found = self._look_up(identity, request.phase)
            if found is not None:
                return self._count_hit(found)

        async def work() -> CachedAnswer:
            return await self._buy_once(identity, request, route, buy, refresh=refresh)

        answer, led = await self._flights.run(
            identity.key, work, lambda answer: storable(answer.response)
        )
        if led and not answer.hit:
            return answer
        return self._count_hit(_as_hit(answer))

    def get(self, request: AgentRequest, route: Route) -> CachedAnswer | None:
        """The stored answer, if there is a fresh one. Raises ``InputError``."""
        found = self._look_up(self._identify(request, route), request.phase)
        if found is None:
            self._misses += 1
            self._flush_if_due()
            return None
        return self._count_hit(found)

    def peek(self, request: AgentRequest, route: Route) -> CachedAnswer | None:
        """What :meth:`get` would give. Nothing is counted, and the entry does not count as used.

        A store that cannot be read has no answers. Raises ``InputError``.
        """
        identity, now = self._identify(request, route), self._clock.now()
        try:
            data = self._storage.peek(identity.key)
            if data is None:
                return None
            stamp, response = decode_answer(data, self._codec)
        except (DamagedEntryError, *_FAULTS):
            return None
        ttl = self._ttl.of(request.phase)
        if freshness(stamp.created, stamp.seen, ttl, now) is Freshness.EXPIRED:
            return None
        if stamp.key != identity.key or not _answers(stamp, identity):
            return None
        how_old = age(stamp.created, stamp.seen, now)
        return CachedAnswer(response=response, hit=True, key=stamp.key, age=how_old)

    def put(self, request: AgentRequest, route: Route, response: GatewayResponse) -> bool:
        """Keep an answer; false where it is not worth keeping or could not be kept.

        Raises ``InputError``.
        """
        usage = self._store(self._identify(request, route), request, route, response)
        if usage is not None and usage.size_bytes > self._max_size_bytes:
            self._trim()
        return usage is not None

    def invalidate(self, key: str) -> bool:
        """Remove the entry of ``key``; whether there was one. Raises ``InputError``."""
        with self._usable():
            return self._storage.delete([check_name(key)]) == 1

    def clear(self, wanted: EntryFilter | None = None) -> int:
        """Remove the entries that fit, all without a filter; return how many."""
        with self._usable():
            if wanted is None or wanted == EntryFilter():
                return self._storage.clear()
            return self._storage.delete([row.meta.key for row in self.list(wanted)])

    def list(
        self, wanted: EntryFilter | None = None, *, sort: Sort = "created", limit: int | None = None
    ) -> tuple[Listed, ...]:
        """The entries that fit, newest, largest or dearest first."""
        wanted, now = wanted or EntryFilter(), self._clock.now()
        with self._usable():
            chosen = self._storage.select(self._selection(wanted, now, sort, limit))
            rows = [self._describe(name, now) for name, _size in chosen]
        return tuple(row for row in rows if row is not None and _still_fits(row, wanted, now))

    def show(self, key: str) -> Entry | None:
        """The whole entry of ``key``; ``None`` where there is none that can be read.

        Raises ``InputError``.
        """
        with self._usable(), contextlib.suppress(DamagedEntryError):
            data = self._storage.peek(check_name(key))
            return None if data is None else decode_entry(data, self._codec)
        return None

    def stats(self) -> CacheStats:
        """The figures of ``aigenflow cache stats``, of all processes together."""
        self._flush()
        with self._usable():
            usage, counted = self._storage.usage(), self._storage.counters()
        looked_up = counted.hits + counted.misses
        return CacheStats(
            total_entries=usage.entries,
            size_bytes=usage.size_bytes,
            max_size_bytes=self._max_size_bytes,
            hits=counted.hits,
            misses=counted.misses,
            evictions=counted.evictions,
            stores=counted.stores,
            hit_rate=counted.hits / looked_up if looked_up else 0.0,
            miss_rate=counted.misses / looked_up if looked_up else 0.0,
            average_hit_latency_ms=counted.hit_ns / counted.hits / 1e6 if counted.hits else 0.0,
        )

    def doctor(self, *, fix: bool = False) -> tuple[Finding, ...]:
        """What is wrong with the store, entry by entry; with ``fix`` it is put right."""
        with self._usable():
            bad = [
                finding
                for name in self._storage.names()
                if (finding := self._examine(name, fix=fix)) is not None
            ]
            return (*bad, *self._storage.check(fix=fix))

    def why(self, key: str) -> Explanation:
        """How the entry of ``key`` differs from the one nearest to it. Raises ``InputError``."""
        entry = self.show(key)
        if entry is None:
            return Explanation(key=key, found=False)
        return self._explain(key, entry.meta, entry.parts, entry.meta)

    def why_request(self, request: AgentRequest, route: Route) -> Explanation:
        """Whether ``request`` would be answered from here, and what the nearest entry is.

        Raises ``InputError``.
        """
        identity = self._identify(request, route)
        entry = self.show(identity.key)
        like = _describe_entry(identity, request, route, self._clock.now())
        parts = ingredients(request, route, self._normalize)
        return self._explain(identity.key, like, parts, entry.meta if entry else None)

    def close(self) -> None:
        """Write down the counters and let go of the store."""
        self._flush()
        self._storage.close()

    # Looking up and storing

    def _identify(self, request: AgentRequest, route: Route) -> Identity:
        identity = identify(request, route, self._normalize)
        if not self._codec.sealed:
            return identity
        return identity._replace(
            key=self._codec.hide(identity.key),
            fingerprint=self._codec.hide(identity.fingerprint),
        )

    def _look_up(self, identity: Identity, phase: int) -> CachedAnswer | None:
        self._come_back()
        if not self._can_read:
            return None
        started, now = self._clock.monotonic(), self._clock.now()
        try:
            data = self._storage.get(identity.key, self._next_use_ns(now))
            if data is None:
                return None
            stamp, response = decode_answer(data, self._codec)
            if stamp.key != identity.key:
                raise DamagedEntryError(_("the entry of another key"))
            state = freshness(stamp.created, stamp.seen, self._ttl.of(phase), now)
            if state is Freshness.EXPIRED or not _answers(stamp, identity):
                return None
            if state is Freshness.AHEAD:
                self._date_anew(data, now)
        except DamagedEntryError:
            self._set_aside(identity.key)
            return None
        except _FAULTS as error:
            self._step_aside(error, reading=True)
            return None
        self._looked_up_at = self._clock.monotonic()
        self._hit_ns += int((self._looked_up_at - started) * 1e9)
        return CachedAnswer(
            response=response, hit=True, key=stamp.key, age=age(stamp.created, stamp.seen, now)
        )

    def _store(
        self, identity: Identity, request: AgentRequest, route: Route, response: GatewayResponse
    ) -> Usage | None:
        if not self._can_write or not storable(response):
            return None
        now = self._clock.now()
        meta = _describe_entry(identity, request, route, now, response)
        parts = ingredients(request, route, self._normalize)
        return self._write(Entry(meta=meta, parts=parts, response=response), now)

    def _write(self, entry: Entry, now: datetime) -> Usage | None:
        try:
            data = encode_entry(entry, self._codec)
        except (ValueError, RecursionError):
            # The provider's JSON holds what JSON cannot say (NaN, half a character).
            return None
        if len(data) > min(self._max_size_bytes, MAX_ENTRY_BYTES):
            return None
        try:
            return self._storage.put(entry.meta, data, self._next_use_ns(now))
        except _FAULTS as error:
            self._step_aside(error)
            return None

    def _date_anew(self, data: bytes, now: datetime) -> None:
        entry = decode_entry(data, self._codec)
        if self._can_write:
            self._write(replace(entry, meta=entry.meta.model_copy(update={"seen": now})), now)

    def _set_aside(self, name: str) -> None:
        if self._can_write:
            try:
                self._storage.set_aside(name)
            except _FAULTS as error:
                self._step_aside(error)

    def _trim(self) -> None:
        try:
            self._storage.trim(self._max_size_bytes, low_water(self._max_size_bytes))
        except _FAULTS as error:
            self._step_aside(error)

    def _step_aside(self, error: Exception, *, reading: bool = False) -> None:
        self._can_write = False
        self._back_at = self._clock.monotonic() + _AWAY_S
        if reading:
            self._can_read = False
        if not self._has_warned:
            self._has_warned = True
            self._on_warning(
                _("The cache cannot be used ({reason}). The run goes on without it.").format(
                    reason=getattr(error, "strerror", None) or error
                )
            )

    def _come_back(self) -> None:
        """A server that was away may be there again; a disk that failed is not asked twice."""
        is_away = not self._can_write and self._storage.remote
        if is_away and self._clock.monotonic() >= self._back_at:
            self._can_read = self._can_write = True

    def _next_use_ns(self, now: datetime) -> int:
        """Later than any use before, so that the order of use is kept by any clock."""
        self._last_use_ns = max(int(now.timestamp() * 1e9), self._last_use_ns + 1)
        return self._last_use_ns

    # Buying

    async def _buy_once(
        self, identity: Identity, request: AgentRequest, route: Route, buy: Buy, *, refresh: bool
    ) -> CachedAnswer:
        if refresh:
            return await self._purchase(identity, request, route, buy)
        async with self._leased(identity, request.phase) as found:
            return found or await self._purchase(identity, request, route, buy)

    async def _purchase(
        self, identity: Identity, request: AgentRequest, route: Route, buy: Buy
    ) -> CachedAnswer:
        self._misses += 1
        try:
            response = await buy()
            usage = await self._call(self._store, identity, request, route, response)
        finally:
            await self._call(self._flush)
        if usage is not None and usage.size_bytes > self._max_size_bytes:
            await asyncio.to_thread(self._trim)
        return CachedAnswer(
            response=response, hit=False, key=identity.key, stored=usage is not None
        )

    @contextlib.asynccontextmanager
    async def _leased(self, identity: Identity, phase: int) -> AsyncIterator[CachedAnswer | None]:
        """The right to buy, or the answer that another process has bought meanwhile."""
        lease, found = await self._wait_for_lease(identity, phase)
        if lease is None:
            yield found
            return
        heartbeat = asyncio.create_task(self._keep(lease))
        try:
            yield found
        finally:
            heartbeat.cancel()
            with contextlib.suppress(*_FAULTS):
                await self._call(lease.release)

    async def _wait_for_lease(
        self, identity: Identity, phase: int
    ) -> tuple[Lease | None, CachedAnswer | None]:
        give_up_at = self._clock.monotonic() + _LONGEST_WAIT_S
        pause_s = _FIRST_POLL_S
        while self._can_read and self._can_write:
            try:
                lease = await self._call(self._storage.lease, identity.key, self._now_s())
            except _FAULTS as error:
                self._step_aside(error)
                break
            # Asked after the lease: its last holder may have stored the answer just before.
            found = await self._call(self._look_up, identity, phase)
            if lease is not None or found is not None or self._clock.monotonic() > give_up_at:
                return lease, found
            await self._clock.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
            pause_s = min(pause_s * 1.5, _SLOWEST_POLL_S)
        return None, None

    async def _keep(self, lease: Lease) -> None:
        with contextlib.suppress(*_FAULTS):
            while True:
                await asyncio.sleep(_HEARTBEAT_S)
                await self._call(lease.renew, self._now_s())

    async def _call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._storage.remote:
            return await asyncio.to_thread(function, *args, **kwargs)
        return function(*args, **kwargs)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    # Counting

    def _count_hit(self, answer: CachedAnswer) -> CachedAnswer:
        self._hits += 1
        self._flush_if_due()
        return answer

    def _flush_if_due(self) -> None:
        if (
            self._hits >= _FLUSH_AFTER_HITS
            or self._looked_up_at - self._flushed_at > _FLUSH_AFTER_S
        ):
            self._flush()

    def _flush(self) -> None:
        """Write down what was counted. Counts are not worth a warning, let alone an error."""
        happened = Counters(hits=self._hits, misses=self._misses, hit_ns=self._hit_ns)
        self._flushed_at = self._clock.monotonic()
        if self._can_count and happened != Counters():
            self._hits = self._misses = self._hit_ns = 0
            try:
                self._storage.count(happened)
            except _FAULTS:
                self._can_count = False

    # Looking at the store

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise ConfigError(
                _("The cache cannot be used: {reason}.").format(reason=error),
                hint=_("Check cache.url in the settings and the rights on its folder."),
            ) from error

    def _selection(
        self, wanted: EntryFilter, now: datetime, sort: Sort, limit: int | None
    ) -> Selection:
        return Selection(
            provider=wanted.provider,
            phase=None if wanted.phase is None else str(wanted.phase),
            session=wanted.session,
            created_before=None if wanted.older_than is None else now - wanted.older_than,
            expired=wanted.expired,
            expired_from={
                "": now - timedelta(hours=self._ttl.hours),
                **{str(phase): now - self._ttl.of(phase) for phase in self._ttl.hours_by_phase},
            },
            sort=sort,
            limit=limit,
        )

    def _describe(self, name: str, now: datetime) -> Listed | None:
        with contextlib.suppress(DamagedEntryError):
            data = self._storage.peek(name)
            if data is not None:
                meta = decode_meta(data)
                return Listed(meta=meta, size_bytes=len(data), expired=self._expired(meta, now))
        return None

    def _expired(self, meta: EntryMeta, now: datetime) -> bool:
        ttl = self._ttl.of(int(meta.phase))
        return freshness(meta.created, meta.seen, ttl, now) is Freshness.EXPIRED

    def _examine(self, name: str, *, fix: bool) -> Finding | None:
        try:
            data = self._storage.peek(name)
            if data is None or decode_entry(data, self._codec).meta.key == name:
                return None
            problem = _("holds the answer of another key")
        except SealedEntryError:
            return Finding(problem=_("cannot be opened with this encryption key"), key=name)
        except DamagedEntryError as error:
            problem = _("damaged: {reason}").format(reason=error)
        if fix:
            self._storage.set_aside(name)
        return Finding(problem=problem, key=name, fixed=fix)

    def _explain(
        self, key: str, like: EntryMeta, parts: Ingredients, found: EntryMeta | None
    ) -> Explanation:
        with self._usable():
            candidates = [entry for entry in self._candidates(like) if entry.meta.key != key]
        nearest = min(
            candidates, key=lambda entry: len(differences(entry.parts, parts)), default=None
        )
        return Explanation(
            key=key,
            found=found is not None,
            expired=found is not None and self._expired(found, self._clock.now()),
            nearest=nearest.meta if nearest else None,
            differences=differences(nearest.parts, parts) if nearest else (),
            ingredients=parts,
        )

    def _candidates(self, like: EntryMeta) -> Iterator[Entry]:
        """Entries of the same task, else of the same agent, else any; the newest first."""
        for wanted in (
            Selection(agent=like.agent, phase=like.phase, task=like.task, limit=_COMPARED),
            Selection(agent=like.agent, limit=_COMPARED),
            Selection(limit=_COMPARED),
        ):
            chosen = [name for name, _size in self._storage.select(wanted) if name != like.key]
            if chosen:
                return filter(None, map(self.show, chosen))
        return iter(())


def _answers(stamp: Stamp, identity: Identity) -> bool:
    return (
        stamp.fingerprint == identity.fingerprint
        and stamp.agent == identity.agent
        and stamp.phase == identity.phase
    )


def _as_hit(answer: CachedAnswer) -> CachedAnswer:
    """The answer as those get it who waited for the one who bought it."""
    return replace(answer, response=answer.response.as_hit(), hit=True)


_NO_ANSWER: Final = GatewayResponse(content="")


def _describe_entry(
    identity: Identity,
    request: AgentRequest,
    route: Route,
    now: datetime,
    response: GatewayResponse = _NO_ANSWER,
) -> EntryMeta:
    return EntryMeta(
        key=identity.key,
        fingerprint=identity.fingerprint,
        agent=identity.agent,
        phase=identity.phase,
        task=request.task,
        actor=(response.agent or route.actor).value,
        provider=route.backend.value,
        model=route.model,
        session=request.session,
        created=now,
        seen=now,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        cost=response.estimated_cost,
    )


def _still_fits(row: Listed, wanted: EntryFilter, now: datetime) -> bool:
    """Whether the entry as it is now is one that the index, a little behind, has named."""
    meta = row.meta
    return (
        wanted.session in (None, meta.session)
        and wanted.expired in (None, row.expired)
        and (wanted.older_than is None or now - meta.created > wanted.older_than)
    )
