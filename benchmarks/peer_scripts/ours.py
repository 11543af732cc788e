"""aigenflow as a library: each prompt through the whole router, with cache, budget and ledger."""

from __future__ import annotations

import asyncio

from common import MAX_TOKENS, MODEL, Work, run

from aigenflow.app import App
from aigenflow.core.config import AgentsSettings, BudgetSettings, Settings
from aigenflow.core.models import AgentRequest, AgentType, Backend


async def ask_all(work: Work) -> None:
    agents = AgentsSettings()
    how = {
        "backend": Backend.OPENAI,
        "model": MODEL,
        "base_url": f"{work.url}/openai/v1",
        "concurrency": work.at_once,
    }
    settings = Settings(
        agents=agents.model_copy(update={"chatgpt": agents.chatgpt.model_copy(update=how)}),
        budget=BudgetSettings(daily_usd=1000),
    )
    gate = asyncio.Semaphore(work.at_once)
    async with App(settings, home=work.folder) as app:

        async def ask(prompt: str) -> str:
            request = AgentRequest(
                agent=AgentType.CHATGPT,
                phase=0,
                task="ask",
                prompt=prompt,
                max_output_tokens=MAX_TOKENS,
            )
            async with gate:
                return (await app.ask(request)).response.content

        await asyncio.gather(*map(ask, work.prompts))


run(lambda work: asyncio.run(ask_all(work)))
