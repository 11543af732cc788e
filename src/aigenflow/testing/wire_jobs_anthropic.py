"""Anthropic's Message Batches: ``/v1/messages/batches``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigenflow.core.jobs import JobState
from aigenflow.core.models import Json
from aigenflow.testing.wire_jobs import (
    Item,
    ItemResult,
    JobCall,
    JobDesk,
    JobReply,
    WireJob,
    json_reply,
    result_lines,
)
from aigenflow.testing.wire_models import Rejection, first_problem

PATH = "messages/batches"
_NOT_RUN = {JobState.EXPIRED: "expired", JobState.CANCELLED: "canceled"}


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")
    custom_id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    params: dict[str, Json]


class _Create(BaseModel):
    model_config = ConfigDict(extra="forbid")
    requests: Annotated[list[_Request], Field(min_length=1, max_length=100_000)]


class AnthropicJobForm:
    """See :class:`~aigenflow.testing.wire_jobs.JobForm`."""

    def reply(self, call: JobCall, desk: JobDesk) -> JobReply:
        rest = call.path.removeprefix(PATH).strip("/")
        job_id, _slash, verb = rest.partition("/")
        match call.method, job_id, verb:
            case "POST", "", "":
                job = desk.create(call, "msgbatch_", _items(call))
                return json_reply(_shown(job, call), job=job)
            case "GET", "", "":
                return json_reply(_list(call, desk))
            case "GET", _, "":
                return json_reply(_shown(desk.look(job_id, call), call))
            case "DELETE", _, "":
                desk.delete(job_id, call)
                return json_reply({"id": job_id, "type": "message_batch_deleted"})
            case "POST", _, "cancel":
                return json_reply(_shown(desk.cancel(job_id, call), call))
            case "GET", _, "results":
                return _results(desk.look(job_id, call))
        raise Rejection(404, "Not found")


def _items(call: JobCall) -> list[Item]:
    try:
        created = _Create.model_validate(call.body)
    except ValidationError as error:
        place, _kind, problem = first_problem(error)
        raise Rejection(400, f"{place}: {problem}") from error
    ids = [request.custom_id for request in created.requests]
    if len(set(ids)) < len(ids):
        raise Rejection(400, "requests: custom_id must be unique")
    return [Item(id=request.custom_id, body=request.params) for request in created.requests]


def _list(call: JobCall, desk: JobDesk) -> dict[str, Json]:
    page, has_more = desk.page_after(call.query.get("after_id", ""), call)
    return {
        "data": [_shown(job, call) for job in page],
        "has_more": has_more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _shown(job: WireJob, call: JobCall) -> dict[str, Json]:
    made = job.created
    gone = job.is_over and job.action.gone
    ready = job.is_over and not gone
    here = f"{call.origin}/v1/{PATH}/{job.id}/results"
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": _status(job),
        "request_counts": _counts(job),
        "created_at": made.isoformat(),
        "expires_at": (made + timedelta(hours=24)).isoformat(),
        "ended_at": call.wall.isoformat() if job.is_over else None,
        "cancel_initiated_at": call.wall.isoformat() if job.cancelled else None,
        "archived_at": call.wall.isoformat() if gone else None,
        "results_url": (job.action.results_url or here) if ready else None,
    }


def _status(job: WireJob) -> str:
    if job.is_over:
        return "ended"
    return "canceling" if job.state is JobState.CANCELLING else "in_progress"


def _counts(job: WireJob) -> dict[str, int]:
    """Everything is processing until the whole batch has ended, and tallied then."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if not job.is_over:
        return counts | {"processing": len(job.items)}
    kinds = {result.id: _kind(job, result) for result in job.results}
    for item in job.items:
        counts[kinds.get(item.id, "errored")] += 1
    return counts


def _kind(job: WireJob, result: ItemResult) -> str:
    if result.status is None:
        return _NOT_RUN.get(job.state, "expired")
    return "succeeded" if result.status == 200 else "errored"


def _results(job: WireJob) -> JobReply:
    if not job.is_over or job.action.gone:
        raise Rejection(404, f"Results of {job.id} are not available.")

    def write(result: ItemResult) -> dict[str, Json]:
        kind = _kind(job, result)
        content: dict[str, Json] = {"type": kind}
        if kind == "succeeded":
            content["message"] = result.body
        elif kind == "errored":
            content["error"] = result.body
        return {"custom_id": result.id, "result": content}

    return JobReply(
        data=result_lines(job, write, job.results),
        headers={"Content-Type": "application/x-jsonl"},
    )
