"""The checks by theme, and the one table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aigenflow.quality.case import Case, Outcome
from aigenflow.quality.checks import consistency, evidence, form, language, numbers, structure
from aigenflow.quality.models import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what it is called, what it aims at, whether it is a gate, what it weighs in."""

    id: str
    name_en: str
    name_ko: str
    target: str
    group: Group
    run: Callable[[Case], Outcome]
    gate: bool = False


def _check(
    number: int,
    group: Group,
    names: tuple[str, str],
    target: str,
    run: Callable[[Case], Outcome],
    *,
    gate: bool = False,
) -> Check:
    return Check(
        id=f"Q{number:02}",
        name_en=names[0],
        name_ko=names[1],
        target=target,
        group=group,
        run=run,
        gate=gate,
    )


_S, _E, _N = Group.STRUCTURE, Group.EVIDENCE, Group.NUMBERS
_C, _L, _F = Group.CONSISTENCY, Group.LANGUAGE, Group.FORMAT

CHECKS: tuple[Check, ...] = (
    _check(1, _S, ("Section coverage", "필수 절"), "1.0", structure.section_coverage, gate=True),
    _check(2, _S, ("Section order", "절의 순서"), "≥ 0.9", structure.section_order),
    _check(3, _F, ("Length", "분량"), "1.0", structure.length, gate=True),
    _check(4, _F, ("Leftovers", "작성 중 흔적"), "0", structure.leftovers, gate=True),
    _check(
        5, _E, ("Sources of figures", "수치의 출처 표시"), "≥ 0.95 / 0.85",
        evidence.number_coverage, gate=True,
    ),
    _check(
        6, _E, ("Citation integrity", "인용의 연결"), "1.0", evidence.citation_integrity, gate=True
    ),
    _check(
        7, _E, ("Citation provenance", "인용 주소의 출처"), "1.0",
        evidence.citation_provenance, gate=True,
    ),
    _check(
        8, _E, ("Figures in their sources", "출처와 수치의 일치"), "≥ 0.9",
        evidence.number_source_match, gate=True,
    ),
    _check(
        9, _E, ("Figures without origin", "근거 없는 수치"), "0", evidence.orphan_numbers, gate=True
    ),
    _check(10, _N, ("Tables add up", "표의 합계"), "1.0", numbers.tables_add_up, gate=True),
    _check(
        11, _N, ("Funding identities", "재원의 등식"), "1.0", numbers.funding_identities, gate=True
    ),
    _check(12, _N, ("Statements", "재무제표"), "1.0", numbers.statements, gate=True),
    _check(13, _N, ("Market logic", "시장 규모의 논리"), "0", numbers.market_logic, gate=True),
    _check(
        14, _C, ("One value everywhere", "수치의 일관성"), "0", consistency.cross_section, gate=True
    ),
    _check(15, _C, ("Dates", "날짜"), "0", consistency.dates, gate=True),
    _check(16, _N, ("Indicators", "성과지표"), "0", consistency.indicators, gate=True),
    _check(17, _C, ("Technology readiness", "기술성숙도"), "0", consistency.readiness, gate=True),
    _check(18, _C, ("Work plan", "수행 계획"), "≥ 0.95", consistency.work_plan),
    _check(19, _L, ("Purity of language", "언어의 통일"), "≥ 0.95", language.purity),
    _check(20, _L, ("Repetition", "중복"), "0", language.duplicates),
    _check(21, _L, ("Readability", "가독성"), "10–14 / ≤ 70", language.readability),
    _check(22, _L, ("Specificity", "구체성"), "0", language.specificity),
    _check(
        23, _F, ("Competitors and risks", "경쟁사와 위험"), "≥ 3 / ≥ 5", form.competitors_and_risks
    ),
    _check(
        24, _C, ("Summary within the body", "요약과 본문"), "1.0", consistency.summary_subset,
        gate=True,
    ),
    _check(25, _F, ("Masking", "개인정보 가림"), "0", form.masking, gate=True),
    _check(26, _N, ("Units and currency", "단위와 통화"), "0", numbers.units),
    _check(27, _E, ("References", "참고문헌"), "≥ 0.95", form.references),
    _check(28, _F, ("Tables and figures", "표와 그림"), "≥ 0.95", form.tables_and_figures),
    _check(29, _F, ("Exported files", "내보낸 파일"), "0", form.export, gate=True),
    _check(30, _F, ("AI statement", "AI 활용 고지"), "1.0", form.ai_statement, gate=True),
)  # fmt: skip
"""Every check, in the order of the report."""
