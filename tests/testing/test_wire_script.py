"""Scripts of the wire-format server: which rule acts when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import Backend
from aigenflow.testing.wire_models import Ask, Received
from aigenflow.testing.wire_script import (
    FaultKind,
    RuleBook,
    chance,
    load_script,
    parse_script,
)


def an_ask(text: str = "x", *, model: str = "m", backend: Backend = Backend.OPENAI) -> Ask:
    body = {"input": text}
    received = Received(
        backend=backend, path="responses", headers={}, query={}, body=body, sha256=text
    )
    return Ask(backend=backend, model=model, received=received, parts=(), instruction=text)


def fired(rules: list[dict[str, Any]], asks: list[Ask]) -> list[int | None]:
    """The index of the rule that acted, per call."""
    book = RuleBook(parse_script({"rules": rules}))
    return [book.choose(ask, number)[1] for number, ask in enumerate(asks, 1)]


def test_nth_counts_every_call_that_matches() -> None:
    """Also calls that an earlier rule answered: the second call is the second call."""
    rules = [{"match": {"nth": 1}}, {"match": {"nth": 2}}]
    assert fired(rules, [an_ask()] * 3) == [0, 1, None]


def test_times_counts_how_often_a_rule_has_acted() -> None:
    """Two rules with ``times`` act one after the other."""
    rules = [{"match": {"times": 2}}, {"match": {"times": 1}}]
    assert fired(rules, [an_ask()] * 4) == [0, 0, 1, None]


def test_a_rule_matches_provider_model_and_text() -> None:
    """All that a match names must hold; text is compared with escapes resolved."""
    asks = [
        an_ask('say "위험"\nnow'),
        an_ask("say", model="other"),
        an_ask("say", backend=Backend.GEMINI),
    ]
    assert fired([{"match": {"contains": 'y "위험"\nn'}}], asks) == [0, None, None]
    assert fired([{"match": {"model": "other"}}], asks) == [None, 0, None]
    assert fired([{"match": {"provider": "gemini", "model": "m"}}], asks) == [None, None, 0]


def test_a_probability_is_kept_and_repeatable() -> None:
    """About a fifth of many calls is hit, the same ones in each run."""
    rules = [{"match": {"probability": 0.2}}]
    first = fired(rules, [an_ask()] * 500)
    assert first == fired(rules, [an_ask()] * 500)
    assert 70 <= sum(rule == 0 for rule in first) <= 130


def test_a_rule_leaves_the_defaults_what_it_does_not_set() -> None:
    """The action of a rule stands on the defaults of the script."""
    script = parse_script(
        {
            "defaults": {"latency_s": 0.5, "chunks": 3},
            "rules": [{"action": {"chunks": 4, "text": "a"}}],
        }
    )
    action, _ = RuleBook(script).choose(an_ask(), 1)
    assert (action.latency_s, action.chunks, action.text) == ((0.5, 0.5), 4, "a")


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_can_be_written_as_text(kind: FaultKind) -> None:
    """``kind`` alone where it needs no value, ``kind:value`` otherwise, and back again."""
    text = f"{kind}:http://x" if kind is FaultKind.REDIRECT_307_TO else kind.value
    script = parse_script({"defaults": {"fault": text}})
    assert script.defaults.fault is not None
    assert script.defaults.fault.kind is kind
    again = parse_script(script.model_dump(mode="json", exclude_unset=True))
    assert again == script


@pytest.mark.parametrize(
    "data",
    [
        {"rule": []},
        {"defaults": {"fault": "redirect_307_to"}},
        {"defaults": {"fault": "stall_s:soon"}},
        {"defaults": {"status": 99}},
        {"defaults": {"latency_s": -1}},
        {"limits": {"offline": {}}},
        {"rules": [{"match": {"nth": 0}}]},
        [],
    ],
)
def test_a_script_that_cannot_be_meant_is_refused(data: Any) -> None:
    """The error has a hint, and the message names the script."""
    with pytest.raises(ConfigError, match=r"faults\.yaml") as refused:
        parse_script(data, "faults.yaml")
    assert refused.value.hint


def test_a_file_is_read_as_yaml_or_json(tmp_path: Path) -> None:
    """Both forms give the same script; text files are looked up beside it."""
    (tmp_path / "a.yaml").write_text("rules:\n- action: {text_file: a.md}\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(
        '{\n\t"rules": [{"action": {"text_file": "a.md"}}]\n}', encoding="utf-8"
    )
    (tmp_path / "a.md").write_text("본문", encoding="utf-8")
    script = load_script(tmp_path / "a.yaml")
    assert script == load_script(tmp_path / "a.json")
    assert script.rules[0].action.script_text() == "본문"


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_an_error_with_its_name(
    content: bytes | None, tmp_path: Path
) -> None:
    """Broken YAML, broken text and a missing file all say which file."""
    path = tmp_path / "broken.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_script(path)


@given(st.integers(), st.text(), st.integers())
def test_a_chance_is_a_fixed_number_between_zero_and_one(seed: int, text: str, call: int) -> None:
    """The draw depends on nothing but its arguments."""
    text = text.encode("utf-8", "replace").decode()
    assert 0 <= chance(seed, text, call) < 1
    assert chance(seed, text, call) == chance(seed, text, call)
