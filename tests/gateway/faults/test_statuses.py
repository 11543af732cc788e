"""Answers with a status other than 200: who is asked again, when, and who is not."""

from __future__ import annotations

import re

import pytest

from aigenflow.core.errors import (
    AuthenticationError,
    GatewayError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    TooLargeError,
)
from aigenflow.core.models import Backend, Json
from aigenflow.testing.faults import HTML_PAGE
from tests.gateway.faults.line import (
    BASE_S,
    CAP_S,
    TEXT,
    WHOLES,
    Line,
    Way,
    key_of,
    over_ways,
    over_wholes,
)

SERVER_FAULTS = (408, 409, 500, 502, 503, 504, 520, 529)
JITTER_S = 2 * CAP_S
NO_MONEY: tuple[tuple[str, int, Json], ...] = (
    (
        "insufficient-quota",
        429,
        {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}},
    ),
    ("payment-required", 402, None),
    (
        "spend-limit",
        400,
        {"error": {"message": "You have reached your specified API usage limits."}},
    ),
)
REJECTIONS: tuple[tuple[int, type[GatewayError], str], ...] = (
    (400, RejectedError, "`options`"),
    (401, AuthenticationError, "key variable"),
    (403, AuthenticationError, "key variable"),
    (404, ModelNotFoundError, "`model`"),
    (413, TooLargeError, "brief"),
    (422, RejectedError, "`options`"),
)


def limited(**headers: str) -> dict[str, Json]:
    return {"status": 429, "headers": {name.replace("_", "-"): v for name, v in headers.items()}}


@over_ways
async def test_rate_limit_without_a_wait_is_retried_after_jitter(line: Line) -> None:
    """A 429 that names no wait is asked again after a short random one."""
    line.plays(limited())
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 2
    assert len(line.clock.sleeps) == 1
    assert 0 <= line.slept_s <= CAP_S


@over_ways
@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        ({"retry_after": "7"}, 7, 7),
        ({"retry_after": "0.5"}, 0.5, 0.5),
        ({"retry_after_ms": "1500"}, 1.5, 1.5),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5, 1.5),
        ({"retry_after": "{http_date+40}"}, 30, 41),
        ({"retry_after": "120"}, 120, 120),
    ],
    ids=["seconds", "fraction", "milliseconds", "both", "http-date", "longest"],
)
async def test_named_wait_is_honoured(
    line: Line, headers: dict[str, str], least_s: float, most_s: float
) -> None:
    """Each form of Retry-After is waited out in full, and little longer."""
    line.plays(limited(**headers))
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 2
    assert least_s <= line.slept_s <= most_s + JITTER_S


@over_ways
@pytest.mark.parametrize("value", ["0", "-3", "abc", "inf", "{http_date-60}"])
async def test_senseless_wait_counts_as_absent(line: Line, value: str) -> None:
    """A wait that makes no sense is as good as none: jitter decides."""
    line.plays(limited(retry_after=value))
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 2
    assert line.slept_s <= CAP_S


@over_ways
async def test_overlong_wait_is_not_waited_for(line: Line) -> None:
    """An hour is not waited for: the error says how long, and nobody asks again until then."""
    line.always(limited(retry_after="3600"))
    error = await line.fails(RateLimitedError)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 3600
    again = await line.fails(RateLimitedError)
    assert isinstance(again, RateLimitedError)
    assert again.retry_after_s == pytest.approx(3600, abs=1)
    assert len(line.requests) == 1
    assert line.clock.sleeps == []


@over_ways
async def test_rate_limit_that_stays_is_asked_three_times(line: Line) -> None:
    """Three attempts in all, then the error of the last one."""
    line.always(limited())
    error = await line.fails(RateLimitedError)
    assert error.status == 429
    assert not error.possibly_billed
    assert len(line.requests) == 3
    assert not any(entry["billed"] for entry in line.bill)


@pytest.mark.parametrize("way", [w for w in WHOLES if w.backend is Backend.GEMINI], ids=str)
async def test_wait_in_the_body_is_honoured(line: Line) -> None:
    """Google names its wait inside the JSON of the error."""
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "9s"}
    error = {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}
    line.plays({"status": 429, "body": {"error": {**error, "details": [retry]}}})
    assert (await line.ask()).content == TEXT
    assert 9 <= line.slept_s <= 9 + JITTER_S


@over_ways
@pytest.mark.parametrize(("name", "status", "body"), NO_MONEY, ids=[row[0] for row in NO_MONEY])
async def test_no_money_is_not_retried(line: Line, name: str, status: int, body: Json) -> None:
    """An account without money is told so at once, whatever status says it."""
    line.always({"status": status, "body": body})
    error = await line.fails(QuotaExhaustedError)
    assert error.status == status
    assert "credit" in error.hint
    assert len(line.requests) == 1
    assert line.clock.sleeps == []


@over_ways
@pytest.mark.parametrize("status", SERVER_FAULTS)
async def test_server_fault_is_asked_three_times(line: Line, status: int) -> None:
    """A fault that stays is asked three times; one of them is enough when it passes."""
    line.always({"status": status})
    error = await line.fails(ServerFaultError)
    assert error.status == status
    assert len(line.requests) == 3
    assert line.slept_s <= BASE_S * (1 + 2)
    line.plays({"status": status})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 5


@over_ways
@pytest.mark.parametrize("status", [200, 404, 520])
async def test_html_page_is_never_quoted(line: Line, status: int) -> None:
    """A page of a proxy is neither an answer nor part of a message."""
    line.always({"status": status, "body": HTML_PAGE})
    with pytest.raises(GatewayError) as caught:
        await line.ask()
    shown = f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert not re.search(r"<|html|cache and the origin", shown, re.IGNORECASE)


@over_ways
async def test_server_fault_with_a_wait_is_waited_out(line: Line) -> None:
    """A 503 may name a wait as a 429 does."""
    line.plays({"status": 503, "headers": {"retry-after": "11"}})
    assert (await line.ask()).content == TEXT
    assert 11 <= line.slept_s <= 11 + JITTER_S


@over_ways
@pytest.mark.parametrize(("status", "kind", "hint"), REJECTIONS)
async def test_rejection_is_final(
    line: Line, status: int, kind: type[GatewayError], hint: str
) -> None:
    """What the provider will not take is sent once, and the hint names the setting to look at."""
    line.always({"status": status})
    error = await line.fails(kind)
    assert error.status == status
    assert hint in error.hint
    assert len(line.requests) == 1
    assert line.clock.sleeps == []


@over_ways
async def test_key_in_an_error_is_not_repeated(line: Line, way: Way) -> None:
    """A provider that quotes the key, whole or masked, is quoted without it."""
    key = key_of(way.backend)
    message = f"Incorrect API key provided: {key}. Or was it {key[:9]}****{key[-4:]}? ({key[:12]})"
    line.always({"status": 401, "body": {"error": {"message": message}}})
    error = await line.fails(AuthenticationError)
    assert "***" in error.message


@over_wholes
async def test_unknown_model_is_named(line: Line) -> None:
    """A model that the provider does not know is asked for once."""
    line.wire.script(models={line.way.backend.value: ["another/model"]})
    error = await line.fails(ModelNotFoundError)
    assert error.status == 404
    assert len(line.requests) == 1


@over_wholes
async def test_circuit_opens_and_closes_again(line: Line) -> None:
    """Five failures in a row stop the asking; half a minute later one probe may end that."""
    line.plays(*[{"status": 500}] * 5)
    await line.fails(ServerFaultError)
    with pytest.raises(ServerFaultError):
        await line.ask()
    assert len(line.requests) == 5
    with pytest.raises(GatewayError, match="failed too often"):
        await line.ask()
    assert len(line.requests) == 5
    line.clock.advance(31)
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 6


@over_wholes
async def test_rejections_do_not_open_the_circuit(line: Line) -> None:
    """Refusals and 4xx are answers of a provider that is alive."""
    line.plays(*[{"status": 404}] * 6)
    for _attempt in range(6):
        await line.fails(ModelNotFoundError)
    assert (await line.ask()).content == TEXT
