from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Program, Wire

TOPIC = ["--topic", "Subscription meal kits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--topic", ""], "The topic has 0 characters"),
        (["run", "--topic", "12345"], "The topic has 5 characters"),
        (["run", "--topic", "x" * 5_000], "at most 4000"),
        (["run", "--topic", "a topic\x1b[2J here"], "control characters"),
        (["run"], "Give either --topic or --topics"),
        (["run", *TOPIC, "--type", "novel"], "'novel' is not one of"),
        (["run", *TOPIC, "--lang", "fr"], "'fr' is not one of"),
        (["run", *TOPIC, "--template", "starup"], "startup"),
        (["run", *TOPIC, "--template", "../../etc/passwd"], "template"),
        (["run", *TOPIC, "--type", "rd", "--template", "startup"], "startup"),
        (["run", *TOPIC, "--from-phase", "9"], "9 is not in the range"),
        (["run", *TOPIC, "--brief", "nowhere.md"], "nowhere.md"),
        (["run", *TOPIC, "--brief", "/dev/zero"], "/dev/zero cannot be read: not a regular file"),
        (["run", *TOPIC, "--session", "x"], "--session needs --from-phase"),
        (["plan", *TOPIC, "--session", "x"], "--session needs --from-phase"),
        (["resume", "../../etc"], "cannot be the name of a session"),
        (["status", "no-such-session"], "no-such-session"),
        (["ask", "--agent", "hal", "hello"], "'hal' is not one of"),
        (["config", "set", "caching_enable", "false"], "features.caching_enabled"),
        (["config", "set", "ttl_hours", "never"], "cache.ttl_hours"),
        (["ask", " "], "The question is empty."),
        (["quality", "no-such-file.md"], "no-such-file.md cannot be read: No such file"),
        (["confg"], "No such command 'confg'. Did you mean 'config'?"),
    ],
)
def test_wrong_use_is_one_clear_error(offline: Program, arguments: list[str], message: str) -> None:
    """What happened, with what; exit code 2 (6 for a session that is not there); no traceback."""
    done = offline(*arguments)
    assert done.returncode == (6 if arguments[0] == "status" else 2), done
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (offline.folder / "output").exists()


def test_a_refused_key_is_named_by_its_variable(program: Program, wire: Wire) -> None:
    """`check` says where each key that a provider refused was read from, and not what it is."""
    wire.script(accepted_keys=["sk-good"])
    keys = {"ANTHROPIC_API_KEY": "sk-good", "OPENAI_API_KEY": "sk-wrong-one"}
    done = program("check", env=keys)
    assert done.returncode == 4
    assert "openai answered 401" in done.stdout
    assert "The key is read from OPENAI_API_KEY: look at its value." in done.stdout
    assert "anthropic answered 401" not in done.stdout
    assert "sk-wrong-one" not in done.stdout + done.stderr


def test_a_topic_that_is_not_text_is_refused(offline: Program) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, and are named as such."""
    command = [os.fsencode(sys.executable), b"-m", b"aigenflow", b"run", b"--topic", b"abcdef\xff"]
    done = subprocess.run(command, cwd=offline.folder, env=offline.environ, capture_output=True)
    assert done.returncode == 2
    assert b"not valid Unicode" in done.stderr


def test_a_settings_file_that_is_not_yaml_is_named(offline: Program) -> None:
    """The file, the place and what to check."""
    (offline.folder / "aigenflow.yaml").write_text("cache: [1, 2")
    done = offline("run", *TOPIC)
    assert done.returncode == 2
    assert "aigenflow.yaml is not valid YAML" in done.stderr


def test_a_brief_that_is_no_text_is_refused_before_anything_is_made(offline: Program) -> None:
    """A picture given as a brief, for example."""
    (offline.folder / "brief.md").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00")
    done = offline("run", *TOPIC, "--brief", "brief.md")
    assert done.returncode == 2
    assert "brief.md" in done.stderr
    assert not (offline.folder / "output").exists()


def test_a_template_with_a_missing_variable_is_named(offline: Program) -> None:
    """The template's name and the variable's; nothing is bought."""
    prompts = offline.folder.parent / "home" / "templates" / "prompts" / "bizplan"
    prompts.mkdir(parents=True)
    (prompts / "brainstorm.en.md.j2").write_text(
        "{% extends '_base.en.md.j2' %}{% block prompt %}{{ moon }}{% endblock %}"
    )
    done = offline("run", *TOPIC)
    assert done.returncode == 2
    assert "moon" in done.stderr
    assert "brainstorm" in done.stderr


def test_an_output_folder_that_cannot_be_written_is_named(offline: Program) -> None:
    """A file is in the way."""
    (offline.folder / "output").write_text("mine")
    done = offline("run", *TOPIC)
    assert done.returncode == 2
    assert "--output-dir" in done.stderr
    assert (offline.folder / "output").read_text() == "mine"


def test_a_refused_key_is_told_by_name_and_never_shown(program: Program, wire: Wire) -> None:
    """With one agent only, a key that the provider refuses stops the run and names the agent."""
    wire.script(accepted_keys=["sk-good"])
    env = {"ANTHROPIC_API_KEY": "sk-ant-CANARY-1234567890"}
    done = program("ask", "Hello", "--agent", "claude", env=env)
    assert done.returncode == 4
    assert "CANARY" not in done.stderr + done.stdout
    assert "key" in done.stderr


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.7:8000/v1", "http://169.254.169.254/v1", "https://proxy.example.invalid/v1"],
)
def test_an_address_without_leave_gets_nothing(offline: Program, url: str) -> None:
    """Prompts and keys go to no private or foreign host unless the user says so."""
    env = {"AIGENFLOW_AGENTS__CLAUDE__BASE_URL": url, "ANTHROPIC_API_KEY": "sk-ant-test"}
    done = offline("run", *TOPIC, env=env)
    assert done.returncode == 2, done.stderr
    assert "--trust-base-url" in done.stderr


def test_errors_for_scripts_are_json(offline: Program) -> None:
    """With --json an error is one JSON value too."""
    done = offline("run", "--topic", "abc", "--json")
    assert done.returncode == 2
    assert '"error": "InputError"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "help_of"),
    [
        (["run"], "aigenflow run --help"),
        (["run", *TOPIC, "--lang", "fr"], "aigenflow run --help"),
        (["cache", "show"], "aigenflow cache show --help"),
        (["cash"], "aigenflow --help"),
    ],
)
def test_a_mistyped_command_is_json_for_scripts_too(
    offline: Program, arguments: list[str], help_of: str
) -> None:
    """Exit code 2, one value on standard output, nothing on standard error."""
    done = offline(*arguments, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    told = json.loads(done.stdout)
    assert told["error"] == "UsageError"
    assert told["message"]
    assert told["hint"] == help_of


def test_debug_shows_the_traceback(offline: Program) -> None:
    """Only then."""
    done = offline("--debug", "run", "--topic", "abc")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", *TOPIC],
        ["plan", *TOPIC],
        ["ask", "Hello"],
        ["check"],
        ["stats"],
        ["budget", "show"],
        ["cache", "stats"],
        ["config", "set", "daily_usd", "5"],
    ],
)
def test_a_home_that_is_a_file_is_named(offline: Program, arguments: list[str]) -> None:
    """Every command says so alike."""
    file = offline.folder / "file"
    file.write_text("mine")
    done = offline(*arguments, env={"AIGENFLOW_HOME": str(file)})
    assert done.returncode == 2, done
    assert f"The home directory {file} cannot be used" in done.stderr
    assert "AIGENFLOW_HOME" in done.stderr


@pytest.mark.parametrize("mode", [0o770, 0o703, 0o1777])
def test_a_home_that_others_can_write_to_is_refused(quick: Program, wire: Wire, mode: int) -> None:
    """Its settings say where keys and texts go; the way out is told, and works."""
    home = Path(quick.environ["AIGENFLOW_HOME"])
    home.mkdir()
    home.chmod(mode)
    refused = quick("ask", "Hello there")
    assert refused.returncode == 2, refused.stderr
    assert f"chmod 700 {home}" in refused.stderr
    assert wire.bill() == []
    home.chmod(0o700)
    assert quick("ask", "Hello there").returncode == 0


@pytest.mark.parametrize("arguments", [["run", *TOPIC], ["stats"], ["config", "path"]])
def test_a_folder_that_is_gone_is_named(offline: Program, arguments: list[str]) -> None:
    """The shell still stands in it; somebody has removed it."""
    script = 'rmdir "$PWD" && exec "$0" -m aigenflow "$@"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, *arguments],
        cwd=offline.folder,
        env=offline.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done
    assert "The current folder cannot be used" in done.stderr


def test_keys_go_nowhere_on_the_word_of_a_cloned_folder(offline: Program) -> None:
    """Its settings can name a host, but not trust it."""
    (offline.folder / "aigenflow.yaml").write_text(
        "agents: {claude: {base_url: https://evil.example.invalid}}\n"
        "network: {trusted_hosts: [evil.example.invalid]}\n"
    )
    done = offline("ask", "Hello", env={"ANTHROPIC_API_KEY": "sk-ant-CANARY"})
    assert done.returncode == 2
    assert "network.trusted_hosts" in done.stderr
    assert str(offline.folder.parent / "home" / "config.yaml") in done.stderr


def test_a_run_goes_on_when_nobody_watches_any_more(offline: Program) -> None:
    """`aigenflow run ... 2>&1 | head -1` writes the whole document."""
    script = (
        '("$0" -m aigenflow run --topic "Subscription meal kits"; echo $? >code) 2>&1 | head -1'
    )
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=offline.folder,
        env=offline.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1
    assert (offline.folder / "code").read_text() == "0\n"
    assert "Subscription meal kits" in offline.document()


def test_ask_says_who_answers_in_place_of_the_one_asked(offline: Program, wire: Wire) -> None:
    """On standard error: the drafter, or another agent; nothing where it is as one expects."""
    assert "offline drafter" in offline("ask", "Hello").stderr
    env = {"AIGENFLOW_AGENTS__CLAUDE__BASE_URL": wire.url}
    assert offline("ask", "Hello", env=env).stderr == ""
    done = offline("ask", "Hello", "--agent", "gemini", env=env)
    assert "Answered by claude: gemini cannot be reached" in done.stderr


def test_ask_passes_warnings_on(offline: Program, wire: Wire) -> None:
    """A cache that cannot be opened, for example."""
    env = {
        "AIGENFLOW_AGENTS__CLAUDE__BASE_URL": wire.url,
        "AIGENFLOW_CACHE__URL": "sqlite:////proc/x",
    }
    done = offline("ask", "Hello", env=env)
    assert done.returncode == 0, done
    assert "Note: The cache cannot be opened" in done.stderr
