"""PDF: pandoc writes Typst, Typst sets the pages; every font is embedded."""

from __future__ import annotations

import functools
import json
import tempfile
from gettext import gettext as _
from importlib import resources
from pathlib import Path

from aigenflow.core.errors import ExportError
from aigenflow.core.models import Language
from aigenflow.export.fonts import HANGUL, MONO_FAMILIES, text_families
from aigenflow.export.models import Document, Image, plain
from aigenflow.export.pandoc import pandoc_tree, run_pandoc
from aigenflow.export.wording import CONTENTS

_HEAD = '#import "/template.typ": horizontalrule, layout\n#show: layout\n\n'


def check_fonts(language: Language) -> None:
    """Raises :class:`~aigenflow.core.errors.ConfigError` where ``language`` cannot be shown."""
    text_families(_installed(), needs_hangul=language is Language.KO)


def to_pdf(document: Document) -> bytes:
    """``document`` as a PDF with a page of contents.

    Raises :class:`~aigenflow.core.errors.ExportError`, and
    :class:`~aigenflow.core.errors.ConfigError` where a font is missing.
    """
    import typst

    images: dict[str, bytes] = {}

    def image_target(image: Image) -> str:
        name = f"figure-{len(images) + 1}.{'svg' if image.is_svg else 'png'}"
        images[name] = image.data
        return name

    tree = pandoc_tree(document, image_target)
    arguments = ("--to=typst", "--wrap=none")
    body = run_pandoc(tree, arguments, document.dated).decode()
    title = plain(document.title)
    needs_hangul = document.language is Language.KO or bool(HANGUL.search(title + body))
    fonts = text_families(_installed(), needs_hangul=needs_hangul)
    with tempfile.TemporaryDirectory(prefix="aigenflow-") as name:
        folder = Path(name)
        _fill(folder, {"main.typ": (_HEAD + body).encode(), **images})
        try:
            pdf = typst.compile(
                folder / "main.typ",
                root=folder,
                package_path=folder / "packages",
                package_cache_path=folder / "packages",
                timestamp=int(document.dated.timestamp()),
                sys_inputs={
                    "title": title,
                    "language": document.language.value,
                    "contents": CONTENTS[document.language],
                    "fonts": json.dumps(fonts),
                    "mono": json.dumps([f for f in MONO_FAMILIES if f in _installed()]),
                },
            )
        except typst.TypstError as error:
            raise ExportError(
                _("Typst could not set the document: {problem}").format(problem=error),
                hint=_("Export it as HTML or DOCX, and report this text."),
            ) from error
    return bytes(pdf)


def to_png(svg: bytes) -> bytes:
    """An SVG figure as a PNG of 200 dots per inch. Raises ``ExportError``."""
    import typst

    with tempfile.TemporaryDirectory(prefix="aigenflow-") as name:
        folder = Path(name)
        page = b'#set page(width: auto, height: auto, margin: 0pt)\n#image("figure.svg")\n'
        _fill(folder, {"main.typ": page, "figure.svg": svg})
        try:
            return bytes(typst.compile(folder / "main.typ", root=folder, format="png", ppi=200))
        except typst.TypstError as error:
            raise ExportError(
                _("A figure cannot be drawn: {problem}").format(problem=error),
                hint=_("Put a PNG of the same name beside the SVG."),
            ) from error


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    template = resources.files("aigenflow.export") / "assets" / "template.typ"
    for name, data in {"template.typ": template.read_bytes(), **files}.items():
        (folder / name).write_bytes(data)


@functools.cache
def _installed() -> frozenset[str]:
    import typst

    return frozenset(typst.Fonts().families())
