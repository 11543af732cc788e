"""How an answer goes over the wire: in one piece or as a stream, whole or broken.

:func:`plan` decides, purely; the server carries the plan out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from aigenflow.core.models import Json
from aigenflow.testing.wire_models import Answer, SseEvent, WireFormat, dump
from aigenflow.testing.wire_script import Action, Fault, FaultKind

BIG_EVENT_BYTES = 10 * 1024 * 1024
JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=utf-8"
EVENT_STREAM_TYPE = "text/event-stream; charset=utf-8"
HTML_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Web server is returning an unknown error</title></head>"
    "<body><h1>Error 520</h1><p>There is an issue between the cache and the origin.</p>"
    "</body></html>\n"
)
_DEFAULT_CUT_AFTER = 2


class Ending(StrEnum):
    """What happens to the connection after the last step."""

    CLOSE = "close"  # the response ends as HTTP wants it
    CUT = "cut"  # the connection closes in the middle of the response
    RESET = "reset"  # the connection is reset


class Charge(StrEnum):
    """When a call is paid for."""

    NEVER = "never"
    WHOLE = "whole"  # with the acceptance: the answer was generated before it is sent
    AS_SENT = "as_sent"  # output tokens as far as they went out, and nothing before the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Bytes to send after ``wait_s`` seconds.

    ``events`` and ``characters`` (of the answer) are finished with this step.
    """

    data: bytes
    wait_s: float = 0.0
    events: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A response: headers, then the steps (which may never end).

    ``length`` is the announced ``Content-Length`` in bytes, ``None`` for a chunked stream;
    ``status`` is ``None`` where not even headers are sent. ``characters`` is the length of the
    whole answer, against which the steps are measured.
    """

    status: int | None
    headers: Mapping[str, str]
    steps: Iterable[Step]
    length: int | None = None
    ending: Ending = Ending.CLOSE
    charge: Charge = Charge.NEVER
    outcome: str = "complete"
    characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    first_event_s: float
    characters_per_s: float


def plan(wire: WireFormat, answer: Answer, action: Action) -> Delivery:
    """How ``answer`` is delivered under the action's pace and fault."""
    fault = action.fault
    replaced = _replaced(answer, fault)
    if replaced is not None:
        return replaced
    if answer.ask.stream:
        return _stream(wire, answer, action)
    return _whole(wire, answer, action)


def plain(
    status: int, headers: Mapping[str, str], body: bytes, *, outcome: str = "refused"
) -> Delivery:
    """A response in one piece that costs nothing."""
    return Delivery(
        status=status,
        headers=headers,
        steps=(Step(data=body),),
        length=len(body),
        outcome=outcome,
    )


def _replaced(answer: Answer, fault: Fault | None) -> Delivery | None:
    """The faults that put something else in the place of any answer."""
    kind = None if fault is None else fault.kind
    content_type = EVENT_STREAM_TYPE if answer.ask.stream else JSON_TYPE
    match kind:
        case FaultKind.RESET_BEFORE_HEADERS:
            delivery = Delivery(status=None, headers={}, steps=(), ending=Ending.RESET)
        case FaultKind.REDIRECT_307_TO:
            assert fault is not None
            delivery = plain(307, {"Location": fault.value}, b"")
        case FaultKind.HTML_200:
            delivery = plain(200, {"Content-Type": HTML_TYPE}, HTML_PAGE.encode())
        case FaultKind.EMPTY_BODY:
            delivery = plain(200, {"Content-Type": content_type}, b"")
        case FaultKind.EMPTY_OBJECT:
            data = b"data: {}\n\n" if answer.ask.stream else b"{}"
            delivery = plain(200, {"Content-Type": content_type}, data)
        case _:
            return None
    return replace(delivery, outcome=kind.value)


def _whole(wire: WireFormat, answer: Answer, action: Action) -> Delivery:
    kind = None if action.fault is None else action.fault.kind
    body = wire.whole(answer)
    if kind is FaultKind.CONTENT_NULL:
        wire.without_content(body)
    elif kind is FaultKind.BIG_EVENT_10MB:
        body["padding"] = "x" * BIG_EVENT_BYTES
    if kind is FaultKind.ERROR_EVENT:
        error = dump(wire.error(500, "Internal server error")).encode()
        return plain(500, {"Content-Type": JSON_TYPE}, error, outcome=kind.value)
    data = dump(body).encode()
    if kind is FaultKind.MALFORMED_JSON:
        data = data[: len(data) * 2 // 3]
    pause = 0.0
    if action.tokens_per_s is not None:
        pause = answer.counts.output_tokens / action.tokens_per_s
    step = Step(data=data, wait_s=pause, events=1, characters=len(answer.text))
    steps, ending = _whole_steps(step, action.fault)
    return Delivery(
        status=200,
        headers={"Content-Type": JSON_TYPE},
        steps=steps,
        length=len(data),
        ending=ending,
        charge=Charge.WHOLE,
        characters=step.characters,
        outcome="complete" if kind is None else kind.value,
    )


def _whole_steps(step: Step, fault: Fault | None) -> tuple[Iterable[Step], Ending]:
    """The one step of a whole body, broken where the fault wants it."""
    kind = None if fault is None else fault.kind
    half = replace(step, data=step.data[: len(step.data) // 2], events=0, characters=0)
    match kind:
        case FaultKind.RESET_MID_BODY:
            return (half,), Ending.RESET
        case FaultKind.STREAM_CUT_AFTER | FaultKind.NO_TERMINAL_EVENT:
            return (half,), Ending.CUT
        case FaultKind.PING_ONLY:
            assert fault is not None
            return _for_ever(b" ", fault.number(0.1)), Ending.CUT
        case _:
            return _paced(iter((step,)), fault), Ending.CLOSE


def _stream(wire: WireFormat, answer: Answer, action: Action) -> Delivery:
    fault = action.fault
    kind = None if fault is None else fault.kind
    ending = Ending.CLOSE
    events = wire.events(answer)
    total = sum(len(event.text) for event in events)
    pace = _Pace(
        first_event_s=action.first_event_s,
        characters_per_s=_characters_per_s(answer, action, total),
    )
    steps: Iterable[Step] = list(_event_steps(wire, _disturbed(wire, events, fault), pace))
    if fault is not None and kind is FaultKind.PING_ONLY:
        steps = _for_ever(wire.ping, fault.number(0.1))
    elif kind is FaultKind.STREAM_CUT_AFTER:
        ending = Ending.CUT
    elif kind is FaultKind.RESET_MID_BODY:
        ending = Ending.RESET
    elif kind is FaultKind.MALFORMED_JSON:
        steps = _with_broken_middle(list(steps))
    return Delivery(
        status=200,
        headers={"Content-Type": EVENT_STREAM_TYPE, "Cache-Control": "no-cache"},
        steps=_paced(iter(steps), fault),
        ending=ending,
        charge=Charge.AS_SENT,
        characters=total,
        outcome="complete" if kind is None else kind.value,
    )


def _disturbed(wire: WireFormat, events: list[SseEvent], fault: Fault | None) -> list[SseEvent]:
    """The events with the faults that change which events there are, and their order."""
    if fault is None:
        return events
    spoken = [index for index, event in enumerate(events) if event.text]
    middle = spoken[len(spoken) // 2] if spoken else 0
    match fault.kind:
        case FaultKind.STREAM_CUT_AFTER:
            return events[: int(fault.number(_DEFAULT_CUT_AFTER))]
        case FaultKind.RESET_MID_BODY:
            return events[: middle + 1]
        case FaultKind.NO_TERMINAL_EVENT:
            return [event for event in events if not event.terminal]
        case FaultKind.ERROR_EVENT:
            kept = events[: int(fault.number(_DEFAULT_CUT_AFTER))]
            return [*kept, wire.error_event(len(kept))]
        case FaultKind.DUPLICATE_EVENT:
            return [*events[: middle + 1], *events[middle:]]
        case FaultKind.OUT_OF_ORDER if len(spoken) > 1:
            first, second = spoken[0], spoken[1]
            swapped = list(events)
            swapped[first], swapped[second] = events[second], events[first]
            return swapped
        case FaultKind.BIG_EVENT_10MB:
            return [*events[:middle], _padded(events[middle]), *events[middle + 1 :]]
        case _:
            return events


def _padded(event: SseEvent) -> SseEvent:
    data: dict[str, Json] = dict(event.data) if isinstance(event.data, Mapping) else {}
    return replace(event, data=data | {"padding": "x" * BIG_EVENT_BYTES})


def _event_steps(wire: WireFormat, events: list[SseEvent], pace: _Pace) -> Iterator[Step]:
    for index, event in enumerate(events):
        wait = pace.first_event_s if index == 0 else 0.0
        if pace.characters_per_s:
            wait += len(event.text) / pace.characters_per_s
        data = event.encode(wire.newline)
        yield Step(data=data, wait_s=wait, events=1, characters=len(event.text))


def _characters_per_s(answer: Answer, action: Action, characters: int) -> float:
    """The pace of the text, zero for "at once"."""
    if action.tokens_per_s is None:
        return 0.0
    return action.tokens_per_s * characters / answer.counts.output_tokens


def _with_broken_middle(steps: list[Step]) -> list[Step]:
    """One event in the middle loses the end of its JSON, but not the end of its line."""
    index = len(steps) // 2
    line = steps[index].data.rstrip(b"\r\n")
    tail = steps[index].data[len(line) :]
    broken = replace(steps[index], data=line[: len(line) * 2 // 3] + tail)
    return [*steps[:index], broken, *steps[index + 1 :]]


def _for_ever(data: bytes, interval_s: float) -> Iterator[Step]:
    return itertools.repeat(Step(data=data, wait_s=interval_s))


def _paced(steps: Iterator[Step], fault: Fault | None) -> Iterable[Step]:
    """The steps with the faults that change when and in which pieces the bytes go out."""
    if fault is None:
        return steps
    match fault.kind:
        case FaultKind.DRIP:
            return _dripped(steps, 1 / fault.number(1))
        case FaultKind.SPLIT_UTF8:
            return _split_characters(steps)
        case FaultKind.STALL_S:
            return _stalled(steps, fault.number(61))
        case _:
            return steps


def _dripped(steps: Iterator[Step], interval_s: float) -> Iterator[Step]:
    for step in steps:
        for at in range(len(step.data)):
            last = at == len(step.data) - 1
            yield Step(
                data=step.data[at : at + 1],
                wait_s=interval_s,
                events=step.events if last else 0,
                characters=step.characters if last else 0,
            )


def _split_characters(steps: Iterator[Step]) -> Iterator[Step]:
    """Cut every step inside its first multi-byte character, with a pause that parts the reads."""
    for step in steps:
        at = next((index for index, byte in enumerate(step.data) if byte >= 0xC0), None)
        if at is None:
            yield step
            continue
        yield Step(data=step.data[: at + 1], wait_s=step.wait_s)
        yield replace(step, data=step.data[at + 1 :], wait_s=0.02)


def _stalled(steps: Iterator[Step], silence_s: float) -> Iterator[Step]:
    """Two events, silence, the rest; a body in one piece falls silent in its middle."""
    for index, step in enumerate(steps):
        if index == 0 and step.events and step.data.startswith(b"{"):
            half = len(step.data) // 2
            yield replace(step, data=step.data[:half], events=0, characters=0)
            yield replace(step, data=step.data[half:], wait_s=silence_s)
        elif index == _DEFAULT_CUT_AFTER:
            yield replace(step, wait_s=step.wait_s + silence_s)
        else:
            yield step
