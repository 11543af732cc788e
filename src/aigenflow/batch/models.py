"""The nouns of batch processing."""

from __future__ import annotations

from dataclasses import dataclass, field
from gettext import gettext as _
from uuid import uuid4

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import AgentRequest, AgentType, Backend, GatewayResponse, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """One request of a batch. ``id`` is unique and fits where providers take a ``custom_id``."""

    request: AgentRequest
    route: Route
    id: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResponse:
    """What became of one request: either ``response`` or ``error``."""

    request: BatchRequest
    response: GatewayResponse | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        if (self.response is None) == (self.error is None):
            raise ValueError("an outcome is a response or an error")

    @property
    def success(self) -> bool:
        """Whether there is a response."""
        return self.response is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Whom a request goes to: requests to the same one form a group, as they share its limits."""

    backend: Backend
    base_url: str | None
    actor: AgentType


def provider_of(route: Route) -> Provider:
    """Whom ``route`` leads to. The model does not matter: limits belong to the account."""
    return Provider(backend=route.backend, base_url=route.base_url, actor=route.actor)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large, how patient and how wide; durations in seconds.

    A group leaves the queue with ``max_batch_size`` requests, or when one of them has waited
    ``max_wait_s`` for company. ``timeout_s`` is how long a batch may hold its places.
    ``max_in_flight`` bounds the calls under way to one provider and so the memory they take; it
    is far above what a provider's own limits let through at once.

    Raises :class:`~aigenflow.core.errors.ConfigError` on numbers that would stop everything.
    """

    max_batch_size: int = 5
    max_wait_s: float = 2.0
    timeout_s: float = 300.0
    max_in_flight: int = 1000

    def __post_init__(self) -> None:
        least = {"max_batch_size": 1, "max_wait_s": 0, "timeout_s": 0, "max_in_flight": 1}
        for name, lowest in least.items():
            value: float = getattr(self, name)
            if not value >= lowest:
                raise ConfigError(
                    _("{name} is {value}, but must be at least {lowest}").format(
                        name=name, value=value, lowest=lowest
                    ),
                    hint=_("`aigenflow config list` shows the settings of the queue."),
                )
