from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import TooLargeError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    ContextKind,
    Route,
)
from aigenflow.pipeline.context import MARKER_TOKENS, condense, estimate_tokens, fit_request

LONG = "\n".join(
    f"# Heading {n}\n\nSome words that only fill the line. The market has {n},000 customers [{n}]."
    f" More filling words without any figure at all.\n\n| a | b |\n|---|---|\n| {n} | x |\n"
    for n in range(200)
)


def a_route(window: int) -> Route:
    return Route(
        agent=AgentType.CLAUDE,
        actor=AgentType.CLAUDE,
        backend=Backend.COMPATIBLE,
        model="small",
        context_window_tokens=window,
    )


def a_request(*documents: ContextDocument) -> AgentRequest:
    return AgentRequest(
        agent=AgentType.CLAUDE, phase=5, task="polish", prompt="p" * 300, context=documents
    )


def doc(name: str, text: str, kind: ContextKind = ContextKind.RESULT) -> ContextDocument:
    return ContextDocument(id=name, title=name, text=text, kind=kind)


def test_what_fits_is_passed_on_verbatim() -> None:
    """Nothing is touched as long as there is room."""
    request = a_request(doc("a", LONG))
    fitted = fit_request(request, a_route(1_000_000))
    assert fitted.request == request
    assert not fitted.omissions


def test_the_oldest_result_is_shortened_first_and_it_is_said() -> None:
    """Later results, the brief and the sources stay whole."""
    documents = (
        doc("brief", "our price is 12,000 won", ContextKind.BRIEF),
        doc("sources", "[1] a", ContextKind.SOURCES),
        doc("old", LONG),
        doc("new", LONG),
    )
    window = int(estimate_tokens(LONG) * 1.8)
    fitted = fit_request(a_request(*documents), a_route(window))
    texts = {document.id: document.text for document in fitted.request.context}
    assert texts["new"] == LONG
    assert texts["brief"] == documents[0].text
    assert len(texts["old"]) < len(LONG)
    assert len(fitted.omissions) == 1
    assert fitted.omissions[0].startswith("old:")


def test_what_cannot_be_shortened_is_refused_before_sending() -> None:
    """A brief larger than the model is a clear error with both sizes."""
    with pytest.raises(TooLargeError, match="small takes"):
        fit_request(a_request(doc("b", LONG, ContextKind.BRIEF)), a_route(2_048))


@given(window=st.integers(4_000, 60_000), count=st.integers(1, 5))
def test_a_fitted_request_fits(window: int, count: int) -> None:
    """Whatever goes in, what comes out is no larger than the window, or it is refused."""
    documents = tuple(doc(f"d{n}", LONG[: 9_000 * (n + 1)]) for n in range(count))
    try:
        fitted = fit_request(a_request(*documents), a_route(window))
    except TooLargeError:
        return
    used = sum(estimate_tokens(d.text) + MARKER_TOKENS for d in fitted.request.context)
    assert used + fitted.request.max_output_tokens + 100 <= window


def test_condensing_keeps_headings_tables_and_figures_first() -> None:
    """What later phases need most is what stays."""
    short = condense(LONG, len(LONG.encode()) // 2)
    assert short.count("# Heading") == 200
    assert "| 150 | x |" in short
    assert "[3]" in short
    assert "More filling words" not in short


@given(st.text(max_size=500), st.integers(0, 400))
def test_condensing_never_exceeds_its_limit(text: str, limit: int) -> None:
    """The limit is in bytes, and Korean letters have three."""
    assert len(condense(text, limit).encode("utf-8", "replace")) <= max(0, limit)
