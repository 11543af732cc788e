"""OpenAI's batch jobs: the contract, golden files, states and what only OpenAI does."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import ConnectionFailedError, GatewayError
from aigenflow.core.models import AgentType, Backend, Json
from aigenflow.gateway.adapters.openai import OpenAIGateway
from aigenflow.gateway.adapters.openai_jobs import (
    STATES,
    OpenAIJobs,
    build_file,
    build_job,
    read_status,
)
from aigenflow.gateway.base import Gateway, JobGateway, Timeouts
from tests.contracts.gateway_contract import Reply, json_reply, local_server
from tests.contracts.job_gateway_contract import KEY, TAG, JobGatewayContract


class TestOpenAIJobs(JobGatewayContract):
    backend = Backend.OPENAI
    model = "gpt-6.1-sol"
    agent = AgentType.CHATGPT
    prefix = "/openai/v1"
    limits = (50_000, 200_000_000)

    def connect(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return OpenAIGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def make(self, connection: Gateway) -> JobGateway:
        assert isinstance(connection, OpenAIGateway)
        return OpenAIJobs(connection, SystemClock())

    def is_create(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/batches")

    def test_golden_file(self) -> None:
        """One line for each item: its id and the body of a live request, not streamed."""
        first, second = build_file(self.items(2)).decode().splitlines()
        assert json.loads(first) == {
            "custom_id": "item-0",
            "method": "POST",
            "url": "/v1/responses",
            "body": {
                "store": False,
                "model": "gpt-6.1-sol",
                "input": [{"role": "user", "content": "질문 number 0."}],
                "max_output_tokens": 4096,
            },
        }
        assert json.loads(second)["custom_id"] == "item-1"

    def test_golden_job(self) -> None:
        """The tag travels as metadata."""
        assert build_job("file-1", "tag") == {
            "input_file_id": "file-1",
            "endpoint": "/v1/responses",
            "completion_window": "24h",
            "metadata": {"aigenflow_tag": "tag"},
        }

    def test_every_state_is_known(self) -> None:
        """A state that the SDK learns must be put into the table."""
        from openai.types import Batch

        assert set(get_args(Batch.model_fields["status"].annotation)) == set(STATES)

    @pytest.mark.parametrize("created", [None, "soon", 1e30, True])
    def test_a_time_that_is_none(self, created: Json) -> None:
        """An unreadable time is unknown; the job is a candidate all the same."""
        raw = {"id": "batch_1", "status": "in_progress", "created_at": created}
        submitted = read_status(raw).submitted
        assert submitted is None or submitted.year == 1970

    @pytest.mark.parametrize("status", [400, 429, 500, 503])
    async def test_an_upload_that_fails(self, status: int) -> None:
        """Without a file there is surely no job, whatever went wrong."""
        async with local_server() as server:
            server.script = [json_reply({"error": {"message": "no"}}, status=status)]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(GatewayError) as caught:
                await self.make(connection).submit(self.items(), TAG)
            assert not caught.value.possibly_billed
            assert [seen.target for seen in server.seen] == ["/files"]
            await connection.aclose()

    async def test_an_upload_that_breaks_off(self) -> None:
        """The file may have arrived or not: a file is no job, and costs nothing."""
        async with local_server() as server:
            server.script = [Reply(pieces=(b"{",), cut=True)]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(ConnectionFailedError) as caught:
                await self.make(connection).submit(self.items(), TAG)
            assert not caught.value.possibly_billed
            await connection.aclose()

    async def test_lines_that_name_no_item(self, caplog: pytest.LogCaptureFixture) -> None:
        """They are left out with a warning that quotes nothing; empty lines without one."""
        broken = b'{"oops": 1}\n\n[1]\nnot json at all\n{"custom_id": "item-7", "resp'
        async with local_server() as server:
            finished = {"id": "b", "status": "completed", "output_file_id": "file-1"}
            server.script = [json_reply(finished), Reply(body=broken)]
            connection = self.connect(server.url, Timeouts())
            outcomes = await self.make(connection).results("b")
            await connection.aclose()
        assert [outcome.id for outcome in outcomes] == ["item-7"]
        assert caplog.text.count("names no item") == 3
        assert "oops" not in caplog.text

    async def test_a_job_without_any_file(self) -> None:
        """It has no results: the caller sees that every item is missing."""
        async with local_server() as server:
            server.script = [json_reply({"id": "b", "status": "completed"})]
            connection = self.connect(server.url, Timeouts())
            assert await self.make(connection).results("b") == ()
            await connection.aclose()

    async def test_a_download_that_breaks_off(self) -> None:
        """Half a file is an error and not half the results."""
        line = json.dumps({"custom_id": "item-0", "error": {"code": "batch_expired"}})
        async with local_server() as server:
            finished = {"id": "b", "status": "completed", "output_file_id": "file-1"}
            pieces = (f"{line}\n".encode(),)
            server.script = [json_reply(finished), Reply(pieces=pieces, cut=True)]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(GatewayError):
                await self.make(connection).results("b")
            await connection.aclose()
