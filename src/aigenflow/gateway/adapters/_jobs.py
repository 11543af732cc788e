"""What the batch jobs of all providers have in common: lines, outcomes, doubts about a create.

A job adapter knows shapes and paths only. It speaks through the connection of its provider's live
adapter, which keeps address, key, deadlines and the translation of errors in one place.
"""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from gettext import gettext as _
from typing import ClassVar, Generic, Protocol, TypeVar
from urllib.parse import quote

from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    GatewayError,
    JobItemNotRunError,
    JobUnknownError,
    MalformedAnswerError,
    ModelNotFoundError,
    TooLargeError,
)
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import GatewayResponse, Json, ServedFrom
from aigenflow.gateway.adapters._answers import read_object
from aigenflow.gateway.adapters._faults import malformed
from aigenflow.gateway.adapters._wire import as_dict, as_text

LONGEST_LINE_BYTES = 64 * 1024 * 1024
"""One answer with all that a search brought in is a hundredth of this."""

CLOCK_SLACK = timedelta(minutes=5)
"""How far the provider's clock may be behind ours; some also cut the time to whole seconds."""

_ID = re.compile(rb'"(?:custom_id|key)"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_ID_WITHIN = 512  # bytes from the beginning of a line: behind them stands the model's own text

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What a job adapter needs of the live adapter of its provider. All raise ``GatewayError``."""

    async def exchange(self, method: str, path: str, body: Json = None) -> dict[str, Json]:
        """Send one request and read the JSON object that answers it."""
        ...

    def download(self, path: str) -> AsyncGenerator[bytes, None]:
        """The body of an answer, piece by piece."""
        ...


class Uploading(Connection, Protocol):
    """A connection to a provider that takes the requests of a job as a file."""

    async def upload(self, data: bytes, name: str) -> str:
        """Hand in a file of JSON lines and return the provider's name of it."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=Connection)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of results: whose it is, and how to read it. ``read`` raises ``GatewayError``."""

    id: str
    read: Callable[[], GatewayResponse]


class ProviderJobs(ABC, Generic[ConnectionT]):
    """What the job adapters of all providers do alike; shapes and paths are their own."""

    provider: ClassVar[str]
    max_items: ClassVar[int]
    max_bytes: ClassVar[int]
    cancel_verb: ClassVar[str] = "/cancel"

    def __init__(self, connection: ConnectionT, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    @abstractmethod
    def path(self, job: str) -> str:
        """Where a job is found."""

    @abstractmethod
    def read(self, raw: Mapping[str, Json]) -> JobStatus:
        """What the provider says about a job. Raises ``MalformedAnswerError``."""

    @abstractmethod
    def take(self, line: Mapping[str, Json]) -> Result | None:
        """Whose a line of results is, ``None`` where it does not say."""

    async def status(self, job: str) -> JobStatus:
        """How the job stands."""
        return self.read(await self._look(job))

    async def cancel(self, job: str) -> None:
        """Ask the provider to stop."""
        with known(job, self.provider):
            await self._connection.exchange("POST", self.path(job) + self.cancel_verb)

    async def _look(self, job: str) -> dict[str, Json]:
        """A job as the provider describes it."""
        with known(job, self.provider):
            return await self._connection.exchange("GET", self.path(job))

    async def _outcomes(self, job: str, path: str) -> tuple[ItemOutcome, ...]:
        """What the file of results at ``path`` says."""
        with known(job, self.provider):
            async with aclosing(self._connection.download(path)) as pieces:
                return tuple(await outcomes(pieces, self.take, provider=self.provider))

    def _check_size(self, items: Sequence[JobItem], data: bytes) -> None:
        """Raise ``TooLargeError`` for more than one job takes."""
        if len(items) <= self.max_items and len(data) <= self.max_bytes:
            return
        message = _(
            "{items} requests of {size} bytes are more than one batch job of {provider} takes."
        )
        hint = _("At most {items} requests and {size} bytes fit: make more jobs of them.")
        raise TooLargeError(
            message.format(items=len(items), size=len(data), provider=self.provider),
            hint=hint.format(items=self.max_items, size=self.max_bytes),
            provider=self.provider,
        )


@contextmanager
def uploading() -> Iterator[None]:
    """Around what comes before a job is made: where it fails, there surely is none."""
    try:
        yield
    except GatewayError as error:
        error.possibly_billed = False
        raise


@contextmanager
def creating() -> Iterator[None]:
    """Around the one call that makes a job: its errors say whether the job may exist."""
    try:
        yield
    except GatewayError as error:
        error.possibly_billed = _may_exist(error)
        raise


@asynccontextmanager
async def or_deleted(connection: Connection, path: str) -> AsyncGenerator[None, None]:
    """:func:`creating`, and where there is surely no job, what was uploaded for it is deleted."""
    try:
        with creating():
            yield
    except GatewayError as error:
        if not error.possibly_billed:
            with suppress(GatewayError):  # what is told is why there is no job
                await delete_all(connection, [path])
        raise


def _may_exist(error: GatewayError) -> bool:
    if error.status is None:  # no answer, or none that can be read: was the request sent?
        return error.possibly_billed
    return error.status >= 500 or error.status in {408, 409}


@contextmanager
def known(job: str, provider: str) -> Iterator[None]:
    """Turn "not found" into ``JobUnknownError``."""
    try:
        yield
    except ModelNotFoundError:
        raise unknown(job, provider) from None


async def delete_all(connection: Connection, paths: Iterable[str]) -> None:
    """Delete what is there; all is tried before an error is raised."""
    failure: GatewayError | None = None
    for path in paths:
        try:
            await connection.exchange("DELETE", path)
        except ModelNotFoundError:  # gone already
            continue
        except GatewayError as error:
            failure = error
    if failure is not None:
        raise failure


def unknown(job: str, provider: str) -> JobUnknownError:
    """The provider has no such job, or no results of it any more."""
    message = _("{provider} does not know the batch job {job}, or keeps its results no longer.")
    return JobUnknownError(
        message.format(provider=provider, job=job),
        hint=_("Results are kept for about a month. Is it the same account and address?"),
        provider=provider,
        status=404,
    )


def not_over(job: str, provider: str) -> GatewayError:
    """Results were asked for too early."""
    message = _("The batch job {job} at {provider} has no results yet.")
    return GatewayError(
        message.format(job=job, provider=provider),
        hint=_("Ask again when it is over."),
        provider=provider,
    )


def not_run(provider: str) -> JobItemNotRunError:
    """The job ended before this item ran."""
    message = _("The batch job at {provider} ended before this request ran.")
    return JobItemNotRunError(
        message.format(provider=provider),
        hint=_("Nothing was billed for it: ask again, live or in another job."),
        provider=provider,
    )


def outcome(result: Result) -> ItemOutcome:
    """What became of the item; an answer is billed at the batch price, also an unusable one."""
    try:
        return ItemOutcome(id=result.id, response=_batched(result.read()))
    except GatewayError as error:
        if error.response is not None:
            error.response = _batched(error.response)
        return ItemOutcome(id=result.id, error=error)


def _batched(response: GatewayResponse) -> GatewayResponse:
    return response.model_copy(update={"served_from": ServedFrom.BATCH})


async def outcomes(
    pieces: AsyncIterator[bytes],
    take: Callable[[Mapping[str, Json]], Result | None],
    *,
    provider: str,
) -> list[ItemOutcome]:
    """The outcomes of a file of JSON lines; ``take`` finds the item that a line is about.

    A line that cannot be read is an error of its own item, or is left out with a warning where
    not even its id can be made out.
    """
    found = []
    async for line in _lines(pieces):
        result = _result(line, take, provider)
        if result is None:
            _log.warning("%s: a line of batch results names no item and is left out", provider)
        else:
            found.append(outcome(result))
    return found


def _result(
    line: bytes, take: Callable[[Mapping[str, Json]], Result | None], provider: str
) -> Result | None:
    try:
        return take(read_object(line, provider=provider))
    except MalformedAnswerError as broken:
        error = broken  # the name of an except clause is gone when its block ends
    named = _ID.search(line, 0, _ID_WITHIN)
    if named is None:
        return None

    def read() -> GatewayResponse:
        raise error

    return Result(named[1].decode(), read)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines of ``pieces`` that are not empty.

    No more than one line is held; of one that is longer than any answer only the beginning is
    kept, which names the item.
    """
    held = bytearray()
    async for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            _hold(held, end)
            if held.strip():
                yield bytes(held)
            held.clear()
        _hold(held, rest)
    if held.strip():
        yield bytes(held)


def _hold(held: bytearray, more: bytes) -> None:
    held += more[: LONGEST_LINE_BYTES - len(held)]


def json_lines(records: Sequence[Mapping[str, Json]]) -> bytes:
    """``records`` as a file, one line each."""
    return b"".join(dumped(record) + b"\n" for record in records)


def dumped(value: Json) -> bytes:
    """``value`` as JSON. Raises ``TypeError`` and ``ValueError`` as ``json.dumps`` does."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def state_of(name: str, states: Mapping[str, JobState], *, provider: str) -> JobState:
    """Our word for a provider's state.

    One that nobody knows yet counts as running: the job is asked about again, up to its deadline.
    """
    if name not in states:
        _log.warning("%s: a batch job is in the unknown state %.40r", provider, name)
    return states.get(name, JobState.RUNNING)


def instant(value: Json) -> datetime | None:
    """The time that RFC 3339 text stands for, aware; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(as_text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def is_since(submitted: datetime | None, since: datetime) -> bool:
    """Whether a job may have been submitted at ``since`` or later."""
    return submitted is None or submitted >= since - CLOCK_SLACK


def id_of(record: Mapping[str, Json], *, provider: str) -> str:
    """The provider's id of a job. Raises ``MalformedAnswerError`` where there is none."""
    for name in ("id", "name"):
        found = as_text(record.get(name))
        if found:
            return found
    raise malformed(provider, _("it names no batch job"))


def in_path(name: str) -> str:
    """An id or a resource name as a part of a path that stays where it is put."""
    return quote(name, safe="/").replace("..", "%2E%2E")


def message_of(error: Json) -> str:
    """What a provider says in an error object, in one line."""
    return " ".join(as_text(as_dict(error).get("message")).split())[:300]
