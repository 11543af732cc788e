"""Connections that fail: not made, not secure, broken off, or leading elsewhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aigenflow.core.errors import ConnectionFailedError, RejectedError
from tests.gateway.faults.line import CAP_S, TEXT, Line, over_ways, over_wholes


class Listener:
    """A port of this machine: counts who comes and keeps what they say."""

    def __init__(self) -> None:
        self.connections = 0
        self.heard = b""
        self.url = ""

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.heard += await reader.read(64 * 1024)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        except OSError:
            pass  # the other side gave up, as some tests make it do
        finally:
            writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    """A listener on a free port; with ``tls`` it counts only finished handshakes."""
    listener = Listener()
    server = await asyncio.start_server(listener.receive, "127.0.0.1", 0, ssl=tls)
    listener.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()
        await asyncio.sleep(0)


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's side of TLS with a certificate for 127.0.0.1 that nobody vouches for."""
    return _self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@over_ways
async def test_refused_connection_is_tried_three_times(line: Line, closed_port: int) -> None:
    """Nothing was sent, so nothing can be billed, and trying again is safe."""
    line.base_url = f"http://127.0.0.1:{closed_port}"
    error = await line.fails(ConnectionFailedError)
    assert not error.possibly_billed
    assert "base_url" in error.hint
    assert len(line.clock.sleeps) == 2
    assert line.slept_s <= 2 * CAP_S


@over_ways
async def test_unknown_host_is_tried_three_times(line: Line) -> None:
    """A name that does not resolve may do so a moment later."""
    line.base_url, line.trusted_hosts = "https://nowhere.invalid", ("nowhere.invalid",)
    error = await line.fails(ConnectionFailedError)
    assert not error.possibly_billed
    assert len(line.clock.sleeps) == 2


@over_ways
async def test_untrusted_certificate_gets_no_request(
    line: Line, self_signed: ssl.SSLContext
) -> None:
    """A server that cannot prove its name sees neither prompt nor key."""
    async with listening(self_signed) as impostor:
        line.base_url = f"https://{impostor.url}"
        error = await line.fails(ConnectionFailedError)
    assert not error.possibly_billed
    assert impostor.heard == b""
    assert len(line.clock.sleeps) == 2


@over_wholes
async def test_server_without_tls_gets_no_request(line: Line) -> None:
    """Over https nothing readable is sent to a server that does not speak TLS."""
    async with listening() as plain:
        line.base_url = f"https://{plain.url}"
        error = await line.fails(ConnectionFailedError)
    assert not error.possibly_billed
    assert b"CANARY" not in plain.heard
    assert b"question" not in plain.heard
    assert plain.connections == 3


@over_ways
@pytest.mark.parametrize("fault", ["reset_before_headers", "reset_mid_body"])
async def test_reset_is_tried_three_times_and_possibly_billed(line: Line, fault: str) -> None:
    """The request had gone out, so the provider may charge although no answer came."""
    line.always({"fault": fault})
    error = await line.fails(ConnectionFailedError)
    assert error.possibly_billed
    assert error.response is None
    assert len(line.requests) == 3
    line.plays({"fault": fault})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 5


@over_ways
async def test_redirect_is_not_followed(line: Line) -> None:
    """A redirect to another port takes neither the key nor the prompt there."""
    async with listening() as elsewhere:
        line.always({"fault": f"redirect_307_to:http://{elsewhere.url}/v1/messages"})
        error = await line.fails(RejectedError)
    assert error.status == 307
    assert "Redirects are not followed" in error.hint
    assert len(line.requests) == 1
    assert elsewhere.connections == 0


@over_ways
async def test_key_travels_in_one_header_only(line: Line) -> None:
    """No key in the URL or the body, and none in a second header."""
    line.plays()
    await line.ask()
    (request,) = line.requests
    digests = {n: v for n, v in request["headers"].items() if "sha256:" in str(v)}
    name = "x-goog-api-key" if line.way.backend == "gemini" else "authorization"
    assert list(digests) == [name]
    assert "key" not in request["query"]


def _self_signed(folder: Path) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
