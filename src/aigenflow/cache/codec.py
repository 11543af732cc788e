"""Optional forms of a stored body: compressed, encrypted, or both.

Encryption is AES-256-GCM with a fresh nonce for every entry; the readable ``meta`` of the entry,
which holds its name and its full fingerprint, is authenticated with it, so that entries cannot be
swapped. Entries are named by an HMAC, so that a store does not show who asked the same thing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from gettext import gettext as _
from pathlib import Path

from aigenflow.cache.models import Codec, PlainCodec, SealedEntryError, decompress
from aigenflow.core.errors import ConfigError
from aigenflow.core.files import create_secret, ensure_directory, read_bounded
from aigenflow.core.keys import KEYRING_SERVICE

KEY_BYTES = 32
_NONCE_BYTES = 12
_AS_IT_IS, _ZLIB = b"p", b"z"
_VERSION = b"aigenflow cache entry 1\n"
_KEYRING_NAME = "cache-encryption-key"


class ZlibCodec(PlainCodec):
    """Bodies compressed with zlib; about half of the size for prose, base64 included."""

    def encode(self, body: bytes, bound_to: bytes) -> bytes | None:
        return zlib.compress(body, level=6)


class AesCodec:
    """Bodies encrypted with AES-256-GCM under ``key`` (32 bytes), compressed first if asked."""

    sealed = True

    def __init__(self, key: bytes, *, compress: bool = False) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(_derived(key, b"bodies"))
        self._naming_key = _derived(key, b"names")
        self._compress = compress

    def hide(self, digest: str) -> str:
        hidden = hmac.new(self._naming_key, digest.encode(), hashlib.sha256).hexdigest()
        return hidden[: len(digest)]

    def encode(self, body: bytes, bound_to: bytes) -> bytes | None:
        nonce = os.urandom(_NONCE_BYTES)
        plain = _ZLIB + zlib.compress(body, level=6) if self._compress else _AS_IT_IS + body
        return nonce + self._cipher.encrypt(nonce, plain, _VERSION + bound_to)

    def decode(self, body: bytes, bound_to: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        nonce, coded = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, coded, _VERSION + bound_to)
        except (InvalidTag, ValueError) as error:
            raise SealedEntryError(_("made with another key, or tampered with")) from error
        return decompress(plain[1:]) if plain[:1] == _ZLIB else plain[1:]


def open_codec(*, compress: bool = False, encryption_key: bytes | None = None) -> Codec:
    """The codec for the options of the configuration.

    Raises ``ConfigError`` where encryption is asked for and not installed.
    """
    if encryption_key is None:
        return ZlibCodec() if compress else PlainCodec()
    try:
        return AesCodec(encryption_key, compress=compress)
    except ImportError as error:
        raise ConfigError(
            _("Encryption of the cache needs the package cryptography."),
            hint=_("Install it with: pip install 'aigenflow[encryption]'"),
        ) from error


def key_from_file(path: Path) -> bytes:
    """The 32-byte key kept at ``path`` (hex, mode 0600); made at the first use.

    Raises ``ConfigError`` where the file is not such a key or others can read it.
    """
    try:
        ensure_directory(path.parent)
        create_secret(path, os.urandom(KEY_BYTES).hex().encode() + b"\n")
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                _("Others can read the key file {path}.").format(path=path),
                hint=_("Run: chmod 600 {path}").format(path=path),
            )
        return _key(read_bounded(path, 4096).decode("ascii", "replace"), str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(
            _("The key file {path} cannot be used: {reason}.").format(path=path, reason=error),
            hint=_("Put 64 hex digits into it, or remove it to have a new one made."),
        ) from error


def key_from_keyring() -> bytes:
    """The 32-byte key kept in the system's keyring; made at the first use.

    Raises ``ConfigError`` where there is no keyring.
    """
    try:
        import keyring
        import keyring.errors
    except ImportError as error:
        raise _no_keyring(error) from error
    try:
        stored = keyring.get_password(KEYRING_SERVICE, _KEYRING_NAME)
        if stored is None:
            stored = os.urandom(KEY_BYTES).hex()
            keyring.set_password(KEYRING_SERVICE, _KEYRING_NAME, stored)
    except keyring.errors.KeyringError as error:
        raise _no_keyring(error) from error
    return _key(stored, "keyring")


def _derived(key: bytes, purpose: bytes) -> bytes:
    """One key per purpose, so that names tell nothing about bodies."""
    return hmac.new(key, b"aigenflow cache " + purpose, hashlib.sha256).digest()


def _key(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            _("The encryption key in {where} is not 64 hex digits.").format(where=where),
            hint=_("Restore it from a backup, or remove it: the cache is then filled anew."),
        )
    return key


def _no_keyring(error: Exception) -> ConfigError:
    return ConfigError(
        _("The keyring of this system cannot be used: {reason}.").format(reason=error),
        hint=_("Use a key file instead."),
    )
