"""The wire-format server against the official SDKs: what they parse is what was billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aigenflow.testing.server import WireServer

if TYPE_CHECKING:
    import anthropic
    import openai
    from google import genai

PROMPT = "시장 규모를 출처와 함께 말해 주세요."
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


async def test_anthropic_whole_answer(server: WireServer, claude: anthropic.AsyncAnthropic) -> None:
    """Text, thinking, citations and counts of a whole answer are parsed."""
    message = await claude.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=4000,
        messages=[{"role": "user", "content": PROMPT}],
        tools=[SEARCH],
        thinking=THINKING,
    )
    kinds = [block.type for block in message.content]
    assert kinds[:3] == ["thinking", "server_tool_use", "web_search_tool_result"]
    citations = [
        citation
        for block in message.content
        if block.type == "text"
        for citation in block.citations or []
    ]
    assert len(citations) == 3
    (line,) = server.bill
    assert message.usage.input_tokens == line.input_tokens
    assert message.usage.output_tokens == line.output_tokens
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens == line.reasoning_tokens > 0
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == line.search_calls == 1


async def test_anthropic_stream(server: WireServer, claude: anthropic.AsyncAnthropic) -> None:
    """The accumulated stream equals a whole answer in shape, text, citations and counts."""
    async with claude.messages.stream(
        model="claude-sonnet-5-5",
        max_tokens=4000,
        messages=[{"role": "user", "content": PROMPT}],
        tools=[SEARCH],
        thinking=THINKING,
    ) as stream:
        pieces = [piece async for piece in stream.text_stream]
        message = await stream.get_final_message()
    texts = [block for block in message.content if block.type == "text"]
    assert "".join(pieces) == "".join(block.text for block in texts)
    assert len(pieces) > 5
    assert sum(len(block.citations or []) for block in texts) == 3
    assert message.stop_reason == "end_turn"
    (line,) = server.bill
    assert message.usage.output_tokens == line.output_tokens
    assert (line.stream, line.outcome) == (True, "complete")
    assert f"Answer {line.body_sha256[:8]}" in "".join(pieces)


async def test_anthropic_errors(claude: anthropic.AsyncAnthropic, server: WireServer) -> None:
    """Scripted and real refusals become the SDK's own exceptions."""
    from anthropic import APIStatusError, BadRequestError, RateLimitError

    ask: Any = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "x"}],
    }
    with pytest.raises(BadRequestError, match="temperature"):
        await claude.messages.create(**ask, extra_body={"temperature": 1})
    server.use({"rules": [{"action": {"status": 429, "headers": {"retry-after": "7"}}}]})
    with pytest.raises(RateLimitError) as limited:
        await claude.messages.create(**ask)
    assert limited.value.response.headers["retry-after"] == "7"
    server.use({"rules": [{"action": {"fault": "error_event:4"}}]})
    with pytest.raises(APIStatusError, match="overloaded_error"):
        async with claude.messages.stream(**ask) as stream:
            await stream.get_final_message()


async def test_anthropic_models(claude: anthropic.AsyncAnthropic) -> None:
    """The list of models is parsed."""
    assert [model.id async for model in claude.models.list()][1] == "claude-sonnet-5-5"


async def test_openai_whole_answer(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """Annotations point at the links in the text; counts equal the bill."""
    response = await gpt.responses.create(
        model="gpt-6.1-sol",
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}],
        tools=[{"type": "web_search"}],
        max_output_tokens=2000,
        service_tier="flex",
    )
    assert [item.type for item in response.output] == ["reasoning", "web_search_call", "message"]
    message = response.output[-1]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    for annotation in part.annotations:
        assert annotation.type == "url_citation"
        link = part.text[annotation.start_index : annotation.end_index]
        assert link == f" ([example.com]({annotation.url}))"
    (line,) = server.bill
    assert response.usage is not None
    assert response.usage.input_tokens == line.input_tokens
    assert response.usage.output_tokens == line.output_tokens
    assert response.usage.output_tokens_details.reasoning_tokens == line.reasoning_tokens > 0
    assert response.service_tier == line.tier == "flex"


async def test_openai_stream(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """The deltas make up the final text, and the sequence has no gap."""
    stream = await gpt.responses.create(
        model="gpt-6.1-sol", input=PROMPT, tools=[{"type": "web_search"}], stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert len(events) == server.bill[0].events_sent


async def test_openai_stream_helper(gpt: openai.AsyncOpenAI, server: WireServer) -> None:
    """The SDK's accumulator takes refusals and cut answers as well as whole ones."""
    for finish, status in (("complete", "completed"), ("refusal", "completed")):
        server.use({"defaults": {"finish": finish}})
        async with gpt.responses.stream(model="gpt-6.1-sol", input=PROMPT) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert final.status == status
        assert ("response.refusal.done" in kinds) is (finish == "refusal")
    server.use({"defaults": {"finish": "length"}})
    cut = await gpt.responses.create(model="gpt-6.1-sol", input=PROMPT)
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("stream", [False, True])
async def test_perplexity(server: WireServer, stream: bool) -> None:
    """Through the OpenAI SDK: search results and cost arrive as extra fields."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(
        api_key="k", base_url=server.url + "/perplexity/v1", max_retries=0
    ) as client:
        if stream:
            events = [
                event
                async for event in await client.responses.create(
                    model="perplexity/sonar", input=PROMPT, stream=True
                )
            ]
            assert [event.sequence_number for event in events] == list(range(len(events)))
            last = events[-1]
            assert last.type == "response.completed"
            response = last.response
        else:
            response = await client.responses.create(model="perplexity/sonar", input=PROMPT)
    raw: Any = response.model_dump(mode="json", warnings=False)
    assert [item["type"] for item in raw["output"]] == ["search_results", "message"]
    assert [result["id"] for result in raw["output"][0]["results"]] == [1, 2, 3]
    assert "[3]" in response.output_text
    (line,) = server.bill
    assert line.provider == "perplexity"
    assert str(raw["usage"]["cost"]["total_cost"]) == line.total_cost


@pytest.mark.parametrize("grounded", [False, True])
async def test_gemini_whole_answer(
    grounded: bool, server: WireServer, gemini: genai.client.AsyncClient
) -> None:
    """Grounding offsets count bytes, and the counts add up to the bill."""
    from google.genai import types

    tools: Any = [types.Tool(google_search=types.GoogleSearch())] if grounded else None
    answer = await gemini.models.generate_content(
        model="gemini-3.8-flash",
        contents=PROMPT,
        config=types.GenerateContentConfig(
            system_instruction="Be brief.", max_output_tokens=2000, tools=tools
        ),
    )
    text = answer.text
    assert text is not None
    assert answer.candidates is not None
    metadata = answer.candidates[0].grounding_metadata
    assert (metadata is not None) is grounded
    for support in (metadata and metadata.grounding_supports) or []:
        segment = support.segment
        assert segment is not None
        assert text.encode()[segment.start_index : segment.end_index].decode() == segment.text
    (line,) = server.bill
    usage = answer.usage_metadata
    assert usage is not None
    said, thought = usage.candidates_token_count, usage.thoughts_token_count
    assert (said or 0) + (thought or 0) == line.output_tokens
    assert thought == line.reasoning_tokens > 0
    sent = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    assert sent == line.input_tokens


async def test_gemini_stream(server: WireServer, gemini: genai.client.AsyncClient) -> None:
    """The chunks make up the answer; the last one has the reason for the end and the counts."""
    stream = await gemini.models.generate_content_stream(model="gemini-3.8-flash", contents=PROMPT)
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.text or "" for chunk in chunks)
    (line,) = server.bill
    assert f"Answer {line.body_sha256[:8]}" in text
    assert len(chunks) == line.events_sent > 3
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == "STOP"
    assert last.usage_metadata is not None


async def test_gemini_models_and_errors(
    server: WireServer, gemini: genai.client.AsyncClient
) -> None:
    """The list of models is parsed, and a refusal becomes the SDK's exception."""
    from google.genai import errors

    names = [model.name async for model in await gemini.models.list()]
    assert "models/gemini-3.8-flash" in names
    server.use({"rules": [{"action": {"status": 503}}]})
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        await gemini.models.generate_content(model="gemini-3.8-flash", contents="x")
    server.use({"defaults": {"finish": "blocked"}})
    answer = await gemini.models.generate_content(model="gemini-3.8-flash", contents="x")
    assert answer.prompt_feedback is not None
    assert answer.candidates is None


async def test_compatible(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """Chat completions, whole and streamed, with the counts of the last chunk."""
    ask: Any = {"model": "llama", "messages": [{"role": "user", "content": PROMPT}]}
    whole = await gpt.chat.completions.create(**ask)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == server.bill[0].output_tokens
    stream = await gpt.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert f"Answer {server.bill[1].body_sha256[:8]}" in text
    assert chunks[-1].usage is not None
    bare = await gpt.chat.completions.create(**ask, stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in bare])
