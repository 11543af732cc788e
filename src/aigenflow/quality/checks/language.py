"""Q19 to Q22: the language, repetition, readability, and whether it is about something."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from aigenflow.quality.case import (
    NOT_APPLICABLE,
    Case,
    Outcome,
    claims,
    no_findings,
    outcome,
    unverifiable,
)
from aigenflow.quality.document import Statement
from aigenflow.quality.models import Finding, State

_ADDRESS = re.compile(r"https?://\S+|\[[^\]]{0,40}\]|`[^`]{0,200}`|\([^()]{0,200}\)")
_HANGUL = re.compile(r"[가-힣]")
_LETTER = re.compile(r"[^\W\d_]")
_STRAY = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]+")
_FOREIGN_WORDS = 5
_FOREIGN_WORD = re.compile(r"\b[A-Za-z]*[a-z]{2,}[A-Za-z]*\b")
_ENDINGS = {
    "polite": re.compile(r"(?:니다|니까|세요|어요|아요|해요|예요|에요)[.!?]?$"),
    "plain": re.compile(r"(?<!니)다[.!]?$"),
    "points": re.compile(r"(?:함|임|음|됨|것|중|예정|계획|완료)[.]?$"),
}


def purity(case: Case) -> Outcome:
    """Q19: the document is in its language, and in one style of sentence endings."""
    sentences = [
        each
        for each in case.document.sentences
        if not case.document.sections[each.section].is_references
    ]
    if not sentences:
        return NOT_APPLICABLE
    findings = list(_korean(case, sentences) if case.korean else _english(case, sentences))
    clean = 1 - sum(each.severity == "error" for each in findings) / len(sentences)
    letters = _LETTER.findall(_ADDRESS.sub("", " ".join(each.text for each in sentences)))
    hangul = sum("가" <= letter <= "힣" for letter in letters) / max(1, len(letters))
    wrong_language = hangul < 0.75 if case.korean else hangul > 0.005
    if wrong_language:
        findings.append(
            case.finding(
                "Q19",
                quote="",
                expected=case.say("Hangul at most 0.5 %", "한글 75% 이상"),
                found=f"{hangul:.1%}",
            )
        )
    # A stray sentence is a fault also in a long document: the share alone would hide it.
    strays = any(each.severity == "error" for each in findings)
    result = outcome(min(clean, 0.0 if wrong_language else 1.0), 0.95, findings)
    if strays and result.state is State.PASS:
        return Outcome(
            state=State.WARN, metric=result.metric, share=result.share, findings=result.findings
        )
    return result


def _korean(case: Case, sentences: list[Statement]) -> Iterator[Finding]:
    for each in sentences:
        bare = _ADDRESS.sub("", each.text)
        if stray := _STRAY.search(bare):
            yield _impure(case, each, stray[0])
        elif not _HANGUL.search(bare) and len(_FOREIGN_WORD.findall(bare)) >= _FOREIGN_WORDS:
            yield _impure(case, each, case.say("foreign sentence", "외국어로 쓴 문장"))
    styles = [(style, each) for each in sentences if (style := _style(each.text))]
    if not styles:
        return
    counts = Counter(style for style, _each in styles)
    usual, count = counts.most_common(1)[0]
    if count / len(styles) < 0.9:
        odd = [each for style, each in styles if style != usual]
        yield case.finding(
            "Q19",
            quote=odd[0].text,
            section=odd[0].section,
            expected="한 가지 문체(90% 이상)",
            found=f"{count / len(styles):.0%}",
        )


def _style(text: str) -> str:
    bare = re.sub(r"\s*\[[^\]]{0,40}\]", "", text).rstrip(" ”\"')*")
    return next((name for name, pattern in _ENDINGS.items() if pattern.search(bare)), "")


def _english(case: Case, sentences: list[Statement]) -> Iterator[Finding]:
    for each in sentences:
        bare = _ADDRESS.sub("", each.text)
        if len(_HANGUL.findall(bare)) >= 4 or _STRAY.search(bare):
            yield _impure(case, each, "foreign words")


def _impure(case: Case, statement: Statement, found: str) -> Finding:
    return case.finding(
        "Q19",
        quote=statement.text,
        section=statement.section,
        expected=case.say("English", "한국어"),
        found=found,
    )


# Q20

_SHINGLE = 8
_SAMPLED = 8
_LONG_ENOUGH = 80
_ALIKE = 0.6
_REPEATED = 0.01


def duplicates(case: Case) -> Outcome:
    """Q20: no two paragraphs alike (Jaccard of 8-character shingles), few repeated sentences."""
    paragraphs = [p for p in case.document.paragraphs if len(p.text) >= _LONG_ENOUGH]
    shingles = [_shingles(paragraph.text) for paragraph in paragraphs]
    findings = [
        case.finding(
            "Q20",
            quote=paragraphs[second].text,
            section=paragraphs[second].section,
            expected=case.say("each thing said once", "같은 내용은 한 번만"),
            found=case.say(
                f"like “{paragraphs[first].text[:60]}…”", f"‘{paragraphs[first].text[:60]}…’와 같음"
            ),
        )
        for first, second in _alike(shingles)
    ]
    sentences = [
        re.sub(r"\W", "", each.text) for each in case.document.sentences if len(each.text) >= 25
    ]
    repeated = sum(count - 1 for count in Counter(sentences).values()) / max(1, len(sentences))
    if repeated > _REPEATED and not findings:
        text = Counter(sentences).most_common(1)[0][0]
        quote = next(e.text for e in case.document.sentences if re.sub(r"\W", "", e.text) == text)
        findings.append(case.finding("Q20", quote=quote, expected="≤ 1 %", found=f"{repeated:.1%}"))
    return no_findings(findings, of=max(1, len(paragraphs)))


def _shingles(text: str) -> frozenset[str]:
    plain = re.sub(r"\s", "", text)
    return frozenset(plain[i : i + _SHINGLE] for i in range(len(plain) - _SHINGLE + 1))


def _alike(shingles: list[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Pairs that are alike. Only pairs that share a sampled shingle are compared in full.

    The sample is by content (the smallest ones), so that equal texts have equal samples.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for index, own in enumerate(shingles):
        candidates: set[int] = set()
        for shingle in sorted(own, key=_scatter)[:_SAMPLED]:
            candidates.update(holders[shingle])
            holders[shingle].append(index)
        for other in sorted(candidates):
            union = len(own | shingles[other])
            if union and len(own & shingles[other]) / union >= _ALIKE:
                yield other, index
                break


def _scatter(shingle: str) -> int:
    """A fixed order that has nothing to do with the alphabet (``hash()`` differs by process)."""
    value = 0
    for character in shingle:
        value = (value * 1_000_003 ^ ord(character)) & 0xFFFFFFFF
    return value


# Q21

_LONG_SENTENCE = 120
_VOWELS = re.compile(r"[aeiouy]+")
_WORDS = re.compile(r"[A-Za-z’'-]+")


def readability(case: Case) -> Outcome:
    """Q21: mean sentence <= 70 characters (ko), or a school grade of 10 to 14 (en). Only warns."""
    texts = [each.text for each in case.document.sentences if len(each.text) > 15]
    if not texts:
        return NOT_APPLICABLE
    if case.korean:
        mean = sum(map(len, texts)) / len(texts)
        long = sum(len(text) > _LONG_SENTENCE for text in texts) / len(texts)
        good = mean <= 70 and long <= 0.05
        metric, found = mean, f"{mean:.0f}자, 120자 초과 {long:.0%}"
        expected = "평균 70자 이하, 120자 초과 5% 이하"
    else:
        metric = _grade(texts)
        good, found, expected = 10 <= metric <= 14, f"grade {metric:.1f}", "grade 10 to 14"
    findings = (
        ()
        if good
        else (case.finding("Q21", quote="", expected=expected, found=found, severity="warning"),)
    )
    return Outcome(
        state=State.PASS if good else State.WARN,
        metric=round(metric, 2),
        share=1.0 if good else 0.5,
        findings=findings,
    )


def _grade(texts: list[str]) -> float:
    """Flesch-Kincaid."""
    words = [word for text in texts for word in _WORDS.findall(text)]
    syllables = sum(max(1, len(_VOWELS.findall(word.lower()))) for word in words)
    return 0.39 * len(words) / len(texts) + 11.8 * syllables / max(1, len(words)) - 15.59


# Q22

_BUZZ = re.compile(
    r"\b(?:synergy|synergies|synergistic|cutting[- ]edge|world[- ]class|game[- ]chang\w+"
    r"|revolutionary|revolutioni[sz]\w+|disrupti\w+|best[- ]in[- ]class|next[- ]generation"
    r"|state[- ]of[- ]the[- ]art|leverage[sd]?|paradigm|holistic|seamless\w*|unparalleled"
    r"|unprecedented|robust|innovative)\b"
    r"|혁신적|획기적|차세대|최첨단|세계적 수준|패러다임|시너지"
    r"|독보적|압도적|차별화된|선도적|글로벌 리더",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(
    r"국내 ?최초|세계 ?최초|업계 ?최초|유일(?:한|하게|무이)"
    r"|경쟁(?:사|자|제품)(?:가|는|이|은)? ?(?:없|전무)"
    r"|no (?:direct )?competitors?\b|no competition\b"
    r"|(?:world'?s|industry) first|first in the world"
    r"|the only (?:company|product|solution|provider)|one of a kind",
    re.IGNORECASE,
)
_BUZZ_PER_1000 = 3.0
_KEY_LINE = re.compile(
    r"^\s*[-*]?\s*\**(?:company|product|technology|region|회사|제품·?\w*|기술|기업명)\**\s*[:：]"
    r"\s*(.{2,300})$",
    re.IGNORECASE | re.MULTILINE,
)


def specificity(case: Case) -> Outcome:
    """Q22: the brief's terms are there; few buzzwords; no unsupported "first" and "only"."""
    findings = [
        case.finding(
            "Q22",
            quote=each.text,
            section=each.section,
            expected=case.say("a source for the claim", "근거가 있는 주장"),
            found=match[0],
        )
        for each in case.document.statements
        if not each.marks and (match := _ABSOLUTE.search(each.text))
    ]
    words = max(1, len(case.document.text.split()))
    buzz = [m[0] for p in case.document.paragraphs for m in _BUZZ.finditer(p.text)]
    rate = len(buzz) * 1000 / words
    if rate > _BUZZ_PER_1000:
        findings.append(
            case.finding(
                "Q22",
                quote=", ".join(dict.fromkeys(buzz[:8])),
                expected=case.say(
                    "at most 3 buzzwords per 1,000 words", "1,000단어당 상투어 3개 이하"
                ),
                found=f"{rate:.1f}",
            )
        )
    terms = _terms(case.inputs.brief or "")
    lower = case.document.text.lower()
    missing = [term for term in terms if term.lower() not in lower]
    present = 1 - len(missing) / max(1, len(terms))
    if terms and present < 0.9:
        findings.append(
            case.finding(
                "Q22",
                quote=", ".join(missing[:8]),
                expected=case.say("the names that the brief gives", "브리프에 나온 이름"),
                found=f"{present:.0%}",
            )
        )
    result = no_findings(findings, of=max(3, len(findings)))
    metric = (
        sum(len(claims(each)) for each in case.document.statements)
        * 1000
        / max(1, len(case.document.text))
    )
    if case.inputs.brief is None and not findings:
        note = case.say(
            "no brief: its key terms cannot be looked for", "브리프가 없어 핵심어를 확인할 수 없음"
        )
        return unverifiable(note)
    return Outcome(
        state=result.state, metric=round(metric, 2), share=result.share, findings=result.findings
    )


def _terms(brief: str) -> tuple[str, ...]:
    """The names in the lines of the brief that name something: its capitalised words."""
    names = (
        name
        for value in _KEY_LINE.findall(brief)
        for name in re.findall(r"\b[A-Z][\w&-]{3,}|[가-힣]{3,}", value.split(",")[0])[:2]
    )
    return tuple(dict.fromkeys(names))
