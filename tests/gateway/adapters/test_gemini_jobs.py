"""Gemini's batch jobs: the contract, golden files, states and what only Gemini does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import (
    AuthenticationError,
    GatewayError,
    JobItemNotRunError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
)
from aigenflow.core.jobs import JobState
from aigenflow.core.models import AgentType, Backend, Json
from aigenflow.gateway.adapters.gemini import GeminiGateway
from aigenflow.gateway.adapters.gemini_jobs import (
    STATES,
    GeminiJobs,
    build_file,
    build_job,
    read_status,
)
from aigenflow.gateway.base import Gateway, JobGateway, Timeouts
from tests.contracts.gateway_contract import json_reply, local_server
from tests.contracts.job_gateway_contract import KEY, TAG, JobGatewayContract

ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1},
}


def operation(state: str, **fields: Json) -> dict[str, Json]:
    return {"name": "batches/1", "metadata": {"state": state, "displayName": "t"}, **fields}


class TestGeminiJobs(JobGatewayContract):
    backend = Backend.GEMINI
    model = "gemini-3.8-flash"
    agent = AgentType.GEMINI
    prefix = "/gemini"
    limits = (50_000, 200_000_000)

    def connect(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return GeminiGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def make(self, connection: Gateway) -> JobGateway:
        assert isinstance(connection, GeminiGateway)
        return GeminiJobs(connection, SystemClock())

    def is_create(self, method: str, path: str) -> bool:
        return path.endswith(":batchGenerateContent")

    def test_golden_file(self) -> None:
        """One line for each item: its key and the body of a live request."""
        (line,) = build_file(self.items(1)).decode().splitlines()
        assert json.loads(line) == {
            "key": "item-0",
            "request": {
                "contents": [{"role": "user", "parts": [{"text": "질문 number 0."}]}],
                "generationConfig": {"maxOutputTokens": 4096},
            },
        }

    def test_golden_job(self) -> None:
        """The tag travels as the display name."""
        assert build_job("files/1", "tag") == {
            "batch": {"displayName": "tag", "inputConfig": {"fileName": "files/1"}}
        }

    def test_every_state_is_known(self) -> None:
        """A state that the SDK learns must be put into the table."""
        from google.genai.types import JobState as GoogleState

        names = {state.value.removeprefix("JOB_STATE_") for state in GoogleState}
        assert names == set(STATES)

    @pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
    @pytest.mark.parametrize("name", STATES)
    def test_both_prefixes(self, prefix: str, name: str) -> None:
        """The service and the SDK name the same states differently."""
        assert read_status(operation(prefix + name)).state is STATES[name]

    def test_an_unknown_state(self, caplog: pytest.LogCaptureFixture) -> None:
        """The job goes on as running, with a warning."""
        assert read_status(operation("BATCH_STATE_DREAMING")).state is JobState.RUNNING
        assert "DREAMING" in caplog.text

    def test_a_failed_job_with_results(self) -> None:
        """Something ran and is billed, so it is not one that was turned down as a whole."""
        failed = operation("BATCH_STATE_FAILED", response={"responsesFile": "files/9"})
        assert read_status(failed).state is JobState.ENDED

    async def test_one_model_a_job(self) -> None:
        """Items of two models are refused before anything is sent."""
        first, second = self.items(2)
        other = replace(second, route=replace(second.route, model="gemini-4-argon"))
        async with self.playing() as (server, jobs):
            with pytest.raises(RejectedError):
                await jobs.submit([first, other], TAG)
            assert server.requests == ()

    async def test_answers_that_come_along(self) -> None:
        """Small jobs may bring their answers with them; one without a key belongs to nobody."""
        answers = [
            {"response": ANSWER, "metadata": {"key": "item-1"}},
            {"error": {"code": 3, "message": "bad"}, "metadata": {"key": "item-0"}},
            {"response": ANSWER},
        ]
        whole = operation(
            "BATCH_STATE_SUCCEEDED",
            done=True,
            response={"inlinedResponses": {"inlinedResponses": answers}},
        )
        async with local_server() as server:
            server.script = [json_reply(whole)]
            connection = self.connect(server.url, Timeouts())
            outcomes = await self.make(connection).results("batches/1")
            await connection.aclose()
        assert [outcome.id for outcome in outcomes] == ["item-1", "item-0"]
        assert outcomes[0].response is not None
        assert outcomes[0].response.content == "yes"
        assert isinstance(outcomes[1].error, RejectedError)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (1, JobItemNotRunError),
            (2, ServerFaultError),
            (3, RejectedError),
            (8, RateLimitedError),
            (9, RejectedError),
            (11, RejectedError),
            (14, ServerFaultError),
            (16, AuthenticationError),
            (400, RejectedError),
            (429, RateLimitedError),
        ],
    )
    async def test_codes_of_an_item(self, code: int, kind: type[GatewayError]) -> None:
        """The error of an item is told by the code: what will not pass is not asked for again."""
        answer = {"error": {"code": code, "message": "no"}, "metadata": {"key": "item-0"}}
        whole = operation(
            "BATCH_STATE_SUCCEEDED", response={"inlinedResponses": {"inlinedResponses": [answer]}}
        )
        async with local_server() as server:
            server.script = [json_reply(whole)]
            connection = self.connect(server.url, Timeouts())
            (outcome,) = await self.make(connection).results("batches/1")
            await connection.aclose()
        assert type(outcome.error) is kind

    async def test_an_upload_address_elsewhere(self) -> None:
        """The file goes to our own address, whatever host the first answer names."""
        async with local_server() as other, local_server() as server:
            target = {"X-Goog-Upload-URL": f"{other.url}/upload?upload_id=1"}
            server.script = [
                json_reply({}, headers=target),
                json_reply({"file": {"name": "files/1"}}),
                json_reply(operation("BATCH_STATE_PENDING")),
            ]
            connection = self.connect(server.url, Timeouts())
            await self.make(connection).submit(self.items(), TAG)
            await connection.aclose()
            assert other.connections == 0
            assert [seen.target for seen in server.seen][1] == "/upload?upload_id=1"

    @pytest.mark.parametrize("answer", [{}, {"file": {}}, {"file": {"name": 3}}])
    async def test_an_upload_without_a_name(self, answer: Json) -> None:
        """Without a file there is surely no job."""
        async with local_server() as server:
            target = {"X-Goog-Upload-URL": f"{server.url}/upload"}
            server.script = [json_reply({}, headers=target), json_reply(answer)]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(GatewayError) as caught:
                await self.make(connection).submit(self.items(), TAG)
            assert not caught.value.possibly_billed
            await connection.aclose()

    async def test_redirects_are_not_followed(self) -> None:
        """The key stays where it was sent."""
        async with local_server() as other, local_server() as server:
            server.script = [json_reply({}, status=307, headers={"location": other.url})]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(RejectedError) as caught:
                await self.make(connection).status("batches/1")
            await connection.aclose()
            assert caught.value.status == 307
            assert other.connections == 0
