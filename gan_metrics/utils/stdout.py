"""Redirect prints of user code to standard error; standard output is for results only."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

__all__ = ["prints_to_stderr"]

_LOCK = threading.Lock()
_INSIDE = 0
_BEFORE: TextIO | None = None


@contextlib.contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Redirect ``print`` to standard error in this block; several threads may be in it at once.

    The first thread redirects the stream, and the last one restores it.
    """
    global _INSIDE, _BEFORE
    with _LOCK:
        if _INSIDE == 0:
            _BEFORE, sys.stdout = sys.stdout, sys.stderr
        _INSIDE += 1
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE -= 1
            if _INSIDE == 0 and _BEFORE is not None:
                sys.stdout, _BEFORE = _BEFORE, None
