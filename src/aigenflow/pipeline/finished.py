"""Finished documents read again, without asking anybody: what they claim, and their quality."""

from __future__ import annotations

from datetime import date
from gettext import gettext as _
from pathlib import Path

from aigenflow.core.errors import InputError
from aigenflow.core.files import read_bounded
from aigenflow.core.models import DocumentType, Language
from aigenflow.engine.local import LocalEngine
from aigenflow.engine.models import SessionSpec
from aigenflow.engine.session_files import FINAL_FOLDER, MAX_FILE_BYTES, read_text
from aigenflow.pipeline.claims import Claim, list_claims
from aigenflow.pipeline.financials import work_out
from aigenflow.pipeline.orchestrator import document_name
from aigenflow.pipeline.quality import inputs_for_session, inputs_for_text
from aigenflow.quality.models import QualityReport
from aigenflow.quality.report import assess
from aigenflow.templates.loader import list_templates, load_outline


def read_claims(engine: LocalEngine, session: str) -> tuple[Claim, ...]:
    """What the finished document of ``session`` claims, as its file is now. Nobody is asked.

    Raises :class:`~aigenflow.core.errors.InputError` where there is no document yet, and as
    ``LocalEngine.read``.
    """
    spec, document = _document_of(engine, session)
    records = engine.results(session)
    return list_claims(document, spec, records, work_out(records, spec.language).lines())


def assess_session(engine: LocalEngine, session: str, templates: Path) -> QualityReport:
    """The quality of the finished document of ``session``, as its file is now. Nobody is asked.

    Raises as :func:`read_claims`, and ``TemplateError`` where its template is gone.
    """
    spec, document = _document_of(engine, session)
    outline = load_outline(spec.document_type, spec.template, spec.language, user_dir=templates)
    final, stem = engine.folder(session) / FINAL_FOLDER, Path(document_name(spec)).stem
    files = {
        path.name: read_bounded(path, MAX_FILE_BYTES)
        for path in sorted(final.glob(f"{stem}.*"))
        if path.suffix != ".md"
    }
    return assess(inputs_for_session(document, spec, engine.results(session), outline, files))


def assess_file(
    path: Path, template: str, language: Language | None, templates: Path, today: date
) -> QualityReport:
    """The quality of any Markdown file. Without ``template``, the form is not known.

    Raises :class:`~aigenflow.core.errors.InputError` where it is no text, and ``TemplateError``.
    """
    try:
        text = read_bounded(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise InputError(
            _("{path} cannot be read: {problem}").format(path=path, problem=problem),
            hint=_("Give a Markdown file in UTF-8, or the id of a session."),
        ) from error
    inputs = inputs_for_text(text, today, language=language)
    if template:
        kind = next(
            (info.document_type for info in list_templates(templates) if info.name == template),
            DocumentType.BIZPLAN,
        )
        outline = load_outline(kind, template, inputs.language, user_dir=templates)
        inputs = inputs_for_text(text, today, outline=outline)
    return assess(inputs)


def _document_of(engine: LocalEngine, session: str) -> tuple[SessionSpec, str]:
    spec = engine.read(session).spec
    document = read_text(engine.folder(session) / FINAL_FOLDER / document_name(spec))
    if document is None:
        raise InputError(
            _("Session {id} has no document yet.").format(id=session),
            hint=_("`aigenflow resume {id}` finishes it.").format(id=session),
        )
    return spec, document
