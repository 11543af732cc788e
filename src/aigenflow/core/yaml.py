"""YAML from files that people write: safe types only, bounded, and without aliases.

An alias lets a file of 300 bytes stand for a hundred million values, so none is allowed. Duplicate
keys are refused, because one of the two would be ignored without a word.
"""

from __future__ import annotations

from gettext import gettext as _
from io import StringIO
from pathlib import Path
from typing import Any

from aigenflow.core.errors import ConfigError
from aigenflow.core.files import read_bounded
from aigenflow.core.keys import redact

MAX_BYTES = 256 * 1024


def parse_yaml(text: str, name: str) -> Any:
    """The value that ``text`` stands for, in plain Python types.

    ``name`` is what messages call the text. Raises :class:`~aigenflow.core.errors.ConfigError`.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent

    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise ConfigError(_("{name} is larger than 256 KB.").format(name=name))
    reader = YAML(typ="safe", pure=True)
    try:
        if any(isinstance(event, AliasEvent) for event in reader.parse(StringIO(text))):
            raise ConfigError(
                _("{name} uses YAML aliases (&, *), which are not allowed.").format(name=name),
                hint=_("Write the value out in each place."),
            )
        return YAML(typ="safe", pure=True).load(StringIO(text))
    except DuplicateKeyError as error:  # whose own text quotes the values
        raise ConfigError(
            _("{name} has the same key twice, the second time in line {line}.").format(
                name=name, line=error.problem_mark.line + 1
            ),
            hint=_("Keep one of the two."),
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            _("{name} is not valid YAML: {problem}").format(
                name=name, problem=redact(" ".join(str(error).split()))[:300]
            ),
            hint=_("Check indentation, colons and quotes near the place named above."),
        ) from error


def read_yaml(path: Path) -> Any:
    """The value in the file ``path``; ``None`` for an empty file.

    Raises :class:`~aigenflow.core.errors.ConfigError` where it cannot be read or parsed.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(
            _("{path} cannot be read: {problem}").format(path=path, problem=error),
            hint=_("Check that it is a UTF-8 text file that you may read."),
        ) from error
    return parse_yaml(text, str(path))
