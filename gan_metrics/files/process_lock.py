"""A lock that is free in a forked process."""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock like :class:`threading.Lock` for ``with``; free at the start of a forked process.

    A decoding process may be forked while a thread holds the lock. In the new process that thread
    does not exist, so an ordinary lock would never be released.
    """

    def __init__(self) -> None:
        self._owner, self._lock = os.getpid(), threading.Lock()

    def __enter__(self) -> None:
        if self._owner != os.getpid():
            self._owner, self._lock = os.getpid(), threading.Lock()
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
