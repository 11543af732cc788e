"""Phase 4: the document is written. Tables and charts need the research, not the draft."""

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task

PHASE = Phase(
    number=4,
    name="writing",
    tasks=(
        Task(
            name="draft",
            title_en="Draft of the document",
            title_ko="문서 초안",
            agent=AgentType.CLAUDE,
            max_output_tokens=32_000,
        ),
        Task(
            name="charts",
            title_en="Tables and figures",
            title_ko="표와 그림",
            agent=AgentType.GEMINI,
        ),
        Task(
            name="executive_summary",
            title_en="Executive summary",
            title_ko="요약문",
            agent=AgentType.CHATGPT,
            reads=("draft",),
            max_output_tokens=4_000,
        ),
    ),
)
