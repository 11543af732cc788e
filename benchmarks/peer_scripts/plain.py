"""What one writes in ten minutes: ``asyncio.gather``, a semaphore and the vendor's SDK."""

from __future__ import annotations

import asyncio

from common import MAX_TOKENS, MODEL, Work, run
from openai import AsyncOpenAI, DefaultAioHttpClient


async def ask_all(work: Work) -> None:
    gate = asyncio.Semaphore(work.at_once)
    async with AsyncOpenAI(
        api_key="sk-none", base_url=f"{work.url}/openai/v1", http_client=DefaultAioHttpClient()
    ) as client:

        async def ask(prompt: str) -> str:
            async with gate:
                answer = await client.responses.create(
                    model=MODEL, input=prompt, max_output_tokens=MAX_TOKENS
                )
                return answer.output_text

        await asyncio.gather(*map(ask, work.prompts))


run(lambda work: asyncio.run(ask_all(work)))
