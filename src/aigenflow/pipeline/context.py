"""Fitting what an agent hears into its model's window. Pure.

Nothing is bought to make things shorter: a text is condensed by keeping its headings, its tables,
its lines with figures and sources, and the first sentence of each paragraph, as far as they fit.
The oldest results are condensed first; assignment, brief and sources are never touched.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from gettext import gettext as _

from aigenflow.core.errors import TooLargeError
from aigenflow.core.models import AgentRequest, ContextDocument, ContextKind, Route

BYTES_PER_TOKEN = 3
MARKER_TOKENS = 60
_SMALLEST_SHARE = 0.1
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A request that fits, and what was left out of it, in sentences for the user."""

    request: AgentRequest
    omissions: tuple[str, ...] = ()


def estimate_tokens(text: str) -> int:
    """An upper guess of how many tokens ``text`` has, without any model's tokenizer."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def fit_request(request: AgentRequest, route: Route) -> Fitted:
    """``request`` cut to the window of the route's model.

    Raises :class:`~aigenflow.core.errors.TooLargeError` where the untouchable part alone is too
    large.
    """
    window = route.context_window_tokens
    output = min(request.max_output_tokens, window // 3)
    request = replace(request, max_output_tokens=output)
    room = window - output - estimate_tokens(request.system + request.prompt)
    documents, omissions = list(request.context), []
    for index, document in enumerate(documents):
        excess = _tokens(documents) - room
        if excess <= 0:
            break
        if document.kind is not ContextKind.RESULT:
            continue
        size = estimate_tokens(document.text)
        target = max(size - excess, int(size * _SMALLEST_SHARE))
        short = condense(document.text, target * BYTES_PER_TOKEN)
        documents[index] = replace(document, text=short)
        omissions.append(_omission(document, short))
    if _tokens(documents) > room:
        raise TooLargeError(
            _("{task} needs about {needed} tokens of input, and {model} takes {room}.").format(
                task=request.task, needed=_tokens(documents), model=route.model, room=room
            ),
            hint=_("Shorten the brief, or use a model with a larger window."),
        )
    return Fitted(request=replace(request, context=tuple(documents)), omissions=tuple(omissions))


def condense(text: str, limit_bytes: int) -> str:
    """The most telling lines of ``text``, in their order, in at most ``limit_bytes`` of UTF-8."""
    lines = [_shorten_line(line) for line in text.splitlines() if line.strip()]
    chosen: set[int] = set()
    used = 0
    for index in sorted(range(len(lines)), key=lambda i: (_rank(lines[i]), i)):
        size = len(lines[index].encode("utf-8", "replace")) + 1
        if used + size <= limit_bytes:
            chosen.add(index)
            used += size
    return "\n".join(lines[index] for index in sorted(chosen))


def _tokens(documents: list[ContextDocument]) -> int:
    return sum(estimate_tokens(document.text) + MARKER_TOKENS for document in documents)


def _rank(line: str) -> int:
    start = line.lstrip()
    if start.startswith("#"):
        return 0
    if start.startswith("|"):
        return 1
    return 2 if any(character.isdigit() for character in start) else 3


def _shorten_line(line: str) -> str:
    if line.lstrip().startswith(("#", "|", "-", "*")):
        return line.rstrip()
    sentences = _SENTENCE_END.split(line.strip())
    kept = [s for n, s in enumerate(sentences) if n == 0 or any(c.isdigit() for c in s)]
    return " ".join(kept)


def _omission(document: ContextDocument, short: str) -> str:
    return _("{title}: {kept} of {all} characters were passed on").format(
        title=document.title, kept=len(short), all=len(document.text)
    )
