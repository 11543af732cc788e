"""How figures, times and states are put into words on a page."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from gettext import gettext as _

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


def percent(share: Decimal | float) -> str:
    """Per cent with one decimal, of a figure from 0 to 100."""
    return _("{share} %").format(share=f"{share:,.1f}")


def size(size_bytes: int) -> str:
    """Bytes in the unit that suits them."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:,.1f} KB"
    return f"{size_bytes / 1024**2:,.1f} MB"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return _("{count} s").format(count=round(seconds))
    if seconds < 90 * 60:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=round(seconds / 3600, 1))


def age(span: timedelta) -> str:
    """How long ago, roughly."""
    return duration(max(0.0, span.total_seconds()))


def one_line(text: str, most: int = 120) -> str:
    """``text`` on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def status(name: str) -> str:
    """Where a session stands."""
    return {
        "running": _("running"),
        "stopped": _("stopped"),
        "interrupted": _("interrupted"),
        "completed": _("completed"),
        "damaged": _("damaged"),
        "waiting": _("waiting"),
        "cancelled": _("cancelled"),
    }[name]


def phase(name: str) -> str:
    """What a phase is called."""
    return {
        "framing": _("framing"),
        "research": _("research"),
        "strategy": _("strategy"),
        "writing": _("writing"),
        "review": _("review"),
    }.get(name, name)


def document_type(name: str) -> str:
    """What a document is."""
    return {"bizplan": _("Business plan"), "rd": _("R&D proposal")}[name]


def processing(name: str) -> str:
    """How answers are bought."""
    return {
        "live": _("Live"),
        "flex": _("Flex"),
        "batch": _("Batch"),
        "priority": _("Priority"),
        "auto": _("Automatic"),
        "cache": _("Cache"),
    }[name]


def budget(kind: str) -> str:
    """What a budget is called."""
    return {
        "day": _("Daily"),
        "week": _("Weekly"),
        "month": _("Monthly"),
        "session": _("Session"),
        "phase": _("Phase"),
    }[kind]


def budget_name(kind: str, name: str) -> str:
    """A budget and its window; a session's needs no name on its own page."""
    return budget(kind) if kind in ("session", "phase") else f"{budget(kind)} {name}"


def dimension(name: str) -> str:
    """What totals are kept apart by."""
    return {
        "provider": _("Provider"),
        "model": _("Model"),
        "phase": _("Phase"),
        "task": _("Task"),
        "session": _("Session"),
        "day": _("Day"),
    }[name]


def period(name: str) -> str:
    """A stretch of time of the cost page."""
    return {
        "today": _("Today"),
        "week": _("This week"),
        "month": _("This month"),
        "all": _("All time"),
    }.get(name, name)


def waste(reason: str) -> str:
    """Why money bought nothing that was used."""
    return {
        "retry": _("Wasted on calls that were made again"),
        "discarded": _("Wasted on answers that could not be used"),
        "failed_phase": _("Wasted on phases that failed"),
        "lost": _("Wasted on calls whose answer was lost"),
    }.get(reason, _("Wasted otherwise"))


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


def quality_group(name: str) -> str:
    """A part of the quality score."""
    return {
        "structure": _("Structure"),
        "evidence": _("Evidence"),
        "numbers": _("Numbers"),
        "consistency": _("Consistency"),
        "language": _("Language"),
        "format": _("Format"),
    }.get(name, name)


def supply(name: str) -> str:
    """Where a plan expects an answer from."""
    return {
        "kept": _("kept"),
        "cached": _("cached"),
        "shared": _("shared"),
        "bought": _("to be bought"),
        "offline": _("drafted offline"),
    }[name]


def moment(at: datetime) -> str:
    """A date and time, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"
