"""What a call costs: the one reader of ``pricing.yaml``, and which price counts.

The first of these that knows a price wins:

1. by rule, the offline back-end and a compatible server on this machine cost nothing;
2. the user's own file: a row of the exact model, then the agent's row;
3. a shipped row of the exact model;
4. genai-prices: exact models with tiers, cached input, fees, flex and batch, each with its dates;
5. the shipped row of the agent whose home the back-end is, marked as an estimate.

Where none knows, the price is unknown, which is ``None`` and never zero. The last step means that
any model on a vendor's own API has a price, if only a rough one; a compatible server elsewhere has
none until the user writes one down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from gettext import gettext as _
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigenflow.core.errors import ConfigError
from aigenflow.core.hosts import is_loopback
from aigenflow.core.models import AgentType, Backend, ServedFrom
from aigenflow.core.yaml import parse_yaml, read_yaml
from aigenflow.monitoring.models import ZERO, Rates, RateSource, TokenRates
from aigenflow.monitoring.published import VARIANTS, Published

SHIPPED_NAME = "pricing.yaml"

_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1_000)
_AT_HOME: Mapping[Backend, AgentType] = {
    Backend.ANTHROPIC: AgentType.CLAUDE,
    Backend.OPENAI: AgentType.CHATGPT,
    Backend.GEMINI: AgentType.GEMINI,
    Backend.PERPLEXITY: AgentType.PERPLEXITY,
}

Price: TypeAlias = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class ProviderRow(BaseModel):
    """What an agent's calls cost, in dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: AgentType
    input_per_million: Price
    output_per_million: Price
    source: str = ""


class ModelRow(BaseModel):
    """What calls of one exact model cost from the day ``since`` (UTC) on."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    input_per_million: Price
    output_per_million: Price
    cached_input_per_million: Price | None = None
    cache_write_per_million: Price | None = None
    cache_write_1h_per_million: Price | None = None
    search_per_thousand: Price = ZERO
    batch_multiplier: Price | None = None
    flex_multiplier: Price | None = None
    since: date = date.min
    source: str = ""


class PriceTable(BaseModel):
    """A ``pricing.yaml``. ``updated`` is the day somebody last compared it with the sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "1.0"
    currency: Literal["USD"] = "USD"
    updated: date | None = None
    providers: tuple[ProviderRow, ...] = ()
    models: tuple[ModelRow, ...] = ()

    def provider(self, agent: AgentType) -> ProviderRow | None:
        """The agent's row."""
        return next((row for row in self.providers if row.name is agent), None)

    def model(self, name: str, on: date) -> ModelRow | None:
        """The row of an exact model that is in force on a day."""
        rows = [row for row in self.models if row.name == name and row.since <= on]
        return max(rows, key=lambda row: row.since, default=None)


class PriceBook:
    """Prices by agent, back-end, model, day and mode; each is worked out once.

    ``folder`` may hold prices that were fetched (see :mod:`~aigenflow.monitoring.published`).
    """

    def __init__(self, shipped: PriceTable, user: PriceTable, folder: Path | None = None) -> None:
        self.shipped = shipped
        self.user = user
        self._folder = folder
        self._published: Published | None = None
        self._known: dict[tuple[object, ...], Rates | None] = {}

    @classmethod
    def load(cls, user_file: Path | None = None) -> PriceBook:
        """The shipped table, and the user's where there is such a file.

        Prices that were fetched lie beside the user's file.

        Raises :class:`~aigenflow.core.errors.ConfigError` naming the row that is wrong.
        """
        shipped = files("aigenflow.monitoring").joinpath(SHIPPED_NAME).read_text(encoding="utf-8")
        user = PriceTable()
        if user_file is not None and user_file.exists():
            user = _table(read_yaml(user_file) or {}, str(user_file))
        folder = user_file.parent if user_file is not None else None
        return cls(_table(parse_yaml(shipped, SHIPPED_NAME), SHIPPED_NAME), user, folder)

    @property
    def published(self) -> Published:
        """The prices of exact models that somebody else keeps, loaded on first use (0.2 s).

        Raises :class:`~aigenflow.core.errors.ConfigError` where the fetched ones are damaged.
        """
        if self._published is None:
            self._published = Published.load(self._folder)
        return self._published

    def rates_for(
        self,
        agent: AgentType,
        backend: Backend,
        model: str,
        at: datetime,
        mode: ServedFrom = ServedFrom.LIVE,
        *,
        base_url: str | None = None,
    ) -> Rates | None:
        """The prices of a call made at that time; ``None`` where nobody knows them.

        ``agent`` is the one whose settings serve the call (``Route.actor``).
        """
        moment = at.astimezone(UTC)
        key = (agent, backend, model, base_url, mode, moment.date())
        if key not in self._known:
            self._known[key] = self._find(agent, backend, model, moment, mode, base_url)
        return self._known[key]

    def require(
        self,
        agent: AgentType,
        backend: Backend,
        model: str,
        at: datetime,
        mode: ServedFrom = ServedFrom.LIVE,
        *,
        base_url: str | None = None,
    ) -> Rates:
        """As :meth:`rates_for`; raises a ``ConfigError`` where the price is not known."""
        rates = self.rates_for(agent, backend, model, at, mode, base_url=base_url)
        if rates is None:
            raise unknown_price(model)
        return rates

    def _find(
        self,
        agent: AgentType,
        backend: Backend,
        model: str,
        at: datetime,
        mode: ServedFrom,
        base_url: str | None,
    ) -> Rates | None:
        is_ours = is_loopback(urlsplit(base_url or "").hostname or "")
        if backend is Backend.OFFLINE or (backend is Backend.COMPATIBLE and is_ours):
            return _free(model, mode)
        if row := self.user.model(model, at.date()):
            return _model_rates(row, mode, RateSource.USER)
        if agent_row := self.user.provider(agent):
            return _provider_rates(agent_row, model, mode, RateSource.USER)
        if row := self.shipped.model(model, at.date()):
            return _model_rates(row, mode, RateSource.SHIPPED)
        if rates := self.published.rates(backend, model, at, mode, base_url):
            return rates
        home = _AT_HOME.get(backend)
        shipped_row = self.shipped.provider(home) if home else None
        return (
            _provider_rates(shipped_row, model, mode, RateSource.FALLBACK) if shipped_row else None
        )


def unknown_price(model: str) -> ConfigError:
    """The error for a call whose price nobody knows."""
    return ConfigError(
        _("The price of the model {model} is not known, so the call was not made.").format(
            model=model
        ),
        hint=_(
            "Write its price into pricing.yaml in the home directory, "
            "or allow it with --allow-unpriced: budgets then do not count it."
        ),
    )


def _table(data: Any, name: str) -> PriceTable:
    try:
        return PriceTable.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            _("{name} has a wrong entry at {place}: {problem}").format(
                name=name, place=".".join(str(part) for part in first["loc"]), problem=first["msg"]
            ),
            hint=_("A row needs name, input_per_million and output_per_million, in US dollars."),
        ) from error


def _free(model: str, mode: ServedFrom) -> Rates:
    return Rates(model=model, mode=mode, source=RateSource.RULE, base=_flat(ZERO, ZERO))


def _flat(input_rate: Decimal, output_rate: Decimal) -> TokenRates:
    return TokenRates(
        input=input_rate,
        output=output_rate,
        cached_input=input_rate,
        cache_write=input_rate,
        cache_write_1h=input_rate,
        reasoning=output_rate,
    )


def _provider_rates(row: ProviderRow, model: str, mode: ServedFrom, source: RateSource) -> Rates:
    base = _flat(row.input_per_million / _MILLION, row.output_per_million / _MILLION)
    estimate = source is RateSource.FALLBACK or mode in VARIANTS
    return Rates(model=model, mode=mode, source=source, base=base, estimate=estimate)


def _model_rates(row: ModelRow, mode: ServedFrom, source: RateSource) -> Rates:
    multiplier = {
        ServedFrom.BATCH: row.batch_multiplier,
        ServedFrom.FLEX: row.flex_multiplier,
        ServedFrom.PRIORITY: None,
    }.get(mode, Decimal(1))
    per_token = (Decimal(1) if multiplier is None else multiplier) / _MILLION

    def rate(own: Decimal | None, otherwise: Decimal) -> Decimal:
        return otherwise if own is None else own * per_token

    base = _flat(row.input_per_million * per_token, row.output_per_million * per_token)
    write = rate(row.cache_write_per_million, base.input)
    base = replace(
        base,
        cached_input=rate(row.cached_input_per_million, base.input),
        cache_write=write,
        cache_write_1h=rate(row.cache_write_1h_per_million, write),
        search=row.search_per_thousand / _THOUSAND,
    )
    return Rates(model=row.name, mode=mode, source=source, base=base, estimate=multiplier is None)
