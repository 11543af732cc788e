"""One figure is read from how people write it; what is not one figure is none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.quantities import currency_code, parse_quantity


@pytest.mark.parametrize(
    ("text", "value", "unit", "per"),
    [
        ("1조 2,500억 원", "1250000000000", "KRW", ""),
        ("3.5억", "350000000", "", ""),
        ("3천만원", "30000000", "KRW", ""),
        ("2천5백만 원", "25000000", "KRW", ""),
        ("1억5천만원", "150000000", "KRW", ""),
        ("350,000천원", "350000000", "KRW", ""),
        ("1,200백만원", "1200000000", "KRW", ""),
        ("1만2천원", "12000", "KRW", ""),
        ("$37.12B", "37120000000", "USD", ""),
        ("12,000원", "12000", "KRW", ""),
        ("12,000 KRW", "12000", "KRW", ""),
        ("15%", "15", "%", ""),
        ("-5 %", "-5", "%", ""),
        ("1.2M", "1200000", "", ""),
        ("USD 5 million", "5000000", "USD", ""),
        ("5백만 달러", "5000000", "USD", ""),
        ("€2.5m", "2500000", "EUR", ""),
        ("£1,200 per month", "1200", "GBP", "month"),
        ("월 9,900원", "9900", "KRW", "month"),
        ("9,900원/월", "9900", "KRW", "month"),
        ("1인당 월 9,900원", "9900", "KRW", "month"),
        ("$30 per quarter", "30", "USD", "quarter"),
        ("연 20%", "20", "%", "year"),
        ("하루 100건", "100", "건", "day"),
        ("3만 명", "30000", "명", ""),
        ("1,200 clinics", "1200", "clinics", ""),
        ("18개월", "18", "개월", ""),
        ("2025년 기준 3.5억 원", "350000000", "KRW", ""),
        ("$4 million by 2027", "4000000", "USD", ""),
        ("12,000원 (VAT 별도, 10%)", "12000", "KRW", ""),
        ("３.５억 원", "350000000", "KRW", ""),
        ("-3억 원", "-300000000", "KRW", ""),
    ],
)
def test_figures_are_read(text: str, value: str, unit: str, per: str) -> None:
    """Value, unit and period are read from Korean and English."""
    quantity = parse_quantity(text)
    assert quantity is not None
    assert (quantity.value, quantity.unit, quantity.per) == (Decimal(value), unit, per)


@pytest.mark.parametrize(
    "text",
    [
        "", "수억 원", "백만원", "12~15만원", "10-15%", "$1,500 – $2,000", "10 to 15 units",
        "100명~",        "월 9,900원, 연 99,000원", "3년간 30억", "12,5", "1e5", "5억 원, 지분 10%",
        "9" * 19, "1 " * 200,
    ],
)  # fmt: skip
def test_what_is_not_one_figure_is_none(text: str) -> None:
    """Ranges, several figures, doubtful commas and prose are not one figure."""
    assert parse_quantity(text) is None


@given(st.text(max_size=300))
def test_any_text_is_safe(text: str) -> None:
    """No text makes the reader fail."""
    parse_quantity(text)


def test_currency_names() -> None:
    """A currency is known by name, sign or code."""
    assert [currency_code(text) for text in ("원", "US dollars", "EUR", "?")] == [
        "KRW", "USD", "EUR", "",
    ]  # fmt: skip
