from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from aigenflow.agents.processing import FLEX_PAUSE_S, Dispatcher, Unfinished
from aigenflow.batch.job_store import Job
from aigenflow.core.errors import (
    CapacityError,
    GatewayError,
    JobItemNotRunError,
    RefusedError,
    RunStoppedError,
    ServerFaultError,
)
from aigenflow.core.events import Event, Warned
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    GatewayResponse,
    Processing,
    Route,
)
from aigenflow.testing.clock import START, ManualClock

ROUTE = Route(agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=Backend.ANTHROPIC, model="m")


def ignore(characters: int) -> None:
    """Nobody watches."""


@dataclass
class Way:
    """The live caller or the desk: remembers what it was asked, fails as it is told."""

    name: str
    failures: list[Exception] = field(default_factory=list)
    asked: list[AgentRequest] = field(default_factory=list)
    has_jobs: bool = True
    known: bool = False
    open_job: Job | None = None

    async def send(
        self, request: AgentRequest, route: Route, on_text: Callable[[int], None]
    ) -> GatewayResponse:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        return GatewayResponse(content=self.name)

    def serves(self, route: Route) -> bool:
        return self.has_jobs

    def knows(self, request: AgentRequest, route: Route) -> bool:
        return self.known

    def open_at_another(self, request: AgentRequest, route: Route) -> Job | None:
        return self.open_job


@dataclass
class Setting:
    """A dispatcher between a live caller and a desk."""

    unfinished: Unfinished = "live"
    live: Way = field(default_factory=lambda: Way("live"))
    desk: Way = field(default_factory=lambda: Way("desk"))
    clock: ManualClock = field(default_factory=ManualClock)
    events: list[Event] = field(default_factory=list)

    async def send(self, processing: Processing, **fields: object) -> str:
        dispatcher = Dispatcher(
            self.live,
            self.desk,
            self.clock,
            unfinished=self.unfinished,
            on_event=self.events.append,
        )
        request = AgentRequest(
            agent=AgentType.CLAUDE,
            phase=4,
            task="draft",
            prompt="Write.",
            processing=processing,
            **fields,  # type: ignore[arg-type]
        )
        return (await dispatcher.send(request, ROUTE, ignore)).content


async def test_live_is_live() -> None:
    """The desk is not asked for what no job has."""
    setting = Setting()
    assert await setting.send(Processing.LIVE) == "live"
    assert setting.desk.asked == []


async def test_batch_goes_to_the_desk_where_the_provider_has_jobs() -> None:
    """Elsewhere it is live."""
    assert await Setting().send(Processing.BATCH) == "desk"
    setting = Setting(desk=Way("desk", has_jobs=False))
    assert await setting.send(Processing.BATCH) == "live"
    assert setting.live.asked[0].processing is Processing.LIVE


@pytest.mark.parametrize("processing", [Processing.LIVE, Processing.FLEX])
async def test_what_a_job_has_is_not_bought_another_way(processing: Processing) -> None:
    """A session that goes on live takes what its job brought, and stops what is still open."""
    setting = Setting(desk=Way("desk", known=True))
    assert await setting.send(processing) == "desk"
    assert setting.desk.asked[0].complete_by == START


FLEXIBLE = AgentRequest(
    agent=AgentType.CLAUDE, phase=1, task="t", prompt="p", processing=Processing.FLEX
)


async def test_flex_without_room_is_bought_live_and_said_once() -> None:
    """For a while nothing is asked at the flex rate in vain; then the discount is tried again."""
    setting = Setting(live=Way("live", [CapacityError("full")]))
    dispatcher = Dispatcher(setting.live, None, setting.clock, on_event=setting.events.append)
    for _ in range(3):
        assert (await dispatcher.send(FLEXIBLE, ROUTE, ignore)).content == "live"
    setting.clock.advance(FLEX_PAUSE_S)
    setting.live.failures = [CapacityError("still full")]
    await dispatcher.send(FLEXIBLE, ROUTE, ignore)
    setting.clock.advance(FLEX_PAUSE_S)
    await dispatcher.send(FLEXIBLE, ROUTE, ignore)
    asked = [one.processing.value for one in setting.live.asked]
    assert asked == ["flex", "live", "live", "live", "flex", "live", "flex"]
    assert len(setting.events) == 1


async def test_a_model_without_room_does_not_keep_others_from_the_flex_rate() -> None:
    """Each model at each address has a pause of its own."""
    setting = Setting(live=Way("live", [CapacityError("full")]))
    dispatcher = Dispatcher(setting.live, None, setting.clock)
    await dispatcher.send(FLEXIBLE, ROUTE, ignore)
    for other in ({"model": "n"}, {"backend": Backend.OPENAI}, {"base_url": "http://127.0.0.1"}):
        await dispatcher.send(FLEXIBLE, replace(ROUTE, **other), ignore)
        assert setting.live.asked[-1].processing is Processing.FLEX


@pytest.mark.parametrize("processing", list(Processing))
async def test_nobody_stands_in_for_an_agent_whose_answer_is_in_an_open_job(
    processing: Processing,
) -> None:
    """The run stops and can be resumed: a missing key is no reason to pay twice."""
    setting = Setting()
    setting.desk.open_job = Job(tag="run-1", route=ROUTE, created=START, size=1)
    dispatcher = Dispatcher(setting.live, setting.desk, setting.clock)
    request = replace(FLEXIBLE, processing=processing)
    stand_in = replace(ROUTE, actor=AgentType.CHATGPT, backend=Backend.OPENAI)
    with pytest.raises(RunStoppedError, match="run-1 at anthropic") as caught:
        await dispatcher.send(request, stand_in, ignore)
    assert "aigenflow batch cancel run-1" in caught.value.hint
    assert setting.live.asked == setting.desk.asked == []
    await dispatcher.send(request, ROUTE, ignore)


async def test_flex_is_live_when_its_time_is_over() -> None:
    """From complete_by on nothing waits for a discount."""
    setting = Setting()
    await setting.send(Processing.FLEX, complete_by=START)
    assert setting.live.asked[0].processing is Processing.LIVE


@pytest.mark.parametrize("error", [JobItemNotRunError("expired"), ServerFaultError("overloaded")])
async def test_what_did_not_run_is_bought_live(error: GatewayError) -> None:
    """And the user is told why."""
    setting = Setting(desk=Way("desk", [error]))
    assert await setting.send(Processing.BATCH) == "live"
    (told,) = setting.events
    assert isinstance(told, Warned)
    assert error.message in told.message


async def test_what_did_not_run_stops_the_run_where_that_was_chosen() -> None:
    """Nothing is bought at the full price; the session can be resumed."""
    setting = Setting(unfinished="fail", desk=Way("desk", [JobItemNotRunError("expired")]))
    with pytest.raises(RunStoppedError, match=r"draft did not run .* expired"):
        await setting.send(Processing.BATCH)
    assert setting.live.asked == []


async def test_stragglers_are_bought_live_whatever_was_chosen() -> None:
    """A deadline says so; nobody is warned of what was planned."""
    setting = Setting(unfinished="fail", desk=Way("desk", [JobItemNotRunError("stopped")]))
    assert await setting.send(Processing.BATCH, complete_by=START) == "live"
    assert setting.events == []
    setting = Setting(unfinished="fail", desk=Way("desk", [JobItemNotRunError("stopped")]))
    with pytest.raises(RunStoppedError):
        await setting.send(Processing.BATCH, complete_by=START + timedelta(seconds=1))


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("no"),
        ServerFaultError("billed perhaps", possibly_billed=True),
    ],
)
async def test_what_may_have_been_paid_is_not_bought_again(error: GatewayError) -> None:
    """The error goes to the router, as of a live call."""
    setting = Setting(desk=Way("desk", [error]))
    with pytest.raises(type(error)):
        await setting.send(Processing.BATCH)
    assert setting.live.asked == []
