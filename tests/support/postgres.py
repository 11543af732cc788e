"""Databases of their own on the PostgreSQL of the tests, and that server restarted."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

POSTGRES = os.environ.get("AIGENFLOW_TEST_POSTGRES", "")
NO_SERVER = "AIGENFLOW_TEST_POSTGRES names no server"


@contextlib.contextmanager
def own_database() -> Iterator[str]:
    """The address of a new, empty database that is gone afterwards."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
    yield urlunsplit(urlsplit(POSTGRES)._replace(path=f"/{name}"))
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def restart_server(mode: str = "fast") -> None:
    """Stop and start the server: ``fast`` tells its clients, ``immediate`` is a crash."""
    _control_server(_data_folder(), mode, "restart")


@contextlib.contextmanager
def server_away() -> Iterator[None]:
    """The server is stopped while the block lasts."""
    data = _data_folder()  # only a server that is there can tell
    _control_server(data, "fast", "stop")
    try:
        yield
    finally:
        _control_server(data, "fast", "restart")


def _data_folder() -> Path:
    import psycopg

    with psycopg.connect(POSTGRES, autocommit=True) as server:
        [(data,)] = server.execute("SHOW data_directory").fetchall()
    return Path(data.decode() if isinstance(data, bytes) else data)


def _control_server(folder: Path, mode: str, order: str) -> None:
    control = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[-1]
    command = [str(control), "-D", str(folder), "-m", mode, "-w", "-l", str(folder.parent / "log")]
    as_owner = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run(  # the options of the first start are kept by the server
        [*as_owner, *command, order], check=True, capture_output=True, timeout=60
    )
