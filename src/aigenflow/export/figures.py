"""The images that a document may show: its own figures, and nothing from elsewhere. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import unquote

from aigenflow.export.models import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_ACTIVE = re.compile(
    rb"<\s*(?:[\w.-]+:)?(?:script|foreignObject|iframe|animate|set|handler|use\s[^>]*href\s*=\s*"
    rb"[\"'](?!#))|\bon[a-z]+\s*=|<!ENTITY|<\?xml-stylesheet|@import",
    re.IGNORECASE,
)
_ADDRESS = re.compile(rb"\b(?:href|src)\s*=\s*[\"']\s*(?!#|data:image/png;)", re.IGNORECASE)
_STYLE_ADDRESS = re.compile(rb"url\(\s*[\"']?(?!#)", re.IGNORECASE)


def find_image(path: str, figures: Mapping[str, bytes]) -> Image | None:
    """The figure at ``path``; ``None`` where it is none of ours, or not a harmless PNG or SVG."""
    name = posixpath.normpath(unquote(path))
    data = figures.get(name)
    if data is None or not (_is_png(name, data) or _is_svg(name, data)):
        return None
    twin = posixpath.splitext(name)[0] + ".png"
    png = figures.get(twin)
    return Image(name=name, data=data, png=png if png and _is_png(twin, png) else None)


def _is_png(name: str, data: bytes) -> bool:
    return name.endswith(".png") and data.startswith(_PNG)


def _is_svg(name: str, data: bytes) -> bool:
    """An SVG that shows what is in it: no script, nothing fetched, no entity."""
    return (
        name.endswith(".svg")
        and b"<svg" in data[:4096]
        and not (_ACTIVE.search(data) or _ADDRESS.search(data) or _STYLE_ADDRESS.search(data))
    )
