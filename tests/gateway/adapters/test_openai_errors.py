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
    StalledError,
)
from aigenflow.gateway.adapters._openai_errors import Call, foreign, rules, translate

CALL = Call(provider="openai", now=datetime(2026, 11, 22, tzinfo=UTC), secret="sk-CANARY-1")
REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/responses")


# The end of a body inside aiohttp, and WebSockets, which no call here opens.
NEVER_RAISED_TO_US = aiohttp.EofStream | aiohttp.WebSocketError | aiohttp.WSMessageTypeError


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    members = (value for _, value in inspect.getmembers(module, inspect.isclass))
    return [
        kind
        for kind in members
        if issubclass(kind, Exception) and not issubclass(kind, Warning | NEVER_RAISED_TO_US)
    ]


@pytest.mark.parametrize("module", [openai, httpx2, aiohttp, openai._exceptions])
def test_every_class_is_known(module: ModuleType) -> None:
    """No exception that the SDK, httpx2 or aiohttp export escapes the ``except`` clause."""
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
    """No class stands below one of its bases, where its rule would never be reached."""
    kinds = [kind for kind, _rule in rules()]
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
            caused(openai.APIConnectionError(request=REQUEST), ssl.SSLError("bad")),
            ConnectionFailedError,
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
    ours = translate(error, CALL)
    assert type(ours) is kind
    assert ours.possibly_billed is billed
    assert ours.provider == "openai"


def test_words_of_others_are_not_quoted() -> None:
    """A foreign message, which may hold prompt or key, is not part of ours."""
    for kind in (ValueError, aiohttp.ClientPayloadError, openai.OpenAIError):
        error = translate(kind("sk-CANARY-1 and the prompt"), CALL)
        assert "CANARY" not in error.message + error.hint
        assert "prompt" not in error.message


def test_unknown_errors_are_not_swallowed() -> None:
    """A fault of our own is not called one of the provider."""
    assert not issubclass(KeyError, foreign())
    with pytest.raises(TypeError):
        translate(KeyError("x"), CALL)


def test_adapters_import_no_sdk() -> None:
    """Importing the adapters and their table costs no SDK: it is loaded at the first call."""
    names = "compatible, openai, perplexity"
    code = (
        f"from aigenflow.gateway.adapters import {names}, _openai_errors; import sys;"
        "print(sorted({'openai', 'httpx2', 'aiohttp'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
