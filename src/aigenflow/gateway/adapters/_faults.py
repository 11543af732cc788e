"""From what an SDK or its transport raises to our error tree, by one table for each SDK."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import Enum, auto
from gettext import gettext as _
from types import TracebackType
from typing import TypeAlias
from urllib.parse import urlsplit

from aigenflow.core.errors import (
    AuthenticationError,
    CapacityError,
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    RejectedError,
    StalledError,
)
from aigenflow.core.hosts import is_loopback

_TIER = re.compile(r"service[_ ]?tier|\bflex\b", re.IGNORECASE)


class Fault(Enum):
    """What an exception stands for."""

    STATUS = auto()
    """The provider answered with an error."""
    UNREACHED = auto()
    """No connection: nothing was sent, nothing is billed."""
    STALLED = auto()
    """Sent, but silent for too long."""
    CUT = auto()
    """Sent, but the connection broke."""
    MALFORMED = auto()
    """Answered, but not in the promised format."""
    UNSENT = auto()
    """The SDK would not send it."""


FaultTable: TypeAlias = tuple[tuple[type[Exception], Fault], ...]
"""(exception class, fault): the first row whose class fits an exception wins."""

StatusError: TypeAlias = Callable[[Exception], GatewayError]
"""Reads an exception of ``Fault.STATUS``, which only its adapter knows."""


class Translation(AbstractContextManager[None]):
    """Turns exceptions of ``kinds``, raised inside, into errors of our tree.

    A foreign exception holds the request with its key, and often what the provider said of it:
    nothing of it stays, neither as a cause nor as a variable in the traceback.
    """

    def __init__(
        self, kinds: tuple[type[Exception], ...], translate: Callable[[Exception], GatewayError]
    ) -> None:
        self._kinds = kinds
        self._translate = translate

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, self._kinds):
            return
        ours = self._translate(error)
        del error, trace
        try:
            raise ours
        finally:
            ours.__context__ = None


def translated(table: FaultTable, status_error: StatusError, *, provider: str) -> Translation:
    """Turn the exceptions of ``table`` into errors of our tree."""
    kinds = tuple(kind for kind, _fault in table)
    return Translation(kinds, lambda e: translate(e, table, status_error, provider=provider))


def translate(
    error: Exception, table: FaultTable, status_error: StatusError, *, provider: str
) -> GatewayError:
    """The error of our tree for one of the exceptions of ``table``."""
    fault = fault_of(error, table)
    return status_error(error) if fault is Fault.STATUS else _fault_error(fault, error, provider)


def fault_of(error: Exception, table: FaultTable) -> Fault:
    """What ``error`` stands for: its innermost cause tells, because what wraps it guesses.

    A cause that says "never sent" outweighs all others.
    """
    faults: list[Fault] = []
    for link in _causes(error):
        faults += [fault for kind, fault in table if isinstance(link, kind)][:1]
    unsent = (fault for fault in faults if fault in {Fault.UNREACHED, Fault.UNSENT})
    return next(unsent, faults[-1])


def broken_off(provider: str) -> ConnectionFailedError:
    """The connection ended before the answer did."""
    message = _("The connection to {provider} broke off before the answer was complete.")
    return ConnectionFailedError(
        message.format(provider=provider),
        hint=_("Try again; the provider may charge for the answer that was lost."),
        provider=provider,
        possibly_billed=True,
    )


def malformed(provider: str, reason: str) -> MalformedAnswerError:
    """The answer is not in the format of the interface. ``reason`` quotes nothing of it."""
    message = _("{provider} answered in a form that aigenflow cannot read: {reason}")
    return MalformedAnswerError(
        message.format(provider=provider, reason=reason),
        hint=_("Look at `base_url` and `backend` of this agent: is it the right interface?"),
        provider=provider,
        possibly_billed=True,
    )


def refuses_tier(error: GatewayError) -> bool:
    """Whether the provider complains of the service tier itself: its model has no other than the
    full price. Asked where a tier was wanted: the words alone would fit other faults as well."""
    return isinstance(error, RejectedError) and _TIER.search(error.message) is not None


def no_capacity(error: GatewayError) -> CapacityError:
    """What ``error`` means where the flex rate was asked for: none to be had there right now."""
    return CapacityError(
        error.message,
        hint=_("Ask at the full price, or try again later."),
        provider=error.provider,
        status=error.status,
    )


def ended_early(provider: str, *, began: bool) -> GatewayError:
    """The stream ended in order but without its end, or without anything at all."""
    return broken_off(provider) if began else malformed(provider, _("it is empty"))


def checked_key(key: str, *, provider: str) -> str:
    """``key`` if it can travel in a header. Raises ``AuthenticationError``.

    An SDK that is given no key looks for one in the environment, so it is always given one.
    """
    if key and key.isascii() and key.isprintable():
        return key
    message = _("There is no usable key for {provider}.").format(provider=provider)
    hint = _("Look at the key variable of this agent, see `aigenflow check`.")
    raise AuthenticationError(message, hint=hint, provider=provider)


def may_use_proxy(base_url: str) -> bool:
    """Whether a proxy named by the environment may stand between us and ``base_url``.

    Over https it learns no more than the host's name; over http it would read prompts and key.
    """
    address = urlsplit(base_url)
    return address.scheme == "https" and not is_loopback(address.hostname or "")


def _fault_error(fault: Fault, error: Exception, provider: str) -> GatewayError:
    match fault:
        case Fault.UNREACHED:
            message = _("{provider} cannot be reached: {reason}.")
            return ConnectionFailedError(
                message.format(provider=provider, reason=_why_unreached(error)),
                hint=_(
                    "Look at the network and at `base_url` of this agent, see `aigenflow check`."
                ),
                provider=provider,
            )
        case Fault.STALLED:
            return StalledError(
                _("{provider} went silent.").format(provider=provider),
                hint=_("Try again; the provider may charge for the answer that was lost."),
                provider=provider,
                possibly_billed=True,
            )
        case Fault.CUT:
            return broken_off(provider)
        case Fault.MALFORMED:
            return malformed(provider, _("it cannot be decoded"))
    message = _("The request to {provider} could not be sent ({kind}).")
    *_wrappers, cause = _causes(error)
    return RejectedError(
        message.format(provider=provider, kind=type(cause).__name__),
        hint=_("Look for broken characters in the brief, and at `base_url` of this agent."),
        provider=provider,
    )


def _why_unreached(error: Exception) -> str:
    """In words that quote nothing. aiohttp carries the calls of all SDKs."""
    import aiohttp

    reasons = (
        (TimeoutError, _("it did not answer in time")),
        (aiohttp.ClientConnectorDNSError, _("its name cannot be resolved")),
        (aiohttp.ClientSSLError, _("no secure connection (TLS)")),
    )
    causes = tuple(_causes(error))
    met = (why for kind, why in reasons if any(isinstance(cause, kind) for cause in causes))
    return next(met, _("the connection was refused"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error``, its cause, and so on to the innermost."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
