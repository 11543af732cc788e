"""The model's charts, as data in the document's language. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from aigenflow.core.arithmetic import format_money, format_number, product, ratio
from aigenflow.core.charts import Bars, Chart, Columns, Curves, Series, Span, Spans, Stairs
from aigenflow.core.models import Language
from aigenflow.finance.drivers import ASSUMPTION, BRIEF, Driver, Drivers
from aigenflow.finance.model import BASE, DOWN, UP, FinancialModel
from aigenflow.finance.tables import Sheet

_MOST_ROWS = 24
_WON_SCALES = ((Decimal(10) ** 8, "억원"), (Decimal(10) ** 6, "백만원"), (Decimal(1000), "천원"))
_SCALES = ((Decimal(10) ** 6, "million", "백만"), (Decimal(1000), "thousand", "천"))
_LEAST_AT_THE_TOP = 10  # an axis that ends below this is drawn in the next smaller unit


def charts(model: FinancialModel, drivers: Drivers, language: Language) -> tuple[Chart, ...]:
    """Every chart that the model has the data for, in the order of a document."""
    sheet = Sheet(model=model, drivers=drivers, language=language)
    made = (make(sheet) for make in _CHARTS)
    return tuple(chart for chart in made if chart is not None)


def _market(sheet: Sheet) -> Chart | None:
    sizes = list(sheet.model.market.items())
    if len(sizes) < 2 or sheet.drivers.market is None:
        return None
    largest = sizes[0][1]
    texts = []
    for name, size in sizes:
        text = format_money(size, sheet.model.currency, sheet.language)
        share = ratio(size, largest)
        if name != sizes[0][0] and sizes[0][0] == "tam" and share is not None:
            text += f" ({sheet.say('share_of_tam', share=_share(share))})"
        texts.append(text)
    year = f" ({sheet.model.market_year})" if sheet.model.market_year else ""
    given = (sheet.drivers.market.tam, sheet.drivers.market.sam, sheet.drivers.market.som)
    return Chart(
        name="market",
        caption=sheet.say("chart_market", year=year),
        source=_origins([size for size in given if size is not None], sheet),
        table="market_size",
        drawing=Bars(
            labels=tuple(sheet.say(name) for name, _size in sizes),
            values=tuple(size for _name, size in sizes),
            texts=tuple(texts),
        ),
    )


def _share(fraction: Decimal) -> str:
    percent = product(fraction, Decimal(100))
    return format_number(percent, 1 if percent >= 1 else 2)


def _origins(given: list[Driver], sheet: Sheet) -> str:
    """``[3], [7], assumption``: where the numbers of a chart come from."""
    names = []
    for origin in sorted({driver.origin for driver in given}):
        known = origin in (BRIEF, ASSUMPTION)
        names.append(sheet.say(f"source_{origin}") if known else f"[{origin[1:]}]")
    return ", ".join(names)


def _revenue(sheet: Sheet) -> Chart | None:
    cases = [case for case in (DOWN, BASE, UP) if case in sheet.model.scenarios]
    if not cases:
        return None
    if len(cases) > 1:
        rows = [(sheet.say(case), sheet.model.scenarios[case]["revenue"]) for case in cases]
    else:
        names = [name for name in ("revenue", "ebit") if name in sheet.model.base]
        rows = [(sheet.say(name), sheet.model.base[name]) for name in names]
    scale, unit = _axis([value for _name, row in rows for value in row], sheet)
    caption = "chart_revenue" if len(cases) > 1 or len(rows) == 1 else "chart_revenue_one"
    return Chart(
        name="revenue",
        caption=sheet.say(caption),
        source=sheet.say("source_model"),
        table="income_statement",
        drawing=Columns(steps=_steps(sheet), series=_series(rows, scale), unit=unit),
    )


def _cash(sheet: Sheet) -> Chart | None:
    cases = [case for case in (DOWN, BASE, UP) if "cash" in sheet.model.scenarios.get(case, {})]
    if not cases or len(sheet.model.years) < 2:
        return None
    rows = [(sheet.say(case), sheet.model.scenarios[case]["cash"]) for case in cases]
    scale, unit = _axis([value for _name, row in rows for value in row], sheet)
    return Chart(
        name="cash",
        caption=sheet.say("chart_cash"),
        source=sheet.say("source_model"),
        table="cash_flow",
        drawing=Curves(steps=_steps(sheet), series=_series(rows, scale), unit=unit),
    )


def _gantt(sheet: Sheet) -> Chart | None:
    tasks = sorted(sheet.drivers.tasks, key=lambda work: (work.start_month, work.end_month))
    if len(tasks) < 2:
        return None
    rows = (
        Span(label=work.name, start=work.start_month, end=work.end_month, owner=work.owner)
        for work in tasks[:_MOST_ROWS]
    )
    return Chart(
        name="schedule",
        caption=sheet.say("chart_gantt"),
        source=sheet.say("source_plan"),
        table="schedule",
        drawing=Spans(rows=tuple(rows), axis=sheet.say("month")),
    )


def _trl(sheet: Sheet) -> Chart | None:
    path = sheet.drivers.trl
    if path is None:
        return None
    by_year = path.by_year or (path.target,)
    words = [sheet.say("year", n=n) for n in range(1, len(by_year) + 1)]
    if not path.by_year:
        words = [sheet.say("end_point")]
    return Chart(
        name="trl",
        caption=sheet.say("chart_trl"),
        source=sheet.say("source_plan"),
        table="trl_table",
        drawing=Stairs(
            steps=(sheet.say("beginning"), *words),
            levels=(path.start, *by_year),
            axis=sheet.say("trl_axis"),
        ),
    )


_CHARTS: tuple[Callable[[Sheet], Chart | None], ...] = (
    _market,
    _revenue,
    _cash,
    _gantt,
    _trl,
)


def _steps(sheet: Sheet) -> tuple[str, ...]:
    return tuple(sheet.year(year) for year in sheet.model.years)


def _series(rows: list[tuple[str, tuple[Decimal, ...]]], scale: Decimal) -> tuple[Series, ...]:
    return tuple(
        Series(name=name, values=tuple(_scaled(value, scale) for value in values))
        for name, values in rows
    )


def _scaled(value: Decimal, scale: Decimal) -> Decimal:
    scaled = value / scale
    places = Decimal("0.1") if abs(scaled) < 100 else Decimal(1)
    return scaled.quantize(places, ROUND_HALF_UP)


def _axis(values: list[Decimal], sheet: Sheet) -> tuple[Decimal, str]:
    """The scale of an axis and the name of its unit, so that numbers stay short."""
    largest = max((abs(value) for value in values), default=Decimal(0))
    if sheet.model.currency == "KRW" and sheet.language is Language.KO:
        for scale, name in _WON_SCALES:
            if largest >= scale * _LEAST_AT_THE_TOP:
                return scale, name
        return Decimal(1), "원"
    for scale, english, korean in _SCALES:
        if largest >= scale * _LEAST_AT_THE_TOP:
            word = f"{korean} {sheet.model.currency}" if sheet.language is Language.KO else (
                f"{sheet.model.currency} {english}")  # fmt: skip
            return scale, word.strip()
    return Decimal(1), sheet.model.currency
