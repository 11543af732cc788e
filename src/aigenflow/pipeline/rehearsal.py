"""A run in which nothing is bought: the same questions in the same order, with stand-in answers.

Each question is looked up in the cache under its real key. Where nothing is found, a text of the
expected length stands in for the answer. A question that contains a stand-in cannot be known
before the run, and is not looked up.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from aigenflow.agents.router import Answer, Company, Fit, as_it_is
from aigenflow.agents.routes import Cast
from aigenflow.core.models import AgentRequest, Backend, Citation, GatewayResponse, Route
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.engine.runner import NO_FILES, Step
from aigenflow.monitoring.cost_calculator import EXPECTED_OUTPUT_SHARE, estimate
from aigenflow.monitoring.models import Calibration, Totals

SOURCES_PER_SEARCH = 8
"""How many sources an agent that searches is expected to bring."""

LookUp: TypeAlias = Callable[[AgentRequest, Route], GatewayResponse | None]
"""The answer that the cache holds, found without counting as a look-up."""

CalibrationOf: TypeAlias = Callable[[str], Calibration | None]
"""What the ledger knows about the tokens of a model."""

_ANSWERS_TO_TRUST = 3
_SAMPLE_BYTES = 3_000_000
_STAND_IN_LINE = "A line of text that stands in for an answer that nobody has given yet, as is.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Tokens of an answer: ``output`` is billed, ``text`` is what others then hear of it."""

    output: int
    text: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a task would ask, and the ``answer`` that is remembered.

    ``key_known`` is false where it contains stand-ins; ``guessed`` are the tokens by which these
    may be too short.
    """

    request: AgentRequest
    route: Route
    answer: GatewayResponse | None
    key_known: bool
    guessed: int = 0


class Rehearsal:
    """Runner and asker of a run in which nothing is bought and nothing is written.

    ``usual`` is how long the answers to a task have been, ``kept`` are the results of an earlier
    session. What was asked is in ``questions``, by phase and task; kept results ask nothing.
    """

    def __init__(
        self,
        spec: SessionSpec,
        cast: Cast,
        *,
        look_up: LookUp,
        calibration: CalibrationOf,
        usual: Mapping[str, Length],
        kept: Iterable[StepRecord] = (),
    ) -> None:
        self.spec = spec
        self.cast = cast
        self.questions: dict[tuple[int, str], Question] = {}
        self._look_up = look_up
        self._calibration = calibration
        self._usual = usual
        self._kept = {(record.phase, record.task): record for record in kept}
        self._guessed: dict[str, int] = {}

    def expecting(self, requests: int) -> Company:
        """Nobody waits for anybody."""
        return nullcontext([nullcontext()] * requests)

    async def ask(self, request: AgentRequest, fit: Fit = as_it_is) -> Answer:
        """The remembered answer, or a text of the expected length."""
        route = self.cast.routes[request.agent]
        request = fit(request, route)
        guesses = [doc.id for doc in request.context if doc.id in self._guessed]
        found = None
        if not guesses and route.backend is not Backend.OFFLINE:
            found = self._look_up(request, route)
        self.questions[request.phase, request.task] = Question(
            request=request,
            route=route,
            answer=found,
            key_known=not guesses,
            guessed=sum(self._guessed[name] for name in guesses),
        )
        if found is None:
            length = expected_length(request, self._usual)
            name = f"phase{request.phase}.{request.task}"
            self._guessed[name] = request.max_output_tokens - length.text
            found = stand_in(request, length, self._calibration(route.model))
        return Answer(response=found, route=route)

    async def discard(self, response: GatewayResponse) -> None:
        """Nothing was bought."""

    def recall(self, step: Step) -> StepRecord | None:
        """What the earlier session has, unless it was asked something else."""
        record = self._kept.get((step.phase, step.task))
        if record is None or record.edited or record.fingerprint == step.fingerprint:
            return record
        return None

    async def run(self, step: Step, action: Callable[[], Awaitable[StepRecord]]) -> StepRecord:
        """Rehearse the step; nothing is remembered."""
        return await action()

    def phase_done(self, phase: int) -> None:
        """Nothing is written."""

    def stopped(self, message: str, hint: str) -> None:
        """Nothing is written."""

    def publish(
        self,
        documents: Mapping[str, bytes],
        metadata: Mapping[str, Any],
        side_files: Mapping[str, bytes] = NO_FILES,
    ) -> Path:
        """A rehearsal has no document."""
        raise NotImplementedError


def usual_lengths(totals: Iterable[Totals]) -> dict[str, Length]:
    """How long the answers to each task have been on average, from the ledger's sums by task."""
    lengths = {}
    for total in totals:
        answers = total.calls - total.cache_hits
        if answers >= _ANSWERS_TO_TRUST:
            text = max(0, total.output_tokens - total.reasoning_tokens)
            lengths[total.key] = Length(
                output=math.ceil(total.output_tokens / answers), text=math.ceil(text / answers)
            )
    return lengths


def expected_length(request: AgentRequest, usual: Mapping[str, Length]) -> Length:
    """How long an answer will probably be: as usual, else a share of its limit."""
    limit = request.max_output_tokens
    known = usual.get(request.task)
    if known is None:
        half = math.ceil(limit * EXPECTED_OUTPUT_SHARE)
        return Length(output=half, text=half)
    return Length(output=min(known.output, limit), text=min(known.text, limit))


def stand_in(
    request: AgentRequest, length: Length, calibration: Calibration | None
) -> GatewayResponse:
    """A text as long as the answer will probably be, with as many sources."""
    per_token = _SAMPLE_BYTES / _tokens_in(_SAMPLE_BYTES, calibration)
    lines = math.ceil(length.text * per_token / len(_STAND_IN_LINE))
    sources = SOURCES_PER_SEARCH if request.web_search else 0
    return GatewayResponse(
        content=_STAND_IN_LINE * max(1, lines),
        citations=tuple(
            Citation(
                url=f"https://source.invalid/{request.phase}/{request.task}/{number}",
                title="A source that nobody has found yet",
                quote=_STAND_IN_LINE.strip(),
            )
            for number in range(sources)
        ),
    )


def _tokens_in(size_bytes: int, calibration: Calibration | None) -> int:
    return estimate(
        bytes_sent=size_bytes, max_output_tokens=0, rates=None, calibration=calibration
    ).input_tokens
