"""A brief becomes facts and notes; nothing in it is lost, expanded or executed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import InputError
from aigenflow.core.models import Language
from aigenflow.templates.brief import BRIEF_LIMIT_BYTES, Note, parse_brief, read_brief
from aigenflow.templates.vocabulary import KEYS, SYNONYMS, key_of, label_of

MARKDOWN = """# 우리 회사
회사명: 그린노트
**가격(원)**: 12,000
1차 연도 고객 수: 500명
연구책임자: 소재 분야 박사

## 1. 문제
- 병원 예약이 어렵다: 특히 밤

## 경쟁사
| 이름 | 가격 | 약점 |
|---|---|---|
| A사 | 3만원 \\| 월 | 느림 |
- B사: 가격 미정

자금 사용 계획:
- 개발: 2억
- 마케팅: 1억

## 재무
| 항목 | 값 |
|---|---|
| 단위 원가 | 4,000원 |
| 감가상각 | 5년 |

## 각오
잘하겠습니다
"""

YAML = """# my brief
company: Foo
customers: {year1: 120 clinics, year2: 300 clinics}
finance:
  price: $49 per month
  depreciation: 5 years
competitors:
  - {name: Acme, price: $30, weakness: slow}
  - Excel
use_of_funds: {Development: 60%, Marketing: 40%}
founded: NO
opening: 1:30
empty: ~
"""


def test_markdown_gives_facts_and_notes() -> None:
    """Pairs, headings, bullets and tables become facts; what has no key becomes a note."""
    brief = parse_brief(MARKDOWN)
    assert dict(brief.facts) == {
        "company": "그린노트",
        "price": "12,000 원",
        "customers_year1": "500명",
        "team": "연구책임자: 소재 분야 박사",
        "problem": "병원 예약이 어렵다: 특히 밤",
        "competitors": "A사 — 가격: 3만원 | 월; 약점: 느림\nB사: 가격 미정",
        "use_of_funds": "개발: 2억\n마케팅: 1억",
        "unit_cost": "4,000원",
    }
    assert brief.notes == (Note("재무", "감가상각: 5년"), Note("각오", "잘하겠습니다"))


def test_yaml_gives_facts_and_notes() -> None:
    """Nested keys, lists and mappings become facts, and scalars stay as they were written."""
    brief = parse_brief(YAML)
    assert dict(brief.facts) == {
        "company": "Foo",
        "customers_year1": "120 clinics",
        "customers_year2": "300 clinics",
        "price": "$49 per month",
        "competitors": "Acme — price: $30; weakness: slow\nExcel",
        "use_of_funds": "Development: 60%\nMarketing: 40%",
    }
    assert brief.notes == (
        Note("finance", "depreciation: 5 years"),
        Note("founded", "NO"),
        Note("opening", "1:30"),
    )


def test_entries_are_taken_apart() -> None:
    """A line with fields has a label and fields, and can be told in short."""
    acme, excel = parse_brief(YAML).entries("competitors")
    assert (acme.label, dict(acme.fields)) == ("Acme", {"price": "$30", "weakness": "slow"})
    assert (acme.short, excel.short) == ("Acme ($30, slow)", "Excel")


def test_two_values_are_both_kept_and_neither_is_used() -> None:
    """A key given twice keeps both lines, which are not one figure."""
    brief = parse_brief("가격: 9,900원\n가격: 12,000원\n가격: 9,900원")
    assert brief.facts["price"] == "9,900원\n12,000원"
    assert brief.quantity("price") is None


def test_plain_prose_is_a_note() -> None:
    """Text without any key is kept word for word."""
    assert parse_brief("We sell *new* crates.").notes == (Note("", "We sell *new* crates."),)


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("가격", "price"),
        ("시장 규모", "market_size"),
        ("시장규모(억원)", "market_size"),
        ("3) 정부지원금", "government_funding"),
        ("자기부담금(현물)", "own_funding_in_kind"),
        ("1차 연도 고객 수", "customers_year1"),
        ("고객 수 2년차", "customers_year2"),
        ("Customers in year 3", "customers_year3"),
        ("volume_year5", "volume_year5"),
        ("Units sold, year 4", "volume_year4"),
        ("Use of Proceeds", "use_of_funds"),
        ("목표 TRL", "trl_target"),
        ("날씨", None),
        ("customers_year9", None),
    ],
)
def test_labels_in_both_languages(label: str, key: str | None) -> None:
    """Keys are known by their English and Korean names, with units and numbering ignored."""
    assert key_of(label) == key


def test_every_key_knows_its_own_names() -> None:
    """Each key, each synonym and each shown label leads back to its key."""
    for key in KEYS:
        assert key_of(key) == key
        assert all(label_of(key, language) for language in Language)
    for key, labels in SYNONYMS.items():
        assert {key_of(label) for label in labels} == {key}


def test_yaml_anchors_are_refused() -> None:
    """A few bytes of anchors and aliases can stand for gigabytes: they are never expanded."""
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    for read in (parse_brief, lambda text: read_brief(text.encode(), "b.yaml")):
        with pytest.raises(InputError, match="anchors"):
            read(bomb)


def test_deep_brackets_are_text_in_markdown() -> None:
    """What is too deep for YAML is still a note in plain text."""
    assert parse_brief("[" * 50).notes == (Note("", "[" * 50),)


def test_emphasis_is_no_alias() -> None:
    """Markdown emphasis after a key is text, although YAML would see an alias."""
    assert parse_brief("product: *Loop*\nprice: $5").facts["price"] == "$5"


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"x" * (BRIEF_LIMIT_BYTES + 1), "b.md", "bytes"),
        ("가격".encode("utf-16"), "b.md", "UTF-8"),
        (b"a\0b", "b.md", "NUL"),
        (b"\xed\xa0\x80 lone surrogate", "b.md", "UTF-8"),
        ("가격은 만 원입니다. 고객은 병원입니다. ".encode() + b"\xff", "b.md", "UTF-8"),
        (b" \n", "b.md", "empty"),
        (b"- a\n- b\n", "b.yaml", "mapping"),
        (b"a: b: c\n", "b.yml", "line 1"),
        (b"a: 1\na: 2\n", "b.yaml", "usable"),
        (b"a: " + b"[" * 5000, "b.yaml", "usable"),
    ],
)
def test_unusable_files_are_refused(data: bytes, name: str, message: str) -> None:
    """Too large, not text, not UTF-8, empty or broken YAML: a clear error with a hint."""
    with pytest.raises(InputError) as caught:
        read_brief(data, name)
    assert message in caught.value.message + caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_text_that_cannot_be_written_is_refused(character: str) -> None:
    """NUL and lone surrogates are refused with their line."""
    with pytest.raises(InputError, match="line 2"):
        parse_brief(f"ok\n{character}")


@pytest.mark.parametrize(
    "data",
    ["\ufeff가격: 9,900원\r\n고객: 병원\r".encode(), "가격: 9,900원\n고객: 병원\n".encode("cp949")],
)
def test_usual_encodings_are_read(data: bytes) -> None:
    """A byte order mark, CP949 and foreign newlines make no difference."""
    assert read_brief(data, "brief.txt") == "가격: 9,900원\n고객: 병원\n"


@given(st.text(max_size=400))
def test_any_text_is_safe(text: str) -> None:
    """Any text gives a brief or an InputError, and facts come only from the text."""
    try:
        brief = parse_brief(text)
    except InputError:
        return
    assert set(brief.facts) <= set(KEYS)


@given(st.binary(max_size=400), st.sampled_from(["b.md", "b.yaml"]))
def test_any_file_is_safe(data: bytes, name: str) -> None:
    """Any bytes give text that can be parsed or an InputError."""
    with contextlib.suppress(InputError):
        parse_brief(read_brief(data, name))
