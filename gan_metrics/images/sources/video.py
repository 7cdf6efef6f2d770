"""The frames of a video."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.images.netpbm import netpbm
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.utils.optional import require
from gan_metrics.utils.validation import whole_number

__all__ = ["EXTENSIONS", "VideoSource"]

EXTENSIONS = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"))
"""Lower-case extensions of files that are taken for videos."""

_KEPT = 32
"""Frames that a reader keeps: threads read ahead of each other."""

_READERS = 2
"""Readers of one video: its files are hashed ahead of being decoded, and each wants its place."""


class VideoSource:
    """Every so many frames of the first video stream, from the first one on, as PyAV decodes them.

    Args:
        path: The file.
        stride: So many frames from one to the next.

    Attributes:
        description: The file's path.
        names: ``"000000"``, …: the number of the frame in the video.
        warnings: None.

    Raises:
        InputError: When it is broken or has no frame.
        UsageError: When the stride is below 1.
    """

    warnings = ()

    def __init__(self, path: Path, stride: int = 1) -> None:
        stride = whole_number("stride", stride, least=1)
        self._path, self._stride = path, stride
        self.description = str(path)
        self._reset()
        try:
            with self._container() as container:
                frames = sum(1 for _ in container.decode(video=0))
        except Exception as error:  # PyAV's own kinds
            raise InputError(f"{path} is broken or no video: {error}") from None
        if not frames:
            raise InputError(f"{path} has no frames")
        self.names = numbered(frames, stride)

    def __getstate__(self) -> dict[str, Any]:
        return {k: vars(self)[k] for k in ("_path", "_stride", "description", "names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def read(self, index: int) -> bytes:
        """One frame as a PPM; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        with self._lock:
            if self._owner != os.getpid():
                self._reset_readers()
            try:
                return netpbm(self._reader_for(index).read(index))
            except StopIteration:
                raise ImageError("the video ends before this frame") from None
            except Exception as error:  # PyAV's own kinds
                raise ImageError(f"it cannot be decoded: {error}") from None

    def _reader_for(self, index: int) -> _Reader:
        """The one that has the frame, or is the nearest before it; else one that begins anew."""
        able = [reader for reader in self._readers if reader.reaches(index)]
        if able:
            found = max(able, key=lambda reader: (index in reader.kept, reader.next))
            self._readers.remove(found)
        else:
            found = _Reader(self._decoded())
            del self._readers[: max(0, len(self._readers) - _READERS + 1)]
        self._readers.append(found)  # the one that was used last is the last to go
        return found

    def _container(self) -> Any:
        return require("av", "formats").open(os.fspath(self._path))

    def _decoded(self) -> Iterator[npt.NDArray[np.uint8]]:
        with self._container() as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % self._stride == 0:
                    yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))

    def _reset(self) -> None:
        self._lock = ProcessLock()
        self._reset_readers()

    def _reset_readers(self) -> None:
        self._owner = os.getpid()
        self._readers: list[_Reader] = []


class _Reader:
    """Goes through the frames once, and keeps the last ones.

    Args:
        frames: All of them, in order.

    Attributes:
        next: The number of the frame that comes next.
        kept: Number to frame.
    """

    def __init__(self, frames: Iterator[npt.NDArray[np.uint8]]) -> None:
        self._frames = frames
        self.next = 0
        self.kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()

    def reaches(self, index: int) -> bool:
        """Whether a frame is kept, or still to come."""
        return index in self.kept or index >= self.next

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """A frame.

        Raises:
            StopIteration: When there are no more.
        """
        while index not in self.kept:
            self.kept[self.next] = next(self._frames)
            self.next += 1
            if len(self.kept) > _KEPT:
                self.kept.popitem(last=False)
        return self.kept[index]
