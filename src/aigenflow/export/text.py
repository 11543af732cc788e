"""Text from a model or from the web, made safe to show. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
"""Control sequences, strings (titles, links, device control) and single escapes (ECMA-48)."""
_FLAG = "\U0001f3f4[\U000e0061-\U000e007a]+\U000e007f"
_CONTROL = re.compile(
    f"({_FLAG})"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
    "\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
"""C0 and C1, bidirectional overrides, noncharacters, and tags outside of a flag."""
_LINE_ENDS = re.compile("\r\n?|\x85|\u2028|\u2029")
_SURROGATES = re.compile("[\ud800-\udfff]")
_FORMULA = re.compile(r"[=@\t\r]|[+\-]\s*(?:[A-Za-z_.]+\d*[(!]|.*\|)|[+\-].*\b[A-Z]{2,}\(")
_SCHEMES = frozenset({"http", "https", "mailto"})


def cleaned(text: str) -> str:
    """``text`` without terminal escapes, control characters and bidirectional overrides.

    Line ends become ``\\n``; emoji sequences stay whole; half a surrogate pair becomes U+FFFD.
    """
    text = _TERMINAL.sub("", text)
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROL.sub(lambda match: match[1] or "", text)
    return _SURROGATES.sub("\ufffd", text)


def defused(cell: str) -> str:
    """The beginning of a table cell such that a spreadsheet takes it for text.

    Numbers with a sign stay as they are; what reads as a formula gets an apostrophe.
    """
    return f"'{cell}" if _FORMULA.match(cell.lstrip(" \u00a0\u200b\u3000")) else cell


def safe_address(address: str) -> str | None:
    """``address`` where it may be a link: a whole ``http(s)`` or ``mailto`` one; else ``None``."""
    try:
        parts = urlsplit(address)
        port_is_valid = parts.port != 0
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not port_is_valid or re.search(r"[\s\\<>\"]", address):
        return None
    return address if (parts.hostname or (parts.scheme == "mailto" and parts.path)) else None
