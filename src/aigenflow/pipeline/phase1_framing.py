"""Phase 1: what is it, for whom, and does it hold together?"""

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task

PHASE = Phase(
    number=1,
    name="framing",
    tasks=(
        Task(
            name="brainstorm",
            title_en="Ideas and framing",
            title_ko="아이디어와 구상",
            agent=AgentType.CHATGPT,
        ),
        Task(
            name="validate",
            title_en="Check of the framing",
            title_ko="구상 검토",
            agent=AgentType.CLAUDE,
            reads=("brainstorm",),
        ),
    ),
)
