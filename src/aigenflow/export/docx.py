"""DOCX: pandoc writes it after the shipped reference document; what it wrote is looked at again."""

from __future__ import annotations

import base64
import io
import re
import tempfile
import zipfile
from datetime import UTC, datetime
from gettext import gettext as _
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from aigenflow.core.errors import ExportError
from aigenflow.export.models import Document, Image
from aigenflow.export.pandoc import pandoc_tree, run_pandoc
from aigenflow.export.pdf import to_png
from aigenflow.export.text import safe_address

_HYPERLINK = "/relationships/hyperlink"
_TIME = re.compile(rb"(?<=W3CDTF\">)[^<]+")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def to_docx(document: Document) -> bytes:
    """``document`` for Word. Raises :class:`~aigenflow.core.errors.ExportError`."""
    reference = resources.files("aigenflow.export") / "assets" / "reference.docx"
    with tempfile.TemporaryDirectory(prefix="aigenflow-") as folder:
        copy = Path(folder) / "reference.docx"
        copy.write_bytes(reference.read_bytes())
        data = run_pandoc(
            pandoc_tree(document, _data_uri),
            ("--to=docx", f"--reference-doc={copy}"),
            document.dated,
        )
    if foreign := foreign_parts(data):
        raise ExportError(
            _("The DOCX would have loaded something from elsewhere: {parts}").format(
                parts=", ".join(foreign)
            ),
            hint=_("Export it as HTML or PDF, and report this text."),
        )
    return _dated(data, document.dated)


def foreign_parts(docx: bytes) -> list[str]:
    """What Word would load from outside the file; links that a reader follows do not count."""
    found = []
    with zipfile.ZipFile(io.BytesIO(docx)) as archive:
        for name in archive.namelist():
            if name.endswith(".rels"):
                # Pandoc's own output: no text of the document becomes XML markup in it.
                for relation in ElementTree.fromstring(archive.read(name)):  # noqa: S314
                    target = relation.get("Target", "")
                    is_link = relation.get("Type", "").endswith(_HYPERLINK)
                    if relation.get("TargetMode") == "External" and not (
                        is_link and safe_address(target)
                    ):
                        found.append(target)
    return found


def _dated(docx: bytes, dated: datetime) -> bytes:
    """``docx`` with ``dated`` in its properties: in its sandbox, pandoc knows no time."""
    stamp = f"{dated.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename == "docProps/core.xml":
                data = _TIME.sub(stamp, data)
            info = zipfile.ZipInfo(item.filename, _ZIP_EPOCH)
            new.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _data_uri(image: Image) -> str:
    """Word versions before 2016 show no SVG, so every figure goes in as a PNG."""
    png = image.png or (to_png(image.data) if image.is_svg else image.data)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
