"""Prompts: Jinja2 templates in a sandbox, the user's own winning over the shipped ones by name.

A template sees the topic and the outline, and nothing an agent, a brief or a web page wrote: such
texts travel beside the prompt as context documents. The system part is the same for all tasks of
one document type and language, so that providers can keep it in their prompt cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path

from jinja2 import (
    BaseLoader,
    StrictUndefined,
    TemplateNotFound,
    Undefined,
    UndefinedError,
    nodes,
)
from jinja2 import TemplateError as JinjaError
from jinja2.environment import Environment
from jinja2.exceptions import SecurityError
from jinja2.runtime import BlockReference, Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aigenflow.core.canonical import fingerprint
from aigenflow.core.errors import TemplateError
from aigenflow.core.files import read_bounded
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates.models import Outline

SHIPPED = Path(__file__).parent / "prompts"
TEMPLATE_LIMIT_BYTES = 256 * 1024
OUTPUT_LIMIT_CHARACTERS = 1_000_000
LENGTH_LIMIT = 10_000
NUMBER_LIMIT = 10**12
STEP_LIMIT = 50_000
"""Rounds of loops and calls of macros in one rendering: what bounds its time."""

TASKS: tuple[str, ...] = (
    "brainstorm",
    "validate",
    "deep_search",
    "fact_check",
    "swot_analysis",
    "narrative",
    "financial_model",
    "financial_model_again",
    "draft",
    "executive_summary",
    "charts",
    "verify",
    "final_review",
    "polish",
    "revise_1",
    "revise_2",
)
"""The tasks that have a prompt for each document type and language, in the order of the phases."""

_COUNTED = "counted rounds"
"""A filter that no template can name."""

_FILTERS = frozenset({"default", "first", "join", "last", "length", "lower", "trim", "upper"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptVariables:
    """All that a template may use, and so all that can change a prompt: no date, no chance.

    ``reads`` lists the context documents that go with the request, as (id, title).
    ``length_hint`` is a phrase in the document's language (``"800-1,200 words"``) or empty.
    """

    topic: str
    outline: Outline
    language: Language
    document_type: DocumentType
    has_brief: bool = False
    has_sources: bool = False
    reads: tuple[tuple[str, str], ...] = ()
    length_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A system text and an instruction. ``digest`` is the SHA-256 of both, 64 hex digits."""

    system: str
    prompt: str
    digest: str


class PromptLibrary:
    """The prompts of one installation; templates are compiled once and kept.

    ``user_dir`` is the folder of the user's templates: its ``prompts/bizplan/draft.en.md.j2``
    replaces the shipped file of that name, ``_base`` and ``_parts`` included.
    """

    def __init__(self, user_dir: Path | None = None) -> None:
        self._environment = _Sandbox(_Files(user_dir / "prompts" if user_dir else None))

    def render(
        self,
        document_type: DocumentType,
        task: str,
        language: Language,
        variables: PromptVariables,
    ) -> RenderedPrompt:
        """The prompt of ``task``.

        Raises ``TemplateError`` where the template is missing or broken, uses a variable that does
        not exist, does what the sandbox forbids, writes more than 1,000,000 characters, or none.
        """
        name = f"{document_type.value}/{task}.{language.value}.md.j2"
        system = self._part(name, "system", variables)
        prompt = self._part(name, "prompt", variables)
        if not prompt.strip() or prompt == system:
            raise TemplateError(
                _("Prompt template {name} has no block “prompt”.").format(name=name),
                hint=_("Begin it with {extends} and write the task in a block “prompt”.").format(
                    extends=f'{{% extends "_base.{language.value}.md.j2" %}}'
                ),
            )
        return RenderedPrompt(
            system=system, prompt=prompt, digest=fingerprint({"system": system, "prompt": prompt})
        )

    def _part(self, name: str, part: str, variables: PromptVariables) -> str:
        context = {field: getattr(variables, field) for field in _VARIABLES} | {"part": part}
        return _translating_faults(name, lambda: self._render(name, context))

    def _render(self, name: str, context: dict[str, object]) -> str:
        pieces: list[str] = []
        size = 0
        self._environment.steps = 0
        for piece in self._environment.get_template(name).generate(context):
            size += len(piece)
            if size > OUTPUT_LIMIT_CHARACTERS:
                told = _("more than {count:,} characters of output")
                raise SecurityError(told.format(count=OUTPUT_LIMIT_CHARACTERS))
            pieces.append(piece)
        return _BLANK_LINES.sub("\n\n", "".join(pieces)).strip() + "\n"


_VARIABLES = tuple(PromptVariables.__dataclass_fields__)
_BLANK_LINES = re.compile(r"\n{3,}")


class _Files(BaseLoader):
    """The user's file where there is one, else the shipped one. Names come from templates too."""

    def __init__(self, user_folder: Path | None) -> None:
        self._user_folder = user_folder

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        parts = template.split("/")
        if any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
            raise TemplateNotFound(template)
        data = self._own(parts)
        if data is None:
            shipped = SHIPPED.joinpath(*parts)
            if not shipped.is_file():
                raise TemplateNotFound(template)
            data = shipped.read_bytes()
        return data.decode("utf-8-sig"), template, lambda: True

    def _own(self, parts: list[str]) -> bytes | None:
        if self._user_folder is None:
            return None
        path = self._user_folder.joinpath(*parts)
        return read_bounded(path, TEMPLATE_LIMIT_BYTES) if path.is_file() else None


class _Sandbox(ImmutableSandboxedEnvironment):
    """Data, loops, macros and a few filters: a prompt needs no method and no function.

    ``steps`` counts what the rendering under way has done: nested loops that write nothing, and
    macros that call themselves twice, would otherwise go on for ever.

    Jinja's own sandbox stops attribute tricks but lets ``'x' * 10**7`` and ``'%9999999d' % 1``
    fill the memory; here nothing but macros can be called, and results of operators are bounded.
    """

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=False,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.globals.clear()
        self.steps = 0
        self.filters = {name: self.filters[name] for name in _FILTERS} | {
            "quoted": _quoted,
            _COUNTED: self._counted,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        for loop in template.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        template.set_environment(self)
        return template

    def call(self, context: Context, obj: object, *args: object, **kwargs: object) -> object:
        self._step(1)
        return super().call(context, obj, *args, **kwargs)

    def _counted(self, items: Iterable[object]) -> list[object]:
        """What a loop runs over, once its rounds are accounted for."""
        rounds = list(items)
        self._step(len(rounds))
        return rounds

    def _step(self, steps: int) -> None:
        self.steps += steps
        if self.steps > STEP_LIMIT:
            told = _("more than {count:,} rounds of loops and calls of macros")
            raise SecurityError(told.format(count=STEP_LIMIT))

    def is_safe_callable(self, obj: object) -> bool:
        # Calling an undefined name fails by itself, and then says which name.
        return isinstance(obj, Macro | BlockReference | Undefined)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError(_("formatting with % is not allowed"))
        _refuse_large(operator, left, right)
        return super().call_binop(context, operator, left, right)


def _refuse_large(operator: str, left: object, right: object) -> None:
    """Raise ``SecurityError`` where an operator could make a huge text, list or number."""
    lengths = [len(operand) for operand in (left, right) if isinstance(operand, Sized)]
    numbers = [abs(operand) for operand in (left, right) if isinstance(operand, int | float)]
    if any(n > LENGTH_LIMIT for n in lengths) or any(n > NUMBER_LIMIT for n in numbers):
        raise SecurityError(_("an operand of {sign} is too large").format(sign=operator))
    repeated = operator == "*" and any(n * m > LENGTH_LIMIT for n in lengths for m in numbers)
    if repeated or (operator == "**" and any(n > NUMBER_LIMIT.bit_length() for n in numbers)):
        raise SecurityError(_("the result of {sign} is too large").format(sign=operator))


def _quoted(value: str) -> str:
    """A text from outside on one line, between quotation marks, as data."""
    return json.dumps(" ".join(value.split()), ensure_ascii=False)


def _translating_faults(name: str, render: Callable[[], str]) -> str:
    try:
        return render()
    except TemplateNotFound as error:
        raise TemplateError(
            _("There is no prompt template {name}.").format(name=error.name),
            hint=_("Tasks with a prompt: {tasks}.").format(tasks=", ".join(TASKS)),
        ) from error
    except UndefinedError as error:
        raise TemplateError(
            _("Prompt template {name} uses something that does not exist: {what}.").format(
                name=name, what=error.message
            ),
            hint=_("A template can use: {names}.").format(names=", ".join(_VARIABLES)),
        ) from error
    except SecurityError as error:
        raise TemplateError(
            _("Prompt template {name} does what templates may not do: {what}.").format(
                name=name, what=error.message
            ),
            hint=_("Templates can show variables, loop over them and use macros; nothing else."),
        ) from error
    except (JinjaError, ValueError, TypeError, ArithmeticError, RecursionError, OSError) as error:
        # A template can divide by zero, add text to numbers or include itself: all its own faults.
        raise TemplateError(
            _("Prompt template {name} cannot be used: {what}.").format(
                name=name, what=str(error).rstrip(".")
            ),
            hint=_("Compare it with the shipped templates in {folder}.").format(folder=SHIPPED),
        ) from error
