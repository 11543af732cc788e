"""The finished document in other formats: beside it in a run, and again whenever one asks."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from gettext import gettext as _
from pathlib import Path

from aigenflow.core.errors import AigenflowError, ExportError, InputError, SessionDamagedError
from aigenflow.core.files import ensure_directory, read_bounded, write_atomically
from aigenflow.engine.local import LocalSession
from aigenflow.engine.models import SessionSpec
from aigenflow.engine.session_files import FINAL_FOLDER, MAX_FILE_BYTES, read_text
from aigenflow.export.formats import FORMATS, check_formats
from aigenflow.export.models import ExportInput
from aigenflow.export.reading import read_document

MARKDOWN = "md"
FIGURES_FOLDER = "figures"
_ALWAYS = ("html",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """Files by name, and the failures by format."""

    files: Mapping[str, bytes]
    failures: Mapping[str, AigenflowError] = field(default_factory=dict)

    def check(self, spec: SessionSpec, folder: Path) -> None:
        """Raise :class:`~aigenflow.core.errors.ExportError` if a format is missing.

        ``folder`` is the session's; what could be written is there.
        """
        if not self.failures:
            return
        problems = " ".join(
            f"{name}: {error.message} {error.hint}".rstrip()
            for name, error in self.failures.items()
        )
        command = ["aigenflow", "export", spec.session, "--format", ",".join(self.failures)]
        if folder.parent != Path("output"):
            command += ["--output-dir", str(folder.parent)]
        raise ExportError(
            _("The document is written, but not in every format. {problems}").format(
                problems=problems
            ),
            hint=_("Then export it again: {command}").format(command=shlex.join(command)),
        )


async def export_beside(
    documents: Mapping[str, bytes], name: str, spec: SessionSpec, formats: Iterable[str]
) -> Exports:
    """``documents[name]``, which is Markdown, in ``formats`` and as HTML.

    A format that fails keeps neither the document nor the other formats from being written.
    """
    source = _input(documents[name].decode(), spec, documents)
    wanted = dict.fromkeys((*_ALWAYS, *(each for each in formats if each != MARKDOWN)))
    return await asyncio.to_thread(_export, source, Path(name).stem, tuple(wanted))


def _input(markdown: str, spec: SessionSpec, files: Mapping[str, bytes]) -> ExportInput:
    figures = {name: data for name, data in files.items() if name.startswith(f"{FIGURES_FOLDER}/")}
    return ExportInput(
        markdown=markdown,
        title=spec.topic,
        language=spec.language,
        dated=spec.created,
        figures=figures,
    )


def _export(source: ExportInput, stem: str, formats: Sequence[str]) -> Exports:
    files: dict[str, bytes] = {}
    failures: dict[str, AigenflowError] = {}
    for name in formats:
        try:
            files[f"{stem}.{name}"] = FORMATS[name].export(read_document(source))
        except AigenflowError as error:
            failures[name] = error
        except Exception as error:  # noqa: BLE001 (the paid document is worth more than a format)
            failures[name] = ExportError(f"{type(error).__name__}: {error}"[:300])
    return Exports(files=files, failures=failures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files that were written; ``is_edited``: the text is no longer the one of the run."""

    files: tuple[Path, ...]
    is_edited: bool


def export_session(
    session: LocalSession, name: str, formats: Sequence[str], target: Path | None = None
) -> Exported:
    """Write the document ``name`` of ``session``, as it is now, in ``formats``.

    They go into the session's own folder, where edited files are kept, or into ``target``, where
    they replace what is there. Raises ``InputError``, ``ConfigError``, ``ExportError``,
    ``SessionDamagedError`` and ``JournalWriteError``.
    """
    check_formats(formats, session.spec.language)
    final = session.folder / FINAL_FOLDER
    text = read_text(final / name)
    if text is None:
        raise InputError(
            _("Session {id} has no document yet.").format(id=session.spec.session),
            hint=_("`aigenflow resume {id}` finishes it.").format(id=session.spec.session),
        )
    figures = _read_figures(final)
    wanted = dict.fromkeys(each for each in formats if each != MARKDOWN)
    made = _export(_input(text, session.spec, figures), Path(name).stem, tuple(wanted))
    files = dict(made.files)
    if target is not None:
        if MARKDOWN in formats:
            files |= {name: text.encode(), **figures}
        written = _write(files, target)
    else:
        written = session.add(files)
    made.check(session.spec, session.folder)
    return Exported(files=written, is_edited=session.is_edited(name, text.encode()))


def _read_figures(final: Path) -> dict[str, bytes]:
    try:
        return {
            f"{FIGURES_FOLDER}/{path.name}": read_bounded(path, MAX_FILE_BYTES)
            for path in sorted((final / FIGURES_FOLDER).glob("*.*"))
            if path.suffix in (".png", ".svg")
        }
    except (OSError, ValueError) as error:
        raise SessionDamagedError(
            _("A figure of the document cannot be read: {problem}").format(problem=error),
            hint=_("Put it right, or delete it: its caption then stands alone."),
        ) from error


def _write(files: Mapping[str, bytes], target: Path) -> tuple[Path, ...]:
    try:
        for name, data in files.items():
            path = target / name
            ensure_directory(path.parent)
            write_atomically(path, data)
    except OSError as error:
        raise InputError(
            _("The folder {folder} cannot be written: {problem}").format(
                folder=target, problem=error.strerror or error
            ),
            hint=_("Choose another with --output."),
        ) from error
    return tuple(target / name for name in files)
