"""Reading the files of a session, which people may have edited, damaged or deleted."""

from __future__ import annotations

import json
from collections.abc import Collection
from gettext import gettext as _
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from aigenflow.core.errors import SessionDamagedError
from aigenflow.core.files import is_safe_name, read_bounded
from aigenflow.engine.models import (
    SCHEMA_VERSION,
    PhaseResults,
    StepRecord,
    digest,
    plain_text,
)

STATE_FILE = "pipeline_state.json"
RESULTS_FILE = "results.json"
METADATA_FILE = "metadata.json"
FINAL_FOLDER = "final"
PHASE_FOLDERS = "phase[1-9]"
MAX_FILE_BYTES = 256 * 1024 * 1024

_Model = TypeVar("_Model", bound=BaseModel)


def read_model(path: Path, model: type[_Model]) -> _Model:
    """The JSON file at ``path``. Raises ``SessionDamagedError``."""
    try:
        value = json.loads(read_bounded(path, MAX_FILE_BYTES))
        version = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise SessionDamagedError(
                _("{file} was written by a newer version of aigenflow.").format(file=path),
                hint=_("Upgrade aigenflow to use this session."),
            )
        return model.model_validate(value)
    except (OSError, ValueError, RecursionError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(file=path, problem=problem),
            hint=_("Put it right, or delete it: its phase is then done again.")
            if path.name == RESULTS_FILE
            else _("Start a new run; the results of finished phases are still in the folder."),
        ) from error


def read_phase(path: Path) -> PhaseResults:
    """The results file at ``path``. Raises ``SessionDamagedError``."""
    phase = read_model(path, PhaseResults)
    strange = [task for task in phase.results if not is_safe_name(task)]
    if strange or path.parent.name != f"phase{phase.phase}":
        raise SessionDamagedError(
            _("{file} names a task or a phase that cannot be.").format(file=path),
            hint=_("Put it right, or delete it: its phase is then done again."),
        )
    return phase


def read_text(path: Path) -> str | None:
    """The text in ``path``; ``None`` where there is no file, or nothing in it.

    Raises ``SessionDamagedError`` where it is not UTF-8 or cannot be read.
    """
    try:
        text = read_bounded(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(file=path, problem=error),
            hint=_(
                "Save it as UTF-8 text, or delete it: the text in {results} is then used."
            ).format(results=RESULTS_FILE),
        ) from error
    return text if text.strip() else None


def with_edits(record: StepRecord, file: Path, text: str | None) -> StepRecord:
    """``record`` with what a person made of its text: ``text`` of ``file``, or in the record.

    It is ``record`` itself where there is no edit that was not taken over before. Raises
    ``SessionDamagedError`` where both were edited and differ.
    """
    seen = record.seen_sha256 or record.content_sha256
    texts = [plain_text(each) for each in (record.content, text) if each]
    edits = {each for each in texts if digest(each) != seen}
    if not edits:
        return record
    if len(edits) > 1:
        raise SessionDamagedError(
            _("{file} and {results} were both edited, and differ.").format(
                file=file, results=file.parent / RESULTS_FILE
            ),
            hint=_("Keep your text in one of the two; delete {file} to use the other.").format(
                file=file.name
            ),
        )
    edit = edits.pop()
    return record.model_copy(
        update={
            "content": edit,
            "seen_sha256": digest(edit),
            "edited": digest(edit) != record.content_sha256,
        }
    )


def read_results(folder: Path) -> tuple[StepRecord, ...]:
    """Every result in a session's folder, phase by phase, with the edits of people."""
    return tuple(
        with_edits(record, file, read_text(file))
        for path in sorted(folder.glob(f"{PHASE_FOLDERS}/{RESULTS_FILE}"))
        for task, record in read_phase(path).results.items()
        for file in [path.parent / f"{task}.md"]
    )


def document_digest(data: bytes) -> str:
    """SHA-256 of a document, 64 hex digits; as of a text, also where it is none."""
    return digest(data.decode("utf-8-sig", "surrogateescape"))


def edited_name(name: str, taken: Collection[str]) -> str:
    """What an edited document is kept as: ``plan.edited.md``, then ``plan.edited-2.md``."""
    path = Path(name)
    number, free = 1, f"{path.stem}.edited{path.suffix}"
    while free in taken:
        number += 1
        free = f"{path.stem}.edited-{number}{path.suffix}"
    return free


def encoded(text: str) -> bytes:
    """``text`` for a file; what UTF-8 cannot say becomes a question mark."""
    return text.encode("utf-8", "replace")
