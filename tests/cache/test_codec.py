from __future__ import annotations

import os
import stat
import sys
import zlib
from pathlib import Path

import pytest

from aigenflow.cache.codec import AesCodec, ZlibCodec, key_from_file, key_from_keyring, open_codec
from aigenflow.cache.models import (
    DamagedEntryError,
    PlainCodec,
    SealedEntryError,
    decode_answer,
    decode_meta,
    decompress,
)
from aigenflow.core.errors import ConfigError
from tests.cache.questions import ANSWER, ask, from_cache, reply, stored

KEY = bytes(range(32))


def test_compression_makes_prose_smaller() -> None:
    """A long text takes less than half of its room."""
    long = reply("It is a truth universally acknowledged. " * 300)
    assert len(stored(response=long, codec=ZlibCodec())[1]) < len(stored(response=long)[1]) / 2


def test_switching_compression_loses_nothing() -> None:
    """Compressed entries are read without the option, and plain ones with it."""
    for written, read in ((ZlibCodec(), PlainCodec()), (PlainCodec(), ZlibCodec())):
        assert decode_answer(stored(codec=written)[1], read)[1] == from_cache(ANSWER)
    for written in (AesCodec(KEY), AesCodec(KEY, compress=True)):
        for read in (AesCodec(KEY), AesCodec(KEY, compress=True)):
            assert decode_answer(stored(codec=written)[1], read)[1] == from_cache(ANSWER)


def test_nothing_can_be_read_without_the_key() -> None:
    """Neither the answer nor digests of the question stand in an encrypted entry."""
    _meta, data = stored(codec=AesCodec(KEY))
    assert b"strategy" not in data
    assert b"parts" not in data
    assert decode_meta(data).model == "claude-sonnet-5-5"
    for codec in (PlainCodec(), ZlibCodec(), AesCodec(bytes(32))):
        with pytest.raises(DamagedEntryError):
            decode_answer(data, codec)
    with pytest.raises(SealedEntryError):
        decode_answer(data, AesCodec(bytes(32)))


def test_plain_entries_are_refused_where_all_are_encrypted() -> None:
    """Nobody can slip an entry in without the key."""
    with pytest.raises(DamagedEntryError):
        decode_answer(stored()[1], AesCodec(KEY))


def test_a_body_belongs_to_its_description() -> None:
    """The body of one entry under the description of another is refused."""
    codec = AesCodec(KEY)
    one, two = (stored(ask(number), codec=codec)[1] for number in (1, 2))
    start, body = one.index(b'","meta_bytes"'), b',"body":'
    checked = one[start : one.index(body)] + two[two.index(body) :]
    with pytest.raises(SealedEntryError):
        decode_answer(one[: start - 8] + b"%08x" % zlib.crc32(checked) + checked, codec)


def test_names_do_not_show_equal_questions() -> None:
    """Under two keys one question has two names, of the same form as a key."""
    one, two = AesCodec(KEY), AesCodec(bytes(32))
    assert one.hide("ab" * 16) != two.hide("ab" * 16)
    assert one.hide("ab" * 16) == AesCodec(KEY).hide("ab" * 16)
    assert len(one.hide("ab" * 16)) == 32
    assert len(one.hide("ab" * 32)) == 64


def test_nonces_are_never_used_twice() -> None:
    """The same body is another text each time."""
    codec = AesCodec(KEY)
    assert len({codec.encode(b"body", b"meta") for _ in range(2_000)}) == 2_000


def test_bombs_are_not_unpacked() -> None:
    """Whatever unpacks to more than the largest entry, or not at all, is damage."""
    bomb = zlib.compress(bytes(65 * 1024 * 1024))
    for data in (bomb, b"junk", zlib.compress(b"x" * 1000)[:-5]):
        with pytest.raises(DamagedEntryError):
            decompress(data)


def test_the_key_file_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """The first use makes a random key that only the owner can read."""
    path = tmp_path / "home" / "cache.key"
    key = key_from_file(path)
    assert len(key) == 32
    assert key_from_file(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_from_file(tmp_path / "other") != key
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="Others"):
        key_from_file(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"0" * 63, b"g" * 64, b"0" * 5_000, b"\xff" * 64])
def test_a_bad_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A key of another form is never used, and never overwritten."""
    path = tmp_path / "cache.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        key_from_file(path)
    assert path.read_bytes() == content


def test_the_key_in_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring keeps the key; without one there is a hint."""
    import keyring
    import keyring.errors

    kept: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(keyring, "get_password", lambda *where: kept.get(where))
    monkeypatch.setattr(
        keyring, "set_password", lambda service, name, value: kept.update({(service, name): value})
    )
    assert key_from_keyring() == key_from_keyring()
    assert len(kept) == 1

    def refuse(*_where: str) -> None:
        raise keyring.errors.NoKeyringError("none")

    monkeypatch.setattr(keyring, "get_password", refuse)
    with pytest.raises(ConfigError) as caught:
        key_from_keyring()
    assert caught.value.hint


def test_choice_of_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options choose the codec, and a missing package is named."""
    assert type(open_codec()) is PlainCodec
    assert type(open_codec(compress=True)) is ZlibCodec
    assert type(open_codec(encryption_key=os.urandom(32))) is AesCodec
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError) as caught:
        open_codec(encryption_key=KEY)
    assert "pip install" in caught.value.hint
