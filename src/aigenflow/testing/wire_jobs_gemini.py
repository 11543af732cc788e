"""Gemini's files and batches: ``upload/v1beta/files``, ``:batchGenerateContent``, ``batches/``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

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
from aigenflow.testing.wire_models import Rejection, dump, first_problem

CREATE = ":batchGenerateContent"
_LONGEST_DELETED_ID = 40
_UPLOAD = re.compile(r"upload/v\d+(?:beta)?/files\Z")
_STATE = {
    JobState.WAITING: "BATCH_STATE_PENDING",
    JobState.RUNNING: "BATCH_STATE_RUNNING",
    JobState.CANCELLING: "BATCH_STATE_RUNNING",
    JobState.ENDED: "BATCH_STATE_SUCCEEDED",
    JobState.EXPIRED: "BATCH_STATE_EXPIRED",
    JobState.CANCELLED: "BATCH_STATE_CANCELLED",
    JobState.FAILED: "BATCH_STATE_FAILED",
}


def is_upload(path: str) -> bool:
    """Whether a path takes files: here the version stands behind the first word."""
    return _UPLOAD.match(path) is not None


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Inline(_Wire):
    request: dict[str, Json]
    metadata: dict[str, str] = {}


class _InlineList(_Wire):
    requests: Annotated[list[_Inline], Field(min_length=1)]


class _Input(_Wire):
    file_name: str | None = None
    requests: _InlineList | None = None


class _Batch(_Wire):
    display_name: str
    input_config: _Input


class _Create(_Wire):
    batch: _Batch


class _Line(_Wire):
    key: str
    request: dict[str, Json]


class GeminiJobForm:
    """See :class:`~aigenflow.testing.wire_jobs.JobForm`."""

    def reply(self, call: JobCall, desk: JobDesk) -> JobReply:
        name, _colon, verb = call.path.partition(":")
        if is_upload(call.path) and call.method == "POST":
            return _upload(call, desk)
        match call.method, verb:
            case "POST", "batchGenerateContent":
                return _create(call, desk, name.removeprefix("models/"))
            case "GET", "download":
                return _content(desk, name)
            case "GET", "" if name == "files":
                return json_reply(_files(call, desk))
            case "DELETE", "" if name.startswith("files/"):
                _delete_file(name, desk)
                return json_reply({})
            case "DELETE", "" if name.startswith("batches/"):
                desk.delete(name, call)
                return json_reply({})
            case "GET", "" if name == "batches":
                return json_reply(_list(call, desk))
            case "GET", "" if name.startswith("batches/"):
                return json_reply(_shown(desk.look(name, call), desk))
            case "POST", "cancel":
                desk.cancel(name, call)
                return json_reply({})
        raise Rejection(404, "Requested entity was not found.")


def _upload(call: JobCall, desk: JobDesk) -> JobReply:
    """Both steps of a resumable upload: where to, and what."""
    if call.headers.get("x-goog-upload-command") == "start":
        name = desk.make_id("upload-")
        desk.add_file(name, _title(call).encode())
        target = f"{call.origin}/{call.path}?upload_id={name}"
        headers = {"X-Goog-Upload-URL": target, "X-Goog-Upload-Status": "active"}
        return JobReply(data=b"{}", headers=headers)
    title = desk.files.pop(call.query.get("upload_id", ""), None)
    if title is None:
        raise Rejection(404, "Requested entity was not found.")
    name = desk.make_id("files/")
    desk.add_file(name, call.raw)
    desk.titles[name] = title.decode()
    file = {"name": name, "mimeType": "application/jsonl", "sizeBytes": str(len(call.raw))}
    body = dump({"file": file}).encode()
    return JobReply(data=body, headers={"X-Goog-Upload-Status": "final"})


def _title(call: JobCall) -> str:
    file = call.body.get("file")
    if not isinstance(file, dict):
        return ""
    return str(file.get("displayName") or file.get("display_name") or "")  # the SDK's way


def _files(call: JobCall, desk: JobDesk) -> dict[str, Json]:
    start = int(call.query.get("pageToken", "0"))
    size = desk.page_size(int(call.query.get("pageSize", "10")))
    names = [name for name in desk.titles if name in desk.files]
    page: list[Json] = [
        {"name": name, "displayName": desk.titles[name]} for name in names[start : start + size]
    ]
    listed: dict[str, Json] = {"files": page} if page else {}
    if len(names) > start + size:
        listed["nextPageToken"] = str(start + size)
    return listed


def _delete_file(name: str, desk: JobDesk) -> None:
    if len(name.removeprefix("files/")) > _LONGEST_DELETED_ID:
        problem = "DeleteFileRequest.name: File ID (name excluding 'files/') cannot be more than"
        raise Rejection(400, f"* {problem} {_LONGEST_DELETED_ID} characters.")
    desk.delete_file(name)


def _content(desk: JobDesk, name: str) -> JobReply:
    if name not in desk.files:
        raise Rejection(404, "Requested entity was not found.")
    return JobReply(data=desk.files[name], headers={"Content-Type": "application/jsonl"})


def _create(call: JobCall, desk: JobDesk, model: str) -> JobReply:
    try:
        batch = _Create.model_validate(call.body).batch
        items = _items(batch.input_config, desk)
    except ValidationError as error:
        place, _kind, problem = first_problem(error)
        raise Rejection(400, f"Invalid value at '{place}': {problem}") from error
    source = batch.input_config.file_name or ""
    job = desk.create(call, "batches/", items, tag=batch.display_name, source=source, model=model)
    return json_reply(_shown(job, desk), job=job)


def _items(config: _Input, desk: JobDesk) -> list[Item]:
    if config.requests is not None:
        return [
            Item(id=inline.metadata.get("key") or f"inline-{number}", body=inline.request)
            for number, inline in enumerate(config.requests.requests)
        ]
    if config.file_name not in desk.files:
        raise Rejection(404, "Requested entity was not found.")
    lines = [
        _Line.model_validate_json(line)
        for line in desk.files[config.file_name].splitlines()
        if line.strip()
    ]
    return [Item(id=line.key, body=line.request) for line in lines]


def _list(call: JobCall, desk: JobDesk) -> dict[str, Json]:
    jobs = desk.newest_first(call)
    start = int(call.query.get("pageToken", "0"))
    size = desk.page_size(int(call.query.get("pageSize", "50")))
    listed: dict[str, Json] = {
        "operations": [_shown(job, desk) for job in jobs[start : start + size]]
    }
    if len(jobs) > start + size:
        listed["nextPageToken"] = str(start + size)
    return listed


def _shown(job: WireJob, desk: JobDesk) -> dict[str, Json]:
    """The operation. Counts of zero are left out, as the service does."""
    kind = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
    about: dict[str, Json] = {
        "@type": kind,
        "model": f"models/{job.model}",
        "displayName": job.tag,
        "state": _STATE[job.state],
        "createTime": job.created.isoformat().replace("+00:00", "Z"),
        "updateTime": job.created.isoformat().replace("+00:00", "Z"),
        "name": job.id,
        "batchStats": _stats(job),
    }
    operation: dict[str, Json] = {"name": job.id, "metadata": about}
    if not job.is_over:
        return operation
    operation["done"] = True
    if job.state in (JobState.FAILED, JobState.CANCELLED) and not _ran(job):
        code = 3 if job.state is JobState.FAILED else 1
        operation["error"] = {"code": code, "message": "The job has failed."}
    elif _ran(job):
        about["output"] = operation["response"] = _output(job, desk)
    return operation


def _ran(job: WireJob) -> list[ItemResult]:
    """The results there are: Google leaves out what never ran."""
    return [result for result in job.results if result.status is not None]


def _stats(job: WireJob) -> dict[str, str]:
    done = sum(result.status == 200 for result in job.results)
    counts = {"requestCount": len(job.items), "successfulRequestCount": done}
    if job.is_over:
        counts["failedRequestCount"] = len(job.items) - done
    else:
        counts["pendingRequestCount"] = len(job.items)
    return {name: str(count) for name, count in counts.items() if count}


def _output(job: WireJob, desk: JobDesk) -> dict[str, Json]:
    if not job.source:
        answers = [_line(result) for result in _ran(job)]
        return {"inlinedResponses": {"inlinedResponses": answers}}
    if "output" not in job.files:
        job.files["output"] = desk.make_id("files/batch-") + 12 * "0"  # 42, as the service's
        if not job.action.gone:
            lines = result_lines(job, lambda one: {"key": one.id} | _line(one), _ran(job))
            desk.add_file(job.files["output"], lines)
    return {"responsesFile": job.files["output"]}


def _line(result: ItemResult) -> dict[str, Json]:
    if result.status == 200:
        return {"response": result.body}
    error = result.body.get("error") or {}
    return {"error": {"code": error.get("code"), "message": error.get("message")}}
