"""LiteLLM's SDK with the cache that it has without a server: in memory."""

from __future__ import annotations

import asyncio

import litellm
from common import MAX_TOKENS, MODEL, Work, run
from litellm.caching.caching import Cache

litellm.telemetry = False
litellm.cache = Cache()
loop = asyncio.new_event_loop()


async def ask_all(work: Work) -> None:
    gate = asyncio.Semaphore(work.at_once)

    async def ask(prompt: str) -> str:
        async with gate:
            answer = await litellm.acompletion(
                model=f"openai/{MODEL}",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=MAX_TOKENS,
                api_base=f"{work.url}/openai/v1",
                api_key="sk-none",
                caching=True,
            )
            return answer.choices[0].message.content

    await asyncio.gather(*map(ask, work.prompts))


run(lambda work: loop.run_until_complete(ask_all(work)))
