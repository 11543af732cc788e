"""Computed tables and figures put into the document. Pure.

A writer leaves ``[[table:ID]]`` where a table belongs. Where it wrote its own version instead,
that one is replaced; where nothing stands, the table goes to the end of its section. So the
figures of these tables never come from prose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aigenflow.core.charts import Chart
from aigenflow.core.models import Language
from aigenflow.finance.tables import RenderedTable
from aigenflow.finance.wording import say
from aigenflow.templates.models import Outline, Section, Table

_MARKER = re.compile(r"^[ \t]*[*_`]*\[\[table:\s*([a-z0-9_-]+)\s*\]\][*_`]*[ \t]*$", re.MULTILINE)
_STRAY_MARKER = re.compile(r"[*_`]*\[\[table:[^\]\n]*\]\][*_`]*")
_CAPTION = re.compile(r"^\*\*(Table|표)[ \t]+(\d+)\.?[ \t]*(.*?)\*\*[ \t]*$")
_MENTION = re.compile(
    r"\b(Tables?|표)([ \t]?)(\d+)(?:(\s?[~∼〜–]\s?)(\d+))?"
    r"(?![\dA-Za-z]|\s*\.\d|\s?[개건장종쪽행열]|\s?[~∼〜–]\s?\d)"
)
_FIGURE = re.compile(
    r"\n*^!\[[^\]\n]*\]\(figures/[a-z_]+\.svg\)\n+\*(?:Figure|그림) \d+\.[^\n]*\*$", re.MULTILINE
)
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
_OWN_SHARE = re.compile(r"현물|in kind", re.IGNORECASE)
_LINES_BELOW_CAPTION = 4
_NOT_NUMBERED = 0

_BY_FILL: Mapping[str, str] = {
    "financials": "income_statement",
    "market": "market_size",
    "use_of_funds": "use_of_funds",
    "break_even": "break_even",
}
_BY_ID: Mapping[str, str] = {"funding_plan": "funding_sources", "schedule_table": "schedule"}
_SECTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "market_size": ("market_size",),
    "income_statement": ("income_statement", "scenarios"),
    "cash_flow": ("cash_flow", "scenarios", "income_statement"),
    "schedule": ("schedule_table", "milestones", "schedule_overall", "schedule_agreement",
                 "initiatives"),
    "trl_table": ("trl_table",),
}  # fmt: skip
"""Beside which of the outline's tables a figure stands, the best place first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The body with what was put into it.

    ``missing`` has the captions of what has no section in it.
    """

    body: str
    missing: tuple[str, ...] = ()


def place_tables(
    body: str, outline: Outline, tables: Sequence[RenderedTable], language: Language
) -> Placed:
    """Put every computed table that the outline asks for into ``body``; no marker is left."""
    computed = {table.id: table for table in tables}
    parts = _split(body, outline)
    missing = []
    done: set[str] = set()
    for section in outline.sections:
        for wanted in section.tables:
            table = _computed_for(wanted, computed)
            if table is None or table.id in done:
                continue
            done.add(table.id)
            if not _place(parts, section, wanted, table, language):
                missing.append(wanted.caption)
    text = _STRAY_MARKER.sub("", "\n".join(part.text for part in parts))
    return Placed(body=_numbered(text), missing=tuple(missing))


def _computed_for(wanted: Table, computed: Mapping[str, RenderedTable]) -> RenderedTable | None:
    """The computed table that an outline's table asks for, by its ``fill``, else by its id."""
    if wanted.fill == "budget":
        own = any(_OWN_SHARE.search(row) for row in wanted.rows)
        names: tuple[str, ...] = ("funding_shares",) if own else ("cost_items", "use_of_funds")
    else:
        names = (_BY_FILL.get(wanted.fill, "") or _BY_ID.get(wanted.id, wanted.id),)
    return next((computed[name] for name in names if name in computed), None)


# ---- sections ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """The lines of one section, its heading among them; ``section`` is empty before the first."""

    section: str
    text: str


def _split(body: str, outline: Outline) -> list[_Part]:
    """``body`` cut at the outline's headings; joined with line breaks it is the same again."""
    ids = {_plain(section.heading): section.id for section in outline.sections}
    parts = [_Part("", "")]
    lines: list[str] = []
    fenced = False
    for line in body.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        heading = None if fenced else _HEADING.match(line)
        found = ids.get(_plain(heading[1])) if heading else None
        if found is not None:
            parts[-1].text = "\n".join(lines)
            parts.append(_Part(found, ""))
            lines = []
        lines.append(line)
    parts[-1].text = "\n".join(lines)
    return parts if parts[0].text or len(parts) == 1 else parts[1:]


def _plain(text: str) -> str:
    return " ".join(text.replace("*", "").split()).casefold()


# ---- one table ---------------------------------------------------------------------------------


def _place(
    parts: list[_Part], section: Section, wanted: Table, table: RenderedTable, language: Language
) -> bool:
    """Put ``table`` where it belongs; false where its section is not there."""
    names = {wanted.id, table.id}
    for part in parts:
        if any(found in names for found in _MARKER.findall(part.text)):
            part.text = _at_marker(part.text, names, wanted, table, language)
            return True
    home = next((part for part in parts if part.section == section.id), None)
    if home is None:
        return False
    replaced = _over_own_version(home.text, wanted, table)
    if replaced is None:
        replaced = f"{home.text.rstrip()}\n\n{_block(wanted, table, language)}\n"
    home.text = replaced
    return True


def _block(wanted: Table, table: RenderedTable, language: Language) -> str:
    caption = say("table", language, n=_NOT_NUMBERED, caption=wanted.caption)
    return f"**{caption}**\n\n{_content(table)}"


def _content(table: RenderedTable) -> str:
    return f"{table.markdown}\n\n*{table.note}*" if table.note else table.markdown


def _at_marker(
    text: str, names: set[str], wanted: Table, table: RenderedTable, language: Language
) -> str:
    """``table`` for its first marker, under the caption that stands there already, if any."""
    marker = next(found for found in _MARKER.finditer(text) if found[1] in names)
    before, after = text[: marker.start()].rstrip("\n"), text[marker.end() :].lstrip("\n")
    above = before.rsplit("\n", 1)[-1]
    captioned = _is_caption_of(above, wanted)
    block = _content(table) if captioned else _block(wanted, table, language)
    return f"{before}\n\n{block}\n\n{after}"


def _is_caption_of(line: str, wanted: Table) -> bool:
    """Whether a line is the caption of a table: bold or numbered, and with its words."""
    bare = line.strip()
    looks_so = bare.startswith(("**", "Table", "표", "|")) and not bare.startswith("|")
    return looks_so and _plain(wanted.caption) in _plain(bare)


def _over_own_version(text: str, wanted: Table, table: RenderedTable) -> str | None:
    """``text`` with the writer's own version replaced; ``None`` where there is none."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not _is_caption_of(line, wanted):
            continue
        below = range(number + 1, min(number + 1 + _LINES_BELOW_CAPTION, len(lines)))
        start = next((n for n in below if lines[n].lstrip().startswith("|")), None)
        if start is None or any(lines[n].strip() for n in range(number + 1, start)):
            continue
        end = start
        while end < len(lines) and lines[end].lstrip().startswith("|"):
            end += 1
        if table.note and lines[end + 1 : end + 2] == [f"*{table.note}*"]:  # placed before
            end += 2
        return "\n".join([*lines[:start], _content(table), *lines[end:]])
    return None


# ---- numbers of tables -------------------------------------------------------------------------


def _numbered(text: str) -> str:
    """Tables numbered through in their order, and mentions of them changed alike."""
    lines = text.split("\n")
    captions = [(n, found) for n, line in enumerate(lines) if (found := _CAPTION.match(line))]
    if all(int(found[2]) != _NOT_NUMBERED for _n, found in captions):
        return text
    old = [int(found[2]) for _n, found in captions]
    new = {number: place for place, number in enumerate(old, start=1) if old.count(number) == 1}
    for place, (n, found) in enumerate(captions, start=1):
        lines[n] = f"**{found[1]} {place}. {found[3].strip()}**"
    own = {n for n, _found in captions}

    def renamed(match: re.Match[str]) -> str:
        first = f"{match[1]}{match[2]}{new.get(int(match[3]), match[3])}"
        return f"{first}{match[4]}{new.get(int(match[5]), match[5])}" if match[5] else first

    return "\n".join(
        line if n in own else _MENTION.sub(renamed, line) for n, line in enumerate(lines)
    )


# ---- figures -----------------------------------------------------------------------------------


def place_figures(
    body: str, outline: Outline, drawn: Sequence[Chart], language: Language, folder: str
) -> Placed:
    """Put each figure at the end of the section of its table, with caption, number and source."""
    parts = _split(_FIGURE.sub("", body), outline)
    homes = {table.id: section.id for section in outline.sections for table in section.tables}
    homes |= {
        _BY_FILL[table.fill]: section.id
        for section in outline.sections
        for table in section.tables
        if table.fill in _BY_FILL
    }
    by_section: dict[str, list[Chart]] = {}
    for chart in drawn:
        home = next((homes[name] for name in _SECTIONS_OF[chart.table] if name in homes), None)
        by_section.setdefault(home or "", []).append(chart)
    number = 0
    for part in parts:
        for chart in by_section.pop(part.section, []) if part.section else []:
            number += 1
            part.text = f"{part.text.rstrip()}\n\n{_figure(chart, number, language, folder)}\n"
    return Placed(
        body="\n".join(part.text for part in parts),
        missing=tuple(chart.caption for left in by_section.values() for chart in left),
    )


def _figure(chart: Chart, number: int, language: Language, folder: str) -> str:
    caption = say("figure", language, n=number, caption=chart.caption)
    source = say("figure_source", language, source=chart.source)
    return f"![{chart.caption}]({folder}/{chart.name}.svg)\n\n*{caption}. {source}*"
