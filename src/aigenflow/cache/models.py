"""What the cache keeps, and its form in bytes.

An entry is one JSON object on one line::

    {"aigenflow_cache":1,"checksum":"1a2b3c4d","meta_bytes":"000001f0","response_bytes":"00001d4c",
     "meta":{...},"body":{"response":{...},"parts":{...}}}

The checksum (CRC-32, eight hex digits) is of every byte after it. It finds damage, not forgery:
whoever can write the file can write the checksum too, and encryption is what authenticates. The
two lengths (hex) let a hit decode nothing but the answer. A body that is compressed or encrypted
is a text in base64; ``meta`` stays readable, so that lists need no key.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from gettext import gettext as _
from typing import Any, Final, NamedTuple, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json, to_json

from aigenflow.cache.key_generator import Difference, Ingredient, Ingredients
from aigenflow.core.models import GatewayResponse

MAX_ENTRY_BYTES: Final = 64 * 1024 * 1024
"""Nothing larger is read or written: far above any answer, far below the memory."""

_HEADER: Final = struct.Struct("33s 8s 16s 8s 20s 8s 9s")
_BEFORE_CHECKSUM: Final = b'{"aigenflow_cache":1,"checksum":"'
_BEFORE_META_BYTES: Final = b'","meta_bytes":"'
_BEFORE_RESPONSE_BYTES: Final = b'","response_bytes":"'
_BEFORE_META: Final = b'","meta":'
_BEFORE_BODY: Final = b',"body":'
_BEFORE_RESPONSE: Final = b'{"response":'
_MARKS: Final = (_BEFORE_CHECKSUM, _BEFORE_META_BYTES, _BEFORE_RESPONSE_BYTES, _BEFORE_META)
_CHECKED_FROM: Final = len(_BEFORE_CHECKSUM) + 8


class DamagedEntryError(Exception):
    """The bytes are not an entry that this version wrote, or not the one that was asked for."""


class SealedEntryError(DamagedEntryError):
    """The entry is whole, but made with another encryption key, or changed without it."""


class EntryMeta(BaseModel):
    """What is known of an entry without reading its answer.

    ``key`` names it in the store; ``fingerprint`` is the digest it must match to be served.
    ``actor`` is the agent that answered, ``session`` the one that bought it. ``seen`` replaces
    ``created`` while that date is ahead of the clock. ``cost`` is in US dollars, ``None`` where
    unknown. Tokens are totals, as in ``GatewayResponse``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    fingerprint: str
    agent: str
    phase: str
    task: str
    actor: str
    provider: str
    model: str
    session: str
    created: AwareDatetime
    seen: AwareDatetime
    input_tokens: int
    output_tokens: int
    cost: Decimal | None


class Stamp(NamedTuple):
    """Of an entry's description what decides whether it may be served."""

    key: str
    fingerprint: str
    agent: str
    phase: str
    created: datetime
    seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer with everything that says what it answers."""

    meta: EntryMeta
    parts: Ingredients
    response: GatewayResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of a list: an entry's description, its size in bytes and whether it may be served."""

    meta: EntryMeta
    size_bytes: int
    expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much a store holds: entries, and their bytes."""

    entries: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What happened since the store was made. ``hit_ns`` is the sum of all hits, nanoseconds."""

    hits: int = 0
    misses: int = 0
    stores: int = 0
    evictions: int = 0
    hit_ns: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            hits=self.hits + other.hits,
            misses=self.misses + other.misses,
            stores=self.stores + other.stores,
            evictions=self.evictions + other.evictions,
            hit_ns=self.hit_ns + other.hit_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """The figures of ``aigenflow cache stats``. Rates are between 0 and 1, 0 without look-ups."""

    total_entries: int
    size_bytes: int
    max_size_bytes: int
    hits: int
    misses: int
    evictions: int
    stores: int
    hit_rate: float
    miss_rate: float
    average_hit_latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """An answer and how it came: from the store (``hit``) or bought.

    ``age`` is zero for an answer that was just bought. ``stored`` says whether it is kept.
    """

    response: GatewayResponse
    hit: bool
    key: str
    age: timedelta = timedelta(0)
    stored: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries: every condition that is given must hold. ``provider`` is actor or back-end."""

    provider: str | None = None
    phase: int | None = None
    session: str | None = None
    older_than: timedelta | None = None
    expired: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing ``doctor`` found: what is wrong, where, and whether it was put right."""

    problem: str
    key: str = ""
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a question was or was not answered from the cache.

    ``nearest`` is the entry with the fewest differing ingredients, the question itself left out.
    """

    key: str
    found: bool
    expired: bool = False
    nearest: EntryMeta | None = None
    differences: tuple[Difference, ...] = ()
    ingredients: Ingredients = field(default_factory=dict)


class Codec(Protocol):
    """What is done to bodies on their way to the store, and how entries are named there."""

    sealed: bool
    """Whether bodies that were stored as they are must be refused."""

    def hide(self, digest: str) -> str:
        """What stands for a key or a fingerprint in the store: hex digits, as many as before."""
        ...

    def encode(self, body: bytes, bound_to: bytes) -> bytes | None:
        """The body as it is stored, or ``None`` to store it as it is."""
        ...

    def decode(self, body: bytes, bound_to: bytes) -> bytes:
        """The body back. Raises ``DamagedEntryError``."""
        ...


class PlainCodec:
    """Bodies as they are: entries that a person can read. Compressed ones are read as well."""

    sealed = False

    def hide(self, digest: str) -> str:
        return digest

    def encode(self, body: bytes, bound_to: bytes) -> bytes | None:
        return None

    def decode(self, body: bytes, bound_to: bytes) -> bytes:
        return decompress(body)


def decompress(data: bytes) -> bytes:
    """Undo zlib, up to the largest entry. Raises ``DamagedEntryError``."""
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(data, MAX_ENTRY_BYTES)
    except zlib.error as error:
        raise DamagedEntryError(_("the compressed body is damaged")) from error
    if not machine.eof:
        raise DamagedEntryError(_("the compressed body is cut, or too large"))
    return plain


def encode_entry(entry: Entry, codec: Codec) -> bytes:
    """The bytes of an entry.

    Raises ``ValueError`` where the answer cannot be written as JSON.
    """
    meta = to_json(entry.meta)
    response = to_json(entry.response.as_hit())
    parts = to_json({name: [*piece] for name, piece in entry.parts.items()})
    body = _BEFORE_RESPONSE + response + b',"parts":' + parts + b"}"
    coded = codec.encode(body, meta)
    if coded is not None:
        body = b'"' + base64.b64encode(coded) + b'"'
    header = _HEADER.pack(
        _BEFORE_CHECKSUM,
        b"",
        _BEFORE_META_BYTES,
        b"%08x" % len(meta),
        _BEFORE_RESPONSE_BYTES,
        b"%08x" % len(response),
        _BEFORE_META,
    )
    checked = header[_CHECKED_FROM:] + meta + _BEFORE_BODY + body + b"}\n"
    return _BEFORE_CHECKSUM + b"%08x" % zlib.crc32(checked) + checked


def decode_answer(data: bytes, codec: Codec) -> tuple[Stamp, GatewayResponse]:
    """The answer of a stored entry, marked as served from the cache, and whose answer it is.

    Decodes nothing else. Raises ``DamagedEntryError``.
    """
    meta_end, length = _checked(data)
    meta = data[_HEADER.size : meta_end]
    start = meta_end + len(_BEFORE_BODY)
    try:
        if codec.sealed or data.startswith(b'"', start):
            data, start = _decoded(data[start:-2], meta, codec), 0
        start += len(_BEFORE_RESPONSE)
        response = GatewayResponse.model_validate_json(data[start : start + length])
        return _stamp(from_json(meta)), response
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedEntryError(_("not an entry")) from error


def decode_meta(data: bytes) -> EntryMeta:
    """The description of a stored entry, for which no codec is needed.

    Raises ``DamagedEntryError``.
    """
    try:
        return EntryMeta.model_validate_json(_split(data)[0])
    except ValidationError as error:
        raise DamagedEntryError(_("not an entry")) from error


def decode_entry(data: bytes, codec: Codec) -> Entry:
    """The whole entry, read with suspicion: twice the same key, or NaN, is damage as well.

    Raises ``DamagedEntryError``.
    """
    meta, body = _split(data)
    try:
        document = _strictly(data)
        if isinstance(document["body"], str) or codec.sealed:
            document["body"] = _strictly(_decoded(body, meta, codec))
        return Entry(
            meta=EntryMeta.model_validate_json(meta),
            parts={
                name: Ingredient(display=display, digest=digest)
                for name, (display, digest) in document["body"]["parts"].items()
            },
            response=GatewayResponse.model_validate(document["body"]["response"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedEntryError(_("not an entry")) from error


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Meta and body, from bytes whose checksum is right."""
    meta_end, _length = _checked(data)
    return data[_HEADER.size : meta_end], data[meta_end + len(_BEFORE_BODY) : -2]


def _checked(data: bytes) -> tuple[int, int]:
    """Where meta ends, and the length of the response, from bytes whose checksum is right."""
    if len(data) < _HEADER.size:
        raise DamagedEntryError(_("cut short"))
    mark, checksum, second, meta_bytes, third, response_bytes, fourth = _HEADER.unpack_from(data)
    if (mark, second, third, fourth) != _MARKS:
        raise DamagedEntryError(_("not an entry of this version"))
    if checksum != b"%08x" % zlib.crc32(memoryview(data)[_CHECKED_FROM:]):
        raise DamagedEntryError(_("the checksum does not match"))
    try:
        return _HEADER.size + int(meta_bytes, 16), int(response_bytes, 16)
    except ValueError as error:
        raise DamagedEntryError(_("not an entry")) from error


def _stamp(meta: dict[str, str]) -> Stamp:
    return Stamp(
        meta["key"],
        meta["fingerprint"],
        meta["agent"],
        meta["phase"],
        datetime.fromisoformat(meta["created"]),
        datetime.fromisoformat(meta["seen"]),
    )


def _decoded(body: bytes, meta: bytes, codec: Codec) -> bytes:
    if not body.startswith(b'"'):
        raise DamagedEntryError(_("not encrypted"))
    return codec.decode(base64.b64decode(body[1:-1], validate=True), meta)


def _strictly(data: bytes) -> dict[str, Any]:
    document = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
    if not isinstance(document, dict):
        raise TypeError("an entry is an object")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key occurs twice")
    return unique
