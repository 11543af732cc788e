"""What the offline draft says, in both languages of a document.

These are words of the document, not of the user interface: a Korean plan is Korean whatever
language the command line speaks, so gettext has no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from aigenflow.core.models import DocumentType, Language


def say(key: str, language: Language, /, **values: object) -> str:
    """The wording of ``key`` in ``language``, with its placeholders filled."""
    return WORDS[key][_index(language)].format(**values)


def source_kinds(
    document_type: DocumentType, language: Language
) -> tuple[tuple[str, str, str], ...]:
    """Where to look: kind of source, places that exist, what it answers."""
    specific = _SOURCES_BIZPLAN if document_type is DocumentType.BIZPLAN else _SOURCES_RD
    return (*specific[_index(language)], *_SOURCES_BOTH[_index(language)])


def search_patterns(document_type: DocumentType, language: Language) -> tuple[str, ...]:
    """Search queries with ``{topic}``, ``{region}`` and ``{rival}`` to fill in."""
    patterns = _QUERIES_BIZPLAN if document_type is DocumentType.BIZPLAN else _QUERIES_RD
    return patterns[_index(language)]


def canvas_blocks(language: Language) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """The nine blocks of a business model canvas: name, facts that belong there, question."""
    return _CANVAS[_index(language)]


def scope_blocks(language: Language) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """The blocks of a research problem and its scope: name, facts, question."""
    return _SCOPE[_index(language)]


def story_steps(
    document_type: DocumentType, language: Language
) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """The steps of the argument: name, facts that carry it, what the step must show."""
    steps = _STORY_BIZPLAN if document_type is DocumentType.BIZPLAN else _STORY_RD
    return steps[_index(language)]


def trl_names(language: Language) -> tuple[str, ...]:
    """The nine technology readiness levels, level 1 first."""
    return _TRL[_index(language)]


def pestel_questions(language: Language) -> tuple[tuple[str, str], ...]:
    """The six outside forces and the question each one asks."""
    return _PESTEL[_index(language)]


def _index(language: Language) -> int:
    return 1 if language is Language.KO else 0


WORDS: Mapping[str, tuple[str, str]] = {
    # notices
    "notice": (
        "Working draft put together without AI.",
        "AI를 사용하지 않고 만든 작업용 초안입니다.",
    ),
    "notice_body": (
        "No AI model was reached, so none wrote, researched or checked this text. It holds the"
        " outline of the document, the facts of your brief as you wrote them, and the figures that"
        " follow from them. “—” marks what is not known yet.",
        "연결된 AI 모델이 없어 AI의 작성·조사·검증을 거치지 않았습니다. 문서의 목차, 브리프에 적힌"
        " 사실, 그 수치로 계산한 값만 담았으며, 아직 알 수 없는 내용은 ‘—’로 남겨 두었습니다.",
    ),
    "notice_body_empty": (
        "No AI model was reached and no brief was given, so this is the outline for your topic with"
        " what each part must answer. A brief (a text file with what you know) fills it.",
        "연결된 AI 모델도 브리프도 없어, 주제에 맞는 문서의 목차와 작성할 내용만 담았습니다."
        " 아는 내용을 적은 브리프 파일을 주면 그 사실과 계산값으로 채워집니다.",
    ),
    "next_step": (
        "To have the agents write it, set a key such as `ANTHROPIC_API_KEY` or run a local"
        " OpenAI-compatible server such as Ollama, then try `aigenflow check`.",
        "AI가 작성하게 하려면 `ANTHROPIC_API_KEY` 같은 키를 설정하거나 Ollama 등 OpenAI 호환"
        " 로컬 서버를 실행한 뒤 `aigenflow check`로 연결을 확인하십시오.",
    ),
    "purpose": ("Purpose", "목적"),
    "reader": ("Reader", "읽는 사람"),
    "page_limit": ("Page limit", "분량 제한"),
    "pages": ("{count} pages", "{count}쪽"),
    "style": ("Style", "작성 원칙"),
    # parts of a section
    "known": ("From the brief", "브리프에서 확인된 내용"),
    "worked_out": ("Worked out from the brief", "브리프의 수치로 계산한 값"),
    "asks": ("Questions to answer", "작성할 내용"),
    "checks": ("What the reader will check", "심사·검토 기준"),
    "length": ("Length: {range}", "분량: {range}"),
    "words_between": ("{low:,}–{high:,} words", "공백 제외 {low:,}~{high:,}자"),
    "words_up_to": ("up to {high:,} words", "공백 제외 {high:,}자 이내"),
    "words_from": ("{low:,} words or more", "공백 제외 {low:,}자 이상"),
    "nothing_known": (
        "The brief says nothing about this section yet.",
        "브리프에 이 장의 내용이 아직 없음.",
    ),
    "see_section": ("see “{heading}”", "‘{heading}’ 참조"),
    "see_table": ("see the table below", "아래 표 참조"),
    "table": ("Table {number}. {caption}", "표 {number}. {caption}"),
    "to_fill": ("(to fill in)", "(작성 필요)"),
    "total": ("Total", "합계"),
    "other_facts": ("Appendix: other facts from the brief", "부록. 브리프의 그 밖의 내용"),
    "still_missing": ("Appendix: what is still missing", "부록. 아직 채우지 못한 내용"),
    "still_missing_intro": (
        "Made by comparing the brief with the outline, without AI. Work from the top.",
        "브리프와 목차를 대조하여 AI 없이 만든 목록. 위에서부터 처리할 것.",
    ),
    # headings of the other tasks
    "canvas_title": ("Business model worksheet: {topic}", "사업 모델 작업표: {topic}"),
    "scope_title": ("Research problem worksheet: {topic}", "연구 문제·범위 작업표: {topic}"),
    "canvas": ("Business model canvas", "비즈니스 모델 캔버스"),
    "scope": ("Problem and scope", "문제와 범위"),
    "block": ("Block", "구성 요소"),
    "in_brief": ("What the brief says", "브리프 내용"),
    "to_settle": ("To settle", "정해야 할 것"),
    "usp": ("Value proposition, to be made one sentence", "가치 제안(한 문장으로 다듬을 것)"),
    "usp_parts": (
        "- For: **{customers}**\n- Who face: **{problem}**\n- We offer: **{product}**\n"
        "- It works like this: **{solution}**\n- Compared with: **{competitors}**\n"
        "- What is different: **{advantages}**",
        "- 대상 고객: **{customers}**\n- 겪는 문제: **{problem}**\n- 제공하는 것: **{product}**\n"
        "- 해결 방식: **{solution}**\n- 비교 대상: **{competitors}**\n- 다른 점: **{advantages}**",
    ),
    "personas": ("Personas to interview", "인터뷰할 고객 유형"),
    "persona_columns": (
        "Persona|Situation|What they do today|What it costs them|Who decides and pays|Evidence",
        "고객 유형|처한 상황|현재 대응 방법|드는 비용·시간|결정자·지불자|확인 근거",
    ),
    "validate_title": ("What is known and what is missing: {topic}",
                       "확인된 내용과 부족한 내용: {topic}"),
    "validate_count": (
        "{known} of the {total} facts this outline asks for are in the brief.",
        "이 목차가 요구하는 항목 {total}개 가운데 {known}개가 브리프에 있음.",
    ),
    "doubts": ("Contradictions and unusable figures", "모순되거나 쓸 수 없는 수치"),
    "no_doubts": (
        "The figures of the brief do not contradict each other.",
        "브리프의 수치 사이에서 확인된 모순 없음.",
    ),
    "nothing_to_compare": (
        "The brief holds no figures that could be compared.",
        "브리프에 서로 대조할 수치가 없음.",
    ),
    "known_facts": ("Known", "확인된 내용"),
    "missing_facts": ("Missing, most important first", "부족한 내용(중요한 순서)"),
    "fact": ("Fact", "항목"),
    "needed_in": ("Needed in", "필요한 곳"),
    "none": ("None.", "없음."),
    "research_title": ("Research plan: {topic}", "조사 계획: {topic}"),
    "research_intro": (
        "Nothing was searched. This is what to look for, and where.",
        "실제 검색은 하지 않음. 무엇을 어디에서 찾아야 하는지 정리한 목록임.",
    ),
    "sources": ("Sources by kind", "자료의 종류와 출처"),
    "source_columns": ("Kind|Where to look|What it answers", "종류|찾을 곳|확인할 내용"),
    "queries": ("Search queries", "검색어"),
    "log": ("Research log", "조사 기록표"),
    "log_columns": (
        "Question|Figure or finding|Publisher|Base year|URL|Accessed on",
        "질문|수치·내용|조사기관|기준연도|URL|열람일",
    ),
    "claims_title": ("Figures to verify: {topic}", "검증할 수치: {topic}"),
    "claims_intro": (
        "Every statement of the brief that holds a figure. No source was consulted.",
        "브리프에서 수치가 들어 있는 문장 전체. 출처 대조는 하지 않음.",
    ),
    "claims_none": ("The brief holds no figures.", "브리프에 수치가 없음."),
    "claim_columns": (
        "No.|Fact|As the brief states it|What would prove it|State",
        "번호|항목|브리프의 표현|확인할 근거|상태",
    ),
    "not_verified": ("not verified", "미검증"),
    "swot_title": ("SWOT worksheet: {topic}", "SWOT 작업표: {topic}"),
    "swot_title_rd": (
        "Feasibility worksheet: {topic}",
        "타당성·방법론 작업표: {topic}",
    ),
    "swot_columns": ("Field|From the brief|Ask yourself", "구분|브리프 내용|스스로 물을 것"),
    "strengths": ("Strengths", "강점(S)"),
    "weaknesses": ("Weaknesses", "약점(W)"),
    "opportunities": ("Opportunities", "기회(O)"),
    "threats": ("Threats", "위협(T)"),
    "ask_strengths": (
        "Which of these could a customer confirm, and which could a rival copy in a year?",
        "고객이 확인해 줄 수 있는 것은? 경쟁사가 1년 안에 따라 할 수 있는 것은?",
    ),
    "ask_weaknesses": (
        "Where do we have no evidence, money, people or rights yet?",
        "근거·자금·인력·권리가 아직 없는 부분은 어디인가?",
    ),
    "ask_opportunities": (
        "What changes outside make this possible now, and until when?",
        "지금 가능하게 만든 외부 변화는 무엇이며 언제까지 유효한가?",
    ),
    "ask_threats": (
        "What outside could stop us, and what would we see first?",
        "무엇이 사업을 멈출 수 있으며, 가장 먼저 나타날 징후는 무엇인가?",
    ),
    "not_in_brief": ("not in the brief: {facts}", "브리프에 없음: {facts}"),
    "tows": ("From SWOT to moves (TOWS)", "SWOT에서 전략으로(TOWS)"),
    "tows_columns": ("Pair|Question|Move", "조합|질문|방안"),
    "tows_so": ("Which strength makes this opportunity ours?",
                "어떤 강점으로 이 기회를 잡는가?"),
    "tows_st": ("Which strength blunts this threat?", "어떤 강점으로 이 위협을 막는가?"),
    "tows_wo": ("Which weakness must be closed to take the opportunity?",
                "기회를 잡으려면 어떤 약점부터 메워야 하는가?"),
    "tows_wt": ("Where should we not compete?", "경쟁하지 말아야 할 곳은 어디인가?"),
    "pestel": ("Outside forces (PESTEL)", "외부 환경(PESTEL)"),
    "pestel_columns": ("Force|Question|Finding and source", "구분|질문|확인 내용과 출처"),
    "scenarios": ("Sensitivity to volume", "판매량 변화에 따른 민감도"),
    "scenarios_intro": (
        "Year {year} at 80, 100 and 120 % of the volume given; prices and costs unchanged. A"
        " sensitivity, not a forecast.",
        "{year}차 연도 판매량(고객 수)이 브리프의 80%·100%·120%일 때의 값. 가격과 비용은 그대로 둠."
        " 예측이 아니라 민감도임.",
    ),
    "scenario_columns": (
        "Item|80 %|100 %|120 %",
        "항목|80%|100%|120%",
    ),
    "no_scenarios": (
        "A sensitivity needs the price and the volume of at least one year.",
        "민감도 계산에는 가격과 최소 1개 연도의 판매량(고객 수)이 필요함.",
    ),
    "trl_ladder": ("Path through the technology readiness levels", "기술성숙도(TRL) 경로"),
    "trl_columns": ("Level|Meaning|In this project|Evidence",
                    "단계|의미|본 과제|증빙"),
    "trl_here": ("start", "시작"),
    "trl_goal": ("target", "목표"),
    "trl_between": ("to pass", "통과"),
    "trl_unknown": (
        "Give `trl_start` and `trl_target` (1 to 9) to see the path.",
        "‘시작 TRL’과 ‘목표 TRL’(1~9)을 적으면 경로가 표시됨.",
    ),
    "story_title": ("Line of argument: {topic}", "논리 전개: {topic}"),
    "story_columns": ("Step|What the brief gives|What it must show",
                      "단계|브리프 내용|보여 주어야 할 것"),
    "pitch": ("Pitch in one minute", "1분 발표 뼈대"),
    "drivers_title": ("Drivers of the financial model: {topic}", "재무 모델의 가정: {topic}"),
    "drivers_intro": (
        "The drivers that your brief gives. The tables are computed from them; what is not here is"
        " not computed. You may correct and add to them, and resume the session.",
        "브리프에 적힌 가정임. 표는 이 값에서 계산되며 여기에 없는 것은 계산하지 않음. 값을"
        " 고치거나 더한 뒤 세션을 이어서 실행할 수 있음.",
    ),
    "drivers_none": (
        "The brief has no figures to compute with.",
        "브리프에 계산할 수 있는 수치가 없음.",
    ),
    "charts_title": ("Tables computed from the brief: {topic}", "브리프로 계산한 표: {topic}"),
    "charts_none": (
        "Nothing can be computed yet. Give a price and the customers or units of each year; unit"
        " cost and fixed costs add margin, profit and break-even.",
        "아직 계산할 수 있는 표가 없음. 가격과 연차별 고객 수(판매량)를 적으면 매출이, 단위"
        " 원가와 고정비를 더하면 이익과 손익분기점이 계산됨.",
    ),
    "revenue_table": ("Revenue and profit by year", "연차별 매출과 손익"),
    "revenue_columns": ("Year|Volume|Revenue|Growth|Gross profit|Operating profit|Revenue, drawn",
                        "연차|판매량·고객 수|매출액|증가율|매출총이익|영업이익|매출 막대"),
    "year": ("Year {year}", "{year}차 연도"),
    "projected": ("{volume} (projected)", "{volume}(추정)"),
    "market_table": ("Market", "시장 규모"),
    "market_columns": ("Level|Amount|Share of the level above", "구분|금액|상위 시장 대비"),
    "uses_table": ("Use of funds", "자금 사용 계획"),
    "uses_columns": ("Item|Amount|Share", "항목|금액|비중"),
    "funding_table": ("Funding", "재원"),
    "funding_columns": ("Source|Amount|Share", "재원|금액|비중"),
    "own_total": ("Own contribution (cash + in kind)", "자기부담금(현금 + 현물)"),
    "verify_title": ("Verification: {topic}", "검증 결과: {topic}"),
    "verify_intro": (
        "Without a network or a model no claim could be checked against a source. Only the sums"
        " were checked.",
        "네트워크와 AI 모델이 없어 출처 대조를 하지 못함. 수치의 합과 관계식만 확인함.",
    ),
    "sums": ("Sums and relations", "합계와 관계식"),
    "claims": ("Figures without verification", "미검증 수치"),
    "review_title": ("Review: what to do next: {topic}", "검토 의견과 보완 순서: {topic}"),
    "review_first": ("First: contradictions and risky wording", "먼저 바로잡을 것"),
    "review_sections": ("Sections, most important gap first", "장별 보완 사항(중요한 순서)"),
    "review_columns": ("Order|Section|Missing facts|Empty tables",
                       "순서|장·절|부족한 항목|비어 있는 표"),
    "risky_claim": (
        "“{words}” ({label}): give the evidence and its scope, or leave it out; assessors mark"
        " such wording down.",
        "‘{words}’({label}): 근거와 조사 범위를 제시하거나 삭제할 것. 평가에서 감점되는 표현임.",
    ),
    "identity": (
        "“{words}” ({label}): names a school; mask it before submission.",
        "‘{words}’({label}): 학교명으로 보임. 제출 전에 가릴 것.",
    ),
    # worked-out lines
    "calc_revenue": ("Revenue in year {year}: {price} × {volume} = {result}",
                     "{year}차 연도 매출액: {price} × {volume} = {result}"),
    "calc_year_price": ("Price for a year: {price} × {payments} = {result}",
                        "연간 가격: {price} × {payments} = {result}"),
    "calc_year_cost": ("Unit cost for a year: {result} (brief: {cost})",
                       "연간 단위 원가: {result}(브리프: {cost})"),
    "calc_margin": ("Gross margin: ({price} − {cost}) ÷ {price} = {result}",
                    "매출총이익률: ({price} − {cost}) ÷ {price} = {result}"),
    "calc_fixed": ("Fixed costs for a year: {result} (brief: {costs})",
                   "연간 고정비: {result}(브리프: {costs})"),
    "calc_break_even": (
        "Break-even: {fixed} ÷ ({price} − {cost}) = {result} a year, rounded up",
        "손익분기 판매량: {fixed} ÷ ({price} − {cost}) = 연 {result}(올림)",
    ),
    "calc_break_even_revenue": (
        "Break-even revenue: {volume} × {price} = {result} a year",
        "손익분기 매출액: {volume} × {price} = 연 {result}",
    ),
    "calc_break_even_year": (
        "The volume given reaches break-even in year {year} (on a yearly basis).",
        "브리프의 판매량(고객 수)은 {year}차 연도에 손익분기점을 넘음(연간 기준).",
    ),
    "calc_break_even_never": (
        "The volumes given (at most {volume} a year) stay below break-even.",
        "브리프의 판매량·고객 수(최대 연 {volume})는 손익분기점에 미치지 못함.",
    ),
    "calc_operating": ("Operating profit in year {year}: {gross} − {fixed} = {result}",
                       "{year}차 연도 영업이익: {gross} − {fixed} = {result}"),
    "calc_growth": ("Revenue growth from year {first} to year {last}: {result} a year (CAGR)",
                    "{first}~{last}차 연도 매출 연평균 성장률(CAGR): {result}"),
    "calc_share": ("{part} ÷ {whole} = {result}", "{part} ÷ {whole} = {result}"),
    "calc_own": ("Own contribution: {cash} (cash) + {in_kind} (in kind) = {result}",
                 "자기부담금: 현금 {cash} + 현물 {in_kind} = {result}"),
    "calc_total": ("Total: {government} (public) + {own} (own) = {result}",
                   "총액: 정부지원금 {government} + 자기부담금 {own} = {result}"),
    "calc_government_share": ("Public share: {result}", "정부지원금 비중: {result}"),
    "calc_uses": ("Use of funds, sum: {parts} = {result}", "자금 사용 합계: {parts} = {result}"),
    "assume_all_year": (
        "Assumes that the customers of a year pay all {payments} times; scale down if they join"
        " during the year [assumption].",
        "해당 연도의 고객이 {payments}회 모두 결제한다고 가정함. 연중 가입이 많으면 낮추어"
        " 잡을 것 [가정].",
    ),
    "assume_fixed": (
        "Assumes the same fixed costs, price and unit cost every year, and no costs beyond them.",
        "가격, 단위 원가, 고정비가 매년 같고 그 밖의 비용은 없다고 가정함.",
    ),
    "assume_fixed_year": (
        "The brief names no period for the fixed costs; they are read as per year.",
        "브리프에 고정비의 기간이 없어 연간 금액으로 봄.",
    ),
    "assume_growth": (
        "Years after the first are projected with the growth of {growth} a year from the brief.",
        "2차 연도부터는 브리프의 연간 성장률 {growth}로 추정함.",
    ),
    "customers_unit": ("customers", "고객"),
    "volume_unit": ("units", "개"),
    "reached_in": ("year {year} (yearly basis)", "{year}차 연도(연간 기준)"),
    # doubts
    "not_one_figure": (
        "{label}: “{value}” is not one plain figure, so it was not used. Give one number with its"
        " unit.",
        "{label}: ‘{value}’에서 하나의 수치를 특정할 수 없어 계산에 쓰지 않음. 수치 하나와 단위로"
        " 적을 것.",
    ),
    "unknown_period": (
        "{label}: give it per month or per year; a day or a week cannot be carried over to a year"
        " without knowing the working days.",
        "{label}: 월 또는 연 단위로 적을 것. 일·주 단위는 영업일수를 알아야 연간으로 바꿀 수 있음.",
    ),
    "period_missing": (
        "{label} and {other}: one is given per period and the other is not, so no margin was"
        " worked out.",
        "{label}·{other}: 한쪽에만 기간(월·연)이 있어 이익률을 계산하지 않음. 같은 기준으로"
        " 적을 것.",
    ),
    "other_currency": (
        "{label} is in {a} but the plan is in {b}: not used. State the exchange rate and convert.",
        "{label}: 통화 {a}, 계획의 통화 {b}. 서로 달라 계산에서 제외함. 적용 환율을 밝히고"
        " 환산할 것.",
    ),
    "cost_above_price": (
        "The unit cost ({a}) is not below the price ({b}): every sale loses money.",
        "단위 원가({a})가 가격({b}) 이상이어서 팔수록 손실이 남.",
    ),
    "uses_differ": (
        "{label} adds up to {a}, {other} is {b}: a difference of {difference}.",
        "{label} 합계 {a}, {other} {b}: {difference} 차이가 남.",
    ),
    "shares_not_100": (
        "{label}: the shares add up to {a} %, not 100 %.",
        "{label}: 비중의 합이 {a}%로 100%가 아님.",
    ),
    "parts_differ_from_budget": (
        "Public and own contributions add up to {a}, the total budget is {b}: a difference of"
        " {difference}.",
        "정부지원금과 자기부담금의 합 {a}, 총사업비 {b}: {difference} 차이가 남.",
    ),
    "market_order": (
        "{label} ({a}) is larger than {other} ({b}).",
        "{label}({a}): {other}({b})보다 큼. TAM ≥ SAM ≥ SOM이어야 함.",
    ),
    "revenue_above_som": (
        "Revenue in year {a} ({b}) is above the SOM ({c}).",
        "{a}차 연도 매출액({b})이 SOM({c})을 넘음.",
    ),
    "trl_range": (
        "TRL {a} to {b}: levels run from 1 to 9 and the target must be above the start.",
        "TRL {a} → {b}: 1~9 사이여야 하며 목표가 시작보다 높아야 함.",
    ),
    "trl_jump": (
        "TRL {a} to {b} is more than four levels: explain why one project can do it.",
        "TRL {a} → {b}: 네 단계를 넘는 도약. 한 과제로 가능한 이유를 설명할 것.",
    ),
    # what proves a figure
    "prove_market": (
        "statistics or a report with publisher, base year and URL",
        "조사기관·기준연도·URL이 있는 통계나 보고서",
    ),
    "prove_price": (
        "price list, quotation, contract or pilot sale",
        "가격표, 견적서, 계약서 또는 시험 판매 기록",
    ),
    "prove_volume": (
        "sales pipeline, letters of intent or capacity calculation",
        "영업 예정 목록, 구매의향서 또는 공급 역량 산출 근거",
    ),
    "prove_funding": (
        "call text, commitment letter or account statement",
        "공고문, 출자·투자 확약서 또는 잔액 증명",
    ),
    "prove_cost": (
        "quotation, or unit price times quantity",
        "견적서 또는 단가 × 수량의 산출 근거",
    ),
    "prove_customers": (
        "interview notes, survey data or statistics",
        "인터뷰 기록, 설문 원자료 또는 통계",
    ),
    "prove_team": ("CV, contract or certificate", "이력서, 계약서 또는 자격 증빙"),
    "prove_technology": (
        "test or operating record, paper or patent number",
        "시험·운영 기록, 논문 또는 특허 번호",
    ),
    "prove_other": ("the original document", "원자료"),
    # no assignment
    "no_model_title": ("No AI model was reached", "연결된 AI 모델이 없습니다"),
    "no_model": (
        "This is not an answer: the agent `{agent}` is served by the offline back-end, which can"
        " lay out a document but cannot answer free questions.",
        "이 글은 질문에 대한 답이 아닙니다. `{agent}` 에이전트가 오프라인 백엔드에 연결되어"
        " 있으며, 오프라인 백엔드는 문서의 틀은 만들지만 자유 질문에는 답하지 못합니다.",
    ),
    "no_model_asked": ("What was asked:", "받은 질문:"),
    "no_model_connect": ("To connect a model, do one of these:", "모델을 연결하는 방법(택일):"),
    "no_model_key": (
        "Set a key: `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`, `GEMINI_API_KEY` or"
        " `PERPLEXITY_API_KEY`.",
        "키를 설정합니다: `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`, `GEMINI_API_KEY`,"
        " `PERPLEXITY_API_KEY` 가운데 하나 이상.",
    ),
    "no_model_local": (
        "Run a local OpenAI-compatible server such as Ollama. If it is not at Ollama's usual"
        " address, set `local.base_url`.",
        "Ollama 같은 OpenAI 호환 로컬 서버를 실행합니다. Ollama의 기본 주소가 아니면"
        " `local.base_url`에 주소를 설정합니다.",
    ),
    "no_model_check": ("Then run `aigenflow check`.", "그런 다음 `aigenflow check`를 실행합니다."),
}  # fmt: skip


_Rows = tuple[tuple[str, str, str], ...]
_Blocks = tuple[tuple[str, tuple[str, ...], str], ...]

_SOURCES_BIZPLAN: tuple[_Rows, _Rows] = (
    (
        ("Official statistics", "national statistics office, Eurostat, OECD, World Bank",
         "number of customers, spending, growth"),
        ("Company filings", "annual reports, SEC EDGAR, national company registers",
         "rivals' revenue, margins, segments"),
        ("Trade bodies", "industry associations, chambers of commerce, trade press",
         "number of firms, prices, channels"),
        ("Prices", "rivals' price pages, quotations, tenders", "price level, terms, discounts"),
        ("Customers", "ten or more interviews, pilot data, reviews of present products",
         "problem, frequency, willingness to pay"),
    ),
    (
        ("공식 통계", "국가통계포털(KOSIS), 한국은행 ECOS, 관세청 수출입무역통계",
         "고객 수, 지출액, 성장률"),
        ("기업 공시", "금융감독원 전자공시(DART), 중소기업현황정보시스템",
         "경쟁사 매출, 이익률, 사업 부문"),
        ("협회·기관 자료", "업종별 협회, 대한상공회의소, 소상공인시장진흥공단 상권 정보",
         "업체 수, 가격, 유통 구조"),
        ("가격", "경쟁사 가격표, 견적, 나라장터 입찰·계약 정보", "가격 수준, 거래 조건"),
        ("고객", "인터뷰 10건 이상, 시험 운영 기록, 기존 제품 후기", "문제, 빈도, 지불 의사"),
    ),
)  # fmt: skip
_SOURCES_RD: tuple[_Rows, _Rows] = (
    (
        ("Papers", "Google Scholar, arXiv, PubMed, IEEE Xplore", "state of the art, best values"),
        ("Patents", "Espacenet, Google Patents, USPTO, WIPO Patentscope",
         "holders, freedom to operate, gaps"),
        ("Funded projects", "CORDIS, NSF Award Search, NIH RePORTER",
         "overlap with earlier projects"),
        ("Standards and test methods", "ISO, IEC, ASTM, national bodies",
         "how each indicator is measured"),
        ("Users", "letters from those who would use the result", "required values, adoption"),
    ),
    (
        ("논문", "ScienceON, RISS, DBpia, Google Scholar", "기술 수준, 세계 최고 수치"),
        ("특허", "KIPRIS, Espacenet, Google Patents", "권리자, 침해 가능성, 공백 기술"),
        ("국가 과제", "국가과학기술지식정보서비스(NTIS)", "선행 과제와의 중복 여부"),
        ("표준·시험법", "국가표준인증통합정보시스템(e나라표준인증), ISO, IEC",
         "지표별 측정 방법과 시험기관"),
        ("수요처", "수요 기업 인터뷰, 구매의향서", "요구 성능, 도입 조건"),
    ),
)  # fmt: skip
_SOURCES_BOTH: tuple[_Rows, _Rows] = (
    (
        ("Law and permits", "official gazettes, EUR-Lex, Federal Register, regulators' sites",
         "duties, permits, time needed"),
    ),
    (
        ("법령·인허가", "국가법령정보센터, 규제정보포털, 소관 부처 고시",
         "의무 사항, 인허가, 소요 기간"),
    ),
)  # fmt: skip
_QUERIES_BIZPLAN = (
    (
        "{topic} market size statistics {region}",
        "{topic} number of customers {region}",
        "{topic} price comparison",
        "{topic} competitors {rival}",
        "{topic} regulation permit {region}",
        "{topic} annual report revenue",
    ),
    (
        "{topic} 시장 규모 통계 {region}",
        "{topic} 이용자 수 실태조사",
        "{topic} 가격 비교",
        "{topic} 경쟁사 {rival}",
        "{topic} 규제 인허가 {region}",
        "{topic} 사업보고서 매출",
    ),
)
_QUERIES_RD = (
    (
        "{topic} state of the art review",
        "{topic} benchmark best performance",
        "{topic} patent {rival}",
        "{topic} test method standard",
        "{topic} funded project {region}",
        "{topic} limitations",
    ),
    (
        "{topic} 기술 동향",
        "{topic} 세계 최고 수준 성능",
        "{topic} 특허 {rival}",
        "{topic} 시험 방법 표준",
        "{topic} 국가연구개발과제 {region}",
        "{topic} state of the art review",
    ),
)
_CANVAS: tuple[_Blocks, _Blocks] = (
    (
        ("Customer segments", ("customers", "region"), "Who is first, by name if possible?"),
        ("Value proposition", ("solution", "advantages"), "What changes for them, in numbers?"),
        ("Channels", ("channels",), "How do the first ten hear of it and buy?"),
        ("Customer relationships", (), "What keeps them, and what makes them leave?"),
        ("Revenue streams", ("price",), "Who pays what, when, under which terms?"),
        ("Key resources", ("technology", "team"), "Which of these do we not own yet?"),
        ("Key activities", ("milestones",), "What must we do ourselves, week by week?"),
        ("Key partners", ("partners",), "Who must say yes, and what do they gain?"),
        ("Cost structure", ("unit_cost", "fixed_costs"), "Which cost grows with each sale?"),
    ),
    (
        ("고객군", ("customers", "region"), "첫 고객은 누구인가(가능하면 실명)?"),
        ("가치 제안", ("solution", "advantages"), "고객에게 무엇이 얼마나 달라지는가?"),
        ("채널", ("channels",), "첫 10곳은 어떻게 알고 구매하는가?"),
        ("고객 관계", (), "왜 계속 쓰고, 무엇 때문에 떠나는가?"),
        ("수익원", ("price",), "누가 얼마를 언제 어떤 조건으로 내는가?"),
        ("핵심 자원", ("technology", "team"), "아직 확보하지 못한 자원은 무엇인가?"),
        ("핵심 활동", ("milestones",), "직접 해야 하는 일은 무엇인가?"),
        ("핵심 파트너", ("partners",), "누구의 동의가 필요하며 그들은 무엇을 얻는가?"),
        ("비용 구조", ("unit_cost", "fixed_costs"), "판매할 때마다 늘어나는 비용은 무엇인가?"),
    ),
)
_SCOPE: tuple[_Blocks, _Blocks] = (
    (
        ("Problem", ("problem",), "Whose problem is it, and what does it cost them now?"),
        ("Limits of present technology", ("competitors", "prior_work"),
         "Which value does the best known method reach?"),
        ("Research question", ("objectives",), "What will be known or possible afterwards?"),
        ("Approach", ("technology", "methodology", "solution"), "Why should this work?"),
        ("Measured by", ("kpis",), "Which value, measured how, counts as success?"),
        ("In scope", ("period_months", "trl_start", "trl_target"),
         "What is finished at the end of the project?"),
        ("Out of scope", (), "What will deliberately not be done?"),
        ("Who", ("team", "partners"), "Which skill is missing?"),
    ),
    (
        ("문제", ("problem",), "누구의 문제이며 현재 어떤 손실이 있는가?"),
        ("기존 기술의 한계", ("competitors", "prior_work"),
         "지금까지 가장 좋은 방법의 수치는 얼마인가?"),
        ("연구 목표", ("objectives",), "과제가 끝나면 무엇이 가능해지는가?"),
        ("접근 방법", ("technology", "methodology", "solution"), "왜 이 방법이 통하는가?"),
        ("성과지표", ("kpis",), "어떤 값을 어떻게 측정하면 성공인가?"),
        ("범위", ("period_months", "trl_start", "trl_target"), "과제 기간에 어디까지 끝내는가?"),
        ("제외 범위", (), "의도적으로 하지 않는 것은 무엇인가?"),
        ("수행 주체", ("team", "partners"), "부족한 역량은 무엇인가?"),
    ),
)  # fmt: skip
_STORY_BIZPLAN: tuple[_Blocks, _Blocks] = (
    (
        ("Customer", ("customers",), "a person or firm the reader can picture"),
        ("Problem", ("problem",), "what it costs, and how often"),
        ("Answer", ("product", "solution"), "the shortest demonstration that it works"),
        ("Why this one", ("advantages", "competitors"), "what a rival cannot copy quickly"),
        ("Size", ("market_size", "tam", "sam", "som"), "a count of customers times a price"),
        ("Money", ("price", "unit_cost"), "what is left of each sale"),
        ("Proof", ("prior_work", "kpis"), "what has happened already, with dates"),
        ("Team", ("team",), "why these people"),
        (
            "Ask",
            ("funding", "government_funding", "use_of_funds"),
            "the sum, and what exists when it is spent",
        ),
        ("Next", ("milestones",), "the first date on which the reader can check on us"),
    ),
    (
        ("고객", ("customers",), "읽는 사람이 떠올릴 수 있는 구체적인 고객"),
        ("문제", ("problem",), "얼마나 자주, 얼마의 손실이 생기는지"),
        ("해결", ("product", "solution"), "작동한다는 가장 짧은 증명"),
        ("차별성", ("advantages", "competitors"), "경쟁사가 빨리 따라 할 수 없는 것"),
        ("시장", ("market_size", "tam", "sam", "som"), "고객 수 × 가격으로 계산한 크기"),
        ("수익", ("price", "unit_cost"), "판매 1건에서 남는 금액"),
        ("증거", ("prior_work", "kpis"), "이미 이룬 것과 그 시기"),
        ("팀", ("team",), "왜 이 사람들이어야 하는지"),
        (
            "요청",
            ("funding", "government_funding", "use_of_funds"),
            "금액과, 그 돈을 다 썼을 때 남는 것",
        ),
        ("다음", ("milestones",), "성과를 확인할 수 있는 첫 날짜"),
    ),
)
_STORY_RD: tuple[_Blocks, _Blocks] = (
    (
        ("Problem of policy or industry", ("problem", "market"), "who suffers, with a figure"),
        ("Limit of present technology", ("competitors", "prior_work"), "the best value known"),
        ("Gap", ("objectives",), "required value against present value"),
        ("Need for public funding", ("government_funding",), "why the market does not do it"),
        ("Approach", ("technology", "methodology"), "why this closes the gap"),
        ("Targets", ("kpis", "trl_start", "trl_target"), "value, test method, evidence"),
        ("Team", ("team", "partners"), "who does which part"),
        ("Use of the results", ("customers", "channels"), "who uses them, and when"),
        ("Means", ("budget", "period_months"), "cost by item and year"),
    ),
    (
        ("정책·산업 문제", ("problem", "market"), "누가 얼마의 손실을 겪는지"),
        ("기존 기술의 한계", ("competitors", "prior_work"), "현재 최고 수준의 수치"),
        ("격차", ("objectives",), "필요 수준과 현재 수준의 차이"),
        ("정부 지원의 필요성", ("government_funding",), "시장에만 맡길 수 없는 이유"),
        ("접근 방법", ("technology", "methodology"), "격차를 메울 수 있는 이유"),
        ("목표", ("kpis", "trl_start", "trl_target"), "목표값, 시험 방법, 증빙"),
        ("추진체계", ("team", "partners"), "누가 어느 부분을 맡는지"),
        ("성과 활용", ("customers", "channels"), "누가 언제 쓰는지"),
        ("연구개발비", ("budget", "period_months"), "비목별·연도별 금액"),
    ),
)
_TRL = (
    (
        "basic principles observed",
        "concept formulated",
        "proof of concept in the laboratory",
        "core performance validated in the laboratory",
        "prototype built and its performance tested",
        "pilot prototype demonstrated",
        "reliability proved, evaluated by a user",
        "certified, standards met",
        "in production and on the market",
    ),
    (
        "기초이론",
        "개념정립",
        "실험실 기본성능",
        "실험실 핵심성능(소재·부품·시스템)",
        "시작품 제작·성능",
        "파일롯 시작품",
        "신뢰성·수요기업 평가",
        "인증·표준화",
        "사업화",
    ),
)
_PESTEL = (
    (
        ("Political", "Which programme, tariff or procurement rule helps or blocks this?"),
        ("Economic", "Which income, interest or input price moves demand or cost?"),
        ("Social", "Which habit or population trend changes the number of customers?"),
        ("Technological", "Which technology makes it possible, and which makes it obsolete?"),
        ("Environmental", "Which emission, waste or supply limit applies?"),
        ("Legal", "Which law, permit, data or liability rule must be met before selling?"),
    ),
    (
        ("정치(P)", "어떤 지원 사업, 조달 제도, 통상 정책이 영향을 주는가?"),
        ("경제(E)", "어떤 소득, 금리, 원자재 가격이 수요와 원가를 움직이는가?"),
        ("사회(S)", "어떤 생활 양식이나 인구 변화가 고객 수를 바꾸는가?"),
        ("기술(T)", "어떤 기술이 가능하게 하고, 어떤 기술이 대체하는가?"),
        ("환경(E)", "어떤 배출, 폐기물, 공급 제약이 적용되는가?"),
        ("법률(L)", "판매 전에 지켜야 할 법, 인허가, 개인정보·책임 규정은 무엇인가?"),
    ),
)
