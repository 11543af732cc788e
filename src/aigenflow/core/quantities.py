"""One figure with its unit, read from how people write it in Korean and English.

``1조 2,500억 원``, ``$37.12B``, ``월 9,900원``, ``USD 5 million`` and ``15%`` are one figure each.
A range, two figures or a figure with a doubtful comma is none: nothing is ever picked from several.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

Period: TypeAlias = Literal["", "day", "week", "month", "quarter", "year"]

PERCENT = "%"
CURRENCIES = ("KRW", "USD", "EUR", "JPY", "GBP", "CNY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """``value`` in ``unit``: an ISO currency code, ``"%"`` (15 % has the value 15), what is
    counted (``"명"``, ``"clinics"``), or empty. ``per`` is the period it was given for, if any.
    """

    value: Decimal
    unit: str = ""
    per: Period = ""

    @property
    def is_money(self) -> bool:
        """Whether the unit is a currency that is known here."""
        return self.unit in CURRENCIES


NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_KOREAN = rf"(?:{NUMBER}\s?[십백천만억조]+\s?)+(?:{NUMBER})?"
_MARKS = {
    "KRW": r"₩|￦|KRW|원|won\b",
    "USD": r"US\$|\$|USD|달러|불|dollars?\b",
    "EUR": r"€|EUR|유로|euros?\b",
    "JPY": r"JPY|엔|yen\b",
    "GBP": r"£|GBP|파운드|pounds?\b",
    "CNY": r"CNY|위안|yuan\b",
}
CURRENCY_MARK = "|".join(_MARKS.values())
SCALES = {
    "k": 10**3,
    "thousand": 10**3,
    "m": 10**6,
    "mn": 10**6,
    "million": 10**6,
    "b": 10**9,
    "bn": 10**9,
    "billion": 10**9,
    "t": 10**12,
    "tn": 10**12,
    "trillion": 10**12,
}
WORD_SCALE = "thousand|million|billion|trillion|mn|bn|tn|[kmbt]"
_FIGURE = re.compile(
    rf"(?P<sign>[-−]\s?)?(?P<before>{CURRENCY_MARK})?\s?(?P<sign2>[-−])?"
    rf"(?P<body>{_KOREAN}|{NUMBER})(?![\d]|[.,]\d)"
    rf"(?:\s?(?P<scale>{WORD_SCALE})(?![A-Za-z]))?"
    rf"\s?(?:(?P<after>{CURRENCY_MARK})|(?P<percent>%|퍼센트|percent\b)|(?P<unit>[A-Za-z가-힣]+))?",
    re.IGNORECASE,
)
_KOREAN_TOKEN = re.compile(rf"({NUMBER})|([십백천])|([만억조])")
_SMALL = {"십": 10, "백": 100, "천": 1000}
_LARGE = {"만": 10**4, "억": 10**8, "조": 10**12}

_RANGE_SIGN = re.compile("[~∼〜]")  # "100명~" has one figure and is a range all the same
_PARENTHESIS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_YEAR = re.compile(
    r"(?<!\d)(?:19|20)\d\d\s*년(?:도|말|초)?(?:\s*기준)?"
    r"|\b(?:in|by|as of|since|from|for|at the end of)\s+(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_EACH = re.compile(r"(?:1|한)\s?[가-힣]{1,3}당")
_PERIODS: Mapping[Period, str] = {
    "month": (
        r"(?<![\d가-힣])월(?=[\s\d$₩)])|/\s*월|매월|월간|월\s?구독|개월당"
        r"|(?:per|a|each)\s+(?:calendar\s+)?month|/\s*(?:month|mo)\b|\bmonthly"
    ),
    "quarter": r"분기당|분기별|/\s*분기|(?:per|a|each)\s+quarter|/\s*quarter|\bquarterly",
    "year": (
        r"(?<![\d가-힣])연(?=[\s\d$₩)])|연간|매년|(?<!\d)년간|/\s*[연년]"
        r"|(?:per|a|each)\s+(?:year|annum)|/\s*(?:year|yr)\b|\bannual(?:ly)?|\byearly|\bp\.a\."
    ),
    "week": r"매주|주당|주간|/\s*주|(?:per|a|each)\s+week|/\s*(?:week|wk)\b|\bweekly",
    "day": r"하루|매일|일당|/\s*일|(?:per|a|each)\s+day|/\s*day\b|\bdaily",
}
_DIGITS_AT_MOST = 18
_CHARACTERS_AT_MOST = 200  # one figure with its remarks; longer text is prose


def parse_quantity(text: str) -> Quantity | None:
    """The one figure in ``text``, or ``None`` where there is none or more than one.

    Years (``2025년 기준``, ``by 2027``), ``1인당`` and remarks in parentheses are not figures.
    """
    if len(text) > _CHARACTERS_AT_MOST:
        return None
    # NFKC on this copy only, so that full-width digits and signs count; the text itself is kept.
    plain = unicodedata.normalize("NFKC", text).strip()
    period = _period(plain)
    bare = _EACH.sub(" ", _YEAR.sub(" ", _PARENTHESIS.sub(" ", plain)))
    if _RANGE_SIGN.search(bare):
        return None
    figures = list(_FIGURE.finditer(bare))
    if len(figures) != 1 or len(re.findall(r"\d", figures[0]["body"])) > _DIGITS_AT_MOST:
        return None
    figure = figures[0]
    if re.search(r"\d", bare[: figure.start()] + bare[figure.end() :]):
        return None
    value = korean_value(figure["body"]) * SCALES.get((figure["scale"] or "").lower(), 1)
    sign = -1 if figure["sign"] or figure["sign2"] else 1
    return Quantity(value=sign * value, unit=_unit(figure), per=period)


def _period(text: str) -> Period:
    found: set[Period] = {
        period for period, pattern in _PERIODS.items() if re.search(pattern, text, re.IGNORECASE)
    }
    return found.pop() if len(found) == 1 else ""


def _unit(figure: re.Match[str]) -> str:
    if figure["percent"]:
        return PERCENT
    mark = figure["before"] or figure["after"]
    if mark:
        return marked_currency(mark)
    unit = figure["unit"] or ""
    return "" if unit.lower() in {"per", "a", "each", "in", "by", "and", "of", "for"} else unit


def marked_currency(mark: str) -> str:
    """The ISO code that one of :data:`CURRENCY_MARK` stands for."""
    return next(
        code for code, pattern in _MARKS.items() if re.fullmatch(pattern, mark, re.IGNORECASE)
    )


def korean_value(body: str) -> Decimal:
    """``1조 2,500억`` and ``3천5백만`` as a number; plain digits as they are."""
    whole = section = Decimal(0)
    number: Decimal | None = None
    for digits, small, large in _KOREAN_TOKEN.findall(body):
        if digits:
            number = Decimal(digits.replace(",", ""))
        elif small:
            multiple = number if number is not None else section or Decimal(1)
            section = multiple * _SMALL[small] + (section if number is not None else 0)
            number = None
        else:
            whole += (section + (number or 0)) * _LARGE[large]
            section, number = Decimal(0), None
    return whole + section + (number or 0)


def currency_code(text: str) -> str:
    """The ISO code of a currency named in ``text`` (``"원"``, ``"US dollars"``), else empty."""
    return next(
        (code for code, marks in _MARKS.items() if re.search(marks, text, re.IGNORECASE)), ""
    )
