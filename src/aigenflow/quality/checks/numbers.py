"""Q10 to Q13 and Q26: what can be calculated again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow

from aigenflow.core.models import Json
from aigenflow.core.numbers import MULTIPLE, Figure, find_figures
from aigenflow.core.quantities import PERCENT
from aigenflow.quality.amounts import (
    Amount,
    cell_amount,
    column_currency,
    currency_in,
    row_amounts,
    scale_in,
)
from aigenflow.quality.case import NOT_APPLICABLE, Case, Outcome, no_findings, outcome, unverifiable
from aigenflow.quality.document import Statement, Table
from aigenflow.quality.models import Finding

TOLERANCE = Decimal("0.005")
NSF_PHASE_1_USD = Decimal(305_000)
_TOTAL = re.compile(
    r"^(?:총\s?)?(?:합\s?계|총\s?계|계)\s*(?:\(.*)?$|^(?:grand )?totals?\s*(?:\(.*)?$",
    re.IGNORECASE,
)
_SUBTOTAL = re.compile(r"소\s?계|subtotal", re.IGNORECASE)
_NOT_ADDED = re.compile(
    r"단가|가격|\bprice|성장률|growth|평균|average|번호|^no\.?$|^연도$|^year$|기준\s?연도|시기|\bwhen\b"
    r"|참여율|of time|근거|basis|calculation|비고|remark",
    re.IGNORECASE,
)
_QUARTER = re.compile(r"Q[1-4]\b|[1-4]\s?분기")


# Q10


def tables_add_up(case: Case) -> Outcome:
    """Q10: abs(sum - total) <= rounding unit x n / 2, for rows and columns of totals."""
    checked, findings = 0, []
    for table in case.document.tables:
        for quote, added, total in _sums(table):
            checked += 1
            if not any(_equal_sum(parts, total) for parts in added):
                findings.append(_wrong_sum(case, table, quote, added[0], total))
    if not checked:
        return _empty_or_none(case, "use_of_funds", "cost_items", "budget")
    return outcome(1 - len(findings) / checked, 1.0, findings)


def _empty_or_none(case: Case, *tables: str) -> Outcome:
    """Nothing to calculate: not verified where the form asks for such a table, else no matter."""
    asked = {table.id for rule in case.inputs.sections or () for table in rule.tables}
    if asked.isdisjoint(tables):
        return NOT_APPLICABLE
    return unverifiable(case.say("the tables have no figures", "표에 수치가 없음"))


def _sums(table: Table) -> Iterator[tuple[str, Sequence[Sequence[Amount]], Amount]]:
    """What is a total, as the row's text, and the parts it may be the sum of."""
    yield from _sums_of_rows(table)
    total = _total_column(table.header)
    if total is None:
        return
    for row in table.rows:
        amounts = row_amounts(table, row)
        parts = [amounts[i] for i in range(1, total) if i in amounts and _is_added(table.header[i])]
        if total in amounts and len(parts) > 1:
            yield " | ".join(row), [parts], amounts[total]


def _total_column(header: Sequence[str]) -> int | None:
    for index, name in enumerate(header):
        if index and (_TOTAL.match(name) or re.search(r"\s합\s?계", name)):
            return index
    if len(header) > 5 and all(_QUARTER.match(name) for name in header[1:5]):
        return 5
    return None


def _sums_of_rows(table: Table) -> Iterator[tuple[str, Sequence[Sequence[Amount]], Amount]]:
    leaves: list[dict[int, Amount]] = []
    for row in table.rows:
        label = row[0] if row else ""
        amounts = row_amounts(table, row)
        is_subtotal = bool(_SUBTOTAL.search(label))
        if not is_subtotal and not _TOTAL.match(label):
            leaves.append(amounts)
            continue
        for column, total in amounts.items():
            if not _is_added(table.header[column]):
                continue
            parts = [leaf[column] for leaf in leaves if column in leaf]
            whole = all(column in leaf for leaf in leaves)
            if len(parts) < 2:
                continue
            ends = [parts[-n:] for n in range(len(parts), 1, -1)]
            added = ends if is_subtotal else [parts]
            if whole or any(_equal_sum(each, total) for each in added):
                yield " | ".join(row), added, total


def _is_added(header: str) -> bool:
    return not _NOT_ADDED.search(header)


def _equal_sum(parts: Sequence[Amount], total: Amount) -> bool:
    unit = max(part.precision for part in (*parts, total))
    return abs(sum(part.value for part in parts) - total.value) <= unit * len(parts) / 2


def _wrong_sum(
    case: Case, table: Table, quote: str, parts: Sequence[Amount], total: Amount
) -> Finding:
    return case.finding(
        "Q10",
        quote=quote,
        section=table.section,
        expected=_plain(sum((part.value for part in parts), Decimal(0))),
        found=_plain(total.value),
    )


# Q11

_GOVERNMENT = r"정부\s?지원|정부\s?출연|국고|government|^grant"
_OWN = r"기관\s?부담|자기\s?부담|자부담|own contribution|own share"
_CASH = r"현금|\bcash\b"
_IN_KIND = r"현물|in[- ]kind"
_SHARES = re.compile(r"^(?:share|weight)\b(?! of)|비중|구성비|지분|가중치", re.IGNORECASE)


def funding_identities(case: Case) -> Outcome:
    """Q11: government + own = total; cash + in kind = own; shares = 100; the programme's cap."""
    checked, findings = 0, []
    for table in case.document.tables:
        for quote, expected, found, tolerance in (*_identities(table), *_share_sums(table)):
            checked += 1
            if abs(expected - found) > tolerance:
                findings.append(
                    case.finding(
                        "Q11",
                        quote=quote,
                        section=table.section,
                        expected=_plain(expected),
                        found=_plain(found),
                    )
                )
    for quote, expected, found in _model_identities(case.inputs.model or {}):
        checked += 1
        if abs(expected - found) > 1:
            findings.append(
                case.finding("Q11", quote=quote, expected=_plain(expected), found=_plain(found))
            )
    findings += _over_the_cap(case)
    if not checked and not findings:
        return _empty_or_none(case, "funding_shares", "funding_sources", "use_of_funds")
    return outcome(1 - len(findings) / max(checked, len(findings)), 1.0, findings)


def _identities(table: Table) -> Iterator[tuple[str, Decimal, Decimal, Decimal]]:
    named: dict[str, tuple[str, ...]] = {}
    for row in table.rows:
        if row and (name := _role_of_money(row[0].lower())):
            named.setdefault(name, row)
    amounts = {name: row_amounts(table, row) for name, row in named.items()}
    for parts, whole in ((("cash", "kind"), "own"), (("government", "own"), "total")):
        if whole not in amounts or any(part not in amounts for part in parts):
            continue
        for column, total in amounts[whole].items():
            added = [amounts[part][column] for part in parts if column in amounts[part]]
            if len(added) == len(parts):
                tolerance = max(each.precision for each in (*added, total))
                yield (
                    " | ".join(named[whole]),
                    sum((each.value for each in added), Decimal(0)),
                    total.value,
                    tolerance,
                )


def _role_of_money(label: str) -> str:
    if re.search(_GOVERNMENT, label):
        return "government"
    if re.search(_OWN, label):
        in_cash, in_kind = re.search(_CASH, label), re.search(_IN_KIND, label)
        return "cash" if in_cash else "kind" if in_kind else "own"
    return "total" if _TOTAL.match(label) or re.match(r"총|total", label) else ""


def _share_sums(table: Table) -> Iterator[tuple[str, Decimal, Decimal, Decimal]]:
    for column, header in enumerate(table.header):
        if not column or not _SHARES.search(header) or "%" not in header + table.caption:
            continue
        leaves = [
            amount.value
            for row in table.rows
            if column < len(row)
            and not _TOTAL.match(row[0])
            and not _SUBTOTAL.search(row[0])
            and (amount := cell_amount(row[column]))
        ]
        if len(leaves) > 1 and len(leaves) >= len(table.rows) - 2:
            rounding = Decimal("0.1") if any(v % 1 for v in leaves) else Decimal(len(leaves)) / 20
            yield (
                f"{table.caption}: {header}",
                Decimal(100),
                sum(leaves, Decimal(0)),
                max(Decimal("0.1"), rounding),
            )


def _model_identities(model: Mapping[str, Json]) -> Iterator[tuple[str, Decimal, Decimal]]:
    budget = model.get("rd_budget") or {}
    for parts, whole in ((("own_cash", "own_in_kind"), "own"), (("government", "own"), "total")):
        columns = [budget.get(name) or () for name in (*parts, whole)]
        for each in zip(*columns, strict=False):
            *added, total = (_decimal(value) for value in each)
            yield f"{' + '.join(parts)} = {whole}", sum(added, Decimal(0)), total
    use = model.get("use_of_funds") or {}
    if use.get("items") and use.get("total") is not None:
        items = sum((_decimal(amount) for _name, amount in use["items"]), Decimal(0))
        yield "use_of_funds", items, _decimal(use["total"])


def _over_the_cap(case: Case) -> list[Finding]:
    if case.inputs.template != "sbir":
        return []
    return [
        case.finding(
            "Q11",
            quote=" | ".join(row),
            section=table.section,
            expected=case.say("at most USD 305,000 (Phase I)", "305,000달러 이하(1단계)"),
            found=_plain(amount.value),
        )
        for table in case.document.tables
        if case.has_theme(table.section, "finance")
        for row in table.rows
        if row and _TOTAL.match(row[0])
        for column, amount in row_amounts(table, row).items()
        if (amount.unit or column_currency(table, column)) in ("", "USD")
        and column_currency(table, column) == "USD"
        and amount.value > NSF_PHASE_1_USD
    ]


# Q12

_LINES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "revenue": r"^매출(?:액)?(?:\s*\(.*)?$|^(?:total |net )?(?:revenues?|sales)(?:\s*\(.*)?$",
        "cogs": r"매출\s?원가|cost of (?:goods )?(?:sold|sales|revenue)|^cogs",
        "gross_profit": r"매출\s?총이익(?!률)|gross profit(?! margin)",
        "opex": r"판매비|판관비|^영업\s?비용|operating (?:expenses|costs)|^opex",
        "ebit": r"^영업\s?이익(?!률)|operating (?:profit|result|income)(?! margin)|^ebit\b",
        "financed": r"부채와\s?자본|liabilities and equity",
        "assets": r"^자산\s?(?:총계|합계|계)?(?:\s*\(.*)?$|^total assets",
        "liabilities": r"^부채|^차입금|^(?:total )?liabilities|^debt",
        "equity": r"^자본\s?(?:총계|합계|계)?(?:\s*\(.*)?$|^(?:total )?equity(?:\s*\(.*)?$",
        "operations": r"영업활동|cash from operati",
        "investing": r"투자활동|cash from investing",
        "financing": r"재무활동|cash from financing",
        "opening": r"기초\s?현금|opening cash|cash at (?:the )?(?:start|beginning)",
        "flow": r"현금\s?(?:순)?(?:증감|흐름)|순\s?현금|net (?:cash )?(?:flow|change)|^cash flow",
        "closing": r"기말\s?현금|closing cash|cash at (?:the )?end",
        "fixed": r"고정비|fixed costs?",
        "contribution": r"공헌이익|contribution per",
        "volume": r"손익분기\s?(?:판매량|수량)|break-even (?:volume|units|quantity)",
        "ltv": r"^(?:LTV|고객 생애 ?가치|(?:customer )?lifetime value)(?!\s*/)",
        "cac": r"^(?:CAC|고객 ?획득 ?비용|customer acquisition cost)",
        "ltv_cac": r"LTV\s?/\s?CAC",
    }.items()
}
_STATEMENTS = (
    ("revenue", "cogs", "gross_profit"),
    ("gross_profit", "opex", "ebit"),
    ("assets", "liabilities", "equity"),
)


def statements(case: Case) -> Outcome:
    """Q12: the lines of the statements follow from each other, and from the model."""
    results = [
        (table.section, *result)
        for table in case.document.tables
        for result in (*_statement_lines(table), *_products(table), *_ratios(table))
    ]
    results += [
        (table.section, *result)
        for table in case.document.tables
        for result in _against_model(table, case.inputs.model)
    ]
    results += [
        (statement.section, *result)
        for statement in case.document.sentences
        for result in (*_growth(statement), *_ltv_to_cac(statement))
    ]
    if not results:
        return _empty_or_none(case, "income_statement")
    findings = [
        case.finding(
            "Q12", quote=quote, section=section, expected=_plain(expected), found=_plain(found)
        )
        for section, quote, expected, found, tolerance in results
        if abs(expected - found) > tolerance
    ]
    return outcome(1 - len(findings) / len(results), 1.0, findings)


_Result = tuple[str, Decimal, Decimal, Decimal]
"""What is looked at, what it should be, what it is, and how far both may be apart."""


def _named_rows(table: Table) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in table.rows:
        for name, pattern in _LINES.items():
            if row and pattern.search(row[0].strip("*_ ")):
                found.setdefault(name, row)
                break
    return found


def _statement_lines(table: Table) -> Iterator[_Result]:
    rows = _named_rows(table)
    amounts = {name: row_amounts(table, row) for name, row in rows.items()}

    def together(*names: str) -> Iterator[tuple[int, list[Amount]]]:
        if all(name in amounts for name in names):
            for column in amounts[names[0]]:
                if all(column in amounts[name] for name in names):
                    yield column, [amounts[name][column] for name in names]

    for whole, part, rest in _STATEMENTS:
        for _column, (one, two, three) in together(whole, part, rest):
            unit = max(each.precision for each in (one, two, three)) * 2
            yield " | ".join(rows[rest]), one.value - abs(two.value), three.value, unit
    for _column, (one, two) in together("assets", "financed"):
        yield " | ".join(rows["financed"]), one.value, two.value, one.precision
    yield from _cash_lines(rows, amounts, together)


def _cash_lines(
    rows: Mapping[str, tuple[str, ...]],
    amounts: Mapping[str, Mapping[int, Amount]],
    together: Callable[..., Iterator[tuple[int, list[Amount]]]],
) -> Iterator[_Result]:
    """Opening cash and the flows give closing cash, and that is the next year's opening cash."""
    flows = ("operations", "investing", "financing")
    parts = flows if all(name in amounts for name in flows) else ("flow",)
    for _column, values in together("opening", *parts, "closing"):
        *added, end = values
        unit = max(each.precision for each in values) * len(added)
        expected = sum((each.value for each in added), Decimal(0))
        yield " | ".join(rows["closing"]), expected, end.value, unit
    closing, opening = amounts.get("closing", {}), amounts.get("opening", {})
    for column, start in opening.items():
        if column - 1 in closing:
            end = closing[column - 1]
            yield (
                " | ".join(rows["opening"]),
                end.value,
                start.value,
                max(end.precision, start.precision),
            )


def _products(table: Table) -> Iterator[_Result]:
    """Price x quantity = amount, where a table has the three columns."""
    price = table.column("단가", "unit price")
    volume = table.column("수량", "quantity")
    amount = table.column("금액", "amount", "매출")
    if price is None or volume is None or amount is None:
        return
    for row in table.rows:
        amounts = row_amounts(table, row)
        if _TOTAL.match(row[0]) or not {price, volume, amount} <= amounts.keys():
            continue
        expected = amounts[price].value * (cell_amount(row[volume]) or amounts[volume]).value
        found = amounts[amount].value
        yield (
            " | ".join(row),
            expected,
            found,
            max(amounts[amount].precision, abs(expected) * TOLERANCE),
        )


def _ratios(table: Table) -> Iterator[_Result]:
    """Break-even and LTV/CAC from the other rows of the same table."""
    rows = _named_rows(table)
    amounts = {name: row_amounts(table, row) for name, row in rows.items()}
    for whole, per, result in (("fixed", "contribution", "volume"), ("ltv", "cac", "ltv_cac")):
        for column, found in amounts.get(result, {}).items():
            over, under = (amounts.get(name, {}).get(column) for name in (whole, per))
            if over is None or under is None or not under.value:
                continue
            expected = over.value / under.value
            tolerance = max(abs(expected) * TOLERANCE, found.precision)
            yield " | ".join(rows[result]), expected, found.value, tolerance


def _against_model(table: Table, model: Mapping[str, Json] | None) -> Iterator[_Result]:
    """Revenue and operating profit of a statement are those of the model's base case."""
    base = ((model or {}).get("scenarios") or {}).get("base") or {}
    rows = _named_rows(table)
    if not {"revenue", "ebit"} <= rows.keys() or any(map(_QUARTER.match, table.header)):
        return
    for name in ("revenue", "ebit"):
        computed = [_decimal(value) for value in base.get(name) or ()]
        amounts = row_amounts(table, rows[name])
        if len(amounts) != len(computed):
            continue
        for (_column, found), expected in zip(sorted(amounts.items()), computed, strict=True):
            yield " | ".join(rows[name]), expected, found.value, found.precision


_GROWTH = re.compile(r"CAGR|연평균|compound annual|per year on average", re.IGNORECASE)
_YEARS = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")


def _growth(statement: Statement) -> Iterator[_Result]:
    """The growth rate between two amounts of two years, in per cent."""
    if not _GROWTH.search(statement.text):
        return
    rates = [f for f in statement.figures if f.quantity.unit == PERCENT]
    amounts = [f for f in statement.figures if f.quantity.is_money and f.quantity.value > 0]
    years = [int(year) for year in _YEARS.findall(statement.text)]
    if len(rates) != 1 or len(amounts) != 2 or len(years) != 2 or years[0] == years[1]:
        return
    (start, begin), (end, finish) = sorted(zip(years, amounts, strict=True), key=lambda p: p[0])
    ratio = finish.quantity.value / begin.quantity.value
    expected = (ratio ** (Decimal(1) / (end - start)) - 1) * 100
    loose = _rounding(begin, finish) * 100 / (end - start) * (1 + expected / 100)
    tolerance = max(Decimal("0.5"), rates[0].precision, loose)
    yield statement.text, expected.quantize(Decimal("0.1")), rates[0].quantity.value, tolerance


def _rounding(*figures: Figure) -> Decimal:
    """How far the ratio of two figures can be off because they are rounded, as a fraction."""
    return sum((f.precision / 2 / f.quantity.value for f in figures), Decimal(0))


def _ltv_to_cac(statement: Statement) -> Iterator[_Result]:
    if not re.search(r"LTV\s?/\s?CAC", statement.text):
        return
    money = [f for f in statement.figures if f.quantity.is_money and f.quantity.value > 0]
    ratio = [f for f in statement.figures if f.quantity.unit in ("", MULTIPLE)]
    if len(money) == 2 and len(ratio) == 1:
        large, small = sorted((f.quantity.value for f in money), reverse=True)
        tolerance = max(ratio[0].precision, large / small * TOLERANCE)
        yield (
            statement.text,
            (large / small).quantize(Decimal("0.1")),
            ratio[0].quantity.value,
            tolerance,
        )


# Q13

_MARKETS = (
    ("TAM", r"\bTAM\b|전체\s?시장|세계\s?시장|world market"),
    ("SAM", r"\bSAM\b|유효\s?시장|국내\s?시장|domestic market"),
    ("SOM", r"\bSOM\b|수익\s?시장|목표\s?시장|target market"),
)
_SOM_SHARE = Decimal("0.3")


def market_logic(case: Case) -> Outcome:
    """Q13: TAM >= SAM >= SOM in one year and currency; revenue of year 3 <= SOM."""
    found = list(_markets(case))
    if not found:
        wanted = any(t.id == "market_size" for r in case.inputs.sections or () for t in r.tables)
        if wanted:
            return unverifiable(
                case.say("no table gives TAM, SAM and SOM", "TAM·SAM·SOM 수치가 있는 표가 없음")
            )
        return NOT_APPLICABLE
    findings: list[Finding] = []
    for section, sizes, years, currencies in found:
        findings += _order_of_sizes(case, section, sizes)
        findings += _one_basis(case, section, years, currencies)
        revenue = _third_year_revenue(case)
        if revenue is not None and "SOM" in sizes and revenue > sizes["SOM"]:
            findings.append(
                case.finding(
                    "Q13",
                    quote=f"SOM {_plain(sizes['SOM'])}",
                    section=section,
                    expected=case.say("year-3 revenue within the SOM", "3차 연도 매출 ≤ SOM"),
                    found=case.say(f"revenue {_plain(revenue)}", f"매출 {_plain(revenue)}"),
                )
            )
    return no_findings(findings, of=4)


_Markets = tuple[int | None, dict[str, Decimal], dict[str, str], set[str]]


def _markets(case: Case) -> Iterator[_Markets]:
    """The market's sizes by section, in whole currency; by table, and by the model."""
    for table in case.document.tables:
        column = table.column("금액", "규모", "amount", "size", "value")
        year = table.column("연도", "year")
        sizes: dict[str, Decimal] = {}
        years: dict[str, str] = {}
        currencies: set[str] = set()
        for row in table.rows:
            name = next((n for n, p in _MARKETS if row and re.search(p, row[0], re.I)), None)
            amounts = row_amounts(table, row)
            if name is None or column is None or column not in amounts or name in sizes:
                continue
            sizes[name] = amounts[column].value
            unit = amounts[column].unit
            currencies.add(currency_in(row[column]) or unit or column_currency(table, column))
            if year is not None and year < len(row) and _YEARS.search(row[year]):
                years[name] = row[year]
        if len(sizes) > 1:
            yield table.section, sizes, years, currencies
    market = (case.inputs.model or {}).get("market") or {}
    sizes = {n: _decimal(market[n.lower()]) for n, _p in _MARKETS if market.get(n.lower())}
    if len(sizes) > 1:
        yield None, sizes, {}, set()


def _order_of_sizes(
    case: Case, section: int | None, sizes: Mapping[str, Decimal]
) -> Iterator[Finding]:
    names = [name for name, _pattern in _MARKETS if name in sizes]
    for larger, smaller in itertools.pairwise(names):
        if sizes[larger] < sizes[smaller]:
            yield case.finding(
                "Q13",
                quote=f"{larger} {_plain(sizes[larger])}, {smaller} {_plain(sizes[smaller])}",
                section=section,
                expected=f"{larger} ≥ {smaller}",
                found=f"{larger} < {smaller}",
            )
    if {"SAM", "SOM"} <= sizes.keys() and sizes["SOM"] > sizes["SAM"] * _SOM_SHARE:
        yield case.finding(
            "Q13",
            quote=f"SOM {_plain(sizes['SOM'])}, SAM {_plain(sizes['SAM'])}",
            section=section,
            expected="SOM/SAM ≤ 0.3",
            found=f"{sizes['SOM'] / sizes['SAM']:.2f}",
            severity="warning",
        )


def _one_basis(
    case: Case, section: int | None, years: Mapping[str, str], currencies: set[str]
) -> Iterator[Finding]:
    distinct = {match[1] for text in years.values() if (match := _YEARS.search(text))}
    for values, en, ko in (
        (distinct, "one reference year", "하나의 기준연도"),
        (currencies, "one currency", "하나의 통화"),
    ):
        if len(values) > 1:
            yield case.finding(
                "Q13",
                quote=", ".join(f"{name} {year}" for name, year in years.items())
                or "TAM, SAM, SOM",
                section=section,
                expected=case.say(en, ko),
                found=", ".join(sorted(values)),
            )


def _third_year_revenue(case: Case) -> Decimal | None:
    base = ((case.inputs.model or {}).get("scenarios") or {}).get("base") or {}
    revenue = list(base.get("revenue") or [])
    if len(revenue) > 2:
        return _decimal(revenue[2])
    for table in case.document.tables:
        rows = _named_rows(table)
        if {"revenue", "ebit"} <= rows.keys():
            amounts = sorted(row_amounts(table, rows["revenue"]).items())
            if len(amounts) > 2:
                return amounts[2][1].value
    return None


# Q26

_AMOUNT = re.compile(
    r"금액|매출(?!원가율|총이익률)|비용|예산|사업비|단가|\bamount|\bcost|\brevenue|\bprice|\bbudget",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"(?:1\s?(?:달러|USD)|USD\s?1|US\$1|\$1)\s*(?:=|당|=\s*)?\s*(?:KRW\s?|₩)?([\d,]+(?:\.\d+)?)\s?(?:원|KRW|won)?"
    r"|([\d,]+(?:\.\d+)?)\s?원\s?/\s?(?:달러|USD)",
)
_EACH = re.compile(r"[가-힣]당\b|단가|\bper\b|price", re.IGNORECASE)
_SCALE_WORDS = re.compile(
    r"천\s?원|만\s?원|백만\s?원|억\s?원|thousand|million|billion", re.IGNORECASE
)


def units(case: Case) -> Outcome:
    """Q26: amounts have units, a table has one scale, one exchange rate is used."""
    findings = [*_unit_findings(case), *_rate_findings(case)]
    return no_findings(findings, of=max(1, len(case.document.tables)))


def _unit_findings(case: Case) -> Iterator[Finding]:
    for table in case.document.tables:
        scales = {
            re.sub(r"\s", "", word.lower())
            for name in table.header
            if (_AMOUNT.search(name) or "원" in name) and not _EACH.search(name)
            for word in _SCALE_WORDS.findall(name)
        }
        if len(scales) > 1:
            yield case.finding(
                "Q26",
                quote=f"{table.caption} | {' | '.join(table.header)}",
                section=table.section,
                expected=case.say("one scale in a table", "표 하나에 한 가지 단위"),
                found=", ".join(sorted(scales)),
            )
        for column, name in enumerate(table.header):
            if column and _AMOUNT.search(name) and _lacks_unit(table, column):
                yield case.finding(
                    "Q26",
                    quote=f"{table.caption} | {name}",
                    section=table.section,
                    expected=case.say("amounts with their unit", "단위가 붙은 금액"),
                    found=case.say("numbers without a unit", "단위 없는 수치"),
                )


def _lacks_unit(table: Table, column: int) -> bool:
    around = f"{table.header[column]} {table.caption} {table.note}"
    if scale_in(table.header[column]) is not None:
        return False
    if re.search(r"원|%|달러|유로|[$€£₩]|\b[A-Z]{3}\b|단위|unit|currency|person|인월|M/M", around):
        return False
    cells = [(row[0], row[column]) for row in table.rows if column < len(row)]
    bare = [
        (label, amount)
        for label, cell in cells
        if (amount := cell_amount(cell)) and not amount.unit and abs(amount.value) >= 100
    ]
    return any(scale_in(label) is None and not currency_in(label) for label, _amount in bare)


def _rate_findings(case: Case) -> Iterator[Finding]:
    rates: dict[Decimal, Statement] = {}
    for statement in case.document.statements:
        for match in _RATE.finditer(statement.text):
            value = _decimal((match[1] or match[2]).replace(",", ""))
            if value > 100:
                rates.setdefault(value, statement)
    if len(rates) > 1:
        quoted = list(rates.values())[1]
        yield case.finding(
            "Q26",
            quote=quoted.text,
            section=quoted.section,
            expected=case.say("one stated exchange rate", "하나의 적용 환율"),
            found=", ".join(_plain(rate) for rate in rates),
        )
    elif rates:
        yield from _conversions(case, next(iter(rates)))


def _conversions(case: Case, rate: Decimal) -> Iterator[Finding]:
    """``3.5억 원(약 25만 달러)``: both sides of a parenthesis at the stated rate, within 1 %."""
    pair = re.compile(
        r"([^\s(]{1,20}(?:\s[^\s(]{1,12}){0,2})\s?\((?:약|about|approx\.?)?\s?([^()]{2,30})\)"
    )
    for statement in case.document.statements:
        for match in pair.finditer(statement.text):
            one, two = find_figures(match[1]), find_figures(match[2])
            if not one or len(two) != 1:
                continue
            by_unit = {f.quantity.unit: f for f in (one[-1], two[0])}
            if by_unit.keys() != {"KRW", "USD"}:
                continue
            won, dollars = by_unit["KRW"], by_unit["USD"]
            loose = _rounding(won, dollars) + Decimal("0.01")
            expected = dollars.quantity.value * rate
            if abs(won.quantity.value - expected) > expected * loose:
                yield case.finding(
                    "Q26",
                    quote=statement.text,
                    section=statement.section,
                    expected=_plain(expected),
                    found=_plain(won.quantity.value),
                )


def _decimal(value: Json) -> Decimal:
    try:
        return Decimal(str(value))
    except (InvalidOperation, DivisionByZero, Overflow):
        return Decimal(0)


def _plain(value: Decimal) -> str:
    text = f"{value.quantize(Decimal('0.01')):,f}" if abs(value) < 10**20 else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
