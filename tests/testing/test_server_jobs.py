"""The server's batch jobs against the official SDKs, and what the script makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import Json
from aigenflow.testing.bill import question_of, summarise
from aigenflow.testing.server import WireServer
from aigenflow.testing.wire_script import parse_script

if TYPE_CHECKING:
    import anthropic
    import openai
    from google import genai

MODEL = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-6.1-sol", "gemini": "gemini-3.8-flash"}


def anthropic_requests(*prompts: str) -> Any:
    return [
        {
            "custom_id": f"i-{number}",
            "params": {
                "model": MODEL["anthropic"],
                "max_tokens": 100,
                "messages": [{"role": "user", "content": prompt}],
            },
        }
        for number, prompt in enumerate(prompts)
    ]


def openai_file(*prompts: str) -> bytes:
    lines = [
        {
            "custom_id": f"i-{number}",
            "method": "POST",
            "url": "/v1/responses",
            "body": {"model": MODEL["openai"], "input": prompt},
        }
        for number, prompt in enumerate(prompts)
    ]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()


async def test_anthropic(server: WireServer, claude: anthropic.AsyncAnthropic) -> None:
    """Create, look, list, fetch: the SDK parses each, and the results are what was billed."""
    batches = claude.messages.batches
    made = await batches.create(requests=anthropic_requests("가", "나"))
    assert made.processing_status == "in_progress"
    assert made.request_counts.processing == 2
    assert made.results_url is None
    assert (await batches.retrieve(made.id)).processing_status == "in_progress"
    over = await batches.retrieve(made.id)
    assert over.processing_status == "ended"
    assert (over.request_counts.succeeded, over.request_counts.processing) == (2, 0)
    found = {one.custom_id: one.result async for one in await batches.results(made.id)}
    assert [line.item for line in server.bill] == list(found) == ["i-0", "i-1"]
    for line in server.bill:
        result = found[line.item]
        assert result.type == "succeeded"
        assert result.message.usage.output_tokens == line.output_tokens
        assert result.message.usage.service_tier == line.tier == "batch"
    assert [batch.id async for batch in batches.list()] == [made.id]


async def test_anthropic_delete(server: WireServer, claude: anthropic.AsyncAnthropic) -> None:
    """A batch can be deleted when it has ended; then nobody knows it."""
    from anthropic import BadRequestError, NotFoundError

    made = await claude.messages.batches.create(requests=anthropic_requests("가"))
    with pytest.raises(BadRequestError):
        await claude.messages.batches.delete(made.id)
    await claude.messages.batches.retrieve(made.id)
    assert (await claude.messages.batches.delete(made.id)).type == "message_batch_deleted"
    with pytest.raises(NotFoundError):
        await claude.messages.batches.retrieve(made.id)


async def test_anthropic_cancel_and_errors(
    server: WireServer, claude: anthropic.AsyncAnthropic
) -> None:
    """A cancelled batch tallies what was cancelled; an unknown one is not found."""
    import anthropic

    server.use({"jobs": [{"action": {"stuck": True, "done": 0.5}}]})
    batches = claude.messages.batches
    made = await batches.create(requests=anthropic_requests("a", "b"))
    stopping = await batches.cancel(made.id)
    assert (stopping.processing_status, stopping.cancel_initiated_at is None) == (
        "canceling",
        False,
    )
    await batches.retrieve(made.id)
    over = await batches.retrieve(made.id)
    assert (over.request_counts.succeeded, over.request_counts.canceled) == (1, 1)
    kinds = [one.result.type async for one in await batches.results(made.id)]
    assert kinds == ["succeeded", "canceled"]
    with pytest.raises(anthropic.NotFoundError):
        await batches.retrieve("msgbatch_none")
    twice = anthropic_requests("a")[0]
    with pytest.raises(anthropic.BadRequestError, match="custom_id"):
        await batches.create(requests=[twice, twice])


async def test_openai(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """Upload, create, look, list, fetch: the SDK parses each."""
    file = await gpt.files.create(file=("a.jsonl", openai_file("가", "나")), purpose="batch")
    made = await gpt.batches.create(
        input_file_id=file.id,
        endpoint="/v1/responses",
        completion_window="24h",
        metadata={"tag": "t"},
    )
    assert (made.status, made.metadata) == ("validating", {"tag": "t"})
    await gpt.batches.retrieve(made.id)
    over = await gpt.batches.retrieve(made.id)
    assert over.status == "completed"
    assert over.request_counts is not None
    assert (over.request_counts.total, over.request_counts.completed) == (2, 2)
    assert over.error_file_id is None
    assert over.output_file_id is not None
    content = await gpt.files.content(over.output_file_id)
    lines = [json.loads(line) for line in content.text.splitlines()]
    assert [line["custom_id"] for line in lines] == ["i-0", "i-1"]
    for line, billed in zip(lines, server.bill, strict=True):
        assert line["response"]["status_code"] == 200
        assert line["response"]["body"]["usage"]["output_tokens"] == billed.output_tokens
    assert [batch.id async for batch in gpt.batches.list()] == [made.id]


async def test_openai_delete(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """A file is there until it is deleted."""
    from openai import NotFoundError

    file = await gpt.files.create(file=("a.jsonl", openai_file("가")), purpose="batch")
    assert server.files == (file.id,)
    assert (await gpt.files.delete(file.id)).deleted
    assert server.files == ()
    with pytest.raises(NotFoundError):
        await gpt.files.content(file.id)


async def test_openai_error_file_and_race(server: WireServer, gpt: openai.AsyncOpenAI) -> None:
    """Errors stand in a file of their own; a batch that is over cannot be cancelled."""
    import openai

    rules = [{"action": {"status": 400}}]
    server.use({"rules": rules, "jobs": [{"action": {"polls": 0}}]})
    file = await gpt.files.create(file=("a.jsonl", openai_file("a")), purpose="batch")
    made = await gpt.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
    )
    over = await gpt.batches.retrieve(made.id)
    assert over.output_file_id is None
    assert over.error_file_id is not None
    (line,) = (await gpt.files.content(over.error_file_id)).text.splitlines()
    assert json.loads(line)["response"]["status_code"] == 400
    assert not any(line.billed for line in server.bill)
    with pytest.raises(openai.ConflictError):
        await gpt.batches.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        await gpt.batches.create(
            input_file_id="file-none", endpoint="/v1/responses", completion_window="24h"
        )


async def test_gemini_file(server: WireServer, gemini: genai.client.AsyncClient) -> None:
    """A job of a file: the SDK uploads, makes, looks at, lists and downloads it."""
    from google.genai import types

    lines = [
        {"key": f"i-{n}", "request": {"contents": [{"parts": [{"text": "가"}]}]}} for n in (0, 1)
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = await gemini.files.upload(
        file=io.BytesIO(data), config=types.UploadFileConfig(mime_type="application/jsonl")
    )
    assert file.name is not None
    made = await gemini.batches.create(
        model=MODEL["gemini"], src=file.name, config={"display_name": "tag"}
    )
    assert made.name is not None
    assert (made.display_name, made.state) == ("tag", types.JobState.JOB_STATE_PENDING)
    await gemini.batches.get(name=made.name)
    over = await gemini.batches.get(name=made.name)
    assert over.state is types.JobState.JOB_STATE_SUCCEEDED
    assert over.dest is not None
    assert over.dest.file_name is not None
    content = await gemini.files.download(file=over.dest.file_name)
    found = [json.loads(line) for line in content.splitlines()]
    assert [line["key"] for line in found] == ["i-0", "i-1"]
    for line, billed in zip(found, server.bill, strict=True):
        answer = types.GenerateContentResponse.model_validate(line["response"])
        assert answer.usage_metadata is not None
        assert answer.usage_metadata.prompt_token_count == billed.input_tokens
    assert [job.name async for job in await gemini.batches.list()] == [made.name]


async def test_gemini_delete(server: WireServer, gemini: genai.client.AsyncClient) -> None:
    """Files are listed by name and deleted, but for those of answers; jobs are deleted as well."""
    from google.genai import errors, types

    line = {"key": "i", "request": {"contents": [{"parts": [{"text": "가"}]}]}}
    config = types.UploadFileConfig(mime_type="application/jsonl", display_name="tag")
    file = await gemini.files.upload(file=io.BytesIO(json.dumps(line).encode()), config=config)
    assert file.name is not None
    listed = [each async for each in await gemini.files.list()]
    assert [(each.name, each.display_name) for each in listed] == [(file.name, "tag")]
    made = await gemini.batches.create(
        model=MODEL["gemini"], src=file.name, config={"display_name": "tag"}
    )
    assert made.name is not None
    await gemini.batches.get(name=made.name)
    over = await gemini.batches.get(name=made.name)
    assert over.dest is not None
    assert over.dest.file_name is not None
    await gemini.files.delete(name=file.name)
    await gemini.batches.delete(name=made.name)
    with pytest.raises(errors.ClientError, match="cannot be more than 40"):
        await gemini.files.delete(name=over.dest.file_name)
    assert server.files == (over.dest.file_name,)
    with pytest.raises(errors.ClientError):
        await gemini.batches.get(name=made.name)


async def test_gemini_inline(server: WireServer, gemini: genai.client.AsyncClient) -> None:
    """Requests inside the call bring their answers inside the job, without their metadata."""
    from google.genai import types

    made = await gemini.batches.create(
        model=MODEL["gemini"],
        src=[
            types.InlinedRequest(contents=[types.Content(parts=[types.Part(text=prompt)])])
            for prompt in ("a", "b")
        ],
        config={"display_name": "tag"},
    )
    assert made.name is not None
    await gemini.batches.get(name=made.name)
    over = await gemini.batches.get(name=made.name)
    assert over.dest is not None
    answers = over.dest.inlined_responses
    assert answers is not None
    assert [answer.response is not None for answer in answers] == [True, True]
    assert len(server.bill) == 2


async def test_gemini_cancel(server: WireServer, gemini: genai.client.AsyncClient) -> None:
    """A cancelled job that had done nothing has no output."""
    from google.genai import types

    server.use({"jobs": [{"action": {"stuck": True, "cancel_polls": 0}}]})
    contents = [types.Content(parts=[types.Part(text="a")])]
    made = await gemini.batches.create(
        model=MODEL["gemini"],
        src=[types.InlinedRequest(contents=contents)],
        config={"display_name": "tag"},
    )
    assert made.name is not None
    await gemini.batches.cancel(name=made.name)
    over = await gemini.batches.get(name=made.name)
    assert over.state is types.JobState.JOB_STATE_CANCELLED
    assert over.dest is None
    assert server.bill == ()


async def test_a_job_is_billed_once_however_often_it_is_looked_at(
    server: WireServer, claude: anthropic.AsyncAnthropic
) -> None:
    """The results are made, and charged, when the job ends and at no other time."""
    batches = claude.messages.batches
    made = await batches.create(requests=anthropic_requests("a"))
    assert server.bill == ()
    for _look in range(4):
        await batches.retrieve(made.id)
        [one async for one in batches.list()]
    for _fetch in range(2):
        [one async for one in await batches.results(made.id)]
    assert len(server.bill) == 1
    assert server.bill[0].job == made.id


async def test_the_same_question_live_and_in_a_job_is_bought_twice(
    server: WireServer, claude: anthropic.AsyncAnthropic
) -> None:
    """The bill knows a question again, whichever way it was bought."""
    asked = anthropic_requests("a")
    await claude.messages.create(**asked[0]["params"])
    async with claude.messages.stream(**asked[0]["params"]) as stream:
        await stream.get_final_message()
    assert summarise(server.bill)["total"]["duplicates"] == 1
    server.use({"jobs": [{"action": {"polls": 0}}]})
    made = await claude.messages.batches.create(requests=asked)
    await claude.messages.batches.retrieve(made.id)
    assert summarise(server.bill)["total"]["duplicates"] == 2


@pytest.mark.parametrize("how", [{"stream": True}, {"service_tier": "flex"}, {"serviceTier": "x"}])
def test_how_it_is_bought_is_no_part_of_a_question(how: Mapping[str, Json]) -> None:
    """Streams and tiers ask the same; another prompt does not."""
    assert question_of({"input": "a", **how}) == question_of({"input": "a"})
    assert question_of({"input": "b", **how}) != question_of({"input": "a"})


async def test_pages_of_the_list(
    server: WireServer, claude: anthropic.AsyncAnthropic, gpt: openai.AsyncOpenAI
) -> None:
    """The SDKs walk through the pages and meet each job once, the newest first."""
    batches = claude.messages.batches
    made = [(await batches.create(requests=anthropic_requests(each))).id for each in "abc"]
    assert [batch.id async for batch in batches.list(limit=1)] == made[::-1]
    file = await gpt.files.create(file=("r.jsonl", openai_file("a")), purpose="batch")
    jobs = [
        await gpt.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )
        for _job in range(3)
    ]
    listed = [batch.id async for batch in gpt.batches.list(limit=2)]
    assert listed == [job.id for job in reversed(jobs)]


async def test_job_rules(server: WireServer, claude: anthropic.AsyncAnthropic) -> None:
    """The first rule that fits a new job decides; counters and texts work as for live calls."""
    script = {
        "jobs": [
            {"match": {"provider": "openai"}, "action": {"create_status": 500}},
            {"match": {"contains": "둘째"}, "action": {"create_status": 503}},
            {"match": {"times": 1}, "action": {"create_status": 529}},
            {"match": {"nth": 3}, "action": {"create_status": 400}},
        ]
    }
    server.use(script)
    statuses = [await _status(claude, prompt) for prompt in ("첫째", "둘째", "셋째", "넷째")]
    assert statuses == [529, 503, 400, 200]


async def _status(claude: anthropic.AsyncAnthropic, prompt: str) -> int:
    import anthropic

    try:
        await claude.messages.batches.create(requests=anthropic_requests(prompt))
    except anthropic.APIStatusError as error:
        return error.status_code
    return 200


@pytest.mark.parametrize(
    "action",
    [{"done": 1.5}, {"polls": -1}, {"end": "never"}, {"create_status": 200}, {"oops": 1}],
)
def test_a_wrong_job_action(action: Mapping[str, Json]) -> None:
    """The script is refused, and the place is named."""
    with pytest.raises(ConfigError, match=r"jobs\.0\.action"):
        parse_script({"jobs": [{"action": dict(action)}]})


async def test_flex_is_billed_as_flex_or_refused(
    server: WireServer, gpt: openai.AsyncOpenAI, gemini: genai.client.AsyncClient
) -> None:
    """Without room a flex call costs nothing, and a live one is answered as ever."""
    import openai
    from google.genai import errors

    ask: Any = {"model": MODEL["openai"], "input": "x"}
    answer = await gpt.responses.create(**ask, service_tier="flex")
    assert (answer.service_tier, server.bill[-1].tier) == ("flex", "flex")
    server.use({"defaults": {"fault": "no_capacity"}})
    with pytest.raises(openai.RateLimitError) as caught:
        await gpt.responses.create(**ask, service_tier="flex")
    assert caught.value.code == "resource_unavailable"
    assert (await gpt.responses.create(**ask)).service_tier == "default"
    question: Any = {"model": MODEL["gemini"], "contents": "x"}
    with pytest.raises(errors.ServerError):
        await gemini.models.generate_content(**question, config={"service_tier": "flex"})
    await gemini.models.generate_content(**question)
    assert [line.billed for line in server.bill] == [True, False, True, False, True]


async def test_a_call_may_be_served_at_another_tier(
    server: WireServer, gpt: openai.AsyncOpenAI
) -> None:
    """What the answer says is what is billed."""
    rule = {"match": {"tier": "flex"}, "action": {"tier": "priority"}}
    server.use({"rules": [rule]})
    ask: Any = {"model": MODEL["openai"], "input": "x"}
    assert (await gpt.responses.create(**ask, service_tier="flex")).service_tier == "priority"
    assert (await gpt.responses.create(**ask)).service_tier == "default"
    assert [line.tier for line in server.bill] == ["priority", "default"]
