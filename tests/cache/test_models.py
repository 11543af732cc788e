from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.cache.codec import AesCodec, ZlibCodec
from aigenflow.cache.key_generator import ingredients
from aigenflow.cache.models import (
    Codec,
    Counters,
    DamagedEntryError,
    PlainCodec,
    decode_answer,
    decode_entry,
    decode_meta,
)
from tests.cache.questions import ANSWER, REQUEST, ROUTE, from_cache, stored

KEY = bytes(range(32))
CODECS: list[Codec] = [PlainCodec(), ZlibCodec(), AesCodec(KEY), AesCodec(KEY, compress=True)]


@pytest.mark.parametrize("codec", CODECS)
def test_an_answer_comes_back_exactly(codec: Codec) -> None:
    """Every field survives, money and raw JSON included, and says that it is from the cache."""
    meta, data = stored(codec=codec)
    stamp, response = decode_answer(data, codec)
    assert response == from_cache(ANSWER)
    assert (stamp.key, stamp.fingerprint, stamp.created) == (
        meta.key,
        meta.fingerprint,
        meta.created,
    )
    assert decode_meta(data) == meta
    entry = decode_entry(data, codec)
    assert entry.response == from_cache(ANSWER)
    assert entry.parts == ingredients(REQUEST, ROUTE)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text: str) -> None:
    """NUL, joiners, right-to-left marks, line separators: content is not touched."""
    response = ANSWER.model_copy(update={"content": text, "raw": {text: [text]}})
    _meta, data = stored(response=response)
    assert data.count(b"\n") == 1
    assert decode_answer(data, PlainCodec())[1] == from_cache(response)


@pytest.mark.parametrize("change", [{"content": "\ud800"}, {"raw": {"x": "\ud800"}}])
def test_half_a_character_is_refused(change: dict[str, object]) -> None:
    """Such an answer is not written at all."""
    with pytest.raises(ValueError, match="surrogates"):
        stored(response=ANSWER.model_copy(update=change))


@pytest.mark.parametrize("codec", CODECS)
def test_every_changed_byte_is_found(codec: Codec) -> None:
    """A checksum of one bit flip anywhere in the file does not fit."""
    _meta, data = stored(codec=codec)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(DamagedEntryError):
            decode_answer(changed, codec)


@pytest.mark.parametrize("end", [0, 1, 10, 60, 110, -1, -2])
def test_every_cut_is_found(end: int) -> None:
    """Neither a part of an entry nor one with something behind it is an entry."""
    _meta, data = stored()
    for changed in (data[:end], data + b"\n", data + data, b"\xef\xbb\xbf" + data):
        for decode in (decode_answer, decode_entry):
            with pytest.raises(DamagedEntryError):
                decode(changed, PlainCodec())
        with pytest.raises(DamagedEntryError):
            decode_meta(changed)


def forged(before: bytes, after: bytes) -> bytes:
    """An entry changed by somebody who knows the format and makes the checksum fit."""
    import zlib

    _meta, data = stored()
    start = data.index(b'","meta_bytes"')
    checked = data[start:].replace(before, after)
    return data[: start - 8] + b"%08x" % zlib.crc32(checked) + checked


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"n":1.5', b'"n":NaN'),
        (b'"n":1.5', b'"n":1.5,"n":1.5'),
        (b'"success":true', b'"success":tru'),
        (b'"parts":{', b'"parts":["'),
        (b'"content":"', b'"content":"\xff'),
        (b'"n":1.5', b'"n":' + b"[" * 100_000),
    ],
)
def test_strict_reading_trusts_no_checksum(before: bytes, after: bytes) -> None:
    """NaN, doubled keys, bad UTF-8 and bottomless nesting are damage even with a checksum."""
    with pytest.raises(DamagedEntryError):
        decode_entry(forged(before, after), PlainCodec())


def test_forged_without_damage_is_read() -> None:
    """The helper of these tests makes checksums that fit."""
    entry = decode_entry(forged(b"The strategy", b"The stratagem"), PlainCodec())
    assert entry.response.content.startswith("The stratagem")


def test_money_is_text_in_the_file() -> None:
    """Dollars are exact in the file as well."""
    _meta, data = stored()
    document = json.loads(data)
    assert document["meta"]["cost"] == "0.00022"
    assert document["body"]["response"]["reported_cost"] == "0.00021"
    assert decode_meta(data).cost == Decimal("0.00022")


def test_counters_add() -> None:
    """Counters are summed field by field."""
    one = Counters(hits=1, misses=2, stores=3, evictions=4, hit_ns=5)
    assert one + one == Counters(hits=2, misses=4, stores=6, evictions=8, hit_ns=10)
