"""Drivers: the figures that a financial model is computed from, as an agent proposes them.

An agent answers with one JSON object. :func:`read_drivers` finds it among fences and prose, puts
right what can be put right without guessing (each repair is listed), and refuses the rest with a
list that the agent can work through.

Amounts are in whole units of ``currency``. Every driver carries its origin: ``brief``, the id of
a numbered source (``e12``), or ``assumption``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, localcontext
from gettext import gettext as _
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from aigenflow.core.arithmetic import grown, total
from aigenflow.core.errors import MalformedAnswerError
from aigenflow.core.models import Json
from aigenflow.core.quantities import currency_code, parse_quantity

LARGEST = Decimal(10) ** 18
BRIEF, ASSUMPTION = "brief", "assumption"
_PLACES = Decimal("0.000001")
_PRECISION = 60
_PROBLEMS_TOLD = 20
_ANSWER_LIMIT = 400_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _number(value: Json) -> Json:
    """A number, also where it was written as text (``"1,200"``, ``"5 %"``, ``"1억 원"``)."""
    if not isinstance(value, str):
        return value
    plain = value.replace(",", "").replace("_", "").strip().removesuffix("%").strip()
    try:
        return Decimal(plain)
    except InvalidOperation:
        quantity = parse_quantity(value)
        return value if quantity is None else quantity.value


def _bounded(value: Decimal) -> Decimal:
    if abs(value) > LARGEST:
        raise ValueError("larger than 10^18")
    with localcontext(prec=_PRECISION):
        return value.quantize(_PLACES) if value != value.to_integral_value() else value + 0


def _one_line(value: Json) -> Json:
    return " ".join(value.split()) if isinstance(value, str) else value


Number = Annotated[Decimal, BeforeValidator(_number), AfterValidator(_bounded)]
NotNegative = Annotated[Number, Field(ge=0)]
Percent = Annotated[Number, Field(ge=-100, le=10_000)]
Label = Annotated[str, BeforeValidator(_one_line), StringConstraints(min_length=1, max_length=120)]
Remark = Annotated[str, BeforeValidator(_one_line), StringConstraints(max_length=300)]
Month = Annotated[int, BeforeValidator(_number), Field(ge=1, le=240)]

_SOURCE = re.compile(r"\[?#?e?(\d{1,4})\]?")


def _origin(value: Json, info: ValidationInfo) -> str:
    """``brief``, ``e12`` or ``assumption``; what names neither brief nor source is an assumption.

    ``[#12]``, ``#12`` and ``12`` are the source of that number as well, where there is one.
    """
    text = str(value or "").strip().lower()
    if text in (BRIEF, "브리프", "의뢰인 자료", "의뢰인"):
        return BRIEF
    source = _SOURCE.fullmatch(text)
    if source is None:
        return ASSUMPTION
    listed: _Listed | None = info.context
    number = int(source[1])
    if listed is not None and not 0 < number <= listed.sources:
        listed.unknown.add(number)
        return ASSUMPTION
    return f"e{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """How many numbered sources there are; ``unknown`` collects the numbers that none has."""

    sources: int
    unknown: set[int] = field(default_factory=set)


def _currency(value: Json) -> str:
    """An ISO code, from the code itself or from a sign (``"원"``); empty where it is neither."""
    text = str(value or "").strip()
    return text.upper() if re.fullmatch("[A-Za-z]{3}", text) else currency_code(text)


class Driver(_Part):
    """One figure, for all years or year by year.

    ``values`` has one value, which grows by ``growth_percent`` a year, or one value a year.
    """

    values: Annotated[tuple[Number, ...], Field(min_length=1, max_length=10)]
    growth_percent: Percent = Decimal(0)
    origin: Annotated[str, BeforeValidator(_origin)] = ASSUMPTION
    note: Remark = ""

    @model_validator(mode="before")
    @classmethod
    def _from_short_forms(cls, data: Json) -> Json:
        if isinstance(data, list):
            return {"values": data}
        if not isinstance(data, dict):
            return {"values": [data]}
        given = {key: value for key, value in data.items() if value is not None}
        if "values" not in given and "value" in given:
            given["values"] = [given["value"]]
        return given

    @property
    def first(self) -> Decimal:
        """The value of the first year."""
        return self.values[0]

    def at(self, year: int) -> Decimal:
        """The value of a year, counted from 0."""
        if len(self.values) > 1:
            return self.values[year]
        with localcontext(prec=_PRECISION):
            return self.first * (1 + self.growth_percent / 100) ** year

    def count_at(self, year: int) -> Decimal:
        """The value of a year where whole things are counted: growth is rounded down."""
        if len(self.values) > 1 or not self.growth_percent or not year:
            return self.at(year)
        return grown(self.first, self.growth_percent / 100, year)


def _not_negative(driver: Driver) -> Driver:
    if any(value < 0 for value in driver.values):
        raise ValueError("below 0")
    return driver


def _share(driver: Driver) -> Driver:
    if any(not 0 <= value <= 100 for value in driver.values):
        raise ValueError("not between 0 and 100 %")
    return driver


Amount = Annotated[Driver, AfterValidator(_not_negative)]
Share = Annotated[Driver, AfterValidator(_share)]


class RevenueLine(_Part):
    """What is sold: yearly volume at a price per unit and year; ``unit_cost`` is direct cost."""

    name: Label
    unit: Label = "units"
    price: Amount
    volume: Amount
    unit_cost: Amount | None = None


class CostLine(_Part):
    """A yearly cost: a fixed ``amount``, or a variable ``percent_of_revenue``."""

    name: Label
    amount: Amount | None = None
    percent_of_revenue: Share | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.amount is None) == (self.percent_of_revenue is None):
            raise ValueError("needs either amount or percent_of_revenue")
        return self

    @property
    def driver(self) -> Driver:
        """The one that is given."""
        driver = self.amount or self.percent_of_revenue
        assert driver is not None
        return driver


class Staff(_Part):
    """``heads`` people who each cost ``salary`` a year, employer's charges included."""

    role: Label
    heads: Amount
    salary: Amount


class _Timed(_Part):
    """An amount that comes in one year (``in_year``, from 1), or one for each year."""

    name: Label
    amount: Amount
    in_year: Annotated[int, BeforeValidator(_number), Field(ge=1, le=10)] = 1

    def in_year_of(self, year: int) -> Decimal:
        """What falls into a year, counted from 0."""
        if len(self.amount.values) > 1:
            return self.amount.values[year]
        return self.amount.first if year == self.in_year - 1 else Decimal(0)


class Investment(_Timed):
    """Fixed assets, written off evenly over ``life_years`` from the year they are bought in."""

    life_years: Annotated[int, BeforeValidator(_number), Field(ge=1, le=50)] = 5


class Funding(_Timed):
    """Money that comes in.

    A loan is paid back in equal parts over ``repay_years`` from the year after; without them it
    stands until after the last year.
    """

    kind: Literal["own", "equity", "grant", "loan"]
    interest_percent: Annotated[Percent, Field(ge=0, le=100)] = Decimal(0)
    repay_years: Annotated[int, BeforeValidator(_number), Field(ge=1, le=50)] | None = None


class Use(_Part):
    """One line of the use of funds."""

    name: Label
    amount: Amount


class Customer(_Part):
    """What it costs to win a customer, and how long one stays."""

    acquisition_cost: Amount
    lifetime_months: Amount


class Market(_Part):
    """Market sizes of one year, in the plan's currency."""

    year: Annotated[int, BeforeValidator(_number), Field(ge=1990, le=2100)] | None = None
    tam: Amount | None = None
    sam: Amount | None = None
    som: Amount | None = None

    @model_validator(mode="after")
    def _sizes_descend(self) -> Self:
        sizes = [size.first for size in (self.tam, self.sam, self.som) if size is not None]
        if sizes != sorted(sizes, reverse=True):
            raise ValueError("TAM >= SAM >= SOM does not hold")
        return self


class Scenario(_Part):
    """A case beside the base case, as factors of its drivers, with what causes it."""

    volume: NotNegative = Decimal(1)
    price: NotNegative = Decimal(1)
    unit_cost: NotNegative = Decimal(1)
    costs: NotNegative = Decimal(1)
    reason: Remark = ""


class Scenarios(_Part):
    """The two cases beside the base case."""

    up: Scenario | None = None
    down: Scenario | None = None


class Work(_Part):
    """One bar of the schedule; months are counted from 1, both ends included."""

    name: Label
    start_month: Month
    end_month: Month
    owner: Remark = ""

    @model_validator(mode="after")
    def _begins_first(self) -> Self:
        if self.start_month > self.end_month:
            raise ValueError("start_month is after end_month")
        return self


class Readiness(_Part):
    """Technology readiness levels at the start and at the end, and at the end of each year."""

    start: Annotated[int, BeforeValidator(_number), Field(ge=1, le=9)]
    target: Annotated[int, BeforeValidator(_number), Field(ge=1, le=9)]
    by_year: tuple[Annotated[int, BeforeValidator(_number), Field(ge=1, le=9)], ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        path = [self.start, *self.by_year, self.target]
        if self.start >= self.target or path != sorted(path):
            raise ValueError("start < target does not hold, or the levels fall")
        return self


class CostItem(_Part):
    """One cost item of a research budget, by year."""

    name: Label
    amount: Amount


class ResearchBudget(_Part):
    """Funds and cost items of a research project of ``years`` years.

    Government funding + own contribution (cash + in kind) = the cost items, in every year.
    """

    years: Annotated[int, BeforeValidator(_number), Field(ge=1, le=10)]
    government: Amount
    own_cash: Amount
    own_in_kind: Amount
    items: tuple[CostItem, ...] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        parts = (self.government, self.own_cash, self.own_in_kind)
        for driver in (*parts, *(item.amount for item in self.items)):
            _fits(driver, self.years, "rd_budget")
        for year in range(self.years if self.items else 0):
            funds = total(part.at(year) for part in parts)
            costs = total(item.amount.at(year) for item in self.items)
            if funds != costs:
                raise ValueError(
                    f"the items of year {year + 1} add up to {costs:f}, the funds to {funds:f}"
                )
        return self


class Drivers(_Part):
    """All drivers of a model. What is not given is not computed: unknown is not zero.

    ``first_year`` is the calendar year of year 1, ``None`` where nobody said.
    ``first_year_quarters`` are the shares of year 1 in per cent. Days are days of revenue
    (``receivable_days``) or of direct cost (``payable_days``, ``stock_days``).
    """

    currency: Annotated[str, BeforeValidator(_currency)] = ""
    first_year: Annotated[int, BeforeValidator(_number), Field(ge=1990, le=2100)] | None = None
    years: Annotated[int, BeforeValidator(_number), Field(ge=1, le=5)] = 3
    revenue: tuple[RevenueLine, ...] = ()
    costs: tuple[CostLine, ...] = ()
    staff: tuple[Staff, ...] = ()
    investments: tuple[Investment, ...] = ()
    funding: tuple[Funding, ...] = ()
    use_of_funds: tuple[Use, ...] = ()
    opening_cash: Amount | None = None
    tax_percent: Share | None = None
    receivable_days: Amount | None = None
    payable_days: Amount | None = None
    stock_days: Amount | None = None
    discount_percent: Share | None = None
    first_year_quarters: Share | None = None
    customer: Customer | None = None
    market: Market | None = None
    scenarios: Scenarios = Scenarios()
    tasks: tuple[Work, ...] = ()
    trl: Readiness | None = None
    rd_budget: ResearchBudget | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, data: Json) -> Json:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for place, driver in _yearly(self):
            _fits(driver, self.years, place)
        quarters = self.first_year_quarters
        if quarters is not None and (len(quarters.values) != 4 or sum(quarters.values) != 100):
            raise ValueError("first_year_quarters: not four shares that add up to 100")
        if any(each.in_year > self.years for each in (*self.funding, *self.investments)):
            raise ValueError(f"funding or investments: in_year is after year {self.years}")
        content = (self.revenue, self.use_of_funds, self.market, self.tasks, self.trl)
        if not any((*content, self.rd_budget)):
            raise ValueError("revenue or rd_budget: nothing is given that could be computed")
        return self


def _yearly(drivers: Drivers) -> Iterator[tuple[str, Driver]]:
    """Every driver that may have a value a year, with its place."""
    for line in drivers.revenue:
        yield f"revenue/{line.name}/price", line.price
        yield f"revenue/{line.name}/volume", line.volume
        if line.unit_cost is not None:
            yield f"revenue/{line.name}/unit_cost", line.unit_cost
    for cost in drivers.costs:
        yield f"costs/{cost.name}", cost.driver
    for person in drivers.staff:
        yield f"staff/{person.role}/heads", person.heads
        yield f"staff/{person.role}/salary", person.salary
    for name, driver in (
        *((f"investments/{each.name}", each.amount) for each in drivers.investments),
        *((f"funding/{each.name}", each.amount) for each in drivers.funding),
        ("tax_percent", drivers.tax_percent),
    ):
        if driver is not None:
            yield name, driver


def _fits(driver: Driver, years: int, place: str) -> None:
    if len(driver.values) not in (1, years):
        raise ValueError(f"{place}: {len(driver.values)} values for {years} years")


# ---- reading an answer -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDrivers:
    """Drivers, and what had to be put right to read them, in sentences."""

    drivers: Drivers
    repairs: tuple[str, ...] = ()


_FENCE = re.compile(r"```[ \t]*(?:json|JSON)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


def read_drivers(text: str, sources: int | None = None) -> ReadDrivers:
    """The drivers in an agent's answer, who was told of ``sources`` numbered sources.

    A figure whose source is none of them is an assumption; ``None``: the sources are not known.
    Raises :class:`~aigenflow.core.errors.MalformedAnswerError`, whose message lists what is wrong.
    """
    repairs: list[str] = []
    value = _find_object(text[:_ANSWER_LIMIT], repairs)
    if value is None:
        raise _malformed(["there is no JSON object in the answer"])
    unknown = sorted(set(value) - set(Drivers.model_fields))
    if unknown:
        repairs.append(_("left out, not known: {keys}").format(keys=", ".join(unknown)[:200]))
    try:
        listed = None if sources is None else _Listed(sources=sources)
        drivers = Drivers.model_validate(value, context=listed)
    except ValidationError as error:
        raise _malformed(_problems(error)) from error
    if listed is not None and listed.unknown:
        numbers = ", ".join(map(str, sorted(listed.unknown)))
        repairs.append(_("read as assumptions, no such source: {numbers}").format(numbers=numbers))
    return ReadDrivers(drivers=drivers, repairs=tuple(repairs))


class UnusableDriversError(MalformedAnswerError):
    """The drivers cannot be used. ``problems`` are told to the agent, whatever the user speaks."""

    def __init__(self, message: str, *, hint: str, problems: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


def _malformed(problems: list[str]) -> UnusableDriversError:
    return UnusableDriversError(
        _("The drivers of the financial model cannot be used: {problems}.").format(
            problems="; ".join(problems)
        ),
        hint=_("Correct the JSON block in phase3/financial_model.md and resume."),
        problems=tuple(problems),
    )


def _problems(error: ValidationError) -> list[str]:
    told = [
        f"{'/'.join(str(part) for part in fault['loc']) or 'drivers'}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = len(told) - _PROBLEMS_TOLD
    return told if more <= 0 else [*told[:_PROBLEMS_TOLD], f"{more} more"]


def _find_object(text: str, repairs: list[str]) -> Mapping[str, Json] | None:
    """The last fenced JSON object, else the first in the text that can be read."""
    for body in reversed(_FENCE.findall(text)):
        value = _decoded(body, repairs)
        if value is not None:
            return value
    start = text.find("{")
    if start < 0:
        return None
    value = _decoded(text[start:], repairs)
    if value is not None:
        repairs.append(_("the JSON object stood without a fence"))
    return value


def _decoded(body: str, repairs: list[str]) -> Mapping[str, Json] | None:
    """A JSON object at the start of ``body``; what follows it is prose."""
    body = body.strip()
    for candidate, repair in (
        (body, ""),
        (_TRAILING_COMMA.sub(r"\1", body), _("commas before a closing bracket were removed")),
    ):
        not_numbers: list[str] = []
        decoder = json.JSONDecoder(
            parse_float=Decimal, parse_int=Decimal, parse_constant=not_numbers.append
        )
        try:
            value, _end = decoder.raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict):
            continue
        if repair:
            repairs.append(repair)
        repairs.extend(_("{name} was read as not given").format(name=name) for name in not_numbers)
        return value
    return None
