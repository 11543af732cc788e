"""The table of foreign errors is complete: every class the SDK and its transports raise is in."""

from __future__ import annotations

import inspect
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from types import ModuleType

import aiohttp
import httpx2
import openai
import pytest

from aigenflow.core.errors import (
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    RejectedError,
    ServerFaultError,
    StalledError,
)
from aigenflow.gateway.adapters._faults import translate
from aigenflow.gateway.adapters._openai_errors import fault_table, status_error

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/responses")


# The end of a body inside aiohttp, and WebSockets, which no call here opens.
NEVER_RAISED_TO_US = aiohttp.EofStream | aiohttp.WebSocketError | aiohttp.WSMessageTypeError


def foreign() -> tuple[type[Exception], ...]:
    """Every class the table knows."""
    return tuple(kind for kind, _fault in fault_table())


def ours_for(error: Exception) -> GatewayError:
    def read(status: Exception) -> GatewayError:
        return status_error(status, provider="openai", now=NOW, secret="sk-CANARY-1")

    return translate(error, fault_table(), read, provider="openai")


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    members = (value for _, value in inspect.getmembers(module, inspect.isclass))
    return [
        kind
        for kind in members
        if issubclass(kind, Exception) and not issubclass(kind, Warning | NEVER_RAISED_TO_US)
    ]


@pytest.mark.parametrize("module", [openai, httpx2, aiohttp, openai._exceptions])
def test_every_class_is_known(module: ModuleType) -> None:
    """No exception that the SDK, httpx2 or aiohttp export escapes the table."""
    known = foreign()
    kinds = exceptions_of(module)
    assert kinds
    unknown = [kind for kind in kinds if not issubclass(kind, known)]
    assert unknown == []


def test_every_subclass_is_known() -> None:
    """Subclasses that are nowhere exported are known through their base."""
    pending: list[type[BaseException]] = [openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError]
    while pending:
        kind = pending.pop()
        assert issubclass(kind, foreign())
        pending.extend(kind.__subclasses__())


def test_no_rule_hides_behind_another() -> None:
    """No class stands below one of its bases, where its row would never be reached."""
    kinds = foreign()
    for place, kind in enumerate(kinds):
        assert not any(issubclass(kind, above) for above in kinds[:place])


def caused(error: Exception, *causes: BaseException) -> Exception:
    inner: BaseException = error
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return error


CONNECTION_KEY = aiohttp.client_reqrep.ConnectionKey(
    "api.openai.com", 443, True, True, None, None, None
)


@pytest.mark.parametrize(
    ("error", "kind", "billed"),
    [
        (
            caused(
                openai.APIConnectionError(request=REQUEST),
                httpx2.ConnectError("x"),
                aiohttp.ClientConnectorError(CONNECTION_KEY, OSError(111, "refused")),
            ),
            ConnectionFailedError,
            False,
        ),
        (
            caused(
                openai.APIConnectionError(request=REQUEST),
                aiohttp.ClientConnectorDNSError(CONNECTION_KEY, OSError(-2, "unknown")),
            ),
            ConnectionFailedError,
            False,
        ),
        (
            caused(
                openai.APIConnectionError(request=REQUEST),
                httpx2.ConnectError("x"),
                aiohttp.ClientConnectorSSLError(CONNECTION_KEY, ssl.SSLError("bad")),
            ),
            ConnectionFailedError,
            False,
        ),
        (
            # Broken encryption of an answer, not of the greeting: the request had gone out.
            caused(
                openai.APIConnectionError(request=REQUEST),
                httpx2.ConnectTimeout("x"),
                aiohttp.ClientOSError("x"),
                ssl.SSLError("bad record"),
            ),
            ConnectionFailedError,
            True,
        ),
        (
            caused(openai.APIConnectionError(request=REQUEST), httpx2.UnsupportedProtocol("x")),
            RejectedError,
            False,
        ),
        (
            # The transport calls a dropped connection a connect timeout; it is not one.
            caused(
                openai.APITimeoutError(request=REQUEST),
                httpx2.ConnectTimeout("x"),
                aiohttp.ServerDisconnectedError(),
            ),
            ConnectionFailedError,
            True,
        ),
        (
            caused(openai.APITimeoutError(request=REQUEST), aiohttp.ConnectionTimeoutError()),
            ConnectionFailedError,
            False,
        ),
        (
            caused(openai.APITimeoutError(request=REQUEST), aiohttp.SocketTimeoutError()),
            StalledError,
            True,
        ),
        (aiohttp.ClientPayloadError("x"), ConnectionFailedError, True),
        (ValueError("not JSON"), MalformedAnswerError, True),
        (RecursionError(), MalformedAnswerError, True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), RejectedError, False),
        (httpx2.InvalidURL("x"), RejectedError, False),
        (openai.OpenAIError("Missing credentials"), RejectedError, False),
    ],
)
def test_meaning(error: Exception, kind: type[GatewayError], billed: bool) -> None:
    """What a fault means follows from its innermost cause, and so does who pays."""
    ours = ours_for(error)
    assert type(ours) is kind
    assert ours.possibly_billed is billed
    assert ours.provider == "openai"


def test_words_of_others_are_not_quoted() -> None:
    """A foreign message, which may hold prompt or key, is not part of ours."""
    for kind in (ValueError, aiohttp.ClientPayloadError, openai.OpenAIError):
        error = ours_for(kind("sk-CANARY-1 and the prompt"))
        assert "CANARY" not in error.message + error.hint
        assert "prompt" not in error.message


def test_unknown_errors_are_not_swallowed() -> None:
    """A fault of our own is not called one of the provider."""
    assert not issubclass(KeyError, foreign())


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (aiohttp.ConnectionTimeoutError(), "did not answer in time"),
        (aiohttp.ClientConnectorDNSError(CONNECTION_KEY, OSError(-2, "x")), "cannot be resolved"),
        (aiohttp.ClientConnectorSSLError(CONNECTION_KEY, ssl.SSLError("x")), "TLS"),
        (aiohttp.ClientConnectorError(CONNECTION_KEY, OSError(111, "x")), "was refused"),
    ],
)
def test_why_nobody_was_reached(error: Exception, why: str) -> None:
    """The message says in plain words what stood in the way."""
    assert why in ours_for(caused(openai.APIConnectionError(request=REQUEST), error)).message


def test_an_error_inside_a_stream() -> None:
    """An event that the SDK raises is read for what it names, without the key it may quote."""
    body = {"type": "overloaded_error", "message": "Overloaded: sk-CANARY-1"}
    error = ours_for(openai.APIError("x", request=REQUEST, body=body))
    assert isinstance(error, ServerFaultError)
    assert error.possibly_billed
    assert "CANARY" not in error.message


def test_adapters_import_no_sdk() -> None:
    """Importing the adapters and their table costs no SDK: it is loaded at the first call."""
    names = "compatible, openai, perplexity"
    code = (
        f"from aigenflow.gateway.adapters import {names}, _openai_errors; import sys;"
        "print(sorted({'openai', 'httpx2', 'aiohttp'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
