"""Named quantities have one value; a sum that is worked out states its result."""

from __future__ import annotations

from datetime import date

import pytest

from aigenflow.core.models import Language
from aigenflow.quality.models import Inputs, State
from aigenflow.quality.report import assess


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("1차 연도 매출액: 396만 원 × 40곳 = 1억 5,840만 원", "1차 연도 매출은 1억 5,840만 원이다.",
         State.PASS),
        ("1차 연도 매출액: 396만 원 × 40곳 = 1억 5,840만 원", "1차 연도 매출은 1억 9,000만 원이다.",
         State.FAIL),
        ("Year-1 revenue = USD 14,400 × 12 = USD 172,800.", "Year-1 revenue is USD 172,800.",
         State.PASS),
        ("총액: 정부지원금 7,000만 원 + 자기부담금 3,000만 원 = 1억 원",
         "정부지원금은 7,000만 원이다.", State.PASS),
    ],
)  # fmt: skip
def test_a_worked_out_line_states_its_result(first: str, second: str, state: State) -> None:
    """The terms of a sum are no second value of what it works out."""
    language = Language.KO if "원" in first else Language.EN
    text = f"# A\n\n## B\n\n{first}\n\n## C\n\n{second}\n"
    report = assess(Inputs(markdown=text, language=language, today=date(2026, 11, 22)))
    assert next(each.state for each in report.checks if each.id == "Q14") is state
