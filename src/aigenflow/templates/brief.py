"""The brief: what the user already knows about the undertaking, as facts and notes.

A brief is YAML (a mapping) or Markdown: headings, ``key: value`` lines, bullets and tables. Keys
are known in English and in Korean; what nobody knows is kept as a note and shown. A brief is
untrusted text: it is bounded, never expanded (no YAML aliases) and never executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from gettext import gettext as _
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
)

from aigenflow.core.errors import InputError
from aigenflow.core.quantities import Quantity, parse_quantity
from aigenflow.templates.vocabulary import key_of

BRIEF_LIMIT_BYTES = 256 * 1024
_YAML_DEPTH = 20

YamlText: TypeAlias = "str | list[YamlText] | dict[str, YamlText] | None"
"""What a YAML file holds when every scalar stays the text it was written as."""


class Note(NamedTuple):
    """Something the vocabulary has no key for, under the heading or key it was written with."""

    heading: str
    text: str


class Entry(NamedTuple):
    """One line of a fact: ``Acme — price: $30; weakness: slow`` has a label and two fields."""

    label: str
    fields: Mapping[str, str]

    @property
    def short(self) -> str:
        """``Acme ($30, slow)``: the values without the names of the fields."""
        return f"{self.label} ({', '.join(self.fields.values())})" if self.fields else self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """``facts`` by key of the vocabulary, values as written (one line per list item); ``notes``
    in the order of the text.
    """

    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()

    def lines(self, key: str) -> tuple[str, ...]:
        """The lines of a fact; empty where it is not given."""
        return tuple(line for line in self.facts.get(key, "").splitlines() if line.strip())

    def entries(self, key: str) -> tuple[Entry, ...]:
        """The lines of a fact, taken apart into label and fields."""
        return tuple(_entry(line) for line in self.lines(key))

    def inline(self, key: str) -> str:
        """A fact on one line, empty where it is not given: ``Acme ($30, slow) / Other``."""
        return " / ".join(entry.short for entry in self.entries(key))

    def quantity(self, key: str) -> Quantity | None:
        """The figure of a fact; ``None`` where it is not given or is not one plain figure."""
        return parse_quantity(self.facts[key]) if key in self.facts else None


# ---- reading -----------------------------------------------------------------------------------


def read_brief(data: bytes, name: str) -> str:
    """The text of a brief file: UTF-8 (or CP949), newlines as ``\\n``, otherwise verbatim.

    ``name`` is the file's name; ``.yaml`` and ``.yml`` must hold a YAML mapping. Raises
    ``InputError`` where the file is too large, not text, or YAML that cannot be used.
    """
    if len(data) > BRIEF_LIMIT_BYTES:
        raise InputError(
            _("The brief {name} has {size:,} bytes; at most {limit:,} are read.").format(
                name=name, size=len(data), limit=BRIEF_LIMIT_BYTES
            ),
            hint=_("Keep the facts and leave out the rest."),
        )
    if b"\0" in data:
        raise InputError(
            _("The brief {name} holds NUL bytes, so it is not plain text.").format(name=name),
            hint=_("Save it as UTF-8 text (not UTF-16, not a word-processor file)."),
        )
    text = _decode(data, name).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise InputError(
            _("The brief {name} is empty.").format(name=name),
            hint=_("Write what you know, one “key: value” per line, or leave --brief out."),
        )
    if name.lower().endswith((".yaml", ".yml")):
        load_text_mapping(text, name)
    return text


def parse_brief(text: str) -> Brief:
    """Facts and notes of a brief's text. Raises ``InputError`` on YAML anchors and odd characters.

    Markdown headings of depth 2 and more, or headings that are keys, make it Markdown; otherwise
    whatever is a YAML mapping is read as one, and everything else as Markdown.
    """
    _refuse_unwritable(text)
    return _parsed(text)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Brief:
    collected = _Collected()
    mapping = None if _is_markdown(text) else _mapping_or_none(text)
    if mapping is None:
        _collect_markdown(text, collected)
    else:
        _collect_mapping(mapping, collected)
    return collected.brief()


def load_text_mapping(text: str, name: str) -> dict[str, YamlText]:
    """A YAML mapping whose scalars stay text: ``NO``, ``1:30`` and ``1.10`` mean themselves.

    Raises ``InputError`` where it is not YAML, not a mapping, or uses anchors and aliases.
    """
    try:
        value = _load_yaml(text, name)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = _(" (line {line})").format(line=mark.line + 1) if mark else ""
        raise _not_usable(name, f"{error.problem or error.context}{line}") from error
    except (YAMLError, ValueError) as error:
        raise _not_usable(name, " ".join(str(error).split())) from error
    if not isinstance(value, dict):
        raise _not_usable(name, _("it is not a mapping of keys to values"))
    return value


def _load_yaml(text: str, name: str) -> YamlText:
    depth = 0
    for event in YAML(typ="base", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _YAML_DEPTH:
            raise ValueError(_("it is nested too deeply"))
        # An alias without an anchor is Markdown emphasis (``*new*``), and no YAML at all.
        if isinstance(event, NodeEvent) and event.anchor and not isinstance(event, AliasEvent):
            raise InputError(
                _("{name} uses YAML anchors or aliases (line {line}).").format(
                    name=name, line=event.start_mark.line + 1
                ),
                hint=_("Write each value out, and put values that start with & or * in quotes."),
            )
    value: YamlText = YAML(typ="base", pure=True).load(text)
    return value


def _not_usable(name: str, why: str) -> InputError:
    return InputError(
        _("{name} is not usable YAML: {why}.").format(name=name, why=why),
        hint=_("Put values that contain “: ” or “#” in quotes, or save the brief as .md."),
    )


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        damaged_utf8 = data.decode("utf-8", "replace")
        position = error.start
    try:
        korean = data.decode("cp949")
    except UnicodeDecodeError:
        korean = ""
    # Damaged UTF-8 often decodes as CP949 too, into nonsense: it is then mostly valid UTF-8.
    foreign = sum(not character.isascii() for character in damaged_utf8)
    if korean and damaged_utf8.count("\N{REPLACEMENT CHARACTER}") * 4 >= foreign:
        return korean
    raise InputError(
        _("The brief {name} is not valid UTF-8 (byte {position:,}).").format(
            name=name, position=position
        ),
        hint=_("Save it as UTF-8 text and try again."),
    )


def _refuse_unwritable(text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if "\0" in line or any("\ud800" <= character <= "\udfff" for character in line):
            raise InputError(
                _("The brief holds a character that is not text (line {line}).").format(
                    line=number
                ),
                hint=_("Save it as UTF-8 text and try again."),
            )


_WHOLE = frozenset(
    {"use_of_funds", "competitors", "milestones", "kpis", "team", "risks", "partners"}
)
"""Facts that are lists of anything: what stands below them stays with them, whatever it is called
(``Marketing: $20,000`` below "Use of funds" is no sales channel)."""


# ---- collecting --------------------------------------------------------------------------------


_ROLES = frozenset({"founder", "창업자", "대표", "대표자", "연구책임자", "참여연구원"})
"""Labels that say who a member of the team is: they stay with the text."""


class _Collected:
    """Facts and notes while a brief is read. A key given twice keeps both values, one per line,
    so that two different figures are shown and neither is used.
    """

    def __init__(self) -> None:
        self._facts: dict[str, list[str]] = {}
        self._notes: list[tuple[str, list[str]]] = []

    def fact(self, key: str, label: str, text: str) -> None:
        lines = self._facts.setdefault(key, [])
        for line in text.splitlines():
            value = _with_unit(label, line.strip())
            if value and value not in lines:
                lines.append(value)

    def note(self, heading: str, text: str) -> None:
        if not self._notes or self._notes[-1][0] != heading:
            self._notes.append((heading, []))
        self._notes[-1][1].append(text.strip())

    def add(self, label: str, text: str) -> None:
        key = key_of(label)
        if key == "team" and label.casefold() in _ROLES and text.strip():
            self.fact(key, label, f"{label}: {text}")
        elif key:
            self.fact(key, label, text)
        elif text.strip():
            self.note(_plain_label(label), text)

    def brief(self) -> Brief:
        facts = {key: "\n".join(lines) for key, lines in self._facts.items() if lines}
        notes = tuple(Note(heading, "\n".join(lines)) for heading, lines in self._notes)
        return Brief(facts=MappingProxyType(facts), notes=notes)


_BARE_NUMBER = re.compile(r"[-−]?[\d,.]+")
_UNIT_IN_LABEL = re.compile(r"\(\s*([^()\d]{1,12})\s*\)\s*$")


def _with_unit(label: str, value: str) -> str:
    """``가격(원): 12,000`` is 12,000원: a bare number takes the unit of its label."""
    unit = _UNIT_IN_LABEL.search(label)
    if unit and _BARE_NUMBER.fullmatch(value):
        return f"{value} {unit[1].strip()}"
    return value


def _plain_label(label: str) -> str:
    return " ".join(label.replace("*", "").replace("`", "").split())


def _collect_mapping(mapping: Mapping[str, YamlText], collected: _Collected) -> None:
    for label, value in mapping.items():
        if isinstance(value, dict) and key_of(label) not in _WHOLE:
            _collect_group(label, value, collected)
        else:
            collected.add(label, "\n".join(_yaml_lines(value)))


def _collect_group(label: str, group: Mapping[str, YamlText], collected: _Collected) -> None:
    """``customers: {year1: 120}`` and ``finance: {price: $5}`` name facts one level down."""
    for part, value in group.items():
        text = "\n".join(_yaml_lines(value))
        name = next((name for name in (f"{label} {part}", part) if key_of(name)), None)
        if name:
            collected.add(name, text)
        elif text:
            collected.add(label, f"{part}: {text}")


def _yaml_lines(value: YamlText) -> Iterator[str]:
    """One line per item; a mapping among the items becomes ``first — key: value; …``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{key}: {_yaml_inline(item)}"
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict) and len(item) > 1:
                first, *rest = item.items()
                fields = ((str(key), _yaml_inline(part)) for key, part in rest)
                yield join_entry(_yaml_inline(first[1]), fields)
            else:
                yield _yaml_inline(item)
    elif value is not None and value not in ("~", "null"):
        yield from value.splitlines()


def _yaml_inline(value: YamlText) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_yaml_inline(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_yaml_inline(item) for item in value)
    return "" if value in (None, "~", "null") else " ".join(str(value).split())


def join_entry(label: str, fields: Iterator[tuple[str, str]]) -> str:
    """``label — key: value; key: value``, the line that :class:`Entry` is read from."""
    rest = "; ".join(f"{key}: {value}" for key, value in fields if value)
    return f"{label} — {rest}" if rest else label


def _entry(line: str) -> Entry:
    label, dash, rest = line.partition(" — ")
    fields = {}
    if dash:
        for part in rest.split("; "):
            key, colon, value = part.partition(": ")
            if not colon:
                return Entry(line, {})
            fields[key] = value
        return Entry(label, fields)
    return Entry(line, {})


# ---- Markdown ----------------------------------------------------------------------------------

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
_BULLET = re.compile(r"\s*(?:[-*+•◦·‣○□▪]|\d{1,2}[.)])\s+(?:\[[ xX]\]\s+)?")
_PAIR = re.compile(r"(?P<key>[^:：|]{1,40}?)\s*[:：](?!//)\s*(?P<value>.*)")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,}|={3,}|```.*|~~~.*)\s*$")
_CELL = re.compile(r"(?<!\\)\|")


def _is_markdown(text: str) -> bool:
    headings = [match for line in text.split("\n") if (match := _HEADING.match(line))]
    return any(len(heading[1]) > 1 or key_of(heading[2]) for heading in headings)


def _mapping_or_none(text: str) -> dict[str, YamlText] | None:
    try:
        value = _load_yaml(text, _("The brief"))
    except (YAMLError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@dataclass(slots=True)
class _Place:
    """Where the reader of a Markdown brief is: under which heading, inside which open ``key:``."""

    heading: str = ""
    section_key: str | None = None
    open_label: str = ""


def _collect_markdown(text: str, collected: _Collected) -> None:
    place = _Place()
    table: list[list[str]] = []
    for line in [*text.split("\n"), ""]:
        if line.lstrip().startswith("|"):
            table.append(_cells(line))
            continue
        if table:
            _collect_table(table, place, collected)
            table = []
        _collect_line(line, place, collected)


def _collect_line(line: str, place: _Place, collected: _Collected) -> None:
    heading = _HEADING.match(line)
    if heading:
        place.heading = _plain_label(heading[2])
        place.section_key, place.open_label = key_of(heading[2]), ""
        return
    if not line.strip() or _RULE.match(line):
        return
    bullet = _BULLET.match(line)
    body = line[bullet.end() :] if bullet else line.strip()
    if place.open_label and (bullet or line[0] in " \t"):
        collected.add(place.open_label, body)
        return
    pair = _PAIR.match(body)
    label, value = (_plain_label(pair["key"]), pair["value"].strip("* ")) if pair else ("", "")
    # Below a list of anything, only a bare "key:" in the margin starts another fact.
    starts_fact = place.section_key not in _WHOLE or not (bullet or value)
    if label and starts_fact and key_of(label):
        place.open_label = "" if value else label
        collected.add(label, value)
    else:
        place.open_label = ""
        _collect_text(body, place, collected)


def _collect_text(body: str, place: _Place, collected: _Collected) -> None:
    if place.section_key:
        collected.fact(place.section_key, place.heading, body)
    else:
        collected.note(place.heading, body)


def _cells(line: str) -> list[str]:
    cells = [cell.replace("\\|", "|").strip() for cell in _CELL.split(line.strip())]
    return cells[1:-1] if line.rstrip().endswith("|") else cells[1:]


def _collect_table(rows: list[list[str]], place: _Place, collected: _Collected) -> None:
    """Two columns are pairs; more columns are one entry per row, its cells under the header."""
    body = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    has_header = len(body) < len(rows)
    header = body.pop(0) if has_header and body else []
    for row in filter(any, body):
        first, *rest = row
        whole = {place.section_key, key_of(place.open_label)} & _WHOLE
        if len(rest) == 1 and key_of(first) and not whole:
            collected.add(first, rest[0])
            continue
        if len(rest) == 1:
            line = f"{first}: {rest[0]}" if rest[0] else first
        else:
            line = join_entry(first, iter(zip(header[1:], rest, strict=False)))
        if place.open_label:
            collected.add(place.open_label, line)
        else:
            _collect_text(line, place, collected)
