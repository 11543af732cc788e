from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from aigenflow.core import errors
from aigenflow.core.errors import AigenflowError


def tree(cls: type[AigenflowError], depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, cls.__name__
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child, depth + 1)


def test_the_drawn_tree_is_the_tree() -> None:
    """The drawing at the top of the module shows every error in its place."""
    lines = inspect.cleandoc(errors.__doc__ or "").splitlines()
    names = [re.match(r"[ │├└─]*(\w+Error)\b", line) for line in lines]
    drawn = [(match.start(1) // 4, match[1]) for match in names if match]
    assert drawn == list(tree(AigenflowError))


def test_every_kind_has_its_exit_code() -> None:
    """Scripts can tell kinds of failure apart; subclasses inherit their kind's code."""
    assert {
        cls.__name__: cls.exit_code
        for cls in (AigenflowError, *AigenflowError.__subclasses__())
        if cls.__module__ == errors.__name__
    } == {
        "AigenflowError": 1,
        "UsageError": 2,
        "BudgetExceededError": 3,
        "GatewayError": 4,
        "RunStoppedError": 5,
        "SessionError": 6,
    }


def test_every_error_has_a_sentence() -> None:
    """A class without a docstring would be a name to guess at."""
    for _name, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, AigenflowError):
            assert cls.__doc__
