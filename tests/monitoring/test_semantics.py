"""What telemetry says of calls, tasks and runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aigenflow.core.errors import EmptyAnswerError, RateLimitedError
from aigenflow.core.events import RunStarted, TaskStarted
from aigenflow.core.models import Backend, FinishReason
from aigenflow.monitoring import semantics
from tests.monitoring.calls import ANSWER, ROUTE, SECRETS, Attempted


def test_a_call_has_the_attributes_of_the_conventions_and_ours() -> None:
    """Model, tokens with their parts, cost and place: all of it, under the conventions' names."""
    assert semantics.call_attributes(Attempted(response=ANSWER, number=2)) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-3.8-flash",
        "gen_ai.request.max_tokens": 2000,
        "gen_ai.response.model": "gemini-3.8-flash-001",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_write.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 100,
        "gen_ai.agent.name": "gemini",
        "gen_ai.conversation.id": "20261122-101500-3f9a2c",
        "server.address": "127.0.0.1",
        "server.port": 8200,
        "aigenflow.attempt": 2,
        "aigenflow.phase": 2,
        "aigenflow.task": "deep_search",
        "aigenflow.served_from": "live",
        "aigenflow.cost_usd": 0.0025,
    }


def test_what_is_not_known_is_left_out() -> None:
    """No count and no price is not a count of zero and a price of zero."""
    unknown = ANSWER.model_copy(update={"usage_reported": False, "estimated_cost": None})
    call = Attempted(response=unknown)
    attributes = semantics.call_attributes(call)
    assert not [name for name in attributes if name.startswith("gen_ai.usage.")]
    assert "aigenflow.cost_usd" not in attributes
    assert semantics.token_counts(call) == {}
    assert semantics.token_counts(Attempted(error=RateLimitedError("x"))) == {}


def test_an_error_is_named_and_what_arrived_all_the_same_is_counted() -> None:
    """An empty answer was billed: its tokens are on the span of the failure."""
    empty = ANSWER.model_copy(update={"finish_reason": FinishReason.EMPTY})
    failed = Attempted(error=EmptyAnswerError("the-message", response=empty))
    attributes = semantics.call_attributes(failed)
    assert attributes["error.type"] == "EmptyAnswerError"
    assert attributes["gen_ai.response.finish_reasons"] == ("empty",)
    assert semantics.token_counts(failed) == {"input": 1200, "output": 300}
    limited = semantics.duration_attributes(Attempted(error=RateLimitedError("the-message")))
    assert limited["http.response.status_code"] == 429


@pytest.mark.parametrize("error", [None, EmptyAnswerError("the-message", response=ANSWER)])
def test_no_text_is_told_unless_asked_for(error: EmptyAnswerError | None) -> None:
    """Prompts, context, answers, messages of errors and user names in addresses stay here."""
    call = Attempted(response=None if error else ANSWER, error=error)
    run = RunStarted(session="s", topic="the-prompt", routes=(ROUTE,), notices=("the-message",))
    told = str(
        [
            semantics.call_attributes(call),
            semantics.duration_attributes(call),
            semantics.token_attributes(call, "input"),
            semantics.cost_attributes(call, ANSWER),
            semantics.run_attributes(run),
            semantics.task_attributes(TaskStarted(phase=2, task="t", route=ROUTE), "s"),
        ]
    )
    assert not [secret for secret in SECRETS if secret in told]


def test_content_is_told_when_asked_for() -> None:
    """With capture_content, all that was heard and said is there, in the conventions' JSON."""
    attributes = semantics.call_attributes(Attempted(response=ANSWER), capture_content=True)
    [heard] = json.loads(str(attributes["gen_ai.input.messages"]))
    assert [part["content"] for part in heard["parts"]] == ["the-context", "the-prompt"]
    [system] = json.loads(str(attributes["gen_ai.system_instructions"]))
    assert system == {"type": "text", "content": "the-system"}
    [said] = json.loads(str(attributes["gen_ai.output.messages"]))
    assert (said["role"], said["finish_reason"]) == ("assistant", "stop")
    assert said["parts"][0]["content"] == "the-answer"
    run = RunStarted(session="s", topic="a topic", routes=(), notices=())
    assert semantics.run_attributes(run, capture_content=True)["aigenflow.topic"] == "a topic"


@pytest.mark.parametrize("backend", Backend)
def test_every_way_of_reaching_a_model_has_a_name(backend: Backend) -> None:
    """No back-end is forgotten in the table of providers."""
    call = Attempted(route=replace(ROUTE, backend=backend), response=ANSWER)
    assert semantics.call_attributes(call)["gen_ai.provider.name"]
