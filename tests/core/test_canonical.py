from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.canonical import canonical_json, fingerprint
from aigenflow.core.models import AgentRequest, AgentType, ContextDocument

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc가"), inner, max_size=4)
    ),
    max_leaves=12,
)


def reversed_dicts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_dicts(value[key]) for key in reversed(list(value))}
    return [reversed_dicts(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    """A dictionary written in another order has the same bytes."""
    assert canonical_json(value) == canonical_json(reversed_dicts(value))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_unicode_form_does_not_matter(text: str) -> None:
    """The same Korean title typed on two systems is the same title."""
    decomposed = unicodedata.normalize("NFD", text)
    composed = unicodedata.normalize("NFC", text)
    assert canonical_json(decomposed) == canonical_json(composed)


def test_compatibility_forms_stay_apart() -> None:
    """㎡ is not m2, and ① is not 1."""
    assert canonical_json("㎡") != canonical_json("m2")
    assert canonical_json("①") != canonical_json("1")


def test_what_json_cannot_hold_is_refused() -> None:
    """NaN, lone surrogates and foreign objects have no canonical form."""
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))
    with pytest.raises(UnicodeEncodeError):
        canonical_json("\ud800")
    with pytest.raises(TypeError, match="object"):
        canonical_json(object())


def test_a_request_is_told_apart_by_every_field() -> None:
    """Each field of a request, also of its documents, reaches the fingerprint."""
    document = ContextDocument(id="a", title="t", text="x")
    request = AgentRequest(
        agent=AgentType.CLAUDE, phase=1, task="t", prompt="p", context=(document,)
    )
    others = [
        replace(request, agent=AgentType.GEMINI),
        replace(request, phase=2),
        replace(request, task="u"),
        replace(request, prompt="q"),
        replace(request, context=()),
        replace(request, context=(replace(document, text="y"),)),
        replace(request, options={"a": 1}),
        replace(request, web_search=True),
    ]
    assert len({fingerprint(one) for one in [request, *others]}) == len(others) + 1
