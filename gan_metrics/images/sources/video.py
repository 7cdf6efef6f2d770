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
"""Lower-case extensions of video files."""

_KEPT = 32
"""Frames that a reader keeps, because threads read ahead of each other."""

_READERS = 2
"""Readers of one video: hashing is ahead of decoding, and each needs its own position."""


class VideoSource:
    """Every n-th frame of the first video stream, starting with the first one, decoded by PyAV.

    Args:
        path: The file.
        stride: Number of frames from one image to the next.

    Attributes:
        description: The file's path.
        names: ``"000000"``, …: the number of the frame in the video.
        warnings: Always empty.

    Raises:
        InputError: If it is broken or has no frame.
        UsageError: If the stride is below 1.
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
        except Exception as error:  # PyAV has exceptions of its own
            raise InputError(f"{path} is broken or not a video: {error}") from None
        if not frames:
            raise InputError(f"{path} has no frames")
        self.names = numbered(frames, stride)

    def __getstate__(self) -> dict[str, Any]:
        return {k: vars(self)[k] for k in ("_path", "_stride", "description", "names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def read(self, index: int) -> bytes:
        """Return one frame as a PPM; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        with self._lock:
            if self._owner != os.getpid():
                self._reset_readers()
            try:
                return netpbm(self._reader_for(index).read(index))
            except StopIteration:
                raise ImageError("the video ends before this frame") from None
            except Exception as error:  # PyAV has exceptions of its own
                raise ImageError(f"cannot decode it: {error}") from None

    def _reader_for(self, index: int) -> _Reader:
        """Return the reader that has the frame or is closest before it; else a new one."""
        able = [reader for reader in self._readers if reader.reaches(index)]
        if able:
            found = max(able, key=lambda reader: (index in reader.kept, reader.next))
            self._readers.remove(found)
        else:
            found = _Reader(self._decoded())
            del self._readers[: max(0, len(self._readers) - _READERS + 1)]
        self._readers.append(found)  # least recently used readers come first
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
    """Reads the frames once, in order, and keeps the last ones.

    Args:
        frames: All frames, in order.

    Attributes:
        next: Number of the next frame.
        kept: Frames by number.
    """

    def __init__(self, frames: Iterator[npt.NDArray[np.uint8]]) -> None:
        self._frames = frames
        self.next = 0
        self.kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()

    def reaches(self, index: int) -> bool:
        """Whether a frame is kept, or not read yet."""
        return index in self.kept or index >= self.next

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Return a frame.

        Raises:
            StopIteration: If there are no more frames.
        """
        while index not in self.kept:
            self.kept[self.next] = next(self._frames)
            self.next += 1
            if len(self.kept) > _KEPT:
                self.kept.popitem(last=False)
        return self.kept[index]
