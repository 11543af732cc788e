"""What a document must contain, as data: read from ``outlines/<template>.<language>.yaml``."""

from __future__ import annotations

from collections import Counter
from gettext import gettext as _
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from aigenflow.core.files import is_safe_name
from aigenflow.core.models import DocumentType, Language


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Part):
    """One column of a required table. ``unit`` is empty for text (``"KRW million"``, ``"%"``)."""

    name: str
    unit: str = ""


class Table(_Part):
    """A table the reader expects, with the rows that are known beforehand.

    ``fill`` names the arithmetic that can fill it from a brief's figures, where there is one.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[str, ...] = ()
    fill: Literal["", "financials", "market", "use_of_funds", "budget", "break_even"] = ""


class Section(_Part):
    """One section: its heading as the reader expects it, and how it is judged.

    ``asks`` are the questions it must answer, ``checks`` what an assessor looks for. Length is in
    words (English) or in characters without spaces (Korean); 0 means no limit. ``level`` is the
    heading's depth, 2 for a chapter. ``facts`` names the brief's keys that belong here.

    Two ids have a meaning: ``executive_summary`` is written last from the rest of the document,
    and ``sources`` is where the numbered references go.
    """

    id: str
    heading: str
    level: int = 2
    asks: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    checks: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int = 0


class Outline(_Part):
    """A whole document: sections in order, and the rules that hold for all of them.

    ``style`` is told to the writer; ``ai_policy`` says whether the reader allows AI-written text,
    and ``ai_statement`` is the sentence that goes into the document. ``page_limit`` 0 is none.
    """

    name: str
    document_type: DocumentType
    language: Language
    title: str
    purpose: str
    reader: str
    style: tuple[str, ...] = ()
    page_limit: int = 0
    ai_policy: Literal["allowed", "disclose", "restricted"] = "disclose"
    ai_statement: str = ""
    sections: tuple[Section, ...]

    @model_validator(mode="after")
    def _sections_can_be_told_apart(self) -> Self:
        ids = [section.id for section in self.sections]
        ids += [table.id for section in self.sections for table in section.tables]
        headings = [section.heading for section in self.sections]
        if not self.sections:
            raise ValueError(_("there is no section"))
        if unsafe := [name for name in ids if not is_safe_name(name)]:
            told = _("not an id (lower-case letters, digits, - and _): {name!r}")
            raise ValueError(told.format(name=unsafe[0]))
        counts = [*Counter(ids).items(), *Counter(headings).items()]
        if twice := [text for text, n in counts if n > 1]:
            raise ValueError(_("given twice: {name!r}").format(name=twice[0]))
        if bad := [text for text in headings if text != " ".join(text.split()) or not text]:
            raise ValueError(_("not a heading on one line: {name!r}").format(name=bad[0]))
        return self
