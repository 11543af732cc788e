"""Gemini's batch mode: a file of requests in, a file of answers out.

Requests could also travel inside the call that makes the job. But such answers come back without
the metadata of their requests and in no certain order (googleapis/python-genai issues 1909 and
2008), so that nobody could tell whose they are; the lines of a file carry a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from gettext import gettext as _

from aigenflow.core.errors import RejectedError
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

_STATUS_OF_CODE = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    7: 403,
    8: 429,
    9: 400,
    11: 400,
    13: 500,
    14: 503,
    16: 401,
}
"""The HTTP status that a code of google.rpc stands for; any other is a fault of the server."""

_CANCELLED = 499
_PAGE = 100
_FILES = "files/"
_MOST_PAGES = 20
"""Enough for 2,000 files: Google deletes each after 48 hours in any case."""

LONGEST_DELETED_ID = 40
"""Google gives files of answers longer ids than it deletes (googleapis/python-genai issue 1759)."""


class GeminiJobs(_jobs.ProviderJobs[_jobs.Uploading]):
    """A :class:`~aigenflow.gateway.base.JobGateway` to Gemini."""

    provider = PROVIDER
    max_items = MAX_ITEMS
    max_bytes = MAX_BYTES
    cancel_verb = ":cancel"

    def path(self, job: str) -> str:
        return _jobs.in_path(job)

    def read(self, raw: Mapping[str, Json]) -> JobStatus:
        return read_status(raw)

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
        self._check_size(items, data)
        with _jobs.uploading():
            name = await self._connection.upload(data, tag)
        path = f"models/{_jobs.in_path(models.pop().removeprefix('models/'))}:batchGenerateContent"
        async with _jobs.or_deleted(self._connection, _jobs.in_path(name)):
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

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """What became of the items. Small jobs may bring their answers along instead of a file."""
        raw = await self._look(job)
        if not read_status(raw).state.is_over:
            raise _jobs.not_over(job, PROVIDER)
        output = _output(raw)
        file = as_text(output.get("responsesFile"))
        if not file:
            return self._inline(output)
        return await self._outcomes(job, f"{_jobs.in_path(file)}:download?alt=media")

    async def delete(self, job: str) -> None:
        """Delete its files, and the job, which may hold answers itself."""
        raw = await self._look(job)
        status = read_status(raw)
        if status.state.is_over:
            files = await self._uploads(status.tag or "")
            answers = as_text(_output(raw).get("responsesFile"))
            if 0 < len(answers.removeprefix(_FILES)) <= LONGEST_DELETED_ID:
                files.append(answers)
            await _jobs.delete_all(self._connection, map(_jobs.in_path, [*files, job]))

    async def _uploads(self, tag: str) -> list[str]:
        """The files of requests that were handed in as ``tag``: a job does not name its own."""
        found: list[str] = []
        token = ""
        for _page in range(_MOST_PAGES):
            cursor = f"&pageToken={_jobs.in_path(token)}" if token else ""
            page = await self._connection.exchange("GET", f"files?pageSize={_PAGE}{cursor}")
            files = as_dicts(page.get("files"))
            found += [as_text(one.get("name")) for one in files if one.get("displayName") == tag]
            token = as_text(page.get("nextPageToken"))
            if not token:
                break
        return [name for name in found if name.startswith(_FILES)]

    def _inline(self, output: Mapping[str, Json]) -> tuple[ItemOutcome, ...]:
        answers = as_dicts(as_dict(output.get("inlinedResponses")).get("inlinedResponses"))
        results = (self.take({**as_dict(answer.get("metadata")), **answer}) for answer in answers)
        return tuple(_jobs.outcome(result) for result in results if result is not None)

    def take(self, line: Mapping[str, Json]) -> _jobs.Result | None:
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
