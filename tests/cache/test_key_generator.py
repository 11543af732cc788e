from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aigenflow.cache.key_generator import (
    KEY_SCHEMA,
    Normalize,
    context_hash,
    differences,
    explain,
    generate_cache_key,
    identify,
    ingredients,
    key_for,
    normalize_prompt,
    reason_for,
)
from aigenflow.core.canonical import canonical_json
from aigenflow.core.errors import InputError
from aigenflow.core.models import (
    FIELDS_THAT_CANNOT_MATTER,
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    Language,
    Route,
)
from tests.cache.questions import REQUEST, ROUTE

PAIRS = int(os.environ.get("AIGENFLOW_TEST_PAIRS", "400"))
"""How many random pairs of questions the property tests compare."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OPTIONS = st.dictionaries(TEXT, JSON, max_size=3)
REQUESTS = st.builds(
    AgentRequest,
    agent=st.sampled_from(AgentType),
    phase=st.integers(1, 5),
    task=TEXT,
    prompt=TEXT,
    context=st.lists(st.builds(ContextDocument, id=TEXT, title=TEXT, text=TEXT), max_size=2).map(
        tuple
    ),
    system=TEXT,
    max_output_tokens=st.integers(1, 100_000),
    web_search=st.booleans(),
    language=st.sampled_from(Language),
    options=OPTIONS,
    answer_so_far=TEXT,
    session=TEXT,
)
ROUTES = st.builds(
    Route,
    agent=st.sampled_from(AgentType),
    actor=st.sampled_from(AgentType),
    backend=st.sampled_from(Backend),
    model=TEXT,
    base_url=st.none() | TEXT,
    context_window_tokens=st.integers(1, 10**6),
    options=OPTIONS,
)
CHANGES: dict[str, Any] = {
    "agent": AgentType.GEMINI,
    "phase": 4,
    "task": "pitch",
    "prompt": "Write the pitch.",
    "context": (),
    "system": "",
    "max_output_tokens": 4097,
    "web_search": True,
    "language": Language.KO,
    "options": {"effort": "high"},
    "answer_so_far": "So far",
}
ROUTE_CHANGES: dict[str, Any] = {
    "backend": Backend.COMPATIBLE,
    "model": "claude-opus-5-5",
    "base_url": "http://127.0.0.1:1",
    "options": {"tier": 1},
}


@pytest.mark.parametrize(
    ("prompt", "normalized"),
    [
        ("  Hello   World \n", "hello world"),
        ("hello world", "hello world"),
        ("\tHELLO\u00a0\u2003world", "hello world"),
        ("건강한   식단", "건강한 식단"),
        ("a|b", "a|b"),
        ("", ""),
    ],
)
def test_the_key_is_the_specified_formula(prompt: str, normalized: str) -> None:
    """Strip, lower-case, collapse; join with bars; SHA-256; first 32 hex digits."""
    joined = f"{normalized}|claude|2|abc"
    expected = hashlib.sha256(joined.encode()).hexdigest()[:32]
    assert generate_cache_key(prompt, AgentType.CLAUDE, 2, "abc") == expected
    assert generate_cache_key(prompt, "claude", "2", "abc") == expected


def test_the_key_of_a_request_is_made_of_its_context_hash() -> None:
    """The two functions of the specification and of this module give the same key."""
    expected = generate_cache_key(
        REQUEST.prompt, REQUEST.agent, REQUEST.phase, context_hash(REQUEST, ROUTE)
    )
    assert key_for(REQUEST, ROUTE) == expected
    assert identify(REQUEST, ROUTE).fingerprint.startswith(expected)


@pytest.mark.parametrize("field", [field.name for field in fields(AgentRequest)])
def test_every_field_of_a_request_counts(field: str) -> None:
    """Each field changes the key, except those that are named as unable to matter."""
    if field in FIELDS_THAT_CANNOT_MATTER:
        assert key_for(replace(REQUEST, **{field: "other"}), ROUTE) == key_for(REQUEST, ROUTE)
    else:
        changed = replace(REQUEST, **{field: CHANGES[field]})
        assert key_for(changed, ROUTE) != key_for(REQUEST, ROUTE)


@pytest.mark.parametrize("field", [field.name for field in fields(Route)])
def test_what_counts_of_a_route(field: str) -> None:
    """Service, model, address and options count; who plays whom and window sizes do not."""
    if field in ROUTE_CHANGES:
        changed = replace(ROUTE, **{field: ROUTE_CHANGES[field]})
        assert key_for(REQUEST, changed) != key_for(REQUEST, ROUTE)
    else:
        values = {"agent": AgentType.GEMINI, "actor": AgentType.GEMINI, "context_window_tokens": 1}
        changed = replace(ROUTE, **{field: values[field]})
        assert key_for(REQUEST, changed) == key_for(REQUEST, ROUTE)


def test_a_field_added_later_counts() -> None:
    """A new field of a request is part of the key without anybody thinking of it."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Wider(AgentRequest):
        mood: str = "calm"

    def wider(mood: str) -> Wider:
        values = {field.name: getattr(REQUEST, field.name) for field in fields(REQUEST)}
        return Wider(**values, mood=mood)

    assert key_for(wider("calm"), ROUTE) != key_for(wider("bold"), ROUTE)


@pytest.mark.parametrize("field", ["id", "title", "text", "kind"])
def test_every_part_of_a_context_document_counts(field: str) -> None:
    """The context is compared to the letter, white space included."""
    first = replace(REQUEST.context[0], **{field: "meal kits."})
    changed = replace(REQUEST, context=(first, REQUEST.context[1]))
    assert key_for(changed, ROUTE) != key_for(REQUEST, ROUTE)
    assert key_for(replace(REQUEST, context=REQUEST.context[::-1]), ROUTE) != key_for(
        REQUEST, ROUTE
    )


def test_case_and_spacing_of_the_prompt_do_not_count_unless_asked() -> None:
    """The specification merges them; ``normalize: none`` does not, nor does it share entries."""
    shouted = replace(REQUEST, prompt=f"  {REQUEST.prompt.upper()}\n")
    assert key_for(shouted, ROUTE) == key_for(REQUEST, ROUTE)
    assert key_for(shouted, ROUTE, "none") != key_for(REQUEST, ROUTE, "none")
    plain = replace(REQUEST, prompt="plain")
    assert key_for(plain, ROUTE, "none") != key_for(plain, ROUTE)


def test_only_the_prompt_is_normalized() -> None:
    """Case matters in the system prompt and in the context."""
    assert key_for(replace(REQUEST, system="A"), ROUTE) != key_for(
        replace(REQUEST, system="a"), ROUTE
    )


@settings(max_examples=PAIRS, deadline=None)
@given(REQUESTS, REQUESTS, ROUTES, ROUTES)
def test_different_questions_have_different_keys(
    one: AgentRequest, other: AgentRequest, here: Route, there: Route
) -> None:
    """Whatever differs beside case, spacing, Unicode form and session shows in the key."""

    def meaning(request: AgentRequest, route: Route) -> bytes:
        return canonical_json(
            [
                replace(request, prompt=normalize_prompt(request.prompt), session=""),
                [route.backend, route.model, route.base_url, route.options],
            ]
        )

    same = meaning(one, here) == meaning(other, there)
    assert (key_for(one, here) == key_for(other, there)) is same


@settings(max_examples=PAIRS, deadline=None)
@given(REQUESTS, ROUTES, st.sampled_from(sorted(CHANGES)), REQUESTS)
def test_one_differing_ingredient_changes_the_key(
    request: AgentRequest, route: Route, field: str, donor: AgentRequest
) -> None:
    """One field taken from another request makes another key, and is the one that is named."""
    value = getattr(donor, field)
    before = getattr(request, field)
    assume(canonical_json(value) != canonical_json(before))
    if field == "prompt":
        assume(normalize_prompt(value) != normalize_prompt(before))
    changed = replace(request, **{field: value})
    assert key_for(changed, route) != key_for(request, route)
    named = differences(ingredients(request, route), ingredients(changed, route))
    assert {item.name.partition("[")[0].removeprefix("request.") for item in named} == {field}


@settings(max_examples=PAIRS, deadline=None)
@given(REQUESTS, ROUTES)
def test_order_and_unicode_form_do_not_count(request: AgentRequest, route: Route) -> None:
    """Dictionary order, and composed or decomposed characters, are the same question."""

    def turned(value: Any) -> Any:
        if isinstance(value, str):
            return unicodedata.normalize("NFD", value)
        if isinstance(value, dict):
            return {turned(key): turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    def nfc_keys(options: Any) -> bool:
        keys = [unicodedata.normalize("NFC", key) for key in options]
        return len(set(keys)) == len(keys)

    assume(nfc_keys(request.options))
    other = replace(
        request,
        prompt=turned(request.prompt),
        system=turned(request.system),
        context=tuple(replace(d, text=turned(d.text)) for d in request.context),
        options=MappingProxyType(dict(reversed(request.options.items()))),
    )
    assert key_for(other, route) == key_for(request, route)


@settings(max_examples=200, deadline=None)
@given(REQUESTS, ROUTES, st.sampled_from(["specified", "none"]))
def test_the_context_hash_is_canonical(
    request: AgentRequest, route: Route, normalize: Normalize
) -> None:
    """It is the SHA-256 of canonical JSON with the schema version first."""
    parts = {
        f"request.{field.name}": getattr(request, field.name)
        for field in fields(AgentRequest)
        if field.name not in FIELDS_THAT_CANNOT_MATTER | {"prompt", "agent", "phase"}
    } | {f"route.{name}": getattr(route, name) for name in ("backend", "model", "base_url")}
    parts |= {"route.options": route.options}
    if normalize == "none":
        parts["normalize"] = "none"
    expected = canonical_json([1, parts])
    assert context_hash(request, route, normalize) == hashlib.sha256(expected).hexdigest()
    assert json.loads(expected)[0] == 1


@settings(max_examples=200, deadline=None)
@given(REQUESTS, ROUTES)
def test_digests_of_ingredients_are_canonical(request: AgentRequest, route: Route) -> None:
    """The digest of a piece is that of the canonical JSON of its value."""
    pieces = ingredients(request, route)
    values = {
        "request.system": request.system,
        "request.options": request.options,
        "request.context": [document.id for document in request.context],
        **{f"request.context[{document.id}]": document for document in request.context},
        "route.options": route.options,
    }
    for name, value in values.items():
        assert pieces[name].digest == hashlib.sha256(canonical_json(value)).hexdigest()[:16]


def test_keys_stay_what_they_are() -> None:
    """A changed key would make every stored answer unreachable."""
    assert (
        identify(REQUEST, ROUTE).fingerprint
        == "9e6f02cae8d7066272f44d6acd3a8e0440acc5194cb084ca3c9d914f277decdf"
    )


def test_ten_thousand_pairs() -> None:
    """Ten thousand requests that differ in one number have ten thousand keys."""
    keys = {key_for(replace(REQUEST, max_output_tokens=n), ROUTE) for n in range(1, 10_001)}
    assert len(keys) == 10_000


@pytest.mark.parametrize("field", ["prompt", "system", "task", "answer_so_far"])
def test_half_a_character_is_a_clean_error(field: str) -> None:
    """A lone surrogate cannot be sent, so it is refused with a hint."""
    with pytest.raises(InputError) as caught:
        key_for(replace(REQUEST, **{field: "a\ud800b"}), ROUTE)
    assert caught.value.hint
    for ask in (
        lambda: generate_cache_key("\udfff", "claude", 1, ""),
        lambda: ingredients(replace(REQUEST, prompt="a\ud800b"), ROUTE),
    ):
        with pytest.raises(InputError, match="half of a character"):
            ask()


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_options_must_be_json(value: object) -> None:
    """An option that JSON cannot hold is the user's mistake, and is named."""
    with pytest.raises(InputError) as caught:
        key_for(replace(REQUEST, options={"x": value}), ROUTE)
    assert caught.value.message.startswith("An option of the agent is not plain JSON: ")
    assert type(value).__name__ in caught.value.message or value != value
    assert caught.value.hint


def test_options_may_hold_records_and_read_only_mappings() -> None:
    """However they are nested, the same content is the same key."""
    document = ContextDocument(id="a", title="b", text="c")
    plain = {"x": {"y": [1, asdict(document)]}}
    nested = {"x": MappingProxyType({"y": [1, document]})}
    assert key_for(replace(REQUEST, options=nested), ROUTE) == key_for(
        replace(REQUEST, options=plain), ROUTE
    )


@pytest.mark.parametrize("normalize", ["specified", "none"])
def test_texts_in_decomposed_form_take_the_same_key(normalize: Normalize) -> None:
    """Macs write Hangul in pieces: in any text, and in an option, it is the same question."""
    composed = replace(
        REQUEST,
        prompt="시장 규모",
        system="가격",
        options={"말투": "정중"},
        context=(replace(REQUEST.context[0], text="조사"),),
    )
    pieces = {
        name: unicodedata.normalize("NFD", getattr(composed, name)) for name in ("prompt", "system")
    }
    decomposed = replace(
        composed,
        **pieces,
        options={unicodedata.normalize("NFD", "말투"): unicodedata.normalize("NFD", "정중")},
        context=(replace(composed.context[0], text=unicodedata.normalize("NFD", "조사")),),
    )
    assert decomposed.system != composed.system
    assert key_for(decomposed, ROUTE, normalize) == key_for(composed, ROUTE, normalize)
    assert key_for(decomposed, ROUTE, "none") != key_for(decomposed, ROUTE, "specified")
    assert (
        differences(
            ingredients(composed, ROUTE, normalize), ingredients(decomposed, ROUTE, normalize)
        )
        == ()
    )


def test_an_identity_says_whose_question_it_is() -> None:
    """Agent and phase stand beside the key, so that a swapped file is found out."""
    identity = identify(REQUEST, ROUTE)
    assert identity.key == key_for(REQUEST, ROUTE)
    assert identity.fingerprint.startswith(identity.key)
    assert (identity.agent, identity.phase) == (REQUEST.agent.value, str(REQUEST.phase))


def test_what_is_not_set_is_shown_as_none() -> None:
    """And an address that names no host as unreadable; options by their names."""
    listed = ingredients(REQUEST, replace(ROUTE, base_url=None))
    assert listed["route.base_url"].display == "none"
    assert listed["request.options"].display == "none"
    assert ingredients(REQUEST, replace(ROUTE, base_url="x"))["route.base_url"].display == (
        "unreadable"
    )
    named = replace(REQUEST, options={"b": 1, "a": 2})
    assert ingredients(named, ROUTE)["request.options"].display == "a, b"


def test_ingredients_show_settings_and_never_texts() -> None:
    """Displays hold names, numbers and lengths; prompt, context and secrets stay out."""
    secret = "the secret recipe"
    request = replace(
        REQUEST,
        prompt=secret,
        system=secret,
        context=(ContextDocument(id="phase1.x", title=secret, text=secret),),
        options={"key": secret},
    )
    route = replace(ROUTE, base_url=f"https://user:{secret[:3]}@host.example/v1?token={secret}")
    listed = ingredients(request, route)
    shown = "\n".join(explain(request, route))
    assert secret not in shown
    assert "secret" not in repr(listed)
    assert listed["route.model"].display == "claude-sonnet-5-5"
    assert listed["route.base_url"].display == "host.example"
    assert listed["request.context[phase1.x]"].display == f"{len(secret)} characters"
    assert key_for(request, route) in shown


def test_an_explanation_lists_every_ingredient_with_its_reason() -> None:
    """The key first, then one line each: name, digest, what it holds, why it counts."""
    for normalize in ("specified", "none"):
        first, *lines = explain(REQUEST, ROUTE, normalize)
        listed = ingredients(REQUEST, ROUTE, normalize)
        assert first == f"key {key_for(REQUEST, ROUTE, normalize)}"
        assert [line.split()[0] for line in lines] == list(listed)
        for line, (name, piece) in zip(lines, listed.items(), strict=True):
            assert line[len(name) :].split(piece.display)[0].strip() == piece.digest
            assert line.endswith(f"{piece.display}  ({reason_for(name)})")
    assert explain(REQUEST, ROUTE) == explain(REQUEST, ROUTE, "specified")


def test_the_prompt_is_listed_as_it_is_compared() -> None:
    """In lower case with single spaces, unless that is switched off."""
    asked = replace(REQUEST, prompt="  Ask  ME ")
    for other in ("ask me", "ASK\nME"):
        again = replace(REQUEST, prompt=other)
        assert ingredients(asked, ROUTE)["prompt"] == ingredients(again, ROUTE)["prompt"]
        both = (ingredients(one, ROUTE, "none")["prompt"] for one in (asked, again))
        assert len(set(both)) == 2
    assert ingredients(asked, ROUTE)["prompt"].display == "6 characters"
    assert ingredients(asked, ROUTE, "none")["prompt"].display == "10 characters"
    other = replace(REQUEST, prompt="ask him")
    [named] = differences(ingredients(asked, ROUTE), ingredients(other, ROUTE))
    assert (named.name, named.before, named.after) == ("prompt", "6 characters", "7 characters")


def test_the_version_of_the_list_is_its_first_ingredient() -> None:
    """A new version is another key, and says so."""
    name, piece = next(iter(ingredients(REQUEST, ROUTE).items()))
    assert (name, piece.display) == ("schema", str(KEY_SCHEMA))


def test_every_ingredient_has_a_reason_of_its_own() -> None:
    """What was added later has a general one."""
    names = {name.partition("[")[0] for name in ingredients(REQUEST, ROUTE, "none")}
    reasons = [reason_for(name) for name in sorted(names)]
    assert {"schema", "prompt", "agent", "phase", "normalize"} < names
    assert len(set(reasons)) == len(reasons)
    assert reason_for("request.context[phase1.x]") == reason_for("request.context")
    assert reason_for("request.mood") == "can change the answer"


def test_differences_show_both_sides_and_why() -> None:
    """Before, after, and the reason; an empty side where it was not there."""
    changed = replace(ROUTE, model="another")
    [model] = differences(ingredients(REQUEST, ROUTE), ingredients(REQUEST, changed))
    assert (model.name, model.before, model.after) == ("route.model", ROUTE.model, "another")
    assert model.reason == "the model that answers"
    fewer = replace(REQUEST, context=REQUEST.context[:1])
    gone = differences(ingredients(REQUEST, ROUTE), ingredients(fewer, ROUTE))[-1]
    come = differences(ingredients(fewer, ROUTE), ingredients(REQUEST, ROUTE))[-1]
    assert gone.name == come.name == "request.context[phase2.research]"
    assert (gone.before, gone.after) == (come.after, come.before)
    assert gone.after == ""
    assert gone.before.endswith("characters")


def test_differences_name_the_document_that_changed() -> None:
    """A changed result of phase 2 is called by its id."""
    changed = replace(
        REQUEST, context=(REQUEST.context[0], replace(REQUEST.context[1], text="new"))
    )
    named = differences(ingredients(REQUEST, ROUTE), ingredients(changed, ROUTE))
    assert [item.name for item in named] == ["request.context[phase2.research]"]
    assert named[0].after == "3 characters"
    removed = differences(
        ingredients(REQUEST, ROUTE), ingredients(replace(REQUEST, context=()), ROUTE)
    )
    assert [item.after for item in removed if "[" in item.name] == ["", ""]
