"""Gemini's batch mode: a file of requests in, a file of answers out.

Requests could also travel inside the call that makes the job. But such answers come back without
the metadata of their requests and in no certain order (googleapis/python-genai issues 1909 and
2008), so that nobody could tell whose they are; the lines of a file carry a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from gettext import gettext as _

from aigenflow.core.clock import Clock
from aigenflow.core.errors import GatewayError, RejectedError
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import GatewayResponse, Json
from aigenflow.gateway.adapters import _jobs
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text
from aigenflow.gateway.adapters.gemini import PROVIDER, build_body, parse
from aigenflow.gateway.http_errors import error_from_status

MAX_ITEMS = 50_000
MAX_BYTES = 200_000_000
"""Google takes files of 2 GB and names no number of items; more would only cost us memory."""

STATES: Mapping[str, JobState] = {
    "UNSPECIFIED": JobState.WAITING,
    "QUEUED": JobState.WAITING,
    "PENDING": JobState.WAITING,
    "PAUSED": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "UPDATING": JobState.RUNNING,
    "CANCELLING": JobState.CANCELLING,
    "SUCCEEDED": JobState.ENDED,
    "PARTIALLY_SUCCEEDED": JobState.ENDED,
    "EXPIRED": JobState.EXPIRED,
    "CANCELLED": JobState.CANCELLED,
    "FAILED": JobState.FAILED,
}
"""Every state a job can be in, without the prefix, which is ``BATCH_STATE_`` or ``JOB_STATE_``."""

_STATUS_OF_CODE = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 13: 500, 14: 503, 16: 401}
"""The HTTP status that a code of google.rpc stands for."""

_CANCELLED = 499
_PAGE = 100


class GeminiJobs:
    """A :class:`~aigenflow.gateway.base.JobGateway` to Gemini."""

    max_items = MAX_ITEMS
    max_bytes = MAX_BYTES

    def __init__(self, connection: _jobs.Uploading, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Upload the requests, then make one job of them: until then there is surely none."""
        models = {item.route.model for item in items}
        if len(models) != 1:
            raise RejectedError(
                _("A batch job of {provider} is for one model.").format(provider=PROVIDER),
                hint=_("Make a job of its own for each model."),
                provider=PROVIDER,
            )
        data = build_file(items)
        _jobs.checked(
            items,
            size_bytes=len(data),
            most_items=self.max_items,
            most_bytes=self.max_bytes,
            provider=PROVIDER,
        )
        try:
            name = await self._connection.upload(data, tag)
        except GatewayError as error:
            error.possibly_billed = False
            raise
        path = f"models/{_jobs.in_path(models.pop().removeprefix('models/'))}:batchGenerateContent"
        with _jobs.creating():
            return read_status(await self._connection.exchange("POST", path, build_job(name, tag)))

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        """The jobs that carry ``tag``. Google names no order, so all pages are read."""
        found: list[JobStatus] = []
        token = ""
        while True:
            cursor = f"&pageToken={_jobs.in_path(token)}" if token else ""
            page = await self._connection.exchange("GET", f"batches?pageSize={_PAGE}{cursor}")
            jobs = [read_status(raw) for raw in as_dicts(page.get("operations"))]
            found += [
                job for job in jobs if job.tag == tag and _jobs.is_since(job.submitted, since)
            ]
            following = as_text(page.get("nextPageToken"))
            if following in {"", token}:
                return tuple(found)
            token = following

    async def status(self, job: str) -> JobStatus:
        """How the job stands."""
        with _jobs.known(job, PROVIDER):
            return read_status(await self._connection.exchange("GET", _jobs.in_path(job)))

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """What became of the items. Small jobs may bring their answers along instead of a file."""
        with _jobs.known(job, PROVIDER):
            raw = await self._connection.exchange("GET", _jobs.in_path(job))
            if not read_status(raw).state.is_over:
                raise _jobs.not_over(job, PROVIDER)
            output = _output(raw)
            file = as_text(output.get("responsesFile"))
            if not file:
                return self._inline(output)
            content = self._connection.download(f"{_jobs.in_path(file)}:download?alt=media")
            async with aclosing(content) as pieces:
                return tuple(await _jobs.outcomes(pieces, self._take, provider=PROVIDER))

    async def cancel(self, job: str) -> None:
        """Ask Google to stop."""
        with _jobs.known(job, PROVIDER):
            await self._connection.exchange("POST", f"{_jobs.in_path(job)}:cancel")

    def _inline(self, output: Mapping[str, Json]) -> tuple[ItemOutcome, ...]:
        answers = as_dicts(as_dict(output.get("inlinedResponses")).get("inlinedResponses"))
        results = (self._take({**as_dict(answer.get("metadata")), **answer}) for answer in answers)
        return tuple(_jobs.outcome(result) for result in results if result is not None)

    def _take(self, line: Mapping[str, Json]) -> _jobs.Result | None:
        item = as_text(line.get("key"))
        return _jobs.Result(item, partial(self._read, line)) if item else None

    def _read(self, line: Mapping[str, Json]) -> GatewayResponse:
        if not line.get("error"):
            return parse(as_dict(line.get("response")))
        error = as_dict(line["error"])
        code = as_count(error.get("code"))
        status = _STATUS_OF_CODE.get(code, code if 400 <= code < 600 else 500)
        if status == _CANCELLED:
            raise _jobs.not_run(PROVIDER)
        raise error_from_status(
            provider=PROVIDER,
            status=status,
            headers={},
            body=_jobs.dumped({"error": error}).decode(),
            now=self._clock.now(),
        )


def build_file(items: Sequence[JobItem]) -> bytes:
    """The file of requests: one JSON object a line."""
    return _jobs.json_lines(
        [{"key": item.id, "request": build_body(item.request, item.route)} for item in items]
    )


def build_job(file: str, tag: str) -> dict[str, Json]:
    """The JSON that makes one job of an uploaded file."""
    return {"batch": {"displayName": tag, "inputConfig": {"fileName": file}}}


def read_status(raw: Mapping[str, Json]) -> JobStatus:
    """What Google says about a job. Raises ``MalformedAnswerError``."""
    about = as_dict(raw.get("metadata"))
    stats = as_dict(about.get("batchStats"))
    name = as_text(about.get("state")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    state = _jobs.state_of(name, STATES, provider=PROVIDER)
    if state is JobState.FAILED and _output(raw):
        state = JobState.ENDED  # something ran, and is billed
    return JobStatus(
        job=_jobs.id_of(raw, provider=PROVIDER),
        tag=as_text(about.get("displayName")) or None,
        state=state,
        submitted=_jobs.instant(about.get("createTime")),
        total=_count(stats.get("requestCount")),
        succeeded=_count(stats.get("successfulRequestCount")),
        failed=_count(stats.get("failedRequestCount")),
        problem=_jobs.message_of(raw.get("error")),
    )


def _output(raw: Mapping[str, Json]) -> dict[str, Json]:
    """Where the answers are: in the operation's response, or in its description."""
    for output in (
        as_dict(raw.get("response")),
        as_dict(as_dict(raw.get("metadata")).get("output")),
    ):
        if output.get("responsesFile") or output.get("inlinedResponses"):
            return output
    return {}


def _count(value: Json) -> int:
    """Google writes its 64-bit numbers as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else 0
