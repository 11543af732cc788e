from __future__ import annotations

from pathlib import Path

import pytest

from aigenflow.core.config import full_key, home_directory, leaf_keys, load_settings
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
        ("cache: {ttl_hours: 1, ttl_hours: 2}", "not valid YAML"),
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
