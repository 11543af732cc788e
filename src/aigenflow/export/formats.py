"""The formats that a document can be had in, and what each of them needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from gettext import gettext as _
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import Language
from aigenflow.export.models import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: the function ``module:name`` makes it, from packages of an extra."""

    function: str
    extra: str = ""
    packages: tuple[str, ...] = ()

    def export(self, document: Document) -> bytes:
        """``document`` in this format."""
        module, _colon, name = self.function.partition(":")
        return cast("Callable[[Document], bytes]", getattr(import_module(module), name))(document)


_DOCS = ("pypandoc", "typst")
FORMATS: Mapping[str, Format] = {
    "html": Format(function="aigenflow.export.html:to_html"),
    "docx": Format(function="aigenflow.export.docx:to_docx", extra="docs", packages=_DOCS),
    "pdf": Format(function="aigenflow.export.pdf:to_pdf", extra="docs", packages=_DOCS),
    "hwpx": Format(function="aigenflow.export.hwpx:to_hwpx", extra="hwpx", packages=("hwpx",)),
}
"""By file suffix. Markdown is what they are made from."""


def check_formats(names: Iterable[str], language: Language) -> None:
    """See that a document in ``language`` can be exported as ``names``.

    Raises :class:`~aigenflow.core.errors.ConfigError` where a package or a font is missing.
    """
    for name in names:
        chosen = FORMATS.get(name)
        if chosen is None:
            continue
        if any(find_spec(package) is None for package in chosen.packages):
            raise ConfigError(
                _("The format {format} needs packages that are not installed.").format(format=name),
                hint=_("Install them: pip install 'aigenflow[{extra}]'").format(extra=chosen.extra),
            )
        if name == "pdf":
            from aigenflow.export.pdf import check_fonts

            check_fonts(language)
