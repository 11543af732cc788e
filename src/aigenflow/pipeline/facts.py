"""Where every figure of a document comes from: the brief, a source, the model, an assumption. Pure.

A figure counts as said by a source where the source's own title or quotation has it, in a unit
that agrees, as far as the document shows it: ``3.5억`` is said by 352,000,000, and not by
360,000,000. What an agent wrote is never a source: a figure that it was told to write is an orphan.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from gettext import gettext as _
from io import StringIO

from pydantic import TypeAdapter, ValidationError

from aigenflow.core.arithmetic import ratio, total
from aigenflow.core.errors import InputError, SessionDamagedError
from aigenflow.core.evidence import Evidence, Fact, Origin
from aigenflow.core.numbers import PERCENT_POINT, Figure, find_figures, units_agree
from aigenflow.core.quantities import PERCENT, Quantity, parse_quantity
from aigenflow.pipeline.evidence import said
from aigenflow.pipeline.statements import Statement, find_statements
from aigenflow.templates.brief import parse_brief

FACTS_FILE = "facts.yaml"
_SENTENCE_CHARACTERS = 300
_DIGITS_THAT_TELL = 3
_LARGEST_RATIO = Decimal(10)
_ASSUMED = re.compile(
    r"\[(?:가정|추정|추산|목표|전제|assum|estimat|target|projected|goal)[^\[\]]{0,80}\]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One statement and the facts in it; a statement without a figure may still cite."""

    statement: Statement
    facts: tuple[Fact, ...]


def trace_facts(
    body: str,
    evidence: Sequence[Evidence],
    brief: str,
    model: Mapping[str, Decimal] | None = None,
    *,
    topic: str = "",
) -> tuple[Fact, ...]:
    """Every figure of ``body``, whose marks ``[n]`` are numbers of ``evidence``, with its origin.

    ``model`` has the lines of the financial model by name, amounts in whole currency and ratios
    as fractions. ``topic`` is the user's word as well as ``brief`` is.
    """
    traced = trace_statements(body, evidence, brief, model, topic=topic)
    return tuple(fact for each in traced for fact in each.facts)


def trace_statements(
    body: str,
    evidence: Sequence[Evidence],
    brief: str,
    model: Mapping[str, Decimal] | None = None,
    *,
    topic: str = "",
) -> Iterator[Traced]:
    """Every statement of ``body`` with its facts, as :func:`trace_facts` finds them."""
    known = _Known.of(evidence, brief, topic, model or {})
    count = 0
    for statement in find_statements(body):
        facts = []
        for figure in statement.figures:
            count += 1
            origin, source = known.origin(figure, statement)
            facts.append(
                Fact(
                    id=f"f{count}",
                    text=figure.text,
                    section=statement.section,
                    sentence=shortened(statement.text, _SENTENCE_CHARACTERS),
                    origin=origin,
                    source=source,
                )
            )
        yield Traced(statement=statement, facts=tuple(facts))


def count_origins(facts: Iterable[Fact]) -> dict[str, int]:
    """How many facts come from where, by origin."""
    counts = {origin.value: 0 for origin in Origin}
    for fact in facts:
        counts[fact.origin.value] += 1
    return counts


def as_yaml(facts: Iterable[Fact]) -> bytes:
    """The content of ``facts.yaml``: a list of mappings, every value a quoted string."""
    lines = ["facts:" if (listed := list(facts)) else "facts: []"]
    for fact in listed:
        fields = fact.model_dump(mode="json").items()
        lines.extend(
            f"{'- ' if n == 0 else '  '}{name}: {_quoted(value)}"
            for n, (name, value) in enumerate(fields)
        )
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _quoted(value: str) -> str:
    """A JSON string that YAML takes as well: it does not allow every character that JSON does."""
    quoted = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


_NOT_IN_YAML = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_facts(text: str) -> tuple[Fact, ...]:
    """The facts in a ``facts.yaml``. Raises ``SessionDamagedError``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe").load(StringIO(text))
        return _FACTS.validate_python(value["facts"] if isinstance(value, dict) else value)
    except (YAMLError, ValidationError, KeyError, ValueError, RecursionError) as error:
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(
                file=FACTS_FILE, problem=" ".join(str(error).split())[:200]
            ),
            hint=_("`aigenflow resume` writes the file anew, without any call."),
        ) from error


def shortened(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


_FACTS = TypeAdapter(tuple[Fact, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The figures that have an origin, ready to be asked for."""

    cited: Mapping[int, _Values]
    brief: _Values
    model: _Values
    evidence: _Values

    @classmethod
    def of(
        cls, evidence: Sequence[Evidence], brief: str, topic: str, model: Mapping[str, Decimal]
    ) -> _Known:
        found = {each.number: list(_said(each)) for each in evidence}
        return cls(
            cited={number: _Values(values) for number, values in found.items()},
            brief=_Values(_given(brief, topic)),
            model=_Values(_computed(model)),
            evidence=_Values(value for values in found.values() for value in values),
        )

    def origin(self, figure: Figure, statement: Statement) -> tuple[Origin, str]:
        """Where ``figure`` comes from: what its statement cites counts before all else."""
        for number in statement.numbers:
            values = self.cited.get(number)
            if values is not None and (source := values.that_says(figure)):
                return Origin.EVIDENCE, source
        if source := self.brief.that_says(figure):
            return Origin.BRIEF, source
        if _tells(figure) and (source := self.model.that_says(figure)):
            return Origin.MODEL, source
        if _ASSUMED.search(statement.text) or _ASSUMED.search(statement.surroundings):
            return Origin.ASSUMPTION, ""
        if _tells(figure) and (source := self.evidence.that_says(figure)):
            return Origin.EVIDENCE, source
        return Origin.UNKNOWN, ""


_Value = tuple[Decimal, str, str]  # amount, unit, what said it


def _amount(value: _Value) -> Decimal:
    return value[0]


class _Values:
    """Known figures in the order of their amounts; of equal ones, the first named wins."""

    def __init__(self, values: Iterable[_Value]) -> None:
        self._values = sorted(values, key=_amount)

    def that_says(self, figure: Figure) -> str:
        """What says ``figure``, as far as it is shown; empty where nothing does."""
        lowest = figure.quantity.value - figure.precision / 2
        start = bisect.bisect_left(self._values, lowest, key=_amount)
        for amount, unit, source in self._values[start:]:
            if not figure.shows(amount):
                break
            if units_agree(figure.quantity.unit, unit):
                return source
        return ""


def _said(evidence: Evidence) -> Iterator[_Value]:
    for figure in said(evidence.title, evidence.quote):
        yield figure.quantity.value, figure.quantity.unit, evidence.id


def _given(brief: str, topic: str) -> Iterator[_Value]:
    """What the user wrote: by the key of the brief, else by the heading of the note."""
    yield from _figures_of(topic, "topic")
    try:
        parsed = parse_brief(brief)
    except InputError:  # a brief that is no YAML is a text all the same
        yield from _figures_of(brief, "brief")
        return
    for key, text in parsed.facts.items():
        yield from _figures_of(text, key)
    yield from _shared_out(parsed.facts)
    for note in parsed.notes:
        yield from _figures_of(note.text, note.heading or "brief")
    yield from _figures_of(brief, "brief")


def _shared_out(facts: Mapping[str, str]) -> Iterator[_Value]:
    """The sums and shares of the funds in a brief, which no writer can do without."""
    keys = ("government_funding", "own_funding_cash", "own_funding_in_kind")
    given = {key: parse_quantity(facts.get(key, "")) for key in keys}
    funds = {key: quantity for key, quantity in given.items() if quantity is not None}
    if len({quantity.unit for quantity in funds.values()}) != 1:
        return
    own_keys = [key for key in keys[1:] if key in funds]
    own = total(funds[key].value for key in own_keys)
    whole = total(quantity.value for quantity in funds.values())
    unit = next(iter(funds.values())).unit
    yield own, unit, " + ".join(own_keys)
    yield whole, unit, " + ".join(funds)
    for key, quantity in funds.items():
        if (share := ratio(quantity.value, whole)) is not None:
            yield share * 100, PERCENT, f"{key} / total"
    if own_keys and (share := ratio(own, whole)) is not None:
        yield share * 100, PERCENT, f"{' + '.join(own_keys)} / total"


def _figures_of(text: str, source: str) -> Iterator[_Value]:
    for line in text.splitlines():
        for figure in find_figures(line):
            yield figure.quantity.value, figure.quantity.unit, source


def _computed(model: Mapping[str, Decimal]) -> Iterator[_Value]:
    """A loss may be written without its sign, and a ratio as per cent."""
    for name, amount in model.items():
        yield amount, "", name
        if amount < 0:
            yield -amount, "", name
        if abs(amount) <= _LARGEST_RATIO:
            yield abs(amount) * 100, PERCENT, name


def _tells(figure: Figure) -> bool:
    """Whether equality is more than chance: money, shares, or enough digits."""
    quantity: Quantity = figure.quantity
    digits = len(re.sub(r"\D", "", figure.text).strip("0"))
    return (
        quantity.is_money
        or quantity.unit in (PERCENT, PERCENT_POINT)
        or (digits >= _DIGITS_THAT_TELL)
    )
