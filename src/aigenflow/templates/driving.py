"""The drivers of a financial model from a brief alone: what it says, and nothing else.

The form is the one that the agents are asked for; a key that the brief does not answer is left
out, so nothing is computed from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal

from aigenflow.core.markdown import clean
from aigenflow.core.models import Json
from aigenflow.templates.assessment import Job
from aigenflow.templates.worksheets import notice

_BRIEF = "brief"
_SPAN = re.compile(r"(\d{1,3})\s*(?:[~∼〜–-]|to|부터)\s*(\d{1,3})\s*(?:개월|months?)", re.I)
_SPAN_AFTER = re.compile(r"months?\s*(\d{1,3})\s*(?:[~∼〜–-]|to)\s*(\d{1,3})", re.IGNORECASE)
_MONTH = re.compile(r"\bmonth\s*(\d{1,3})\b|(\d{1,3})\s*개월", re.IGNORECASE)
_MOST_MONTHS = 240
_FIRST_WORDS = re.compile(r"[,，:;(/]")


def financial_model(job: Job) -> str:
    """The answer to the task: a page with the drivers as JSON, or one that says there are none."""
    given = {key: value for key, value in _drivers(job).items() if value}
    title = f"# {job.say('drivers_title', topic=clean(job.topic))}"
    if not given:
        return "\n\n".join((title, notice(job), job.say("drivers_none"))) + "\n"
    currency = {"currency": job.figures.currency}
    body = json.dumps(currency | given, ensure_ascii=False, indent=2)
    blocks = (title, notice(job), job.say("drivers_intro"), f"```json\n{body}\n```")
    return "\n\n".join(blocks) + "\n"


def _drivers(job: Job) -> dict[str, Json]:
    """What the brief answers; ``years`` only with the revenue that it counts."""
    figures = job.figures
    drivers: dict[str, Json] = {
        "market": _market(job),
        "use_of_funds": [
            {"name": use.label, "amount": _given(use.amount)}
            for use in figures.uses
            if use.amount is not None and figures.uses_total is not None
        ],
        "tasks": list(_tasks(job)),
        "trl": _readiness(job),
        "rd_budget": _budget(job) if job.is_rd else None,
    }
    numbers = [year.year for year in figures.years]
    if figures.price is None or not numbers or numbers != list(range(1, len(numbers) + 1)):
        return drivers
    line: dict[str, Json] = {
        "name": _FIRST_WORDS.split(job.inline("product") or clean(job.topic))[0].strip(),
        "unit": job.counted(Decimal(1)).removeprefix("1").strip() or job.say("customers_unit"),
        "price": _given(figures.price),
        "volume": {"values": [_plain(y.volume) for y in figures.years], "origin": _BRIEF},
    }
    if figures.unit_cost is not None:
        line["unit_cost"] = _given(figures.unit_cost)
    fixed = figures.fixed_costs
    costs = [] if fixed is None else [{"name": job.label("fixed_costs"), "amount": _given(fixed)}]
    return drivers | {"years": len(numbers), "revenue": [_short(line)], "costs": costs}


def _short(line: dict[str, Json]) -> dict[str, Json]:
    return line | {"name": str(line["name"])[:120], "unit": str(line["unit"])[:60]}


def _given(amount: Decimal | None) -> dict[str, Json]:
    assert amount is not None
    return {"value": _plain(amount), "origin": _BRIEF}


def _plain(value: Decimal) -> int | str:
    return int(value) if value == value.to_integral_value() else str(value)


def _market(job: Job) -> dict[str, Json] | None:
    """The sizes given, unless the brief has them in the wrong order."""
    amounts = job.figures.amounts
    sizes = [(key, amounts[key]) for key in ("tam", "sam", "som") if key in amounts]
    values = [size for _key, size in sizes]
    if not sizes or values != sorted(values, reverse=True):
        return None
    years = {
        year
        for key, _size in sizes
        for year in re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", job.brief.facts[key])
    }
    market: dict[str, Json] = {key: _given(size) for key, size in sizes}
    return market | ({"year": int(years.pop())} if len(years) == 1 else {})


def _tasks(job: Job) -> Iterator[dict[str, Json]]:
    """The milestones that name months of the plan."""
    for entry in job.brief.entries("milestones"):
        when = " ".join(entry.fields.values()) or entry.label
        span = _SPAN.search(when) or _SPAN_AFTER.search(when)
        month = _MONTH.search(when)
        if span:
            start, end = int(span[1]), int(span[2])
        elif month:
            start = end = int(month[1] or month[2])
        else:
            continue
        if 1 <= start <= end <= _MOST_MONTHS:
            owner = next((v for k, v in entry.fields.items() if k.casefold() in _OWNERS), "")
            yield {"name": entry.label[:120], "start_month": start, "end_month": end,
                   "owner": owner[:120]}  # fmt: skip


_OWNERS = frozenset({"owner", "책임자", "담당자", "담당", "담당 기관"})


def _readiness(job: Job) -> dict[str, Json] | None:
    start, target = job.brief.quantity("trl_start"), job.brief.quantity("trl_target")
    if start is None or target is None or not 1 <= start.value < target.value <= 9:
        return None
    return {"start": int(start.value), "target": int(target.value)}


def _budget(job: Job) -> dict[str, Json] | None:
    """The funds of the whole project: how a brief's total is spread over years is not known."""
    funding = job.figures.funding
    if funding is None or min(funding.government, funding.own_cash, funding.own_in_kind) < 0:
        return None
    return {
        "years": 1,
        "government": _given(funding.government),
        "own_cash": _given(funding.own_cash),
        "own_in_kind": _given(funding.own_in_kind),
    }
