"""The frames of a video."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError, InputError, UsageError
from gan_metrics.extras import require
from gan_metrics.images.sources.listing import numbered
from gan_metrics.images.sources.netpbm import netpbm

__all__ = ["EXTENSIONS", "VideoSource"]

EXTENSIONS = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"))
"""Lower-case extensions of files that are taken for videos."""

_KEPT = 64
"""Frames that are kept: threads read ahead of each other."""


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
        if stride < 1:
            raise UsageError(f"stride={stride}: expected a whole number of at least 1")
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
            if self._owner != os.getpid() or (index not in self._kept and index < self._next):
                self._reset_frames()
            try:
                while index not in self._kept:
                    self._kept[self._next] = next(self._frames)
                    self._next += 1
                    if len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
            except StopIteration:
                raise ImageError("the video ends before this frame") from None
            except Exception as error:  # PyAV's own kinds
                raise ImageError(f"it cannot be decoded: {error}") from None
            return netpbm(self._kept[index])

    def _container(self) -> Any:
        return require("av", "formats").open(os.fspath(self._path))

    def _decoded(self) -> Iterator[npt.NDArray[np.uint8]]:
        with self._container() as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % self._stride == 0:
                    yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._reset_frames()

    def _reset_frames(self) -> None:
        """Begin anew at the front."""
        self._owner = os.getpid()
        self._kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self._frames = self._decoded()
        self._next = 0
