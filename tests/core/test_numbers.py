"""Every figure of a text is found where it stands; what only has digits is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.numbers import Figure, find_figures, units_agree
from aigenflow.core.quantities import Quantity, parse_quantity


def only(text: str) -> Figure:
    """The one figure of ``text``."""
    (figure,) = find_figures(text)
    return figure


def test_a_sign_of_multiplication_is_no_multiple() -> None:
    """A price times a number of customers is two figures; ``2.5x`` alone is one."""
    factors = find_figures("£14,400 × 12 grocers")
    assert [(str(each.quantity.value), each.quantity.unit) for each in factors] == [
        ("14400", "GBP"),
        ("12", "grocers"),
    ]
    assert [each.quantity.unit for each in find_figures("10,000 × KRW 5")] == ["", "KRW"]
    assert only("2.5× more").quantity.unit == "x"


def test_a_date_before_a_comma_is_a_date() -> None:
    """No part of it is left over as a figure."""
    assert find_figures("measured on 2026-03-15, see the annex") == ()


@pytest.mark.parametrize(
    ("text", "value", "unit", "precision"),
    [
        ("시장은 1조 2,500억 원이다", "1250000000000", "KRW", "100000000"),
        ("$37.12B by 2030", "37120000000", "USD", "10000000"),
        ("약 3.5억을 투자", "350000000", "", "10000000"),
        ("약 2만 명의 이용자", "20000", "명", "10000"),
        ("12.5 %p 상승", "12.5", "%p", "0.1"),
        ("rose 2 percentage points", "2", "%p", "1"),
        ("연 12.5% 성장", "12.5", "%", "0.1"),
        ("１２，０００원", "12000", "KRW", "1"),
        ("2천5백만 원", "25000000", "KRW", "1000000"),
        ("350,000천원", "350000000", "KRW", "1000"),
        ("USD 5 million", "5000000", "USD", "1000000"),
        ("€2.5m", "2500000", "EUR", "100000"),
        ("2.5x growth", "2.5", "x", "0.1"),
        ("3배 성장", "3", "x", "1"),
        ("in 2027 we reach 1,200 clinics", "1200", "clinics", "1"),
        ("30여 개 기관", "30", "개", "1"),
        ("2000명이 쓴다", "2000", "명", "1"),
        ("| △300 |", "-300", "", "1"),
        ("a loss of -5 %", "-5", "%", "1"),
        ("2026년 3,000만 원", "30000000", "KRW", "10000"),
        ("10.5 GWh", "10.5", "gwh", "0.1"),
        ("Year 1 revenue $2.5 million", "2500000", "USD", "100000"),
        ("5 m tall", "5", "m", "1"),
        ("1인당 월 9,900원", "9900", "KRW", "1"),
        ("## 3. 시장 30개사", "30", "개사", "1"),
        ("36개월간", "36", "개월", "1"),
        ("KRW 1.2 billion", "1200000000", "KRW", "100000000"),
    ],
)
def test_figures_are_read(text: str, value: str, unit: str, precision: str) -> None:
    """Value, unit and the value of the last digit shown are read."""
    figure = only(text)
    assert (figure.quantity.value, figure.quantity.unit) == (Decimal(value), unit)
    assert figure.precision == Decimal(precision)
    assert text[figure.start : figure.end] == figure.text


@pytest.mark.parametrize(
    "text",
    [
        "2026년 11월 22일", "2026-11-22", "2026. 11. 22.", "11/22/2026", "15 March 2026",
        "March 15, 2026", "at 10:30", "2026-2028", "’26년", "FY2026 and Q3 2026", "010-1234-5678",
        "900101-1234567", "v1.2.3 and 2.0.1", "표 3과 그림 2-1", "Table 3 and Figure 2",
        "TRL 4 to 8", "제3조 제1항", "B2B, GPT-4, 5G, CO2, COVID-19", "시장[3]에서 [#12] [^4]",
        "[2](https://example.org/2026/33)", "https://example.org/300?x=50", "mail99@example.org",
        "1. 첫째\n2) 둘째\n(3) 셋째", "## 3.2 시장 규모", "ISO 9001, 1/3, 3:1",
        "3차년도 2단계 1분기", "1위를 한 2번째 회사", "9" * 19, "in 1998", "글자뿐이다", "",
    ],
)  # fmt: skip
def test_what_has_digits_is_not_always_a_figure(text: str) -> None:
    """Dates, years, labels, marks, addresses, ordinals and list numbers are no figures."""
    assert find_figures(text) == ()


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("5-10 %", "5", "10", "%"),
        ("30%-40%", "30", "40", "%"),
        ("12~15만원", "120000", "150000", "KRW"),
        ("5,000~1만 명", "5000", "10000", "명"),
        ("$1-2 million", "1000000", "2000000", "USD"),
        ("$1,500 – $2,000", "1500", "2000", "USD"),
        ("10 to 15 units", "10", "15", "units"),
    ],
)
def test_both_ends_of_a_range(text: str, low: str, high: str, unit: str) -> None:
    """The ends of a range share unit and scale, and say that they are ends."""
    figures = find_figures(text)
    assert [figure.quantity.value for figure in figures] == [Decimal(low), Decimal(high)]
    assert all(figure.is_range and figure.quantity.unit == unit for figure in figures)


def test_a_figure_shows_what_rounds_to_it() -> None:
    """A value is what a figure shows where rounding to the digits shown gives the figure."""
    figure = only("3.5억 원")
    assert figure.shows(Decimal(352_000_000))
    assert not figure.shows(Decimal(356_000_000))
    assert figure.says(Quantity(value=Decimal(350_000_000)))
    assert not figure.says(Quantity(value=Decimal(350_000_000), unit="USD"))


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("KRW", "KRW", True), ("KRW", "USD", False), ("KRW", "", True), ("%", "%", True),
        ("%", "", False), ("%", "%p", False), ("x", "명", False), ("명", "people", True),
        ("KRW", "명", False),
    ],
)  # fmt: skip
def test_units_that_agree(one: str, other: str, agree: bool) -> None:
    """Money agrees with its currency or none, shares only with shares, counts with counts."""
    assert units_agree(one, other) is agree
    assert units_agree(other, one) is agree


@given(st.text(alphabet="0123456789.,%~-–$원만억조명 年a[]#()/:월일\n", max_size=300))
def test_spans_are_in_order_and_in_the_text(text: str) -> None:
    """Any text is safe; spans are ascending, disjoint, and hold what the figure says."""
    figures = find_figures(text)
    assert all(text[figure.start : figure.end] == figure.text for figure in figures)
    ends = [0, *(figure.end for figure in figures)]
    assert all(end <= figure.start for end, figure in zip(ends, figures, strict=False))
    assert all(figure.precision > 0 for figure in figures)


@given(
    number=st.integers(min_value=3, max_value=10**7).filter(lambda n: not 1899 < n < 2100),
    mark=st.sampled_from(["원", "만 원", "억 원", "%", "명", " USD", " million dollars"]),
)
def test_a_single_figure_is_the_one_that_is_parsed(number: int, mark: str) -> None:
    """In running text a figure has the value and unit that the reader of single figures gives."""
    written = f"{number:,}{mark}"
    alone = parse_quantity(written)
    assert alone is not None
    figure = only(f"결과는 {written}, 그렇다")
    assert (figure.quantity.value, figure.quantity.unit) == (alone.value, alone.unit)


@given(number=st.decimals(min_value=1, max_value=1800, places=2))
def test_a_figure_shows_the_value_it_was_rounded_from(number: Decimal) -> None:
    """What is written with one digit fewer still shows its value."""
    assert only(f"{number:.1f} kg").shows(number)


def test_long_runs_end() -> None:
    """Text made to slow a reader down is read like any other."""
    for text in ("1" * 50_000, "1.1" * 20_000, "1만" * 20_000, "a@" * 20_000, "1-1-" * 20_000):
        find_figures(text)


@pytest.mark.parametrize("money", ["파운드", "달러", "유로", "원"])
def test_korean_amounts_in_any_currency_are_one_figure(money: str) -> None:
    """What stands behind 만 belongs to the amount."""
    [figure] = find_figures(f"매출은 17만 2,800{money}이다.")
    assert (figure.quantity.value, figure.quantity.is_money) == (172_800, True)
