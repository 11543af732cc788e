"""The textfile for Prometheus."""

from __future__ import annotations

import re
import stat
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.models import ServedFrom, TokenUsage
from aigenflow.monitoring.models import Totals
from aigenflow.monitoring.textfile import FAMILIES, render, write_textfile
from aigenflow.monitoring.tracker import TokenTracker

SAMPLE = re.compile(r'([a-z_]+)\{provider="((?:[^"\\\n]|\\.)*)"(?:,by="([a-z_]+)")?\} (-?[0-9.]+)')


def samples(text: str) -> dict[tuple[str, str, str], Decimal]:
    """Name, provider and ``by`` with the value, read as Prometheus reads them."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            parts = SAMPLE.fullmatch(line)
            assert parts, line
            found[parts[1], parts[2], parts[3] or ""] = Decimal(parts[4])
    return found


@pytest.fixture
def tracker(tmp_path: Path) -> TokenTracker:
    return TokenTracker.open(f"sqlite:///{tmp_path}/ledger.db")


def test_the_sums_are_those_of_the_ledger(tracker: TokenTracker, tmp_path: Path) -> None:
    """Calls, tokens, dollars and savings, exactly; a cache hit is not a billed call."""
    live = TokenUsage(
        provider="claude", input_tokens=10, output_tokens=5, billed_cost=Decimal("0.000000001")
    )
    hit = TokenUsage(
        provider="claude",
        input_tokens=10,
        output_tokens=5,
        billed_cost=Decimal(0),
        avoided_cost=Decimal("0.25"),
        served_from=ServedFrom.CACHE,
    )
    for usage in (live, live, hit):
        tracker.track(usage)
    path = tmp_path / "made" / "aigenflow.prom"
    write_textfile(path, tracker, tmp_path)
    tracker.close()
    found = samples(path.read_text())
    assert found["aigenflow_calls_total", "claude", ""] == 2
    assert found["aigenflow_cache_hits_total", "claude", ""] == 1
    assert found["aigenflow_input_tokens_total", "claude", ""] == 20
    assert found["aigenflow_cost_usd_total", "claude", ""] == Decimal("0.000000002")
    assert found["aigenflow_saved_usd", "claude", "response_cache"] == Decimal("0.25")


def test_node_exporter_may_read_it_and_finds_no_half_file(
    tracker: TokenTracker, tmp_path: Path
) -> None:
    """It is readable by other users, nothing else is left in the folder, and it is replaced."""
    folder = tmp_path / "textfiles"
    path = folder / "aigenflow.prom"
    for _n in range(2):
        write_textfile(path, tracker, tmp_path)
    tracker.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(folder.iterdir()) == [path]


def test_every_family_is_named_as_prometheus_wants() -> None:
    """Counters end in _total, gauges do not, and names are unique."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind == "counter")
    text = render([])
    assert text.count("# TYPE") == text.count("# HELP") == len(FAMILIES)
    assert text.endswith("\n")


def test_every_family_is_explained_in_the_guide() -> None:
    """The guide's tables name each metric of the file."""
    guide = Path(__file__).parents[2] / "docs" / "guide" / "telemetry.md"
    text = guide.read_text("utf-8")
    assert [family.name for family in FAMILIES if f"`{family.name}`" not in text] == []


@given(
    key=st.text(),
    amount=st.decimals(
        min_value=-1000, max_value=10**9, places=9, allow_nan=False, allow_infinity=False
    ),
)
def test_any_name_and_any_amount_can_be_read_back(key: str, amount: Decimal) -> None:
    """No quote or line break in a name breaks a line, and no amount turns into an exponent."""
    text = render([Totals(key=key, billed=amount, prompt_cache_saving=amount)])
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    found = [SAMPLE.fullmatch(line) for line in lines]
    assert all(found)
    values = {(parts[1], parts[3] or ""): parts[4] for parts in found if parts}
    assert Decimal(values["aigenflow_cost_usd_total", ""]) == amount
    assert Decimal(values["aigenflow_saved_usd", "prompt_cache"]) == amount
