"""Q05 to Q09: what figures and citations rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aigenflow.core.evidence import Evidence, Origin
from aigenflow.core.numbers import Figure, find_figures
from aigenflow.quality.case import (
    NOT_APPLICABLE,
    Case,
    Outcome,
    claims,
    domain,
    is_claim,
    no_findings,
    outcome,
    plain_url,
    unverifiable,
)
from aigenflow.quality.document import Statement
from aigenflow.quality.models import Finding, State

MARKET_COVERAGE = 0.95
COVERAGE = 0.85
MATCHED = 0.9


def number_coverage(case: Case) -> Outcome:
    """Q05: numeric sentences with a citation or a mark / numeric sentences.

    A sentence whose figures are all the client's own or the model's needs no other source.
    """
    numeric = [each for each in case.document.statements if claims(each)]
    if not numeric:
        return NOT_APPLICABLE
    bare = [each for each in numeric if not _is_covered(case, each)]
    market = [each for each in numeric if case.has_theme(each.section, "market")]
    bare_market = [each for each in bare if case.has_theme(each.section, "market")]
    findings = [_uncited(case, each) for each in (*bare_market, *_rest(bare, bare_market))]
    in_market = 1 - len(bare_market) / max(1, len(market))
    everywhere = 1 - len(bare) / len(numeric)
    if in_market >= MARKET_COVERAGE and everywhere >= COVERAGE:
        state = State.PASS
    else:
        state = State.FAIL if in_market < MARKET_COVERAGE else State.WARN
    return Outcome(
        state=state,
        metric=round(in_market if in_market < MARKET_COVERAGE else everywhere, 4),
        share=min(1.0, in_market / MARKET_COVERAGE, everywhere / COVERAGE),
        findings=tuple(findings) if state is not State.PASS else (),
    )


def _rest(all_of: Sequence[Statement], but: Sequence[Statement]) -> Iterable[Statement]:
    taken = {id(each) for each in but}
    return (each for each in all_of if id(each) not in taken)


def _is_covered(case: Case, statement: Statement) -> bool:
    if statement.marks or statement.is_tagged:
        return True
    return all(case.is_our_own(figure) for figure in claims(statement))


def _uncited(case: Case, statement: Statement) -> Finding:
    in_market = case.has_theme(statement.section, "market")
    return case.finding(
        "Q05",
        quote=statement.text,
        section=statement.section,
        expected=case.say(
            "a citation, or [assumption], [target], [estimate]", "인용 또는 [가정]·[목표]·[추정]"
        ),
        found=case.say("a figure without a source", "출처 없는 수치"),
        severity="error" if in_market else "warning",
    )


def citation_integrity(case: Case) -> Outcome:
    """Q06: marks that resolve and references that are used."""
    listed = {each.number: each for each in case.document.references}
    used = {mark: each for each in case.document.statements for mark in each.marks}
    if not listed and not used:
        return NOT_APPLICABLE
    findings = [
        case.finding(
            "Q06",
            quote=used[mark].text,
            section=used[mark].section,
            expected=case.say(f"[{mark}] in the references", f"참고 자료의 [{mark}]"),
            found=case.say("no such reference", "목록에 없는 번호"),
        )
        for mark in sorted(set(used) - set(listed))
    ]
    findings += [
        case.finding(
            "Q06",
            quote=listed[number].text,
            expected=case.say("a place that cites it", "인용한 곳"),
            found=case.say(f"[{number}] is never cited", f"[{number}]: 본문에서 인용하지 않음"),
        )
        for number in sorted(set(listed) - set(used))
    ]
    return outcome(1 - len(findings) / len(set(listed) | set(used)), 1.0, findings)


def citation_provenance(case: Case) -> Outcome:
    """Q07: cited addresses that some agent really returned."""
    if case.inputs.evidence is None:
        return _needs_evidence(case)
    links = case.document.links
    if not links:
        return NOT_APPLICABLE
    brief = case.inputs.brief or ""
    known = case.evidence_by_url
    foreign = [url for url in links if plain_url(url) not in known and url not in brief]
    findings = [
        case.finding(
            "Q07",
            quote=url,
            expected=case.say("an address that research returned", "조사에서 찾은 주소"),
            found=case.say("not among the evidence", "근거 목록에 없음"),
        )
        for url in foreign
    ]
    return outcome(1 - len(foreign) / len(links), 1.0, findings)


def number_source_match(case: Case) -> Outcome:
    """Q08: cited numbers that the evidence really has, as far as they are shown.

    Evidence without any figure can neither confirm nor refute: it counts as not verified.
    """
    if case.inputs.evidence is None:
        return _needs_evidence(case)
    matched, missing, unknown = 0, [], 0
    values = {number: _said(each) for number, each in case.evidence_by_mark.items()}
    for statement in case.document.statements:
        sources = [values[mark] for mark in statement.marks if mark in values]
        if not sources or statement.is_tagged:
            continue
        for figure in case.claims_of(statement):
            if case.is_our_own(figure):
                continue
            if any(_agree(figure, said) for source in sources for said in source):
                matched += 1
            elif all(sources):
                missing.append((statement, figure))
            else:
                unknown += 1
    return _match_outcome(case, matched, missing, unknown)


def _match_outcome(
    case: Case, matched: int, missing: Sequence[tuple[Statement, Figure]], unknown: int
) -> Outcome:
    if not matched + len(missing) + unknown:
        return NOT_APPLICABLE
    findings = tuple(
        case.finding(
            "Q08",
            quote=statement.text,
            section=statement.section,
            expected=case.say("the figure in the cited source", "인용한 출처에 있는 수치"),
            found=case.say(
                f"{figure.text} is not in the source", f"{figure.text}: 출처에서 찾지 못함"
            ),
            severity="error" if case.has_theme(statement.section, "market") else "warning",
        )
        for statement, figure in missing
    )
    total = matched + len(missing) + unknown
    in_market = any(finding.severity == "error" for finding in findings)
    share = matched / total
    if in_market or (matched + unknown) / total < MATCHED:
        state = State.FAIL
    elif share >= MATCHED:
        state = State.PASS
    else:
        state = State.UNVERIFIABLE
    note = case.say(
        f"{unknown} cited figures have evidence without numbers",
        f"근거에 수치가 없는 인용 {unknown}건",
    )
    return Outcome(
        state=state,
        metric=round(share, 4),
        share=share if state is not State.UNVERIFIABLE else 0.0,
        findings=findings,
        note=note if unknown else "",
    )


def _said(evidence: Evidence) -> tuple[Figure, ...]:
    return find_figures(" ; ".join((evidence.title, evidence.quote, *evidence.numbers)))


def _agree(one: Figure, other: Figure) -> bool:
    """Either may be the more exact one."""
    return one.says(other.quantity) or other.says(one.quantity)


def orphan_numbers(case: Case) -> Outcome:
    """Q09: figures that nobody can trace, none of them in market and finance."""
    if case.inputs.facts is None:
        return unverifiable(
            case.say(
                "no facts.yaml: the origin of figures is unknown",
                "facts.yaml 없음: 수치의 출처를 알 수 없음",
            )
        )
    headings = {section.heading: i for i, section in enumerate(case.document.sections)}
    units = {" | ".join(table.header) for table in case.document.tables}
    guidance = "\n".join(told for rule in case.inputs.sections or () for told in rule.guidance)
    findings = []
    for fact in case.inputs.facts:
        label = fact.sentence.partition(" | ")
        is_label = bool(label[1]) and fact.text in label[0] and fact.text not in label[2]
        if fact.origin is not Origin.UNKNOWN or fact.sentence in units or is_label:
            continue
        if not any(map(is_claim, find_figures(fact.text))):
            continue
        if fact.sentence.removeprefix("[ ] ") in guidance:
            continue
        index = headings.get(fact.section)
        strict = index is not None and (
            case.has_theme(index, "market") or case.has_theme(index, "finance")
        )
        findings.append(
            case.finding(
                "Q09",
                quote=fact.sentence or fact.text,
                section=index,
                expected=case.say("a figure with an origin", "근거를 댈 수 있는 수치"),
                found=case.say(f"{fact.text} has none", f"{fact.text}: 근거 없음"),
                severity="error" if strict else "warning",
            )
        )
    return no_findings(findings, of=len(case.inputs.facts))


def _needs_evidence(case: Case) -> Outcome:
    return unverifiable(
        case.say(
            "no evidence.jsonl: sources cannot be compared",
            "evidence.jsonl 없음: 출처와 대조할 수 없음",
        )
    )


def primary_share(case: Case) -> float:
    """The share of references whose publisher is an authority or a university."""
    ends = (".gov", ".go.kr", ".edu", ".ac.kr", ".int", "europa.eu", ".or.kr", ".re.kr", "kosis.kr")
    hosts = [domain(each.url) for each in case.document.references if each.url]
    return sum(host.endswith(ends) or ".gov." in host for host in hosts) / max(1, len(hosts))
