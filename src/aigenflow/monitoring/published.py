"""Prices of exact models as genai-prices publishes them: tiers, fees, flex, batch, dated changes.

They come with the package. :func:`fetch`, the only network here and called only when a user asks,
gets the newest ones, which :func:`save` keeps beside the user's own table. What was fetched counts
until another version of the package is installed, which brings prices (and a format) of its own.

Importing this module does not load the prices, which takes about 0.2 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from gettext import gettext as _
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, JsonValue, TypeAdapter

from aigenflow.core.errors import ConfigError, ConnectionFailedError, MalformedAnswerError
from aigenflow.core.files import ensure_directory, read_bounded, write_atomically
from aigenflow.core.models import Backend, ServedFrom
from aigenflow.monitoring.models import ZERO, Rates, RateSource, Tier, TokenRates

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider

PACKAGE = "genai-prices"
FETCHED_FILE = "genai-prices.json"
SOURCE_URL = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main"
    "/prices/new_data/v2/data.json"
)
"""The data that the package's own updater fetches."""

VARIANTS: Mapping[ServedFrom, dict[str, str]] = {
    ServedFrom.BATCH: {"processing": "batch"},
    ServedFrom.FLEX: {"service_tier": "flex"},
    ServedFrom.PRIORITY: {"service_tier": "priority"},
}
"""How genai-prices calls the ways of serving a call that have a price of their own."""

_STAND_IN: Mapping[tuple[Backend, ServedFrom], ServedFrom] = {
    (Backend.GEMINI, ServedFrom.FLEX): ServedFrom.BATCH
}
"""Whose price is taken, as an estimate, where a way's own is not listed: Google sells flex at the
rate of its batches, and only the latter is listed.
"""

_VENDORS: Mapping[Backend, str] = {
    Backend.ANTHROPIC: "anthropic",
    Backend.OPENAI: "openai",
    Backend.GEMINI: "google",
    Backend.PERPLEXITY: "perplexity",
}
_PROVIDERS = TypeAdapter(list[JsonValue])
_LIMIT_BYTES = 32 * 1024 * 1024
_TIMEOUT_S = 20.0
_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """Which prices these are: ``fetched`` at that time, or ``None`` for the package's own.

    ``newest_change`` is the last day on which one of them began to count, up to today: the
    prices are at least that new.
    """

    package_version: str
    fetched: datetime | None
    newest_change: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Where a model's prices come from: the vendor's page, and the days on which one changes."""

    source: str
    last_change: date | None
    next_change: date | None


class _Fetched(BaseModel):
    """The file that keeps what was fetched. ``package`` is the version that fetched it."""

    package: str
    fetched: datetime
    providers: list[JsonValue]


class Published:
    """The prices in force: what was fetched by this version of the package, else its own."""

    def __init__(self, data: DataSnapshot, fetched: datetime | None = None) -> None:
        self._data = data
        self._fetched = fetched

    @classmethod
    def load(cls, folder: Path | None = None) -> Published:
        """The prices, with those fetched into ``folder``.

        Raises :class:`~aigenflow.core.errors.ConfigError` where that file is damaged.
        """
        from genai_prices.data_snapshot import get_snapshot

        kept = _read(folder / FETCHED_FILE) if folder is not None else None
        if kept is None or kept.package != version(PACKAGE):
            return cls(get_snapshot())
        return cls(_snapshot(kept.providers), kept.fetched)

    def edition(self, today: date) -> Edition:
        """Which prices these are."""
        begun = [
            day
            for provider in self._data.providers
            for model in provider.models
            for day in _start_days(model)
            if day <= today
        ]
        return Edition(
            package_version=version(PACKAGE),
            fetched=self._fetched,
            newest_change=max(begun, default=None),
        )

    def rates(
        self,
        backend: Backend,
        model: str,
        at: datetime,
        mode: ServedFrom = ServedFrom.LIVE,
        base_url: str | None = None,
    ) -> Rates | None:
        """The prices of an exact model, in force at that time; ``None`` where it is not listed."""
        entry = self._find(backend, model, base_url)
        if entry is None:
            return None
        provider, found = entry
        ways = (mode, _STAND_IN.get((backend, mode), mode))
        listed = next(
            (w for w in ways if w in VARIANTS and _has_variant(provider, found, at, VARIANTS[w])),
            None,
        )
        prices = found.get_prices(at, VARIANTS[listed] if listed else None)
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
            estimate=mode in VARIANTS and listed is not mode,
        )

    def listing(
        self, backend: Backend, model: str, at: datetime, base_url: str | None = None
    ) -> Listing | None:
        """Where the prices of a model come from; ``None`` where it is not listed."""
        entry = self._find(backend, model, base_url)
        if entry is None:
            return None
        provider, found = entry
        days, today = sorted(_start_days(found)), at.date()
        return Listing(
            source=next(iter(provider.pricing_urls or ()), ""),
            last_change=max((day for day in days if day <= today), default=None),
            next_change=next((day for day in days if day > today), None),
        )

    def _find(
        self, backend: Backend, model: str, base_url: str | None
    ) -> tuple[Provider, ModelInfo] | None:
        vendor = _VENDORS.get(backend)
        try:
            return self._data.find_provider_model(model, None, vendor, None if vendor else base_url)
        except LookupError:
            return None


def fetch(url: str) -> bytes:
    """The newest published prices as JSON, checked.

    Raises :class:`~aigenflow.core.errors.ConnectionFailedError` where they cannot be had and
    :class:`~aigenflow.core.errors.MalformedAnswerError` for anything but prices.
    """
    import httpx2

    try:
        data = httpx2.get(url, timeout=_TIMEOUT_S).raise_for_status().content
    except httpx2.HTTPError as error:
        raise ConnectionFailedError(
            _("The newest prices could not be fetched: {problem}").format(
                problem=_first_line(error)
            ),
            hint=_("Check the network and try again. The prices you have stay in force."),
        ) from error
    try:
        _check(_snapshot(_PROVIDERS.validate_json(data)))
    except ValueError as error:
        raise MalformedAnswerError(
            _("What was fetched is not a table of prices: {problem}").format(
                problem=_first_line(error)
            ),
            hint=_("Try again, or update {package}. The prices you have stay in force.").format(
                package=PACKAGE
            ),
        ) from error
    return data


def save(folder: Path, data: bytes, now: datetime) -> Path:
    """Keep fetched prices in ``folder``; they are in force from then on. Raises ``OSError``."""
    kept = _Fetched(package=version(PACKAGE), fetched=now, providers=_PROVIDERS.validate_json(data))
    path = ensure_directory(folder) / FETCHED_FILE
    write_atomically(path, kept.model_dump_json().encode())
    return path


def _read(path: Path) -> _Fetched | None:
    try:
        return _Fetched.model_validate_json(read_bounded(path, _LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _snapshot(providers: list[JsonValue]) -> DataSnapshot:
    """Prices from JSON. The package reads its own data with this function and has no public one."""
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import _providers_from_raw

    return DataSnapshot(_providers_from_raw(providers), from_auto_update=True)


def _check(data: DataSnapshot) -> None:
    """Raise ``ValueError`` where a vendor is missing: its models would fall back to estimates."""
    missing = set(_VENDORS.values()) - {provider.id for provider in data.providers}
    if missing:
        raise ValueError(_("nothing about {names}").format(names=", ".join(sorted(missing))))


def _damaged(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        _("{path} cannot be read: {problem}").format(path=path, problem=_first_line(error)),
        hint=_("Delete it, or fetch it again with `aigenflow pricing update`."),
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


def _start_days(model: ModelInfo) -> Iterator[date]:
    """The days from which the prices of a model count, where they say so."""
    from genai_prices.types import ConditionalPrice, StartDateConstraint

    conditional = model.prices if isinstance(model.prices, list) else []
    dated: list[ConditionalPrice | PriceVariant] = [*conditional, *(model.price_variants or ())]
    for one in dated:
        if isinstance(one.constraint, StartDateConstraint):
            yield one.constraint.start_date


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
