"""A local server that speaks the wire formats of all providers, and keeps its own bill.

Run it as a process::

    python -m aigenflow.testing.server --port 8200 --script faults.yaml --state-dir state

or inside a program with :class:`WireServer`. As a process it prints one line of JSON with its URL
when it is ready. Point any provider's base URL at it, with or without a prefix:
``http://127.0.0.1:8200``, ``.../anthropic``, ``.../openai/v1``, ``.../gemini``,
``.../perplexity/v1``, ``.../compatible/v1``.

Besides the providers' paths: ``GET /_health``, ``GET /_bill`` (lines), ``GET /_bill/summary``,
``GET /_requests`` (bodies and headers as received, keys replaced by a digest), ``POST /_script``
(YAML or JSON, see :mod:`aigenflow.testing.wire_script`) and ``POST /_reset``, which forgets
everything but the script and the file of the bill.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from aigenflow.core.errors import AigenflowError, ConfigError
from aigenflow.core.models import Backend, Json
from aigenflow.testing.bill import Bill, BillLine, summarise
from aigenflow.testing.faults import JSON_TYPE, Delivery, Ending, Step
from aigenflow.testing.wire_jobs import JobCall, JobDesk, is_create
from aigenflow.testing.wire_models import Received, Rejection, dump
from aigenflow.testing.wire_routes import (
    FORMATS,
    JOB_FORMS,
    Address,
    Endpoint,
    Target,
    find_target,
    model_list,
    split_path,
    tag_list,
)
from aigenflow.testing.wire_script import WireScript, load_script, parse_script, read_script
from aigenflow.testing.wire_service import Account, Job, WireService, refusal

LARGEST_REQUEST_BYTES = 32 * 1024 * 1024
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"})
_WATCH_S = 0.05
_BEFORE_RESET_S = 0.02
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request as the log shows it: header values and queries that hold keys are digests."""

    method: str
    path: str
    query: Mapping[str, str]
    provider: str | None
    headers: Mapping[str, str]
    body: Json
    body_sha256: str


class WireServer:
    """The server inside this process, on loopback: ``async with WireServer(script) as server``.

    ``script`` is a :class:`~aigenflow.testing.wire_script.WireScript` or its plain form;
    ``state_dir`` gets ``bill.jsonl``; port 0 takes a free one. Raises ``ConfigError`` for a
    script that is wrong and ``OSError`` where the port is taken.
    """

    def __init__(
        self,
        script: WireScript | Mapping[str, Json] | None = None,
        *,
        state_dir: Path | None = None,
        port: int = 0,
    ) -> None:
        self._service = WireService(_checked(script))
        self._bill = Bill(state_dir)
        self._desks = self._new_desks()
        self._requests: list[LoggedRequest] = []
        self._port = port
        self._runner: web.AppRunner | None = None
        self.url = ""

    @property
    def bill(self) -> tuple[BillLine, ...]:
        """The lines so far, in the order in which the requests ended."""
        return self._bill.lines

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The providers' requests so far, in the order of their arrival."""
        return tuple(self._requests)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that the providers keep for batch jobs."""
        return tuple(name for desk in self._desks.values() for name in desk.files)

    def use(self, script: WireScript | Mapping[str, Json] | None) -> None:
        """Go on with another script, its counters, caches and batch jobs at their start."""
        self._service.use(_checked(script))
        self._desks = self._new_desks()

    def reset(self) -> None:
        """Forget bill, requests, counters, limits and caches; keep the script."""
        self._service.reset()
        self._bill.reset()
        self._desks = self._new_desks()
        self._requests.clear()

    async def start(self) -> None:
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
        app.add_routes(
            [
                web.get("/_health", self._get_health),
                web.get("/_bill", self._get_bill),
                web.get("/_bill/summary", self._get_summary),
                web.get("/_requests", self._get_requests),
                web.post("/_script", self._post_script),
                web.post("/_reset", self._post_reset),
                web.route("*", "/{path:.*}", self._provider_request),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Break off what is under way and close."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._bill.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "pid": os.getpid()})

    async def _get_bill(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(line) for line in self._bill.lines])

    async def _get_summary(self, _request: web.Request) -> web.Response:
        return web.json_response(summarise(self._bill.lines))

    async def _get_requests(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(request) for request in self._requests])

    async def _post_script(self, request: web.Request) -> web.Response:
        try:
            self.use(parse_script(read_script(await request.text())))
        except ConfigError as error:
            return web.json_response({"error": error.message, "hint": error.hint}, status=400)
        return web.json_response({"status": "ok"})

    async def _post_reset(self, _request: web.Request) -> web.Response:
        self.reset()
        return web.json_response({"status": "ok"})

    async def _provider_request(self, request: web.Request) -> web.StreamResponse:
        address = split_path(request.path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._too_large(request.method, address, headers)
        body = _json_object(raw)
        target = find_target(request.method, address, headers, body or {})
        digest = hashlib.sha256(raw).hexdigest()
        self._log(request, target, headers, raw if body is None else body, digest)
        if target is None:
            return _unknown_path(request)
        received = Received(
            backend=target.backend,
            path=address.path,
            headers=headers,
            query=dict(request.query),
            body=body or {},
            sha256=digest,
            api_version=address.version,
        )
        if target.endpoint is Endpoint.JOBS:
            return await self._job_request(request, address, received, raw)
        if target.endpoint is not Endpoint.ANSWER:
            return self._models(target, received)
        job = self._service.respond(received, wall=datetime.now(UTC), now=time.monotonic())
        return await self._carry_out(request, job)

    async def _job_request(
        self, request: web.Request, address: Address, received: Received, raw: bytes
    ) -> web.StreamResponse:
        """Answer a request about batch jobs or their files."""
        wire = FORMATS[received.backend]
        now = time.monotonic()
        call = JobCall(
            method=request.method,
            path=received.path,
            query=received.query,
            headers=received.headers,
            raw=raw,
            body=received.body,
            origin=f"{self.url}/{address.prefix.value}" if address.prefix else self.url,
            wall=datetime.now(UTC),
            now=now,
        )
        try:
            # The second step of an upload carries no key: its address is the leave.
            if "upload_id" not in call.query:
                self._service.check_key(wire, received)
            if is_create(call):
                self._service.check_create(received.backend, now)
            reply = JOB_FORMS[received.backend].reply(call, self._desks[received.backend])
        except Rejection as rejection:
            return _one_piece(refusal(wire, rejection))
        if reply.lost:
            return await self._cut(request)
        headers = {"Content-Type": JSON_TYPE, **reply.headers}
        return web.Response(status=reply.status, headers=headers, body=reply.data)

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        """Reset the connection instead of answering."""
        response = web.StreamResponse()
        await _finish(request, response, Ending.RESET)
        return response

    def _new_desks(self) -> Mapping[Backend, JobDesk]:
        return {backend: JobDesk(backend, self._service, self._bill.add) for backend in JOB_FORMS}

    def _models(self, target: Target, received: Received) -> web.Response:
        models = self._service.models(target.backend)
        if target.endpoint is Endpoint.TAGS:
            return web.json_response(tag_list(models))
        wire = FORMATS[target.backend]
        try:
            self._service.check_key(wire, received)
        except Rejection as rejection:
            return _one_piece(refusal(wire, rejection))
        return web.json_response(model_list(target.backend, models))

    def _too_large(self, method: str, address: Address, headers: Mapping[str, str]) -> web.Response:
        target = find_target(method, address, headers, {})
        if target is None:
            raise web.HTTPNotFound
        problem = Rejection(413, "Request exceeds the maximum size")
        return _one_piece(refusal(FORMATS[target.backend], problem))

    def _log(
        self,
        request: web.Request,
        target: Target | None,
        headers: Mapping[str, str],
        body: Json | bytes,
        digest: str,
    ) -> None:
        self._requests.append(
            LoggedRequest(
                method=request.method,
                path=request.path,
                query={k: _digest(v) if k == "key" else v for k, v in request.query.items()},
                provider=None if target is None else target.backend.value,
                headers={k: _digest(v) if k in _SECRET_HEADERS else v for k, v in headers.items()},
                body=body.decode("utf-8", "replace") if isinstance(body, bytes) else body,
                body_sha256=digest,
            )
        )

    async def _carry_out(self, request: web.Request, job: Job) -> web.StreamResponse:
        """Send a job's response; its bill line is written before its last byte goes out."""
        account = Account(job, wall=datetime.now(UTC), now=time.monotonic())
        response = web.StreamResponse()
        outcome: str | None = "server_stopped"
        settled = False
        try:
            await _pause(request, job.latency_s)
            if job.delivery.status is not None:
                response = await _opened(request, job.delivery, job.number)
            for step, last in _with_last(job.delivery.steps):
                await _pause(request, step.wait_s)
                account.note(step, last=last)
                if last:
                    self._bill.add(account.line(now=time.monotonic()))
                    settled = True
                await response.write(step.data)
            outcome = None
            await _finish(request, response, job.delivery.ending)
        except ConnectionError:
            outcome = "client_gone"
        finally:
            if not settled:
                self._bill.add(account.line(now=time.monotonic(), outcome=outcome))
        return response


async def _opened(request: web.Request, delivery: Delivery, number: int) -> web.StreamResponse:
    """The response with its headers sent."""
    name = f"req_{number:012d}"
    headers = {"request-id": name, "x-request-id": name, **delivery.headers}
    response = web.StreamResponse(status=delivery.status or 200, headers=headers)
    if delivery.length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = delivery.length
    await response.prepare(request)
    return response


async def _pause(request: web.Request, seconds: float) -> None:
    """Wait, and raise ``ConnectionResetError`` as soon as the client has gone."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _WATCH_S))
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError


async def _finish(request: web.Request, response: web.StreamResponse, ending: Ending) -> None:
    transport = request.transport
    if ending is Ending.CLOSE:
        await response.write_eof()
    elif transport is not None and ending is Ending.CUT:
        transport.close()
    elif transport is not None:
        # What was sent must have arrived: a reset discards what the client has not read yet.
        await asyncio.sleep(_BEFORE_RESET_S)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()


def _with_last(steps: Iterable[Step]) -> Iterator[tuple[Step, bool]]:
    """Each step, and whether it is the last one."""
    iterator = iter(steps)
    held = next(iterator, None)
    while held is not None:
        following = next(iterator, None)
        yield held, following is None
        held = following


def _one_piece(delivery: Delivery) -> web.Response:
    body = b"".join(step.data for step in delivery.steps)
    return web.Response(status=delivery.status or 200, headers=delivery.headers, body=body)


def _unknown_path(request: web.Request) -> web.Response:
    message = f"Unknown request URL: {request.method} {request.path}."
    error = {"message": message, "type": "invalid_request_error", "code": "unknown_url"}
    return web.json_response({"error": error}, status=404, dumps=dump)


def _json_object(raw: bytes) -> dict[str, Json] | None:
    """The body as a JSON object, ``None`` where it is something else."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _digest(secret: str) -> str:
    scheme, space, value = secret.rpartition(" ")
    return f"{scheme}{space}sha256:{hashlib.sha256(value.encode()).hexdigest()[:12]}"


def _checked(script: WireScript | Mapping[str, Json] | None) -> WireScript:
    return script if isinstance(script, WireScript) else parse_script(script)


async def serve(server: WireServer, *, exit_with_stdin: bool) -> None:
    """Run until SIGTERM or SIGINT, or until stdin ends if ``exit_with_stdin``."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    async with server:
        sys.stdout.write(dump({"url": server.url, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # Not through sys.stdin: its lock, held by a daemon thread, breaks the interpreter's exit.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended before
        loop.call_soon_threadsafe(stop.set)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aigenflow.testing.server",
        description="Play all model providers on a local port.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--script", type=Path, help="YAML or JSON file: who gets which answer")
    parser.add_argument("--state-dir", type=Path, help="where bill.jsonl is kept")
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="stop when standard input ends"
    )
    options = parser.parse_args(arguments)
    try:
        script = load_script(options.script) if options.script else WireScript()
        server = WireServer(script, state_dir=options.state_dir, port=options.port)
        asyncio.run(serve(server, exit_with_stdin=options.exit_with_stdin))
    except AigenflowError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
