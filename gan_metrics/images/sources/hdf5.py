"""Images in a dataset of an HDF5 file."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.images.in_memory import (
    Arrangement,
    PixelConverter,
    batch_arrangement,
    channels_first,
)
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.images.sources.samples import image_file
from gan_metrics.utils.optional import require

__all__ = ["EXTENSIONS", "Hdf5Source"]

EXTENSIONS = frozenset((".h5", ".hdf5"))

_CHECKED = 1 << 26
"""Bytes of values that are checked at a time."""


class Hdf5Source:
    """The images of a dataset: pixels, or one encoded file per entry.

    For the type and shape of pixels see :mod:`gan_metrics.images.in_memory`.

    External links, virtual datasets and external storage are not followed.

    Args:
        path: The file.
        dataset: The dataset's path in it; ``None``: the only one that can hold images.
        value_range: Values of black and white; ``None``: pixels are ``uint8``.
        layout: Order of the axes; ``None``: determined from the shape.

    Attributes:
        description: The paths of the file and of the dataset.
        names: ``"000000"``, ``"000001"``, …: positions along the first axis.
        warnings: Warnings about values that were clipped, or are all in half of the range.

    Raises:
        InputError: If the file is broken, or the dataset is missing, external or without images.
    """

    _lock: ProcessLock
    _file: Any
    _owner: int

    def __init__(
        self,
        path: Path,
        dataset: str | None = None,
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> None:
        self._path = path
        try:
            with self._opened() as file:
                found = _datasets(file, path)
                chosen = _choose(path, found, dataset)
                _refuse_elsewhere(path, file, chosen)
                whose = f"{path}:{chosen}"
                self._converter = PixelConverter(value_range, whose=whose)
                self._arrangement: Arrangement | None = None
                if not _holds_files(file[chosen]):
                    self._arrangement = batch_arrangement(file[chosen].shape, whose, layout)
                    self._check_values(file[chosen], self._arrangement)
                count = int(file[chosen].shape[0])
        except InputError:
            raise
        except Exception as error:  # h5py has no exceptions of its own
            raise InputError(f"{path} is broken or not an HDF5 file: {error}") from None
        self._dataset, self._count = chosen, count
        self.description = f"{path}:{chosen}"
        self.names = numbered(count)
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_lock", "_file", "_owner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def read(self, index: int) -> bytes:
        """Return the bytes of one image, pixels as PPM or PGM; see :class:`ImageSource`."""
        index = range(self._count)[index]
        try:
            with self._lock:
                if self._owner != os.getpid():  # processes must not share an open file
                    self._file, self._owner = self._opened(), os.getpid()
                value = np.asarray(self._file[self._dataset][index])
        except Exception as error:  # h5py has no exceptions of its own
            raise ImageError(f"cannot read it: {error}") from None
        if self._arrangement is None:
            return value.tobytes()
        image = channels_first(value, self._arrangement._replace(n=1))[0]
        return image_file(np.asarray(self._converter.map(image)))

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings about the values."""
        return self._converter.warnings

    def _check_values(self, dataset: Any, found: Arrangement) -> None:
        """Read values that are not ``uint8`` once, to check that they can be images."""
        if dataset.dtype == np.uint8:
            return
        step = max(1, _CHECKED // max(1, dataset.dtype.itemsize * math.prod(dataset.shape[1:])))
        for start in range(0, dataset.shape[0], step):
            part = np.asarray(dataset[start : start + step])
            images = channels_first(part, found._replace(n=len(part)))
            self._converter.check(images, start)

    def _reset(self) -> None:
        self._lock = ProcessLock()
        self._file = None
        self._owner = -1

    def _opened(self) -> Any:
        return require("h5py", "formats").File(self._path, "r")


def _datasets(group: Any, path: Path, prefix: str = "") -> dict[str, Any]:
    """Return the datasets of a file by path, without following external links."""
    h5py = require("h5py", "formats")
    found: dict[str, Any] = {}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group):
            if len(prefix.split("/")) < 16:  # hard links can form cycles
                found.update(_datasets(child, path, f"{prefix}{name}/"))
        elif isinstance(child, h5py.Dataset):
            found[prefix + name] = child
    return found


def _choose(path: Path, found: dict[str, Any], wanted: str | None) -> str:
    """Return the path of the requested dataset, or of the only one that can hold images.

    Args:
        path: Path of the file.
        found: Datasets by path.
        wanted: The requested path, or ``None``.
    """
    if wanted is not None:
        wanted = wanted.strip("/")
        if wanted not in found:
            raise InputError(
                f"{path} does not contain the dataset {wanted!r} (links to other files are not "
                f"followed); it has {', '.join(list(found)[:8]) or 'none'}"
            )
        return wanted
    possible = [name for name, one in found.items() if _holds_images(one)]
    if not possible:  # opening it reports its type or shape
        possible = [name for name, one in found.items() if one.ndim > 2]
    if len(possible) != 1:
        held = ", ".join(f"{name} ({one.dtype}, {one.shape})" for name, one in found.items())
        raise InputError(
            f"{path} contains {held or 'nothing'}; name the dataset of images, as in {path}:images"
        )
    return possible[0]


def _holds_images(dataset: Any) -> bool:
    if not dataset.shape or not dataset.shape[0]:
        return False
    if _is_encoded(dataset.dtype):
        return _holds_files(dataset)
    with contextlib.suppress(InputError):
        batch_arrangement(dataset.shape, "")
        return bool(dataset.dtype == np.uint8)
    return False


def _holds_files(dataset: Any) -> bool:
    return _is_encoded(dataset.dtype) and len(dataset.shape) == 1


def _is_encoded(kind: Any) -> bool:
    """Whether entries of this type are encoded files."""
    base = require("h5py", "formats").check_vlen_dtype(kind)
    return bool(base == np.uint8 or kind.kind == "V")


def _refuse_elsewhere(path: Path, file: Any, name: str) -> None:
    dataset = file[name]
    if dataset.is_virtual or dataset.external:
        raise InputError(
            f"{path}:{name} stores its values in other files, which are not read; copy them into "
            "one file"
        )
