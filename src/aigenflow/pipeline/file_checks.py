"""Looking at exported files from outside: do they open, and do they point nowhere else. Pure."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from gettext import gettext as _

from aigenflow.quality.models import ExportFact

_HWPX_MEMBERS = (
    "META-INF/container.xml",
    "Contents/content.hpf",
    "Contents/header.xml",
    "Contents/section0.xml",
)
_EXTERNAL = re.compile(rb"<Relationship\b[^>]*TargetMode=\"External\"[^>]*>")
_HYPERLINK = re.compile(rb"Type=\"[^\"]*/hyperlink\"")
_LOADED = re.compile(rb"<(?:script|iframe|link|img|object|embed)\b[^>]*(?:src|href)=[\"']https?:")
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def look_at(
    files: Mapping[str, bytes], failures: Mapping[str, str] | None = None
) -> tuple[ExportFact, ...]:
    """What is known about each exported file; ``failures`` are those that were not made."""
    seen = [
        ExportFact(name=name, problems=tuple(_CHECKS[form](data)))
        for name, data in sorted(files.items())
        if (form := name.rpartition(".")[2]) in _CHECKS
    ]
    missing = [
        ExportFact(name=name, problems=(problem,)) for name, problem in (failures or {}).items()
    ]
    return (*seen, *missing)


def count_pages(files: Mapping[str, bytes]) -> int | None:
    """The pages of the PDF among ``files``; ``None`` where there is none that can be read."""
    data = next((data for name, data in files.items() if name.endswith(".pdf")), None)
    if data is None:
        return None
    try:
        from pypdf import PdfReader
        from pypdf.errors import PdfReadError
    except ImportError:
        return len(_PAGE.findall(data)) or None
    try:
        return len(PdfReader(io.BytesIO(data)).pages)
    except PdfReadError:
        return None


def _docx(data: bytes) -> Iterator[str]:
    members = _members(data)
    if members is None or "word/document.xml" not in members:
        yield _("it does not open")
        return
    for name, content in members.items():
        for relation in _EXTERNAL.findall(content) if name.endswith(".rels") else ():
            if not _HYPERLINK.search(relation):
                yield _("{part} points outside").format(part=name)


def _hwpx(data: bytes) -> Iterator[str]:
    members = _members(data)
    if members is None:
        yield _("it does not open")
        return
    first = zipfile.ZipFile(io.BytesIO(data)).infolist()[0]
    if first.filename != "mimetype" or first.compress_type != zipfile.ZIP_STORED:
        yield _("its mimetype is not first, or compressed")
    for name in _HWPX_MEMBERS:
        if name not in members:
            yield _("{part} is missing").format(part=name)


def _html(data: bytes) -> Iterator[str]:
    if _LOADED.search(data):
        yield _("it loads something from another place")


def _pdf(data: bytes) -> Iterator[str]:
    if not data.startswith(b"%PDF-") or b"%%EOF" not in data[-2048:]:
        yield _("it does not open")


def _members(data: bytes) -> dict[str, bytes] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return None


_CHECKS: Mapping[str, Callable[[bytes], Iterator[str]]] = {
    "docx": _docx,
    "hwpx": _hwpx,
    "html": _html,
    "pdf": _pdf,
}
