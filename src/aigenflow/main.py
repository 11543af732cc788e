"""The command line assembled. Exceptions become exit codes here, once."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import TYPE_CHECKING, NoReturn

from aigenflow.cli.streams import OutputError, prepare_streams
from aigenflow.core.language import choose_language, speak

if TYPE_CHECKING:
    from click import ClickException

    from aigenflow.core.errors import UsageError

EXIT_BUG = 1
EXIT_OUTPUT = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code.

    0 done; 1 a bug, or an output that cannot be written; 2 wrong use or configuration; 3 over
    budget; 4 a provider failed; 5 stopped, can be resumed; 6 the session's folder; 7 a gate of the
    quality report failed; 8 one could not be verified; 130 interrupted by Ctrl-C; 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _collect_seldom()
    prepare_streams()
    speak(choose_language(arguments, os.environ))
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
    except OutputError as error:
        code = _stop_printing(error)
    sys.exit(code)


def _collect_seldom() -> None:
    """Keep the garbage collector away from what lives as long as the process.

    With a vendor's SDK that is up to 190,000 objects. Looking at them again and again while they
    are loaded and once more at the end took a quarter of the CPU of a short command. It is for the
    program to decide: whoever imports aigenflow into a process of their own keeps their collector.
    """
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)


def _wrong_use(error: ClickException) -> UsageError:
    """What click says about the command line, as an error of ours."""
    from aigenflow.core.errors import UsageError

    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else ""
    return UsageError(error.format_message(), hint=hint)


def _stop_printing(error: OutputError) -> int:
    """Nothing more can be printed; a pipe whose reader has left is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error.cause, BrokenPipeError):
        return 0
    problem = error.cause.strerror or error.cause
    message = _("Error: the output cannot be written: {problem}").format(problem=problem)
    sys.stderr.write(message + "\n")
    return EXIT_OUTPUT


def _run(arguments: list[str]) -> int:
    import click

    from aigenflow.cli.console import TerminatedError, report_bug, report_error
    from aigenflow.cli.help import HelpFormatter
    from aigenflow.cli.root import build_cli
    from aigenflow.core.errors import AigenflowError

    click.Context.formatter_class = HelpFormatter
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        result = build_cli().main(args=arguments, prog_name="aigenflow", standalone_mode=False)
    except AigenflowError as error:
        if debug:
            raise
        report_error(error, as_json=as_json)
        return error.exit_code
    except click.ClickException as error:
        if as_json:
            report_error(_wrong_use(error), as_json=True)
        else:
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except TerminatedError:
        return EXIT_TERMINATED
    except OutputError:
        raise
    except Exception as error:  # the outermost edge: every bug ends here, named
        if debug:
            raise
        report_bug(error)
        return EXIT_BUG
    return result if isinstance(result, int) else 0
