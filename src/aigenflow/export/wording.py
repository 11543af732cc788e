"""The few words that an export adds to a document, in the document's language."""

from __future__ import annotations

from collections.abc import Mapping

from aigenflow.core.models import Language

CONTENTS: Mapping[Language, str] = {Language.EN: "Contents", Language.KO: "목차"}
NOTES: Mapping[Language, str] = {Language.EN: "Notes", Language.KO: "각주"}
BACK: Mapping[Language, str] = {Language.EN: "Back to the text", Language.KO: "본문으로"}
LOCALES: Mapping[Language, str] = {Language.EN: "en-US", Language.KO: "ko-KR"}
