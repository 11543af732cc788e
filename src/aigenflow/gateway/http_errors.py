"""One table from what a provider answers over HTTP to our error tree.

Every adapter translates through here, so that the same fault means the same thing whoever
reports it. Nothing here reads a clock: ``now`` is an argument.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from gettext import gettext as _

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

_LONGEST_DETAIL = 300  # characters of a provider's own words that fit an error line
_LARGEST_BODY = 1_000_000  # characters; an error that long is not worth parsing

_QUOTA = re.compile(
    r"insufficient[_ ](?:quota|credits?|funds|balance)|billing_|billing (?:hard )?limit"
    r"|spend(?:ing)?[_ -]?(?:limit|cap)|credit balance|specified api usage limits|out of credits",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"context_length_exceeded|context_window_exceeded|exceed_context_size|request_too_large"
    r"|string_above_max_length|prompt is too long|input is too long|maximum context length"
    r"|exceeds the maximum number of tokens|available context size|request too large",
    re.IGNORECASE,
)
_NO_CAPACITY = re.compile(r"resource[_ ]unavailable", re.IGNORECASE)
_BAD_KEY = re.compile(r"api_key_invalid|invalid_api_key|api key not valid", re.IGNORECASE)
_NO_MODEL = re.compile(r"\b(?:model_not_found|invalid_model)\b", re.IGNORECASE)

_RULES: tuple[tuple[frozenset[int], re.Pattern[str] | None, type[GatewayError]], ...] = (
    (frozenset({429}), _NO_CAPACITY, CapacityError),
    (frozenset({400, 403, 404}), _NO_MODEL, ModelNotFoundError),
    (frozenset({400, 402, 403, 429}), _QUOTA, QuotaExhaustedError),
    (frozenset({400, 413, 422, 429}), _TOO_LARGE, TooLargeError),
    (frozenset({400}), _BAD_KEY, AuthenticationError),
    (frozenset({401, 403}), None, AuthenticationError),
    (frozenset({402}), None, QuotaExhaustedError),
    (frozenset({404}), None, ModelNotFoundError),
    (frozenset({413}), None, TooLargeError),
    (frozenset({429}), None, RateLimitedError),
    (frozenset({408, 409}), None, ServerFaultError),
)
"""(status, what the body must say, error), first match wins; else 5xx is a server fault and the
rest is rejected. Some providers say "no money" or "too long" with a 400 or a 429."""

_STATUS_OF_KIND: tuple[tuple[str, int], ...] = (
    ("resource_unavailable", 429),
    ("overloaded", 529),
    ("rate_limit", 429),
    ("resource_exhausted", 429),
    ("authentication", 401),
    ("permission", 403),
    ("billing", 402),
    ("insufficient_quota", 402),
    ("not_found", 404),
    ("too_large", 413),
    ("context_", 400),
    ("timeout", 504),
    ("invalid", 400),
)
"""What an error inside a stream, which has no status of its own, would have been as a status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What a body says about an error: its codes and types in one text, and its message."""

    kinds: str = ""
    message: str = ""
    retry_after_s: float | None = None

    @property
    def text(self) -> str:
        return f"{self.kinds} {self.message}"


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from ``now`` that the provider asks us to wait, or ``None`` if it names none.

    Understands ``retry-after-ms`` (preferred: it is finer), seconds and an HTTP date. Zero, a
    negative number, a date in the past and anything unreadable count as absent.
    """
    values = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _positive(values.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = values.get("retry-after", "")
    return _positive(text) or _seconds_until(text, now)


def error_from_status(
    *,
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: str,
    now: datetime,
    secrets: Iterable[str] = (),
) -> GatewayError:
    """The error that an HTTP answer with ``status`` stands for.

    ``body`` is the answer's text; only the message inside a JSON body is ever quoted, shortened
    and without anything that looks like a key or is one of ``secrets``.
    """
    fault = _fault(_parse(body))
    wait = parse_retry_after(headers, now) or fault.retry_after_s
    detail = _quotable(redact(fault.message, secrets))
    if detail:
        message = _("{provider} answered {status}: {detail}")
    else:
        message = _("{provider} answered {status}.")
    message = message.format(provider=provider, status=status, detail=detail)
    error = _build(_kind(status, fault), provider, status, wait, message)
    if 300 <= status < 400:
        error.hint = _("Redirects are not followed; write the final address as `base_url`.")
    return error


def error_from_event(
    *, provider: str, event: Mapping[str, Json], secrets: Iterable[str] = ()
) -> GatewayError:
    """The error that an ``error`` event inside a stream (after status 200) stands for.

    ``event`` is the event's JSON, or the error object inside it. What it names decides; an
    unknown name is a fault of the server. Tokens may have been billed by then, so a server fault
    is marked ``possibly_billed``.
    """
    fault = _fault(dict(event))
    detail = _quotable(redact(fault.message, secrets)) or _("no reason given")
    message = _("{provider} broke off its answer: {detail}")
    message = message.format(provider=provider, detail=detail)
    kind = _kind(_status_of(fault), fault)
    error = _build(kind, provider, None, fault.retry_after_s, message)
    error.possibly_billed = isinstance(error, ServerFaultError)
    return error


def _kind(status: int, fault: _Fault) -> type[GatewayError]:
    for statuses, pattern, kind in _RULES:
        if status in statuses and (pattern is None or pattern.search(fault.text)):
            return kind
    return ServerFaultError if status >= 500 else RejectedError


def _build(
    kind: type[GatewayError], provider: str, status: int | None, wait: float | None, message: str
) -> GatewayError:
    hint = _hint(kind)
    if issubclass(kind, RateLimitedError | ServerFaultError):
        if wait:
            hint = _("It asks for a pause of {seconds} s: try again after that.").format(
                seconds=math.ceil(wait)
            )
        return kind(message, hint=hint, provider=provider, status=status, retry_after_s=wait)
    return kind(message, hint=hint, provider=provider, status=status)


def _hint(kind: type[GatewayError]) -> str:
    if issubclass(kind, AuthenticationError):
        return _("Look at the key variable of this agent, see `aigenflow check`.")
    if issubclass(kind, QuotaExhaustedError):
        return _("Add credit or raise the spending limit of the account at the provider.")
    if issubclass(kind, ModelNotFoundError):
        return _("Look at `model` and `base_url` of this agent, see `aigenflow check`.")
    if issubclass(kind, TooLargeError):
        return _("Shorten the brief, or choose a model with a larger context window.")
    if issubclass(kind, CapacityError):
        return _("Ask at the full price, or try again later.")
    if issubclass(kind, RateLimitedError):
        return _("Wait and try again, or raise the rate limit of the account at the provider.")
    if issubclass(kind, ServerFaultError):
        return _("Wait and try again; the provider's status page may say more.")
    return _("Look at `model` and `options` of this agent.")


def _status_of(fault: _Fault) -> int:
    number = re.search(r"\b[45]\d\d\b", fault.kinds)
    if number:
        return int(number.group())
    kinds = fault.kinds.lower()
    return next((status for kind, status in _STATUS_OF_KIND if kind in kinds), 500)


def _parse(body: str) -> Json:
    if len(body) > _LARGEST_BODY:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _fault(data: Json) -> _Fault:
    if isinstance(data, list):  # Gemini wraps the errors of a stream in a list
        data = data[0] if data else None
    if not isinstance(data, dict):
        return _Fault()
    error = data.get("error")
    inner = error if isinstance(error, dict) else data
    message = error if isinstance(error, str) else inner.get("message") or inner.get("detail")
    kinds = [inner.get("code"), inner.get("type"), inner.get("status")]
    wait = None
    details = inner.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):  # Google's ErrorInfo and RetryInfo
            kinds.append(detail.get("reason"))
            wait = wait or _positive(str(detail.get("retryDelay", "")).removesuffix("s"))
    return _Fault(
        kinds=" ".join(str(kind) for kind in kinds if isinstance(kind, str | int)),
        message=message if isinstance(message, str) else "",
        retry_after_s=wait,
    )


def _quotable(message: str) -> str:
    if re.search(r"<\s*(?:!doctype|html|head|body)\b", message, re.IGNORECASE):
        return ""
    line = "".join(c for c in " ".join(message.split()) if c.isprintable())
    return line if len(line) <= _LONGEST_DETAIL else line[: _LONGEST_DETAIL - 1] + "…"


def _positive(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return None
    number = float(text)
    return number if number > 0 and math.isfinite(number) else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = (when - now).total_seconds()
    return seconds if seconds > 0 else None
