"""Compiles the message catalogues while a wheel or an editable install is built.

``python hatch_build.py`` compiles them alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileCatalogues(BuildHookInterface):  # type: ignore[type-arg]
    """``locale/<language>/LC_MESSAGES/messages.po`` becomes ``messages.mo`` beside it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compile_catalogues(Path(self.root))


def compile_catalogues(root: Path) -> None:
    """Compile every catalogue of the project at ``root``."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for po_file in (root / "src" / "aigenflow" / "locale").glob("*/LC_MESSAGES/*.po"):
        with po_file.open("rb") as source:
            catalogue = read_po(source)
        with po_file.with_suffix(".mo").open("wb") as target:
            write_mo(target, catalogue)


if __name__ == "__main__":
    compile_catalogues(Path(__file__).parent)
