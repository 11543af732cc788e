from __future__ import annotations

import traceback

import pytest

from aigenflow.core.errors import ConnectionFailedError, GatewayError
from aigenflow.gateway.adapters._faults import Translation

KEY = "sk-secret"


def ours(error: Exception) -> GatewayError:
    return ConnectionFailedError("It broke off.", hint="Try again.", provider="p")


def test_nothing_of_a_foreign_error_stays() -> None:
    """Neither its text nor the variables around it, even where a crash report shows those."""
    with pytest.raises(ConnectionFailedError) as caught, Translation((ValueError,), ours):
        raise ValueError(KEY)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    dump = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in dump.stack if frame.filename != __file__]
    assert [frame.name for frame in frames] == ["__exit__"]
    assert KEY not in str(frames[0].locals)


def test_what_is_not_known_passes() -> None:
    """Only the kinds that were named are translated."""
    with pytest.raises(KeyError), Translation((ValueError,), ours):
        raise KeyError(KEY)
    with Translation((ValueError,), ours):
        pass
