"""Providers' batch jobs, safe against every crash: nothing is bought twice and nothing is lost.

The life of a request::

    known already? -> attach to its item
    else           -> wait for company -> reserve -> write the intent -> submit -> write the id
                   -> poll -> keep the outcome -> settle -> delete it there -> hand it out

Each arrow may be the last one of a process. The next process that asks the same question, or
:meth:`JobDesk.wait`, finds the job in the store and goes on: a job whose id was not written is
looked for at the provider by its tag before anything is bought again. What to do with a job, and
what its results mean, is decided in :mod:`aigenflow.batch.job_moves`. Durations are in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import secrets
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from gettext import gettext as _
from typing import Protocol, TypeAlias

from aigenflow.batch.job_moves import (
    CLOCK_SKEW,
    HANDING_IN_S,
    LISTING_S,
    Move,
    belongs_to,
    item_id,
    match,
    merge,
    missing,
    new_tag,
    next_move,
    not_run,
    poll_pause,
    question_of,
)
from aigenflow.batch.job_store import (
    LEASE_S,
    Claim,
    Ending,
    Item,
    Job,
    JobStore,
    Stage,
)
from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    AigenflowError,
    CircuitOpenError,
    GatewayError,
    InputError,
    JobItemNotRunError,
    JobUnknownError,
    JournalWriteError,
    MalformedAnswerError,
    RateLimitedError,
    RunStoppedError,
    ServerFaultError,
    TransientError,
)
from aigenflow.core.events import JobWatched, OnEvent, Warned, ignore_event
from aigenflow.core.jobs import ItemOutcome, JobItem, JobState, JobStatus
from aigenflow.core.models import AgentRequest, GatewayResponse, Route

KEPT_FOR = timedelta(days=30)
"""Outcomes that somebody got are kept so long."""

SUBMIT_ATTEMPTS = 3
OTHERS_POLL_S = 2.0

OnText: TypeAlias = Callable[[int], None]

_MAY_PASS = (TransientError, CircuitOpenError, MalformedAnswerError)
"""Failures that leave a job as it is: look again later, however long it takes."""


class JobGateway(Protocol):
    """One provider's batch jobs. Every method raises a ``GatewayError``."""

    @property
    def max_items(self) -> int: ...

    @property
    def max_bytes(self) -> int: ...

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Make one job, in one attempt; an error says whether it may exist all the same."""
        ...

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        """Jobs that carry the tag; where the provider keeps none, candidates without one."""
        ...

    async def status(self, job: str) -> JobStatus:
        """Where the job stands; ``JobUnknownError`` where there is no such job."""
        ...

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """What it brought, as the provider gave it; ``JobUnknownError`` where that is gone."""
        ...

    async def cancel(self, job: str) -> None:
        """Ask for its end."""
        ...

    async def delete(self, job: str) -> None:
        """Delete the requests and answers that it left there; nothing while it is not over."""
        ...


class JobBooks(Protocol):
    """Money of items. Settling again changes nothing.

    ``reservation`` also names the row; it is empty for an item that was bought without books.
    """

    async def reserve(self, request: AgentRequest, route: Route) -> str:
        """Set the worst case aside. Raises ``BudgetExceededError``."""
        ...

    async def hand_over(self, reservation: str, job: str) -> None:
        """Let the job answer for the money from now on."""
        ...

    async def settle(
        self, reservation: str, request: AgentRequest, route: Route, outcome: ItemOutcome
    ) -> ItemOutcome:
        """Write down what an outcome cost; return it with its cost."""
        ...

    async def waste(
        self, call_id: str, request: AgentRequest, route: Route, response: GatewayResponse
    ) -> None:
        """Write down an answer that was bought a second time."""
        ...

    async def release(self, reservation: str) -> None:
        """Set the money free."""
        ...


JobsOf: TypeAlias = Callable[[Route], JobGateway | None]
"""The jobs of a route's provider; ``None`` where it has none."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Waiter:
    """Somebody who waits for an item, or without a request for a whole job.

    ``ended`` gets ``None`` when the item has its outcome in the store, or the error that kept it
    from one: as its result, so that nobody has to fetch it.
    """

    ended: asyncio.Future[BaseException | None]
    request: AgentRequest | None = None
    place: _Draft | _Work | None = None
    item: str = ""

    def tell(self, error: BaseException | None = None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


@dataclass(slots=True, eq=False, kw_only=True)
class _Draft:
    """A question that is not in any job yet."""

    question: str
    request: AgentRequest
    route: Route
    group: _Group
    reservation: str = ""
    waiters: list[_Waiter] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """At most so many bytes in a job's body, also where it escapes what is not ASCII."""
        texts = [self.request.system, self.request.prompt, self.request.answer_so_far]
        texts += [text for doc in self.request.context for text in (doc.title, doc.text)]
        letters = sum(len(text) if text.isascii() else 6 * len(text) for text in texts)
        return letters + letters // 20 + 4096


@dataclass(slots=True, eq=False, kw_only=True)
class _Group:
    """Drafts that go into one job, unless it becomes too large."""

    gateway: JobGateway
    drafts: list[_Draft] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class _Work:
    """A job that this process works, or waits for another process to work.

    ``items`` are there until they are submitted, ``polls`` counts looks. ``is_seen`` says that the
    provider has told this process how the job stands, ``is_offered`` that other processes could
    have taken the job over before it is stopped, ``is_delay_told`` that it was said who waits
    longer than wanted.
    """

    tag: str
    is_new: bool = False
    items: tuple[JobItem, ...] = ()
    waiters: list[_Waiter] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    polls: int = 0
    refusals: int = 0
    is_seen: bool = False
    is_offered: bool = False
    is_delay_told: bool = False
    is_handed_over: bool = False
    is_listing_waited_for: bool = False
    told: tuple[object, ...] = ()


class JobDesk:
    """Buys answers in providers' batch jobs, across processes and days. One event loop only.

    ``linger_s`` is how long a request waits for others to share its job.
    """

    def __init__(
        self,
        store: JobStore,
        jobs_of: JobsOf,
        books: JobBooks,
        clock: Clock,
        *,
        linger_s: float = 2.0,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self._store = store
        self._jobs_of = jobs_of
        self._books = books
        self._clock = clock
        self._linger_s = linger_s
        self._on_event = on_event
        self._groups: dict[Hashable, _Group] = {}
        self._drafts: dict[str, _Draft] = {}
        self._works: dict[str, _Work] = {}
        self._is_pruned = False

    def serves(self, route: Route) -> bool:
        """Whether the route's provider has batch jobs."""
        return self._jobs_of(route) is not None

    def knows(self, request: AgentRequest, route: Route) -> bool:
        """Whether the answer is on its way, or was bought and never used."""
        return self._store.is_there and self._look_up(question_of(request, route), request) is not (
            None
        )

    def open_at_another(self, request: AgentRequest, route: Route) -> Job | None:
        """The open job in which another agent than that of ``route`` answers the session's task."""
        waited_for = self._store.unsettled_for(request.session) if request.session else []
        for item in waited_for:
            if (item.request.phase, item.request.task) == (request.phase, request.task):
                job = self._store.job(item.tag)
                if job is not None and job.route.actor is not route.actor:
                    return job
        return None

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText | None = None
    ) -> GatewayResponse:
        """The answer, bought in a job or found in one that was handed in before.

        From ``request.complete_by`` on the job is stopped. Raises
        :class:`~aigenflow.core.errors.JobItemNotRunError` where the request surely did not run
        (buy it another way), another ``GatewayError`` where the provider failed it,
        :class:`~aigenflow.core.errors.RunStoppedError` where it is in a job that is still open and
        that the provider will not speak of (to buy it another way would be to pay twice), and
        ``BudgetExceededError`` and ``JournalWriteError`` before anything is bought.
        """
        question = question_of(request, route)
        enlisted = 0
        while True:
            item = self._look_up(question, request) if self._store.is_there else None
            if item is not None and item.settled:
                return self._give(item, request)
            if item is None and self._is_late(request):
                raise _too_late(route)
            if item is None and enlisted == SUBMIT_ATTEMPTS:
                raise _not_taken(route)
            waiter = _Waiter(ended=asyncio.get_running_loop().create_future(), request=request)
            try:
                if item is None:
                    enlisted += 1
                    self._enlist(waiter, question, request, route)
                else:
                    await self._attend(waiter, item)
                error = await waiter.ended
            finally:
                await self._leave(waiter)
            if isinstance(error, GatewayError) and isinstance(waiter.place, _Work):
                raise _still_open(waiter.place.tag, error) from error
            if isinstance(error, AigenflowError):
                raise copy.copy(error) from error  # whoever catches one may add to it
            if error is not None:
                raise error
            ended = self._store.item(waiter.item) if waiter.item else None
            if ended is not None and ended.settled:
                return self._give(ended, request)

    async def wait(self, tag: str) -> Job | None:
        """Work a job to its end: collect it and settle it.

        ``None`` where it never reached its provider: nothing was billed. Raises what keeps it
        from its end.
        """
        tag = self.find(tag).tag
        while (job := self._store.job(tag)) is not None and job.stage is not Stage.CLOSED:
            waiter = _Waiter(ended=asyncio.get_running_loop().create_future())
            try:
                self._work_on(tag, waiter)
                error = await waiter.ended
            finally:
                await self._leave(waiter)
            if error is not None:
                raise error
        return job

    async def look(self, tag: str) -> Job:
        """The job as its provider sees it now. Raises a ``GatewayError``."""
        job = self.find(tag)
        if job.stage is Stage.SUBMITTED:
            gateway = self._gateway(job.route)
            status = merge([await gateway.status(one) for one in job.ids])
            self._store.watched(job.tag, status)
        return self.find(tag)

    async def cancel(self, tag: str) -> Job:
        """Ask the provider to stop a job. What it has done by then is still collected.

        Raises a ``GatewayError``, and :class:`~aigenflow.core.errors.InputError` where the job is
        over, or where it is not known yet whether the provider has it.
        """
        job = self.find(tag)
        if job.stage in (Stage.COLLECTED, Stage.CLOSED):
            raise InputError(_("Batch job {job} is over already.").format(job=job.tag))
        if job.stage is Stage.INTENDED:
            raise InputError(
                _("Whether batch job {job} reached its provider is not known yet.").format(
                    job=job.tag
                ),
                hint=_("`aigenflow batch wait {job}` finds out.").format(job=job.tag),
            )
        await self._stop(job, self._gateway(job.route))
        return self.find(tag)

    def find(self, name: str) -> Job:
        """The job of that tag, or of that id at its provider.

        Raises :class:`~aigenflow.core.errors.InputError`.
        """
        found = [job for job in self._store.jobs() if name == job.tag or name in job.ids]
        if not found:
            raise InputError(
                _("There is no batch job {job}.").format(job=name),
                hint=_("`aigenflow batch list` shows them."),
            )
        return found[0]

    def open_jobs(self) -> list[Job]:
        """The jobs that are not settled yet, oldest first."""
        return self._store.jobs(only_open=True)

    def all_jobs(self) -> list[Job]:
        """Every job that is remembered, oldest first."""
        return self._store.jobs()

    def endings(self, tag: str) -> dict[Ending, int]:
        """How many of a job's items ended how."""
        return self._store.endings(tag)

    def sessions(self, tag: str) -> list[str]:
        """The sessions that wait for something of the job, by name."""
        return self._store.sessions(tag)

    async def aclose(self) -> None:
        """Stop working; what is at a provider goes on there."""
        tasks = [group.task for group in self._groups.values()]
        tasks += [work.task for work in self._works.values()]
        left = [task for task in tasks if task is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        self._store.close()

    # Waiting

    def _look_up(self, question: str, request: AgentRequest) -> Item | None:
        return self._store.look_up(question, request.session)

    def _give(self, item: Item, request: AgentRequest) -> GatewayResponse:
        """Hand an outcome out. Raises its error."""
        outcome = item.outcome or missing(item.id)
        if not item.taken:
            self._store.take(item.id, request.session, self._clock.now())
        if outcome.response is None:
            raise outcome.error or not_run(_("It brought neither answer nor error."))
        ours = request.session == item.session
        return outcome.response if ours else outcome.response.as_hit()

    def _is_late(self, request: AgentRequest | None) -> bool:
        by = request.complete_by if request else None
        return by is not None and self._clock.now() >= by

    def _enlist(self, waiter: _Waiter, question: str, request: AgentRequest, route: Route) -> None:
        """Put a new question into the next job, or join those who wait for it to get there."""
        draft = self._drafts.get(question)
        if draft is None:
            key = (_account(route), request.complete_by)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = _Group(gateway=self._gateway(route))
                group.task = asyncio.create_task(self._hand_in(key, group))
                group.task.add_done_callback(partial(self._handed_in, group))
            draft = _Draft(question=question, request=request, route=route, group=group)
            self._drafts[question] = draft
            group.drafts.append(draft)
        waiter.place = draft
        draft.waiters.append(waiter)

    async def _attend(self, waiter: _Waiter, item: Item) -> None:
        """Wait for an item that is in a job."""
        session = waiter.request.session if waiter.request else ""
        if session != item.session:
            await asyncio.to_thread(self._store.attach, item.id, session)
        waiter.item = item.id
        self._work_on(item.tag, waiter)

    def _work_on(self, tag: str, waiter: _Waiter) -> None:
        work = self._works.get(tag)
        if work is None:
            work = self._begin(_Work(tag=tag))
        waiter.place = work
        work.waiters.append(waiter)

    async def _leave(self, waiter: _Waiter) -> None:
        """Wait no longer. What nobody here waits for is worked no longer; it stays as it is."""
        place = waiter.place
        if place is None:
            return
        place.waiters.remove(waiter)
        task = None
        if isinstance(place, _Work):
            task = None if place.waiters else place.task
        elif not any(draft.waiters for draft in place.group.drafts):
            task = place.group.task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    # Handing in

    async def _hand_in(self, key: Hashable, group: _Group) -> None:
        """Wait for company, set the money aside, and begin as many jobs as it takes."""
        try:
            await self._clock.sleep(self._linger_s)
            self._groups.pop(key, None)
            drafts = await self._reserved([draft for draft in group.drafts if draft.waiters])
            for some in _portions(drafts, group.gateway):
                await self._intend(some)
        finally:
            if self._groups.get(key) is group:
                del self._groups[key]
            await self._drop([draft for draft in group.drafts if self._is_pending(draft)])

    def _handed_in(self, group: _Group, task: asyncio.Task[None]) -> None:
        """Tell those who are in no job: what kept them from it, or to look again."""
        error = None if task.cancelled() else task.exception()
        for draft in group.drafts:
            self._tell(draft, error)

    def _is_pending(self, draft: _Draft) -> bool:
        return self._drafts.get(draft.question) is draft

    async def _drop(self, drafts: Sequence[_Draft]) -> None:
        """Give up drafts that never got into a job."""
        for draft in drafts:
            del self._drafts[draft.question]
            if draft.reservation:
                await self._books.release(draft.reservation)

    async def _reserved(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        """Those for which a budget has room; the others are told."""

        async def reserve(draft: _Draft) -> None:
            draft.reservation = await self._books.reserve(draft.request, draft.route)

        reserved = []
        outcomes = await asyncio.gather(*map(reserve, drafts), return_exceptions=True)
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if outcome is None:
                reserved.append(draft)
            else:
                self._tell(draft, outcome)
        return reserved

    def _tell(self, draft: _Draft, error: BaseException | None = None) -> None:
        for waiter in draft.waiters:
            waiter.tell(error)

    async def _intend(self, drafts: Sequence[_Draft]) -> None:
        """Write a job down, and begin to work it."""
        route = drafts[0].route
        tag = new_tag(drafts[0].request.session, secrets.token_hex(6))
        job = Job(tag=tag, route=route, created=self._clock.now(), size=len(drafts))
        items = [
            Item(
                id=item_id(tag, number),
                tag=tag,
                fingerprint=draft.question,
                request=draft.request,
                reservation=draft.reservation,
            )
            for number, draft in enumerate(drafts)
        ]
        self._prune_once()
        elsewhere = await asyncio.to_thread(self._store.intend, job, items)
        mine = [item for item in items if item.fingerprint not in elsewhere]
        if mine:
            work = _Work(
                tag=tag,
                is_new=True,
                items=tuple(JobItem(id=i.id, request=i.request, route=route) for i in mine),
            )
            self._begin(work)
        for draft, item in zip(drafts, items, strict=True):
            del self._drafts[draft.question]
            if item.fingerprint in elsewhere:
                await self._release([item])
                self._tell(draft)  # to look again, at what another process has handed in
            else:
                self._move(draft, self._works[tag], item)
        await self._attach_the_others(mine)

    def _move(self, draft: _Draft, work: _Work, item: Item) -> None:
        for waiter in draft.waiters:
            waiter.place, waiter.item = work, item.id
            work.waiters.append(waiter)
        draft.waiters.clear()

    async def _attach_the_others(self, items: Sequence[Item]) -> None:
        """Write down for which other sessions a job is as well."""
        payers = {item.id: item.session for item in items}
        for waiter in [one for work in self._works.values() for one in work.waiters]:
            session = waiter.request.session if waiter.request else ""
            if waiter.item in payers and session != payers[waiter.item]:
                await asyncio.to_thread(self._store.attach, waiter.item, session)

    def _prune_once(self) -> None:
        if not self._is_pruned and self._store.is_there:
            self._is_pruned = True
            self._store.prune(self._clock.now() - KEPT_FOR)

    # Working a job

    def _begin(self, work: _Work) -> _Work:
        self._works[work.tag] = work
        work.task = asyncio.create_task(self._work(work))
        work.task.add_done_callback(partial(self._ended, work))
        return work

    def _ended(self, work: _Work, task: asyncio.Task[None]) -> None:
        if self._works.get(work.tag) is work:
            del self._works[work.tag]
        error = None if task.cancelled() else task.exception()
        for waiter in work.waiters:
            waiter.tell(error)

    async def _work(self, work: _Work) -> None:
        """Work the job while this process has the right to, until it is closed."""
        while (claim := await self._claimed(work)) is not None:
            driving = asyncio.create_task(self._drive(work))
            holding = asyncio.create_task(self._hold(claim))
            try:
                await asyncio.wait({driving, holding}, return_when=asyncio.FIRST_COMPLETED)
                if driving.done() and driving.result():
                    return
            finally:
                for task in (driving, holding):
                    task.cancel()
                await asyncio.wait({driving, holding})
                claim.release()
            if driving.done() and not driving.cancelled():
                await self._clock.sleep(2 * OTHERS_POLL_S)  # whoever wants the job takes it now

    async def _claimed(self, work: _Work) -> Claim | None:
        """The right to work a job; ``None`` where another process has brought it to its end."""
        while True:
            claim = self._store.claim(work.tag, self._clock.now())
            if claim is not None:
                return claim
            job = self._store.job(work.tag)
            if job is None or job.stage is Stage.CLOSED:
                return None
            self._tell_delay(work)
            await self._clock.sleep(OTHERS_POLL_S)

    async def _hold(self, claim: Claim) -> None:
        """Keep the right; return where it was lost, or cannot be kept."""
        with contextlib.suppress(JournalWriteError):
            while claim.renew(self._clock.now()):
                await self._clock.sleep(LEASE_S / 3)

    async def _drive(self, work: _Work) -> bool:
        """Bring the job to its end; false where another process may want to do it instead."""
        while (job := self._store.job(work.tag)) is not None:
            is_too_late = self._are_all_late(work)
            move = next_move(
                job,
                self._clock.now(),
                is_new=work.is_new,
                is_seen=work.is_seen,
                is_too_late=is_too_late,
            )
            if move is Move.REST:
                return True
            if move is Move.CANCEL and is_too_late and not work.is_offered:
                work.is_offered = True
                if self._sessions_elsewhere(work):
                    return False
            if not is_too_late:
                self._tell_delay(work)
            gateway = self._gateway(job.route)
            if not work.is_handed_over:
                await self._hand_over(work)
            try:
                await self._make_or_search(move, work, job, gateway)
            except _MAY_PASS as error:
                await self._pause(work, at_least_s=_asked_wait(error))
        return True

    def _are_all_late(self, work: _Work) -> bool:
        """Whether nobody is left here who can wait for the job any longer."""
        return bool(work.waiters) and all(self._is_late(one.request) for one in work.waiters)

    def _sessions_elsewhere(self, work: _Work) -> list[str]:
        """The sessions that the job is for as well, and that do not wait here."""
        here = {waiter.request.session for waiter in work.waiters if waiter.request}
        return [one for one in self._store.sessions(work.tag) if one not in here]

    def _tell_delay(self, work: _Work) -> None:
        """Say once that somebody waits longer than wanted, because others can wait."""
        if work.is_delay_told or not any(self._is_late(one.request) for one in work.waiters):
            return
        work.is_delay_told = True
        told = _(
            "Batch job {job} is not stopped, since others wait for it; what is wanted by now waits "
            "with them, because to buy it again would be to pay twice."
        )
        self._on_event(Warned(message=told.format(job=work.tag)))

    async def _make_or_search(self, move: Move, work: _Work, job: Job, gateway: JobGateway) -> None:
        try:
            await self._make(move, work, job, gateway)
        except JobUnknownError as error:
            await self._search(work, job, gateway, error)

    async def _make(self, move: Move, work: _Work, job: Job, gateway: JobGateway) -> None:
        match move:
            case Move.SUBMIT:
                await self._submit(work, job, gateway)
            case Move.RECONCILE:
                await self._reconcile(work, job, gateway)
            case Move.POLL:
                await self._poll(work, job, gateway)
            case Move.CANCEL:
                work.polls = 0
                await self._stop(job, gateway)
                self._tell_stopped(work)
            case Move.COLLECT:
                await self._collect(job, gateway)
            case Move.WRITE_OFF:
                await self._write_off(job.tag, job.problem)
            case Move.ABANDON:
                await self._abandon(job)
            case _:
                await self._settle(job, gateway)

    async def _submit(self, work: _Work, job: Job, gateway: JobGateway) -> None:
        if not work.waiters:
            return await self._forget(job)
        # From here on nobody knows whether the provider has it, until it says so.
        work.is_new = False
        try:
            status = await gateway.submit(work.items, job.tag)
        except GatewayError as error:
            if not error.possibly_billed:
                await self._refused(work, job, error)
            return None
        self._store.submitted(job.tag, [status.job], status, self._clock.now())
        work.items, work.is_seen = (), True
        self._tell_status(work, job, status)
        return None

    async def _refused(self, work: _Work, job: Job, error: GatewayError) -> None:
        """The provider surely did not take the job: ask again if that may help."""
        work.refusals += 1
        if isinstance(error, TransientError) and work.refusals < SUBMIT_ATTEMPTS:
            await self._pause(work, at_least_s=_asked_wait(error))
            self._store.intended_again(job.tag, self._clock.now())
            work.is_new = True
        else:
            await self._write_off(job.tag, error.message)

    async def _reconcile(self, work: _Work, job: Job, gateway: JobGateway) -> None:
        """Find out whether the provider has a job whose id was never written down."""
        found = await gateway.find(job.tag, since=job.created - CLOCK_SKEW, size=job.size)
        ids = await self._confirmed(job, found, gateway)
        age_s = (self._clock.now() - job.created).total_seconds()
        if ids:
            await self._adopt(work, job, ids, gateway)
        elif ids is None:
            await self._pause(work)
        elif age_s < HANDING_IN_S + LISTING_S and not work.is_listing_waited_for:
            work.is_listing_waited_for = True
            await self._clock.sleep(LISTING_S)
        else:
            await self._forget(job)

    async def _confirmed(
        self, job: Job, found: Sequence[JobStatus], gateway: JobGateway
    ) -> list[str] | None:
        """The ids of those that are the job, oldest first; ``None`` while it cannot be told."""
        oldest_first = sorted(found, key=lambda one: (one.submitted or job.created, one.job))
        tagged = [one.job for one in oldest_first if one.tag == job.tag]
        if tagged:
            return tagged
        others = {known for other in self._store.jobs() for known in other.ids} - {*job.ids}
        is_open = False
        for one in oldest_first:
            if one.tag is not None or one.job in others or one.state is JobState.FAILED:
                continue
            if not one.state.is_over:
                is_open = True
                continue
            with contextlib.suppress(JobUnknownError):
                if belongs_to(await gateway.results(one.job), job.tag):
                    return [one.job]
        return None if is_open else []

    async def _adopt(self, work: _Work, job: Job, ids: Sequence[str], gateway: JobGateway) -> None:
        """Take over what was found; what was submitted twice is stopped."""
        for again in ids[1:]:
            with contextlib.suppress(GatewayError):  # its results are collected in any case
                await gateway.cancel(again)
        if len(ids) > 1:
            told = _("Batch job {job} was submitted {count} times; all but one are stopped.")
            self._on_event(Warned(message=told.format(job=job.tag, count=len(ids))))
        status = merge([await gateway.status(one) for one in ids])
        self._store.submitted(job.tag, ids, status, self._clock.now())
        work.is_seen = True

    async def _search(
        self, work: _Work, job: Job, gateway: JobGateway, error: JobUnknownError
    ) -> None:
        """The provider does not know the id: look for the tag, else the answers are lost."""
        found = await gateway.find(job.tag, since=job.created - CLOCK_SKEW, size=job.size)
        ids = await self._confirmed(job, found, gateway)
        if ids and set(ids) != set(job.ids):
            return await self._adopt(work, job, ids, gateway)
        age_s = (self._clock.now() - (job.submitted or job.created)).total_seconds()
        if ids is None or age_s < LISTING_S:
            return await self._pause(work)
        lost = [ItemOutcome(id=one, error=_lost(error)) for one in self._store.item_ids(job.tag)]
        return await asyncio.to_thread(self._store.record, job.tag, lost)

    async def _poll(self, work: _Work, job: Job, gateway: JobGateway) -> None:
        if work.is_seen:
            await self._pause(work)
        status = merge([await gateway.status(one) for one in job.ids])
        work.is_seen = True
        self._store.watched(job.tag, status)
        self._tell_status(work, job, status)

    async def _pause(self, work: _Work, at_least_s: float = 0.0) -> None:
        """Sleep until the next look, but not beyond the time by which somebody wants an answer."""
        now = self._clock.now()
        wanted = [w.request.complete_by for w in work.waiters if w.request is not None]
        left = [(by - now).total_seconds() for by in wanted if by is not None and by > now]
        await self._clock.sleep(min([max(poll_pause(work.polls), at_least_s), *left]))
        work.polls += 1

    def _tell_status(self, work: _Work, job: Job, status: JobStatus) -> None:
        told = (status.state, status.succeeded, status.failed)
        if told != work.told:
            work.told = told
            done = status.succeeded + status.failed
            self._on_event(JobWatched(job=job.tag, state=status.state, done=done, total=job.size))

    async def _stop(self, job: Job, gateway: JobGateway) -> None:
        for one in job.ids:
            await gateway.cancel(one)
        self._store.cancelling(job.tag, self._clock.now())

    def _tell_stopped(self, work: _Work) -> None:
        others = ", ".join(self._sessions_elsewhere(work))
        if others:
            told = _(
                "Batch job {job} is stopped, and was also for {sessions}: what it leaves "
                "unanswered has to be asked again."
            )
            self._on_event(Warned(message=told.format(job=work.tag, sessions=others)))

    async def _collect(self, job: Job, gateway: JobGateway) -> None:
        results = [await gateway.results(one) for one in job.ids]
        matched = match(self._store.item_ids(job.tag), results)
        if matched.unknown:
            told = _("Batch job {job} brought {count} results that nobody asked for.")
            self._on_event(Warned(message=told.format(job=job.tag, count=matched.unknown)))
        times = Counter[str]()
        for outcome in matched.again:
            times[outcome.id] += 1  # by item: results may come in another order after a crash
            await self._waste(job, outcome, times[outcome.id])
        await asyncio.to_thread(self._store.record, job.tag, matched.outcomes)

    async def _waste(self, job: Job, outcome: ItemOutcome, number: int) -> None:
        item = self._store.item(outcome.id)
        if item is not None and outcome.response is not None:
            call_id = f"{item.reservation or item.id}-again-{number}"
            await self._books.waste(call_id, item.request, job.route, outcome.response)

    async def _write_off(self, tag: str, problem: str) -> None:
        """No item of the job ran."""
        unrun = [ItemOutcome(id=one, error=not_run(problem)) for one in self._store.item_ids(tag)]
        await asyncio.to_thread(self._store.record, tag, unrun)

    async def _abandon(self, job: Job) -> None:
        told = _("Batch job {job} does not stop; what it may cost counts as lost.")
        self._on_event(Warned(message=told.format(job=job.tag)))
        given_up = [
            ItemOutcome(id=one, error=not_run(told.format(job=job.tag), possibly_billed=True))
            for one in self._store.item_ids(job.tag)
        ]
        await asyncio.to_thread(self._store.record, job.tag, given_up)

    async def _settle(self, job: Job, gateway: JobGateway) -> None:
        for items in self._store.items(job.tag):
            unpaid = [item for item in items if not item.settled]
            priced = await asyncio.gather(*(self._priced(item, job.route) for item in unpaid))
            await asyncio.to_thread(self._store.settled, priced)
        await self._tidy(job, gateway)
        self._store.closed(job.tag, self._clock.now())

    async def _tidy(self, job: Job, gateway: JobGateway) -> None:
        """Delete at the provider what is kept here by now, as far as it can be."""
        for one in job.ids:
            try:
                await gateway.delete(one)
            except JobUnknownError:
                continue
            except GatewayError as error:
                told = _("What batch job {job} left at {provider} could not be deleted. {why}")
                provider = job.route.backend.value
                message = told.format(job=job.tag, provider=provider, why=error.message)
                self._on_event(Warned(message=message))

    async def _priced(self, item: Item, route: Route) -> ItemOutcome:
        outcome = item.outcome or missing(item.id)
        return await self._books.settle(item.reservation, item.request, route, outcome)

    async def _forget(self, job: Job) -> None:
        """The provider surely does not have the job: as if it had never been."""
        for items in self._store.items(job.tag):
            await self._release(items)
        await asyncio.to_thread(self._store.discard, job.tag)

    async def _release(self, items: Sequence[Item]) -> None:
        await asyncio.gather(*(self._books.release(item.reservation) for item in items))

    async def _hand_over(self, work: _Work) -> None:
        work.is_handed_over = True
        for items in self._store.items(work.tag):
            handed = (self._books.hand_over(item.reservation, work.tag) for item in items)
            await asyncio.gather(*handed)

    def _gateway(self, route: Route) -> JobGateway:
        gateway = self._jobs_of(route)
        if gateway is None:
            raise JobUnknownError(
                _("{provider} has no batch jobs.").format(provider=route.backend.value),
                provider=route.backend.value,
            )
        return gateway


def _account(route: Route) -> Hashable:
    """Requests with the same one may share a job: one provider, one account, one model."""
    options = repr(dict(route.options))
    return route.backend, route.base_url, route.actor, route.model, options


def _portions(drafts: Sequence[_Draft], gateway: JobGateway) -> Iterator[list[_Draft]]:
    """The drafts in as few jobs as the provider's limits allow, in their order."""
    some: list[_Draft] = []
    size = 0
    for draft in drafts:
        if some and (len(some) >= gateway.max_items or size + draft.size_bytes > gateway.max_bytes):
            yield some
            some, size = [], 0
        some.append(draft)
        size += draft.size_bytes
    if some:
        yield some


def _asked_wait(error: GatewayError) -> float:
    """The seconds that a provider asked us to wait."""
    if isinstance(error, RateLimitedError | ServerFaultError):
        return error.retry_after_s or 0.0
    return 0.0


def _too_late(route: Route) -> JobItemNotRunError:
    return JobItemNotRunError(
        _("There is no time left for a batch job."), provider=route.backend.value
    )


def _not_taken(route: Route) -> JobItemNotRunError:
    told = _("{provider} does not say that it takes the batch job, and does not have it.")
    return JobItemNotRunError(
        told.format(provider=route.backend.value), provider=route.backend.value
    )


def _still_open(job: str, error: GatewayError) -> RunStoppedError:
    told = _("Batch job {job} is still open, and {provider} will not say how it stands. {why}")
    hint = _(
        "Until the job is over nothing of it is bought again. Put right what was refused, then "
        "resume; or stop the job with `aigenflow batch cancel {job}`."
    )
    return RunStoppedError(
        told.format(job=job, provider=error.provider or _("its provider"), why=error.message),
        hint=" ".join(filter(None, (error.hint, hint.format(job=job)))),
    )


def _lost(error: JobUnknownError) -> JobUnknownError:
    return JobUnknownError(
        error.message,
        hint=error.hint or _("Resume to buy it again; the ledger counts the first one as lost."),
        provider=error.provider,
        possibly_billed=True,
    )
