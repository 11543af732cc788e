"""The offline drafts hold the outline, the brief's facts and their sums, and nothing invented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aigenflow.core.errors import InputError, TemplateError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    ContextDocument,
    ContextKind,
    DocumentType,
    Language,
)
from aigenflow.templates.drafting import DRAFT_ID, SUMMARY_ID, Drafter
from aigenflow.templates.wording import WORDS

TASKS = (
    "brainstorm", "validate", "deep_search", "fact_check", "swot_analysis", "narrative",
    "financial_model", "draft",
    "executive_summary", "charts", "verify", "final_review", "polish",
)  # fmt: skip
SECTIONS = {Language.EN: ("1. Summary", "2. Money", "2.1 Plan"),
            Language.KO: ("1. 요약", "2. 재무", "2.1 계획")}  # fmt: skip
OUTLINE = """
document_type: {document_type}
title: {title}
purpose: p
reader: r
page_limit: 15
style: [s]
sections:
  - id: executive_summary
    heading: {headings[0]}
    asks: [a]
    facts: [product, problem, price]
    tables:
      - {{id: key_figures, caption: k, columns: [{{name: {item}}}, {{name: {value}}}], rows: [x]}}
  - id: money
    heading: {headings[1]}
    asks: [a]
    checks: [c]
    min_length: 10
    max_length: 20
    facts: [product, price, unit_cost, fixed_costs, customers_year1, team, problem]
    tables:
      - {{id: pl, caption: pl, fill: financials, columns: [{{name: {item}}}, {{name: {year}}}],
          rows: [{revenue}]}}
  - id: plan
    heading: {headings[2]}
    level: 3
    asks: [a]
    facts: [problem, competitors]
"""
BRIEF = """
product: Loop crates
problem: Boxes are thrown away after one use, which costs grocers money and annoys customers a lot
price: $100 per month
unit_cost: $40 per month
fixed_costs: $3,600 per year
customers_year1: 10
team: Kim
odd: <script>alert(1)</script> | pipe
som: $1
"""


@pytest.fixture(scope="module")
def user_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of templates with one small outline per document type and language."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "outlines").mkdir()
    words = {
        Language.EN: {"title": "Plan", "item": "Item", "value": "Value", "year": "Year 1",
                      "revenue": "Revenue"},
        Language.KO: {"title": "계획서", "item": "항목", "value": "값", "year": "1차 연도",
                      "revenue": "매출액"},
    }  # fmt: skip
    for document_type, language in product(DocumentType, Language):
        text = OUTLINE.format(
            document_type=document_type.value, headings=SECTIONS[language], **words[language]
        )
        path = folder / "outlines" / f"small-{document_type.value}.{language.value}.yaml"
        path.write_text(text, encoding="utf-8")
    return folder


def request(
    task: str,
    *,
    document_type: DocumentType = DocumentType.BIZPLAN,
    language: Language = Language.EN,
    brief: str = BRIEF,
    topic: str = "Crates",
    template: str = "",
    results: tuple[tuple[str, str], ...] = (),
) -> AgentRequest:
    assignment = (
        f"topic: {topic}\ndocument_type: {document_type.value}\n"
        f"template: {template or f'small-{document_type.value}'}\nlanguage: {language.value}\n"
    )
    documents = [
        ContextDocument(id="a", title="Task", text=assignment, kind=ContextKind.ASSIGNMENT),
        *(ContextDocument(id=name, title=name, text=text) for name, text in results),
    ]
    if brief:
        documents.append(
            ContextDocument(id="brief", title="Brief", text=brief, kind=ContextKind.BRIEF)
        )
    return AgentRequest(
        agent=AgentType.CLAUDE,
        phase=1,
        task=task,
        prompt="Do it.",
        context=tuple(documents),
        language=language,
    )


def tables_in(text: str) -> Iterator[list[str]]:
    block: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            yield block
            block = []


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))


def assert_well_formed(text: str) -> None:
    for block in tables_in(text):
        assert len({cells(line) for line in block}) == 1, block
    assert re.search(r"<[A-Za-z/!?]", text) is None
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("task", "document_type", "language", "brief"),
    [*product(TASKS, DocumentType, Language, ["", BRIEF])],
)
def test_every_task_answers(
    user_dir: Path, task: str, document_type: DocumentType, language: Language, brief: str
) -> None:
    """Each task gives well-formed Markdown that names the topic and says that no AI wrote it."""
    asked = request(task, document_type=document_type, language=language, brief=brief)
    text = Drafter(user_dir).compose(asked)
    first = text.split("\n", 1)[0]
    assert first.startswith("# ")
    assert first.endswith("Crates")
    assert f"> **{WORDS['notice'][language is Language.KO]}**" in text
    assert_well_formed(text)
    assert Drafter(user_dir).compose(asked) == text


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("document_type", DocumentType)
def test_korean_answers_are_korean(user_dir: Path, task: str, document_type: DocumentType) -> None:
    """Without a brief every sentence of a Korean answer is Korean, and of an English one none."""
    korean = request(
        task, document_type=document_type, language=Language.KO, brief="", topic="상자"
    )
    prose = re.sub(r"`[^`]*`|https?\S+", "", Drafter(user_dir).compose(korean))
    assert re.search(r"(?:[A-Za-z]+ ){3}", prose) is None
    english = request(task, document_type=document_type, brief="")
    assert re.search("[가-힣]", Drafter(user_dir).compose(english)) is None


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("task", ["draft", "polish"])
def test_the_document_has_every_heading_in_order(
    user_dir: Path, task: str, language: Language
) -> None:
    """Headings stand exactly as the outline has them, at their level."""
    text = Drafter(user_dir).compose(request(task, language=language))
    lines = text.split("\n")
    one, two, three = SECTIONS[language]
    places = [lines.index(line) for line in (f"## {one}", f"## {two}", f"### {three}")]
    assert places == sorted(places)


@pytest.mark.parametrize("template", ["default", "startup", "strategy", "rd"])
@pytest.mark.parametrize("language", Language)
def test_shipped_outlines_can_be_drafted(template: str, language: Language) -> None:
    """Every shipped template gives a whole document, with and without a brief."""
    document_type = DocumentType.RD if template == "rd" else DocumentType.BIZPLAN
    for brief in ("", BRIEF):
        asked = request(
            "polish", template=template, language=language, document_type=document_type,
            brief=brief,
        )  # fmt: skip
        assert_well_formed(Drafter().compose(asked))


@pytest.mark.parametrize(
    ("name", "template", "language", "expected"),
    [
        (
            "brief-bizplan.en.yaml", "default", Language.EN,
            ("Revenue in year 1: £14,400 × 12 grocers = £172,800", "= 24 grocers a year",
             "| Total | 450 | 100 | — | — |", "**Insurance**: quotation asked for in October"),
        ),
        (
            "brief-startup.ko.md", "startup", Language.KO,
            ("1차 연도 매출액: 396만 원 × 40곳 = 1억 5,840만 원", "= 연 70곳(올림)",
             "| 합계 | — | 100,000,000 |", "정부지원금 7,000만 원 + 자기부담금 3,000만 원 = 1억 원",
             "**대표자 각오**"),
        ),
    ],
)  # fmt: skip
def test_the_example_briefs_give_their_figures(
    name: str, template: str, language: Language, expected: tuple[str, ...]
) -> None:
    """The briefs shipped as examples are understood to the last figure, without contradictions."""
    brief = (Path(__file__).parents[2] / "docs" / "examples" / name).read_text(encoding="utf-8")
    drafter = Drafter()
    document = drafter.compose(request("polish", template=template, language=language, brief=brief))
    for text in expected:
        assert text in document
    gaps = drafter.compose(request("validate", template=template, language=language, brief=brief))
    assert WORDS["no_doubts"][language is Language.KO] in gaps


def test_facts_are_told_once_in_full(user_dir: Path) -> None:
    """A long fact stands in full where it belongs, and later sections point there."""
    text = Drafter(user_dir).compose(request("draft"))
    assert text.count("**Problem**: Boxes are thrown away") == 2  # summary and home
    assert "**Problem**: see “2. Money”" in text


def test_what_no_section_asks_for_is_not_lost(user_dir: Path) -> None:
    """Facts and notes without a section stand in an appendix, harmless."""
    text = Drafter(user_dir).compose(request("draft"))
    assert "- **SOM**: $1" in text
    assert "- **odd**: &lt;script>alert(1)&lt;/script> | pipe" in text


def test_sums_name_their_figures(user_dir: Path) -> None:
    """Computed values say what they come from, and stand in the table of the outline."""
    text = Drafter(user_dir).compose(request("draft"))
    assert "Price for a year: $100 × 12 = $1,200" in text
    assert "Revenue in year 1: $1,200 × 10 customers = $12,000" in text
    assert "Break-even: $3,600 ÷ ($1,200 − $480) = 5 customers a year, rounded up" in text
    assert "| Revenue | $12,000 |" not in text.split("## 2. Money")[0]


def test_polish_keeps_an_edited_draft_and_places_the_summary(user_dir: Path) -> None:
    """Polish starts from the draft it hears, replaces its summary, and appends the gaps."""
    drafter = Drafter(user_dir)
    edited = drafter.compose(request("draft")) + "\nEdited by hand.\n"
    summary = "# S\n\n## 1. Summary\n\nNew summary.\n"
    text = drafter.compose(request("polish", results=((DRAFT_ID, edited), (SUMMARY_ID, summary))))
    head, rest = text.split("## 2. Money")
    assert head.rstrip().endswith("## 1. Summary\n\nNew summary.")
    assert "Edited by hand." in rest
    assert "Appendix: what is still missing" in rest.split("Edited by hand.")[1]


def test_polish_never_replaces_a_written_summary_by_a_worksheet(user_dir: Path) -> None:
    """A draft that a model wrote keeps its own summary where only the offline one exists."""
    drafter = Drafter(user_dir)
    written = "# Plan\n\n## 1. Summary\n\nWritten well.\n\n## 2. Money\n\nText.\n"
    offline = drafter.compose(request("executive_summary"))
    text = drafter.compose(request("polish", results=((DRAFT_ID, written), (SUMMARY_ID, offline))))
    assert text.startswith(written.rstrip())


def test_own_draft_and_summary_agree(user_dir: Path) -> None:
    """Putting the offline summary into the offline draft changes nothing."""
    drafter = Drafter(user_dir)
    results = tuple(
        (name, drafter.compose(request(task)))
        for name, task in ((DRAFT_ID, "draft"), (SUMMARY_ID, "executive_summary"))
    )
    assert drafter.compose(request("polish", results=results)) == drafter.compose(request("polish"))


def test_review_puts_contradictions_first(user_dir: Path) -> None:
    """Contradictions and wording that costs points come before the gaps."""
    brief = "product: 국내 최초 상자\nprice: $10\nunit_cost: $12\n"
    text = Drafter(user_dir).compose(request("final_review", brief=brief))
    first, sections = text.split("## Sections")
    assert "every sale loses money" in first
    assert "국내 최초" in first
    assert "2. Money" in sections


def test_startup_form_warns_of_names_to_mask() -> None:
    """A school named in the team is pointed out for the form that wants it masked."""
    asked = request(
        "final_review", template="startup", language=Language.KO, brief="팀: 한빛대학교 박사"
    )
    assert "한빛대학교" in Drafter().compose(asked)


def test_every_figure_is_unverified(user_dir: Path) -> None:
    """Offline nothing is verified: each figure is listed as such, and no source is named."""
    for task in ("fact_check", "verify"):
        text = Drafter(user_dir).compose(request(task))
        assert text.count("| not verified |") == 6
        assert "http" not in text


def test_without_figures_nothing_is_computed(user_dir: Path) -> None:
    """Without figures the charts say what is needed instead of inventing any."""
    text = Drafter(user_dir).compose(request("charts", brief="product: x"))
    assert WORDS["charts_none"][0] in text


@pytest.mark.parametrize("language", Language)
def test_free_questions_are_told_how_to_connect_a_model(language: Language) -> None:
    """Without an assignment, or for an unknown task, the answer says that it is none."""
    question = AgentRequest(
        agent=AgentType.GEMINI, phase=0, task="ask", prompt="Why <b>?\n2", language=language
    )
    text = Drafter().compose(question)
    assert "> Why &lt;b>? 2" in text
    assert "`ANTHROPIC_API_KEY`" in text
    assert "`local.base_url`" in text
    assert "`aigenflow check`" in text
    assert (
        Drafter().compose(request("unknown", language=language)).startswith(text.split("\n", 1)[0])
    )


def test_bad_assignments_and_templates_are_refused(user_dir: Path) -> None:
    """A broken assignment is an InputError, an unknown template a TemplateError."""
    broken = ContextDocument(
        id="a", title="a", text="topic: x\nlanguage: fr\n", kind=ContextKind.ASSIGNMENT
    )
    asked = AgentRequest(
        agent=AgentType.CLAUDE, phase=1, task="draft", prompt="", context=(broken,)
    )
    with pytest.raises(InputError, match="document_type"):
        Drafter().compose(asked)
    with pytest.raises(TemplateError):
        Drafter(user_dir).compose(request("draft", template="nosuch"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(max_size=80),
    key=st.sampled_from(["product", "team", "competitors", "price", "anything"]),
    task=st.sampled_from(TASKS),
)
def test_no_brief_breaks_the_document(user_dir: Path, value: str, key: str, task: str) -> None:
    """Whatever a brief holds, tables stay tables and no HTML passes."""
    try:
        text = Drafter(user_dir).compose(request(task, brief=f"{key}: {value}\n{value}"))
    except InputError:
        return
    assert_well_formed(text)


def test_wording_is_complete_in_both_languages() -> None:
    """Both languages of each wording have the same placeholders, and only Korean has Hangul."""
    for key, (english, korean) in WORDS.items():
        assert set(re.findall(r"{(\w+)", english)) == set(re.findall(r"{(\w+)", korean)), key
        assert re.search("[가-힣]", english) is None, key
