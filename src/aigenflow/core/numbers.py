"""Every figure in a running text, in Korean and English: where it stands and what it says. Pure.

A figure is an amount of money, a share, a multiple, or a count. Years, dates, times, ordinals,
labels (``Table 3``, ``TRL 5``, ``제2조``), citation marks, section and list numbers, versions,
addresses and telephone numbers have digits and are none. One pass, linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from aigenflow.core.quantities import (
    CURRENCY_MARK,
    NUMBER,
    PERCENT,
    SCALES,
    WORD_SCALE,
    Quantity,
    korean_value,
    marked_currency,
)

PERCENT_POINT: Final = "%p"
MULTIPLE: Final = "x"
_PLAIN_KINDS = frozenset({PERCENT, PERCENT_POINT, MULTIPLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: ``source[start:end] == text``.

    ``quantity.value`` is scaled (``3.5억`` has 350000000); its unit is an ISO currency code,
    ``"%"``, ``"%p"``, ``"x"`` (a multiple), what is counted, or empty. ``precision`` is the
    value of the last digit that is shown (``3.5억`` has 10000000). Both ends of a range are
    figures of their own, and say so with ``is_range``.
    """

    text: str
    start: int
    end: int
    quantity: Quantity
    precision: Decimal
    is_range: bool = False

    def shows(self, value: Decimal) -> bool:
        """Whether ``value``, rounded as this figure is, is this figure. A half may go either way.

        >>> find_figures("3.5억 원")[0].shows(Decimal("352000000"))
        True
        """
        return abs(value - self.quantity.value) <= self.precision / 2

    def says(self, other: Quantity) -> bool:
        """Whether this figure can be ``other``, as far as it is shown, in units that agree."""
        return units_agree(self.quantity.unit, other.unit) and self.shows(other.value)


def units_agree(one: str, other: str) -> bool:
    """Whether two units can be the same thing.

    Money agrees with its own currency and with an amount that names none; shares and multiples
    only with themselves; what is counted may be called differently in two languages.
    """
    if one == other:
        return True
    if one in _PLAIN_KINDS or other in _PLAIN_KINDS:
        return False
    return not (_is_money(one) or _is_money(other)) or not (one and other)


def find_figures(text: str) -> tuple[Figure, ...]:
    """The figures of ``text``, in order. Spans are of ``text`` itself, also with wide digits."""
    plain = _without_others(text.translate(_NARROW))
    found = [
        figure for match in _FIGURE.finditer(plain) if (figure := _read(match, text)) is not None
    ]
    return tuple(_with_ranges(found, plain))


# What has digits and is no figure. It is replaced by characters that join nothing, as many.

_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_MONTH = re.compile(_MONTHS, re.IGNORECASE)
_LABELS = frozenset({
    "annex", "appendix", "article", "articles", "chapter", "chapters", "class", "covid", "d",
    "day", "days", "deliverable", "deliverables", "fig", "fig.", "figure", "figures", "fy", "g",
    "grade", "group", "groups", "h", "iec", "ieee", "iso", "item", "items", "ks", "level",
    "levels", "m", "milestone", "milestones", "month", "months", "no.", "nsf", "number", "numbers",
    "objective", "objectives", "option", "options", "p.", "package", "packages", "page", "pages",
    "part", "parts", "phase", "phases", "pp.", "q", "question", "questions", "regulation", "rfc",
    "risk", "risks", "round", "rounds", "rule", "scenario", "scenarios", "scope", "section",
    "sections", "series", "source", "sources", "stage", "stages", "step", "steps", "table",
    "tables", "task", "tasks", "tier", "tiers", "trl", "v", "ver.", "version", "week", "weeks",
    "wp", "year", "years",
})  # fmt: skip
_YEAR = r"(?:19|20)\d\d"
_SPAN = rf"(?:\s?[-~∼〜–/]\s?(?:{_YEAR}|\d\d)(?![\d%,]))?"
_COUNTED = r"천|[만억조명개건대회곳원톤호달유엔위]|x\b|×|(?:million|billion|bn|mn)\b"
_MARKED = re.compile(
    r"https?://[^\s<>)\]]+|www\.[^\s<>)\]]+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}"
    r"|\[[\^#]?\d{1,3}\](?:\([^)\s]{0,400}\))?"
    # Numbers of headings and of list items.
    r"|^[ \t>]{0,8}(?:\#{1,6}[ \t]*)?(?:[-*+◦□○][ \t]+)?"
    r"(?:\d{1,2}(?:\.\d{1,2}){0,3}[.)]|\(\d{1,2}\))(?=[ \t])"
    r"|^[ \t]{0,3}\#{1,6}[ \t]+\d{1,2}(?:\.\d{1,2}){0,3}(?=[ \t])",
    re.MULTILINE,
)
_BY_DIGITS = re.compile(
    r"(?<!\d)(?=\d)(?:"
    # Dates and times.
    rf"{_YEAR}\s?[-./]\s?(?:1[0-2]|0?[1-9])(?!\d)(?:\s?[-./]\s?\d{{1,2}})?\.?(?!\d|,\d|%)"
    rf"|\d{{1,2}}[-/]\d{{1,2}}[-/](?:{_YEAR}|\d\d)(?!\d)"
    r"|\d{1,2}\s?월(?:\s?\d{1,2}\s?일)?(?!간)"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s+(?i:{_MONTHS})(?![A-Za-z])(?:,?\s+{_YEAR})?"
    r"|\d{1,2}:\d{2}(?::\d{2})?(?!\d)"
    # Years, and spans of years.
    rf"|(?<!\d[.,])(?<![$₩€£]){_YEAR}{_SPAN}"
    rf"(?:\s?년(?:도|대|말|초|형)?|(?!\d|[.,]\d|\s?%|\s?(?:{_COUNTED})))"
    # Telephone and registration numbers, versions, ratios.
    r"|\d{1,4}(?:[-)]\s?\d{2,4}){1,2}-\d{4}(?!\d)|\d{6}-\d{7}(?!\d)"
    r"|(?<![\d][.,])\d{1,9}(?:\.\d{1,9}){2,9}"
    r"|(?<!\d[.,])\d{1,3}\s?[:/]\s?\d{1,3}(?!\d|[.,]\d|/|\s?%)"
    # Ordinals, and digits that are part of a word (5G).
    r"|\d{1,4}(?:st|nd|rd|th)\b|\d{1,2}[GD]\b"
    r"|\d{1,4}\s?(?:년\s?차|차\s?년도|차(?![가-힣])|단계|순위|위(?=[\s,.)를로의가와]|$)|번째|분기|호기?(?![가-힣])"
    r"|학년|세대|급(?![가-힣])|등급|항|절)"
    r"|1\s?[가-힣]{1,3}당"
    r")"
)
_BY_SIGNS = re.compile(
    r"['’]\d\d(?:\s?[-~]\s?['’]?\d\d)?(?=년|\b)|제\s?\d{1,4}(?:[-.]\d{1,4})*"
    r"|(?<![가-힣])(?:표|그림|부록|별첨|별지|붙임)\s?\d{1,3}(?:[-.]\d{1,3})*(?!\d)"
)
_AFTER_A_WORD = re.compile(
    r"(?<![A-Za-z\d_$])([A-Za-z]{1,16}\.?)([ \t#-]?)(\d{1,9}(?:\.\d{1,9}){0,3})"
    r"(?!\d|,\d{3}|\.\d|[ \t]?%|[ \t](?:million|billion|trillion)\b)([A-Za-z]{0,16})"
    r"(?:[ \t]?(?:-|–|to|and|~)[ \t]?\d{1,3}(?![\d,.%]))?"
)
_CODES = re.compile("US|USD|KRW|EUR|GBP|JPY|CNY", re.IGNORECASE)
_BLANK = "\x00"
_NARROW: dict[int, int | str] = {
    **{wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)},
    ord("￦"): "₩",
    ord("\u2212"): "-",
    ord("\u2011"): "-",
    0xA0: " ",
    0x202F: " ",
    0x2009: " ",
}


def _without_others(plain: str) -> str:
    plain = _MARKED.sub(_blank, plain)
    plain = _BY_SIGNS.sub(_blank, plain)
    plain = _BY_DIGITS.sub(_blank, plain)
    return _AFTER_A_WORD.sub(_blank_if_label, plain)


def _blank(match: re.Match[str]) -> str:
    return _BLANK * len(match[0])


def _blank_if_label(match: re.Match[str]) -> str:
    """``Table 3``, ``May 5``, ``GPT-4`` and ``B2B`` go; ``USD 5`` and ``about 5`` stay."""
    word, gap = match[1].lower(), match[2]
    if _CODES.fullmatch(word):
        return match[0]
    inside = gap in ("", "-") and not word.endswith(".")
    if inside or word in _LABELS or _MONTH.fullmatch(word):
        return _blank(match)
    return match[0]


# Figures themselves.

_COUNTERS = (
    "개월|개사|개소|개국|개|명|건|대|년|주|일|시간|분|초|회|곳|사|가구|톤|점|종|편|인|세|평|병상|기관"
    "|매장|농가|가지|마리|그루|권|장|채|석|배럴|리터|도|포인트|쌍|팀|군데|학점|시군|호"
)
_KOREAN_MONEY = "원|달러|유로|엔|위안|파운드"
_KOREAN_SCALE = r"[십백천만억조]{1,3}"
_KOREAN = (
    rf"{NUMBER}(?:{_KOREAN_SCALE}|\s{_KOREAN_SCALE}(?=\s?(?:{_KOREAN_MONEY}|{_COUNTERS})|[^\w가-힣]|$))"
    rf"(?:\s?{NUMBER}{_KOREAN_SCALE}){{0,4}}(?:\s?(?:\d,\d{{3}}|\d{{1,4}})(?=\s?(?:{_KOREAN_MONEY})))?"
)
_FIGURE = re.compile(
    rf"(?:(?<![^\s(|:,\x00])(?P<sign>[-△▲]))?"
    rf"(?P<before>(?:(?<![A-Za-z])US\$|(?<![A-Za-z])(?:USD|KRW|EUR|JPY|GBP|CNY)|[$₩€£])\s?)?"
    rf"(?P<sign2>(?<=[$₩€£])-)?"
    rf"(?<![\d.])(?<!\d,)(?P<body>{_KOREAN}|{NUMBER})(?!\d|[.,]\d)"
    rf"(?:(?P<letter>[KkMmBbTt](?:[Nn])?(?![A-Za-z\d]))|[\s-]?(?P<scale>{WORD_SCALE})(?![A-Za-z]))?"
    rf"(?:\s?(?:여\s?)?(?:(?P<point>%\s?[pP](?![A-Za-z])|%포인트|퍼센트포인트|percentage points?\b)"
    rf"|(?P<percent>%|퍼센트|percent\b|per cent\b|프로(?![가-힣]))"
    r"|(?P<multiple>배(?!럴|터|포|송|관|경|치|출|정|수|분)"
    r"|[xX×](?![A-Za-z\d]|\s?[₩$€£(\d]|\s[A-Z]{3}\s?\d)|times\b|-?fold\b)"
    rf"|(?P<after>{CURRENCY_MARK})"
    rf"|(?P<counter>{_COUNTERS})|(?P<word>[A-Za-z][A-Za-z²³/]*|[가-힣]{{1,6}})))?"
)
_NO_UNITS = frozenset({
    "a", "after", "an", "and", "are", "as", "at", "before", "but", "by", "can", "down", "each",
    "for", "from", "had", "has", "have", "he", "if", "in", "into", "is", "it", "its", "may", "of",
    "on", "or", "our", "over", "per", "she", "than", "that", "the", "their", "these", "they",
    "this", "those", "through", "to", "under", "until", "up", "versus", "vs", "was", "we", "were",
    "when", "where", "which", "while", "who", "will", "with", "within", "would",
})  # fmt: skip
_PARTICLE = re.compile(
    r"(?:으로|에서|까지|부터|이며|이고|이다|보다|은|는|이|가|을|를|의|에|로|와|과|도)$"
)
_SINGLE_SCALES = {"t": 10**12, "b": 10**9, "m": 10**6, "k": 10**3}
_LAST_NUMBER = re.compile(r"([\d,]+(?:\.\d+)?)([십백천만억조]*)\s?\Z")
_POWERS = {"십": 1, "백": 2, "천": 3, "만": 4, "억": 8, "조": 12}
_MOST_DIGITS = 18


def _read(match: re.Match[str], source: str) -> Figure | None:
    body = match["body"]
    if sum(map(str.isdigit, body)) > _MOST_DIGITS:
        return None
    scale, end = _scale(match)
    unit, end = _unit(match, end)
    sign = -1 if match["sign"] or match["sign2"] else 1
    start = match.start()
    return Figure(
        text=source[start:end],
        start=start,
        end=end,
        quantity=Quantity(value=sign * korean_value(body) * scale, unit=unit),
        precision=_last_digit(body) * scale,
    )


def _scale(match: re.Match[str]) -> tuple[int, int]:
    """What the number is multiplied by, and where figure and scale end.

    ``5m`` is five million only where it is money: else it may be five metres.
    """
    if match["scale"]:
        word = match["scale"].lower()
        if len(word) > 1 or match["before"]:
            return SCALES[word], match.end("scale")
    if match["letter"]:
        letter = match["letter"]
        if match["before"] or match["after"] or letter in ("K", "k", "M", "B", "bn", "Bn", "Mn"):
            return _SINGLE_SCALES[letter[0].lower()], match.end("letter")
    return 1, match.end("body")


def _unit(match: re.Match[str], end: int) -> tuple[str, int]:
    """The unit, and where the figure ends with it."""
    for group, unit in (("point", PERCENT_POINT), ("percent", PERCENT), ("multiple", MULTIPLE)):
        if match[group]:
            return unit, match.end(group)
    if match["after"]:
        return marked_currency(match["after"]), match.end("after")
    if match["before"]:
        return marked_currency(match["before"].strip()), end
    if match["counter"]:
        return match["counter"], match.end("counter")
    for group in ("letter", "scale"):
        if match[group] and end < match.end(group):
            return match[group], match.end(group)
    word = match["word"] or ""
    unit = _PARTICLE.sub("", word) if word and word[0] >= "가" else word.lower()
    if not unit or unit in _NO_UNITS:
        return "", end
    return unit, match.start("word") + len(unit)


def _last_digit(body: str) -> Decimal:
    """The value of the last digit that ``body`` shows."""
    found = _LAST_NUMBER.search(body)
    if found is None:
        return Decimal(1)
    decimals = len(found[1].partition(".")[2])
    return Decimal(1).scaleb(sum(_POWERS[scale] for scale in found[2]) - decimals)


_RANGE = re.compile(r"\s?(?:[-~∼〜–—]|to|내지|에서)\s?")


def _with_ranges(figures: list[Figure], plain: str) -> Iterator[Figure]:
    """The figures; both ends of a range share currency, unit and scale."""
    for index, figure in enumerate(figures):
        before = figures[index - 1] if index else None
        after = figures[index + 1] if index + 1 < len(figures) else None
        if after is not None and _RANGE.fullmatch(plain, figure.end, after.start):
            yield _lower_end(figure, after)
        elif before is not None and _RANGE.fullmatch(plain, before.end, figure.start):
            unit = figure.quantity.unit or before.quantity.unit
            if _is_money(before.quantity.unit) and not _is_money(unit):
                unit = before.quantity.unit
            yield replace(figure, quantity=replace(figure.quantity, unit=unit), is_range=True)
        else:
            yield figure


def _lower_end(low: Figure, high: Figure) -> Figure:
    """``12`` of ``12~15만원`` is 120,000 won; ``5,000`` of ``5,000~1만`` is what it says."""
    value, precision = low.quantity.value, low.precision
    factor = high.precision.scaleb(_decimals(high.text))
    if low.precision <= 1 < factor and value * factor <= high.quantity.value:
        value, precision = value * factor, precision * factor
    unit = low.quantity.unit or high.quantity.unit
    return replace(
        low, quantity=Quantity(value=value, unit=unit), precision=precision, is_range=True
    )


def _decimals(text: str) -> int:
    found = re.search(r"\.(\d+)", text)
    return len(found[1]) if found else 0


def _is_money(unit: str) -> bool:
    return Quantity(value=Decimal(0), unit=unit).is_money
