from __future__ import annotations

from pathlib import Path

import pytest

from aigenflow.core.config import (
    check_home,
    full_key,
    home_directory,
    leaf_keys,
    load_settings,
    make_home,
)
from aigenflow.core.config_file import set_value, unset_value
from aigenflow.core.errors import ConfigError


def test_the_shipped_defaults_are_those_of_the_documentation(own_home: Path) -> None:
    """Without any file or variable, every documented default is in force."""
    settings = load_settings(own_home)
    assert settings.features.caching_enabled
    assert settings.features.batch_processing_enabled
    assert settings.features.monitoring_enabled
    assert settings.agents.claude.model == "claude-sonnet-5-5"
    assert settings.agents.chatgpt.api_key_env == "OPENAI_API_KEY"
    assert settings.agents.perplexity.model == "perplexity/sonar"
    assert (settings.cache.url, settings.cache.ttl_hours, settings.cache.max_size_mb) == (
        "file:",
        24,
        500,
    )
    assert (settings.batch.max_batch_size, settings.batch.max_wait_seconds) == (5, 2.0)
    assert settings.budget.thresholds == (50, 75, 90, 100)


def test_a_later_layer_wins_and_leaves_the_rest(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defaults < user's file < project's file < environment < flags, key by key."""
    own_home.mkdir()
    (own_home / "config.yaml").write_text("agents: {claude: {model: user, concurrency: 2}}")
    project = tmp_path / "project"
    project.mkdir()
    (project / "aigenflow.yaml").write_text("agents: {claude: {model: project}}")
    claude = load_settings(own_home, project).agents.claude
    assert (claude.model, claude.concurrency, claude.backend) == ("project", 2, "anthropic")
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE__MODEL", "environment")
    assert load_settings(own_home, project).agents.claude.model == "environment"
    flags = {"agents": {"claude": {"model": "flag"}}}
    assert load_settings(own_home, project, flags).agents.claude.model == "flag"
    assert load_settings(own_home, project, flags).agents.claude.concurrency == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cache: [", "not valid YAML"),
        ("just a sentence", "must hold settings by name"),
        ("cache: {ttl_hour: 3}", "no setting called cache.ttl_hour"),
        ("cache: {ttl_hours: soon}", "cache.ttl_hours"),
        ("agents: {claude: {backend: telepathy}}", "agents.claude.backend"),
        ("a: &x 1\nb: *x", "aliases"),
        ("cache: {ttl_hours: 1, ttl_hours: 2}", "same key twice"),
        ("x: '" + "y" * 300_000 + "'", "larger than"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(
    own_home: Path, text: str, problem: str
) -> None:
    """A broken or wrong settings file is named, with what is wrong in it."""
    own_home.mkdir()
    (own_home / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_settings(own_home)
    assert caught.value.hint or "YAML" in str(caught.value) or "settings" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("cache.ttl_hours", "never", "it must be a number"),
        ("cache.ttl_hours", 0, "it must be more than 0"),
        ("cache.ttl_hours", [1], "it must be a number"),
        ("batch.max_batch_size", 2.5, "it must be a whole number"),
        ("batch.max_batch_size", "x", "it must be a whole number"),
        ("budget.on_exceed", "boom", "it must be one of: 'stop', 'warn'"),
        ("features.caching_enabled", "maybe", "it must be true or false"),
        ("features.caching_enabled", [1], "it must be true or false"),
        ("features", 1, "it must hold values by name, like {a: 1}"),
        ("budget.thresholds", "x", "it must be a list, like [a, b]"),
        ("agents.claude.backend", "hal", "it must be one of: 'anthropic', 'openai', 'gemini', "),
        ("agents.claude.model", "", "it is too short"),
        ("agents.claude.model", "x" * 201, "it is too long"),
        ("agents.claude.model", 5, "it must be text"),
        ("agents.claude.base_url", "nowhere", "a base URL is written http"),
        ("budget.ring_fence_percent", 120, "it must be at most 100"),
        ("budget.daily_usd", -1, "it must be at least 0"),
        ("retry.attempts", 11, "it must be at most 10"),
        ("cache.ttl_hours", float("inf"), "it must be at most 876000"),
        ("cache.ttl_hours_by_phase", {2: 0}, "it must be more than 0"),
        ("cache.ttl_hours_by_phase", {6: 1}, "it must be at most 5"),
        ("cache.max_size_mb", float("inf"), "it must be at most 1e+09"),
        ("budget.monthly_usd", float("inf"), "it must be a number"),
        ("budget.phase_usd", {0: 1}, "it must be at least 1"),
        ("budget.phase_usd", {9: 1}, "it must be at most 5"),
        ("budget.phase_usd", {4: float("inf")}, "it must be a number"),
        ("budget.thresholds", [50, 0], "it must be at least 1"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_our_words(
    own_home: Path, key: str, value: object, problem: str
) -> None:
    """They can be translated; those of pydantic cannot."""
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    with pytest.raises(ConfigError) as caught:
        load_settings(own_home, flags=value)
    assert caught.value.message.partition("cannot be used: ")[2].startswith(problem)


def test_a_mistyped_variable_is_refused(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AIGENFLOW_CACH__URL would otherwise be ignored without a word."""
    monkeypatch.setenv("AIGENFLOW_CACH__URL", "memory:")
    with pytest.raises(ConfigError, match="AIGENFLOW_CACH__URL") as caught:
        load_settings(own_home)
    assert "AIGENFLOW_CACHE" in caught.value.hint


def test_short_names_are_found_and_doubtful_ones_refused() -> None:
    """Any unambiguous ending of a key will do."""
    assert full_key("caching_enabled") == "features.caching_enabled"
    assert full_key("claude.model") == "agents.claude.model"
    assert full_key("cache.url") == "cache.url"
    with pytest.raises(ConfigError, match="could be any of"):
        full_key("model")
    with pytest.raises(ConfigError) as caught:
        full_key("ttl_hour")
    assert "cache.ttl_hours" in caught.value.hint


def test_every_leaf_key_can_be_named_in_full() -> None:
    """No key is hidden by a shorter one."""
    for key in leaf_keys():
        assert full_key(key) == key


def test_set_keeps_comments_and_unset_brings_the_default_back(own_home: Path) -> None:
    """A person's file stays theirs: only the one value changes."""
    own_home.mkdir()
    file = own_home / "config.yaml"
    file.write_text("# mine\ncache:\n  ttl_hours: 5  # short\n")
    assert set_value(own_home, "caching_enabled", "false") == ("features.caching_enabled", False)
    text = file.read_text()
    assert "# mine" in text
    assert "ttl_hours: 5  # short" in text
    assert not load_settings(own_home).features.caching_enabled
    unset_value(own_home, "caching_enabled")
    assert load_settings(own_home).features.caching_enabled


@pytest.mark.parametrize(
    ("key", "value"),
    [("ttl_hours", "-1"), ("nonsense", "1"), ("claude.backend", "x"), ("ttl_hours", "[")],
)
def test_a_wrong_value_leaves_the_file_untouched(own_home: Path, key: str, value: str) -> None:
    """A refused change changes nothing, not even a byte."""
    own_home.mkdir()
    file = own_home / "config.yaml"
    file.write_bytes(b"cache: {ttl_hours: 7}   # odd   spacing\n")
    before = file.read_bytes()
    with pytest.raises(ConfigError):
        set_value(own_home, key, value)
    assert file.read_bytes() == before


def test_the_home_can_be_moved(tmp_path: Path) -> None:
    """AIGENFLOW_HOME moves everything that outlives a run."""
    assert home_directory({"AIGENFLOW_HOME": str(tmp_path)}) == tmp_path
    assert home_directory({}) == Path.home() / ".aigenflow"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("network: {trusted_hosts: [evil.example]}", "network.trusted_hosts"),
        ("agents: {claude: {api_key_env: AWS_SECRET}}", "agents.claude.api_key_env"),
        ("use_keyring: true", "use_keyring"),
    ],
)
def test_a_folder_from_elsewhere_has_no_say_in_where_keys_go(
    own_home: Path, tmp_path: Path, text: str, key: str
) -> None:
    """The same setting is taken from the user's own file, which the error names."""
    (tmp_path / "aigenflow.yaml").write_text(text)
    with pytest.raises(ConfigError, match=key) as caught:
        load_settings(own_home, tmp_path)
    assert str(own_home / "config.yaml") in caught.value.hint
    assert ("--trust-base-url" in caught.value.hint) == (key == "network.trusted_hosts")
    (tmp_path / "aigenflow.yaml").unlink()
    own_home.mkdir()
    (own_home / "config.yaml").write_text(text)
    assert load_settings(own_home, tmp_path)


@pytest.mark.parametrize("value", ["sk-ant-CANARY", "CANARY KEY", "1CANARY", ["CANARY-1"], ""])
def test_a_key_where_its_name_belongs_is_refused_and_not_repeated(
    own_home: Path, value: object
) -> None:
    """The error says that the name is wanted."""
    flags = {"agents": {"claude": {"api_key_env": value}}}
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        load_settings(own_home, flags=flags)
    assert "CANARY" not in str(caught.value) + caught.value.hint
    if isinstance(value, str):
        assert "NAME of an environment variable" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:11434",
        "ftp://host/",
        "http://",
        "http:///v1",
        "http://host:99999/v1",
        "http://host:0",
        "http://host:port/",
        "http://[::1",
        "http://a b/",
        "http://host/\n",
        "http://host/?key=1",
        "http://user:CANARY@host/",
    ],
)
@pytest.mark.parametrize("group", ["agents.claude", "local"])
def test_a_base_url_that_is_none_is_refused(own_home: Path, url: str, group: str) -> None:
    """Before anything is sent anywhere; a password in it is not repeated."""
    flags: dict[str, object] = {"base_url": url}
    for name in reversed(group.split(".")):
        flags = {name: flags}
    with pytest.raises(ConfigError, match=f"{group}.base_url") as caught:
        load_settings(own_home, flags=flags)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8200", "https://api.example.com/v1", "http://[::1]:80/v1/", "HTTPS://x.y"],
)
def test_a_base_url_is_taken_as_it_is_written(own_home: Path, url: str) -> None:
    """Nothing is normalised."""
    assert load_settings(own_home, flags={"local": {"base_url": url}}).local.base_url == url


def test_a_group_in_one_variable_is_an_error_that_shows_no_value(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AIGENFLOW_AGENTS__CLAUDE=KEY, for example."""
    monkeypatch.setenv("AIGENFLOW_AGENTS__CLAUDE", "sk-CANARY")
    with pytest.raises(ConfigError, match="agents") as caught:
        load_settings(own_home)
    assert "CANARY" not in str(caught.value)


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    """A file in its place or above it; a folder that is not there yet will do, if it can be."""
    file = tmp_path / "file"
    file.write_text("mine")
    for home in (file, file / "below"):
        for use in (check_home, make_home):
            with pytest.raises(ConfigError, match=str(home)):
                use(home)
        with pytest.raises(ConfigError, match=str(home)):
            set_value(home, "caching_enabled", "false")
    check_home(tmp_path / "new" / "home")
    assert not (tmp_path / "new").exists()
    make_home(tmp_path / "new" / "home")
    assert (tmp_path / "new" / "home").is_dir()
    with pytest.raises(ConfigError, match="/proc/nowhere"):
        make_home(Path("/proc/nowhere"))


def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a ledger or a file in it fails halfway."""
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    with pytest.raises(ConfigError, match="Permission denied"):
        make_home(tmp_path)


def test_a_home_of_nobody_is_named() -> None:
    """``~nobody-here`` stands for no folder."""
    with pytest.raises(ConfigError, match="home directory"):
        home_directory({"AIGENFLOW_HOME": "~no-such-user-here/x"})
