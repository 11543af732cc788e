"""How figures and times are written on a page, and what is called so on pages alone."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core import words

DASH = "–"
_SMALLEST_SHOWN = Decimal("0.0001")
_CENT = Decimal("0.01")


def money(amount: Decimal | None) -> str:
    """Dollars with cents, or with four decimals; a smaller amount with what it needs to show."""
    if amount is None:
        return _("unknown")
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    if size == 0:
        return "$0"
    if size < _SMALLEST_SHOWN:
        return f"{sign}${size:.9f}".rstrip("0")
    is_whole_cents = size == size.quantize(_CENT)
    return f"{sign}${size:,.2f}" if is_whole_cents else f"{sign}${size:,.4f}"


def count(number: int) -> str:
    """A whole number with its thousands kept apart."""
    return f"{number:,}"


def size(size_bytes: int) -> str:
    """Bytes in the unit that suits them."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:,.1f} KB"
    return f"{size_bytes / 1024**2:,.1f} MB"


def one_line(text: str, most: int = 120) -> str:
    """``text`` on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def document_type(name: str) -> str:
    """What a document is."""
    return {"bizplan": _("Business plan"), "rd": _("R&D proposal")}[name]


def budget_name(kind: str, name: str) -> str:
    """A budget and its window; a session's needs no name on its own page."""
    title = words.budget(kind)
    return title if kind in ("session", "phase") else f"{title} {name}"


def period(name: str) -> str:
    """A stretch of time of the cost page."""
    return {
        "today": _("Today"),
        "week": _("This week"),
        "month": _("This month"),
        "all": _("All time"),
    }.get(name, name)


def check_state(name: str) -> str:
    """How a quality check ended."""
    return {
        "pass": _("passed"),
        "fail": _("failed"),
        "warn": _("warning"),
        "unverifiable": _("not verifiable"),
        "not_applicable": _("not applicable"),
    }.get(name, name)


def verdict(name: str) -> str:
    """What a quality report says as a whole."""
    return {
        "pass": _("Every gate passed"),
        "fail": _("A gate failed"),
        "not_verified": _("Not verified"),
    }.get(name, name)


def moment(at: datetime) -> str:
    """A date and time, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"
