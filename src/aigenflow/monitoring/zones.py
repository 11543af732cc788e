"""The user's time zone, which decides when a day of a budget begins."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from gettext import gettext as _
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aigenflow.core.errors import ConfigError

LOCAL = "local"

_LINK = Path("/etc/localtime")


def zone_named(name: str) -> tzinfo:
    """The zone of an IANA name (``Asia/Seoul``), or the machine's own for ``local``.

    Raises :class:`~aigenflow.core.errors.ConfigError` for a name nobody knows.
    """
    if name == LOCAL:
        return _zone(local_name()) or UTC
    zone = _zone(name)
    if zone is None:
        raise ConfigError(
            _("{name} is not a time zone.").format(name=name),
            hint=_("Use a name like Asia/Seoul or Europe/Berlin, or: local"),
        )
    return zone


def local_name() -> str:
    """The IANA name of the machine's zone, as ``TZ`` or the system's link says; else UTC.

    A name is needed rather than the present offset, which is wrong after the clocks change.
    """
    if name := os.environ.get("TZ", "").removeprefix(":"):
        return name
    _before, found, name = os.path.realpath(_LINK).partition("zoneinfo/")
    return name if found else "UTC"


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
