"""An array that grows while it is filled, and moves to a temporary file when it is large."""

from __future__ import annotations

import math
import os
import tempfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ResourceError

__all__ = ["GrowingArray"]

_IN_MEMORY = 64 << 20
"""Rows of more bytes than this go to a memory-mapped temporary file."""


class GrowingArray:
    """An array that grows to at most ``n`` rows, in memory or in an unnamed file."""

    def __init__(self, n: int, dtype: npt.DTypeLike = np.float32) -> None:
        self._n = n
        self._dtype = np.dtype(dtype)
        self._shape: tuple[int, ...] = ()
        self._parts: list[npt.NDArray[Any]] = []
        self._file: Any = None
        self._filled = 0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows of equal shape and of the array's type.

        Raises:
            ResourceError: If the disk is full.
        """
        if not len(rows):
            return
        if not self._filled:
            self._shape = rows.shape[1:]
            self._file = self._open()
        self._filled += len(rows)
        if self._file is None:
            self._parts.append(rows)
            return
        try:
            self._file.write(rows.tobytes())
        except OSError as error:
            raise self._no_room(error) from error

    def array(self) -> npt.NDArray[Any]:
        """Return the rows; a file is memory-mapped, and deleted with the mapping."""
        if self._file is None:
            return np.concatenate(self._parts)
        with self._file:
            self._file.flush()
            shape = (self._filled, *self._shape)
            return np.memmap(self._file, self._dtype, "r", shape=shape)

    def _open(self) -> IO[bytes] | None:
        size = self._size()
        if size <= _IN_MEMORY:
            return None
        try:
            file = tempfile.TemporaryFile(prefix="gan-metrics-")  # noqa: SIM115
            if hasattr(os, "posix_fallocate"):  # report a full disk now, not hours later
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise self._no_room(error) from error
        return file

    def _size(self) -> int:
        return self._n * math.prod(self._shape) * self._dtype.itemsize

    def _no_room(self, error: OSError) -> ResourceError:
        return ResourceError(
            f"{tempfile.gettempdir()} has no room for {self._size() / 2**30:.1f} GiB "
            f"({error.strerror}); set TMPDIR to a larger disk"
        )
