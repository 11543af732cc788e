"""The settings: every key a user or a script can rely on, and where its value comes from.

Shipped defaults < ``~/.aigenflow/config.yaml`` < ``./aigenflow.yaml`` < ``AIGENFLOW_*`` < flags.
In the environment, ``__`` stands between levels: ``AIGENFLOW_AGENTS__CLAUDE__MODEL``.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from gettext import gettext as _
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from aigenflow.core.errors import ConfigError
from aigenflow.core.files import ensure_directory
from aigenflow.core.keys import redact
from aigenflow.core.models import AgentType, Backend, FormatName, ProcessingChoice
from aigenflow.core.yaml import read_yaml

ENV_PREFIX = "AIGENFLOW_"
PROJECT_FILE = "aigenflow.yaml"
_OUTSIDE_SETTINGS = frozenset({"HOME", "UI_LANG"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_IN_BASE_URL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\?#@]")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NOT_FOR_PROJECTS = (
    ("network", "trusted_hosts"),
    ("agents", "*", "api_key_env"),
    ("use_keyring",),
    ("fleet", "database_url"),
)
"""What says where keys and texts are and where they may go: no say for a folder from elsewhere."""


def _checked_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(
            _("it is the NAME of an environment variable, like ANTHROPIC_API_KEY, not a key")
        )
    return name


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or _NOT_IN_BASE_URL.search(url):
        raise ValueError(_("a base URL is written http(s)://HOST[:PORT][/PATH], and nothing more"))
    return url


VariableName = Annotated[str, AfterValidator(_checked_name)]
BaseUrl = Annotated[str, AfterValidator(_checked_url)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0, le=876_000)]
"""A century at most: the calendar has no date for what is older than the year 1."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureSettings(_Group):
    """The three pillars, each with its switch."""

    caching_enabled: bool = True
    batch_processing_enabled: bool = True
    monitoring_enabled: bool = True


class AgentSettings(_Group):
    """How one role is reached.

    ``api_key_env`` names the environment variable that holds the key. Limits are per minute and
    per process; ``null`` is no limit. ``options`` is passed through to the provider's request.
    """

    backend: Backend
    model: str = Field(min_length=1, max_length=200)
    base_url: BaseUrl | None = None
    api_key_env: VariableName
    context_window_tokens: int | None = Field(default=None, ge=1024)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=8, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)


class AgentsSettings(_Group):
    """The four roles."""

    claude: AgentSettings = AgentSettings(
        backend=Backend.ANTHROPIC, model="claude-sonnet-5-5", api_key_env="ANTHROPIC_API_KEY"
    )
    chatgpt: AgentSettings = AgentSettings(
        backend=Backend.OPENAI, model="gpt-6.1-sol", api_key_env="OPENAI_API_KEY"
    )
    gemini: AgentSettings = AgentSettings(
        backend=Backend.GEMINI, model="gemini-3.8-flash", api_key_env="GEMINI_API_KEY"
    )
    perplexity: AgentSettings = AgentSettings(
        backend=Backend.PERPLEXITY, model="perplexity/sonar", api_key_env="PERPLEXITY_API_KEY"
    )

    def of(self, agent: AgentType) -> AgentSettings:
        """The settings of one role."""
        settings: AgentSettings = getattr(self, agent.value)
        return settings


class LocalSettings(_Group):
    """The OpenAI-compatible server that is used when no key is set.

    ``model`` null takes the first model that the server lists.
    """

    discover: bool = True
    base_url: BaseUrl = "http://127.0.0.1:11434/v1"
    model: str | None = None


class CacheSettings(_Group):
    """The response cache. ``normalize: none`` keeps apart what differs in case or spacing."""

    url: str = "file:"
    ttl_hours: Hours = 24
    ttl_hours_by_phase: dict[Annotated[int, Field(ge=0, le=5)], Hours] = Field(default_factory=dict)
    max_size_mb: float = Field(default=500, gt=0, le=1e9)
    normalize: Literal["specified", "none"] = "specified"
    compression: bool = False
    encryption: bool = False


class BatchSettings(_Group):
    """The request queue, and how answers are bought where a command does not say.

    ``unfinished`` is what happens to requests whose batch job ended before they ran.
    """

    max_batch_size: int = Field(default=5, ge=1)
    max_wait_seconds: float = Field(default=2.0, ge=0)
    processing: ProcessingChoice = ProcessingChoice.LIVE
    unfinished: Literal["live", "fail"] = "live"


class LedgerSettings(_Group):
    """Where usage and reservations are kept; ``sqlite:`` is a file in the home directory."""

    url: str = "sqlite:"


class BudgetSettings(_Group):
    """Limits in US dollars; ``null`` is no limit. ``thresholds`` are per cent.

    ``phase_usd`` limits phases of one session, by their number. ``ring_fence_percent`` of every
    budget is kept for writing and review.
    """

    daily_usd: Dollars | None = None
    weekly_usd: Dollars | None = None
    monthly_usd: Dollars | None = None
    session_usd: Dollars | None = None
    phase_usd: dict[Annotated[int, Field(ge=1, le=5)], Dollars] = Field(default_factory=dict)
    ring_fence_percent: float = Field(default=0, ge=0, le=100)
    thresholds: tuple[Annotated[int, Field(ge=1)], ...] = (50, 75, 90, 100)
    on_exceed: Literal["stop", "warn"] = "stop"
    timezone: str = "local"


class TimeoutSettings(_Group):
    """Limits of one call, in seconds."""

    connect_seconds: float = Field(default=5, gt=0)
    first_event_seconds: float = Field(default=120, gt=0)
    idle_seconds: float = Field(default=60, gt=0)
    total_seconds: float = Field(default=900, gt=0)


class RetrySettings(_Group):
    """The one retry layer. ``switch_on_refusal`` lets another agent answer what one refused."""

    attempts: int = Field(default=3, ge=1, le=10)
    base_seconds: float = Field(default=1, ge=0)
    cap_seconds: float = Field(default=60, ge=0)
    max_retry_after_seconds: float = Field(default=120, ge=0)
    switch_on_refusal: bool = False


class NetworkSettings(_Group):
    """``trusted_hosts`` may be reached although they are private or not the provider's own."""

    trusted_hosts: tuple[str, ...] = ()


class QualitySettings(_Group):
    """``max_rounds`` is how often a document that fails its quality gates is written anew."""

    max_rounds: int = Field(default=2, ge=0, le=2)


class TelemetrySettings(_Group):
    """What is told to those who watch from outside; all of it is off unless switched on.

    ``prometheus_textfile`` is written with the ledger's totals after each run.
    ``capture_content`` puts prompts and answers into the spans.
    """

    otel_enabled: bool = False
    prometheus_textfile: Path | None = None
    capture_content: bool = False


class FleetSettings(_Group):
    """Many machines on one PostgreSQL database.

    ``version`` names who may go on with whose sessions; empty is the version of the package.
    ``sessions_per_worker`` and ``sessions`` (of the whole fleet, ``null`` is no limit) are written
    at the same time. A worker looks for work every ``poll_seconds``; one that was silent for
    ``dead_after_seconds`` loses its sessions to the others.
    """

    database_url: str = ""
    version: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._+-]*$")
    sessions_per_worker: int = Field(default=20, ge=1)
    sessions: int | None = Field(default=None, ge=1)
    poll_seconds: float = Field(default=1.0, ge=0.05)
    dead_after_seconds: float = Field(default=15.0, ge=1)


class Settings(BaseSettings):
    """Everything that can be configured, checked."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        extra="forbid",
        frozen=True,
    )

    features: FeatureSettings = FeatureSettings()
    agents: AgentsSettings = AgentsSettings()
    local: LocalSettings = LocalSettings()
    cache: CacheSettings = CacheSettings()
    batch: BatchSettings = BatchSettings()
    ledger: LedgerSettings = LedgerSettings()
    budget: BudgetSettings = BudgetSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    network: NetworkSettings = NetworkSettings()
    quality: QualitySettings = QualitySettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    fleet: FleetSettings = FleetSettings()
    output_dir: Path = Path("output")
    output_formats: tuple[FormatName, ...] = ("md", "html")
    use_keyring: bool = False


def home_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where aigenflow keeps what outlives a run: ``AIGENFLOW_HOME``, else ``~/.aigenflow``."""
    moved = environ.get(ENV_PREFIX + "HOME")
    try:
        return Path(moved).expanduser() if moved else Path.home() / ".aigenflow"
    except RuntimeError as error:  # no such user, or one without a home
        raise ConfigError(
            _("The home directory of aigenflow cannot be found: {problem}").format(problem=error),
            hint=_("Point AIGENFLOW_HOME at a folder that you may write to."),
        ) from error


def check_home(home: Path) -> None:
    """Refuse a home that is no folder, or that others can write to: its settings say where keys go.

    One that is not there yet will do.

    Raises :class:`~aigenflow.core.errors.ConfigError`.
    """
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable_home(home, error.strerror) from error
    if not stat.S_ISDIR(mode):
        raise _unusable_home(home, os.strerror(errno.ENOTDIR))
    if mode & _WRITABLE_BY_OTHERS and os.name == "posix":
        raise ConfigError(
            _("Others can write to the home directory {path}.").format(path=home),
            hint=_("Run: chmod 700 {path}").format(path=shlex.quote(str(home))),
        )


def make_home(home: Path) -> None:
    """Make the home directory where there is none, and see that it can be written.

    Raises :class:`~aigenflow.core.errors.ConfigError`.
    """
    try:
        ensure_directory(home)
    except OSError as error:
        raise _unusable_home(home, error.strerror) from error
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise _unusable_home(home, os.strerror(errno.EACCES))


def _unusable_home(home: Path, problem: str | None) -> ConfigError:
    return ConfigError(
        _("The home directory {path} cannot be used: {problem}").format(path=home, problem=problem),
        hint=_("Point AIGENFLOW_HOME at a folder that you may write to."),
    )


def user_file(home: Path) -> Path:
    """The user's settings file."""
    return home / "config.yaml"


def load_settings(
    home: Path,
    project: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
) -> Settings:
    """Put the layers together.

    ``project`` is the folder that may hold ``aigenflow.yaml``; ``flags`` is a nested mapping that
    wins over everything; ``user`` stands in for the user's file where a change is tried out.

    Raises :class:`~aigenflow.core.errors.ConfigError` naming the key, its value and its source.
    """
    layers = [_read_project(project / PROJECT_FILE, home)] if project else []
    layers.append(_read_layer(user_file(home)) if user is None else dict(user))
    _refuse_unknown_variables(os.environ)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            files = (InitSettingsSource(settings_cls, layer) for layer in layers)
            return (init_settings, env_settings, *files)

    try:
        return Layered(**dict(flags or {}))
    except ValidationError as error:
        raise _config_error(error) from error
    except SettingsError as error:  # a whole group in one variable, which is not JSON
        raise ConfigError(
            _("The environment holds a setting that cannot be read: {problem}").format(
                problem=error
            ),
            hint=_("Name the single setting, like AIGENFLOW_CACHE__TTL_HOURS."),
        ) from error


def leaf_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted key that holds a value, in the order of the settings."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaf_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def full_key(name: str) -> str:
    """The dotted key that ``name`` stands for: in full, or any unambiguous ending of it.

    Raises :class:`~aigenflow.core.errors.ConfigError` with the nearest keys.
    """
    keys = tuple(leaf_keys())
    matches = [key for key in keys if key == name or key.endswith("." + name)]
    if name in matches:
        return name
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(
            _("{name} could be any of: {keys}").format(name=name, keys=", ".join(matches)),
            hint=_("Write the key in full."),
        )
    raise ConfigError(
        _("There is no setting called {name}.").format(name=name), hint=_nearest_hint(name, keys)
    )


def _nearest_hint(name: str, keys: Iterable[str]) -> str:
    endings = {
        key.split(".", depth)[-1]: key for key in keys for depth in range(key.count(".") + 1)
    }
    near = difflib.get_close_matches(name, endings, n=1, cutoff=0.5)
    if near:
        return _("Did you mean {key}?").format(key=endings[near[0]])
    return _("`aigenflow config list` shows every setting.")


def _read_layer(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    value = read_yaml(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            _("{path} must hold settings by name, like `cache: {{ttl_hours: 24}}`.").format(
                path=path
            )
        )
    return value


def _read_project(path: Path, home: Path) -> dict[str, Any]:
    """The project's settings, which may come from somebody else with the folder."""
    layer = _read_layer(path)
    for key in _NOT_FOR_PROJECTS:
        found = next(_present(layer, key), None)
        if found is None:
            continue
        hint = (
            _("Set it in {file}, or give --trust-base-url HOST.")
            if key[0] == "network"
            else _("Set it in {file}.")
        )
        raise ConfigError(
            _("{path} may not set {key}: it decides where your keys go.").format(
                path=path, key=found
            ),
            hint=hint.format(file=user_file(home)),
        )
    return layer


def _present(value: Any, key: tuple[str, ...], found: str = "") -> Iterator[str]:
    """The dotted names in ``value`` that ``key`` stands for; ``*`` is any name."""
    if not key:
        yield found
    elif isinstance(value, dict):
        for name in value:
            if key[0] in ("*", name):
                yield from _present(value[name], key[1:], f"{found}.{name}" if found else name)


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    groups = tuple(Settings.model_fields)
    for variable in environ:
        if not variable.startswith(ENV_PREFIX):
            continue
        rest = variable.removeprefix(ENV_PREFIX)
        first = rest.split("__")[0].lower()
        if rest in _OUTSIDE_SETTINGS or first in groups or rest.startswith("TEST_"):
            continue
        near = difflib.get_close_matches(first, groups, n=1)
        raise ConfigError(
            _("The environment variable {name} is not a setting.").format(name=variable),
            hint=_("Did you mean {key}?").format(key=ENV_PREFIX + near[0].upper())
            if near
            else _("`aigenflow config list` shows every setting."),
        )


def _config_error(error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        message = _("There is no setting called {name}.").format(name=key)
        return ConfigError(message, hint=_nearest_hint(key, leaf_keys()))
    value = first.get("input")
    # Where the name of a key belongs, people put the key.
    hidden = isinstance(value, dict) or "api_key_env" in first["loc"] or "@" in str(value)
    shown = "" if hidden else f" ({redact(str(value))[:80]!r})"
    return ConfigError(
        _("The setting {key}{value} cannot be used: {problem}").format(
            key=key, value=shown, problem=_problem(first)
        ),
        hint=_("`aigenflow config path` prints where settings come from."),
    )


def _problem(details: ErrorDetails) -> str:
    """What is wrong with a value; in pydantic's own English where nothing is known of it here."""
    number, whole, group = (
        _("it must be a number"),
        _("it must be a whole number"),
        _("it must hold values by name, like {{a: 1}}"),
    )
    known = {
        "missing": _("it is missing"),
        "string_type": _("it must be text"),
        "string_too_short": _("it is too short"),
        "string_too_long": _("it is too long"),
        "int_type": whole,
        "int_parsing": whole,
        "int_from_float": whole,
        "float_type": number,
        "float_parsing": number,
        "finite_number": number,
        "bool_type": _("it must be true or false"),
        "bool_parsing": _("it must be true or false"),
        "tuple_type": _("it must be a list, like [a, b]"),
        "dict_type": group,
        "model_type": group,
        "literal_error": _("it must be one of: {expected}"),
        "enum": _("it must be one of: {expected}"),
        "greater_than": _("it must be more than {gt}"),
        "greater_than_equal": _("it must be at least {ge}"),
        "less_than": _("it must be less than {lt}"),
        "less_than_equal": _("it must be at most {le}"),
    }
    if details["type"] not in known:
        return details["msg"].removeprefix("Value error, ")
    context = {
        name: f"{value:g}" if isinstance(value, float) else str(value).replace(" or ", ", ")
        for name, value in details.get("ctx", {}).items()
    }
    return known[details["type"]].format(**context)
