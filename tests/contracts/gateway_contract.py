"""What every gateway promises, tested on the wire against a local server with canned answers.

A new adapter's test inherits :class:`GatewayContract` and says how its provider writes the few
answers in the abstract methods.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from aigenflow.core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    StalledError,
    TooLargeError,
)
from aigenflow.core.models import AgentRequest, AgentType, Backend, FinishReason, Json, Route
from aigenflow.gateway.base import Gateway, Timeouts

KEY = "sk-CANARY-0123456789abcdef"
KOREAN = "한국 시장은 2025년에 12% 성장했다. 👍🏽"
STREAMED = 8192
"""An output limit that makes every adapter stream; the default of a test's request does not."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as the server saw it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Json]:
        found: dict[str, Json] = json.loads(self.body)
        return found


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One canned HTTP answer.

    With ``pieces`` the body is sent chunked, piece by piece. ``cut`` drops the connection instead
    of ending the body; ``hang`` keeps it open in silence; ``late`` ends it so many seconds after
    the last piece.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: tuple[bytes, ...] = ()
    cut: bool = False
    hang: bool = False
    late: float = 0.0


def json_reply(value: Json, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """``value`` as a JSON answer."""
    form = {"content-type": "application/json", **(headers or {})}
    return Reply(status=status, headers=form, body=json.dumps(value, ensure_ascii=False).encode())


def sse(*events: tuple[str, Json], done: bool = False) -> bytes:
    """Server-sent events of (name, JSON); an empty name sends the data alone."""
    lines = []
    for name, data in events:
        head = f"event: {name}\n" if name else ""
        lines.append(f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n")
    return "".join(lines).encode() + (b"data: [DONE]\n\n" if done else b"")


def sse_reply(body: bytes, *, cut: bool = False, hang: bool = False, size: int = 7) -> Reply:
    """``body`` as an event stream, in pieces of ``size`` bytes, so also inside characters."""
    pieces = tuple(body[i : i + size] for i in range(0, len(body), size))
    form = {"content-type": "text/event-stream; charset=utf-8"}
    return Reply(headers=form, pieces=pieces or (b"",), cut=cut, hang=hang)


class LocalServer:
    """Answers requests with the replies in ``script``, one each; the last one repeats."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await self._read(reader):
                self.seen.append(request)
                reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not await self._write(reply, reader, writer):
                    break
        except ConnectionError:
            pass  # the client hung up, which several tests make it do
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.rstrip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        method, target, _ = first.split(" ")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(method=method, target=target, headers=headers, body=body)

    async def _write(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        chunked = bool(reply.pieces)
        length = {"transfer-encoding": "chunked"} if chunked else {}
        if not chunked:
            length = {"content-length": str(len(reply.body))}
        head = {**length, **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + reply.body)
        for piece in reply.pieces:
            if piece:
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await writer.drain()
        if reply.hang:
            await reader.read()  # until the client gives up
            return False
        if reply.cut:
            return False
        await asyncio.sleep(reply.late)
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def local_server() -> AsyncIterator[LocalServer]:
    """A server on a free loopback port for the time of a test."""
    local = LocalServer()
    server = await asyncio.start_server(local.handle, "127.0.0.1", 0)
    local.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield local
    finally:
        server.close()
        await asyncio.sleep(0)


class GatewayContract(ABC):
    """The suite that every adapter inherits."""

    backend: Backend
    model = "a-model"
    agent = AgentType.CHATGPT

    @abstractmethod
    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        """The adapter, with :data:`KEY` as its key."""

    def base_url(self, server_url: str) -> str:
        """The base URL that belongs to a server at ``server_url``."""
        return server_url

    @abstractmethod
    def answer(self, text: str, *, cut_at_limit: bool = False) -> Json:
        """A final answer with ``text``, 100 input and 20 output tokens."""

    @abstractmethod
    def stream(self, text: str) -> bytes:
        """The whole event stream of an answer with ``text``, the same usage, terminal included."""

    @abstractmethod
    def stream_head(self, text: str) -> bytes:
        """The event stream of a part of an answer, without its end."""

    @abstractmethod
    def error(self, kind: str, message: str) -> Json:
        """The body of an error answer; ``kind`` is the provider-neutral name of a test."""

    @abstractmethod
    def models(self) -> Json:
        """A list of the models ``one`` and ``two``."""

    @pytest.fixture
    async def server(self) -> AsyncIterator[LocalServer]:
        async with local_server() as server:
            yield server

    @pytest.fixture
    async def gateway(self, server: LocalServer) -> AsyncIterator[Gateway]:
        gateway = self.make(self.base_url(server.url), Timeouts())
        yield gateway
        await gateway.aclose()

    @pytest.fixture
    async def impatient(self, server: LocalServer) -> AsyncIterator[Gateway]:
        """A gateway that soon takes silence for a stall."""
        timeouts = Timeouts(first_event_s=0.4, idle_s=0.3, total_s=5)
        gateway = self.make(self.base_url(server.url), timeouts)
        yield gateway
        await gateway.aclose()

    def request(self, max_output_tokens: int = 512) -> AgentRequest:
        return AgentRequest(
            agent=self.agent,
            phase=1,
            task="brainstorm",
            prompt="무엇이 새로운가?",
            system="You are precise.",
            max_output_tokens=max_output_tokens,
        )

    def route(self) -> Route:
        return Route(agent=self.agent, actor=self.agent, backend=self.backend, model=self.model)

    async def fault(self, gateway: Gateway, max_output_tokens: int = 512) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await gateway.send(self.request(max_output_tokens), self.route())
        return caught.value

    async def test_plain_answer(self, server: LocalServer, gateway: Gateway) -> None:
        """A short answer comes in one piece and in the normal form."""
        server.script = [json_reply(self.answer(KOREAN))]
        answer = await gateway.send(self.request(), self.route())
        assert answer.content == KOREAN
        assert answer.success
        assert answer.finish_reason is FinishReason.COMPLETE
        assert (answer.input_tokens, answer.output_tokens, answer.tokens_used) == (100, 20, 120)
        assert answer.usage_reported
        assert (answer.backend, answer.agent) == (self.backend, self.agent)
        assert answer.latency_s > 0
        assert answer.raw is not None

    async def test_streamed_answer(self, server: LocalServer, gateway: Gateway) -> None:
        """A long answer is streamed, tells its progress, and is the same as in one piece."""
        server.script = [sse_reply(self.stream(KOREAN))]
        told: list[int] = []
        answer = await gateway.send(self.request(STREAMED), self.route(), told.append)
        assert answer.content == KOREAN
        assert answer.success
        assert (answer.input_tokens, answer.output_tokens) == (100, 20)
        assert told == sorted(told)
        assert told[-1] == len(KOREAN)

    async def test_the_key_travels_in_a_header_only(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """The key is in no URL and no body, whatever the call."""
        server.script = [json_reply(self.answer("ok")), json_reply(self.models())]
        await gateway.send(self.request(), self.route())
        await gateway.list_models()
        for seen in server.seen:
            assert KEY not in seen.target
            assert KEY.encode() not in seen.body
            assert any(KEY in value for value in seen.headers.values())

    async def test_cut_at_the_limit(self, server: LocalServer, gateway: Gateway) -> None:
        """An answer cut at its limit is returned as such, not as a whole one."""
        server.script = [json_reply(self.answer("half a", cut_at_limit=True))]
        answer = await gateway.send(self.request(), self.route())
        assert answer.finish_reason is FinishReason.LENGTH
        assert not answer.success
        assert answer.content == "half a"

    @pytest.mark.parametrize("limited", [False, True])
    @pytest.mark.parametrize("text", ["", " \n"])
    async def test_no_text(
        self, server: LocalServer, gateway: Gateway, text: str, limited: bool
    ) -> None:
        """A finished answer without text is empty, and its tokens are counted all the same."""
        server.script = [json_reply(self.answer(text, cut_at_limit=limited))]
        answer = await gateway.send(self.request(), self.route())
        assert answer.finish_reason is FinishReason.EMPTY
        assert not answer.success
        assert answer.content == ""
        assert answer.tokens_used == 120

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, RejectedError),
            (401, AuthenticationError),
            (402, QuotaExhaustedError),
            (403, AuthenticationError),
            (404, ModelNotFoundError),
            (408, ServerFaultError),
            (409, ServerFaultError),
            (413, TooLargeError),
            (422, RejectedError),
            (429, RateLimitedError),
            (500, ServerFaultError),
            (503, ServerFaultError),
            (529, ServerFaultError),
        ],
    )
    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_error_status(
        self,
        server: LocalServer,
        gateway: Gateway,
        status: int,
        kind: type[GatewayError],
        limit: int,
    ) -> None:
        """Each status is one of our errors, asked for once, and says nothing of the key."""
        body = self.error("plain", f"no luck with {KEY}")
        server.script = [json_reply(body, status=status, headers={"retry-after": "7"})]
        error = await self.fault(gateway, limit)
        assert type(error) is kind
        assert error.status == status
        assert error.provider == self.backend
        assert "CANARY" not in error.message + error.hint + repr(error)
        assert len(server.seen) == 1
        if isinstance(error, RateLimitedError | ServerFaultError):
            assert error.retry_after_s == 7

    async def test_error_page(self, server: LocalServer, gateway: Gateway) -> None:
        """An HTML error page is a fault of the server and is not quoted."""
        page = Reply(status=520, headers={"content-type": "text/html"}, body=b"<html>oops</html>")
        server.script = [page]
        error = await self.fault(gateway)
        assert type(error) is ServerFaultError
        assert "oops" not in error.message

    @pytest.mark.parametrize("limit", [512, STREAMED])
    @pytest.mark.parametrize("form", ["application/json", "text/html; charset=utf-8"])
    @pytest.mark.parametrize(("status", "kind"), [(429, RateLimitedError), (503, ServerFaultError)])
    async def test_an_error_that_cannot_be_read(
        self,
        server: LocalServer,
        gateway: Gateway,
        status: int,
        kind: type[GatewayError],
        form: str,
        limit: int,
    ) -> None:
        """The status says enough, whatever bytes a proxy puts behind it."""
        server.script = [Reply(status=status, headers={"content-type": form}, body=b"\xff{oops")]
        error = await self.fault(gateway, limit)
        assert type(error) is kind
        assert error.status == status
        assert not error.possibly_billed

    async def test_redirects_are_not_followed(self, server: LocalServer, gateway: Gateway) -> None:
        """A redirect is refused: prompt and key go to the configured address only."""
        server.script = [Reply(status=307, headers={"location": f"{server.url}/elsewhere"})]
        error = await self.fault(gateway)
        assert isinstance(error, RejectedError)
        assert len(server.seen) == 1

    @pytest.mark.parametrize("limit", [512, STREAMED])
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(headers={"content-type": "text/html"}, body=b"<html>hello</html>"),
            Reply(headers={"content-type": "application/json"}, body=b"{}"),
            Reply(headers={"content-type": "application/json"}, body=b""),
            Reply(headers={"content-type": "application/json"}, body=b'{"a": '),
            Reply(headers={"content-type": "application/json"}, body=b"[1]"),
        ],
        ids=["html", "empty-object", "empty", "half", "array"],
    )
    async def test_not_an_answer(
        self, server: LocalServer, gateway: Gateway, reply: Reply, limit: int
    ) -> None:
        """A 200 with something else than an answer is malformed."""
        server.script = [reply]
        assert isinstance(await self.fault(gateway, limit), MalformedAnswerError)

    @pytest.mark.parametrize("cut", [True, False], ids=["cut", "ended"])
    async def test_stream_without_its_end(
        self, server: LocalServer, gateway: Gateway, cut: bool
    ) -> None:
        """A stream that stops before its terminal event is never an answer; it may be billed."""
        server.script = [sse_reply(self.stream_head("half"), cut=cut)]
        error = await self.fault(gateway, STREAMED)
        assert isinstance(error, ConnectionFailedError)
        assert error.possibly_billed

    async def test_silence_inside_a_stream(self, server: LocalServer, impatient: Gateway) -> None:
        """A stream that goes silent is given up; it may be billed."""
        server.script = [sse_reply(self.stream_head("half"), hang=True)]
        error = await self.fault(impatient, STREAMED)
        assert isinstance(error, StalledError)
        assert error.possibly_billed

    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_silence_before_anything(
        self, server: LocalServer, impatient: Gateway, limit: int
    ) -> None:
        """A call that gets no first event in time is given up; it may be billed."""
        server.script = [Reply(headers={"content-length": "10"}, hang=True)]
        error = await self.fault(impatient, limit)
        assert isinstance(error, StalledError)
        assert error.possibly_billed

    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_reset_after_sending(
        self, server: LocalServer, gateway: Gateway, limit: int
    ) -> None:
        """A connection lost in the middle of an answer counts as possibly billed."""
        form = {"content-type": "application/json", "content-length": "999"}
        server.script = [Reply(headers=form, body=b'{"id": ', cut=True)]
        error = await self.fault(gateway, limit)
        assert isinstance(error, ConnectionFailedError | MalformedAnswerError)
        assert error.possibly_billed

    async def test_refused_connection(self) -> None:
        """Where nobody listens nothing is billed."""
        gateway = self.make(self.base_url("http://127.0.0.1:1"), Timeouts())
        error = await self.fault(gateway)
        await gateway.aclose()
        assert isinstance(error, ConnectionFailedError)
        assert not error.possibly_billed

    async def test_list_models(self, server: LocalServer, gateway: Gateway) -> None:
        """The names of the models come as the provider lists them."""
        server.script = [json_reply(self.models())]
        assert await gateway.list_models() == ("one", "two")

    async def test_list_models_with_a_wrong_key(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """A wrong key shows when models are listed."""
        server.script = [json_reply(self.error("plain", "who?"), status=401)]
        with pytest.raises(AuthenticationError):
            await gateway.list_models()

    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_one_connection_serves_call_after_call(
        self, server: LocalServer, gateway: Gateway, limit: int
    ) -> None:
        """Calls one after the other reuse the client and its connection."""
        plain = limit < STREAMED
        server.script = [json_reply(self.answer("ok")) if plain else sse_reply(self.stream("ok"))]
        for _ in range(3):
            await gateway.send(self.request(limit), self.route())
        assert server.connections == 1

    async def test_many_calls_at_once(self, server: LocalServer, gateway: Gateway) -> None:
        """Calls made together do not disturb one another."""
        server.script = [json_reply(self.answer("ok"))]
        calls = (gateway.send(self.request(), self.route()) for _ in range(20))
        answers = await asyncio.gather(*calls)
        assert [answer.content for answer in answers] == ["ok"] * 20

    async def test_closing_twice(self, gateway: Gateway) -> None:
        """Closing is harmless before the first call and a second time."""
        await gateway.aclose()
        await gateway.aclose()
