"""``aigenflow pricing`` through the command line."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from aigenflow.monitoring import published
from aigenflow.testing.clock import ManualClock
from tests.support.commands import Run, squeezed
from tests.support.prices import served, table


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection to another machine fails the test at once."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise AssertionError(f"a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def own_prices(own_home: Path) -> Path:
    """The user's table, still to be written."""
    own_home.mkdir()
    return own_home / "pricing.yaml"


def as_json(aigenflow: Run, *arguments: str, code: int = 0) -> Any:
    done = aigenflow("pricing", *arguments, "--json")
    assert done.code == code, done.err
    return json.loads(done.out)


def agent(aigenflow: Run, name: str) -> Any:
    quotes = as_json(aigenflow, "show")["agents"]
    return next(quote for quote in quotes if quote["agent"] == name)


# show


def test_the_prices_in_force_are_shown_with_who_says_so(aigenflow: Run, own_home: Path):
    """Each agent's model, live and where known batch and flex, with the vendor's page."""
    done = aigenflow("pricing", "show")
    assert done.code == 0
    text = squeezed(done.out)
    assert "claude: claude-sonnet-5-5 (anthropic) genai-prices https://www.anthropic.com" in text
    assert "live 2.00 0.10 2.50 10.00 10.00 batch 1.00 0.05 1.25 5.00 10.00" in text
    assert not own_home.exists()
    claude = agent(aigenflow, "claude")
    assert (claude["source"], claude["estimate"]) == ("exact", False)
    assert [offer["served"] for offer in claude["offers"]] == ["live", "batch"]
    assert claude["offers"][0]["steps"][0]["input_usd"] == "2"


def test_price_cliffs_are_shown(aigenflow: Run):
    """Above so many input tokens every token costs more, and the table says from where."""
    text = squeezed(aigenflow("pricing", "show").out)
    assert "live, input > 272,000 4.00 0.20 5.00 15.00 10.00" in text
    live, flex, _batch = agent(aigenflow, "chatgpt")["offers"]
    assert [step["above_input_tokens"] for step in live["steps"]] == [0, 272_000]
    assert flex["served"] == "flex"


def test_an_announced_change_is_shown_before_it_comes(aigenflow: Run, clock: ManualClock):
    """A dated price is told with its day; from that day on it is the price."""
    text = squeezed(aigenflow("pricing", "show").out)
    assert "from 2027-01-01 on (UTC): live 1.50 0.15 1.50 7.50" in text
    assert agent(aigenflow, "gemini")["next_change"]["day"] == "2027-01-01"
    clock.advance(60 * 86_400)
    gemini = agent(aigenflow, "gemini")
    assert gemini["next_change"] is None
    assert gemini["offers"][0]["steps"][0]["input_usd"] == "1.5"


def test_a_model_nobody_lists_has_an_estimate(aigenflow: Run, monkeypatch: pytest.MonkeyPatch):
    """The agent's usual rate, marked, and no discount that nobody promised."""
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__MODEL", "some-new-model")
    claude = agent(aigenflow, "claude")
    assert (claude["source"], claude["estimate"]) == ("fallback", True)
    assert [offer["served"] for offer in claude["offers"]] == ["live"]
    assert claude["offers"][0]["steps"][0]["output_usd"] == "15"
    assert "an estimate" in aigenflow("pricing", "show").out


def test_an_unknown_price_is_unknown(aigenflow: Run, monkeypatch: pytest.MonkeyPatch):
    """Never zero. A server on this machine is free, by rule."""
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__BACKEND", "compatible")
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__MODEL", "some-new-model")
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__BASE_URL", "https://models.example/v1")
    claude = agent(aigenflow, "claude")
    assert (claude["known"], claude["source"], claude["offers"]) == (False, None, [])
    assert "The price is not known, so calls are refused." in aigenflow("pricing", "show").out
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__BASE_URL", "http://127.0.0.1:8200/v1")
    assert agent(aigenflow, "claude")["source"] == "rule"
    assert "it runs on this machine" in aigenflow("pricing", "show").out


def test_the_users_own_prices_win(aigenflow: Run, own_prices: Path):
    """With their source and the day they began, and the next one."""
    own_prices.write_text(
        """
updated: 2026-11-01
models:
  - {name: claude-sonnet-5-5, input_per_million: 1.9, output_per_million: 9,
     batch_multiplier: 0.5, since: 2026-01-01, source: "our contract"}
  - {name: claude-sonnet-5-5, input_per_million: 1.5, output_per_million: 8, since: 2026-12-01}
"""
    )
    claude = agent(aigenflow, "claude")
    assert (claude["source"], claude["page"]) == ("user", "our contract")
    assert (claude["last_change"], claude["next_change"]["day"]) == ("2026-01-01", "2026-12-01")
    live, batch = claude["offers"]
    assert (live["steps"][0]["input_usd"], batch["steps"][0]["input_usd"]) == ("1.9", "0.95")
    text = aigenflow("pricing", "show").out
    assert "your pricing.yaml  our contract" in text
    assert f"Your prices: 2 rows in {own_prices}" in text


def test_old_prices_are_warned_about(aigenflow: Run, clock: ManualClock):
    """The age is always told, the warning comes after a while."""
    fresh = aigenflow("pricing", "show").out
    assert re.search(r"its newest price is of 2026-\d\d-\d\d, \d+ days ago", fresh)
    assert "out of date" not in fresh
    clock.advance(365 * 86_400)
    assert "may be out of date. `aigenflow pricing update`" in aigenflow("pricing", "show").out


# check


def test_shipped_prices_agree_with_the_published_ones(aigenflow: Run):
    """Fallback rates differ, and are told apart: no call of a listed model is billed so."""
    done = aigenflow("pricing", "check")
    assert done.code == 0
    assert "No call is billed at another price" in done.out
    assert "claude: input $3.00; claude-sonnet-5-5 is published at $2.00" in done.out
    found = as_json(aigenflow, "check")["differences"]
    assert {one["table"] for one in found} == {"fallback"}
    assert not any(one["in_force"] for one in found)
    assert {one["above_input_tokens"] for one in found} == {0}


def test_the_users_rows_are_compared(aigenflow: Run, own_prices: Path):
    """Every price of a row that is not the published one, cliffs included; exit code 1."""
    own_prices.write_text(
        """
providers: [{name: gemini, input_per_million: 0.75, output_per_million: 4}]
models:
  - {name: gpt-6.1-sol, input_per_million: 2, output_per_million: 10,
     cached_input_per_million: 0.1, cache_write_per_million: 2.5, search_per_thousand: 10}
  - {name: in-house-7b, input_per_million: 0.1, output_per_million: 0.1}
"""
    )
    value = as_json(aigenflow, "check", code=1)
    mine = [one for one in value["differences"] if one["table"] == "user"]
    assert [(one["row"], one["kind"], one["above_input_tokens"]) for one in mine] == [
        ("gpt-6.1-sol", "input", 272_000),
        ("gpt-6.1-sol", "cached_input", 272_000),
        ("gpt-6.1-sol", "cache_write", 272_000),
        ("gpt-6.1-sol", "cache_write_1h", 272_000),
        ("gpt-6.1-sol", "output", 272_000),
        ("gpt-6.1-sol", "reasoning", 272_000),
        ("gemini", "output", 0),
    ]
    assert mine[0]["ours_usd"] == "2"
    assert mine[0]["published_usd"] == "4"
    assert value["not_published"] == ["in-house-7b"]
    text = aigenflow("pricing", "check").out
    assert "gpt-6.1-sol: input above 272,000 input tokens $2.00" in text
    assert "Not published, so not compared: in-house-7b" in text


# update


def test_an_update_puts_newer_prices_in_force(
    aigenflow: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
):
    """What changed for the agents is told, and counts from then on."""
    with served(table(anthropic={"input_mtok": 1.75, "output_mtok": 7})) as url:
        monkeypatch.setattr(published, "SOURCE_URL", url)
        done = aigenflow("pricing", "update")
    assert done.code == 0, done.err
    assert str(own_home / "genai-prices.json") in done.out
    assert "1.75" in done.out
    assert agent(aigenflow, "claude")["offers"][0]["steps"][0]["input_usd"] == "1.75"
    assert "fetched 2026-11-19, 0 days ago" in aigenflow("pricing", "show").out
    with served(table(anthropic={"input_mtok": 1.75, "output_mtok": 7})) as url:
        monkeypatch.setattr(published, "SOURCE_URL", url)
        assert "Nothing changed" in aigenflow("pricing", "update").out
        assert as_json(aigenflow, "update")["changed"] == []


def test_offline_an_update_is_one_clear_error(
    aigenflow: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit code 4; the prices stay as they were."""
    with served(b"") as url:
        pass
    monkeypatch.setattr(published, "SOURCE_URL", url)
    done = aigenflow("pricing", "update")
    assert done.code == 4
    assert "could not be fetched" in done.err
    assert "stay in force" in done.err
    assert not (own_home / "genai-prices.json").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"[]", 200),
        (b"{}", 200),
        (b'[{"id": "anthropic"}]', 200),
        (table(), 500),
        (table(openai={"input_mtok": "dear"}), 200),
    ],
)
def test_what_is_no_table_of_prices_is_not_kept(
    aigenflow: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int
):
    """Nor is one without a vendor that we use: its models would silently cost an estimate."""
    with served(body, status) as url:
        monkeypatch.setattr(published, "SOURCE_URL", url)
        done = aigenflow("pricing", "update")
    assert done.code == 4
    assert "Traceback" not in done.err
    assert not (own_home / "genai-prices.json").exists()


def test_an_update_mends_a_damaged_file(
    aigenflow: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Damage is one clear error for everybody else, never another price."""
    own_home.mkdir()
    (own_home / "genai-prices.json").write_text('{"package": "0.')
    done = aigenflow("pricing", "show")
    assert done.code == 2
    assert "aigenflow pricing update" in done.err
    with served(table()) as url:
        monkeypatch.setattr(published, "SOURCE_URL", url)
        assert aigenflow("pricing", "update").code == 0
    assert aigenflow("pricing", "show").code == 0
