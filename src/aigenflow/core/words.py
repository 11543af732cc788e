"""What the program's nouns are called where people read them: on a screen, and on a page.

By their value, so that nobody pays for the module of a noun only to name it. A noun that is none
raises ``KeyError``; a phase or a reason that a later version wrote is shown as it is.
"""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal


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


def processing(name: str) -> str:
    """How answers are bought, or where one came from."""
    return {
        "live": _("Live"),
        "flex": _("Flex"),
        "batch": _("Batch"),
        "priority": _("Priority"),
        "auto": _("Automatic"),
        "cache": _("Cache"),
    }[name]


def supply(name: str) -> str:
    """Where a plan expects an answer from."""
    return {
        "kept": _("kept"),
        "cached": _("cached"),
        "shared": _("shared"),
        "bought": _("to be bought"),
        "offline": _("drafted offline"),
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


def waste(reason: str) -> str:
    """Why money bought nothing that was used."""
    return {
        "retry": _("Wasted on calls that were made again"),
        "discarded": _("Wasted on answers that could not be used"),
        "failed_phase": _("Wasted on phases that failed"),
        "lost": _("Wasted on calls whose answer was lost"),
    }.get(reason, _("Wasted otherwise"))


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


def percent(share: Decimal | float) -> str:
    """Per cent with one decimal, of a figure from 0 to 100."""
    return _("{share} %").format(share=f"{share:,.1f}")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return _("{count} s").format(count=round(seconds))
    if seconds < 90 * 60:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=round(seconds / 3600, 1))
