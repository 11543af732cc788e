"""The nouns of batch processing."""

import math
import re
from dataclasses import replace

import pytest

from aigenflow.batch.models import BatchLimits, BatchRequest, BatchResponse, provider_of
from aigenflow.core.config import BatchSettings
from aigenflow.core.errors import ConfigError, ServerFaultError
from aigenflow.core.models import AgentRequest, AgentType, Backend, GatewayResponse, Route

REQUEST = AgentRequest(agent=AgentType.GEMINI, phase=2, task="deep_search", prompt="Market?")
ROUTE = Route(
    agent=AgentType.GEMINI,
    actor=AgentType.GEMINI,
    backend=Backend.GEMINI,
    model="gemini-3.8-flash",
)


def test_every_request_gets_an_id_that_providers_take() -> None:
    """Ids differ, and fit the strictest rule for a ``custom_id``."""
    ids = {BatchRequest(request=REQUEST, route=ROUTE).id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", each) for each in ids)


def test_an_outcome_is_a_response_or_an_error() -> None:
    """Neither both nor nothing; ``success`` says which."""
    asked = BatchRequest(request=REQUEST, route=ROUTE)
    answer, error = GatewayResponse(content="Yes."), ServerFaultError("No.")
    assert BatchResponse(request=asked, response=answer).success
    assert not BatchResponse(request=asked, error=error).success
    with pytest.raises(ValueError, match="a response or an error"):
        BatchResponse(request=asked)
    with pytest.raises(ValueError, match="a response or an error"):
        BatchResponse(request=asked, response=answer, error=error)


def test_a_group_is_an_account_at_an_address() -> None:
    """Model and role do not part a group; back-end, address and actor do."""
    same = replace(ROUTE, model="another", agent=AgentType.PERPLEXITY)
    assert provider_of(same) == provider_of(ROUTE)
    for other in (
        replace(ROUTE, backend=Backend.COMPATIBLE),
        replace(ROUTE, base_url="http://127.0.0.1:8200"),
        replace(ROUTE, actor=AgentType.CLAUDE),
    ):
        assert provider_of(other) != provider_of(ROUTE)


def test_limits_are_the_specified_ones_by_default() -> None:
    """Five requests, two seconds: as the settings say."""
    settings = BatchSettings()
    assert BatchLimits().max_batch_size == settings.max_batch_size == 5
    assert BatchLimits().max_wait_s == settings.max_wait_seconds == 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", 0),
        ("max_wait_s", -0.1),
        ("max_wait_s", math.nan),
        ("timeout_s", -1),
        ("max_in_flight", 0),
    ],
)
def test_limits_that_would_stop_everything_are_refused(name: str, value: float) -> None:
    """The message names the limit and its value."""
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        BatchLimits(**{name: value})  # type: ignore[arg-type]
