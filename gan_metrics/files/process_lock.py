"""A lock that survives the birth of a process."""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["ProcessLock"]


class ProcessLock:
    """As :class:`threading.Lock` in a ``with``; a process that is forked begins with it free.

    A decoding process is forked from one whose threads may be reading at that moment. A lock that
    one of them holds would be held in the new process too, by a thread that is not there to give it
    back.
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
