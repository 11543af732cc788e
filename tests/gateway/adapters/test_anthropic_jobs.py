"""Anthropic's batch jobs: the contract, golden bodies, states and what only Anthropic does."""

from __future__ import annotations

from typing import get_args

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import JobUnknownError
from aigenflow.core.jobs import JobState, JobStatus
from aigenflow.core.models import AgentType, Backend, Json
from aigenflow.gateway.adapters.anthropic import AnthropicGateway
from aigenflow.gateway.adapters.anthropic_jobs import (
    NOT_RUN,
    STATES,
    AnthropicJobs,
    build_job,
    read_status,
)
from aigenflow.gateway.base import Gateway, JobGateway, Timeouts
from tests.contracts.gateway_contract import json_reply, local_server
from tests.contracts.job_gateway_contract import KEY, TAG, JobGatewayContract


def batch(**fields: Json) -> dict[str, Json]:
    counts = {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0}
    return {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": counts,
        "created_at": "2026-11-22T10:00:00Z",
        "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results",
        **fields,
    }


class TestAnthropicJobs(JobGatewayContract):
    backend = Backend.ANTHROPIC
    model = "claude-sonnet-5-5"
    agent = AgentType.CLAUDE
    prefix = "/anthropic"
    keeps_tags = False
    deletes = 1
    limits = (100_000, 256_000_000)

    def connect(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return AnthropicGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def make(self, connection: Gateway) -> JobGateway:
        assert isinstance(connection, AnthropicGateway)
        return AnthropicJobs(connection, SystemClock())

    def is_create(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/messages/batches")

    def check_turned_down(self, status: JobStatus) -> None:
        """Anthropic refuses at the create and turns nothing down later."""
        assert status.state.is_over

    def test_golden_body(self) -> None:
        """Items carry their id and the body of a live request, not streamed."""
        assert build_job(self.items(1)) == {
            "requests": [
                {
                    "custom_id": "item-0",
                    "params": {
                        "model": "claude-sonnet-5-5",
                        "max_tokens": 4096,
                        "messages": [
                            {
                                "role": "user",
                                "content": [{"type": "text", "text": "질문 number 0."}],
                            }
                        ],
                    },
                }
            ]
        }

    def test_every_state_is_known(self) -> None:
        """A state or a kind of result that the SDK learns must be put into the tables."""
        from anthropic.types.messages import (
            MessageBatch,
            MessageBatchCanceledResult,
            MessageBatchErroredResult,
            MessageBatchExpiredResult,
            MessageBatchResult,
            MessageBatchSucceededResult,
        )

        states = get_args(MessageBatch.model_fields["processing_status"].annotation)
        assert set(states) == set(STATES)
        kinds = get_args(get_args(MessageBatchResult)[0])
        assert set(kinds) == {
            MessageBatchCanceledResult,
            MessageBatchErroredResult,
            MessageBatchExpiredResult,
            MessageBatchSucceededResult,
        }
        names = {name for kind in kinds for name in get_args(kind.model_fields["type"].annotation)}
        assert names == {"succeeded", "errored"} | NOT_RUN

    @pytest.mark.parametrize(
        ("counts", "state"),
        [
            ({"succeeded": 3}, JobState.ENDED),
            ({"errored": 3}, JobState.ENDED),
            ({"succeeded": 1, "expired": 2}, JobState.EXPIRED),
            ({"succeeded": 1, "canceled": 1, "expired": 1}, JobState.CANCELLED),
        ],
    )
    def test_how_a_batch_ended(self, counts: dict[str, int], state: JobState) -> None:
        """The one word "ended" is told apart by the counts."""
        status = read_status(batch(request_counts=counts))
        assert status.state is state
        assert (status.total, status.succeeded) == (3, counts.get("succeeded", 0))

    async def test_results_are_fetched_from_our_own_address(self) -> None:
        """Wherever the batch says its results are: the key goes to no other host."""
        async with local_server() as other:
            elsewhere = f"{other.url}/v1/messages/batches/x/results"
            script = {"jobs": [{"action": {"polls": 0, "results_url": elsewhere}}]}
            async with self.playing(script) as (_server, jobs):
                job = (await jobs.submit(self.items(), TAG)).job
                assert len(await jobs.results(job)) == 3
            assert other.connections == 0

    async def test_an_archived_batch(self) -> None:
        """It is over and has no results any more."""
        async with local_server() as server:
            archived = batch(results_url=None, archived_at="2026-12-22T10:00:00Z")
            server.script = [json_reply(archived)]
            connection = self.connect(server.url, Timeouts())
            with pytest.raises(JobUnknownError):
                await self.make(connection).results("msgbatch_1")
            await connection.aclose()
