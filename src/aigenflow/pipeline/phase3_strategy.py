"""Phase 3: what follows from it?"""

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task

PHASE = Phase(
    number=3,
    name="strategy",
    tasks=(
        Task(
            name="swot_analysis", title_en="Analysis", title_ko="전략 분석", agent=AgentType.CHATGPT
        ),
        Task(
            name="narrative",
            title_en="Strategy",
            title_ko="전략 서술",
            agent=AgentType.CLAUDE,
            reads=("swot_analysis",),
        ),
    ),
)
