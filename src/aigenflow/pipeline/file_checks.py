"""Looking at exported files from outside: do they open, and do they point nowhere else. Pure."""

from __future__ import annotations

import html
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from gettext import gettext as _

from aigenflow.export.text import cleaned
from aigenflow.quality.document import read_document
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
_TAG = re.compile(r"<[^>]*>")
_STYLE = re.compile(r"<style\b.*?</style>", re.DOTALL)
_NOT_SHOWN = re.compile(r"<br\s*/?>|\[\^[^\]\s]{1,60}\]:?|(?<=[-*+] )\[[ xX]\] ")
_NOT_LETTERS = re.compile(r"[\W_]+")
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def look_at(
    files: Mapping[str, bytes], document: str, failures: Mapping[str, str] | None = None
) -> tuple[ExportFact, ...]:
    """What is known about each exported file; ``failures`` are those that were not made.

    All words of ``document``, which is Markdown, must be in a file. Those of a PDF are not looked
    for: its lines do not tell which paragraph they belong to.
    """
    pieces = tuple(_pieces(document))
    seen = [
        ExportFact(name=name, problems=(*_CHECKS[form](data), *_lost(pieces, form, data)))
        for name, data in sorted(files.items())
        if (form := name.rpartition(".")[2]) in _CHECKS
    ]
    missing = [
        ExportFact(name=name, problems=(problem,)) for name, problem in (failures or {}).items()
    ]
    return (*seen, *missing)


def _pieces(document: str) -> Iterator[str]:
    """Headings, paragraphs and cells, as a reader of the file sees them."""
    read = read_document(_NOT_SHOWN.sub(" ", cleaned(document)))
    yield from (section.heading for section in read.sections)
    yield from (paragraph.text for paragraph in read.paragraphs)
    for table in read.tables:
        yield from table.header
        for row in table.rows:
            yield from row


def _lost(pieces: Sequence[str], form: str, data: bytes) -> Iterator[str]:
    if form not in _TEXTS:
        return
    text = _letters(_TEXTS[form](data))
    lost = [piece for piece in pieces if _letters(piece) not in text]
    if text and lost:
        yield _("{count} pieces of the text are not in it, the first: {text}").format(
            count=len(lost), text=lost[0][:80]
        )


def _letters(text: str) -> str:
    """Letters and digits alone: formats set spaces, quotation marks and hyphens their own way."""
    return _NOT_LETTERS.sub("", unicodedata.normalize("NFC", text))


def _text_of_members(name: str, tag: str) -> Callable[[bytes], str]:
    """How to read the text inside ``tag`` of a ZIP file's members ``name…``."""
    inside = re.compile(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", re.DOTALL)

    def text(data: bytes) -> str:
        members = _members(data) or {}
        xml = "".join(
            each.decode(errors="replace") for path, each in members.items() if path.startswith(name)
        )
        return html.unescape(_TAG.sub("", "".join(inside.findall(xml))))

    return text


def _text_of_html(data: bytes) -> str:
    return html.unescape(_TAG.sub("", _STYLE.sub("", data.decode(errors="replace"))))


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
_TEXTS: Mapping[str, Callable[[bytes], str]] = {
    "docx": _text_of_members("word/", "w:t"),
    "hwpx": _text_of_members("Contents/section", "hp:t"),
    "html": _text_of_html,
}
