"""What a call costs: the one reader of price tables.

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

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from gettext import gettext as _
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import AgentType, Backend, ServedFrom
from aigenflow.core.yaml import parse_yaml, read_yaml
from aigenflow.monitoring.models import ZERO, Rates, RateSource, Tier, TokenRates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

SHIPPED_NAME = "pricing.yaml"

_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1_000)
_VENDORS: Mapping[Backend, tuple[str, AgentType]] = {
    Backend.ANTHROPIC: ("anthropic", AgentType.CLAUDE),
    Backend.OPENAI: ("openai", AgentType.CHATGPT),
    Backend.GEMINI: ("google", AgentType.GEMINI),
    Backend.PERPLEXITY: ("perplexity", AgentType.PERPLEXITY),
}
_CONTEXTS: Mapping[ServedFrom, dict[str, str]] = {
    ServedFrom.BATCH: {"processing": "batch"},
    ServedFrom.FLEX: {"service_tier": "flex"},
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
    """Prices by agent, back-end, model, day and mode; each is worked out once."""

    def __init__(self, shipped: PriceTable, user: PriceTable) -> None:
        self.shipped = shipped
        self.user = user
        self._known: dict[tuple[object, ...], Rates | None] = {}

    @classmethod
    def load(cls, user_file: Path | None = None) -> PriceBook:
        """The shipped table, and the user's where there is such a file.

        Raises :class:`~aigenflow.core.errors.ConfigError` naming the row that is wrong.
        """
        shipped = files("aigenflow.monitoring").joinpath(SHIPPED_NAME).read_text(encoding="utf-8")
        user = PriceTable()
        if user_file is not None and user_file.exists():
            user = _table(read_yaml(user_file) or {}, str(user_file))
        return cls(_table(parse_yaml(shipped, SHIPPED_NAME), SHIPPED_NAME), user)

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
        if backend is Backend.OFFLINE or (backend is Backend.COMPATIBLE and is_loopback(base_url)):
            return _free(model, mode)
        if row := self.user.model(model, at.date()):
            return _model_rates(row, mode, RateSource.USER)
        if agent_row := self.user.provider(agent):
            return _provider_rates(agent_row, model, mode, RateSource.USER)
        if row := self.shipped.model(model, at.date()):
            return _model_rates(row, mode, RateSource.SHIPPED)
        if rates := _published(backend, model, at, mode, base_url):
            return rates
        home = _VENDORS.get(backend)
        shipped_row = self.shipped.provider(home[1]) if home else None
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


def is_loopback(base_url: str | None) -> bool:
    """Whether an address names this machine: ``localhost`` or a loopback address, literally."""
    host = urlsplit(base_url or "").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
    estimate = source is RateSource.FALLBACK or mode in _CONTEXTS
    return Rates(model=model, mode=mode, source=source, base=base, estimate=estimate)


def _model_rates(row: ModelRow, mode: ServedFrom, source: RateSource) -> Rates:
    multiplier = {
        ServedFrom.BATCH: row.batch_multiplier,
        ServedFrom.FLEX: row.flex_multiplier,
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


def _published(
    backend: Backend, model: str, at: datetime, mode: ServedFrom, base_url: str | None
) -> Rates | None:
    """The prices of an exact model in genai-prices, loaded on first use (about 0.3 s)."""
    from genai_prices.data_snapshot import get_snapshot

    vendor = _VENDORS.get(backend)
    try:
        provider, found = get_snapshot().find_provider_model(
            model, None, vendor[0] if vendor else None, None if vendor else base_url
        )
    except LookupError:
        return None
    context = _CONTEXTS.get(mode)
    discounted = context is not None and _has_variant(provider, found, at, context)
    prices = found.get_prices(at, context if discounted else None)
    if prices.input_mtok is None or prices.output_mtok is None:
        return None
    return Rates(
        model=found.id,
        mode=mode,
        source=RateSource.EXACT,
        base=_token_rates(prices, 0),
        tiers=tuple(
            Tier(above_input_tokens=start, rates=_token_rates(prices, start + 1))
            for start in _thresholds(prices)
        ),
        estimate=context is not None and not discounted,
    )


def _has_variant(
    provider: Provider, model: ModelInfo, at: datetime, context: Mapping[str, str]
) -> bool:
    """Whether the table has a rate for this context: without one it silently gives the standard.

    Variants of a model borrowed from another provider's list do not count.
    """
    return any(own is model for own in provider.models) and any(
        (variant.constraint is None or variant.constraint.active(at))
        and variant.when.items() <= context.items()
        for variant in model.price_variants or ()
    )


def _thresholds(prices: ModelPrice) -> list[int]:
    from genai_prices.types import TieredPrices

    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    return sorted({tier.start for price in tiered for tier in price.tiers})


def _token_rates(prices: ModelPrice, input_tokens: int) -> TokenRates:
    """The rates in force at that much input. A kind without a price of its own has its parent's."""
    from genai_prices.types import TieredPrices

    def rate(key: str) -> Decimal | None:
        price: Decimal | TieredPrices | None = getattr(prices, key)
        if not isinstance(price, TieredPrices):
            return price
        passed = [tier.price for tier in price.tiers if input_tokens > tier.start]
        return passed[-1] if passed else price.base

    def first(*keys: str) -> Decimal:
        return next((price for key in keys if (price := rate(key)) is not None), ZERO)

    return TokenRates(
        input=first("input_mtok") / _MILLION,
        output=first("output_mtok") / _MILLION,
        cached_input=first("cache_read_mtok", "input_mtok") / _MILLION,
        cache_write=first("cache_write_5m_mtok", "cache_write_mtok", "input_mtok") / _MILLION,
        cache_write_1h=first("cache_write_1h_mtok", "cache_write_mtok", "input_mtok") / _MILLION,
        reasoning=first("output_reasoning_mtok", "output_mtok") / _MILLION,
        search=first("web_searches_kcount") / _THOUSAND,
        request=first("requests_kcount") / _THOUSAND,
    )
