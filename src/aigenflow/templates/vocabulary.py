"""The keys of a brief, and what people call them in Korean and English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from aigenflow.core.models import Language

YEARS = (1, 2, 3, 4, 5)

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "company": ("company name", "business", "startup", "회사", "회사명", "기업", "기업명", "상호",
                "창업팀", "주관기관", "주관연구개발기관", "신청기관", "organisation",
                "organization"),
    "product": ("item", "service", "offering", "제품", "제품명", "서비스", "서비스명", "아이템",
                "아이템명", "창업아이템", "창업아이템명", "제품서비스", "product or service"),
    "problem": ("problems", "pain", "pain points", "need", "문제", "문제점", "고객의문제",
                "문제인식", "필요성", "배경", "추진배경"),
    "solution": ("approach", "value proposition", "해결", "해결책", "해결방안", "솔루션",
                 "해결방법", "실현가능성"),
    "customers": ("customer", "target", "target customers", "users", "고객", "목표고객",
                  "타깃고객", "타겟고객", "고객군", "대상고객", "수요처", "사용자", "수요기업"),
    "market": ("target market", "시장", "목표시장", "시장현황", "시장분석", "산업현황"),
    "market_size": ("size of the market", "시장규모", "시장크기", "국내시장규모"),
    "tam": ("total addressable market", "전체시장", "전체시장규모"),
    "sam": ("serviceable addressable market", "serviceable available market", "유효시장",
            "유효시장규모"),
    "som": ("serviceable obtainable market", "수익시장", "목표시장규모", "수익시장규모"),
    "competitors": ("competitor", "competition", "alternatives", "경쟁사", "경쟁", "경쟁제품",
                    "경쟁업체", "경쟁현황", "경쟁사분석", "대안"),
    "advantages": ("advantage", "edge", "differentiation", "usp", "moat", "unique", "강점",
                   "차별점", "차별성", "경쟁우위", "경쟁력", "차별화", "장점"),
    "price": ("pricing", "unit price", "selling price", "가격", "판매가", "판매가격", "단가",
              "판매단가", "요금", "이용료", "구독료"),
    "unit_cost": ("cost per unit", "variable cost", "unit costs", "cogs per unit", "원가",
                  "단위원가", "제조원가", "변동비", "단위변동비"),
    "growth": ("growth rate", "annual growth", "yearly growth", "성장률", "연성장률",
               "연간성장률", "판매성장률", "매출성장률", "고객증가율"),
    "fixed_costs": ("fixed cost", "overheads", "operating costs", "고정비", "연고정비",
                    "연간고정비", "월고정비", "운영비"),
    "team": ("people", "founders", "founder", "management", "팀", "팀구성", "팀원", "창업자",
             "대표자", "대표", "인력", "조직", "연구진", "참여연구원", "연구책임자"),
    "funding": ("ask", "funding request", "investment", "raise", "amount requested", "투자",
                "투자유치", "조달금액", "요청금액", "필요자금", "투자금", "자금조달", "투자요청"),
    "budget": ("total budget", "project budget", "예산", "총사업비", "사업비", "총예산",
               "연구개발비", "총연구비", "총연구개발비"),
    "use_of_funds": ("use of proceeds", "spending", "자금사용", "자금사용계획", "자금용도",
                     "자금사용처", "사용계획", "집행계획", "사업비집행계획", "비목"),
    "milestones": ("milestone", "roadmap", "timeline", "schedule", "일정", "추진일정", "마일스톤",
                   "로드맵", "주요일정", "수행일정"),
    "risks": ("risk", "threats", "위험", "위험요인", "리스크", "위험요소", "애로사항"),
    "technology": ("tech", "technologies", "ip", "intellectual property", "기술", "핵심기술",
                   "보유기술", "지식재산", "지식재산권", "특허", "기술개요"),
    "trl_start": ("trl now", "current trl", "starting trl", "현재trl", "시작trl", "trl현재",
                  "trl시작", "착수시점trl", "기술성숙도현재", "현재기술성숙도"),
    "trl_target": ("target trl", "final trl", "trl goal", "목표trl", "최종trl", "trl목표",
                   "종료시점trl", "기술성숙도목표", "목표기술성숙도"),
    "objectives": ("objective", "goals", "goal", "aims", "목표", "연구목표", "개발목표",
                   "최종목표", "연구개발목표", "과제목표"),
    "kpis": ("kpi", "metrics", "indicators", "success criteria", "성과지표", "지표", "정량목표",
             "정량지표", "평가지표", "핵심지표"),
    "methodology": ("method", "methods", "research method", "방법", "연구방법", "개발방법",
                    "방법론", "추진방법", "추진전략", "연구내용", "개발내용"),
    "prior_work": ("previous work", "track record", "traction", "results so far", "선행연구",
                   "기존연구", "선행기술", "연구실적", "실적", "추진실적", "현재까지의성과"),
    "partners": ("partner", "partnerships", "consortium", "collaborators", "협력사", "협력기관",
                 "파트너", "공동연구기관", "참여기관", "컨소시엄", "협력"),
    "period_months": ("period", "duration", "project period", "기간", "사업기간", "연구기간",
                      "협약기간", "연구개발기간", "수행기간"),
    "government_funding": ("grant", "grants", "public funding", "subsidy", "정부지원금",
                           "지원금", "보조금", "정부지원연구개발비", "정부출연금", "국비",
                           "정부지원사업비"),
    "own_funding_cash": ("own cash", "cash contribution", "자기부담현금", "현금부담", "현금",
                         "자기부담금현금", "기관부담금현금", "자부담현금", "대응자금현금"),
    "own_funding_in_kind": ("in kind", "own in kind", "in kind contribution", "현물",
                            "자기부담현물", "현물부담", "자기부담금현물", "기관부담금현물",
                            "자부담현물", "대응자금현물"),
    "region": ("location", "country", "area", "지역", "소재지", "사업지역", "국가", "목표지역"),
    "regulation": ("regulations", "regulatory", "compliance", "law", "licences", "licenses",
                   "규제", "법규", "인허가", "규제현황", "법령", "인증"),
    "channels": ("channel", "sales channels", "marketing", "distribution", "go to market",
                 "채널", "판매채널", "유통채널", "판로", "마케팅", "영업채널", "영업전략",
                 "홍보"),
    "currency": ("통화", "화폐", "화폐단위"),
}  # fmt: skip
_YEARLY = {
    "customers": ("customers", "customer", "number of customers", "users", "고객", "고객수",
                  "이용자", "이용자수", "가입자", "가입자수", "유료고객", "유료고객수",
                  "paying customers"),
    "volume": ("volume", "volumes", "units", "units sold", "sales volume", "판매량", "판매수량",
               "판매대수", "수량", "판매건수"),
}  # fmt: skip
YEARLY_KEYS = tuple(f"{kind}_year{year}" for kind in _YEARLY for year in YEARS)
KEYS = (*SYNONYMS, *YEARLY_KEYS)

_YEAR_IN_LABEL = re.compile(
    r"(?:in)?(?:year|yr|y)([1-5])(?!\d)|([1-5])(?:차년도|년차|차연도|styear|ndyear)"
)


def _squeezed(label: str) -> str:
    # NFKC on this copy only: a label typed with full-width signs is still the same key.
    plain = unicodedata.normalize("NFKC", label).casefold()
    return re.sub(r"[\W_]+", "", plain)


_KEY_OF = {_squeezed(label): key for key, labels in SYNONYMS.items() for label in (key, *labels)}
_YEARLY_OF = {_squeezed(label): kind for kind, labels in _YEARLY.items() for label in labels}


def key_of(label: str) -> str | None:
    """The vocabulary's key for a label in English or Korean: ``"1차 연도 고객 수"`` is
    ``customers_year1``; ``None`` where there is none. A unit in parentheses does not matter.
    """
    bare = re.sub(r"^[\d.\s)]+(?=[^\W\d])", "", re.sub(r"\([^()]*\)", "", label))
    for text in (_squeezed(label), _squeezed(bare)):
        if text in _KEY_OF:
            return _KEY_OF[text]
        year = _YEAR_IN_LABEL.search(text)
        if year:
            kind = _YEARLY_OF.get(text[: year.start()] + text[year.end() :])
            if kind:
                return f"{kind}_year{year[1] or year[2]}"
    return None


# ---- how a key is shown ------------------------------------------------------------------------

_LABELS: Mapping[str, tuple[str, str]] = {
    "company": ("Company", "회사"),
    "product": ("Product", "제품·서비스"),
    "problem": ("Problem", "문제"),
    "solution": ("Solution", "해결 방안"),
    "customers": ("Customers", "고객"),
    "market": ("Market", "시장"),
    "market_size": ("Market size", "시장 규모"),
    "tam": ("TAM", "TAM(전체 시장)"),
    "sam": ("SAM", "SAM(유효 시장)"),
    "som": ("SOM", "SOM(수익 시장)"),
    "competitors": ("Competitors", "경쟁사"),
    "advantages": ("Advantages", "강점·차별성"),
    "price": ("Price", "가격"),
    "unit_cost": ("Unit cost", "단위 원가"),
    "growth": ("Yearly growth", "연간 성장률"),
    "fixed_costs": ("Fixed costs", "고정비"),
    "team": ("Team", "팀"),
    "funding": ("Funding requested", "조달 요청 금액"),
    "budget": ("Total budget", "총사업비"),
    "use_of_funds": ("Use of funds", "자금 사용 계획"),
    "milestones": ("Milestones", "주요 일정"),
    "risks": ("Risks", "위험 요인"),
    "technology": ("Technology and IP", "기술·지식재산"),
    "trl_start": ("TRL at the start", "시작 TRL"),
    "trl_target": ("TRL at the end", "목표 TRL"),
    "objectives": ("Objectives", "목표"),
    "kpis": ("Indicators", "성과지표"),
    "methodology": ("Method", "연구·개발 방법"),
    "prior_work": ("Work so far", "선행 연구·실적"),
    "partners": ("Partners", "협력 기관"),
    "period_months": ("Period", "수행 기간"),
    "government_funding": ("Public funding", "정부지원금"),
    "own_funding_cash": ("Own contribution, cash", "자기부담금(현금)"),
    "own_funding_in_kind": ("Own contribution, in kind", "자기부담금(현물)"),
    "region": ("Region", "지역"),
    "regulation": ("Regulation", "규제·인허가"),
    "channels": ("Channels", "판매 채널"),
    "currency": ("Currency", "통화"),
}
_YEARLY_LABELS = {
    "customers": ("Customers in year {year}", "{year}차 연도 고객 수"),
    "volume": ("Units sold in year {year}", "{year}차 연도 판매량"),
}


def label_of(key: str, language: Language) -> str:
    """The name of a key in the document's language."""
    index = 1 if language is Language.KO else 0
    if key in _LABELS:
        return _LABELS[key][index]
    kind, _, year = key.partition("_year")
    return _YEARLY_LABELS[kind][index].format(year=year)
