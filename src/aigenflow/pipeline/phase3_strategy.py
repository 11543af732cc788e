"""Phase 3: what follows from it? The drivers of the model are proposed beside the strategy."""

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
        Task(
            name="financial_model",
            title_en="Drivers of the financial model",
            title_ko="재무 모델의 가정",
            agent=AgentType.CHATGPT,
            reads=("swot_analysis",),
        ),
    ),
)
