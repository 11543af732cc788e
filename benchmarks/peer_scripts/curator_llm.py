"""Curator with its own cache of whole runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["CURATOR_CACHE_DIR"] = sys.argv[4]
os.environ["OPENAI_API_KEY"] = "sk-none"
os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import litellm
from bespokelabs import curator
from common import MAX_TOKENS, MODEL, Work, run

# It counts tokens with a vocabulary that it would download; LiteLLM brings one along.
vocabularies = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
os.environ["TIKTOKEN_CACHE_DIR"] = str(vocabularies)


def ask_all(work: Work) -> None:
    model = curator.LLM(
        model_name=MODEL,
        backend="openai",
        backend_params={
            "base_url": f"{work.url}/openai/v1",
            "max_concurrent_requests": work.at_once,
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**9,
        },
        generation_params={"max_tokens": MAX_TOKENS},
    )
    assert len(model(work.prompts).dataset) == len(work.prompts)


run(ask_all)
