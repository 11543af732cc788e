"""Outlines from disk: the shipped ones, and the user's own, which win by name.

An outline is one YAML file ``outlines/<template>.<language>.yaml``. Its name and language come
from the file's name, so that a copy under another name is another template.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from gettext import gettext as _
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node

from aigenflow.core.errors import TemplateError
from aigenflow.core.files import is_safe_name, read_bounded
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates.models import Outline

OUTLINE_LIMIT_BYTES = 256 * 1024
DEFAULT_TEMPLATE = "default"
SHIPPED = Path(__file__).parent / "outlines"

_DEFAULTS = {DocumentType.BIZPLAN: DEFAULT_TEMPLATE, DocumentType.RD: "rd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateInfo:
    """One template as ``--template`` knows it. ``own`` says that the user wrote one of its files.

    ``title`` and ``purpose`` are in the first of ``languages``.
    """

    name: str
    document_type: DocumentType
    languages: tuple[Language, ...]
    title: str
    purpose: str
    own: bool = False


def load_outline(
    document_type: DocumentType,
    template: str,
    language: Language,
    *,
    user_dir: Path | None = None,
) -> Outline:
    """The outline called ``template``; ``"default"`` is the usual one of the document type.

    ``user_dir`` is the folder of the user's templates. Raises ``TemplateError`` where there is no
    such template, where it is for the other document type, and where its file is not an outline.
    """
    name = _DEFAULTS[document_type] if template == DEFAULT_TEMPLATE else template
    if not is_safe_name(name):
        raise TemplateError(
            _("“{name}” cannot be the name of a template.").format(name=name[:80]),
            hint=_("A name has lower-case letters, digits, - and _, and no path."),
        )
    outline = _find(name, language, user_dir)
    if outline is None:
        raise _unknown(name, language, user_dir)
    if outline.document_type is not document_type:
        raise TemplateError(
            _("Template “{name}” is for documents of type {found}, not {wanted}.").format(
                name=name, found=outline.document_type.value, wanted=document_type.value
            ),
            hint=_("Use --type {found}, or one of these templates: {names}.").format(
                found=outline.document_type.value,
                names=", ".join(
                    info.name for info in list_templates() if info.document_type is document_type
                ),
            ),
        )
    return outline


def list_templates(user_dir: Path | None = None) -> tuple[TemplateInfo, ...]:
    """Every template that can be used, by name. Raises ``TemplateError`` on a broken file."""
    return tuple(_info(name, user_dir) for name in sorted(dict(_names(user_dir))))


def find_template(name: str, user_dir: Path | None = None) -> TemplateInfo:
    """What is known of the template ``name``. Raises ``TemplateError`` where there is none."""
    if name not in dict(_names(user_dir)):
        raise _unknown(name, Language.EN, user_dir)
    return _info(name, user_dir)


def kind_of(name: str, user_dir: Path | None = None) -> DocumentType:
    """What the template ``name`` is for; a business plan where there is no such template."""
    known = dict(_names(user_dir))
    return _info(name, user_dir).document_type if name in known else DocumentType.BIZPLAN


def parse_outline(data: bytes, name: str, language: Language) -> Outline:
    """Read one outline file. Raises ``TemplateError`` saying where it is wrong."""
    file = f"{name}.{language.value}.yaml"
    try:
        value = _yaml().load(data.decode("utf-8-sig"))
    except RecursionError:
        raise _broken(file, _("it is nested too deeply")) from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _broken(file, " ".join(str(error).split())) from error
    if not isinstance(value, dict):
        raise _broken(file, _("it is not a mapping of keys to values"))
    try:
        outline = Outline.model_validate({"name": name, "language": language.value} | value)
    except ValidationError as error:
        raise _broken(file, _first_fault(error)) from error
    if (outline.name, outline.language) != (name, language):
        raise _broken(file, _("its keys “name” and “language” differ from the file's name"))
    return outline


class _PlainComposer(Composer):
    """Refuses anchors and aliases: a few hundred bytes of them can stand for gigabytes."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise ComposerError(
                None, None, _("anchors (&) and aliases (*) are not allowed"), event.start_mark
            )
        node: Node | None = super().compose_node(parent, index)
        return node


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _PlainComposer
    return yaml


def _find(name: str, language: Language, user_dir: Path | None) -> Outline | None:
    file = f"{name}.{language.value}.yaml"
    if user_dir is not None and (user_dir / "outlines" / file).is_file():
        return parse_outline(_read(user_dir / "outlines" / file), name, language)
    return _shipped(name, language) if (SHIPPED / file).is_file() else None


@lru_cache(maxsize=32)
def _shipped(name: str, language: Language) -> Outline:
    # Installers may link package files, which read_bounded refuses; they are ours, so plain reads.
    return parse_outline((SHIPPED / f"{name}.{language.value}.yaml").read_bytes(), name, language)


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, OUTLINE_LIMIT_BYTES)
    except (OSError, ValueError) as error:
        raise _broken(path.name, str(error)) from error


def _names(user_dir: Path | None) -> Iterator[tuple[str, Language]]:
    folders = [SHIPPED] if user_dir is None else [SHIPPED, user_dir / "outlines"]
    for folder in folders:
        for path in folder.glob("*.yaml"):
            name, _dot, language = path.name.removesuffix(".yaml").rpartition(".")
            if is_safe_name(name) and language in set(Language):
                yield name, Language(language)


def _info(name: str, user_dir: Path | None) -> TemplateInfo:
    present = {language for found, language in _names(user_dir) if found == name}
    languages = tuple(language for language in Language if language in present)
    outline = _find(name, languages[0], user_dir)
    if outline is None:
        raise _unknown(name, languages[0], None)
    own = user_dir is not None and any(
        (user_dir / "outlines" / f"{name}.{language.value}.yaml").is_file()
        for language in languages
    )
    return TemplateInfo(
        name=name,
        document_type=outline.document_type,
        languages=languages,
        title=outline.title,
        purpose=outline.purpose,
        own=own,
    )


def _unknown(name: str, language: Language, user_dir: Path | None) -> TemplateError:
    known = set(_names(user_dir))
    others = sorted(other.value for found, other in known if found == name)
    if others:
        return TemplateError(
            _("Template “{name}” has no outline in language “{language}”.").format(
                name=name, language=language.value
            ),
            hint=_("It exists in: {languages}.").format(languages=", ".join(others)),
        )
    names = sorted(dict(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    every = _("Templates: {names}.").format(names=", ".join(names))
    meant = _("Did you mean “{name}”?").format(name=near[0]) + " " if near else ""
    return TemplateError(
        _("There is no template “{name}”.").format(name=name), hint=f"{meant}{every}"
    )


def _broken(file: str, why: str) -> TemplateError:
    return TemplateError(
        _("The outline {file} cannot be used: {why}.").format(file=file, why=why.rstrip(".")),
        hint=_("Compare it with the shipped outlines in {folder}.").format(folder=SHIPPED),
    )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]
