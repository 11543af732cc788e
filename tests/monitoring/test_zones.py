"""The user's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aigenflow.core.errors import ConfigError
from aigenflow.monitoring import zones
from aigenflow.monitoring.zones import local_name, zone_named

SUMMER = datetime(2026, 7, 1, tzinfo=UTC)
WINTER = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_zone_knows_its_summer_time():
    """A named zone has the offset of the moment, not of today."""
    berlin = zone_named("Europe/Berlin")
    offsets = [at.astimezone(berlin).utcoffset() for at in (SUMMER, WINTER)]
    assert offsets == [timedelta(hours=2), timedelta(hours=1)]


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd"])
def test_a_name_nobody_knows_is_refused(name: str):
    """A wrong name is an error of the configuration, also where it looks like a path."""
    with pytest.raises(ConfigError, match="not a time zone"):
        zone_named(name)


def test_local_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    """TZ comes first, and a zone in it keeps its summer time."""
    monkeypatch.setenv("TZ", ":America/New_York")
    assert local_name() == "America/New_York"
    local = zone_named("local")
    assert SUMMER.astimezone(local).utcoffset() == timedelta(hours=-4)


def test_local_follows_the_systems_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without TZ the system's link names the zone; a plain file names none, which is UTC."""
    monkeypatch.delenv("TZ", raising=False)
    target = tmp_path / "zoneinfo" / "Asia" / "Seoul"
    target.parent.mkdir(parents=True)
    target.touch()
    link = tmp_path / "localtime"
    link.symlink_to(target)
    monkeypatch.setattr(zones, "_LINK", link)
    assert local_name() == "Asia/Seoul"
    monkeypatch.setattr(zones, "_LINK", tmp_path / "plain")
    assert local_name() == "UTC"


def test_a_local_zone_nobody_knows_is_utc(monkeypatch: pytest.MonkeyPatch):
    """A machine with an odd TZ still has days."""
    monkeypatch.setenv("TZ", "Nowhere/Land")
    assert zone_named("local") is UTC
