"""``aigenflow templates``: which there are, what is in them, and copies of your own."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings

if TYPE_CHECKING:
    from aigenflow.templates.loader import TemplateInfo
    from aigenflow.templates.models import Outline, Section


@click.group("templates", help=_("See the templates of documents, and copy one to change it."))
def command() -> None:
    pass


def _language() -> options.Decorator[Any]:
    return click.option(
        "--lang", type=click.Choice(["ko", "en"]), help=_("Language of the template.")
    )


def _own_folder() -> Path:
    _settings, home = read_settings()
    return home / "templates"


@command.command("list", help=_("List the templates that --template takes."))
@options.as_json()
def list_all(as_json: bool) -> None:
    from aigenflow.templates.loader import list_templates

    found = [(info, _outline(info.name, None)) for info in list_templates(_own_folder())]
    if as_json:
        click.echo(json_text([_plain_info(info, outline) for info, outline in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(_("Template"), _("Type"), _("Languages"), _("For"), _("Sections"), _("Pages"))
    for info, outline in found:
        table.add_row(
            info.name + (_(" (yours)") if info.own else ""),
            info.document_type.value,
            ", ".join(info.languages),
            printable(outline.title),
            str(len(outline.sections)),
            str(outline.page_limit or _("no limit")),
        )
    Console(highlight=False).print(table)


@command.command("show", help=_("Show what a document of a template must contain."))
@click.argument("name")
@_language()
@options.as_json()
def show(name: str, lang: str | None, as_json: bool) -> None:
    outline = _outline(name, lang)
    if as_json:
        click.echo(json_text(outline.model_dump(mode="json")))
        return
    click.echo(printable("\n".join(_lines(outline))))


@command.command("copy", help=_("Copy a shipped template into your own folder, to change it."))
@click.argument("name")
@click.option("--as", "new_name", default="", help=_("Name of the copy. Default: the same name."))
@_language()
@click.option("--prompts", is_flag=True, help=_("Copy what the agents are asked, too."))
def copy(name: str, new_name: str, lang: str | None, prompts: bool) -> None:
    from aigenflow.core.models import Language
    from aigenflow.templates.copying import make_copies, outline_copies, prompt_copies
    from aigenflow.templates.loader import find_template

    info = find_template(name)
    languages = [Language(lang)] if lang else list(info.languages)
    folder = _own_folder()
    copies = outline_copies(info.name, new_name or info.name, languages, folder)
    if prompts:
        copies += prompt_copies(info.document_type, languages, folder)
    make_copies(copies)
    for each in copies:
        click.echo(str(each.target))
    click.echo(
        _("Change it, then use it: aigenflow run --topic … --template {name}").format(
            name=new_name or info.name
        )
    )
    if prompts:
        click.echo(
            _("The prompts hold for every template of type {kind}.").format(
                kind=info.document_type.value
            )
        )


def _outline(name: str, lang: str | None) -> Outline:
    """The user's or the shipped one, in the language of the messages unless another is named."""
    from aigenflow.core.language import spoken
    from aigenflow.core.models import Language
    from aigenflow.templates.loader import find_template, load_outline

    folder = _own_folder()
    info = find_template(name, folder)
    wanted = Language(lang or spoken())
    language = wanted if lang or wanted in info.languages else info.languages[0]
    return load_outline(info.document_type, info.name, language, user_dir=folder)


def _lines(outline: Outline) -> list[str]:
    """An outline to read: its rules, then section by section."""
    lines = [outline.title, outline.purpose, "", _("Reader: {text}").format(text=outline.reader)]
    if outline.page_limit:
        lines.append(_("At most {count} pages").format(count=outline.page_limit))
    lines.append(_("AI-written text: {rule}").format(rule=_rule(outline)))
    lines += ["", *(f"- {rule}" for rule in outline.style)]
    for section in outline.sections:
        lines += ["", *_section_lines(section, outline)]
    return lines


def _rule(outline: Outline) -> str:
    rules = {
        "allowed": _("allowed"),
        "disclose": _("allowed if it is disclosed; the document says so"),
        "restricted": _("restricted; read the reader's rule before you submit"),
    }
    return rules[outline.ai_policy]


def _section_lines(section: Section, outline: Outline) -> list[str]:
    from aigenflow.core.models import Language

    in_korean = outline.language is Language.KO
    told = _("{least:,}–{most:,} characters") if in_korean else _("{least:,}–{most:,} words")
    size = told.format(least=section.min_length, most=section.max_length)
    limit = f"  ({size})" if section.max_length else ""
    lines = [f"{'#' * section.level} {section.heading}{limit}"]
    lines += [f"  ? {question}" for question in section.asks]
    lines += [
        f"  ▦ {table.caption}: {' | '.join(column.name for column in table.columns)}"
        for table in section.tables
    ]
    return lines + [f"  ✓ {check}" for check in section.checks]


def _plain_info(info: TemplateInfo, outline: Outline) -> dict[str, object]:
    return {
        "name": info.name,
        "type": info.document_type.value,
        "languages": [language.value for language in info.languages],
        "title": info.title,
        "purpose": info.purpose,
        "sections": len(outline.sections),
        "page_limit": outline.page_limit or None,
        "ai_policy": outline.ai_policy,
        "own": info.own,
    }
