"""The ledger beside the bill: what the product wrote down, and what the server charged.

The prices of the bill are worked out here, from the server's token counts and ``genai_prices``
alone: nothing of the product's own arithmetic takes part.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from genai_prices import Usage, calc_price

from aigenflow.testing.bill import BillLine

ACTORS = {
    "anthropic": "claude",
    "openai": "chatgpt",
    "gemini": "gemini",
    "perplexity": "perplexity",
}
"""Whose line it is, by the provider that the bill names."""

_VENDORS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
_CONTEXTS = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "batch": {"processing": "batch"},
}
_REPORTS_CACHE_WRITES = frozenset({"anthropic", "openai"})

ANSWERED = frozenset({"complete", "only_thinking", "content_null", "whitespace"})
"""Outcomes of which the client has the provider's own counts."""

UNCOUNTED = frozenset({"no_usage", "zero_usage"})
"""Outcomes with a whole answer, of which the client was not told the counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One call as both sides can know it. Money in whole nano-dollars."""

    actor: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    nano_dollars: int


def charge_of(line: BillLine) -> Charge:
    """A line of the server's bill."""
    writes = line.cache_write_5m_tokens + line.cache_write_1h_tokens
    return Charge(
        actor=ACTORS[line.provider],
        model=line.model,
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cached_input_tokens=line.cached_input_tokens,
        cache_write_tokens=writes if line.provider in _REPORTS_CACHE_WRITES else 0,
        reasoning_tokens=line.reasoning_tokens,
        nano_dollars=nano(price_of(line)),
    )


def charge_in(row: dict[str, Any]) -> Charge:
    """A row of the ledger."""
    return Charge(
        actor=row["provider"],
        model=row["model"],
        nano_dollars=row["billed_nano"],
        **{
            name: row[name]
            for name in (
                *("input_tokens", "output_tokens", "cached_input_tokens"),
                *("cache_write_tokens", "reasoning_tokens"),
            )
        },
    )


def price_of(line: BillLine) -> Decimal:
    """Dollars: what the provider itself named, else its counts at the published prices."""
    if line.total_cost is not None:
        return Decimal(line.total_cost)
    usage = Usage(
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cache_read_tokens=line.cached_input_tokens,
        web_searches=line.search_calls,
        **_cache_writes(line),
    )
    return calc_price(
        usage,
        line.model,
        provider_id=_VENDORS[line.provider],
        genai_request_timestamp=datetime.fromisoformat(line.at),
        price_context=_CONTEXTS.get(line.tier),
    ).total_price


def _cache_writes(line: BillLine) -> dict[str, int]:
    if line.provider == "anthropic":
        return {
            "cache_write_tokens": line.cache_write_5m_tokens + line.cache_write_1h_tokens,
            "cache_write_5m_tokens": line.cache_write_5m_tokens,
            "cache_write_1h_tokens": line.cache_write_1h_tokens,
        }
    if line.provider == "openai":
        return {"cache_write_tokens": line.cache_write_5m_tokens}
    return {}


def nano(dollars: Decimal) -> int:
    return int((dollars * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def ledger_rows(home: Path, table: str = "usage") -> list[dict[str, Any]]:
    """The ledger's rows in the order of their writing, read without the product."""
    with sqlite3.connect(home / "ledger.db") as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
    connection.close()
    return [dict(row) for row in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Ledger rows by what is known of them."""

    exact: list[dict[str, Any]]
    uncounted: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    hits: list[dict[str, Any]]


def sort_rows(rows: Iterable[dict[str, Any]]) -> Books:
    """Counted by the provider; whole but uncounted; lost; from the cache."""
    books = Books(exact=[], uncounted=[], lost=[], hits=[])
    for row in rows:
        if row["served_from"] == "cache":
            books.hits.append(row)
        elif row["waste"] == "lost":
            books.lost.append(row)
        elif row["estimated_calls"]:
            books.uncounted.append(row)
        else:
            books.exact.append(row)
    return books


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Bill lines by what the client can know of them."""

    answered: list[BillLine]
    uncounted: list[BillLine]
    lost: list[BillLine]
    turned_away: list[BillLine]


def sort_lines(lines: Iterable[BillLine]) -> Bill:
    """Answered with counts; answered without; broken off, billed or not; refused with a status."""
    bill = Bill(answered=[], uncounted=[], lost=[], turned_away=[])
    for line in lines:
        if line.status is not None and line.status >= 400:
            bill.turned_away.append(line)
        elif line.outcome in ANSWERED:
            bill.answered.append(line)
        elif line.outcome in UNCOUNTED:
            bill.uncounted.append(line)
        else:
            bill.lost.append(line)
    return bill


def differences(rows: Iterable[dict[str, Any]], lines: Iterable[BillLine]) -> str:
    """What stands on one side only; empty where ledger and bill are the same, call by call."""
    written = Counter(map(charge_in, rows))
    charged = Counter(map(charge_of, lines))
    texts = [f"ledger only: {charge} x {n}" for charge, n in (written - charged).items()]
    texts += [f"bill only: {charge} x {n}" for charge, n in (charged - written).items()]
    return "\n".join(texts)
