"""Working drafts without a model: the outline, the brief's facts, and the sums that follow.

Each task of the pipeline has one composer, a pure function from :class:`Job` to Markdown. No
composer invents a figure, a name, a market or a source: what is unknown stays a visible blank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from gettext import gettext as _
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, ValidationError

from aigenflow.core.errors import InputError
from aigenflow.core.markdown import clean, clean_line, render_table
from aigenflow.core.models import (
    AgentRequest,
    ContextDocument,
    ContextKind,
    DocumentType,
    Language,
)
from aigenflow.templates import driving, worksheets
from aigenflow.templates.assessment import (
    SUMMARY_SECTION,
    Job,
    break_even_lines,
    doubt_line,
    missing_keys,
    revenue_line,
    risky_lines,
    sections_with,
    sums_of,
)
from aigenflow.templates.brief import Brief, load_text_mapping, parse_brief
from aigenflow.templates.figures import work_out
from aigenflow.templates.loader import load_outline
from aigenflow.templates.models import Section
from aigenflow.templates.tables import (
    FilledTable,
    fill_table,
    lays_out,
)
from aigenflow.templates.vocabulary import YEARLY_KEYS
from aigenflow.templates.wording import WORDS, say
from aigenflow.templates.worksheets import bullets, notice

DRAFT_ID = "phase4.draft"
SUMMARY_ID = "phase4.executive_summary"
_REPEATED_UP_TO = 60
_QUESTION_UP_TO = 2000


class _Assignment(BaseModel):
    """What the run was asked for, as the assignment document says it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    document_type: DocumentType
    template: str = "default"
    language: Language


class Drafter:
    """Composes the answer to each task of the pipeline; the same request gives the same text.

    ``user_dir`` is the folder of the user's own templates.
    """

    def __init__(self, user_dir: Path | None = None) -> None:
        self._user_dir = user_dir

    def compose(self, request: AgentRequest) -> str:
        """The text for ``request.task``; without an assignment, how to connect a model.

        Raises ``InputError`` for an assignment or brief that cannot be read, and
        ``TemplateError`` for a template that cannot be used.
        """
        assignment = _text_of(request.context, ContextKind.ASSIGNMENT)
        composer = _COMPOSERS.get(request.task)
        if not assignment or composer is None:
            return _no_model(request)
        return composer(self._job(_read_assignment(assignment), request.context))

    def _job(self, assignment: _Assignment, context: tuple[ContextDocument, ...]) -> Job:
        outline = load_outline(
            assignment.document_type,
            assignment.template,
            assignment.language,
            user_dir=self._user_dir,
        )
        text = _text_of(context, ContextKind.BRIEF)
        brief = parse_brief(text) if text else Brief()
        results = {
            document.id: document.text
            for document in context
            if document.kind is ContextKind.RESULT
        }
        return Job(
            topic=assignment.topic,
            outline=outline,
            brief=brief,
            figures=work_out(brief),
            results=MappingProxyType(results),
        )


def _text_of(context: tuple[ContextDocument, ...], kind: ContextKind) -> str:
    return "\n\n".join(document.text for document in context if document.kind is kind)


def _read_assignment(text: str) -> _Assignment:
    try:
        return _Assignment.model_validate(load_text_mapping(text, _("The assignment")))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            _("The assignment cannot be used: {key}: {fault}.").format(
                key=".".join(str(part) for part in fault["loc"]), fault=fault["msg"]
            ),
            hint=_("It needs topic, document_type, template and language."),
        ) from error


def _no_model(request: AgentRequest) -> str:
    language, agent = request.language, request.agent.value
    question = clean(request.prompt)
    if len(question) > _QUESTION_UP_TO:
        question = f"{question[:_QUESTION_UP_TO]} …"
    steps = (
        say("no_model_key", language),
        say("no_model_local", language),
    )
    blocks = (
        f"# {say('no_model_title', language)}",
        say("no_model", language, agent=agent),
        say("no_model_asked", language),
        f"> {question}",
        say("no_model_connect", language),
        bullets(steps),
        say("no_model_check", language),
    )
    return "\n\n".join(blocks) + "\n"


# ---- the document ------------------------------------------------------------------------------


def draft(job: Job) -> str:
    """The whole outline, filled with what is known."""
    blocks = [_title(job), notice(job), _guidance(job)]
    blocks += [_section_text(job, section) for section in job.outline.sections]
    blocks.append(_other_facts(job))
    return "\n\n".join(filter(None, blocks)) + "\n"


def executive_summary(job: Job) -> str:
    """The summary section alone, as :func:`polish` puts it into the document."""
    section = _summary_section(job)
    body = _section_text(job, section) if section else bullets(_summary_sums(job))
    return "\n\n".join(filter(None, [_title(job), notice(job), body])) + "\n"


def polish(job: Job) -> str:
    """The final document: the draft with its summary in place, and the list of what is missing."""
    document = job.results.get(DRAFT_ID) or draft(job)
    summary = job.results.get(SUMMARY_ID, "")
    section = _summary_section(job)
    if section and summary and (_is_ours(document) or not _is_ours(summary)):
        document = _with_section(document, section, summary)
    return f"{document.rstrip()}\n\n{_still_missing(job)}\n"


def _title(job: Job) -> str:
    return f"# {job.outline.title}: {clean(job.topic)}"


def _guidance(job: Job) -> str:
    outline = job.outline
    lines = [
        f"**{job.say('purpose')}**: {outline.purpose}",
        f"**{job.say('reader')}**: {outline.reader}",
    ]
    if outline.page_limit:
        pages = job.say("pages", count=outline.page_limit)
        lines.append(f"**{job.say('page_limit')}**: {pages}")
    text = bullets(lines)
    if outline.style:
        text += f"\n- **{job.say('style')}**\n" + "\n".join(f"  - {s}" for s in outline.style)
    return text


def _summary_section(job: Job) -> Section | None:
    return next((s for s in job.outline.sections if s.id == SUMMARY_SECTION), None)


def _section_text(job: Job, section: Section) -> str:
    facts = frozenset(key for key in section.facts if key in job.brief.facts)
    tables = [fill_table(table, job.plan, facts) for table in section.tables]
    blocks = [
        f"{'#' * section.level} {section.heading}",
        _known(job, section, tables),
        _labelled(job, "worked_out", _sums(job, section)),
        _labelled(job, "asks", [f"[ ] {ask}" for ask in section.asks]),
        *_tables(job, section, tables),
        _labelled(job, "checks", section.checks),
        _length(job, section),
    ]
    return "\n\n".join(filter(None, blocks))


def _labelled(job: Job, key: str, lines: list[str] | tuple[str, ...]) -> str:
    return f"**{job.say(key)}**\n\n{bullets(lines)}" if lines else ""


def _sums(job: Job, section: Section) -> list[str]:
    return _summary_sums(job) if section.id == SUMMARY_SECTION else sums_of(job, section)


def _summary_sums(job: Job) -> list[str]:
    first = job.figures.year(1)
    lines = [revenue_line(job, first)] if first and first.revenue is not None else []
    return lines + break_even_lines(job)


# ---- facts in a section ------------------------------------------------------------------------


def _known(job: Job, section: Section, tables: list[FilledTable]) -> str:
    laid_out = frozenset(key for table in tables for key in table.laid_out)
    yearly = [key for key in section.facts if key in YEARLY_KEYS]
    lines = [
        _fact_line(job, section, key, laid_out)
        for key in section.facts
        if key in job.brief.facts and key not in yearly
    ]
    lines += _yearly_lines(job, yearly)
    if not section.facts or not job.has_brief:
        return ""
    return _labelled(job, "known", lines) or f"*{job.say('nothing_known')}*"


def _fact_line(job: Job, section: Section, key: str, laid_out: frozenset[str]) -> str:
    label = f"**{job.label(key)}**"
    if key in laid_out:
        return f"{label}: {job.say('see_table')}"
    text = job.inline(key)
    home = _home_of(job, key)
    told_before = home is not None and section not in (home, _summary_section(job))
    if home is not None and told_before and len(text) > _REPEATED_UP_TO:
        return f"{label}: {job.say('see_section', heading=home.heading)}"
    lines = job.brief.lines(key)
    if len(lines) == 1 or section.id == SUMMARY_SECTION:
        return f"{label}: {text}"
    return f"{label}\n" + "\n".join(f"  - {clean_line(line)}" for line in lines)


def _home_of(job: Job, key: str) -> Section | None:
    """The section that tells a fact in full: one with a table for it, else the first with it."""
    homes = [s for s in job.outline.sections if key in s.facts and s.id != SUMMARY_SECTION]
    with_table = [s for s in homes if any(lays_out(table, key) for table in s.tables)]
    return next(iter(with_table or homes), None)


def _yearly_lines(job: Job, keys: list[str]) -> list[str]:
    known = [key for key in keys if key in job.brief.facts]
    return [f"**{job.label(key)}**: {job.inline(key)}" for key in known]


def _tables(job: Job, section: Section, tables: list[FilledTable]) -> list[str]:
    numbers = _table_numbers(job)
    blocks = []
    for table, filled in zip(section.tables, tables, strict=True):
        number = numbers[section.id, table.id]
        blocks.append(f"**{job.say('table', number=number, caption=table.caption)}**")
        blocks.append(render_table(filled.header, filled.rows))
    return blocks


def _table_numbers(job: Job) -> Mapping[tuple[str, str], int]:
    every = [(s.id, table.id) for s in job.outline.sections for table in s.tables]
    return {key: number for number, key in enumerate(every, start=1)}


def _length(job: Job, section: Section) -> str:
    line = length_line(section, job.language)
    return f"*{line}*" if line else ""


def length_line(section: Section, language: Language) -> str:
    """How long a section is to be, as a draft says it; empty where there is no limit."""
    low, high = section.min_length, section.max_length
    if low and high:
        text = say("words_between", language, low=low, high=high)
    elif high:
        text = say("words_up_to", language, high=high)
    elif low:
        text = say("words_from", language, low=low)
    else:
        return ""
    return say("length", language, range=text)


# ---- appendices --------------------------------------------------------------------------------


def _other_facts(job: Job) -> str:
    placed = {key for section in job.outline.sections for key in section.facts}
    lines = [
        f"**{job.label(key)}**: {job.inline(key)}"
        for key in job.brief.facts
        if key not in placed and key != "currency"
    ]
    for note in job.brief.notes:
        text = [clean_line(line) for line in note.text.splitlines()]
        if not note.heading:
            lines += text
        elif len(text) == 1:
            lines.append(f"**{clean(note.heading)}**: {text[0]}")
        else:
            lines.append("\n  - ".join([f"**{clean(note.heading)}**", *text]))
    return f"## {job.say('other_facts')}\n\n{bullets(lines)}" if lines else ""


def _still_missing(job: Job) -> str:
    lines = [doubt_line(job, doubt) for doubt in job.figures.doubts] + risky_lines(job)
    lines += [
        f"{job.label(key)} ({job.say('needed_in')}: {sections_with(job, key)})"
        for key in missing_keys(job)
    ]
    checklist = bullets(f"[ ] {line}" for line in lines) or job.say("none")
    intro = job.say("still_missing_intro")
    return f"## {job.say('still_missing')}\n\n{intro}\n\n{checklist}"


# ---- working on a draft ------------------------------------------------------------------------

_NOTICES = tuple(f"> **{text}**" for text in WORDS["notice"])
_ANY_HEADING = re.compile(r"(#{1,6})\s+(.*\S)\s*$")


def _is_ours(text: str) -> bool:
    return any(mark in text for mark in _NOTICES)


def _with_section(document: str, section: Section, summary: str) -> str:
    """``document`` with the body of ``section`` replaced; unchanged where it has no such part."""
    lines = document.split("\n")
    start = _find_heading(lines, section.heading)
    if start is None:
        return document
    level = _level(lines[start])
    end = next(
        (i for i in range(start + 1, len(lines)) if 0 < _level(lines[i]) <= level), len(lines)
    )
    return "\n".join([*lines[: start + 1], "", _body(summary, section), "", *lines[end:]])


def _body(summary: str, section: Section) -> str:
    """The text of a summary without its own title, notice and section heading."""
    lines = summary.strip().split("\n")
    start = _find_heading(lines, section.heading)
    if start is not None:
        return "\n".join(lines[start + 1 :]).strip()
    while lines and (not lines[0].strip() or lines[0].startswith((">", "# "))):
        lines.pop(0)
    return "\n".join(lines).strip()


def _find_heading(lines: list[str], heading: str) -> int | None:
    wanted = " ".join(heading.split())
    for number, line in enumerate(lines):
        match = _ANY_HEADING.match(line)
        if match and " ".join(match[2].split()) == wanted:
            return number
    return None


def _level(line: str) -> int:
    match = _ANY_HEADING.match(line)
    return len(match[1]) if match else 0


_COMPOSERS: Mapping[str, Callable[[Job], str]] = {
    "brainstorm": worksheets.brainstorm,
    "validate": worksheets.validate,
    "deep_search": worksheets.deep_search,
    "fact_check": worksheets.fact_check,
    "swot_analysis": worksheets.swot_analysis,
    "narrative": worksheets.narrative,
    "financial_model": driving.financial_model,
    "draft": draft,
    "executive_summary": executive_summary,
    "charts": worksheets.charts,
    "verify": worksheets.verify,
    "final_review": worksheets.final_review,
    "polish": polish,
}
