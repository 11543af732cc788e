"""The wire-format server over plain HTTP: paths, refusals, limits, bill, control."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aigenflow.core.errors import ConfigError
from aigenflow.testing.bill import read_bill
from aigenflow.testing.server import WireServer

CLAUDE = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "Name a risk."}],
}
GPT = {"model": "gpt-6.1-sol", "input": "Name a risk."}
SONAR = {"model": "perplexity/sonar", "input": "Name a risk."}
FLASH = {"contents": [{"role": "user", "parts": [{"text": "Name a risk."}]}]}
LOCAL = {"model": "llama", "messages": [{"role": "user", "content": "Name a risk."}]}

ANTHROPIC_HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
BEARER = {"Authorization": "Bearer sk-test"}
GOOGLE = {"x-goog-api-key": "sk-test"}
FLASH_PATH = "/v1beta/models/gemini-3.8-flash:generateContent"

CALLS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "anthropic": ("/v1/messages", CLAUDE, ANTHROPIC_HEADERS),
    "openai": ("/v1/responses", GPT, BEARER),
    "perplexity": ("/v1/responses", SONAR, BEARER),
    "gemini": (FLASH_PATH, FLASH, GOOGLE),
    "compatible": ("/v1/chat/completions", LOCAL, BEARER),
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession,
    server: WireServer,
    path: str,
    body: Any,
    headers: dict[str, str],
) -> tuple[int, dict[str, Any], Any]:
    """Status, headers and JSON of a POST."""
    async with http.post(server.url + path, json=body, headers=headers) as response:
        return response.status, dict(response.headers), json.loads(await response.text() or "null")


@pytest.mark.parametrize("provider", CALLS)
async def test_every_provider_answers_without_a_prefix(
    provider: str, server: WireServer, http: aiohttp.ClientSession
) -> None:
    """One base URL serves all providers; the bill names the right one."""
    status, _, body = await post(http, server, *CALLS[provider])
    assert status == 200
    (line,) = server.bill
    assert (line.provider, line.billed, line.outcome) == (provider, True, "complete")
    assert f"Answer {line.body_sha256[:8]}" in json.dumps(body)


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/messages", "anthropic"),
        ("/v1/v1/messages", "anthropic"),
        ("/anthropic/v1/messages", "anthropic"),
        ("/anthropic/v1/v1/messages", "anthropic"),
        ("/responses", "openai"),
        ("/openai/v1/responses", "openai"),
        ("/openai/responses", "openai"),
        ("/perplexity/v1/responses", "perplexity"),
        ("/v1/agent", "perplexity"),
        ("/gemini/v1/models/gemini-4-argon:generateContent", "gemini"),
        ("/gemini/v1beta/v1/models/gemini-4-argon:generateContent", "gemini"),
        ("/chat/completions", "compatible"),
        ("/compatible/v1/chat/completions", "compatible"),
    ],
)
async def test_the_version_may_be_missing_or_doubled(
    path: str, provider: str, server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Whatever part of the path an SDK appends, the request finds its provider."""
    _, body, headers = CALLS[provider]
    status, _, _ = await post(http, server, path, body, headers)
    assert status == 200
    assert server.bill[0].provider == provider


async def test_an_unknown_path_is_a_404_without_a_bill(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """What no provider serves is refused and charges nobody."""
    status, _, body = await post(http, server, "/v1/embeddings", {}, BEARER)
    assert (status, body["error"]["code"]) == (404, "unknown_url")
    assert server.bill == ()


async def test_the_same_request_gets_the_same_text(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Equal bodies give equal texts under different ids; another body gives another text."""
    _, _, first = await post(http, server, *CALLS["anthropic"])
    _, _, again = await post(http, server, *CALLS["anthropic"])
    other = {**CLAUDE, "max_tokens": 501}
    _, _, different = await post(http, server, "/v1/messages", other, ANTHROPIC_HEADERS)
    assert first["content"] == again["content"] != different["content"]
    assert first["id"] != again["id"]


async def test_an_answer_names_the_answers_its_request_contained(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """A test can see in an answer which earlier answers were heard, and what was asked."""
    prompt = "<<<DATA 0a id=x>>>\n# Answer 0badcafe\n<<<END 0a>>>\n\nPolish the draft.\nNow."
    body = {**CLAUDE, "messages": [{"role": "user", "content": prompt}]}
    _, _, answer = await post(http, server, "/v1/messages", body, ANTHROPIC_HEADERS)
    text = answer["content"][0]["text"]
    assert "Heard: Answer 0badcafe\n" in text
    assert "> Polish the draft.\n" in text


@pytest.mark.parametrize(
    ("provider", "headers", "status"),
    [
        ("anthropic", {"anthropic-version": "2023-06-01"}, 401),
        ("anthropic", {"x-api-key": "k"}, 400),
        ("anthropic", {"Authorization": "Bearer k", "anthropic-version": "2023-06-01"}, 200),
        ("openai", {}, 401),
        ("openai", {"x-api-key": "k"}, 401),
        ("openai", {"Authorization": "Basic k"}, 401),
        ("perplexity", {}, 401),
        ("gemini", {}, 401),
        ("gemini", BEARER, 401),
        ("compatible", {}, 200),
    ],
)
async def test_each_provider_wants_its_own_form_of_key(
    provider: str,
    headers: dict[str, str],
    status: int,
    server: WireServer,
    http: aiohttp.ClientSession,
) -> None:
    """A missing or misplaced key is refused; only a local server asks for none."""
    path, body, _ = CALLS[provider]
    assert (await post(http, server, path, body, headers))[0] == status
    assert server.bill[0].billed is (status == 200)


async def test_a_key_in_the_url_is_refused(server: WireServer, http: aiohttp.ClientSession) -> None:
    """Gemini keys travel in the header; one in the URL is a 400 and does not reach the log."""
    status, _, _ = await post(http, server, FLASH_PATH + "?key=sk-canary-1234", FLASH, GOOGLE)
    assert status == 400
    assert "canary" not in str(server.requests)


INVALID: dict[str, list[tuple[dict[str, Any], str]]] = {
    "anthropic": [
        ({"temperature": 0.5}, "temperature: Extra inputs are not permitted"),
        ({"top_p": 0.5}, "top_p: Extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "I"}]}, "first message"),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ]
            },
            "prefill",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "at least 1024"),
    ],
    "openai": [
        ({"max_tokens": 5}, "Unknown parameter: 'max_tokens'"),
        ({"max_output_tokens": 3}, "max_output_tokens"),
        ({"input": []}, "input"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text"}]}]}, "output_text"),
        ({"input": [{"role": "user"}]}, "content"),
    ],
    "perplexity": [({"model": "sonar"}, "provider/model"), ({"max_steps": 11}, "max_steps")],
    "gemini": [
        ({"contents": []}, "contents"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"generationConfig": {"maxTokens": 1}}, "maxTokens"),
    ],
    "compatible": [({"messages": []}, "messages")],
}


@pytest.mark.parametrize(
    ("provider", "change", "named"),
    [(provider, *case) for provider, cases in INVALID.items() for case in cases],
)
async def test_a_wrong_request_is_a_400_that_names_the_field(
    provider: str,
    change: dict[str, Any],
    named: str,
    server: WireServer,
    http: aiohttp.ClientSession,
) -> None:
    """Requests are checked as strictly as the services do, and charge nothing."""
    path, body, headers = CALLS[provider]
    status, _, answer = await post(http, server, path, body | change, headers)
    assert status == 400
    assert named in answer["error"]["message"]
    assert [(line.billed, line.status) for line in server.bill] == [(False, 400)]


async def test_a_body_that_is_not_json_is_a_400(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Garbage is refused in the provider's own error form."""
    url = server.url + "/v1/messages"
    async with http.post(url, data=b"{not json", headers=ANTHROPIC_HEADERS) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_request_above_32_mb_is_a_413(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """The largest request is refused in the provider's own error form."""
    url = server.url + "/v1/messages"
    data = io.BytesIO(b" " * (33 * 1024 * 1024))
    async with http.post(url, data=data, headers=ANTHROPIC_HEADERS) as response:
        assert response.status == 413
        assert (await response.json())["error"]["type"] == "request_too_large"


async def test_latest_aliases_exist_on_v1beta_only(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Gemini's ``*-latest`` names are unknown to API version v1."""
    path = "/models/gemini-flash-latest:generateContent"
    assert (await post(http, server, "/v1" + path, FLASH, GOOGLE))[0] == 404
    assert (await post(http, server, "/v1beta" + path, FLASH, GOOGLE))[0] == 200


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1/models", ANTHROPIC_HEADERS, "claude-sonnet-5-5"),
        ("/anthropic/v1/models", ANTHROPIC_HEADERS, "claude-sonnet-5-5"),
        ("/openai/v1/models", BEARER, "gpt-6.1-sol"),
        ("/v1beta/models", GOOGLE, "models/gemini-3.8-flash"),
        ("/gemini/v1/models", GOOGLE, "models/gemini-3.8-flash"),
        ("/perplexity/v1/models", BEARER, "perplexity/sonar"),
        ("/compatible/v1/models", BEARER, "local-model"),
        ("/api/tags", {}, "local-model"),
    ],
)
async def test_models_are_listed_in_the_providers_form(
    path: str,
    headers: dict[str, str],
    name: str,
    server: WireServer,
    http: aiohttp.ClientSession,
) -> None:
    """Listing models costs nothing and names the provider's models."""
    async with http.get(server.url + path, headers=headers) as response:
        assert response.status == 200
        assert f'"{name}"' in await response.text()
    assert server.bill == ()


async def test_a_script_can_limit_keys_and_models(http: aiohttp.ClientSession) -> None:
    """Keys and models that the script does not name are 401 and 404, also for the list."""
    script = {"accepted_keys": ["sk-good"], "models": {"openai": ["gpt-6-luna"]}}
    good = {"Authorization": "Bearer sk-good"}
    async with WireServer(script) as server:
        assert (await post(http, server, "/openai/v1/responses", GPT, BEARER))[0] == 401
        status, _, body = await post(http, server, "/openai/v1/responses", GPT, good)
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        luna = {**GPT, "model": "gpt-6-luna"}
        assert (await post(http, server, "/openai/v1/responses", luna, good))[0] == 200
        async with http.get(server.url + "/openai/v1/models", headers=BEARER) as response:
            assert response.status == 401


async def test_a_rate_limit_is_enforced_and_says_when_to_come_back(
    http: aiohttp.ClientSession,
) -> None:
    """The call over the limit is a 429 with Retry-After; other providers are not touched."""
    async with WireServer({"limits": {"gemini": {"requests_per_minute": 2}}}) as server:
        statuses = [(await post(http, server, *CALLS["gemini"]))[0] for _ in range(2)]
        status, headers, body = await post(http, server, *CALLS["gemini"])
        assert statuses == [200, 200]
        assert status == 429
        assert 58 <= int(headers["Retry-After"]) <= 60
        assert body["error"]["details"][0]["retryDelay"] == headers["Retry-After"] + "s"
        assert (await post(http, server, *CALLS["openai"]))[0] == 200
        assert [line.billed for line in server.bill] == [True, True, False, True]


async def test_a_token_limit_counts_input_tokens(http: aiohttp.ClientSession) -> None:
    """Tokens per minute are used up by the size of the prompts."""
    body = {**GPT, "input": "word " * 400}
    async with WireServer({"limits": {"openai": {"tokens_per_minute": 800}}}) as server:
        assert (await post(http, server, "/v1/responses", body, BEARER))[0] == 200
        assert (await post(http, server, "/v1/responses", body, BEARER))[0] == 429


@pytest.mark.parametrize("provider", ["openai", "gemini", "perplexity", "compatible"])
async def test_a_long_prompt_is_cached_at_its_second_sight(
    provider: str, server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Equal beginnings of 1,024 tokens are reported and billed as cached, inside the total."""
    path, body, headers = CALLS[provider]
    long = json.loads(json.dumps(body).replace("Name a risk.", "Long context. " * 400))
    await post(http, server, path, long, headers)
    _, _, answer = await post(http, server, path, long, headers)
    first, second = server.bill
    assert first.cached_input_tokens == 0 < first.cache_write_5m_tokens
    assert 1024 <= second.cached_input_tokens <= second.input_tokens
    assert f": {second.cached_input_tokens}" in json.dumps(answer)


async def test_anthropic_caches_what_is_marked(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """A marked prefix is written, then read, beside the uncached input tokens."""
    system = [
        {
            "type": "text",
            "text": "Long context. " * 400,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        }
    ]
    body = {**CLAUDE, "system": system}
    usages = []
    for question in ("One?", "Two?"):
        asked = {**body, "messages": [{"role": "user", "content": question}]}
        _, _, answer = await post(http, server, "/v1/messages", asked, ANTHROPIC_HEADERS)
        usages.append(answer["usage"])
    written, read = usages
    assert written["cache_creation"]["ephemeral_1h_input_tokens"] == 1400
    assert (written["input_tokens"], written["cache_read_input_tokens"]) == (1, 0)
    assert (read["input_tokens"], read["cache_read_input_tokens"]) == (1, 1400)
    assert [line.input_tokens for line in server.bill] == [1401, 1401]


async def test_an_answer_is_cut_at_the_output_limit(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """A small limit ends the answer with the provider's word for it."""
    body = {**CLAUDE, "max_tokens": 10}
    _, _, answer = await post(http, server, "/v1/messages", body, ANTHROPIC_HEADERS)
    assert answer["stop_reason"] == "max_tokens"
    assert answer["usage"]["output_tokens"] == 10


async def test_the_request_log_shows_bodies_and_hides_keys(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """Bodies are kept as received; key headers are digests."""
    headers = {"x-api-key": "sk-canary-1", "anthropic-version": "2023-06-01"}
    await post(http, server, "/v1/messages", CLAUDE, headers)
    await post(http, server, "/v1/responses", GPT, {"Authorization": "Bearer sk-canary-2"})
    async with http.get(server.url + "/_requests") as response:
        text = await response.text()
    logged = json.loads(text)
    assert [request["body"] for request in logged] == [CLAUDE, GPT]
    assert logged[1]["headers"]["authorization"].startswith("Bearer sha256:")
    assert "canary" not in text


async def test_the_bill_is_served_summed_and_kept_in_a_file(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Memory, file and summary agree; a body charged twice is a duplicate."""
    async with WireServer(state_dir=tmp_path) as server:
        for provider in ("anthropic", "anthropic", "perplexity"):
            await post(http, server, *CALLS[provider])
        await post(http, server, "/v1/messages", {}, ANTHROPIC_HEADERS)
        lines = server.bill
        assert read_bill(tmp_path) == lines
        async with http.get(server.url + "/_bill") as response:
            assert [line["number"] for line in await response.json()] == [1, 2, 3, 4]
        async with http.get(server.url + "/_bill/summary") as response:
            summary = await response.json()
    assert summary["total"]["billed"] == 3
    anthropic = summary["providers"]["anthropic"]
    assert (anthropic["requests"], anthropic["billed"], anthropic["duplicates"]) == (3, 2, 1)
    assert (anthropic["failed"], anthropic["failed_but_billed"]) == (1, 0)
    assert anthropic["output_tokens"] == 2 * lines[0].output_tokens
    assert summary["providers"]["perplexity"]["total_cost"] == lines[2].total_cost


async def test_perplexity_names_the_cost_that_stands_on_the_bill(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """The returned total cost contains the search fee and equals the bill."""
    _, _, body = await post(http, server, *CALLS["perplexity"])
    cost = body["usage"]["cost"]
    assert cost["tool_calls_cost"] == 0.0025
    assert str(cost["total_cost"]) == server.bill[0].total_cost
    assert body["usage"]["tool_calls_details"]["search_web"]["invocation"] == 1


async def test_the_script_can_be_replaced_and_the_state_reset(
    server: WireServer, http: aiohttp.ClientSession
) -> None:
    """A running server takes a new script in YAML; a reset forgets bill and requests."""
    script = "rules: [{match: {provider: openai}, action: {text: 'Scripted 답.'}}]"
    async with http.post(server.url + "/_script", data=script) as response:
        assert response.status == 200
    _, _, body = await post(http, server, *CALLS["openai"])
    assert body["output"][-1]["content"][0]["text"] == "Scripted 답."
    async with http.post(server.url + "/_reset") as response:
        assert response.status == 200
    assert (server.bill, server.requests) == ((), ())
    async with http.post(server.url + "/_script", data="rules: [{acton: {}}]") as response:
        assert response.status == 400
        assert "rules.0.acton" in (await response.json())["error"]


async def test_the_health_page_answers(server: WireServer, http: aiohttp.ClientSession) -> None:
    """A supervisor can ask whether the server is there."""
    async with http.get(server.url + "/_health") as response:
        assert (await response.json())["status"] == "ok"


def test_a_wrong_script_is_refused_at_the_start() -> None:
    """A script that cannot be meant raises, naming the place."""
    with pytest.raises(ConfigError, match=r"rules\.0\.action\.fault"):
        WireServer({"rules": [{"action": {"fault": "explode"}}]})


async def test_an_answer_can_be_drawn_out(http: aiohttp.ClientSession) -> None:
    """``fill`` brings an answer near to that share of its output limit, and never over it."""
    async with WireServer({"defaults": {"fill": 0.5}}) as server:
        await post(http, server, "/v1/messages", CLAUDE, ANTHROPIC_HEADERS)
        (line,) = server.bill
    assert (line.status, line.outcome) == (200, "complete")
    assert CLAUDE["max_tokens"] * 0.4 < line.output_tokens <= CLAUDE["max_tokens"] * 0.5 + 1
