"""The shipped outlines keep what the rest of the program and the reader rely on."""

from __future__ import annotations

import re

import pytest

from aigenflow.core.files import is_safe_name
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates.loader import OUTLINE_LIMIT_BYTES, SHIPPED, list_templates, load_outline
from aigenflow.templates.models import Outline, Section

TEMPLATES = [(info.document_type, info.name) for info in list_templates()]
OUTLINES = [
    load_outline(document_type, name, language)
    for document_type, name in TEMPLATES
    for language in Language
]
VOCABULARY = """
    company product problem solution customers market market_size tam sam som competitors
    advantages price unit_cost customers_year1 customers_year2 customers_year3 customers_year4
    customers_year5 volume_year1 volume_year2 volume_year3 volume_year4 volume_year5 growth
    fixed_costs team funding budget use_of_funds milestones risks technology trl_start trl_target
    objectives kpis methodology prior_work partners period_months government_funding
    own_funding_cash own_funding_in_kind region regulation channels currency
"""
FACTS = frozenset(VOCABULARY.split())
HANGUL = re.compile(r"[가-힣]")
LATIN = re.compile(r"[A-Za-z]")

each_outline = pytest.mark.parametrize(
    "outline", OUTLINES, ids=[f"{o.name}.{o.language}" for o in OUTLINES]
)


def texts(outline: Outline) -> str:
    """Every word of an outline that a reader or writer sees."""
    parts = [outline.title, outline.purpose, outline.reader, *outline.style, outline.ai_statement]
    for section in outline.sections:
        parts += [section.heading, *section.asks, *section.checks]
        for table in section.tables:
            parts += [table.caption, *table.rows]
            parts += [f"{column.name} {column.unit}" for column in table.columns]
    return "\n".join(parts)


def test_the_six_templates_are_there_in_both_languages() -> None:
    """default, horizon, rd, sbir, startup and strategy exist in Korean and English."""
    assert [(info.name, info.languages) for info in list_templates()] == [
        (name, (Language.KO, Language.EN))
        for name in ("default", "horizon", "rd", "sbir", "startup", "strategy")
    ]


@pytest.mark.parametrize(("document_type", "name"), TEMPLATES)
def test_korean_and_english_say_the_same_thing(document_type: DocumentType, name: str) -> None:
    """Sections, levels, tables, fillings and facts agree between the languages."""

    def shape(section: Section) -> object:
        tables = [(t.id, t.fill, len(t.columns), len(t.rows)) for t in section.tables]
        counts = (len(section.asks), len(section.checks))
        return section.id, section.level, section.facts, counts, tables

    korean, english = (load_outline(document_type, name, language) for language in Language)
    assert [shape(s) for s in korean.sections] == [shape(s) for s in english.sections]
    assert (korean.page_limit, korean.ai_policy) == (english.page_limit, english.ai_policy)


@each_outline
def test_ids_are_safe_and_headings_unique(outline: Outline) -> None:
    """Every id is a safe name, and no two headings are the same."""
    ids = [s.id for s in outline.sections] + [t.id for s in outline.sections for t in s.tables]
    assert all(is_safe_name(name) for name in ids)
    assert len(ids) == len(set(ids))
    assert len({s.heading for s in outline.sections}) == len(outline.sections)


@each_outline
def test_every_section_can_be_written_and_judged(outline: Outline) -> None:
    """Each section asks something; chapters that are no annex ask at least three things."""
    for section in outline.sections:
        annex = section.id.startswith("annex")
        assert 1 <= len(section.asks) <= 8
        assert annex or len(section.asks) >= 3
        assert annex or section.checks
        assert section.level in {2, 3}
        assert section.max_length == 0 or section.min_length < section.max_length
        assert all(len(table.columns) >= 2 for table in section.tables)


@each_outline
def test_every_outline_has_a_place_for_the_summary(outline: Outline) -> None:
    """There is exactly one section that the executive summary goes into."""
    assert [s.id for s in outline.sections].count("executive_summary") == 1


@each_outline
def test_facts_come_from_the_common_vocabulary(outline: Outline) -> None:
    """No section asks for a fact of the brief that the brief's reader does not know."""
    assert {fact for s in outline.sections for fact in s.facts} <= FACTS


@each_outline
def test_every_table_that_arithmetic_fills_appears_once(outline: Outline) -> None:
    """Each kind of computed table is in an outline at most once."""
    fills = [t.fill for s in outline.sections for t in s.tables if t.fill]
    assert len(fills) == len(set(fills))
    assert "market" in fills
    assert "financials" in fills


@each_outline
def test_the_language_is_pure(outline: Outline) -> None:
    """English outlines hold no Hangul; Korean ones are Hangul for the most part."""
    text = texts(outline)
    hangul, latin = len(HANGUL.findall(text)), len(LATIN.findall(text))
    if outline.language is Language.EN:
        assert hangul == 0
    else:
        assert hangul / (hangul + latin) > 0.9
        assert not re.search(r"[\u4e00-\u9fff\u3040-\u30ff]", text)


@each_outline
def test_nothing_is_left_over(outline: Outline) -> None:
    """No placeholder, template mark or form guidance stands in an outline."""
    assert not re.search(r"TODO|TBD|XXX|\{\{|\[Insert|OOO|○○|홍길동", texts(outline))


def test_the_official_forms_keep_their_headings() -> None:
    """The Korean start-up form and the R&D form have the headings of the official forms."""
    startup = load_outline(DocumentType.BIZPLAN, "startup", Language.KO)
    assert [s.heading for s in startup.sections] == [
        "□ 일반현황",
        "□ 창업 아이템 개요(요약)",
        "1. 문제 인식(Problem)_창업 아이템의 필요성",
        "2. 실현 가능성(Solution)_창업 아이템의 개발 계획",
        "3. 성장전략(Scale-up)_사업화 추진 전략",
        "4. 팀 구성(Team)_대표자 및 팀원 구성 계획",
    ]
    rd = load_outline(DocumentType.RD, "rd", Language.KO)
    chapters = [s.heading for s in rd.sections if s.level == 2]
    assert chapters[2] == "1. 연구개발과제의 필요성"
    assert chapters[-2] == "8. 연구개발비 사용에 관한 계획"
    assert sum(s.heading.startswith("별첨 ") for s in rd.sections) == 9


def test_the_shipped_files_keep_the_limits_of_a_users_file() -> None:
    """A shipped outline copied into the user's folder can be read there."""
    sizes = [path.stat().st_size for path in SHIPPED.glob("*.yaml")]
    assert len(sizes) == len(OUTLINES)
    assert max(sizes) <= OUTLINE_LIMIT_BYTES
