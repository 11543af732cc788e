"""Phase 2: what is known, and where does it stand? Both researchers work at the same time."""

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task

PHASE = Phase(
    number=2,
    name="research",
    tasks=(
        Task(
            name="deep_search",
            title_en="Research",
            title_ko="자료 조사",
            agent=AgentType.GEMINI,
            web_search=True,
        ),
        Task(
            name="fact_check",
            title_en="Checked facts",
            title_ko="사실 확인",
            agent=AgentType.PERPLEXITY,
            web_search=True,
        ),
    ),
)
