"""The one table from everything the OpenAI SDK can raise to our error tree.

The SDK rides on httpx2, and that on aiohttp; errors of all three can surface. Importing this
module imports none of them.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from aigenflow.core.errors import GatewayError
from aigenflow.gateway.adapters._faults import Fault, FaultTable
from aigenflow.gateway.http_errors import error_from_event, error_from_status


@cache
def fault_table() -> FaultTable:
    """Every exception that the SDK and its transports can let escape, and what it stands for.

    A connection that was dropped reaches us as ``httpx2.ConnectTimeout``: what it was, only its
    cause tells.
    """
    import aiohttp
    import httpx2
    import openai

    return (
        (openai.APIStatusError, Fault.STATUS),
        (openai.APIResponseValidationError, Fault.MALFORMED),
        (openai.APITimeoutError, Fault.STALLED),
        (openai.APIConnectionError, Fault.CUT),
        (openai.APIError, Fault.STATUS),  # an error inside a stream, after a 200
        (openai.OpenAIError, Fault.UNSENT),
        (aiohttp.ClientConnectorError, Fault.UNREACHED),
        (aiohttp.ConnectionTimeoutError, Fault.UNREACHED),
        (httpx2.UnsupportedProtocol, Fault.UNSENT),
        (httpx2.InvalidURL, Fault.UNSENT),
        (aiohttp.InvalidURL, Fault.UNSENT),
        (UnicodeEncodeError, Fault.UNSENT),
        (httpx2.TimeoutException, Fault.STALLED),
        (TimeoutError, Fault.STALLED),
        (httpx2.DecodingError, Fault.MALFORMED),
        (httpx2.HTTPError, Fault.CUT),
        (httpx2.StreamError, Fault.CUT),
        (httpx2.CookieConflict, Fault.CUT),
        (aiohttp.ClientError, Fault.CUT),
        (OSError, Fault.CUT),
        (ValueError, Fault.MALFORMED),  # JSON or UTF-8 that cannot be decoded
        (RecursionError, Fault.MALFORMED),  # JSON nested too deeply
    )


def status_error(error: Exception, *, provider: str, now: datetime, secret: str) -> GatewayError:
    """The error of our tree for one of ``Fault.STATUS``: an answer, or an event in a stream."""
    import openai

    assert isinstance(error, openai.APIError)
    if isinstance(error, openai.APIStatusError):
        return error_from_status(
            provider=provider,
            status=error.status_code,
            headers=error.response.headers,
            body=error.response.text,
            now=now,
            secrets=(secret,),
        )
    event = error.body if isinstance(error.body, dict) else {"message": error.body}
    return error_from_event(provider=provider, event=event, secrets=(secret,))
