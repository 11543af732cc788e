"""Where the figures of a document come from: evidence, and what was taken from it.

``evidence.jsonl`` holds one :class:`Evidence` a line, ``facts.yaml`` the :class:`Fact` list.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from aigenflow.core.models import AgentType


class Evidence(BaseModel):
    """One source that an agent returned.

    ``number`` is the one under which every agent hears it (``[#12]``), counted from 1; ``id`` is
    ``"e12"``. ``numbers`` are the figures of title and quote, as written there. ``tasks`` name
    the steps that brought it (``"phase2.deep_search"``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    number: int
    url: str
    title: str = ""
    date: str = ""
    quote: str = ""
    numbers: tuple[str, ...] = ()
    agent: AgentType | None = None
    tasks: tuple[str, ...] = ()


class Origin(StrEnum):
    """Where a figure comes from. ``UNKNOWN`` is an orphan: nobody can say."""

    BRIEF = "brief"
    EVIDENCE = "evidence"
    MODEL = "model"
    ASSUMPTION = "assumption"
    UNKNOWN = "unknown"


class Fact(BaseModel):
    """One figure of the document.

    ``text`` is the figure as written, ``sentence`` where it stands, ``section`` the heading above.
    ``source`` names its origin: an evidence id, a line of the model (``"base.revenue.2027"``), or
    a key of the brief; empty for an assumption, which the text marks ([가정], [assumption], ...).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    section: str = ""
    sentence: str = ""
    origin: Origin = Origin.UNKNOWN
    source: str = ""
