"""Batch jobs as the providers keep them: made, worked on, over, fetched. Time is an argument.

A provider's form (:class:`JobForm`) reads what is sent and writes what is shown; what happens to
a job between is the same for all of them and stands in the script
(:class:`~aigenflow.testing.wire_script.JobAction`). The answer to an item is made by the same
rules as a live one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from aigenflow.core.jobs import JobState
from aigenflow.core.models import Backend, Json
from aigenflow.testing.bill import BillLine
from aigenflow.testing.wire_models import Rejection, dump
from aigenflow.testing.wire_script import JobAction, JobEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request of a job: its id and the body of the live request it stands for."""

    id: str
    body: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What became of an item.

    ``body`` answers it, or is the provider's error where ``status`` is not 200. ``status`` is
    ``None`` for one that never ran.
    """

    id: str
    status: int | None
    body: dict[str, Json]


@dataclass(slots=True, kw_only=True)
class WireJob:
    """One job. ``made`` is monotonic seconds, ``created`` wall time; ``reads`` counts looks."""

    id: str
    backend: Backend
    tag: str
    model: str
    items: tuple[Item, ...]
    action: JobAction
    created: datetime
    made: float
    source: str = ""
    reads: int = 0
    unavailable: int = 0
    cancelled: bool = False
    state: JobState = JobState.WAITING
    results: tuple[ItemResult, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return self.state.is_over


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCall:
    """One request about jobs, as it arrived. ``origin`` is the server's URL with the prefix."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    body: dict[str, Json]
    origin: str
    wall: datetime
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReply:
    """The answer. ``lost``: it is not sent, the connection is reset instead."""

    data: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False


def is_create(call: JobCall) -> bool:
    """Whether a request makes a job, which counts as one against the provider's limits."""
    return call.method == "POST" and (
        call.path in {"messages/batches", "batches"} or call.path.endswith(":batchGenerateContent")
    )


class JobForm(Protocol):
    """A provider's way of speaking about jobs."""

    def reply(self, call: JobCall, desk: JobDesk) -> JobReply:
        """Answer one request. Raises ``Rejection`` as the provider would refuse it."""
        ...


class Answerer(Protocol):
    """Who answers the items: the service behind the live paths."""

    def answer_item(
        self, backend: Backend, item: Item, job: WireJob, *, wall: datetime, now: float
    ) -> tuple[ItemResult, BillLine]:
        """One item's result, and what it costs."""
        ...

    def job_action(self, backend: Backend, text: str) -> JobAction:
        """What the script says about a new job whose items contain ``text``."""
        ...


class JobDesk:
    """The jobs and files of one provider."""

    def __init__(
        self, backend: Backend, answerer: Answerer, bill: Callable[[BillLine], None]
    ) -> None:
        self.backend = backend
        self.files: dict[str, bytes] = {}
        self.titles: dict[str, str] = {}
        self._answerer = answerer
        self._bill = bill
        self._jobs: dict[str, WireJob] = {}
        self._made = 0

    def make_id(self, prefix: str) -> str:
        """An id that has not been given before."""
        self._made += 1
        number = self._made
        digest = hashlib.sha256(f"{self.backend}|{prefix}|{number}".encode()).hexdigest()
        return prefix + digest[:24]

    def add_file(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def create(
        self,
        call: JobCall,
        prefix: str,
        items: Iterable[Item],
        *,
        tag: str = "",
        source: str = "",
        model: str = "",
    ) -> WireJob:
        """Make a job. Raises ``Rejection`` where the script has it refused without one."""
        made = tuple(items)
        text = "\n".join(dump(item.body) for item in made)
        action = self._answerer.job_action(self.backend, text)
        job = WireJob(
            id=self.make_id(prefix),
            backend=self.backend,
            tag=tag,
            model=model or str(made[0].body.get("model") or "") if made else model,
            items=made,
            action=action,
            created=call.wall,
            made=call.now,
            source=source,
            unavailable=action.unavailable,
        )
        if action.create_status is None or action.lost:
            self._jobs[job.id] = job
        if action.create_status is not None:
            raise Rejection(action.create_status, "The job could not be made.")
        return job

    def newest_first(self, call: JobCall) -> list[WireJob]:
        """All jobs as they stand; a list is no look at any of them."""
        for job in self._jobs.values():
            self._advance(job, call)
        return list(reversed(self._jobs.values()))

    def page_after(self, job_id: str, call: JobCall) -> tuple[list[WireJob], bool]:
        """The jobs behind ``job_id``, or the newest if it is empty, and whether more follow."""
        jobs = self.newest_first(call)
        if job_id:
            place = next((at for at, job in enumerate(jobs) if job.id == job_id), len(jobs))
            jobs = jobs[place + 1 :]
        size = self.page_size(int(call.query.get("limit", "20")))
        return jobs[:size], len(jobs) > size

    def page_size(self, asked: int) -> int:
        """How many jobs a page of the list shows: never more than the script's jobs allow."""
        sizes = [job.action.page_size for job in self._jobs.values() if job.action.page_size]
        return min([asked, *sizes])

    def look(self, job_id: str, call: JobCall) -> WireJob:
        """The job, one look later. Raises ``Rejection`` for an unknown one or a scripted 503."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Rejection(404, f"No batch found with id '{job_id}'.")
        if job.unavailable > 0:
            job.unavailable -= 1
            raise Rejection(503, "The service is temporarily unavailable.")
        self._advance(job, call)
        job.reads += 1
        return job

    def delete_file(self, name: str) -> None:
        """Delete a file. Raises ``Rejection`` where there is none, or the script says no."""
        self._check_delete()
        if self.files.pop(name, None) is None:
            raise Rejection(404, f"No such File object: {name}")

    def delete(self, job_id: str, call: JobCall) -> None:
        """Delete a job that is over."""
        self._check_delete()
        if not self.look(job_id, call).is_over:
            raise Rejection(400, "A batch can only be deleted when it has ended.")
        del self._jobs[job_id]

    def _check_delete(self) -> None:
        for job in self._jobs.values():
            if job.action.delete_status is not None:
                raise Rejection(job.action.delete_status, "Nothing can be deleted.")

    def cancel(self, job_id: str, call: JobCall) -> WireJob:
        """Ask for a job to be stopped. A job that is over stays as it is."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Rejection(404, f"No batch found with id '{job_id}'.")
        self._advance(job, call)
        if not job.is_over:
            job.cancelled = True
            job.state = JobState.CANCELLING
            job.reads = 0
        return job

    def _advance(self, job: WireJob, call: JobCall) -> None:
        action = job.action
        if job.is_over:
            return
        if job.cancelled:
            if job.reads >= action.cancel_polls:
                self._finish(job, JobState.CANCELLED, call)
            return
        if job.reads >= action.polls and call.now - job.made >= action.seconds and not action.stuck:
            self._finish(job, _STATES[action.end], call)
        elif job.reads > 0:
            job.state = JobState.RUNNING

    def _finish(self, job: WireJob, state: JobState, call: JobCall) -> None:
        """Make the results, each billed once, here and nowhere else."""
        job.state = state
        if state is JobState.FAILED:
            return
        done = job.action.done
        if done is None:
            done = 1.0 if state is JobState.ENDED else 0.0
        ran = round(done * len(job.items))
        results = []
        for index, item in enumerate(job.items):
            if index >= ran:
                results.append(ItemResult(id=item.id, status=None, body={}))
                continue
            result, line = self._answerer.answer_item(
                self.backend, item, job, wall=call.wall, now=call.now
            )
            self._bill(line)
            results.append(result)
        job.results = tuple(_disturbed(results, job.action))


_STATES = {
    JobEnd.ENDED: JobState.ENDED,
    JobEnd.EXPIRED: JobState.EXPIRED,
    JobEnd.CANCELLED: JobState.CANCELLED,
    JobEnd.FAILED: JobState.FAILED,
}


def _disturbed(results: list[ItemResult], action: JobAction) -> list[ItemResult]:
    """The results as the script wants them shown: order, gaps, doubles, strangers."""
    shown = [result for index, result in enumerate(results) if index not in action.missing]
    shown += [results[index] for index in action.duplicated if index < len(results)]
    for number in range(action.unknown):
        shown += [replace(result, id=f"unknown-{number}") for result in results[:1]]
    return shown[::-1] if action.reversed else shown


def result_lines(
    job: WireJob, write: Callable[[ItemResult], dict[str, Json]], results: Iterable[ItemResult]
) -> bytes:
    """Results as JSON lines; the items that the script names are cut in their middle."""
    broken = {job.items[index].id for index in job.action.malformed if index < len(job.items)}
    lines = []
    for result in results:
        line = dump(write(result))
        lines.append(line[: len(line) * 2 // 3] if result.id in broken else line)
    return "".join(f"{line}\n" for line in lines).encode()


def json_reply(body: Json, *, job: WireJob | None = None) -> JobReply:
    """A JSON answer; the answer to a create is lost where the script says so."""
    return JobReply(data=dump(body).encode(), lost=job is not None and job.action.lost)
