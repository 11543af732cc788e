"""Phase 5: is it true, is it whole, does it read well?"""

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task

PHASE = Phase(
    number=5,
    name="review",
    tasks=(
        Task(
            name="verify",
            title_en="Verification",
            title_ko="검증",
            agent=AgentType.PERPLEXITY,
            web_search=True,
        ),
        Task(
            name="final_review",
            title_en="Final review",
            title_ko="최종 검토",
            agent=AgentType.CLAUDE,
            reads=("verify",),
        ),
        Task(
            name="polish",
            title_en="Final document",
            title_ko="최종 문서",
            agent=AgentType.CLAUDE,
            reads=("verify", "final_review"),
            max_output_tokens=32_000,
        ),
    ),
)
