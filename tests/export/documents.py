"""A Korean and an English document with everything in it."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

from aigenflow.core.models import Language
from aigenflow.export.models import ExportInput

DATED = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="480" height="200" viewBox="0 0 480 200">'
    b'<rect x="40" y="90" width="80" height="90" fill="#1f4e8c"/>'
    b'<rect x="200" y="60" width="80" height="120" fill="#1f4e8c"/>'
    b'<rect x="360" y="20" width="80" height="160" fill="#1f4e8c"/></svg>'
)


def png(width: int = 8, height: int = 4) -> bytes:
    """A white PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\x00" + b"\xff" * width) * height)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


FIGURES = {"figures/revenue.svg": SVG, "figures/market.png": png()}

FOLDER = Path(__file__).parent / "documents"


def source(language: Language) -> ExportInput:
    """The document with its figures: tables, footnotes, 40 references, all kinds of markup."""
    markdown = (FOLDER / f"{language.value}.md").read_text("utf-8")
    return ExportInput(
        markdown=markdown, title="?", language=language, dated=DATED, figures=FIGURES
    )
