"""The sums of a plan are exact, and are written as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core import arithmetic
from aigenflow.core.arithmetic import format_money, format_number, format_percent
from aigenflow.core.models import Language
from aigenflow.core.quantities import parse_quantity

amounts = st.decimals(min_value=0, max_value=Decimal(10) ** 15, places=2)
positive = st.decimals(min_value=1, max_value=Decimal(10) ** 12, places=2)


@given(st.lists(amounts, max_size=30))
def test_total_is_exact(parts: list[Decimal]) -> None:
    """A total equals the sum of its parts in hundredths, however many there are."""
    assert int(arithmetic.total(parts) * 100) == sum(int(part * 100) for part in parts)


@given(st.lists(amounts, min_size=1, max_size=30))
def test_shares_add_up(parts: list[Decimal]) -> None:
    """Shares add up to exactly 100.0 and none is off by more than a tenth of a point."""
    shares = arithmetic.percent_shares(parts)
    whole = sum(parts)
    if not whole:
        assert shares == ()
        return
    assert sum(shares) == 100
    for share, part in zip(shares, parts, strict=True):
        assert abs(share - part * 100 / whole) < Decimal("0.1")


@pytest.mark.parametrize("parts", [[], [Decimal(0)], [Decimal(5), Decimal(-1)]])
def test_shares_of_nothing_do_not_exist(parts: list[Decimal]) -> None:
    """Nothing, zero and negative parts have no shares."""
    assert arithmetic.percent_shares(parts) == ()


@given(amounts, amounts, amounts)
def test_funding_identities_hold(government: Decimal, cash: Decimal, in_kind: Decimal) -> None:
    """Cash + in kind = own, and government + own = total."""
    totals = arithmetic.funding_totals(government, cash, in_kind)
    assert totals.own == cash + in_kind
    assert totals.total == government + totals.own


@given(positive, positive, positive)
def test_break_even_is_the_smallest_volume_that_pays(
    fixed: Decimal, unit_cost: Decimal, contribution: Decimal
) -> None:
    """At break-even the costs are covered, and one unit less does not cover them."""
    price = unit_cost + contribution
    volume = arithmetic.break_even_volume(fixed, price, unit_cost)
    assert volume is not None
    assert volume * contribution >= fixed
    assert (volume - 1) * contribution < fixed


@pytest.mark.parametrize("cost", ["10", "11"])
def test_no_volume_breaks_even_at_a_loss(cost: str) -> None:
    """Where a sale earns nothing, no volume is enough."""
    assert arithmetic.break_even_volume(Decimal(100), Decimal(10), Decimal(cost)) is None


def test_gross_margin() -> None:
    """Gross margin is what is left of the price, and nothing without a price."""
    assert arithmetic.gross_margin(Decimal(33), Decimal(12)) == Decimal(21) / 33
    assert arithmetic.gross_margin(Decimal(0), Decimal(12)) is None


def test_compound_growth() -> None:
    """CAGR from 100 to 400 over two years is 100 %."""
    assert arithmetic.compound_growth(Decimal(100), Decimal(400), 2) == 1


@pytest.mark.parametrize(
    ("first", "last", "periods"), [(0, 5, 1), (-1, 5, 1), (5, -1, 1), (5, 5, 0)]
)
def test_growth_from_nothing_does_not_exist(first: int, last: int, periods: int) -> None:
    """No CAGR from nothing, to a loss, or over no time."""
    assert arithmetic.compound_growth(Decimal(first), Decimal(last), periods) is None


def test_growth_and_projection() -> None:
    """Yearly growth is a fraction; a projection counts whole units, rounded down."""
    assert arithmetic.growth(Decimal(40), Decimal(140)) == Decimal("2.5")
    assert arithmetic.growth(Decimal(0), Decimal(1)) is None
    assert arithmetic.grown(Decimal(15), Decimal("0.5"), 2) == 33


@pytest.mark.parametrize(
    ("amount", "currency", "korean", "english"),
    [
        ("12000", "KRW", "12,000원", "KRW 12,000"),
        ("0", "KRW", "0원", "KRW 0"),
        ("350000000", "KRW", "3억 5,000만 원", "KRW 350 million"),
        ("1250000000000", "KRW", "1조 2,500억 원", "KRW 1.25 trillion"),
        ("123456", "KRW", "12만 3,456원", "KRW 123,456"),
        ("-73200000", "KRW", "-7,320만 원", "-KRW 73.2 million"),
        ("37120000000", "USD", "371억 2,000만 달러", "$37.12 billion"),
        ("49.5", "USD", "49.5달러", "$49.5"),
        ("1234567", "EUR", "123만 4,567유로", "€1,234,567"),
        ("1200", "", "1,200", "1,200"),
        ("120000", "", "12만", "120,000"),
        ("1200", "CHF", "1,200CHF", "CHF 1,200"),
    ],
)
def test_money_is_written_as_people_write_it(
    amount: str, currency: str, korean: str, english: str
) -> None:
    """Amounts read naturally in both languages and lose nothing."""
    assert format_money(Decimal(amount), currency, Language.KO) == korean
    assert format_money(Decimal(amount), currency, Language.EN) == english


@given(st.integers(min_value=0, max_value=10**16), st.sampled_from(list(Language)))
def test_written_money_reads_back(amount: int, language: Language) -> None:
    """What is written can be read back as the same amount: nothing is rounded away."""
    written = format_money(Decimal(amount), "KRW", language)
    quantity = parse_quantity(written)
    assert quantity is not None
    assert (quantity.value, quantity.unit) == (amount, "KRW")


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [("1234.5", 2, "1,234.5"), ("1000", 2, "1,000"), ("0.125", 2, "0.13"), ("-0.001", 2, "0")],
)
def test_numbers(value: str, places: int, text: str) -> None:
    """Numbers have thousands separators, no trailing zeros and no negative zero."""
    assert format_number(Decimal(value), places) == text


def test_percent() -> None:
    """A fraction is written in per cent with one decimal at most."""
    assert format_percent(Decimal("0.6363")) == "63.6%"
    assert format_percent(Decimal("0.7")) == "70%"
