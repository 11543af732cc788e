"""What to do with a provider's batch job, and what its results mean. Pure.

The desk (:mod:`aigenflow.batch.jobs`) does it. Durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from gettext import gettext as _

from aigenflow.batch.job_store import Ending, Job, Stage, ending_of
from aigenflow.core.canonical import fingerprint
from aigenflow.core.errors import JobItemNotRunError
from aigenflow.core.files import is_safe_name
from aigenflow.core.jobs import ItemOutcome, JobState, JobStatus
from aigenflow.core.models import AgentRequest, Route, what_matters

FIRST_POLL_S = 5.0
SLOWEST_POLL_S = 300.0
POLL_GROWTH = 1.5

STUCK_S = 25 * 3600.0
"""Providers promise a job's end within 24 hours; after this it is cancelled."""

ABANDONED_S = 26 * 3600.0
"""A job that does not even stop by then is given up; its money counts as lost."""

STOPPING_S = ABANDONED_S - STUCK_S
"""How long a job may take to stop, however old it was when it was asked to."""

HANDING_IN_S = 15 * 60.0
"""How long after its intent a job may still be on its way to the provider.

Its requests may have to be uploaded first.
"""

LISTING_S = 60.0
"""How long a job that was made may be missing in a provider's list of jobs."""

CLOCK_SKEW = timedelta(minutes=10)
"""How far a provider's clock may be from ours."""

MAX_SESSION_IN_TAG = 40


class Move(StrEnum):
    """What to do next with a job."""

    SUBMIT = "submit"
    RECONCILE = "reconcile"
    POLL = "poll"
    CANCEL = "cancel"
    COLLECT = "collect"
    WRITE_OFF = "write_off"
    ABANDON = "abandon"
    SETTLE = "settle"
    REST = "rest"


MOVE_IN_STATE: Mapping[JobState, Move] = {
    JobState.WAITING: Move.POLL,
    JobState.RUNNING: Move.POLL,
    JobState.CANCELLING: Move.POLL,
    JobState.ENDED: Move.COLLECT,
    JobState.EXPIRED: Move.COLLECT,
    JobState.CANCELLED: Move.COLLECT,
    JobState.FAILED: Move.WRITE_OFF,
}
"""Every state that a provider can name. One that expired or was cancelled may have results."""


def next_move(job: Job, now: datetime, *, is_new: bool, is_seen: bool, is_too_late: bool) -> Move:
    """What to do with ``job``.

    ``is_new``: this process wrote the intent and has not submitted it. ``is_seen``: it was told by
    the provider how the job stands; what stands in the store may be days old. ``is_too_late``:
    somebody who waits can wait no longer.
    """
    if job.stage is Stage.CLOSED:
        return Move.REST
    if job.stage is Stage.COLLECTED:
        return Move.SETTLE
    if job.stage is Stage.INTENDED:
        return Move.SUBMIT if is_new else Move.RECONCILE
    move = MOVE_IN_STATE[job.state or JobState.WAITING]
    if move is not Move.POLL:
        return move
    if not is_seen:
        return Move.POLL
    waited_s = (now - (job.submitted or now)).total_seconds()
    if job.cancelled is None:
        return Move.CANCEL if is_too_late or waited_s > STUCK_S else Move.POLL
    stopping_s = (now - job.cancelled).total_seconds()
    is_hopeless = waited_s > ABANDONED_S and stopping_s > STOPPING_S
    return Move.ABANDON if is_hopeless else Move.POLL


def poll_pause(polls: int) -> float:
    """Seconds before the next look: ``min(300, 5 * 1.5 ** polls)``."""
    return min(SLOWEST_POLL_S, FIRST_POLL_S * POLL_GROWTH ** min(polls, 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What the results of a job mean: one outcome for each item, in the items' order.

    ``again`` are answers to items that have one already: paid, and of no use. ``unknown`` counts
    ids that are not ours.
    """

    outcomes: tuple[ItemOutcome, ...]
    again: tuple[ItemOutcome, ...] = ()
    unknown: int = 0


def match(item_ids: Sequence[str], results: Sequence[Sequence[ItemOutcome]]) -> Matched:
    """Bring the results of a job, one sequence for each time it was submitted, to its items.

    By id alone: any order will do. A line that stands there twice was billed once. An answer is
    better than an error, an error better than nothing; an id that is missing did not run.
    """
    known, chosen = set(item_ids), dict[str, ItemOutcome]()
    again, unknown = [], 0
    for lines in results:
        best: dict[str, ItemOutcome] = {}
        for line in lines:
            if line.id not in known:
                unknown += 1
            elif line.id not in best or _rank(line) < _rank(best[line.id]):
                best[line.id] = line
        for item_id, line in best.items():
            earlier = chosen.get(item_id)
            if earlier is None or _rank(line) < _rank(earlier):
                chosen[item_id] = line
            elif line.response is not None:
                again.append(line)
    return Matched(
        outcomes=tuple(chosen.get(item_id) or missing(item_id) for item_id in item_ids),
        again=tuple(again),
        unknown=unknown,
    )


def _rank(outcome: ItemOutcome) -> int:
    return (Ending.RESULT, Ending.ERROR, Ending.NOT_RUN).index(ending_of(outcome))


def merge(statuses: Sequence[JobStatus]) -> JobStatus:
    """One status for a job that was submitted several times: it is over when all of them are.

    The first is the one that counts, unless it was turned down and another was not.
    """
    useful = [status for status in statuses if status.state is not JobState.FAILED]
    unfinished = [status for status in useful if not status.state.is_over]
    return next(iter([*unfinished, *useful, *statuses]))


def belongs_to(outcomes: Sequence[ItemOutcome], tag: str) -> bool:
    """Whether results are those of our job: its items' ids begin with its tag."""
    return any(outcome.id.startswith(f"{tag}-") for outcome in outcomes)


def item_id(tag: str, number: int) -> str:
    """The provider's ``custom_id`` of an item: at most 64 of ``[A-Za-z0-9_-]``."""
    return f"{tag}-{number}"


def new_tag(session: str, token: str) -> str:
    """The name of a job: that of its first session, so that people recognise it, and a token."""
    readable = session[:MAX_SESSION_IN_TAG] if is_safe_name(session) else "ask"
    return f"{readable}-{token}"


def question_of(request: AgentRequest, route: Route) -> str:
    """Equal for two requests exactly where one answer is right for both; 64 hex digits."""
    place = (route.actor, route.backend, route.model, route.base_url, dict(route.options))
    return fingerprint({"request": what_matters(request), "route": place})


def missing(item: str) -> ItemOutcome:
    return ItemOutcome(id=item, error=not_run(_("Its results do not name this request.")))


def not_run(problem: str, *, possibly_billed: bool = False) -> JobItemNotRunError:
    return JobItemNotRunError(
        _("The batch job ended before this request ran. {problem}").format(problem=problem).strip(),
        hint=_("Resume to ask again; with batch.unfinished live it is then bought live."),
        possibly_billed=possibly_billed,
    )
