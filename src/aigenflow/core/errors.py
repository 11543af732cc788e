"""Everything that can go wrong, as one tree.

AigenflowError                       message, hint, exit code
├── UsageError (2)                   the user can put it right before anything is spent
│   ├── ConfigError                  a key, a value or a file of the configuration
│   ├── InputError                   topic, brief, ids, options
│   ├── TemplateError                missing, broken, or with a missing variable
│   └── AddressError                 a base URL that needs leave
├── BudgetExceededError (3)          the next call could cost more than is allowed
├── GatewayError (4)                 a provider did not give a usable answer
│   ├── TransientError               may pass: worth another attempt
│   │   ├── RateLimitedError         429, with the wait the provider asked for
│   │   ├── ServerFaultError         5xx, 529, 408, 409, an HTML page, an error event
│   │   ├── ConnectionFailedError    DNS, refused, TLS, reset
│   │   └── StalledError             no first event, or silence between events
│   ├── RejectedError                will not pass: another attempt only costs money
│   │   ├── AuthenticationError      401, 403
│   │   ├── QuotaExhaustedError      402, insufficient quota, spend limit
│   │   ├── ModelNotFoundError       404
│   │   └── TooLargeError            413, or refused before sending
│   ├── UnusableAnswerError          an answer came, but not one to keep
│   │   ├── EmptyAnswerError         no text
│   │   ├── MalformedAnswerError     not what the format promises
│   │   ├── TruncatedAnswerError     cut at the length limit, also after going on
│   │   └── RefusedError             refused or filtered by the provider
│   ├── CircuitOpenError             too many failures lately; not tried
│   ├── CapacityError                no room at the discounted rate right now: ask at the full one
│   ├── JobUnknownError              the provider does not know the batch job, or no more
│   └── JobItemNotRunError           its batch job ended before it ran: nothing was billed
├── RunStoppedError (5)              the session is safe and can be resumed
│   ├── PhaseFailedError             an agent and its fallback are down
│   ├── PauseRequestedError          a provider asks for a longer pause than we wait
│   ├── DeadLetterError              the same step keeps failing
│   └── ExportError                  the document is there, but not in every format
└── SessionError (6)                 the journal
    ├── SessionNotFoundError
    ├── SessionInUseError            another process has it
    ├── SessionDamagedError          a file that cannot be read as what it should be
    └── JournalWriteError            could not be made durable: nothing more is bought
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from aigenflow.core.models import GatewayResponse


class AigenflowError(Exception):
    """What happened, with what, and what to try next.

    ``message`` and ``hint`` are shown to the user as they are: no key and no prompt text in them.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(AigenflowError):
    """The user can put it right before anything is spent."""

    exit_code = 2


class ConfigError(UsageError):
    """A key, a value or a file of the configuration is wrong."""


class InputError(UsageError):
    """A topic, brief, id or option that cannot be used."""


class TemplateError(UsageError):
    """A template is missing, broken, or asks for a variable that nobody gave."""


class AddressError(UsageError):
    """A base URL that would send prompts or keys where the user gave no leave."""


class BudgetExceededError(AigenflowError):
    """The next call could cost more than is allowed, so it was not made."""

    exit_code = 3


class GatewayError(AigenflowError):
    """A provider did not give a usable answer.

    ``provider`` names the back-end. ``response`` is the unusable answer where one arrived: its
    tokens are billed all the same. ``possibly_billed`` says that the provider may charge although
    no count arrived (a connection cut after sending).
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str = "",
        status: int | None = None,
        response: GatewayResponse | None = None,
        possibly_billed: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.status = status
        self.response = response
        self.possibly_billed = possibly_billed


class TransientError(GatewayError):
    """May pass: worth another attempt."""


class RateLimitedError(TransientError):
    """The provider asks us to slow down.

    ``retry_after_s`` is the wait it asked for, in seconds from now; ``None`` where it named none.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str = "",
        status: int | None = 429,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, provider=provider, status=status)
        self.retry_after_s = retry_after_s


class ServerFaultError(TransientError):
    """The provider failed on its side (5xx, 529, 408, 409, an error page, an error event).

    ``retry_after_s`` as in :class:`RateLimitedError`.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        possibly_billed: bool = False,
    ) -> None:
        super().__init__(
            message, hint=hint, provider=provider, status=status, possibly_billed=possibly_billed
        )
        self.retry_after_s = retry_after_s


class ConnectionFailedError(TransientError):
    """No connection, or one that broke (``possibly_billed`` if the request had gone out)."""


class StalledError(TransientError):
    """No first event in time, silence between events, or longer than the total allowed."""


class RejectedError(GatewayError):
    """The provider will not take this request; another attempt only costs money."""


class AuthenticationError(RejectedError):
    """The provider does not accept the key (401, 403)."""


class QuotaExhaustedError(RejectedError):
    """The account has no money or no quota left."""


class ModelNotFoundError(RejectedError):
    """The provider does not know the model (404)."""


class TooLargeError(RejectedError):
    """The request is larger than the model takes."""


class UnusableAnswerError(GatewayError):
    """An answer arrived and is billed, but it is not one to keep."""


class EmptyAnswerError(UnusableAnswerError):
    """The answer has no text, often because reasoning used up the whole limit."""


class MalformedAnswerError(UnusableAnswerError):
    """The answer is not what the format promises."""


class TruncatedAnswerError(UnusableAnswerError):
    """The answer was cut at its length limit, also after the model was asked to go on."""


class RefusedError(UnusableAnswerError):
    """The model refused, or the provider filtered the answer."""


class CircuitOpenError(GatewayError):
    """Too many failures lately: the call was not made."""


class CapacityError(GatewayError):
    """No room at the discounted rate right now: nothing was billed, and the full one helps."""


class JobUnknownError(GatewayError):
    """The provider does not know this batch job, or keeps its results no longer."""


class JobItemNotRunError(GatewayError):
    """The batch job expired or was cancelled before this request ran: nothing was billed."""


class RunStoppedError(AigenflowError):
    """The run stopped; what is finished is safe, and the session can be resumed."""

    exit_code = 5


class PhaseFailedError(RunStoppedError):
    """An agent and its fallback both failed."""


class PauseRequestedError(RunStoppedError):
    """A provider asks for a longer pause than we wait for."""


class DeadLetterError(RunStoppedError):
    """The same step failed in several runs in a row: no more money goes into it unasked."""


class ExportError(RunStoppedError):
    """The document is written, but could not be brought into a format."""


class SessionError(AigenflowError):
    """Something is wrong with the session's folder."""

    exit_code = 6


class SessionNotFoundError(SessionError):
    """There is no session of that name."""


class SessionInUseError(SessionError):
    """Another process is working on the session."""


class SessionDamagedError(SessionError):
    """A file of the session cannot be read as what it should be."""


class JournalWriteError(SessionError):
    """Something could not be made durable, so nothing more is bought.

    ``paid_answer`` is an answer that had just been paid for when the ledger failed: it is kept in
    the session before the run stops.
    """

    def __init__(
        self, message: str, *, hint: str = "", paid_answer: GatewayResponse | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.paid_answer = paid_answer
