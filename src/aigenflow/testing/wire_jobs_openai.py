"""OpenAI's files and batches: ``/v1/files``, ``/v1/batches``."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

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

PATHS = ("files", "batches")
_STATUS = {
    JobState.WAITING: "validating",
    JobState.RUNNING: "in_progress",
    JobState.CANCELLING: "cancelling",
    JobState.ENDED: "completed",
    JobState.EXPIRED: "expired",
    JobState.CANCELLED: "cancelled",
    JobState.FAILED: "failed",
}
_NOT_RUN = {
    JobState.EXPIRED: ("batch_expired", "The batch expired before this request could run."),
    JobState.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request ran."),
}


class _Create(BaseModel):
    model_config = ConfigDict(extra="forbid")
    input_file_id: str
    endpoint: Literal["/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] = {}
    output_expires_after: Json = None


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    custom_id: Annotated[str, Field(min_length=1)]
    method: Literal["POST"]
    url: Literal["/v1/responses"]
    body: dict[str, Json]


class OpenAIJobForm:
    """See :class:`~aigenflow.testing.wire_jobs.JobForm`."""

    def reply(self, call: JobCall, desk: JobDesk) -> JobReply:
        noun, _slash, rest = call.path.partition("/")
        name, _slash, verb = rest.partition("/")
        match noun, call.method, name, verb:
            case "files", "POST", "", "":
                return json_reply(_upload(call, desk))
            case "files", "GET", _, "content":
                return _content(desk, name)
            case "files", "DELETE", _, "":
                desk.delete_file(name)
                return json_reply({"id": name, "object": "file", "deleted": True})
            case "batches", "POST", "", "":
                return _create(call, desk)
            case "batches", "GET", "", "":
                return json_reply(_list(call, desk))
            case "batches", "GET", _, "":
                return json_reply(_shown(desk.look(name, call), desk))
            case "batches", "POST", _, "cancel":
                return json_reply(_shown(_cancelled(name, call, desk), desk))
        raise Rejection(404, "Not found")


def _upload(call: JobCall, desk: JobDesk) -> dict[str, Json]:
    fields = _form(call)
    if "file" not in fields or fields.get("purpose") != b"batch":
        raise Rejection(400, "'file' and 'purpose' (batch) are required.")
    name = desk.make_id("file-")
    desk.add_file(name, fields["file"])
    return {
        "id": name,
        "object": "file",
        "bytes": len(fields["file"]),
        "created_at": int(call.wall.timestamp()),
        "filename": "requests.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _form(call: JobCall) -> dict[str, bytes]:
    """The fields of a multipart form."""
    found = re.search(r'boundary="?([^";]+)"?', call.headers.get("content-type", ""))
    if found is None:
        raise Rejection(400, "The request must be multipart/form-data.")
    fields = {}
    for part in (b"\r\n" + call.raw).split(f"\r\n--{found[1]}".encode()):
        head, _blank, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="(\w+)"', head)
        if name:
            fields[name[1].decode()] = content
    return fields


def _content(desk: JobDesk, name: str) -> JobReply:
    if name not in desk.files:
        raise Rejection(404, f"No such File object: {name}")
    return JobReply(data=desk.files[name], headers={"Content-Type": "application/octet-stream"})


def _create(call: JobCall, desk: JobDesk) -> JobReply:
    try:
        wanted = _Create.model_validate(call.body)
    except ValidationError as error:
        place, _kind, problem = first_problem(error)
        raise Rejection(400, f"Invalid '{place}': {problem}.") from error
    if wanted.input_file_id not in desk.files:
        raise Rejection(404, f"No such File object: {wanted.input_file_id}")
    tag = json.dumps(wanted.metadata)
    items = _items(desk.files[wanted.input_file_id])
    job = desk.create(call, "batch_", items, tag=tag, source=wanted.input_file_id)
    return json_reply(_shown(job, desk), job=job)


def _items(data: bytes) -> list[Item]:
    """The items of a file. OpenAI checks the lines after the create; here it is done at once."""
    try:
        lines = [_Line.model_validate_json(line) for line in data.splitlines() if line.strip()]
    except ValidationError as error:
        place, _kind, problem = first_problem(error)
        raise Rejection(400, f"Invalid line of the input file: {place}: {problem}.") from error
    if not lines or len({line.custom_id for line in lines}) < len(lines):
        raise Rejection(400, "The custom_id of each line must be unique, and there must be a line.")
    if len({line.body.get("model") for line in lines}) > 1:
        raise Rejection(400, "All requests of a batch must name the same model.")
    return [Item(id=line.custom_id, body=line.body) for line in lines]


def _cancelled(name: str, call: JobCall, desk: JobDesk) -> WireJob:
    job = desk.cancel(name, call)
    if job.is_over:
        raise Rejection(409, f"Cannot cancel a batch with status '{_STATUS[job.state]}'.")
    return job


def _list(call: JobCall, desk: JobDesk) -> dict[str, Json]:
    page, has_more = desk.page_after(call.query.get("after", ""), call)
    return {
        "object": "list",
        "data": [_shown(job, desk) for job in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": has_more,
    }


def _shown(job: WireJob, desk: JobDesk) -> dict[str, Json]:
    if job.is_over and not job.files and job.state is not JobState.FAILED:
        _write_files(job, desk)
    done = sum(result.status == 200 for result in job.results)
    failed = job.state is JobState.FAILED
    problem = {"code": "invalid_request", "message": "The input file is not valid.", "line": 1}
    created = int(job.created.timestamp())
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": "/v1/responses",
        "model": job.model,
        "errors": {"object": "list", "data": [problem]} if failed else None,
        "input_file_id": job.source,
        "completion_window": "24h",
        "status": _STATUS[job.state],
        "output_file_id": job.files.get("output"),
        "error_file_id": job.files.get("error"),
        "created_at": created,
        "expires_at": created + 86_400,
        "request_counts": {
            "total": len(job.items),
            "completed": done,
            "failed": len(job.items) - done if job.is_over and not failed else 0,
        },
        "metadata": json.loads(job.tag),
    }


def _write_files(job: WireJob, desk: JobDesk) -> None:
    """The output file and the error file, each only where there is something to put in."""
    parts = {
        "output": [result for result in job.results if result.status == 200],
        "error": [result for result in job.results if result.status != 200],
    }
    for kind, results in parts.items():
        if not results:
            continue
        job.files[kind] = desk.make_id(f"file-{kind}-")
        if not job.action.gone:
            lines = result_lines(job, lambda result: _line(job, result), results)
            desk.add_file(job.files[kind], lines)


def _line(job: WireJob, result: ItemResult) -> dict[str, Json]:
    line: dict[str, Json] = {"id": f"batch_req_{result.id}", "custom_id": result.id}
    if result.status is None:
        code, message = _NOT_RUN.get(job.state, _NOT_RUN[JobState.EXPIRED])
        return line | {"response": None, "error": {"code": code, "message": message}}
    answer = {"status_code": result.status, "request_id": f"req_{result.id}", "body": result.body}
    return line | {"response": answer, "error": None}
