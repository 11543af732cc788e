"""Which provider a URL means.

A base URL may carry a prefix (``/anthropic``, ``/openai``, ``/gemini``, ``/perplexity``,
``/compatible``) or none, and the version (``v1``, ``v1beta``) may be there, be missing or be
doubled: every SDK appends a different part of the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aigenflow.core.models import Backend, Json
from aigenflow.testing import wire_jobs_anthropic, wire_jobs_gemini, wire_jobs_openai
from aigenflow.testing.wire_anthropic import AnthropicFormat
from aigenflow.testing.wire_chat import ChatFormat
from aigenflow.testing.wire_gemini import GeminiFormat, is_generate_path
from aigenflow.testing.wire_jobs import JobForm
from aigenflow.testing.wire_jobs_anthropic import AnthropicJobForm
from aigenflow.testing.wire_jobs_gemini import GeminiJobForm, is_upload
from aigenflow.testing.wire_jobs_openai import OpenAIJobForm
from aigenflow.testing.wire_models import WireFormat
from aigenflow.testing.wire_openai import OpenAIFormat
from aigenflow.testing.wire_perplexity import PerplexityFormat

FORMATS: Mapping[Backend, WireFormat] = {
    Backend.ANTHROPIC: AnthropicFormat(),
    Backend.OPENAI: OpenAIFormat(),
    Backend.GEMINI: GeminiFormat(),
    Backend.PERPLEXITY: PerplexityFormat(),
    Backend.COMPATIBLE: ChatFormat(),
}

JOB_FORMS: Mapping[Backend, JobForm] = {
    Backend.ANTHROPIC: AnthropicJobForm(),
    Backend.OPENAI: OpenAIJobForm(),
    Backend.GEMINI: GeminiJobForm(),
}
"""The providers that take batch jobs."""

CATALOGUE: Mapping[Backend, tuple[str, ...]] = {
    Backend.ANTHROPIC: ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
    Backend.OPENAI: ("gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna"),
    Backend.GEMINI: ("gemini-3.8-flash", "gemini-4-argon"),
    Backend.PERPLEXITY: ("perplexity/sonar",),
    Backend.COMPATIBLE: ("local-model",),
}
"""The models that a list names where the script does not name others."""

_VERSION = re.compile(r"v\d+(alpha|beta)?\d*\Z")


class Endpoint(StrEnum):
    """What is asked of the provider."""

    ANSWER = "answer"
    MODELS = "models"
    TAGS = "tags"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A URL path taken apart: the provider its prefix names, the version, and the rest."""

    prefix: Backend | None
    version: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes."""

    backend: Backend
    endpoint: Endpoint


def split_path(url_path: str) -> Address:
    """Take a URL path apart."""
    steps = [step for step in url_path.split("/") if step]
    prefix = None
    if steps and steps[0] in {backend.value for backend in FORMATS}:
        prefix = Backend(steps.pop(0))
    version = ""
    while steps and _VERSION.match(steps[0]):
        version = steps.pop(0)
    return Address(prefix=prefix, version=version, path="/".join(steps))


def find_target(
    method: str, address: Address, headers: Mapping[str, str], body: Mapping[str, Json]
) -> Target | None:
    """The provider and what is asked of it, ``None`` where nothing is served."""
    jobs = _jobs_backend(address, headers)
    if jobs is not None and method in ("GET", "POST", "DELETE"):
        return Target(backend=jobs, endpoint=Endpoint.JOBS)
    if method == "GET":
        return _reading(address, headers)
    if method != "POST":
        return None
    backend: Backend | None = None
    if address.path == "messages":
        backend = Backend.ANTHROPIC
    elif address.path == "chat/completions":
        backend = Backend.COMPATIBLE
    elif address.path in ("responses", "agent"):
        backend = _responses_backend(address, body)
    elif is_generate_path(address.path):
        backend = Backend.GEMINI
    return None if backend is None else Target(backend=backend, endpoint=Endpoint.ANSWER)


def _jobs_backend(address: Address, headers: Mapping[str, str]) -> Backend | None:
    """Whose batch jobs or files a path is about, ``None`` for any other path."""
    first = address.path.partition("/")[0]
    if address.path.startswith(wire_jobs_anthropic.PATH):
        return Backend.ANTHROPIC
    if is_upload(address.path) or address.path.endswith(wire_jobs_gemini.CREATE):
        return Backend.GEMINI
    if first.partition(":")[0] not in wire_jobs_openai.PATHS:
        return None
    if address.prefix is not None:
        return address.prefix if address.prefix in JOB_FORMS else None
    gemini = "x-goog-api-key" in headers or address.version.startswith("v1beta")
    return Backend.GEMINI if gemini else Backend.OPENAI


def _reading(address: Address, headers: Mapping[str, str]) -> Target | None:
    if address.path == "api/tags":
        return Target(backend=Backend.COMPATIBLE, endpoint=Endpoint.TAGS)
    if address.path == "models":
        backend = address.prefix or _reader(address, headers)
        return Target(backend=backend, endpoint=Endpoint.MODELS)
    return None


def _reader(address: Address, headers: Mapping[str, str]) -> Backend:
    """Whose list of models is meant, where the URL does not say."""
    if "anthropic-version" in headers:
        return Backend.ANTHROPIC
    if "x-goog-api-key" in headers or address.version.startswith("v1beta"):
        return Backend.GEMINI
    return Backend.COMPATIBLE


def _responses_backend(address: Address, body: Mapping[str, Json]) -> Backend:
    if address.prefix in (Backend.OPENAI, Backend.PERPLEXITY):
        return address.prefix
    named = str(body.get("model") or "")
    if address.path == "agent" or "preset" in body or named.startswith(("perplexity/", "sonar")):
        return Backend.PERPLEXITY
    return Backend.OPENAI


def model_list(backend: Backend, models: tuple[str, ...]) -> dict[str, Json]:
    """The body of the provider's list of models."""
    if backend is Backend.ANTHROPIC:
        return {
            "data": [_anthropic_model(name) for name in models],
            "has_more": False,
            "first_id": models[0] if models else None,
            "last_id": models[-1] if models else None,
        }
    if backend is Backend.GEMINI:
        return {"models": [_gemini_model(name) for name in models]}
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": backend.value}
            for name in models
        ],
    }


def tag_list(models: tuple[str, ...]) -> dict[str, Json]:
    """The body of Ollama's ``GET /api/tags``."""
    return {"models": [{"name": name, "model": name, "size": 4_000_000_000} for name in models]}


def _anthropic_model(name: str) -> dict[str, Json]:
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def _gemini_model(name: str) -> dict[str, Json]:
    return {
        "name": f"models/{name}",
        "displayName": name,
        "version": "001",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent"],
    }
