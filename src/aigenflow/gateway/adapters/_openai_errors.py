"""The one table from everything the OpenAI SDK can raise to our error tree.

The SDK rides on httpx2, and that on aiohttp; errors of all three can surface. Importing this
module imports none of them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from gettext import gettext as _
from typing import TypeAlias

from aigenflow.core.errors import (
    ConnectionFailedError,
    GatewayError,
    RejectedError,
    StalledError,
)
from aigenflow.gateway.adapters._faults import broken_off, malformed
from aigenflow.gateway.http_errors import error_from_event, error_from_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the translation must know about the call that failed."""

    provider: str
    now: datetime
    secret: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,) if self.secret else ()


Translate: TypeAlias = Callable[[Exception, Call], GatewayError]


@cache
def rules() -> tuple[tuple[type[Exception], Translate], ...]:
    """(class, translation), first match wins: subclasses stand above their bases."""
    import aiohttp
    import httpx2
    import openai

    return (
        (openai.APIStatusError, _status),
        (openai.APIResponseValidationError, _malformed),
        (openai.APIConnectionError, _connection),
        (openai.APIError, _event),
        (openai.OpenAIError, _not_sent),
        (httpx2.InvalidURL, _not_sent),
        (httpx2.HTTPError, _connection),
        (httpx2.StreamError, _connection),
        (httpx2.CookieConflict, _connection),
        (aiohttp.ClientError, _connection),
        (OSError, _connection),
        (UnicodeEncodeError, _not_sent),
        (ValueError, _malformed),  # JSON or UTF-8 that cannot be decoded
        (RecursionError, _malformed),  # JSON nested too deeply
    )


def foreign() -> tuple[type[Exception], ...]:
    """Every class the table knows, for an ``except`` clause."""
    return tuple(kind for kind, _translate in rules())


def translate(error: Exception, call: Call) -> GatewayError:
    """Our error for one of :func:`foreign`."""
    for kind, rule in rules():
        if isinstance(error, kind):
            return rule(error, call)
    raise TypeError(f"no rule for {type(error).__name__}")


def _status(error: Exception, call: Call) -> GatewayError:
    import openai

    assert isinstance(error, openai.APIStatusError)
    return error_from_status(
        provider=call.provider,
        status=error.status_code,
        headers=error.response.headers,
        body=error.response.text,
        now=call.now,
        secrets=call.secrets,
    )


def _event(error: Exception, call: Call) -> GatewayError:
    import openai

    assert isinstance(error, openai.APIError)
    event = error.body if isinstance(error.body, dict) else {"message": error.body}
    return error_from_event(provider=call.provider, event=event, secrets=call.secrets)


def _connection(error: Exception, call: Call) -> GatewayError:
    import aiohttp
    import httpx2

    chain = tuple(_causes(error))

    def met(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    if met(aiohttp.ConnectionTimeoutError):
        return _unreachable(call, _("it did not answer in time"))
    if met(aiohttp.ClientConnectorDNSError):
        return _unreachable(call, _("its name cannot be resolved"))
    if met(ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError):
        return _unreachable(call, _("no secure connection (TLS)"))
    if met(aiohttp.ClientConnectorError, ConnectionRefusedError, httpx2.UnsupportedProtocol):
        return _unreachable(call, _("the connection was refused"))
    if met(aiohttp.SocketTimeoutError, httpx2.ReadTimeout):
        message = _("{provider} went silent.").format(provider=call.provider)
        return StalledError(message, provider=call.provider, possibly_billed=True)
    return broken_off(call.provider)


def _malformed(_error: Exception, call: Call) -> GatewayError:
    return malformed(call.provider, _("it cannot be decoded"))


def _not_sent(error: Exception, call: Call) -> GatewayError:
    message = _("The request to {provider} could not be sent ({kind}).")
    return RejectedError(
        message.format(provider=call.provider, kind=type(error).__name__),
        hint=_("Look for broken characters in the brief, and at `base_url` of this agent."),
        provider=call.provider,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _unreachable(call: Call, reason: str) -> ConnectionFailedError:
    message = _("{provider} cannot be reached: {reason}.")
    return ConnectionFailedError(
        message.format(provider=call.provider, reason=reason),
        hint=_("Look at the network and at `base_url` of this agent, see `aigenflow check`."),
        provider=call.provider,
    )
