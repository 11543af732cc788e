"""Canonical JSON: the same value always gives the same bytes.

Sorted keys, NFC text, no white space, no NaN. Fingerprints of requests, steps and templates are
SHA-256 over it. NFKC is never used: it would turn ``m²`` or ``㈜`` into other text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Encode ``value`` (JSON types, mappings, sequences, dataclasses, enums) canonically.

    Raises ``UnicodeEncodeError`` on lone surrogates and ``ValueError`` on NaN or infinity.
    """
    return json.dumps(
        _plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode("utf-8")


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value``, 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"no canonical form for {type(value).__name__}")
