"""Keys that are like no other text go in, and no part of them comes out anywhere."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.security.leaks import CANARIES, everything_below, leaks
from tests.support.program import AGENTS, Program, Wire, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
TOPIC = "Subscription meal kits for people with diabetes"
PROVIDERS = dict(
    zip(("anthropic", "openai", "gemini", "perplexity"), CANARIES.values(), strict=True)
)
REFUSED = '{"status": 401, "body": {"error": {"message": "Incorrect API key provided: {key}"}}}'
TROUBLE = (
    ("claude", REFUSED),
    ("gemini", REFUSED),
    ("claude", '{"fault": "redirect_307_to:http://127.0.0.1:9/elsewhere"}'),
    ("gemini", '{"status": 400, "body": "<p>{key}</p>", "headers": {"content-type": "text/html"}}'),
    ("claude", '{"fault": "malformed_json"}'),
    ("gemini", '{"fault": "reset_mid_body"}'),
)
"""Who is asked, and what every provider does. After claude, chatgpt is; after gemini, perplexity.
"""
LOUD = """\
import logging, sys, traceback
def show(kind, error, trace):
    dump = traceback.TracebackException(kind, error, trace, capture_locals=True)
    print("".join(dump.format()), file=sys.stderr)
sys.excepthook = show
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        reached = arguments[1][1] if event == "socket.connect" else arguments[0]
        print("REACHES", reached, file=sys.stderr)
sys.addaudithook(watch)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from aigenflow.main import main
main()
"""
"""As much as can be told: every log line of every library, the variables in a traceback, and the
port of every connection and every name that is looked up."""


class LoudProgram(Program):
    """The program, with everything it prints kept."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        super().__init__(folder, environ)
        self.printed: dict[str, bytes] = {}

    def say(self, *arguments: str, code: int = 0, **environ: str) -> str:
        """Run to the end, which is exit code ``code``; its standard output."""
        done = self(*arguments, env=environ, timeout=120)
        assert done.returncode == code, (arguments, done.stdout[-2000:], done.stderr[-4000:])
        name = f"{len(self.printed)} {' '.join(arguments)[:60]}"
        self.printed[name] = (done.stdout + done.stderr).encode()
        return done.stdout

    def told(self) -> str:
        return b"\n".join(self.printed.values()).decode()

    @staticmethod
    def _command(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", LOUD, *arguments]


def with_keys(base: Path, wire: Wire) -> LoudProgram:
    """All four agents at the server, each through its own SDK and with its own key."""
    for name in ("work", "temporary"):
        (base / name).mkdir()
    environ = clean_environment(base / "home") | CANARIES
    environ |= {f"AIGENFLOW_AGENTS__{agent}__BASE_URL": wire.url for agent in AGENTS}
    environ |= {
        "TMPDIR": str(base / "temporary"),
        "OPENAI_LOG": "debug",
        "ANTHROPIC_LOG": "debug",
        "AIGENFLOW_TELEMETRY__PROMETHEUS_TEXTFILE": str(base / "work" / "usage.prom"),
    }
    return LoudProgram(base / "work", environ)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, wire: Wire) -> LoudProgram:
    """The program after it was used in many ways, most of them unhappy."""
    program = with_keys(tmp_path_factory.mktemp("used"), wire)
    program.say("check", "--json", code=4)  # the server lists one model for all who ask /v1/models
    _write_a_document(program, wire)
    for agent, action in TROUBLE:
        _ask_in_vain(program, wire, agent, action)
    _look_around(program)
    return program


def _write_a_document(program: LoudProgram, wire: Wire) -> None:
    """It stops half-way, because both researchers are down, and goes on after a slow start."""
    program.say("plan", "--topic", TOPIC)
    down = [
        {"match": {"provider": name}, "action": {"status": 503}}
        for name in ("gemini", "perplexity")
    ]
    wire.script(rules=down)
    program.say("run", "--topic", TOPIC, "--json", code=5)
    wire.script(rules=[{"match": {"nth": 1}, "action": {"status": 429}}])
    program.say("resume", program.session().name, "--format", "html,docx")


def _ask_in_vain(program: LoudProgram, wire: Wire, agent: str, action: str) -> None:
    """Every provider does the same, and knows the key it was sent."""
    rules = [
        {"match": {"provider": name}, "action": json.loads(action.replace("{key}", key))}
        for name, key in PROVIDERS.items()
    ]
    wire.script(rules=rules)
    program.say("--debug", "ask", "Hello", "--agent", agent, "--no-cache", code=1)
    wire.script()


def _look_around(program: LoudProgram) -> None:
    session = program.session().name
    for command in (
        "config list",
        "config show --json",
        f"status {session} --json",
        "stats --json",
        "cache list --json",
        f"claims {session}",
    ):
        program.say(*command.split())


def test_the_search_finds_any_part_of_a_key_in_any_form() -> None:
    """Otherwise finding nothing would say nothing."""
    for name, key in CANARIES.items():
        for shown in (
            key,
            key[:8],
            key[-8:],
            quote(key, safe="")[2:30],
            base64.b64encode(f"x{key}".encode()).decode(),
            base64.urlsafe_b64encode(f"xy{key[:14]}".encode()).decode(),
        ):
            found = leaks({"place": f"text {shown} text".encode()})
            assert any(leak.startswith(f"{name} in place") for leak in found), shown
    assert not leaks({"place": b"sk-CANA...f3, a key of 40 characters"})


def test_every_key_was_used(used: LoudProgram, wire: Wire) -> None:
    """Each provider was sent its key, in its one header and nowhere else, and all was told."""
    digests = {p: f"sha256:{sha256(k.encode()).hexdigest()[:12]}" for p, k in PROVIDERS.items()}
    seen = {entry["provider"]: entry for entry in wire.requests()}
    for provider, digest in digests.items():
        header = "x-goog-api-key" if provider == "gemini" else "authorization"
        assert seen[provider]["headers"][header].removeprefix("Bearer ") == digest
        assert json.dumps(seen[provider]).count("sha256:") == 1
        assert not seen[provider]["query"].get("key")
    told = used.told()
    for sign in ("DEBUG:anthropic", "DEBUG:openai", "Traceback", "route = "):
        assert sign in told, sign


def test_no_key_is_printed_or_logged(used: LoudProgram) -> None:
    """Not in an answer, an error, a traceback with its variables, or a library's log."""
    assert leaks(used.printed) == []


def test_no_key_is_written(used: LoudProgram) -> None:
    """Not to the home directory, the session, the document, a temporary or a telemetry file."""
    written = everything_below(used.folder.parent)
    names = " ".join(written)
    for sign in ("ledger.db", "cache/entries/", "business_plan.docx!word/", "usage.prom"):
        assert sign in names, sign
    assert leaks(written) == []


def test_nobody_else_is_contacted(used: LoudProgram, wire: Wire) -> None:
    """No telemetry of an SDK, no look for updates, no address that a redirect names."""
    port = wire.url.rpartition(":")[2]
    assert set(re.findall(r"^REACHES (\S+)", used.told(), re.MULTILINE)) == {port}


def test_no_process_has_a_key_among_its_arguments(tmp_path: Path, wire: Wire) -> None:
    """Every user of the machine can read those."""
    program = with_keys(tmp_path, wire)
    wire.script(rules=[{"action": {"latency_s": 60}}])
    process = program.start("ask", "Hello")
    try:
        while not wire.requests():
            assert process.poll() is None, process.communicate()
        started = {path for path in Path("/proc").glob("[0-9]*") if _is_below(path, process.pid)}
        assert started
        arguments = {str(path): (path / "cmdline").read_bytes() for path in started}
        assert leaks(arguments) == []
    finally:
        process.kill()
        process.communicate()


def _is_below(process: Path, ancestor: int) -> bool:
    """Whether ``process``, a folder of /proc, is ``ancestor`` or was started by it."""
    while process.name != str(ancestor):
        try:
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:  # it has ended
            return False
        if parent == "0":
            return False
        process = process.with_name(parent)
    return True
