"""The cache key, and the list of everything that goes into it.

Pure: no clock, no disk. A key is 32 hex digits and names an entry; the *fingerprint* is the whole
SHA-256 behind it, and an entry is served only to a request with the same one. The *ingredients*
explain a key piece by piece (digests, never texts), so that two requests can be compared.

Everything in the request and in its route counts, except what is named as unable to change an
answer: a field added later changes the key by itself.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from gettext import gettext as _
from json import JSONEncoder
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from aigenflow.core.canonical import canonical_json
from aigenflow.core.errors import InputError
from aigenflow.core.models import FIELDS_THAT_CANNOT_MATTER, AgentRequest, AgentType, Route

KEY_SCHEMA: Final = 1
"""Raised when the meaning of a key changes, or an adapter speaks another version of its provider's
API (an address that names a version is in the key anyway): old entries are not found any more."""

Normalize: TypeAlias = Literal["specified", "none"]
"""Whether prompts that differ in case and spacing only are one question."""

KEY_LENGTH: Final = 32

_IN_THE_KEY_ITSELF = frozenset({"prompt", "agent", "phase"})
_REQUEST_FIELDS_LEFT_OUT = FIELDS_THAT_CANNOT_MATTER | _IN_THE_KEY_ITSELF
_ROUTE_FIELDS_LEFT_OUT = frozenset({"agent", "actor", "context_window_tokens"})

_NOT_JSON = (TypeError, ValueError, RecursionError)
_SHOWN_AS_THEY_ARE = (bool, int, Enum)
_SHORT_TEXTS = frozenset({"agent", "phase", "request.task", "route.model", "normalize"})


class Identity(NamedTuple):
    """What an entry must match to be served: the whole digest and the two short parts.

    ``fingerprint`` is a SHA-256 (64 hex digits) and ``key`` its first 32. With ``agent`` and
    ``phase`` known and the context hash of fixed length, the joined text can be split in one way
    only, so that equal identities mean equal questions.
    """

    key: str
    fingerprint: str
    agent: str
    phase: str


class Ingredient(NamedTuple):
    """One piece of a key, and what may be shown of its value.

    ``digest`` is of the whole value (16 hex digits), empty where ``display`` is the whole value.
    """

    display: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One ingredient in which two questions differ; ``""`` where one side does not have it."""

    name: str
    before: str
    after: str
    reason: str


Ingredients: TypeAlias = Mapping[str, Ingredient]


def normalize_prompt(prompt: str) -> str:
    """Strip, lower-case and collapse white space, as the specification says; NFC first."""
    return " ".join(_nfc(prompt).lower().split())


def generate_cache_key(
    prompt: str, agent_type: AgentType | str, phase: int | str, context_hash: str
) -> str:
    """The key of a question: the first 32 hex digits of a SHA-256.

    Raises ``InputError`` where the prompt is not valid Unicode.
    """
    return _digest(normalize_prompt(prompt), str(agent_type), str(phase), context_hash)[:KEY_LENGTH]


def context_hash(request: AgentRequest, route: Route, normalize: Normalize = "specified") -> str:
    """SHA-256 (64 hex digits) of everything beside prompt, role and phase that can matter.

    Raises ``InputError`` where a text is not valid Unicode or an option is not JSON.
    """
    try:
        return hashlib.sha256(_context_bytes(request, route, normalize)).hexdigest()
    except _NOT_JSON as error:
        raise _refusal(error) from error


def identify(request: AgentRequest, route: Route, normalize: Normalize = "specified") -> Identity:
    """The key and what it stands for. Raises ``InputError``."""
    prompt = normalize_prompt(request.prompt) if normalize == "specified" else _nfc(request.prompt)
    agent, phase = request.agent.value, str(request.phase)
    digest = _digest(prompt, agent, phase, context_hash(request, route, normalize))
    return Identity(key=digest[:KEY_LENGTH], fingerprint=digest, agent=agent, phase=phase)


def key_for(request: AgentRequest, route: Route, normalize: Normalize = "specified") -> str:
    """The key under which the answer to ``request`` is kept. Raises ``InputError``."""
    return identify(request, route, normalize).key


def ingredients(
    request: AgentRequest, route: Route, normalize: Normalize = "specified"
) -> dict[str, Ingredient]:
    """Every piece of the key with its digest; each context document is a piece of its own."""
    prompt = normalize_prompt(request.prompt) if normalize == "specified" else _nfc(request.prompt)
    pieces: dict[str, Any] = {
        "schema": KEY_SCHEMA,
        "prompt": prompt,
        "agent": request.agent,
        "phase": request.phase,
        **_context_parts(request, route, normalize),
    }
    documents = pieces.pop("request.context", ())
    pieces["request.context"] = [document.id for document in documents]
    pieces |= {f"request.context[{document.id}]": document for document in documents}
    try:
        return {name: _ingredient(name, value) for name, value in pieces.items()}
    except _NOT_JSON as error:
        raise _refusal(error) from error


def explain(
    request: AgentRequest, route: Route, normalize: Normalize = "specified"
) -> tuple[str, ...]:
    """The key and its ingredients with their reasons, one line each, for reading."""
    listed = ingredients(request, route, normalize)
    width = max(map(len, listed))
    return (
        f"key {key_for(request, route, normalize)}",
        *(
            f"{name:<{width}}  {piece.digest:16}  {piece.display}  ({reason_for(name)})"
            for name, piece in listed.items()
        ),
    )


def differences(before: Ingredients, after: Ingredients) -> tuple[Difference, ...]:
    """The ingredients in which two questions differ, in the order of the list."""
    return tuple(
        Difference(
            name=name,
            before=before[name].display if name in before else "",
            after=after[name].display if name in after else "",
            reason=reason_for(name),
        )
        for name in dict.fromkeys((*before, *after))
        if _compared(before, name) != _compared(after, name)
    )


def reason_for(name: str) -> str:
    """Why the ingredient called ``name`` is part of the key."""
    return _reasons().get(name.partition("[")[0], _("can change the answer"))


def _reasons() -> Mapping[str, str]:
    """Why each ingredient can change the answer."""
    return {
        "prompt": _("the instruction, in lower case with single spaces"),
        "agent": _("another role is another voice"),
        "phase": _("the same words in another phase are another question"),
        "request.task": _("tasks of one phase do not share answers"),
        "request.context": _("the earlier results the model hears"),
        "request.system": _("the system prompt"),
        "request.max_output_tokens": _("where the answer would be cut"),
        "request.web_search": _("an answer with the web in view is another answer"),
        "request.language": _("the language of the document"),
        "request.options": _("passed through to the provider"),
        "request.answer_so_far": _("the text the model goes on from"),
        "route.backend": _("the service that answers"),
        "route.model": _("the model that answers"),
        "route.base_url": _("the server that answers"),
        "route.options": _("the agent's own settings, passed through to the provider"),
        "normalize": _("prompts are compared to the letter"),
        "schema": _("the version of this list"),
    }


def _compared(listed: Ingredients, name: str) -> str | None:
    # The display of a text may differ (its length, in decomposed form) where its digest does not.
    return listed[name].digest or listed[name].display if name in listed else None


def _context_parts(request: AgentRequest, route: Route, normalize: Normalize) -> dict[str, Any]:
    parts = {
        f"request.{name}": getattr(request, name)
        for name in _field_names(type(request))
        if name not in _REQUEST_FIELDS_LEFT_OUT
    }
    for name in _field_names(type(route)):
        if name not in _ROUTE_FIELDS_LEFT_OUT:
            parts[f"route.{name}"] = getattr(route, name)
    if normalize == "none":
        # Without it, a question asked to the letter could meet an answer bought for a variant.
        parts["normalize"] = normalize
    return parts


def _context_bytes(request: AgentRequest, route: Route, normalize: Normalize) -> bytes:
    """The canonical JSON of schema and context parts."""
    asked = _labels(_field_names(type(request)), "request.", _REQUEST_FIELDS_LEFT_OUT)
    reached = _labels(_field_names(type(route)), "route.", _ROUTE_FIELDS_LEFT_OUT)
    members = _members(request, asked) + _members(route, reached)
    if normalize == "none":
        members.insert(0, '"normalize":"none"')
    text = f"[{KEY_SCHEMA},{{{','.join(members)}}}]"
    if _is_nfc(text):
        return text.encode("utf-8")
    return canonical_json([KEY_SCHEMA, _context_parts(request, route, normalize)])


def _ingredient(name: str, value: Any) -> Ingredient:
    if value is None or isinstance(value, _SHOWN_AS_THEY_ARE) or name in _SHORT_TEXTS:
        return Ingredient("none" if value is None else str(value))
    digest = hashlib.sha256(_fast_canonical(value)).hexdigest()
    return Ingredient(_summary(name, value), digest[:16])


def _summary(name: str, value: Any) -> str:
    """What may be shown of a value that is not shown itself."""
    if name == "route.base_url":
        return urlsplit(str(value)).hostname or "unreadable"
    if isinstance(value, str):
        return f"{len(value)} characters"
    if isinstance(value, Mapping):
        return ", ".join(sorted(map(str, value))) or "none"
    if isinstance(value, list | tuple):
        return f"{len(value)} documents"
    return f"{len(value.text)} characters"


def _digest(prompt: str, agent: str, phase: str, context: str) -> str:
    joined = f"{prompt}|{agent}|{phase}|{context}"
    try:
        return hashlib.sha256(joined.encode("utf-8")).hexdigest()
    except UnicodeEncodeError as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> InputError:
    if isinstance(error, UnicodeEncodeError):
        return InputError(
            _("The text holds half of a character (a lone surrogate) and cannot be sent."),
            hint=_("Save the file as UTF-8 and try again."),
        )
    return InputError(
        _("An option of the agent is not plain JSON: {reason}.").format(reason=error),
        hint=_("Use text, numbers, true or false, lists and mappings only."),
    )


def _fast_canonical(value: Any) -> bytes:
    """The same bytes as ``canonical_json``, several times faster where the text is NFC already.

    A hit is mostly key. Every part of an NFC text is NFC, so that one look at the whole is enough.
    """
    text = _text(value)
    return text.encode("utf-8") if _is_nfc(text) else canonical_json(value)


def _text(value: Any) -> str:
    """The JSON of ``value`` with sorted keys; its texts are as they were given."""
    kind = type(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is tuple:
        return f"[{','.join(map(_text, value))}]"
    if kind is MappingProxyType and not value:
        return "{}"
    if names := _field_names(kind):
        return f"{{{','.join(_members(value, _labels(names)))}}}"
    return _ENCODE(value)


def _members(value: Any, labels: tuple[tuple[str, str], ...]) -> list[str]:
    """The fields of a dataclass as the members of a JSON object, in the order of ``labels``."""
    return [f"{label}:{_text(getattr(value, name))}" for name, label in labels]


@cache
def _labels(
    names: tuple[str, ...], prefix: str = "", left_out: frozenset[str] = frozenset()
) -> tuple[tuple[str, str], ...]:
    """Each name that is not left out with its name in JSON, sorted."""
    kept = sorted(name for name in names if name not in left_out)
    return tuple((name, encode_basestring(prefix + name)) for name in kept)


def _plain(value: Any) -> dict[str, Any]:
    if type(value) is MappingProxyType or isinstance(value, Mapping):
        return dict(value)
    if names := _field_names(type(value)):
        return {name: getattr(value, name) for name in names}
    raise TypeError(f"no canonical form for {type(value).__name__}")


_ENCODE = JSONEncoder(
    ensure_ascii=False,
    sort_keys=True,
    separators=(",", ":"),
    allow_nan=False,
    default=_plain,
).encode


_FIELD_NAMES: dict[type[Any], tuple[str, ...]] = {}


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a dataclass; none for any other class."""
    names = _FIELD_NAMES.get(kind)
    if names is None:
        names = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
        _FIELD_NAMES[kind] = names
    return names


def _is_nfc(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
