"""What the fake model says: the same request always gives the same text.

The text names itself (``Answer a1b2c3d4``, from the SHA-256 of the request's body), quotes the
instruction, and names every answer that the request itself contained: so a test can see which
earlier answers a later step has heard. Where the instruction shows a form in JSON, the text fills
it in, with the values shown.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from aigenflow.testing.wire_models import (
    BYTES_PER_TOKEN,
    Answer,
    Ask,
    Counts,
    Finish,
    Segment,
    Source,
    tokens_of,
)
from aigenflow.testing.wire_script import Action, FaultKind

REASONING_TOKENS = 64
SEARCH_PROMPT_TOKENS = 240
MARK_LENGTH = 8
OTHER_MODEL = "some-other-model-1"
_MARK = re.compile(r"Answer ([0-9a-f]{8})\b")
_END_OF_DATA = re.compile(r"<<<END [0-9a-f]+>>>")
_FORM = re.compile(r"^```json\n.*?\n```$", re.DOTALL | re.MULTILINE)
_DEFAULT_CHUNK_CHARACTERS = 40
_MOST_CHUNKS = 200
_THINKING = "The request is read, its parts are weighed, and an order for the answer is chosen."


def answer_mark(body_sha256: str) -> str:
    """The token by which an answer can be recognised in a later request."""
    return f"Answer {body_sha256[:MARK_LENGTH]}"


def compose(ask: Ask, action: Action, prompt: Counts, *, call: int, created: int) -> Answer:
    """The answer to ``ask`` as the action's texts, counts and content faults want it.

    ``prompt`` holds the input counts; ``call`` makes the ids unique; ``created`` is in seconds
    since 1970. Raises ``OSError`` where a scripted file cannot be read.
    """
    sources = sources_for(ask) if ask.web_search else ()
    script = action.script_text()
    segments = _written(ask, sources) if script is None else _scripted(script, sources)
    reasoning = _reasoning_tokens(ask)
    segments += _filler(ask, segments, action.fill)
    segments, finish = _fitted(segments, ask.max_output_tokens, reasoning, action.finish)
    text = "".join(segment.text for segment in segments)
    counts = replace(
        prompt,
        output_tokens=max(1, tokens_of(text)) + reasoning,
        reasoning_tokens=reasoning,
        search_calls=len(sources) and 1,
        tool_prompt_tokens=SEARCH_PROMPT_TOKENS if sources else 0,
    )
    counts = action.usage.over(counts)
    answer = Answer(
        ask=ask,
        model=ask.model,
        seed=hashlib.sha256(f"{ask.received.sha256}|{call}".encode()).hexdigest(),
        segments=segments,
        counts=counts,
        usage=counts,
        sources=sources,
        thinking=_THINKING if ask.thinks else "",
        finish=finish,
        verbatim=script is not None,
        chunks=action.chunks or min(_MOST_CHUNKS, 1 + len(text) // _DEFAULT_CHUNK_CHARACTERS),
        created=created,
    )
    return _spoilt(answer, None if action.fault is None else action.fault.kind)


def sources_for(ask: Ask) -> tuple[Source, ...]:
    """Three pages on example.com that depend on the instruction only."""
    digest = hashlib.sha256(ask.instruction.encode("utf-8", "replace")).hexdigest()
    return tuple(
        Source(
            url=f"https://example.com/reports/{digest[:6]}-{number}",
            title=f"Report {digest[:6]}-{number}",
            snippet=_claim(digest, number),
            date=f"2026-0{number}-15",
        )
        for number in (1, 2, 3)
    )


def first_line(instruction: str) -> str:
    """The first line of what is asked, behind any quoted documents."""
    asked = _asked(instruction)
    return asked.splitlines()[0][:200] if asked else ""


def _asked(instruction: str) -> str:
    """What is asked, behind any quoted documents."""
    return _END_OF_DATA.split(instruction)[-1].strip() or instruction.strip()


def _claim(digest: str, number: int) -> str:
    share = int(digest[number : number + 2], 16) % 90 + 5
    return f"Finding {number}: the share reached {share} percent in 2025."


def _written(ask: Ask, sources: tuple[Source, ...]) -> tuple[Segment, ...]:
    mark = answer_mark(ask.received.sha256)
    prompt = "\n".join(part.text for part in ask.parts)
    heard = list(dict.fromkeys(f"Answer {found}" for found in _MARK.findall(prompt)))
    opening = f"# {mark} — {ask.model}\n\n> {first_line(ask.instruction)}\n\n"
    if heard:
        opening += f"Heard: {', '.join(heard)}\n\n"
    segments = [Segment(text=opening + "The question is taken in three steps.\n\n")]
    for number in (1, 2, 3):
        claim = _claim(ask.received.sha256, number)
        cited = number <= len(sources)
        segments.append(Segment(text="- "))
        segments.append(
            Segment(
                text=sources[number - 1].snippet if cited else claim,
                source=number - 1 if cited else None,
            )
        )
        segments.append(Segment(text="\n"))
    form = _FORM.search(_asked(ask.instruction))
    if form is not None:
        segments.append(Segment(text=f"\n{form[0]}\n"))
    segments.append(Segment(text=f"\nThis closes {mark[0].lower()}{mark[1:]}."))
    return tuple(segments)


def _scripted(text: str, sources: tuple[Source, ...]) -> tuple[Segment, ...]:
    """The text untouched, its first paragraphs resting on the sources."""
    paragraphs = re.split(r"(?<=\n\n)(?=\S)", text)
    cited = [
        Segment(text=paragraph, source=index if index < len(sources) and paragraph else None)
        for index, paragraph in enumerate(paragraphs)
    ]
    return tuple(cited)


def _filler(ask: Ask, written: tuple[Segment, ...], share: float) -> tuple[Segment, ...]:
    """Paragraphs that bring an answer to ``share`` (0..1) of its output limit, if it has one."""
    size = sum(len(segment.text.encode("utf-8", "replace")) for segment in written)
    missing = int((ask.max_output_tokens or 0) * share) * BYTES_PER_TOKEN - size
    paragraph = f"\n\nThe point of {ask.received.sha256[:MARK_LENGTH]} is taken further, step "
    texts = (f"{paragraph}{number:06}." for number in range(missing // (len(paragraph) + 7)))
    return tuple(Segment(text=text) for text in texts)


def _reasoning_tokens(ask: Ask) -> int:
    if not ask.thinks:
        return 0
    if ask.max_output_tokens is None:
        return REASONING_TOKENS
    return min(REASONING_TOKENS, ask.max_output_tokens // 4)


def _fitted(
    segments: tuple[Segment, ...], limit: int | None, reasoning: int, wanted: Finish | None
) -> tuple[tuple[Segment, ...], Finish]:
    """The segments cut at the output limit, as the model would be, and why they end."""
    if wanted in (Finish.REFUSAL, Finish.SAFETY, Finish.RECITATION, Finish.BLOCKED):
        return (), wanted
    room = None if limit is None else (limit - reasoning) * BYTES_PER_TOKEN
    kept: list[Segment] = []
    for segment in segments:
        data = segment.text.encode("utf-8", "replace")
        if room is not None and len(data) > room:
            cut = data[:room].decode("utf-8", "ignore")
            return (*kept, replace(segment, text=cut)), wanted or Finish.LENGTH
        room = None if room is None else room - len(data)
        kept.append(segment)
    return tuple(kept), wanted or Finish.COMPLETE


def _spoilt(answer: Answer, kind: FaultKind | None) -> Answer:
    """The answer with the faults that change what is said."""
    match kind:
        case FaultKind.WHITESPACE:
            return replace(answer, segments=(Segment(text=" \n\t "),))
        case FaultKind.CONTENT_NULL:
            return replace(answer, segments=())
        case FaultKind.ONLY_THINKING:
            spent = replace(answer.counts, reasoning_tokens=answer.counts.output_tokens)
            answer = replace(answer, segments=(), thinking=_THINKING, finish=Finish.LENGTH)
            return replace(answer, counts=spent, usage=spent)
        case FaultKind.WRONG_MODEL:
            return replace(answer, model=OTHER_MODEL)
        case FaultKind.NO_CITATIONS:
            bare = tuple(replace(segment, source=None) for segment in answer.segments)
            return replace(answer, segments=bare, sources=())
        case FaultKind.CITATION_OUT_OF_RANGE:
            return replace(answer, segments=_out_of_range(answer.segments))
        case _:
            return replace(answer, usage=_reported(answer.counts, kind))


def _reported(counts: Counts, kind: FaultKind | None) -> Counts | None:
    """What is reported where ``counts`` are billed."""
    match kind:
        case FaultKind.NO_USAGE:
            return None
        case FaultKind.ZERO_USAGE:
            return Counts()
        case FaultKind.INCONSISTENT_USAGE:
            return replace(
                counts,
                cached_input_tokens=counts.input_tokens + 1000,
                reasoning_tokens=counts.output_tokens + 1000,
            )
        case _:
            return counts


def _out_of_range(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    return tuple(s if s.source is None else replace(s, source=s.source + 8) for s in segments)
