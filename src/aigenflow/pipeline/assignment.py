"""What a user asks for: a topic, and what is to come of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from gettext import gettext as _

from aigenflow.core.errors import InputError
from aigenflow.core.models import DocumentType, Language, ProcessingChoice
from aigenflow.engine.models import SessionSpec

MIN_TOPIC_CHARACTERS = 6
MAX_TOPIC_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a user asks for; ``App.start`` checks it.

    ``processing`` and ``deadline`` (aware) are for this document alone, where they are given.
    """

    topic: str
    document_type: DocumentType
    template: str
    language: Language
    brief: str = ""
    processing: ProcessingChoice | None = None
    deadline: datetime | None = None


def is_like(spec: SessionSpec, assignment: Assignment) -> bool:
    """Whether a session was asked for the same document; the brief may differ."""
    return (
        spec.topic == assignment.topic.strip()
        and spec.document_type is assignment.document_type
        and spec.template == assignment.template
        and spec.language is assignment.language
    )


def check_topic(topic: str) -> str:
    """``topic`` without white space around it.

    Raises :class:`~aigenflow.core.errors.InputError` where no document can come of it.
    """
    text = topic.strip()
    hint = _('For example: --topic "Subscription meal kits for people with diabetes"')
    if len(text) < MIN_TOPIC_CHARACTERS:
        raise InputError(
            _("The topic has {count} characters; at least {least} are needed.").format(
                count=len(text), least=MIN_TOPIC_CHARACTERS
            ),
            hint=hint,
        )
    if len(text) > MAX_TOPIC_CHARACTERS:
        raise InputError(
            _("The topic has {count} characters; at most {most} are taken.").format(
                count=len(text), most=MAX_TOPIC_CHARACTERS
            ),
            hint=_("Put details into a file and give it with --brief FILE."),
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            _("The topic has characters that are not valid Unicode."),
            hint=_("Type it again, or check the encoding of your terminal (UTF-8)."),
        ) from None
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in text):
        raise InputError(_("The topic has control characters in it."), hint=hint)
    return text
