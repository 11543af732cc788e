"""Copies of the shipped files, for the user to change: a user's file wins over ours by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path

from aigenflow.core.errors import InputError
from aigenflow.core.files import ensure_directory, is_safe_name, write_durably
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates import loader, prompt_library


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A shipped file, and where its copy goes."""

    source: Path
    target: Path


def outline_copies(name: str, new_name: str, languages: Sequence[Language], to: Path) -> list[Copy]:
    """The outline ``name`` under ``new_name`` in the user's folder ``to``, in each language.

    Raises :class:`~aigenflow.core.errors.InputError` for a name that cannot be one.
    """
    if not is_safe_name(new_name):
        raise InputError(
            _("“{name}” cannot be the name of a template.").format(name=new_name[:80]),
            hint=_("A name has lower-case letters, digits, - and _, and no path."),
        )
    return [
        Copy(
            source=loader.SHIPPED / f"{name}.{language.value}.yaml",
            target=to / "outlines" / f"{new_name}.{language.value}.yaml",
        )
        for language in languages
    ]


def prompt_copies(kind: DocumentType, languages: Sequence[Language], to: Path) -> list[Copy]:
    """Every prompt of documents of this kind, with what the prompts share, in each language."""
    return [
        Copy(source=source, target=to / "prompts" / source.relative_to(prompt_library.SHIPPED))
        for folder in (prompt_library.SHIPPED, prompt_library.SHIPPED / kind.value)
        for language in languages
        for source in sorted(folder.glob(f"*.{language.value}.md.j2"))
    ]


def make_copies(copies: Sequence[Copy]) -> None:
    """Write the copies. Nothing is overwritten: raises
    :class:`~aigenflow.core.errors.InputError` where a target exists, before anything is written.
    """
    taken = [copy.target for copy in copies if copy.target.exists()]
    if taken:
        raise InputError(
            _("{file} exists already; it is not overwritten.").format(file=taken[0]),
            hint=_("Delete or rename it first, or choose another name with --as."),
        )
    for copy in copies:
        ensure_directory(copy.target.parent)
        write_durably(copy.target, copy.source.read_bytes())
