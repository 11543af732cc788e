"""From HTTP answers to our errors: one table, read by every adapter."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AuthenticationError,
    CapacityError,
    GatewayError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    TooLargeError,
)
from aigenflow.core.keys import redact
from aigenflow.core.models import Json
from aigenflow.gateway.http_errors import (
    error_from_event,
    error_from_status,
    parse_retry_after,
)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def error(status: int, body: Json = "", headers: dict[str, str] | None = None) -> GatewayError:
    text = body if isinstance(body, str) else json.dumps(body)
    return error_from_status(
        provider="openai", status=status, headers=headers or {}, body=text, now=NOW
    )


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "30"}, 30),
            ({"Retry-After": " 30 "}, 30),
            ({"RETRY-AFTER": "1.5"}, 1.5),
            ({"retry-after": "3600"}, 3600),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
            ({"retry-after-ms": "abc", "retry-after": "9"}, 9),
            ({"retry-after": "0"}, None),
            ({"retry-after": "-5"}, None),
            ({"retry-after": "abc"}, None),
            ({"retry-after": ""}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "1_000"}, None),
            ({"retry-after": "１０"}, None),
            ({"retry-after": "9" * 400}, None),
            ({"retry-after": "Sun, 22 Nov 2026 10:00:45 GMT"}, 45),
            ({"retry-after": "Sun, 22 Nov 2026 10:00:45 -0000"}, 45),
            ({"retry-after": "Sun, 22 Nov 2026 09:59:00 GMT"}, None),
            ({"retry-after": "Sun, 99 Nov 2026 10:00:45 GMT"}, None),
        ],
    )
    def test_forms(self, headers: dict[str, str], seconds: float | None) -> None:
        """Milliseconds, seconds and dates are understood; the rest counts as absent."""
        assert parse_retry_after(headers, NOW) == seconds

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever the header holds, the wait is absent or positive."""
        for name in ("retry-after", "retry-after-ms"):
            wait = parse_retry_after({name: text}, NOW)
            assert wait is None or wait > 0

    @given(st.integers(min_value=1, max_value=10**7))
    def test_dates(self, seconds: int) -> None:
        """A date is as far away as it says."""
        date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
        assert parse_retry_after({"retry-after": date}, NOW) == seconds


OPENAI_QUOTA = {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}
ANTHROPIC_CREDIT = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "Your credit balance is too low to access the API.",
    },
}
GEMINI_RATE = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
    }
}
GEMINI_KEY = {
    "error": {
        "code": 400,
        "status": "INVALID_ARGUMENT",
        "message": "API key not valid.",
        "details": [{"reason": "API_KEY_INVALID"}],
    }
}


class TestErrorFromStatus:
    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (429, "", RateLimitedError),
            (429, {"error": {"code": "resource_unavailable"}}, CapacityError),
            (429, {"error": {"message": "Resource Unavailable"}}, CapacityError),
            (503, {"error": {"code": "resource_unavailable"}}, ServerFaultError),
            (429, OPENAI_QUOTA, QuotaExhaustedError),
            (429, {"error": {"code": "billing_hard_limit_reached"}}, QuotaExhaustedError),
            (400, ANTHROPIC_CREDIT, QuotaExhaustedError),
            (400, {"error": {"message": "You hit your monthly spend limit"}}, QuotaExhaustedError),
            (403, {"error": {"message": "spending cap reached"}}, QuotaExhaustedError),
            (402, "", QuotaExhaustedError),
            (429, GEMINI_RATE, RateLimitedError),
            (400, GEMINI_KEY, AuthenticationError),
            (401, "", AuthenticationError),
            (403, "", AuthenticationError),
            (404, "", ModelNotFoundError),
            (404, {"error": "model 'x' not found"}, ModelNotFoundError),
            (403, {"error": {"code": "model_not_found"}}, ModelNotFoundError),
            (400, {"error": {"type": "invalid_model"}}, ModelNotFoundError),
            (413, "", TooLargeError),
            (400, {"error": {"code": "context_length_exceeded"}}, TooLargeError),
            (400, {"error": {"message": "prompt is too long: 250000 tokens"}}, TooLargeError),
            (400, {"object": "error", "message": "maximum context length is 8"}, TooLargeError),
            (429, {"error": {"message": "Request too large for gpt-6 (TPM)"}}, TooLargeError),
            (400, {"error": {"type": "exceed_context_size_error"}}, TooLargeError),
            (400, "", RejectedError),
            (405, "", RejectedError),
            (422, {"detail": "temperature is not allowed"}, RejectedError),
            (307, "", RejectedError),
            (408, "", ServerFaultError),
            (409, "", ServerFaultError),
            (500, "", ServerFaultError),
            (500, OPENAI_QUOTA, ServerFaultError),
            (520, "<html>", ServerFaultError),
            (529, {"error": {"type": "overloaded_error"}}, ServerFaultError),
        ],
    )
    def test_table(self, status: int, body: Json, kind: type[GatewayError]) -> None:
        """Status and words together decide, and every error has something to try next."""
        found = error(status, body)
        assert type(found) is kind
        assert found.status == status
        assert found.hint
        assert str(status) in found.message

    def test_wait(self) -> None:
        """The wait comes from the headers, else from Google's details."""
        limited = error(429, GEMINI_RATE)
        assert isinstance(limited, RateLimitedError)
        assert limited.retry_after_s == 34
        assert "34 s" in limited.hint
        limited = error(429, GEMINI_RATE, {"retry-after": "5"})
        assert isinstance(limited, RateLimitedError)
        assert limited.retry_after_s == 5
        overloaded = error(529, "", {"retry-after": "9"})
        assert isinstance(overloaded, ServerFaultError)
        assert overloaded.retry_after_s == 9

    @pytest.mark.parametrize(
        "body",
        [
            "<html><body>Bad gateway at host-17</body></html>",
            {"error": {"message": "<!DOCTYPE html><p>host-17"}},
            "host-17 is down",
        ],
    )
    def test_pages_are_not_quoted(self, body: Json) -> None:
        """Only the message of a JSON body is quoted, and no page inside it."""
        assert "host-17" not in error(502, body).message

    def test_one_short_line(self) -> None:
        """A long message is shortened to one line without control characters."""
        found = error(400, {"error": {"message": "a\n\x1b[31mred\tb " + "x" * 5000}})
        assert len(found.message) < 400
        assert found.message.isprintable()

    @given(st.integers(min_value=300, max_value=599), st.text())
    def test_any_body(self, status: int, body: str) -> None:
        """Whatever the body, there is an error with a message."""
        assert error(status, body).message

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "message", "code", "type", "details", "detail"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=10,
        )
    )
    def test_any_json(self, body: Json) -> None:
        """Whatever the JSON, there is an error with a message."""
        assert error(400, json.dumps(body)).message

    def test_deep_json(self) -> None:
        """Nesting beyond any limit is no message."""
        assert error(400, "[" * 200_000).message == "openai answered 400."


class TestErrorFromEvent:
    @pytest.mark.parametrize(
        ("event", "kind"),
        [
            ({"type": "error", "error": {"type": "overloaded_error"}}, ServerFaultError),
            ({"type": "error", "error": {"type": "api_error"}}, ServerFaultError),
            ({"type": "error", "error": {"type": "rate_limit_error"}}, RateLimitedError),
            ({"type": "error", "error": {"type": "authentication_error"}}, AuthenticationError),
            ({"type": "error", "error": {"type": "permission_error"}}, AuthenticationError),
            ({"type": "error", "error": {"type": "invalid_request_error"}}, RejectedError),
            ({"type": "error", "error": {"type": "billing_error"}}, QuotaExhaustedError),
            ({"type": "error", "error": {"type": "request_too_large"}}, TooLargeError),
            ({"type": "error", "code": "rate_limit_exceeded"}, RateLimitedError),
            ({"code": "resource_unavailable"}, CapacityError),
            ({"code": "insufficient_quota"}, QuotaExhaustedError),
            ({"code": "context_length_exceeded"}, TooLargeError),
            ({"error": {"code": 503, "status": "UNAVAILABLE"}}, ServerFaultError),
            ({"error": {"code": "429"}}, RateLimitedError),
            ({"code": "server_error"}, ServerFaultError),
            ({}, ServerFaultError),
        ],
    )
    def test_names(self, event: dict[str, Json], kind: type[GatewayError]) -> None:
        """The name of an error inside a stream decides; an unknown one is the server's fault."""
        found = error_from_event(provider="anthropic", event=event)
        assert type(found) is kind
        assert found.status is None
        assert found.possibly_billed is (kind is ServerFaultError)


class TestRedact:
    @pytest.mark.parametrize(
        "text",
        [
            "Incorrect API key provided: sk-CANARY*********cdef.",
            "key sk-ant-api03-CANARY-abc is wrong",
            "pplx-CANARY0123456789",
            "AIzaSyCANARY-abc_def",
            "Authorization: Bearer CANARYtoken",
            "api key provided: CANARY-odd-form",
        ],
    )
    def test_usual_shapes(self, text: str) -> None:
        """What looks like a key is gone, even where we do not know the key."""
        assert "CANARY" not in redact(text)
        assert "***" in redact(text)

    def test_the_key_itself(self) -> None:
        """A known key is gone whole, masked and cut, whatever it looks like."""
        key = "Zq8CANARY-of-a-shape-nobody-knows"
        for text in (f"bad {key}!", f"bad {key[:12]}...", f"bad {key[:8]}*****"):
            assert key[:8] not in redact(text, [key])

    def test_ordinary_words_stay(self) -> None:
        """Names of models, settings and requests are no keys."""
        text = "model gpt-6.1-sol-2026-10-01 is unknown (request req_0123456789abcdef0123)"
        assert redact(text, ["", "sk-CANARY-1"]) == text

    def test_in_errors(self) -> None:
        """Errors are redacted before they are built."""
        body = json.dumps({"error": {"message": "wrong key Zq8CANARY-xyz"}})
        found = error_from_status(
            provider="openai",
            status=401,
            headers={},
            body=body,
            now=NOW,
            secrets=["Zq8CANARY-xyz"],
        )
        assert "CANARY" not in repr(found)
