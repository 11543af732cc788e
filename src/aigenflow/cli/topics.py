"""``--topics FILE``: what to write on, one entry per document.

Three forms. Lines: one topic each (empty lines and ``#`` comments do not count). CSV with a header:
columns ``topic``, ``type``, ``template``, ``lang``, ``brief``. YAML: a list of topics, or of
mappings with the same names. A brief is a file, relative to the topics file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from gettext import gettext as _
from io import StringIO
from pathlib import Path
from typing import Any

from aigenflow.core.errors import AigenflowError, InputError, TemplateError
from aigenflow.core.files import read_bounded
from aigenflow.core.models import DocumentType, Language
from aigenflow.pipeline.assignment import Assignment, check_topic
from aigenflow.templates.brief import BRIEF_LIMIT_BYTES, read_brief
from aigenflow.templates.loader import kind_of, load_outline

MAX_BYTES = 4 * 1024 * 1024
_NAMES = ("topic", "type", "template", "lang", "brief")


def make_assignment(
    topic: str,
    document_type: str | None = None,
    template: str = "default",
    lang: str | None = None,
    brief: Path | None = None,
    *,
    templates: Path,
) -> Assignment:
    """What is asked for; what was left open follows from the template and from the topic.

    ``templates`` is the folder of the user's templates.

    Raises :class:`~aigenflow.core.errors.InputError` where the brief cannot be read.
    """
    kind = DocumentType(document_type) if document_type else kind_of(template, templates)
    return Assignment(
        topic=topic,
        document_type=kind,
        template="rd" if kind is DocumentType.RD and template == "default" else template,
        language=Language(lang) if lang else Language.of(topic),
        brief=_read_brief(brief) if brief else "",
    )


def read_topics(path: Path, defaults: Mapping[str, Any], templates: Path) -> list[Assignment]:
    """The assignments in ``path``; ``defaults`` stand where an entry leaves something open.

    ``templates`` is the folder of the user's templates. Raises
    :class:`~aigenflow.core.errors.InputError` naming the entry.
    """
    found = []
    for number, entry in enumerate(_entries(path), start=1):
        unknown = set(entry) - set(_NAMES)
        given = {name: str(value) for name, value in entry.items() if value not in (None, "")}
        if unknown or not given.get("topic"):
            raise InputError(
                _("Entry {number} of {file} cannot be used.").format(number=number, file=path),
                hint=_("Each needs a topic; these names are known: {names}").format(
                    names=", ".join(_NAMES)
                ),
            )
        try:
            check_topic(given["topic"])
            assignment = _assignment(given, path, defaults, templates)
            load_outline(
                assignment.document_type,
                assignment.template,
                assignment.language,
                user_dir=templates,
            )
        except (ValueError, InputError, TemplateError) as error:
            hint = error.hint if isinstance(error, AigenflowError) else ""
            raise InputError(
                _("Entry {number} of {file}: {problem}").format(
                    number=number, file=path, problem=error
                ),
                hint=hint or _("type is bizplan or rd; lang is ko or en."),
            ) from error
        found.append(assignment)
    if not found:
        raise InputError(_("There are no topics in {file}.").format(file=path))
    return found


def _assignment(
    given: dict[str, str], path: Path, defaults: Mapping[str, Any], templates: Path
) -> Assignment:
    brief = path.parent / given["brief"] if "brief" in given else defaults["brief"]
    return make_assignment(
        given["topic"],
        given.get("type", defaults["document_type"]),
        given.get("template", defaults["template"]),
        given.get("lang", defaults["lang"]),
        brief,
        templates=templates,
    )


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    text = _read_text(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        from aigenflow.core.yaml import parse_yaml

        value = parse_yaml(text, str(path)) or []
        for item in value if isinstance(value, list) else [value]:
            yield item if isinstance(item, dict) else {"topic": item}
    elif path.suffix.lower() == ".csv":
        try:
            for row in csv.DictReader(StringIO(text)):
                yield {str(name).strip(): value for name, value in row.items()}
        except csv.Error as error:
            raise InputError(
                _("{file} cannot be read: {problem}").format(file=path, problem=error),
                hint=_("It must be a CSV file with a header line."),
            ) from error
    else:
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield {"topic": line.strip()}


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path.resolve(), MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            _("{file} cannot be read: {problem}").format(file=path, problem=error),
            hint=_("It must be a UTF-8 text file that you may read."),
        ) from error


def _read_brief(path: Path) -> str:
    try:
        return read_brief(read_bounded(path.resolve(), BRIEF_LIMIT_BYTES), path.name)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            _("{file} cannot be read: {problem}").format(file=path, problem=problem),
            hint=_("Check the name and the permissions of the brief."),
        ) from error
