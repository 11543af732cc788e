"""The command line assembled. Exceptions become exit codes here, once."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from aigenflow.core.language import choose_language, speak

EXIT_BUG = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code.

    0 done; 1 a bug; 2 wrong use or configuration; 3 over budget; 4 a provider failed; 5 stopped,
    can be resumed; 6 the session's folder; 130 interrupted by Ctrl-C; 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _print_whatever_comes()
    speak(choose_language(arguments, os.environ))
    sys.exit(_run(list(arguments)))


def _print_whatever_comes() -> None:
    """Print as an escape what the terminal's encoding lacks, instead of failing.

    ASCII is a locale that nobody has set up: like click, take it for UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors="backslashreplace")


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
        sys.stdout.flush()
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
    except BrokenPipeError:  # the reader of a pipe went away: nothing is left to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the outermost edge: every bug ends here, named
        if debug:
            raise
        report_bug(error)
        return EXIT_BUG
    return result if isinstance(result, int) else 0
