"""The program in processes that begin with everything loaded: many trials in little time."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, cast

from tests.support.program import Program

LOADED = (
    "aigenflow.main",
    "aigenflow.app",
    "aigenflow.cli.root",
    "aigenflow.cli.run",
    "aigenflow.cli.resume",
    "aigenflow.cli.batch",
    "aigenflow.cli.budget",
    "aigenflow.export.html",
    "aigenflow.finance.model",
    "aigenflow.quality.document",
    "anthropic",
    "google.genai",
    "matplotlib.figure",
    "openai",
)


class Forked:
    """A child process, with what the tests use of ``Popen``."""

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._out, self._err = out, err

    def poll(self) -> int | None:
        """How it ended, if it has."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As ``Popen`` does: nothing, once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """What it printed, once it has ended."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("aigenflow", timeout)
            time.sleep(0.005)
        return self._out.read_text(), self._err.read_text()


class ForkedProgram(Program):
    """``aigenflow`` in children of this process, instead of in new interpreters.

    Only without threads beside the main one, so not in a worker of xdist.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        super().__init__(folder, environ)
        for name in LOADED:
            importlib.import_module(name)

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        return self.cut(lambda: None, *arguments, env=env, timeout=timeout)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return cast("subprocess.Popen[str]", self._fork(lambda: None, arguments, env))

    def cut(
        self,
        before: Callable[[], None],
        *arguments: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, with ``before`` done to the loaded program."""
        process = self._fork(before, arguments, env)
        out, err = process.communicate(timeout)
        assert process.returncode is not None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def _fork(
        self, before: Callable[[], None], arguments: Sequence[str], env: Mapping[str, str] | None
    ) -> Forked:
        out, err = (self.folder.parent / f"{name}-{time.monotonic_ns()}" for name in ("out", "err"))
        pid = os.fork()
        if pid == 0:
            self._child(before, arguments, {**self.environ, **(env or {})}, out, err)
        return Forked(pid, out, err)

    def _child(
        self,
        before: Callable[[], None],
        arguments: Sequence[str],
        environ: Mapping[str, str],
        out: Path,
        err: Path,
    ) -> NoReturn:
        code = 1
        try:
            redirect(out, err)
            warnings.resetwarnings()
            warnings.simplefilter("ignore")
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(self.folder)
            before()
            from aigenflow.main import main

            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            leave(code)


def redirect(out: Path, err: Path) -> None:
    """Let this process print to files."""
    for path, number in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False)


def leave(code: int) -> NoReturn:
    """End this process here: nothing of the tests may go on in the child."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
