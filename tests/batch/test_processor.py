"""The batch processor: together, in order, once, and never at the expense of one another."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.batch.models import BatchLimits, BatchRequest
from aigenflow.batch.processor import BatchProcessor
from aigenflow.core.errors import (
    BudgetExceededError,
    ConnectionFailedError,
    RefusedError,
    ServerFaultError,
)
from aigenflow.core.events import Event, Warned
from aigenflow.core.models import (
    FIELDS_THAT_CANNOT_MATTER,
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    GatewayResponse,
    Language,
    Route,
    ServedFrom,
)
from aigenflow.gateway.base import OnText, ignore_text
from aigenflow.testing.clock import ManualClock
from aigenflow.testing.scripted import ScriptedGateway, default_answer


def request(
    task: str = "t", agent: AgentType = AgentType.GEMINI, session: str = ""
) -> AgentRequest:
    return AgentRequest(agent=agent, phase=2, task=task, prompt=f"About {task}?", session=session)


def route(agent: AgentType = AgentType.GEMINI) -> Route:
    return Route(agent=agent, actor=agent, backend=Backend.COMPATIBLE, model="m")


def entry(task: str = "t", agent: AgentType = AgentType.GEMINI) -> BatchRequest:
    return BatchRequest(request=request(task, agent), route=route(agent))


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(15):
        await asyncio.sleep(0)


class HeldGateway:
    """A caller whose calls end when they are told to: :meth:`answer`, :meth:`fail`."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.requests: list[AgentRequest] = []
        self._held: dict[str, asyncio.Future[GatewayResponse]] = {}
        self._tell: dict[str, OnText] = {}

    async def send(self, request: AgentRequest, route: Route, on_text: OnText) -> GatewayResponse:
        self.started.append(request.task)
        self.requests.append(request)
        self._tell[request.task] = on_text
        held: asyncio.Future[GatewayResponse] = asyncio.get_running_loop().create_future()
        self._held[request.task] = held
        try:
            return await held
        except asyncio.CancelledError:
            self.cancelled.append(request.task)
            raise

    def tell(self, task: str, characters: int) -> None:
        self._tell[task](characters)

    async def answer(self, *tasks: str) -> None:
        for task in tasks:
            self._held[task].set_result(GatewayResponse(content=f"Answer to {task}."))
        await settle()

    async def fail(self, task: str, error: Exception) -> None:
        self._held[task].set_exception(error)
        await settle()


class Bench:
    """A processor on a manual clock, above calls that are held."""

    def __init__(self, **limits: float) -> None:
        self.clock = ManualClock()
        self.gateway = HeldGateway()
        self.events: list[Event] = []
        self.processor = BatchProcessor(
            self.gateway,
            limits=BatchLimits(**limits),  # type: ignore[arg-type]
            clock=self.clock,
            on_event=self.events.append,
        )

    def send(
        self,
        task: str = "t",
        agent: AgentType = AgentType.GEMINI,
        session: str = "",
        on_text: OnText = ignore_text,
    ) -> asyncio.Task[GatewayResponse]:
        asked = request(task, agent, session)
        return asyncio.create_task(self.processor.send(asked, route(agent), on_text))

    async def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await settle()

    def assert_idle(self) -> None:
        """Nothing is left behind: no call, no timer, nobody in the queue."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if not task.cancelling()]
        assert not self.processor._calls
        assert not len(self.processor._queue)
        assert not any(lane.running or lane.backlog for lane in self.processor._lanes.values())


def instant(
    limits: BatchLimits | None = None, **scripted: object
) -> tuple[BatchProcessor, ScriptedGateway]:
    """A processor above a scripted gateway, in a time that passes by itself."""
    clock = ManualClock(auto_advance=True)
    gateway = ScriptedGateway(clock=clock, **scripted)  # type: ignore[arg-type]
    return BatchProcessor(gateway, limits=limits, clock=clock), gateway


# A whole batch


async def test_outcomes_come_in_the_order_of_the_requests() -> None:
    """Whatever the order in which the answers arrive."""
    bench = Bench()
    batch = [entry(task) for task in "abc"]
    running = asyncio.create_task(bench.processor.process_batch(batch))
    await settle()
    for task in "cab":
        await bench.gateway.answer(task)
    outcomes = await running
    assert [outcome.request for outcome in outcomes] == batch
    assert [o.response and o.response.content for o in outcomes] == [
        f"Answer to {task}." for task in "abc"
    ]
    bench.assert_idle()


async def test_all_requests_of_all_providers_run_at_the_same_time() -> None:
    """The batch takes as long as its slowest call, not as long as their sum."""
    processor, gateway = instant(latency_s=7.0)
    batch = [entry(str(n), agent) for agent in AgentType for n in range(5)]
    outcomes = await processor.process_batch(batch)
    assert all(outcome.success for outcome in outcomes)
    assert gateway.most_in_flight == 20
    assert processor._clock.monotonic() == 7.0


async def test_failures_do_not_hide_good_answers() -> None:
    """Each request has its own outcome, also where an error is none of a gateway."""
    errors = {"b": ServerFaultError("down"), "c": BudgetExceededError("out"), "d": KeyError("bug")}
    processor, _gateway = instant(scripts={task: [error] for task, error in errors.items()})
    outcomes = await processor.process_batch([entry(task) for task in "abcde"])
    assert [outcome.error for outcome in outcomes] == [None, *errors.values(), None]
    assert [outcome.success for outcome in outcomes] == [True, False, False, False, True]


async def test_a_call_that_somebody_else_cancels_fails_alone() -> None:
    """It is an error like any other, and says that it may have been billed."""

    class Breaking(ScriptedGateway):
        async def send(
            self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
        ) -> GatewayResponse:
            if request.task == "bad":
                raise asyncio.CancelledError
            return await super().send(request, route, on_text)

    outcomes = await BatchProcessor(Breaking()).process_batch([entry("bad"), entry("good")])
    assert [outcome.success for outcome in outcomes] == [False, True]
    error = outcomes[0].error
    assert isinstance(error, ConnectionFailedError)
    assert error.possibly_billed
    assert error.message == "The call to compatible was broken off."
    assert error.hint


async def test_an_empty_batch_is_done_at_once() -> None:
    """It has no outcomes and asks nobody."""
    processor, gateway = instant()
    assert await processor.process_batch([]) == []
    assert gateway.calls == []


async def test_identical_requests_of_a_batch_are_sent_once() -> None:
    """All get the answer; one paid, the others' came from it. The session makes no difference."""
    processor, gateway = instant()
    batch = [
        BatchRequest(request=request("same", session=session), route=route()) for session in "xyz"
    ]
    outcomes = await processor.process_batch([*batch, entry("other")])
    assert [call.request.task for call in gateway.calls] == ["same", "other"]
    answers = [outcome.response for outcome in outcomes]
    assert all(answers)
    assert len({answer.content for answer in answers if answer}) == 2
    served = [answer.served_from for answer in answers if answer]
    assert served == [ServedFrom.LIVE, ServedFrom.CACHE, ServedFrom.CACHE, ServedFrom.LIVE]


OTHER_VALUES: dict[str, object] = {
    "agent": AgentType.CLAUDE,
    "phase": 3,
    "task": "another",
    "prompt": "Another?",
    "context": (ContextDocument(id="d", title="D", text="d"),),
    "system": "Be brief.",
    "max_output_tokens": 9,
    "web_search": True,
    "language": Language.KO,
    "options": {"n": 1},
    "answer_so_far": "So",
}
OTHER_ROUTES: dict[str, object] = {
    "agent": AgentType.CLAUDE,
    "actor": AgentType.CLAUDE,
    "backend": Backend.OPENAI,
    "model": "another",
    "base_url": "http://127.0.0.1:1",
    "context_window_tokens": 9,
    "options": {"n": 1},
}


async def test_requests_that_differ_in_anything_that_matters_are_all_sent() -> None:
    """Any field but those for whom and how it is bought makes another question."""
    names = {field.name for field in fields(AgentRequest)}
    assert names - FIELDS_THAT_CANNOT_MATTER == set(OTHER_VALUES)
    assert {field.name for field in fields(Route)} == set(OTHER_ROUTES)
    plain = entry()
    batch = [plain]
    for name, value in OTHER_VALUES.items():
        changed = replace(plain.request, **{name: value})  # type: ignore[arg-type]
        batch.append(BatchRequest(request=changed, route=plain.route))
    for name, value in OTHER_ROUTES.items():
        other = replace(plain.route, **{name: value})  # type: ignore[arg-type]
        batch.append(BatchRequest(request=plain.request, route=other))
    for options in ({"n": True}, {"n": 1.0}, {"n": "1"}, {"n": None}):
        changed = replace(plain.request, options=options)
        batch.append(BatchRequest(request=changed, route=plain.route))
    processor, gateway = instant()
    await processor.process_batch(batch)
    assert len(gateway.calls) == len(batch)


async def test_the_same_request_is_sent_again_once_its_call_has_ended() -> None:
    """Remembering answers is the cache's work."""
    processor, gateway = instant()
    for _ in range(2):
        (outcome,) = await processor.process_batch([entry()])
        assert outcome.response
        assert outcome.response.served_from is ServedFrom.LIVE
    assert len(gateway.calls) == 2


async def test_cancelling_a_batch_cancels_every_call_of_it() -> None:
    """Under way or not yet sent; and the cancellation has ended when the batch has."""
    bench = Bench(max_in_flight=2)
    running = asyncio.create_task(bench.processor.process_batch([entry(t) for t in "abcd"]))
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.gateway.started == bench.gateway.cancelled == ["a", "b"]
    await settle()
    bench.assert_idle()


async def test_a_batch_takes_along_what_still_stands_in_the_queue() -> None:
    """The same request, offered alone before, waits no longer for company and is sent once."""
    bench = Bench()
    alone = bench.send("a")
    await settle()
    assert bench.gateway.started == []
    running = asyncio.create_task(bench.processor.process_batch([entry("a"), entry("b")]))
    await settle()
    assert bench.gateway.started == ["a", "b"]
    await bench.gateway.answer("a", "b")
    assert (await alone).served_from is ServedFrom.LIVE
    assert all(outcome.success for outcome in await running)
    bench.assert_idle()


async def test_a_request_that_cannot_be_compared_stops_the_batch_before_anything_is_sent() -> None:
    """Nothing of the batch stays behind for others to join and wait for in vain."""
    processor, gateway = instant()
    broken = replace(request("b"), context=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await processor.process_batch([entry("a"), BatchRequest(request=broken, route=route())])
    assert gateway.calls == []
    assert (await processor.process_batch([entry("a")]))[0].success


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(list(AgentType)), st.booleans()),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_any_batch_has_one_outcome_each_in_order(
    plan: list[tuple[str, AgentType, bool]], max_in_flight: int
) -> None:
    """Each answer is that of its own request, each distinct request is bought once."""

    def script(asked: AgentRequest) -> GatewayResponse | Exception:
        answer = default_answer(asked)
        return ServerFaultError(answer.content) if asked.system else answer

    async def run() -> None:
        clock = ManualClock(auto_advance=True)
        gateway = ScriptedGateway(script, latency_s=1.0, clock=clock)
        limits = BatchLimits(max_in_flight=max_in_flight, timeout_s=2.5)
        processor = BatchProcessor(gateway, limits=limits, clock=clock)
        batch = [
            BatchRequest(
                request=replace(request(task, agent), system="fail" if fails else ""),
                route=route(agent),
            )
            for task, agent, fails in plan
        ]
        outcomes = await processor.process_batch(batch)
        assert [outcome.request for outcome in outcomes] == batch
        for outcome in outcomes:
            said = outcome.response.content if outcome.response else str(outcome.error)
            assert said == default_answer(outcome.request.request).content
            assert outcome.success != bool(outcome.request.request.system)
        assert len(gateway.calls) == len(set(plan))

    asyncio.run(run())


# Time


async def test_when_a_batch_takes_too_long_only_what_was_not_sent_is_sent() -> None:
    """Calls under way go on and are not bought again; they no longer hold up the others."""
    bench = Bench(max_in_flight=2, timeout_s=60)
    running = asyncio.create_task(bench.processor.process_batch([entry(t) for t in "abcd"]))
    await settle()
    await bench.wait(59)
    assert bench.gateway.started == ["a", "b"]
    await bench.wait(1)
    assert bench.gateway.started == ["a", "b", "c", "d"]
    assert bench.events == [
        Warned(
            message="4 of 4 requests have taken longer than 60 s; each of them goes on by itself."
        )
    ]
    await bench.gateway.answer("c", "d")
    assert not running.done()
    await bench.wait(1000)
    await bench.gateway.answer("a")
    await bench.gateway.fail("b", ServerFaultError("gave up"))
    outcomes = await running
    assert [outcome.success for outcome in outcomes] == [True, False, True, True]
    assert bench.gateway.started == ["a", "b", "c", "d"]
    assert bench.gateway.cancelled == []
    bench.assert_idle()


async def test_a_batch_in_time_says_nothing() -> None:
    """No warning, and no stopwatch that is left running."""
    bench = Bench(timeout_s=60)
    running = asyncio.create_task(bench.processor.process_batch([entry()]))
    await settle()
    await bench.gateway.answer("t")
    await running
    await bench.wait(100)
    assert bench.events == []
    bench.assert_idle()


@pytest.mark.parametrize("turns", range(6))
async def test_a_batch_that_ends_as_its_time_is_up_is_in_time(turns: int) -> None:
    """It is called late only where a call of it has not ended."""
    bench = Bench(timeout_s=60)
    running = asyncio.create_task(bench.processor.process_batch([entry()]))
    await settle()
    answered = asyncio.create_task(bench.gateway.answer("t"))
    for _ in range(turns):
        await asyncio.sleep(0)
    bench.clock.advance(60)
    await asyncio.gather(running, answered)
    assert all(isinstance(e, Warned) and e.message.startswith("1 of 1") for e in bench.events)


# The queue


async def test_one_that_nobody_announced_waits_for_company_and_no_longer() -> None:
    """Two seconds by default, then it goes alone."""
    bench = Bench()
    sent = bench.send()
    await settle()
    await bench.wait(1.9)
    assert bench.gateway.started == []
    await bench.wait(0.1)
    assert bench.gateway.started == ["t"]
    await bench.gateway.answer("t")
    assert (await sent).content == "Answer to t."
    bench.assert_idle()


async def test_a_full_group_goes_at_once() -> None:
    """Five by default; the sixth starts the next group."""
    bench = Bench()
    sent = [bench.send(str(n)) for n in range(6)]
    await settle()
    assert bench.gateway.started == ["0", "1", "2", "3", "4"]
    await bench.wait(2)
    assert bench.gateway.started[5:] == ["5"]
    await bench.gateway.answer(*"012345")
    await asyncio.gather(*sent)
    bench.assert_idle()


async def test_the_timer_serves_groups_that_began_at_different_times() -> None:
    """Each leaves two seconds after its own first request."""
    bench = Bench()
    first = bench.send("a", AgentType.GEMINI)
    await settle()
    await bench.wait(1.5)
    second = bench.send("b", AgentType.CLAUDE)
    await settle()
    await bench.wait(0.5)
    assert bench.gateway.started == ["a"]
    await bench.wait(1.5)
    assert bench.gateway.started == ["a", "b"]
    await bench.gateway.answer("a", "b")
    await asyncio.gather(first, second)
    bench.assert_idle()


async def test_the_timer_goes_on_after_it_has_released_a_group() -> None:
    """Whoever comes while an earlier one is under way has two seconds of their own."""
    bench = Bench()
    first = bench.send("a")
    await settle()
    await bench.wait(2)
    second = bench.send("b")
    await settle()
    await bench.wait(1.5)
    assert bench.gateway.started == ["a"]
    await bench.wait(0.5)
    assert bench.gateway.started == ["a", "b"]
    await bench.gateway.answer("a", "b")
    await asyncio.gather(first, second)
    bench.assert_idle()


async def ask(bench: Bench, asker: object, work: Callable[[], Awaitable[object]]) -> object:
    with asker:  # type: ignore[attr-defined]
        return await work()


async def test_an_announced_pair_does_not_wait() -> None:
    """A phase of two requests to two providers leaves as soon as the second has come."""
    bench = Bench()
    with bench.processor.expecting(2) as (first, second):
        one = asyncio.create_task(
            ask(bench, first, lambda: bench.processor.send(request("a"), route(), ignore_text))
        )
        await settle()
        assert bench.gateway.started == []
        claude = AgentType.CLAUDE
        other = asyncio.create_task(
            ask(
                bench,
                second,
                lambda: bench.processor.send(request("b", claude), route(claude), ignore_text),
            )
        )
        await settle()
        assert bench.gateway.started == ["a", "b"]
        await bench.gateway.answer("a", "b")
        await asyncio.gather(one, other)
    assert bench.clock.monotonic() == 0.0
    bench.assert_idle()


@pytest.mark.parametrize("how", ["returns", "fails", "is cancelled"])
async def test_who_leaves_without_asking_is_not_waited_for(how: str) -> None:
    """A cache hit, a failure or a cancellation of one lets the other go."""
    bench = Bench()
    leave = asyncio.Event()

    async def not_asking() -> None:
        await leave.wait()
        if how == "fails":
            raise RuntimeError

    with bench.processor.expecting(2) as (first, second):
        one = asyncio.create_task(
            ask(bench, first, lambda: bench.processor.send(request(), route()))
        )
        other = asyncio.create_task(ask(bench, second, not_asking))
        await settle()
        assert bench.gateway.started == []
        if how == "is cancelled":
            other.cancel()
        leave.set()
        await settle()
        assert bench.gateway.started == ["t"]
        await bench.gateway.answer("t")
        await asyncio.gather(one, other, return_exceptions=True)
    bench.assert_idle()


async def test_nobody_is_expected_after_the_end_of_the_announcement() -> None:
    """Askers who never came in are withdrawn with it."""
    bench = Bench()
    with bench.processor.expecting(3) as (first, _second, _third):
        one = asyncio.create_task(
            ask(bench, first, lambda: bench.processor.send(request(), route()))
        )
        await settle()
        assert bench.gateway.started == []
    await settle()
    assert bench.gateway.started == ["t"]
    await bench.gateway.answer("t")
    await one
    bench.assert_idle()


async def test_a_second_request_of_an_asker_does_not_wait_again() -> None:
    """A fallback or a continuation goes at once: everyone has asked already."""
    bench = Bench()

    async def twice() -> None:
        await bench.processor.send(request("a"), route())
        await asyncio.create_task(bench.processor.send(request("b"), route()))

    with bench.processor.expecting(1) as (asker,):
        running = asyncio.create_task(ask(bench, asker, twice))
        await settle()
        await bench.gateway.answer("a")
        assert bench.gateway.started == ["a", "b"]
        await bench.gateway.answer("b")
        await running
    assert bench.clock.monotonic() == 0.0


async def test_joining_counts_as_having_asked() -> None:
    """The asker whose question is already under way holds up nobody."""
    bench = Bench()
    earlier = asyncio.create_task(bench.processor.process_batch([entry("a")]))
    await settle()
    with bench.processor.expecting(2) as (first, second):
        one = asyncio.create_task(
            ask(bench, first, lambda: bench.processor.send(request("a"), route()))
        )
        other = asyncio.create_task(
            ask(bench, second, lambda: bench.processor.send(request("b"), route()))
        )
        await settle()
        assert bench.gateway.started == ["a", "b"]
        await bench.gateway.answer("a", "b")
        await asyncio.gather(one, other, earlier)
    bench.assert_idle()


async def test_requests_of_different_sessions_travel_together() -> None:
    """The pair that is complete takes along who stands in the same groups."""
    bench = Bench()
    waiting = bench.send("of x", session="x")
    await settle()
    with bench.processor.expecting(1) as (asker,):
        own = asyncio.create_task(
            ask(bench, asker, lambda: bench.processor.send(request("of y", session="y"), route()))
        )
        await settle()
        assert bench.gateway.started == ["of x", "of y"]
        await bench.gateway.answer("of x", "of y")
        await asyncio.gather(waiting, own)
    bench.assert_idle()


# Sharing and cancelling


async def test_sessions_that_ask_the_same_share_one_call() -> None:
    """Both get the answer, both see it arrive, one pays."""
    bench = Bench(max_batch_size=1)
    heard: dict[str, list[int]] = {"x": [], "y": []}
    first = bench.send(session="x", on_text=heard["x"].append)
    await settle()
    second = bench.send(session="y", on_text=heard["y"].append)
    await settle()
    bench.gateway.tell("t", 5)
    await bench.gateway.answer("t")
    assert (await first).content == (await second).content
    assert (await first).served_from is ServedFrom.LIVE
    assert (await second).served_from is ServedFrom.CACHE
    assert heard == {"x": [5], "y": [5]}
    assert len(bench.gateway.started) == 1
    bench.assert_idle()


@pytest.mark.parametrize("goes", [0, 1])
async def test_who_gives_up_does_not_take_the_others_along(goes: int) -> None:
    """Neither the one who asked first nor the one who joined; and it hears no more."""
    bench = Bench(max_batch_size=1)
    heard: list[list[int]] = [[], []]
    sent = [bench.send(on_text=heard[n].append) for n in range(2)]
    await settle()
    sent[goes].cancel()
    await settle()
    assert sent[goes].cancelled()
    bench.gateway.tell("t", 7)
    await bench.gateway.answer("t")
    assert (await sent[1 - goes]).content == "Answer to t."
    assert heard[goes] == []
    assert heard[1 - goes] == [7]
    assert bench.gateway.cancelled == []
    bench.assert_idle()


async def test_when_the_last_gives_up_the_call_is_cancelled() -> None:
    """And it has ended before the one who gave up goes on."""
    bench = Bench(max_batch_size=1)
    sent = [bench.send() for _ in range(2)]
    await settle()
    for each in sent:
        each.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    assert bench.gateway.cancelled == ["t"]
    bench.assert_idle()


async def test_one_that_gives_up_in_the_queue_is_never_sent() -> None:
    """Nor does a timer go on for it."""
    bench = Bench()
    sent = bench.send()
    await settle()
    sent.cancel()
    await settle()
    bench.assert_idle()
    await bench.wait(10)
    assert bench.gateway.started == []


async def test_nobody_joins_a_call_that_is_being_cancelled() -> None:
    """The same question, asked before the cancellation has ended, is a call of its own."""
    endings = [asyncio.Event(), asyncio.Event()]
    calls: list[asyncio.Event] = []

    class Slow:
        async def send(
            self, request: AgentRequest, route: Route, on_text: OnText
        ) -> GatewayResponse:
            calls.append(endings[len(calls)])
            ending = calls[-1]
            try:
                await asyncio.Event().wait() if ending is endings[0] else await ending.wait()
            finally:
                await ending.wait()
            return GatewayResponse(content="Yes.")

    processor = BatchProcessor(Slow(), limits=BatchLimits(max_batch_size=1))
    first = asyncio.create_task(processor.send(request(), route()))
    await settle()
    first.cancel()
    await settle()
    assert not first.done()
    second = asyncio.create_task(processor.send(request(), route()))
    await settle()
    endings[0].set()
    await settle()
    assert first.cancelled()
    third = asyncio.create_task(processor.send(request(), route()))
    await settle()
    endings[1].set()
    assert (await second).served_from is ServedFrom.LIVE
    assert (await third).served_from is ServedFrom.CACHE
    assert len(calls) == 2


async def test_a_cancelled_wave_buys_nothing() -> None:
    """Withdrawals on the way out do not send the requests of those who are leaving as well."""
    bench = Bench()

    async def wave() -> None:
        with bench.processor.expecting(2) as (first, second):
            await asyncio.gather(
                ask(bench, second, asyncio.Event().wait),
                ask(bench, first, lambda: bench.processor.send(request(), route())),
            )

    running = asyncio.create_task(wave())
    await settle()
    running.cancel()
    await settle()
    assert running.cancelled()
    assert bench.gateway.started == []
    bench.assert_idle()


async def test_each_who_shares_a_failure_gets_an_error_of_their_own() -> None:
    """A note that one adds to it is not seen by the other."""
    bench = Bench(max_batch_size=1)
    sent = [bench.send() for _ in range(2)]
    await settle()
    await bench.gateway.fail("t", RefusedError("no", hint="ask again", provider="p", status=200))
    errors = await asyncio.gather(*sent, return_exceptions=True)
    first, second = errors
    assert isinstance(first, RefusedError)
    assert isinstance(second, RefusedError)
    assert vars(first) == vars(second)
    first.add_note("only here")
    assert not getattr(second, "__notes__", [])
    bench.assert_idle()


async def test_an_error_that_is_none_of_a_gateway_reaches_all_as_it_is() -> None:
    """A budget that is used up stops everybody who shared the call."""
    bench = Bench(max_batch_size=1)
    sent = [bench.send() for _ in range(2)]
    await settle()
    error = BudgetExceededError("used up")
    await bench.gateway.fail("t", error)
    assert await asyncio.gather(*sent, return_exceptions=True) == [error, error]


async def test_a_call_runs_in_the_context_of_whoever_asked() -> None:
    """Not in that of the one whose arrival let it leave the queue."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: dict[str, str] = {}

    class Looking(ScriptedGateway):
        async def send(
            self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
        ) -> GatewayResponse:
            seen[request.task] = who.get()
            return await super().send(request, route, on_text)

    processor = BatchProcessor(Looking(), limits=BatchLimits(max_batch_size=2))

    async def send(name: str) -> None:
        who.set(name)
        await processor.send(request(name), route())

    await asyncio.gather(send("x"), send("y"))
    assert seen == {"x": "x", "y": "y"}


# Many


async def test_ten_thousand_requests_neither_stall_nor_pile_up() -> None:
    """Calls under way are bounded, and each distinct request is sent once and answered."""
    processor, gateway = instant(BatchLimits(max_in_flight=100), latency_s=1.0)
    batch = [entry(str(n % 9_000), list(AgentType)[n % 4]) for n in range(10_000)]
    outcomes = await processor.process_batch(batch)
    assert all(outcome.success for outcome in outcomes)
    assert len(gateway.calls) == 9_000
    assert gateway.most_in_flight == 400
    assert not processor._calls


async def test_ten_thousand_askers_at_once_are_all_answered() -> None:
    """From 2,500 sessions that announce four requests each, some of which are never sent."""
    processor, gateway = instant(latency_s=1.0)

    async def session(name: str) -> int:
        async def one(asker: object, number: int) -> int:
            with asker:  # type: ignore[attr-defined]
                if number == 3:
                    return 0
                agent = list(AgentType)[number]
                await processor.send(request(name, agent), route(agent))
                return 1

        with processor.expecting(4) as askers:
            return sum(await asyncio.gather(*(one(each, n) for n, each in enumerate(askers))))

    counts = await asyncio.gather(*(session(str(n)) for n in range(2_500)))
    assert counts == [3] * 2_500
    assert len(gateway.calls) == 7_500
    assert max(gateway._clock.sleeps) <= 2.0  # type: ignore[attr-defined]
    assert not processor._calls
    assert not len(processor._queue)


async def test_a_processor_that_has_worked_remembers_nothing() -> None:
    """Memory does not grow with the number of requests that went through."""

    async def thousand() -> int:
        for start in range(0, 1_000, 100):
            outcomes = await processor.process_batch([entry(str(start + n)) for n in range(100)])
            assert len(outcomes) == 100
        gateway.calls.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    processor, gateway = instant()
    tracemalloc.start()
    try:
        await thousand()
        before = await thousand()
        after = await thousand()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
