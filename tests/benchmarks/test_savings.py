"""The savings benchmark: its mixes, its prices, and the promise that it measures."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from savings import ALL, MIXES, OFF, Bought, Server, add_up, as_apart, dollars, load, lower_bound
from savings import write_all as write_mix
from targets import Target, show_target, targets_in, without_targets

from aigenflow.testing.bill import BillLine
from aigenflow.testing.process import WireServerProcess

NAMES = sorted(path.stem for path in MIXES.glob("*.yaml"))
LINE = BillLine(
    number=1,
    at="2026-11-22T10:00:00+00:00",
    provider="anthropic",
    model="claude-sonnet-5-5",
    stream=True,
    tier="standard",
    body_sha256="",
    status=200,
    outcome="complete",
    billed=True,
    input_tokens=10_000,
    output_tokens=1_000,
    question="q1",
)


def bought(line: BillLine, mix: str = "course") -> Bought:
    return Bought(line=line, document=load(mix).documents[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_mix_says_why_and_keeps_its_order(name: str) -> None:
    """Every mix can be read, gives its reasoning, and its documents follow each other in time."""
    mix = load(name)
    begins = [document.begins for document in mix.documents]
    assert len(mix.why) > 100
    assert begins == sorted(begins)


def test_a_line_costs_what_is_published() -> None:
    """Ten thousand tokens in and a thousand out: 3 cents live, half of it in a batch."""
    assert dollars(LINE) == Decimal("0.03")
    assert dollars(replace(LINE, tier="batch")) == Decimal("0.015")
    assert dollars(replace(LINE, total_cost="0.5")) == Decimal("0.5")


def test_a_batch_item_gets_no_credit_for_the_waves_before() -> None:
    """What the server took for a remembered prefix is written anew by an item of a batch job."""
    warm = replace(LINE, cached_input_tokens=4_000, cache_write_5m_tokens=1_000)
    assert as_apart(warm) == warm
    cold = as_apart(replace(warm, tier="batch"))
    assert (cold.cached_input_tokens, cold.cache_write_5m_tokens) == (0, 5_000)


def test_the_lower_bound_buys_every_answer_once_at_its_cheapest() -> None:
    """A repeated question counts once, and at half the price only where there is time."""
    again = replace(LINE, number=2)
    other = replace(LINE, question="q2")
    assert lower_bound([bought(LINE), bought(again), bought(other)]) == Decimal("0.03")
    assert lower_bound([bought(LINE, "specification")]) == Decimal("0.03")
    assert lower_bound([]) == 0


@pytest.mark.slow
async def test_the_same_topic_again_costs_nothing(tmp_path: Path) -> None:
    """On the server's bill, asked twice, at least 20 % are hits and at least 25 % is saved."""
    mix = load("specification")
    twice = mix.model_copy(update={"documents": mix.documents[:2]})
    with WireServerProcess(state_dir=tmp_path / "wire") as wire:
        off, everything = [
            add_up(await write_mix(Server(wire.url), twice, way, tmp_path / way.name))
            for way in (OFF, ALL)
        ]
    assert everything.calls <= off.calls * 0.8
    assert everything.cost <= off.cost * Decimal("0.75")


def test_a_target_is_found_again_in_what_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The report reads back what a script printed, and shows the rest as it is."""
    target = Target(name="hit", wanted="at most 2", measured="3", met=False, note="")
    print("a table")
    show_target(target)
    printed = capsys.readouterr().out
    assert list(targets_in(printed)) == [target]
    assert without_targets(printed) == "a table"
