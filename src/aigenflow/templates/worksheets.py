"""The tasks beside the document itself: worksheets a founder can fill, one pure function each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from aigenflow.core.arithmetic import (
    format_number,
    format_percent,
    growth,
    percent_shares,
    ratio,
)
from aigenflow.core.markdown import clean, clean_cell, render_table
from aigenflow.templates.assessment import (
    SUMMARY_SECTION,
    Job,
    all_sums,
    claims,
    doubt_line,
    gaps,
    missing_in,
    missing_keys,
    risky_lines,
    sections_with,
    wanted_keys,
    weight_of,
)
from aigenflow.templates.figures import YearFigures, at_volume
from aigenflow.templates.tables import fill_table
from aigenflow.templates.wording import (
    canvas_blocks,
    pestel_questions,
    scope_blocks,
    search_patterns,
    source_kinds,
    story_steps,
    trl_names,
)

_BAR_LENGTH = 20
_LOG_ROWS = 5
_PERSONAS = 3


def notice(job: Job) -> str:
    """The block at the top of everything made here: no AI wrote this, and what it is instead."""
    body = job.say("notice_body" if job.has_brief else "notice_body_empty")
    return f"> **{job.say('notice')}** {body}\n>\n> {job.say('next_step')}"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _page(job: Job, title: str, *blocks: str) -> str:
    head = f"# {job.say(title, topic=clean(job.topic))}"
    return "\n\n".join([head, notice(job), *filter(None, blocks)]) + "\n"


def _heading(job: Job, key: str) -> str:
    return f"## {job.say(key)}"


def _columns(job: Job, key: str) -> list[str]:
    return job.say(key).split("|")


def _facts_cell(job: Job, keys: Sequence[str]) -> str:
    """Facts for a cell: the bare text of one, labelled texts of several."""
    known = [key for key in keys if key in job.brief.facts]
    if len(known) == 1:
        return clean_cell(job.inline(known[0]))
    return clean_cell(" / ".join(f"{job.label(key)}: {job.inline(key)}" for key in known))


# ---- phase 1 -----------------------------------------------------------------------------------


def brainstorm(job: Job) -> str:
    """A business model canvas (bizplan) or the problem and its scope (rd)."""
    blocks = scope_blocks(job.language) if job.is_rd else canvas_blocks(job.language)
    header = [job.say("block"), job.say("in_brief"), job.say("to_settle")]
    rows = [(name, _facts_cell(job, keys), question) for name, keys, question in blocks]
    table = render_table(header, rows)
    if job.is_rd:
        return _page(job, "scope_title", _heading(job, "scope"), table)
    return _page(
        job,
        "canvas_title",
        _heading(job, "canvas"),
        table,
        _heading(job, "usp"),
        _usp(job),
        _heading(job, "personas"),
        _personas(job),
    )


def _usp(job: Job) -> str:
    keys = ("customers", "problem", "product", "solution", "competitors", "advantages")
    parts = {key: _first_line(job, key) for key in keys}
    rivals = [clean(entry.label) for entry in job.brief.entries("competitors")]
    if rivals:
        parts["competitors"] = ", ".join(rivals)
    return job.say("usp_parts", **parts)


def _first_line(job: Job, key: str) -> str:
    return next((clean(entry.short) for entry in job.brief.entries(key)), job.say("to_fill"))


def _personas(job: Job) -> str:
    header = _columns(job, "persona_columns")
    known = [clean_cell(line) for line in job.brief.lines("customers")][:_PERSONAS]
    names = known + [job.say("to_fill")] * (_PERSONAS - len(known))
    return render_table(header, [(name, *[""] * (len(header) - 1)) for name in names])


def validate(job: Job) -> str:
    """What is known, what is missing, and what does not fit together."""
    wanted = wanted_keys(job)
    known = [key for key in wanted if key in job.brief.facts]
    missing = missing_keys(job)
    needed = job.say("needed_in")
    known_table = render_table(
        [job.say("fact"), job.say("in_brief"), needed],
        [
            (job.label(key), _facts_cell(job, [key]), clean_cell(sections_with(job, key)))
            for key in known
        ],
    )
    missing_table = render_table(
        [job.say("fact"), needed],
        [(job.label(key), clean_cell(sections_with(job, key))) for key in missing],
    )
    return _page(
        job,
        "validate_title",
        job.say("validate_count", known=len(known), total=len(wanted)),
        _heading(job, "doubts"),
        doubts(job),
        _heading(job, "missing_facts"),
        missing_table if missing else job.say("none"),
        _heading(job, "known_facts"),
        known_table if known else job.say("none"),
    )


def doubts(job: Job) -> str:
    """Contradictions as bullets, or the sentence that there are none."""
    if job.figures.doubts:
        return bullets(doubt_line(job, doubt) for doubt in job.figures.doubts)
    compared = bool(job.figures.amounts or job.figures.years)
    return job.say("no_doubts" if compared else "nothing_to_compare")


# ---- phase 2 -----------------------------------------------------------------------------------


def deep_search(job: Job) -> str:
    """What to look for and where; nothing is searched and nothing invented."""
    document_type = job.outline.document_type
    rivals = [clean(entry.label) for entry in job.brief.entries("competitors")]
    queries = [
        " ".join(
            pattern.format(
                topic=clean(job.topic), region=job.inline("region"), rival=" ".join(rivals[:3])
            ).split()
        )
        for pattern in search_patterns(document_type, job.language)
    ]
    log = _columns(job, "log_columns")
    return _page(
        job,
        "research_title",
        job.say("research_intro"),
        _heading(job, "sources"),
        render_table(_columns(job, "source_columns"), source_kinds(document_type, job.language)),
        _heading(job, "queries"),
        bullets(f"`{query.replace('`', ' ')}`" for query in queries),
        _heading(job, "log"),
        render_table(
            log, [(job.say("to_fill"), *[""] * (len(log) - 1)) for _row in range(_LOG_ROWS)]
        ),
    )


def fact_check(job: Job) -> str:
    """Every figure of the brief, with what would prove it."""
    return _page(job, "claims_title", job.say("claims_intro"), claims_table(job))


def claims_table(job: Job) -> str:
    """The figures of the brief, each not verified."""
    rows = [
        (
            str(number),
            clean_cell(claim.label),
            clean_cell(claim.text),
            claim.proof,
            job.say("not_verified"),
        )
        for number, claim in enumerate(claims(job), start=1)
    ]
    if not rows:
        return job.say("claims_none")
    return render_table(_columns(job, "claim_columns"), rows)


# ---- phase 3 -----------------------------------------------------------------------------------


def swot_analysis(job: Job) -> str:
    """SWOT, TOWS and PESTEL to fill in; for research also the TRL path; sensitivity to volume."""
    title = "swot_title_rd" if job.is_rd else "swot_title"
    ladder = (_heading(job, "trl_ladder"), _trl_ladder(job)) if job.is_rd else ()
    return _page(
        job,
        title,
        *ladder,
        "## SWOT",
        _swot(job),
        _heading(job, "tows"),
        _tows(job),
        _heading(job, "pestel"),
        _pestel(job),
        *(() if job.is_rd and not job.figures.years else (_heading(job, "scenarios"),)),
        *(() if job.is_rd and not job.figures.years else (sensitivity(job),)),
    )


def _swot(job: Job) -> str:
    vital = [job.label(key) for key in missing_keys(job) if weight_of(job, key) > 1]
    weak = job.say("not_in_brief", facts=", ".join(vital)) if vital else ""
    fields = {
        "strengths": _facts_cell(job, ("advantages", "technology", "prior_work", "team")),
        "weaknesses": clean_cell(weak),
        "opportunities": _facts_cell(job, ("market", "market_size", "growth")),
        "threats": _facts_cell(job, ("risks", "competitors", "regulation")),
    }
    rows = [(job.say(name), cell, job.say(f"ask_{name}")) for name, cell in fields.items()]
    return render_table(_columns(job, "swot_columns"), rows)


def _tows(job: Job) -> str:
    rows = [(pair.upper(), job.say(f"tows_{pair}"), "") for pair in ("so", "st", "wo", "wt")]
    return render_table(_columns(job, "tows_columns"), rows)


def _pestel(job: Job) -> str:
    *others, legal = pestel_questions(job.language)
    rows = [(force, question, "") for force, question in others]
    rows.append((*legal, _facts_cell(job, ("regulation",))))
    return render_table(_columns(job, "pestel_columns"), rows)


def sensitivity(job: Job) -> str:
    """The last year's volume at 80, 100 and 120 per cent."""
    years = [year for year in job.figures.years if year.revenue is not None]
    if not years:
        return job.say("no_scenarios")
    factors = (Decimal("0.8"), Decimal(1), Decimal("1.2"))
    columns = [at_volume(job.figures, years[-1], factor) for factor in factors]
    volume, revenue, _growth, gross, operating, _bar = _columns(job, "revenue_columns")[1:]
    rows = [
        (volume, *(job.counted(year.volume) for year in columns)),
        (revenue, *(job.money(year.revenue) for year in columns)),
        (gross, *(job.money(year.gross_profit) for year in columns)),
        (operating, *(job.money(year.operating_profit) for year in columns)),
    ]
    intro = job.say("scenarios_intro", year=years[-1].year)
    return f"{intro}\n\n{render_table(_columns(job, 'scenario_columns'), rows)}"


def _trl_ladder(job: Job) -> str:
    start, target = job.brief.quantity("trl_start"), job.brief.quantity("trl_target")
    if start is None or target is None or start.value >= target.value:
        return job.say("trl_unknown")
    rows = []
    for level, name in enumerate(trl_names(job.language), start=1):
        if start.value <= level <= target.value:
            place = {start.value: "trl_here", target.value: "trl_goal"}.get(
                Decimal(level), "trl_between"
            )
            rows.append((f"TRL {level}", name, job.say(place), ""))
    return render_table(_columns(job, "trl_columns"), rows)


def narrative(job: Job) -> str:
    """The line of argument, step by step, with what carries each step; for plans also a pitch."""
    steps = story_steps(job.outline.document_type, job.language)
    rows = [(name, _facts_cell(job, keys), must) for name, keys, must in steps]
    table = render_table(_columns(job, "story_columns"), rows)
    if job.is_rd:
        return _page(job, "story_title", table)
    pitch = "\n".join(
        f"{number}. **{name}**: {_pitch_line(job, keys)}"
        for number, (name, keys, _must) in enumerate(steps, start=1)
    )
    return _page(job, "story_title", table, _heading(job, "pitch"), pitch)


def _pitch_line(job: Job, keys: Sequence[str]) -> str:
    first = next((key for key in keys if key in job.brief.facts), None)
    return _first_line(job, first) if first else job.say("to_fill")


# ---- phase 4 -----------------------------------------------------------------------------------


def charts(job: Job) -> str:
    """Every table that can be computed from the brief, with how it was computed."""
    tables = [
        (name, table)
        for name, table in (
            ("revenue_table", _revenue_table(job)),
            ("scenarios", sensitivity(job) if job.figures.price is not None else ""),
            ("market_table", _market_table(job)),
            ("uses_table", _uses_table(job)),
            ("funding_table", _funding_table(job)),
        )
        if table
    ]
    blocks = [block for name, table in tables for block in (_heading(job, name), table)]
    sums = all_sums(job)
    if sums:
        blocks += [_heading(job, "worked_out"), bullets(sums)]
    return _page(job, "charts_title", *(blocks or [job.say("charts_none")]))


def _revenue_table(job: Job) -> str:
    years = [year for year in job.figures.years if year.revenue is not None]
    if not years:
        return ""
    most = max(year.revenue for year in years if year.revenue is not None)
    before: list[YearFigures | None] = [None, *years]
    rows = [
        _revenue_row(job, year, previous, most)
        for year, previous in zip(years, before, strict=False)
    ]
    return render_table(_columns(job, "revenue_columns"), rows)


def _revenue_row(
    job: Job, year: YearFigures, previous: YearFigures | None, most: Decimal
) -> tuple[str, ...]:
    revenue = year.revenue or Decimal(0)
    rate = None
    if previous is not None and previous.revenue is not None and previous.year == year.year - 1:
        rate = growth(previous.revenue, revenue)
    volume = job.counted(year.volume)
    length = int(revenue / most * _BAR_LENGTH) if most > 0 else 0
    return (
        job.say("year", year=year.year),
        job.say("projected", volume=volume) if year.projected else volume,
        job.money(revenue),
        "" if rate is None else format_percent(rate),
        job.money(year.gross_profit),
        job.money(year.operating_profit),
        "█" * max(length, 1 if revenue > 0 else 0),
    )


def _market_table(job: Job) -> str:
    sizes = [
        (key, job.figures.amounts[key])
        for key in ("tam", "sam", "som")
        if key in job.figures.amounts
    ]
    if not sizes:
        return ""
    rows = []
    above: Decimal | None = None
    for key, amount in sizes:
        share = ratio(amount, above) if above is not None else None
        rows.append(
            (job.label(key), job.money(amount), "" if share is None else format_percent(share))
        )
        above = amount
    return render_table(_columns(job, "market_columns"), rows)


def _uses_table(job: Job) -> str:
    figures = job.figures
    if figures.uses_total is None:
        return ""
    rows = [
        (
            clean_cell(use.label),
            job.money(use.amount),
            "" if use.share is None else _percent(use.share),
        )
        for use in figures.uses
    ]
    rows.append((job.say("total"), job.money(figures.uses_total), "100%"))
    return render_table(_columns(job, "uses_columns"), rows)


def _percent(share: Decimal) -> str:
    return f"{format_number(share, 1)}%"


def _funding_table(job: Job) -> str:
    funding = job.figures.funding
    if funding is None:
        return ""
    parts = (funding.government, funding.own_cash, funding.own_in_kind)
    shares = percent_shares(parts)
    if not shares:
        return ""
    keys = ("government_funding", "own_funding_cash", "own_funding_in_kind")
    rows = [
        (job.label(key), job.money(amount), _percent(share))
        for key, amount, share in zip(keys, parts, shares, strict=True)
    ]
    rows.append((job.say("own_total"), job.money(funding.own), _percent(shares[1] + shares[2])))
    rows.append((job.say("total"), job.money(funding.total), "100%"))
    return render_table(_columns(job, "funding_columns"), rows)


# ---- phase 5 -----------------------------------------------------------------------------------


def verify(job: Job) -> str:
    """The sums that could be checked, and every figure that could not."""
    sums = all_sums(job)
    return _page(
        job,
        "verify_title",
        job.say("verify_intro"),
        _heading(job, "sums"),
        doubts(job),
        bullets(sums),
        _heading(job, "claims"),
        claims_table(job),
    )


def final_review(job: Job) -> str:
    """What to put right first, and the gaps section by section, most important first."""
    first = [*(doubt_line(job, doubt) for doubt in job.figures.doubts), *risky_lines(job)]
    rows = []
    order = [gap.section for gap in gaps(job)]
    order += [s for s in job.outline.sections if s not in order and _empty_tables(job, s.id)]
    for number, section in enumerate(
        (section for section in order if section.id != SUMMARY_SECTION), start=1
    ):
        missing = ", ".join(job.label(key) for key in missing_in(job, section))
        empty = ", ".join(_empty_tables(job, section.id))
        rows.append((str(number), *map(clean_cell, (section.heading, missing, empty))))
    return _page(
        job,
        "review_title",
        _heading(job, "review_first"),
        bullets(first) or job.say("none"),
        _heading(job, "review_sections"),
        render_table(_columns(job, "review_columns"), rows) if rows else job.say("none"),
    )


def _empty_tables(job: Job, section_id: str) -> list[str]:
    section = next(s for s in job.outline.sections if s.id == section_id)
    facts = frozenset(key for key in section.facts if key in job.brief.facts)
    return [
        table.caption for table in section.tables if fill_table(table, job.plan, facts).filled == 0
    ]
