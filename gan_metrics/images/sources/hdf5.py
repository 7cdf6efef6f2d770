"""A dataset in an HDF5 file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.images.netpbm import netpbm
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.utils.optional import require

__all__ = ["EXTENSIONS", "Hdf5Source"]

EXTENSIONS = frozenset((".h5", ".hdf5"))


class Hdf5Source:
    """The images of a dataset: ``uint8``, N × H × W × 3 (or × 1, N × H × W, N × 3 × H × W), or one
    encoded file in each place.

    What leads out of the file, by a link, a virtual dataset or storage elsewhere, is not followed.

    Args:
        path: The file.
        dataset: The dataset's path in it; ``None``: the only one that can hold images.

    Attributes:
        description: The file's path, and the dataset's.
        names: ``"000000"``, ``"000001"``, …: the places along the first axis.
        warnings: None.

    Raises:
        InputError: When it is broken, or the dataset is not there, leads elsewhere or holds no
            images.
    """  # noqa: D205

    warnings = ()
    _lock: ProcessLock
    _file: Any
    _owner: int

    def __init__(self, path: Path, dataset: str | None = None) -> None:
        self._path = path
        try:
            with self._opened() as file:
                found = _datasets(file, path)
                chosen = _choose(path, found, dataset)
                _refuse_elsewhere(path, file, chosen)
                shape, kind = file[chosen].shape, file[chosen].dtype
                self._encoded = _is_encoded(kind) and len(shape) == 1
                count = int(shape[0])
        except InputError:
            raise
        except Exception as error:  # h5py has no kinds of its own
            raise InputError(f"{path} is broken or no HDF5 file: {error}") from None
        self._dataset, self._count = chosen, count
        self._first = len(shape) == 4 and shape[3] not in (1, 3)
        self.description = f"{path}:{chosen}"
        self.names = numbered(count)
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_lock", "_file", "_owner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def read(self, index: int) -> bytes:
        """The bytes of one image, as a PPM or PGM where it is pixels; see :class:`ImageSource`."""
        index = range(self._count)[index]
        try:
            with self._lock:
                if self._owner != os.getpid():  # a file that is open is not for two processes
                    self._file, self._owner = self._opened(), os.getpid()
                value = np.asarray(self._file[self._dataset][index])
        except Exception as error:  # h5py has no kinds of its own
            raise ImageError(f"it cannot be read: {error}") from None
        if self._encoded:
            return value.tobytes()
        if value.ndim == 2:
            value = value[:, :, None]
        return netpbm(np.ascontiguousarray(np.moveaxis(value, 0, 2) if self._first else value))

    def _reset(self) -> None:
        self._lock = ProcessLock()
        self._file = None
        self._owner = -1

    def _opened(self) -> Any:
        return require("h5py", "formats").File(self._path, "r")


def _datasets(group: Any, path: Path, prefix: str = "") -> dict[str, Any]:
    """Every dataset of a file by its path, without following links that lead out of it."""
    h5py = require("h5py", "formats")
    found: dict[str, Any] = {}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group):
            if len(prefix.split("/")) < 16:  # hard links can make circles
                found.update(_datasets(child, path, f"{prefix}{name}/"))
        elif isinstance(child, h5py.Dataset):
            found[prefix + name] = child
    return found


def _choose(path: Path, found: dict[str, Any], wanted: str | None) -> str:
    if wanted is not None:
        wanted = wanted.strip("/")
        if wanted not in found:
            raise InputError(
                f"{path} has no dataset {wanted!r} in itself (links to other files are not "
                f"followed); it has {', '.join(list(found)[:8]) or 'none'}"
            )
        if not _holds_images(found[wanted]):
            kind, shape = found[wanted].dtype, found[wanted].shape
            raise InputError(
                f"{path}:{wanted} is of type {kind} and shape {shape}; expected uint8, "
                "N × H × W × 3, or encoded images"
            )
        return wanted
    fitting = [name for name, one in found.items() if _holds_images(one)]
    if len(fitting) != 1:
        held = ", ".join(f"{name} ({one.dtype}, {one.shape})" for name, one in found.items())
        raise InputError(
            f"{path} holds {held or 'nothing'}; name the dataset of images, as in {path}:images"
        )
    return fitting[0]


def _holds_images(dataset: Any) -> bool:
    shape = dataset.shape
    if not shape or not shape[0]:
        return False
    if _is_encoded(dataset.dtype):
        return len(shape) == 1
    pixels = dataset.dtype == np.uint8 and 0 not in shape
    grey = len(shape) == 3 and shape[2] > 4
    return pixels and (grey or (len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3))))


def _is_encoded(kind: Any) -> bool:
    """Whether an entry is a piece of bytes."""
    base = require("h5py", "formats").check_vlen_dtype(kind)
    return bool(base == np.uint8 or kind.kind == "V")


def _refuse_elsewhere(path: Path, file: Any, name: str) -> None:
    dataset = file[name]
    if dataset.is_virtual or dataset.external:
        raise InputError(
            f"{path}:{name} has its values in other files, which are not read; copy them into one"
        )
