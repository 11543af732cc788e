"""Business plans and R&D proposals written by four AI agents, at the lowest honest cost.

The names below are the public surface. They are imported when first used, so that a program that
needs one of them does not pay for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aigenflow.app import App as App
    from aigenflow.core.config import Settings as Settings
    from aigenflow.core.config import home_directory as home_directory
    from aigenflow.core.config import load_settings as load_settings
    from aigenflow.core.errors import AigenflowError as AigenflowError
    from aigenflow.core.models import AgentRequest as AgentRequest
    from aigenflow.core.models import AgentType as AgentType
    from aigenflow.core.models import Citation as Citation
    from aigenflow.core.models import ContextDocument as ContextDocument
    from aigenflow.core.models import DocumentType as DocumentType
    from aigenflow.core.models import GatewayResponse as GatewayResponse
    from aigenflow.core.models import Language as Language
    from aigenflow.pipeline.assignment import Assignment as Assignment

_HOMES = {
    "App": "aigenflow.app",
    "Assignment": "aigenflow.pipeline.assignment",
    "Settings": "aigenflow.core.config",
    "home_directory": "aigenflow.core.config",
    "load_settings": "aigenflow.core.config",
    "AigenflowError": "aigenflow.core.errors",
    "AgentRequest": "aigenflow.core.models",
    "AgentType": "aigenflow.core.models",
    "Citation": "aigenflow.core.models",
    "ContextDocument": "aigenflow.core.models",
    "DocumentType": "aigenflow.core.models",
    "GatewayResponse": "aigenflow.core.models",
    "Language": "aigenflow.core.models",
}

__all__ = [  # noqa: PLE0604 - a list that a test reads back
    *_HOMES
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aigenflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
