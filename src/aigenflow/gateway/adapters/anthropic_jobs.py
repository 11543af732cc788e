"""Message Batches: many requests to Claude in one job, at half the price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from aigenflow.core.errors import GatewayError
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import GatewayResponse, Json
from aigenflow.gateway.adapters import _jobs
from aigenflow.gateway.adapters._wire import as_count, as_dict, as_dicts, as_text
from aigenflow.gateway.adapters.anthropic import PROVIDER, build_body, parse
from aigenflow.gateway.http_errors import error_from_status

MAX_ITEMS = 100_000
MAX_BYTES = 256_000_000

STATES: Mapping[str, JobState] = {
    "in_progress": JobState.RUNNING,
    "canceling": JobState.CANCELLING,
    "ended": JobState.ENDED,
}
"""Every state a batch can be in; how it ended stands in its counts."""

NOT_RUN = frozenset({"canceled", "expired"})
"""The kinds of result of an item that never ran; the others are "succeeded" and "errored"."""

_BATCHES = "/v1/messages/batches"
_PAGE = 1000

_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that the error of an item would have been, had it been asked alone."""


class AnthropicJobs(_jobs.ProviderJobs[_jobs.Connection]):
    """A :class:`~aigenflow.gateway.base.JobGateway` to Anthropic. It keeps no tags."""

    provider = PROVIDER
    max_items = MAX_ITEMS
    max_bytes = MAX_BYTES

    def path(self, job: str) -> str:
        return f"{_BATCHES}/{_jobs.in_path(job)}"

    def read(self, raw: Mapping[str, Json]) -> JobStatus:
        return read_status(raw)

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Make one job; ``tag`` is lost, only the ids of the items can be found again."""
        body = build_job(items)
        self._check_size(items, _jobs.dumped(body))
        with _jobs.creating():
            return read_status(await self._connection.exchange("POST", _BATCHES, body))

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        """Candidates: the jobs submitted since then with as many items. The newest come first."""
        found: list[JobStatus] = []
        after = ""
        while True:
            cursor = f"&after_id={_jobs.in_path(after)}" if after else ""
            page = await self._connection.exchange("GET", f"{_BATCHES}?limit={_PAGE}{cursor}")
            jobs = [read_status(raw) for raw in as_dicts(page.get("data"))]
            recent = [job for job in jobs if _jobs.is_since(job.submitted, since)]
            found += [job for job in recent if job.total == size]
            last = as_text(page.get("last_id"))
            if len(recent) < len(jobs) or not page.get("has_more") or last in {"", after}:
                return tuple(found)
            after = last

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """What became of the items.

        The batch names the address of its results. It is not followed, since the key must not go
        wherever an answer points to: the documented path at our own address holds the same.
        """
        raw = await self._look(job)
        if not raw.get("results_url"):
            gone = raw.get("archived_at") or read_status(raw).state.is_over
            raise (_jobs.unknown if gone else _jobs.not_over)(job, PROVIDER)
        return await self._outcomes(job, f"{self.path(job)}/results")

    async def delete(self, job: str) -> None:
        """Delete the job: requests and answers are a part of it."""
        if (await self.status(job)).state.is_over:
            await _jobs.delete_all(self._connection, [self.path(job)])

    def take(self, line: Mapping[str, Json]) -> _jobs.Result | None:
        item = as_text(line.get("custom_id"))
        return (
            _jobs.Result(item, partial(self._read, as_dict(line.get("result")))) if item else None
        )

    def _read(self, result: Mapping[str, Json]) -> GatewayResponse:
        kind = result.get("type")
        if kind == "succeeded":
            return parse(as_dict(result.get("message")))
        if kind in NOT_RUN:
            raise _jobs.not_run(PROVIDER)
        raise self._item_error(as_dict(result.get("error")))

    def _item_error(self, error: Mapping[str, Json]) -> GatewayError:
        kind = as_text(as_dict(error.get("error")).get("type"))
        return error_from_status(
            provider=PROVIDER,
            status=_STATUS_OF_ERROR.get(kind, 500),
            headers={},
            body=_jobs.dumped(error).decode(),
            now=self._clock.now(),
        )


def build_job(items: Sequence[JobItem]) -> dict[str, Json]:
    """The JSON that makes one job."""
    return {
        "requests": [
            {"custom_id": item.id, "params": build_body(item.request, item.route)} for item in items
        ]
    }


def read_status(raw: Mapping[str, Json]) -> JobStatus:
    """What Anthropic says about a batch. Raises ``MalformedAnswerError``."""
    counts = {name: as_count(count) for name, count in as_dict(raw.get("request_counts")).items()}
    expired, cancelled = counts.get("expired", 0), counts.get("canceled", 0)
    state = _jobs.state_of(as_text(raw.get("processing_status")), STATES, provider=PROVIDER)
    if state is JobState.ENDED and cancelled:
        state = JobState.CANCELLED
    elif state is JobState.ENDED and expired:
        state = JobState.EXPIRED
    return JobStatus(
        job=_jobs.id_of(raw, provider=PROVIDER),
        tag=None,
        state=state,
        submitted=_jobs.instant(raw.get("created_at")),
        total=sum(counts.values()),
        succeeded=counts.get("succeeded", 0),
        failed=counts.get("errored", 0) + expired + cancelled,
    )
