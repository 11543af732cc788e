"""The plain sums of a plan, exact in ``Decimal``.

Amounts carry no currency here: whoever calls keeps one currency together. Rates and shares are
fractions (``Decimal("0.15")`` is 15 %). ``None`` means that the figure does not exist, for example
the growth from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext

from aigenflow.core.models import Language

_PRECISION = 60
_HUNDRED = Decimal(100)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum; 0 of nothing."""
    with localcontext(prec=_PRECISION):
        return sum(amounts, start=Decimal(0))


def product(*factors: Decimal | int) -> Decimal:
    """The exact product; year revenue is ``product(price, volume)``."""
    with localcontext(prec=_PRECISION):
        result = Decimal(1)
        for factor in factors:
            result *= factor
        return result


def difference(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """``minuend - subtrahend``, exact."""
    with localcontext(prec=_PRECISION):
        return minuend - subtrahend


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """``part / whole`` as a fraction; ``None`` where ``whole`` is not above 0."""
    return part / whole if whole > 0 else None


def growth(before: Decimal, after: Decimal) -> Decimal | None:
    """Growth from one year to the next as a fraction; ``None`` from nothing or from a loss."""
    return ratio(difference(after, before), before)


def compound_growth(first: Decimal, last: Decimal, periods: int) -> Decimal | None:
    """CAGR: ``(last / first) ** (1 / periods) - 1``; ``None`` where it does not exist."""
    if first <= 0 or last < 0 or periods < 1:
        return None
    return (last / first) ** (Decimal(1) / periods) - 1


def grown(first: Decimal, rate: Decimal, periods: int) -> Decimal:
    """``first`` after ``periods`` years of growth at ``rate``, in whole units, rounded down."""
    with localcontext(prec=_PRECISION):
        return (first * (1 + rate) ** periods).to_integral_value(ROUND_FLOOR)


def gross_margin(price: Decimal, unit_cost: Decimal) -> Decimal | None:
    """``(price - unit_cost) / price`` as a fraction; ``None`` where nothing is charged."""
    return ratio(difference(price, unit_cost), price)


def break_even_volume(fixed_costs: Decimal, price: Decimal, unit_cost: Decimal) -> Decimal | None:
    """Whole units that must be sold to cover ``fixed_costs`` of the same period.

    ``None`` where every sale loses money or earns nothing, so that no volume is enough.
    """
    contribution = difference(price, unit_cost)
    if contribution <= 0:
        return None
    return (fixed_costs / contribution).to_integral_value(ROUND_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingTotals:
    """The two identities of a funding table: cash + in kind = own; government + own = total."""

    government: Decimal
    own_cash: Decimal
    own_in_kind: Decimal
    own: Decimal
    total: Decimal


def funding_totals(government: Decimal, own_cash: Decimal, own_in_kind: Decimal) -> FundingTotals:
    """Own share and total from the three parts."""
    own = total((own_cash, own_in_kind))
    return FundingTotals(
        government=government,
        own_cash=own_cash,
        own_in_kind=own_in_kind,
        own=own,
        total=total((government, own)),
    )


def percent_shares(amounts: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Each amount in % of the sum, to one decimal, adding up to exactly 100.0.

    What rounding down leaves over goes to the largest remainders. Empty where the sum is not
    above 0 or an amount is negative.
    """
    whole = total(amounts)
    if whole <= 0 or any(amount < 0 for amount in amounts):
        return ()
    tenths = [amount * 1000 / whole for amount in amounts]
    shares = [int(tenth) for tenth in tenths]
    by_remainder = sorted(range(len(shares)), key=lambda i: (shares[i] - tenths[i], i))
    for index in by_remainder[: 1000 - sum(shares)]:
        shares[index] += 1
    return tuple(Decimal(share).scaleb(-1) for share in shares)


# ---- how figures are written -------------------------------------------------------------------


def format_number(value: Decimal, places: int = 2) -> str:
    """Thousands separated by commas, at most ``places`` decimals, no trailing zeros."""
    with localcontext(prec=_PRECISION):
        rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def format_percent(fraction: Decimal) -> str:
    """A fraction in per cent with at most one decimal: ``0.1234`` is ``12.3%``."""
    return f"{format_number(product(fraction, _HUNDRED), 1)}%"


_KOREAN_STEPS = (
    ("조", Decimal(10) ** 12),
    ("억", Decimal(10) ** 8),
    ("만", Decimal(10) ** 4),
)
_KOREAN_CURRENCIES = {
    "KRW": "원",
    "USD": "달러",
    "EUR": "유로",
    "JPY": "엔",
    "GBP": "파운드",
    "CNY": "위안",
}
_ENGLISH_STEPS = (
    ("trillion", Decimal(10) ** 12),
    ("billion", Decimal(10) ** 9),
    ("million", Decimal(10) ** 6),
)
_ENGLISH_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def format_money(amount: Decimal, currency: str, language: Language) -> str:
    """An amount as people write it, never rounded by more than a hundredth of its currency.

    Korean: ``3억 5,000만 원``, ``12,000원``, ``370만 달러``. English: ``$1.25 million``,
    ``KRW 350 million``, ``$12,000``. ``currency`` is an ISO code, empty where nobody gave one.
    """
    sign = "-" if amount < 0 else ""
    if language is Language.KO:
        return sign + _korean_money(abs(amount), currency)
    return sign + _english_money(abs(amount), currency)


_KOREAN_PLAIN_BELOW = 100_000  # 12,000원 reads better than 1만 2,000원


def _korean_money(amount: Decimal, currency: str) -> str:
    unit = _KOREAN_CURRENCIES.get(currency, currency)
    if amount < _KOREAN_PLAIN_BELOW:
        return f"{format_number(amount)}{unit}"
    groups = []
    rest = amount
    for name, size in _KOREAN_STEPS:
        count, rest = divmod(rest, size)
        if count:
            groups.append(f"{format_number(count)}{name}")
    if rest:
        return f"{' '.join([*groups, format_number(rest)])}{unit}"
    return f"{' '.join(groups)} {unit}".rstrip()


def _english_money(amount: Decimal, currency: str) -> str:
    number = format_number(amount)
    for name, size in _ENGLISH_STEPS:
        if amount >= size and (scaled := amount / size) == round(scaled, 2):
            number = f"{format_number(scaled)} {name}"
            break
    mark = _ENGLISH_SIGNS.get(currency)
    if mark:
        return f"{mark}{number}"
    return f"{currency} {number}".strip()
