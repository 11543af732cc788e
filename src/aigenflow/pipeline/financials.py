"""The financial model in a run: drivers from an answer, figures by code, tables in the document.

Pure, except for :func:`ask_again` (one question) and :func:`draw_figures` (fonts on the machine).
Nothing is stored: the model is worked out anew from the record, so a resumed run has the same one,
and an edited ``phase3/financial_model.md`` counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.arithmetic import format_number
from aigenflow.core.charts import Chart
from aigenflow.core.errors import ConfigError
from aigenflow.core.markers import as_shared
from aigenflow.core.models import AgentType, Backend, ContextDocument, Json, Language
from aigenflow.engine.models import StepRecord
from aigenflow.export.charts import draw
from aigenflow.finance.charts import charts
from aigenflow.finance.drivers import Drivers, UnusableDriversError, read_drivers
from aigenflow.finance.model import FinancialModel, compute
from aigenflow.finance.tables import RenderedTable, render_tables
from aigenflow.finance.wording import say
from aigenflow.pipeline import phase3_strategy
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.models import Phase, Task
from aigenflow.pipeline.placing import place_figures, place_tables
from aigenflow.pipeline.sources import number_sources
from aigenflow.templates.models import Outline

MODEL_FILE = "model.json"
FIGURES_FOLDER = "figures"
TASK = "financial_model"
AGAIN = Task(
    name="financial_model_again",
    title_en="Drivers of the financial model, corrected",
    title_ko="재무 모델의 가정(수정)",
    agent=AgentType.CHATGPT,
)
_ANSWERS = (TASK, AGAIN.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Financials:
    """What the drivers gave. Without a model, ``reason`` says why, for the user, and
    ``problems`` for the agent: what it is told does not depend on the language of messages.
    """

    model: FinancialModel | None = None
    drivers: Drivers | None = None
    tables: tuple[RenderedTable, ...] = ()
    charts: tuple[Chart, ...] = ()
    repairs: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    reason: str = ""
    problems: tuple[str, ...] = ()

    def lines(self) -> Mapping[str, Decimal] | None:
        """Every figure of the model by name, for tracing the document's figures."""
        return None if self.model is None else self.model.lines()

    def describe(self) -> dict[str, Json]:
        """What the metadata say about the model."""
        return {
            "financial_model": self.model is not None,
            "financial_model_reason": self.reason or None,
            "financial_model_repairs": list(self.repairs),
        }

    def as_json(self) -> dict[str, Json] | None:
        """The content of ``model.json``, where there is a model."""
        return None if self.model is None else self.model.to_json()

    def files(self) -> dict[str, bytes]:
        """``model.json``, where there is a model."""
        if self.model is None:
            return {}
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=2, allow_nan=False)
        return {MODEL_FILE: f"{text}\n".encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Drawn figures by file name, the charts that were drawn, and what is not in the document."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    remarks: tuple[str, ...] = ()


def work_out(records: Sequence[StepRecord], language: Language) -> Financials:
    """The model that follows from the first usable answer: the task's, or the corrected one."""
    answers = {record.task: record.content for record in records if record.task in _ANSWERS}
    reason = _("No drivers were proposed.")
    problems: tuple[str, ...] = ()
    heard = [record for record in records if record.phase <= phase3_strategy.PHASE.number]
    sources = len(number_sources(heard).citations)
    for task in _ANSWERS:
        if task not in answers:
            continue
        try:
            read = read_drivers(answers[task], sources)
        except UnusableDriversError as error:
            reason, problems = error.message, error.problems
            continue
        model = compute(read.drivers)
        return Financials(
            model=model,
            drivers=read.drivers,
            tables=render_tables(model, read.drivers, language),
            charts=charts(model, read.drivers, language),
            repairs=read.repairs,
            remarks=tuple(_doubts(model)),
        )
    return Financials(reason=reason, problems=problems)


def _doubts(model: FinancialModel) -> Iterator[str]:
    """What adds up and is hard to believe: told to the user, and no reason to stop."""
    funding = model.funding.get("total")
    slack = model.unit * (len(model.uses) + len(model.sources))
    if funding is not None and model.uses and abs(model.uses_total - funding) > slack:
        yield _("The use of funds adds up to {uses}, the funding to {funding}.").format(
            uses=_amount(model.uses_total, model), funding=_amount(funding, model)
        )
    obtainable, revenue = model.market.get("som"), model.base.get("revenue", ())
    if obtainable is not None and revenue and (year_3 := revenue[:3][-1]) > obtainable:
        yield _("Revenue of {revenue} in year {year} is more than the SOM of {market}.").format(
            revenue=_amount(year_3, model),
            year=len(revenue[:3]),
            market=_amount(obtainable, model),
        )


def _amount(value: Decimal, model: FinancialModel) -> str:
    return f"{model.currency} {format_number(value, 0)}".strip()


async def ask_again(
    phase: Phase, records: Sequence[StepRecord], run: PhaseContext
) -> tuple[StepRecord, ...]:
    """Ask once more for drivers that cannot be used, with the list of what is wrong.

    The step is remembered like any other. Nothing is asked where the drivers are good, where
    nobody proposed any, or where no model wrote them.
    """
    proposed = next((record for record in records if record.task == TASK), None)
    # A rehearsal's stand-in answer has no back-end: what it will be cannot be known.
    if proposed is None or proposed.response.backend in (None, Backend.OFFLINE):
        return ()
    problems = work_out([proposed], run.spec.language).problems
    if not problems:
        return ()
    korean = run.spec.language is Language.KO
    told = (
        ContextDocument(
            id=f"phase{phase.number}.{TASK}",
            title="고쳐야 할 답" if korean else "The answer to correct",
            text=as_shared(proposed.content),
        ),
        ContextDocument(
            id="problems",
            title="고칠 점" if korean else "What is wrong with it",
            text="\n".join(f"- {problem}" for problem in problems),
        ),
    )
    once_more = replace(phase, tasks=(AGAIN,))
    return await run_phase(once_more, records, replace(run, added=told))


def with_model(records: Sequence[StepRecord], run: PhaseContext) -> PhaseContext:
    """``run`` for the phases that write: they hear the computed tables instead of the drivers."""
    financials = work_out(records, run.spec.language)
    if financials.model is None:
        return run
    heard = ContextDocument(
        id="financial_model",
        title=say("computed_title", run.spec.language),
        text=as_shared(_as_text(financials.tables)),
    )
    return replace(run, added=(heard,), silent=frozenset(_ANSWERS))


def _as_text(tables: Sequence[RenderedTable]) -> str:
    return "\n\n".join(
        "\n\n".join(filter(None, (f"## {t.caption}: `[[table:{t.id}]]`", t.markdown, t.note)))
        for t in tables
    )


def with_tables(body: str, financials: Financials, outline: Outline) -> tuple[str, tuple[str, ...]]:
    """``body`` with the computed tables in it, and remarks. Without a model it stays as written."""
    placed = place_tables(body, outline, financials.tables, outline.language)
    if financials.model is None:
        return placed.body, (
            _("There is no financial model, so no table is computed. {reason}").format(
                reason=financials.reason
            ),
        )
    if not placed.missing:
        return placed.body, ()
    return placed.body, (
        _("Computed tables whose section is not in the document: {tables}").format(
            tables=", ".join(placed.missing)
        ),
    )


def with_figures(body: str, financials: Financials, outline: Outline) -> tuple[str, Figures]:
    """``body`` with the figures that could be drawn, and the figures."""
    figures = draw_figures(financials.charts)
    placed = place_figures(body, outline, figures.charts, outline.language, FIGURES_FOLDER)
    if not placed.missing:
        return placed.body, figures
    remark = _("Figures whose section is not in the document: {figures}").format(
        figures=", ".join(placed.missing)
    )
    return placed.body, replace(figures, remarks=(*figures.remarks, remark))


def draw_figures(made: Sequence[Chart]) -> Figures:
    """Each chart as SVG and PNG. What cannot be drawn is told, and the document goes without."""
    files: dict[str, bytes] = {}
    drawn: list[Chart] = []
    remarks: dict[str, None] = {}
    for chart in made:
        try:
            both = {"svg": draw(chart, "svg"), "png": draw(chart, "png")}
        except ConfigError as error:
            remarks[f"{error.message} {error.hint}"] = None
            continue
        files |= {f"{FIGURES_FOLDER}/{chart.name}.{form}": data for form, data in both.items()}
        drawn.append(chart)
    return Figures(files=files, charts=tuple(drawn), remarks=tuple(remarks))
