"""The ledger's tables: one strict row per call, sums kept beside them, reservations, alerts.

The same schema serves SQLite and PostgreSQL. Money is whole nano-dollars, times are microseconds
since 1970 (UTC), days are ISO dates of the user's calendar; a row keeps the day it was given.

``usage_days``, ``usage_daily``, ``usage_sessions`` and ``usage_ever`` are sums of ``usage``,
changed in the transaction that changes a row: a budget of a month reads 30 rows, a summary of a
million calls a few thousand, and one over all time as many as there are models and tasks.
Functions here take the transaction they are part of;
:class:`~aigenflow.monitoring.tracker.TokenTracker` begins and ends it. Column and table names in
statements are this module's own, never anybody's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.db import Database, DatabaseError, Query, Row, Transaction, Value
from aigenflow.core.errors import ConfigError
from aigenflow.core.models import ServedFrom, TokenUsage
from aigenflow.monitoring.models import (
    Account,
    Alert,
    BudgetKind,
    Calibration,
    CallDetails,
    Dimension,
    Estimate,
    EstimateReview,
    Owner,
    Purpose,
    Totals,
    Waste,
    Window,
    from_nano,
    to_nano,
)

SCHEMA_VERSION = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_MEASURES = (
    "calls",
    "unpriced_calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "billed_nano",
    "avoided_nano",
    "prompt_cache_nano",
    "measured_calls",
    "measured_bytes",
    "measured_tokens",
)
"""What is summed up. The ``measured_`` ones cover calls whose bytes are known: they calibrate."""

_KINDS = ("provider", "model", "phase", "task", "served_from", "waste")
_ROLL_UPS = {
    "usage_days": ("day",),
    "usage_daily": ("day", *_KINDS),
    "usage_sessions": ("session", "day", "served_from", "waste"),
    "usage_ever": _KINDS,
}
_ROW_COLUMNS = (
    *("call_id", "at_us", "session", "day", "provider", "model"),
    *("phase", "task", "served_from", "waste"),
    *("estimated_input_tokens", "expected_nano", "worst_nano"),
    *_MEASURES,
)
_RESERVATION_COLUMNS = (
    *("id", "at_us", "day", "session", "phase", "task", "provider", "model", "job", "amount_nano"),
    *("bytes_sent", "input_tokens", "output_tokens", "expected_nano", "worst_nano"),
    *("host", "pid", "started"),
)
_ALERT_COLUMNS = ("kind", "name", "threshold", "at_us")
_TEXT = frozenset(
    {
        *("call_id", "id", "kind", "name", "session", "day", "provider", "model"),
        *("task", "served_from", "waste", "job", "host", "started"),
    }
)
_OPTIONAL = frozenset({"estimated_input_tokens", "expected_nano", "worst_nano"})


def _columns(names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {'TEXT' if name in _TEXT else 'BIGINT'}{'' if name in _OPTIONAL else ' NOT NULL'}"
        for name in names
    )


def _table(name: str, columns: Sequence[str], keys: Sequence[str]) -> str:
    body = f"{_columns(columns)}, PRIMARY KEY ({', '.join(keys)})"
    return f"CREATE TABLE IF NOT EXISTS {name} ({body})"


def _select(what: str, table: str, rest: str) -> str:
    return f"SELECT {what} FROM {table} {rest}"  # noqa: S608 - names of this module, no input


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as above


def _roll_up(table: str, keys: Sequence[str]) -> str:
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _MEASURES)
    conflict = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"
    return _insert(table, (*keys, *_MEASURES)) + conflict


_INSERT_ROW = _insert("usage", _ROW_COLUMNS) + " ON CONFLICT (call_id) DO NOTHING RETURNING 1"
_INSERT_SUMS = {table: _roll_up(table, keys) for table, keys in _ROLL_UPS.items()}
_INSERT_RESERVATION = _insert("reservations", _RESERVATION_COLUMNS)
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS ledger (version BIGINT NOT NULL)",
    _table("usage", _ROW_COLUMNS, ("call_id",)),
    "CREATE INDEX IF NOT EXISTS usage_by_session ON usage (session, phase)",
    *(_table(name, (*keys, *_MEASURES), keys) for name, keys in _ROLL_UPS.items()),
    _table("reservations", _RESERVATION_COLUMNS, ("id",)),
    _table("alerts", _ALERT_COLUMNS, _ALERT_COLUMNS[:3]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationRow:
    """A reservation as it is stored. Money in dollars."""

    id: str
    when: datetime
    day: date
    purpose: Purpose
    amount: Decimal
    estimate: Estimate
    owner: Owner


# Opening


def prepare(database: Database) -> None:
    """Make the tables where there are none.

    Raises :class:`~aigenflow.core.errors.ConfigError` for a ledger of a newer version and
    :class:`~aigenflow.core.db.DatabaseError`.
    """
    try:
        version = _version(database)
    except DatabaseError:
        _create(database)
        version = _version(database)
    if version == 1:
        _upgrade(database)
    if version > SCHEMA_VERSION:
        raise ConfigError(
            _("The usage ledger has format {found}; this version knows {known}.").format(
                found=version, known=SCHEMA_VERSION
            ),
            hint=_("Update aigenflow, or give it a ledger of its own."),
        )


def _version(database: Database) -> int:
    return int(database.query("SELECT version FROM ledger")[0][0])


def _create(database: Database) -> None:
    with database.transaction() as tx:
        for statement in _SCHEMA:
            tx.execute(statement)
        if not tx.execute("SELECT version FROM ledger"):
            tx.execute("INSERT INTO ledger (version) VALUES (?)", (SCHEMA_VERSION,))


def _upgrade(database: Database) -> None:
    """Add the sums over all time to a ledger of the first format."""
    columns = ", ".join((*_KINDS, *_MEASURES))
    sums = ", ".join((*_KINDS, *(f"SUM({name})" for name in _MEASURES)))
    grouped = _select(sums, "usage_daily", f"GROUP BY {', '.join(_KINDS)}")
    with database.transaction() as tx:
        for statement in _SCHEMA:
            tx.execute(statement)
        if tx.execute("UPDATE ledger SET version = ? WHERE version = 1 RETURNING 1", (2,)):
            tx.execute(f"INSERT INTO usage_ever ({columns}) {grouped}")


# Rows


def append(
    tx: Transaction,
    call_id: str,
    usage: TokenUsage,
    details: CallDetails,
    when: datetime,
    day: date,
) -> bool:
    """Write one call, and add it to the sums. ``False`` where its row was there already."""
    row = _row(call_id, usage, details, when, day)
    if not tx.execute(_INSERT_ROW, [row[name] for name in _ROW_COLUMNS]):
        return False
    _add_to_sums(tx, row)
    return True


def mark_wasted(tx: Transaction, call_id: str, waste: Waste) -> bool:
    """Say why a call bought nothing that was used; the last reason counts.

    ``False`` where there is no such call, or nothing new to say of it.
    """
    found = tx.execute(
        _select(", ".join(_ROW_COLUMNS), "usage", "WHERE call_id = ? AND waste <> ?"),
        (call_id, waste.value),
    )
    if not found:
        return False
    row: dict[str, Value] = dict(zip(_ROW_COLUMNS, found[0], strict=True))
    tx.execute("UPDATE usage SET waste = ? WHERE call_id = ?", (waste.value, call_id))
    _add_to_sums(tx, {**row, **{name: -int(row[name] or 0) for name in _MEASURES}})
    _add_to_sums(tx, {**row, "waste": waste.value})
    return True


def _row(
    call_id: str, usage: TokenUsage, details: CallDetails, when: datetime, day: date
) -> dict[str, Value]:
    waste = details.waste or (Waste.OTHER if usage.waste else None)
    estimate = details.estimate
    from_cache = usage.served_from is ServedFrom.CACHE
    measured = estimate is not None and estimate.bytes_sent > 0 and not from_cache
    return {
        "call_id": call_id,
        "at_us": _to_us(when),
        "session": usage.session,
        "day": day.isoformat(),
        "provider": usage.provider,
        "model": usage.model,
        "phase": usage.phase,
        "task": usage.task,
        "served_from": usage.served_from.value,
        "waste": waste.value if waste else "",
        "estimated_input_tokens": estimate.input_tokens if estimate else None,
        "expected_nano": _optional_nano(estimate.expected if estimate else None),
        "worst_nano": _optional_nano(estimate.worst if estimate else None),
        "calls": 1,
        "unpriced_calls": int(usage.billed_cost is None),
        "estimated_calls": int(details.price_is_estimate),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "billed_nano": _optional_nano(usage.billed_cost) or 0,
        "avoided_nano": to_nano(usage.avoided_cost),
        "prompt_cache_nano": to_nano(details.prompt_cache_saving),
        "measured_calls": int(measured),
        "measured_bytes": estimate.bytes_sent if estimate and measured else 0,
        "measured_tokens": usage.input_tokens if measured else 0,
    }


def _add_to_sums(tx: Transaction, row: dict[str, Value]) -> None:
    for table, keys in _ROLL_UPS.items():
        tx.execute(_INSERT_SUMS[table], [row[name] for name in (*keys, *_MEASURES)])


# Budgets


def account(query: Query, window: Window) -> Account:
    """What is spent and reserved in a window."""
    where, values = _scope(window)
    table = {BudgetKind.SESSION: "usage_sessions", BudgetKind.PHASE: "usage"}.get(
        window.kind, "usage_days"
    )
    spent = query(_select("COALESCE(SUM(billed_nano), 0)", table, where), values)
    reserved = query(_select("COALESCE(SUM(amount_nano), 0)", "reservations", where), values)
    return Account(
        window=window, spent=from_nano(int(spent[0][0])), reserved=from_nano(int(reserved[0][0]))
    )


def _scope(window: Window) -> tuple[str, tuple[Value, ...]]:
    if window.first_day is not None and window.last_day is not None:
        days = (window.first_day.isoformat(), window.last_day.isoformat())
        return "WHERE day BETWEEN ? AND ?", days
    if window.phase is not None:
        return "WHERE session = ? AND phase = ?", (window.session, window.phase)
    return "WHERE session = ?", (window.session,)


def told_alerts(
    tx: Transaction, windows: Sequence[Window]
) -> frozenset[tuple[BudgetKind, str, int]]:
    """The alerts that were given in these windows: (kind, window name, threshold)."""
    return frozenset(
        (window.kind, window.name, int(threshold))
        for window in windows
        for (threshold,) in tx.execute(
            "SELECT threshold FROM alerts WHERE kind = ? AND name = ?",
            (window.kind.value, window.name),
        )
    )


def remember_alert(tx: Transaction, alert: Alert, when: datetime) -> None:
    """Keep an alert from being given again."""
    window = alert.account.window
    values = (window.kind.value, window.name, alert.threshold, _to_us(when))
    tx.execute(_insert("alerts", _ALERT_COLUMNS), values)


def add_reservation(tx: Transaction, row: ReservationRow) -> None:
    """Set money aside."""
    estimate, purpose = row.estimate, row.purpose
    values: tuple[Value, ...] = (
        *(row.id, _to_us(row.when), row.day.isoformat(), purpose.session, purpose.phase),
        *(purpose.task, purpose.provider, purpose.model, purpose.job, to_nano(row.amount)),
        *(estimate.bytes_sent, estimate.input_tokens, estimate.output_tokens),
        *(_optional_nano(estimate.expected), _optional_nano(estimate.worst)),
        *(row.owner.host, row.owner.pid, row.owner.started),
    )
    tx.execute(_INSERT_RESERVATION, values)


def take_reservation(tx: Transaction, reservation_id: str) -> ReservationRow | None:
    """Remove a reservation and return it; ``None`` where there is none."""
    rows = tx.execute(
        f"DELETE FROM reservations WHERE id = ? RETURNING {', '.join(_RESERVATION_COLUMNS)}",  # noqa: S608 - as above
        (reservation_id,),
    )
    return _reservation(rows[0]) if rows else None


def hand_over(tx: Transaction, reservation_id: str, job: str) -> bool:
    """Let a batch job answer for a reservation, whatever becomes of this process."""
    statement = "UPDATE reservations SET job = ? WHERE id = ? RETURNING 1"
    return bool(tx.execute(statement, (job, reservation_id)))


def reservations(database: Database) -> list[ReservationRow]:
    """All open reservations, oldest first."""
    columns = ", ".join(_RESERVATION_COLUMNS)
    rows = database.query(_select(columns, "reservations", "ORDER BY at_us, id"))
    return [_reservation(row) for row in rows]


def _reservation(row: Row) -> ReservationRow:
    value = dict(zip(_RESERVATION_COLUMNS, row, strict=True))
    return ReservationRow(
        id=value["id"],
        purpose=Purpose(
            **{name: value[name] for name in ("session", "phase", "task", "provider", "model")},
            job=value["job"],
        ),
        when=from_us(value["at_us"]),
        day=date.fromisoformat(value["day"]),
        amount=from_nano(value["amount_nano"]),
        estimate=Estimate(
            bytes_sent=value["bytes_sent"],
            input_tokens=value["input_tokens"],
            output_tokens=value["output_tokens"],
            expected=_optional_dollars(value["expected_nano"]),
            worst=_optional_dollars(value["worst_nano"]),
        ),
        owner=Owner(host=value["host"], pid=value["pid"], started=value["started"]),
    )


# Sums

_SAVINGS = (ServedFrom.CACHE, ServedFrom.BATCH, ServedFrom.FLEX)
_FRESH = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens")
_TOTALS = ", ".join(
    (
        "SUM(calls)",
        "SUM(CASE WHEN served_from = 'cache' THEN calls ELSE 0 END)",
        "SUM(unpriced_calls)",
        "SUM(estimated_calls)",
        *(
            f"SUM(CASE WHEN served_from = 'cache' THEN 0 ELSE {name} END)"
            for name in (*_FRESH, "reasoning_tokens")
        ),
        "SUM(CASE WHEN served_from = 'cache' THEN input_tokens + output_tokens ELSE 0 END)",
        "SUM(billed_nano)",
        *(
            f"SUM(CASE WHEN served_from = '{served.value}' THEN avoided_nano ELSE 0 END)"
            for served in _SAVINGS
        ),
        "SUM(prompt_cache_nano)",
        "SUM(CASE WHEN waste = '' THEN 0 ELSE billed_nano END)",
    )
)


def totals(
    database: Database,
    by: Dimension | None,
    first: date | None,
    last: date | None,
    session: str | None,
    dearest: int | None = None,
) -> list[Totals]:
    """Sums over the days ``first`` to ``last`` (both included; ``None`` is open), one per key.

    ``dearest`` leaves out all but that many keys.
    """
    table = _table_for(by, session, ever=first is None and last is None)
    conditions: dict[str, str | None] = {
        "day >= ?": first.isoformat() if first else None,
        "day <= ?": last.isoformat() if last else None,
        "session = ?": session,
    }
    given = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(("calls > 0", *given))
    key = by.value if by else "''"
    values: tuple[Value, ...] = tuple(given.values())
    if dearest is not None:
        order = f"WHERE {where} GROUP BY {key} ORDER BY SUM(billed_nano) DESC, {key} DESC LIMIT ?"
        where += f" AND {key} IN ({_select(key, table, order)})"
        values = (*values, *values, dearest)
    rows = database.query(
        _select(f"{key}, {_TOTALS}", table, f"WHERE {where} GROUP BY 1 ORDER BY 1"), values
    )
    return [_totals(row) for row in rows]


def _table_for(by: Dimension | None, session: str | None, *, ever: bool) -> str:
    """The smallest table that has what is asked for."""
    if session is not None:
        return "usage"
    if by is Dimension.SESSION:
        return "usage_sessions"
    return "usage_ever" if ever and by is not Dimension.DAY else "usage_daily"


def count_sessions(database: Database, first: date | None, last: date | None) -> int:
    """How many sessions have calls on the days ``first`` to ``last``."""
    days = (first or date.min, last or date.max)
    [(count,)] = database.query(
        "SELECT COUNT(DISTINCT session) FROM usage_sessions "
        "WHERE calls > 0 AND day BETWEEN ? AND ?",
        tuple(day.isoformat() for day in days),
    )
    return int(count)


def _totals(row: Row) -> Totals:
    key, *counts = row
    whole = [int(count) for count in counts]
    money = [from_nano(count) for count in whole[10:]]
    return Totals(
        key=str(key),
        calls=whole[0],
        cache_hits=whole[1],
        unpriced_calls=whole[2],
        estimated_calls=whole[3],
        input_tokens=whole[4],
        output_tokens=whole[5],
        cached_input_tokens=whole[6],
        cache_write_tokens=whole[7],
        reasoning_tokens=whole[8],
        replayed_tokens=whole[9],
        billed=money[0],
        response_cache_saving=money[1],
        batch_saving=money[2],
        flex_saving=money[3],
        prompt_cache_saving=money[4],
        wasted=money[5],
    )


def calibration(database: Database, model: str) -> Calibration:
    """Bytes sent against input tokens billed, over every call of a model."""
    [(calls, size, tokens)] = database.query(
        "SELECT COALESCE(SUM(measured_calls), 0), COALESCE(SUM(measured_bytes), 0), "
        "COALESCE(SUM(measured_tokens), 0) FROM usage_daily WHERE model = ?",
        (model,),
    )
    return Calibration(calls=int(calls), bytes_sent=int(size), input_tokens=int(tokens))


def review(database: Database, session: str) -> EstimateReview:
    """Estimate against actual for the calls of a session that had a priced estimate."""
    [(calls, estimated, tokens, expected, worst, billed)] = database.query(
        "SELECT COUNT(*), COALESCE(SUM(estimated_input_tokens), 0), "
        "COALESCE(SUM(input_tokens), 0), COALESCE(SUM(expected_nano), 0), "
        "COALESCE(SUM(worst_nano), 0), COALESCE(SUM(billed_nano), 0) FROM usage "
        "WHERE session = ? AND expected_nano IS NOT NULL AND unpriced_calls = 0",
        (session,),
    )
    return EstimateReview(
        calls=int(calls),
        estimated_input_tokens=int(estimated),
        input_tokens=int(tokens),
        expected=from_nano(int(expected)),
        worst=from_nano(int(worst)),
        billed=from_nano(int(billed)),
    )


def from_us(microseconds: int) -> datetime:
    """The moment, UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def _to_us(when: datetime) -> int:
    return (when - _EPOCH) // _MICROSECOND


def _optional_nano(dollars: Decimal | None) -> int | None:
    return None if dollars is None else to_nano(dollars)


def _optional_dollars(nano_dollars: int | None) -> Decimal | None:
    return None if nano_dollars is None else from_nano(nano_dollars)
