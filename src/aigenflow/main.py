"""The command line assembled. Exceptions become exit codes here, once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import NoReturn

from aigenflow.cli.streams import OutputError, prepare_streams
from aigenflow.core.language import choose_language, speak

EXIT_BUG = 1
EXIT_OUTPUT = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code.

    0 done; 1 a bug, or an output that cannot be written; 2 wrong use or configuration; 3 over
    budget; 4 a provider failed; 5 stopped, can be resumed; 6 the session's folder; 130 interrupted
    by Ctrl-C; 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    speak(choose_language(arguments, os.environ))
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
    except OutputError as error:
        code = _stop_printing(error)
    sys.exit(code)


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
