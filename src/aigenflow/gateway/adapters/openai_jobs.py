"""OpenAI's Batch API: a file of requests in, a file of answers and a file of errors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import Backend, GatewayResponse, Json
from aigenflow.gateway.adapters import _jobs
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text
from aigenflow.gateway.adapters.openai import build_body, parse
from aigenflow.gateway.http_errors import error_from_event, error_from_status

PROVIDER = Backend.OPENAI.value
MAX_ITEMS = 50_000
MAX_BYTES = 200_000_000

STATES: Mapping[str, JobState] = {
    "validating": JobState.WAITING,
    "failed": JobState.FAILED,
    "in_progress": JobState.RUNNING,
    "finalizing": JobState.RUNNING,
    "completed": JobState.ENDED,
    "expired": JobState.EXPIRED,
    "cancelling": JobState.CANCELLING,
    "cancelled": JobState.CANCELLED,
}
"""Every state a batch can be in."""

TAG = "aigenflow_tag"
"""The metadata that finds a job again after a crash."""

_NOT_RUN = frozenset({"batch_expired", "batch_cancelled"})
_ENDPOINT = "/v1/responses"
_RESULTS = ("output_file_id", "error_file_id")
_PAGE = 100


class OpenAIJobs(_jobs.ProviderJobs[_jobs.Uploading]):
    """A :class:`~aigenflow.gateway.base.JobGateway` to OpenAI."""

    provider = PROVIDER
    max_items = MAX_ITEMS
    max_bytes = MAX_BYTES

    def path(self, job: str) -> str:
        return f"/batches/{_jobs.in_path(job)}"

    def read(self, raw: Mapping[str, Json]) -> JobStatus:
        return read_status(raw)

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Upload the requests, then make one job of them: until then there is surely none."""
        data = build_file(items)
        self._check_size(items, data)
        with _jobs.uploading():
            name = await self._connection.upload(data, f"{tag}.jsonl")
        async with _jobs.or_deleted(self._connection, _file(name)):
            raw = await self._connection.exchange("POST", "/batches", build_job(name, tag))
            return read_status(raw)

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        """The jobs that carry ``tag``. The newest come first."""
        found: list[JobStatus] = []
        after = ""
        while True:
            cursor = f"&after={_jobs.in_path(after)}" if after else ""
            page = await self._connection.exchange("GET", f"/batches?limit={_PAGE}{cursor}")
            jobs = [read_status(raw) for raw in as_dicts(page.get("data"))]
            recent = [job for job in jobs if _jobs.is_since(job.submitted, since)]
            found += [job for job in recent if job.tag == tag]
            last = jobs[-1].job if jobs else ""
            if len(recent) < len(jobs) or not page.get("has_more") or last in {"", after}:
                return tuple(found)
            after = last

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """What became of the items: answers, then errors. Either file may be missing."""
        raw = await self._look(job)
        if not read_status(raw).state.is_over:
            raise _jobs.not_over(job, PROVIDER)
        found: list[ItemOutcome] = []
        for file in filter(None, (as_text(raw.get(name)) for name in _RESULTS)):
            found += await self._outcomes(job, f"{_file(file)}/content")
        return tuple(found)

    async def delete(self, job: str) -> None:
        """Delete its files; OpenAI keeps the job itself, which holds no text."""
        raw = await self._look(job)
        if read_status(raw).state.is_over:
            files = [as_text(raw.get(name)) for name in (*_RESULTS, "input_file_id")]
            await _jobs.delete_all(self._connection, [_file(name) for name in files if name])

    def take(self, line: Mapping[str, Json]) -> _jobs.Result | None:
        item = as_text(line.get("custom_id"))
        return _jobs.Result(item, partial(self._read, line)) if item else None

    def _read(self, line: Mapping[str, Json]) -> GatewayResponse:
        response, error = as_dict(line.get("response")), as_dict(line.get("error"))
        status, body = as_count(response.get("status_code")), as_dict(response.get("body"))
        if status == 200:
            return parse(body)
        if as_text(error.get("code")) in _NOT_RUN:
            raise _jobs.not_run(PROVIDER)
        if error:
            fault = error_from_event(provider=PROVIDER, event=error)
            fault.possibly_billed = False
            raise fault
        raise error_from_status(
            provider=PROVIDER,
            status=status or 500,
            headers={},
            body=_jobs.dumped(body).decode(),
            now=self._clock.now(),
        )


def build_file(items: Sequence[JobItem]) -> bytes:
    """The file of requests: one JSON object a line."""
    return _jobs.json_lines(
        [
            {
                "custom_id": item.id,
                "method": "POST",
                "url": _ENDPOINT,
                "body": build_body(item.request, item.route),
            }
            for item in items
        ]
    )


def build_job(file: str, tag: str) -> dict[str, Json]:
    """The JSON that makes one job of an uploaded file."""
    return {
        "input_file_id": file,
        "endpoint": _ENDPOINT,
        "completion_window": "24h",
        "metadata": {TAG: tag},
    }


def read_status(raw: Mapping[str, Json]) -> JobStatus:
    """What OpenAI says about a batch. Raises ``MalformedAnswerError``."""
    counts = as_dict(raw.get("request_counts"))
    problems = as_dicts(as_dict(raw.get("errors")).get("data"))
    return JobStatus(
        job=_jobs.id_of(raw, provider=PROVIDER),
        tag=as_text(as_dict(raw.get("metadata")).get(TAG)) or None,
        state=_jobs.state_of(as_text(raw.get("status")), STATES, provider=PROVIDER),
        submitted=_moment(raw.get("created_at")),
        total=as_count(counts.get("total")),
        succeeded=as_count(counts.get("completed")),
        failed=as_count(counts.get("failed")),
        problem=_jobs.message_of(problems[0]) if problems else "",
    )


def _moment(seconds: Json) -> datetime | None:
    """The time that a number of seconds since 1970 stands for; ``None`` for anything else."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _file(name: str) -> str:
    return f"/files/{_jobs.in_path(name)}"
