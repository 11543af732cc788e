"""Keys that nobody else has, and where they turn up."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

CANARIES = {
    "ANTHROPIC_API_KEY": "sk-CANARY-Qa7-xK2v_Zr9LmT4wJ8dB5nHqs6Yf3",
    "OPENAI_API_KEY": "sk-CANARY-uE3-pW8c_Gk5RbX7tNjA2yVmz4Dh6P",
    "GEMINI_API_KEY": "sk-CANARY-oS9-fM4h_Ct7QeZ2kUxW6gLrb8Jn5V",
    "PERPLEXITY_API_KEY": "sk-CANARY-iD6/nB3y+Vw8XaF5sPzG7hKqm2Lt9R",
}
SHOWN = 8
"""A part of a key as long as this is a leak: providers' own messages show less."""


def trace_pattern(key: str) -> re.Pattern[bytes]:
    """Finds any eight characters in a row of ``key``: as they are, in a URL, in base64."""
    raw = key.encode()
    in_base64 = {
        encode(b"\x00" * shift + raw)[4 if shift else 0 : -4]
        for shift in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    }
    forms = {
        *_windows(raw, SHOWN),
        *_windows(quote(key, safe="").encode(), SHOWN + 4),
        *(window for text in in_base64 for window in _windows(text, SHOWN * 4 // 3)),
    }
    return re.compile(b"|".join(map(re.escape, sorted(forms))))


def leaks(texts: Mapping[str, bytes]) -> list[str]:
    """The names of the ``texts`` with a canary in them, and what was found there."""
    patterns = {name: trace_pattern(key) for name, key in CANARIES.items()}
    return [
        f"{name} in {place}: {found[0]!r}"
        for place, data in texts.items()
        for name, pattern in patterns.items()
        if (found := pattern.search(data))
    ]


def everything_below(*folders: Path) -> dict[str, bytes]:
    """Every file below ``folders`` by its path; of an archive, every member as well."""
    return {name: data for folder in folders for name, data in _contents(folder)}


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        yield str(path), str(path).encode() + b"\n" + data
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    yield f"{path}!{name}", archive.read(name)


def _windows(text: bytes, length: int) -> Iterator[bytes]:
    return (text[start : start + length] for start in range(len(text) - length + 1))
