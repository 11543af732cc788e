"""What the server decides about a request: refuse it, or answer it, and at what charge.

No network here: :class:`WireService` turns a request and the time into a :class:`Job`, which
:mod:`aigenflow.testing.server` carries out.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

from aigenflow.core.models import Backend
from aigenflow.testing.bill import BillLine, charges, question_of
from aigenflow.testing.faults import (
    HTML_PAGE,
    HTML_TYPE,
    JSON_TYPE,
    Charge,
    Delivery,
    Step,
    plain,
    plan,
)
from aigenflow.testing.wire_answer import compose
from aigenflow.testing.wire_jobs import Item, ItemResult, WireJob
from aigenflow.testing.wire_limits import PromptCache, RateLimiter
from aigenflow.testing.wire_models import (
    Ask,
    Counts,
    Received,
    Rejection,
    WireFormat,
    dump,
    tokens_of,
)
from aigenflow.testing.wire_routes import CATALOGUE, FORMATS
from aigenflow.testing.wire_script import (
    Action,
    FaultKind,
    JobAction,
    Limits,
    RuleBook,
    WireScript,
    chance,
)

_HTTP_DATE = re.compile(r"\{http_date([+-]\d+)?\}")
_ERRORS_FROM = 400
_FLEX = "flex"
_HTML_STATUS = 520


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to send for one request, and what it may charge.

    ``ask`` and ``counts`` are ``None`` where the request was refused before it was understood.
    ``billed`` overrides the delivery's own charge.
    """

    number: int
    received: Received
    delivery: Delivery
    latency_s: float = 0.0
    ask: Ask | None = None
    counts: Counts | None = None
    rule: int | None = None
    billed: bool | None = None


class WireService:
    """The providers' side of all conversations: script, limits, prompt caches."""

    def __init__(self, script: WireScript) -> None:
        self.use(script)

    def use(self, script: WireScript) -> None:
        """Start over with ``script``."""
        self._script = script
        self._rules = RuleBook(script)
        self._numbers = itertools.count(1)
        self._limiters = {
            backend: RateLimiter(script.limits.get(backend, Limits())) for backend in FORMATS
        }
        self._caches = {backend: PromptCache() for backend in FORMATS}

    def reset(self) -> None:
        """Start over with the same script."""
        self.use(self._script)

    def models(self, backend: Backend) -> tuple[str, ...]:
        return self._script.models.get(backend, CATALOGUE[backend])

    def check_key(self, wire: WireFormat, received: Received) -> None:
        """Raise ``Rejection`` for a request without a key that the script accepts."""
        key = wire.check_key(received)
        accepted = self._script.accepted_keys
        if accepted is not None and key not in accepted:
            raise Rejection(401, "The API key is not valid.")

    def respond(self, received: Received, *, wall: datetime, now: float) -> Job:
        """Decide about one request. ``now`` is monotonic seconds, ``wall`` aware UTC."""
        number = next(self._numbers)
        wire = FORMATS[received.backend]
        ask: Ask | None = None
        try:
            self.check_key(wire, received)
            ask = wire.read(received)
            self._check_model(ask)
            self._check_limits(ask, now)
        except Rejection as rejection:
            return Job(number=number, received=received, delivery=refusal(wire, rejection), ask=ask)
        action, rule = self._rules.choose(ask, number)
        job = self._act(ask, action, number, wall=wall, now=now)
        least, most = action.latency_s
        draw = chance(self._script.seed, "latency", received.sha256, number)
        return replace(
            job, rule=rule, latency_s=least + (most - least) * draw, billed=action.billed
        )

    def job_action(self, backend: Backend, text: str) -> JobAction:
        """What the script says about a new batch job whose items contain ``text``."""
        return self._rules.choose_job(backend, text)

    def check_create(self, backend: Backend, now: float) -> None:
        """Raise ``Rejection`` where the making of a batch job is over the provider's limits.

        Its tokens count towards limits of their own, which are not played here.
        """
        self._admit(backend, now, tokens=0)

    def answer_item(
        self, backend: Backend, item: Item, job: WireJob, *, wall: datetime, now: float
    ) -> tuple[ItemResult, BillLine]:
        """Answer one item of a batch job as if it had been asked alone, and bill it as batch."""
        number = next(self._numbers)
        wire = FORMATS[backend]
        received = item_received(backend, item, job)
        action, rule, counts = Action(), None, None
        try:
            ask = replace(wire.read(received), tier="batch")
            self._check_model(ask)
            action, rule = self._rules.choose(ask, number)
            if action.status is not None:
                raise Rejection(action.status, _phrase(action.status))
            prompt = self._prompt_counts(ask, now)
            answer = compose(ask, action, prompt, call=number, created=int(wall.timestamp()))
            result = ItemResult(id=item.id, status=HTTPStatus.OK, body=wire.whole(answer))
            counts = answer.counts
        except Rejection as refused:
            body = wire.error(refused.status, refused.message)
            result = ItemResult(id=item.id, status=refused.status, body=body)
        line = BillLine(
            number=number,
            at=wall.isoformat(),
            provider=backend.value,
            model=job.model or str(item.body.get("model") or ""),
            stream=False,
            tier="batch",
            body_sha256=received.sha256,
            status=result.status,
            outcome="refused" if counts is None else "complete",
            rule=rule,
            question=question_of(item.body),
            job=job.id,
            item=item.id,
            **charges(backend, counts, 1.0 if action.billed is not False else None),
        )
        return result, line

    def _check_model(self, ask: Ask) -> None:
        known = self._script.models.get(ask.backend)
        if known is not None and ask.model not in known:
            raise Rejection(404, f"The model `{ask.model}` does not exist.")

    def _check_limits(self, ask: Ask, now: float) -> None:
        self._admit(ask.backend, now, tokens=sum(tokens_of(part.text) for part in ask.parts))

    def _admit(self, backend: Backend, now: float, *, tokens: int) -> None:
        wait = self._limiters[backend].admit(now, tokens)
        if wait > 0:
            headers = {
                "Retry-After": str(math.ceil(wait)),
                "retry-after-ms": str(math.ceil(wait * 1000)),
            }
            raise Rejection(429, "Rate limit reached. Please slow down.", headers=headers)

    def _act(self, ask: Ask, action: Action, number: int, *, wall: datetime, now: float) -> Job:
        wire = FORMATS[ask.backend]
        if _has_no_room(ask, action):
            return Job(number=number, received=ask.received, delivery=_no_room(ask), ask=ask)
        if action.tier is not None:
            ask = replace(ask, tier=action.tier)
        if action.status is not None:
            delivery = _scripted_status(wire, action, action.status, wall)
            return Job(number=number, received=ask.received, delivery=delivery, ask=ask)
        prompt = self._prompt_counts(ask, now)
        try:
            answer = compose(ask, action, prompt, call=number, created=int(wall.timestamp()))
        except OSError as error:
            problem = Rejection(500, f"The scripted text cannot be read: {error}.")
            delivery = refusal(wire, problem)
            return Job(number=number, received=ask.received, delivery=delivery, ask=ask)
        return Job(
            number=number,
            received=ask.received,
            delivery=_with_tier(plan(wire, answer, action), ask),
            ask=ask,
            counts=answer.counts,
        )

    def _prompt_counts(self, ask: Ask, now: float) -> Counts:
        cache = self._caches[ask.backend]
        count = cache.explicit if ask.backend is Backend.ANTHROPIC else cache.implicit
        return count(ask.model, ask.parts, now)


def item_received(backend: Backend, item: Item, job: WireJob) -> Received:
    """The live request that an item stands for."""
    return Received(
        backend=backend,
        path=f"models/{job.model}:generateContent",
        headers={"anthropic-version": "2023-06-01"},
        query={},
        body=item.body,
        sha256=hashlib.sha256(dump(item.body).encode()).hexdigest(),
    )


class Account:
    """What has gone out for a job so far, and the bill line it comes to."""

    def __init__(self, job: Job, *, wall: datetime, now: float) -> None:
        self._job = job
        self._wall = wall
        self._started = now
        self._events = 0
        self._bytes = 0
        self._characters = 0
        self._finished = False

    def note(self, step: Step, *, last: bool) -> None:
        """Count a step that is about to be sent."""
        self._events += step.events
        self._bytes += len(step.data)
        self._characters += step.characters
        self._finished = last

    def line(self, *, now: float, outcome: str | None = None) -> BillLine:
        """The line as things stand."""
        job = self._job
        share = self._share()
        return BillLine(
            number=job.number,
            at=self._wall.isoformat(),
            provider=job.received.backend.value,
            model=str(job.received.body.get("model") or "") if job.ask is None else job.ask.model,
            stream=job.ask is not None and job.ask.stream,
            tier="" if job.ask is None else job.ask.tier,
            body_sha256=job.received.sha256,
            status=job.delivery.status,
            outcome=outcome or job.delivery.outcome,
            events_sent=self._events,
            bytes_sent=self._bytes,
            rule=job.rule,
            duration_s=round(now - self._started, 6),
            question=question_of(job.received.body),
            **charges(job.received.backend, job.counts, share),
        )

    def _share(self) -> float | None:
        """How much of the output is charged, 0..1; ``None`` where nothing is."""
        job = self._job
        if job.counts is None or job.billed is False:
            return None
        if job.billed or job.delivery.charge is Charge.WHOLE:
            return 1.0
        if job.delivery.charge is Charge.NEVER:
            return None
        if not job.delivery.characters:
            return 1.0 if self._finished else None
        return min(1.0, self._characters / job.delivery.characters) or None


def refusal(wire: WireFormat, rejection: Rejection) -> Delivery:
    """The provider's own error response."""
    body = wire.error(rejection.status, rejection.message)
    wait = rejection.headers.get("Retry-After")
    if wait is not None and wire is FORMATS[Backend.GEMINI]:
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"}
        body["error"]["details"] = [retry]
    headers = {"Content-Type": JSON_TYPE, **rejection.headers}
    return plain(rejection.status, headers, dump(body).encode())


def _has_no_room(ask: Ask, action: Action) -> bool:
    return (
        ask.tier == _FLEX
        and action.fault is not None
        and action.fault.kind is FaultKind.NO_CAPACITY
    )


def _no_room(ask: Ask) -> Delivery:
    """The refusal of a flex call: a 429 with a code of its own, and Google's 503."""
    status = 503 if ask.backend is Backend.GEMINI else 429
    body = FORMATS[ask.backend].error(status, "Resource unavailable at this service tier.")
    if ask.backend is Backend.OPENAI:
        body["error"]["code"] = "resource_unavailable"
    return plain(status, {"Content-Type": JSON_TYPE}, dump(body).encode(), outcome="no_capacity")


def _with_tier(delivery: Delivery, ask: Ask) -> Delivery:
    """Google says the tier of an answer in a header; the others say it inside."""
    if ask.backend is not Backend.GEMINI or delivery.status != HTTPStatus.OK:
        return delivery
    return replace(delivery, headers={**delivery.headers, "x-gemini-service-tier": ask.tier})


def _scripted_status(wire: WireFormat, action: Action, status: int, wall: datetime) -> Delivery:
    body = action.body
    if body is None and status == _HTML_STATUS:
        body = HTML_PAGE
    elif body is None and status >= _ERRORS_FROM:
        body = wire.error(status, _phrase(status))
    if isinstance(body, str):
        content_type = HTML_TYPE if body.lstrip().startswith("<") else "text/plain; charset=utf-8"
        data = body.encode()
    else:
        content_type = JSON_TYPE
        data = b"" if body is None else dump(body).encode()
    headers = {name: _dated(value, wall) for name, value in action.headers.items()}
    return plain(status, {"Content-Type": content_type, **headers}, data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"


def _dated(value: str, wall: datetime) -> str:
    def date(match: re.Match[str]) -> str:
        return format_datetime(wall + timedelta(seconds=int(match[1] or 0)), usegmt=True)

    return _HTTP_DATE.sub(date, value)
