"""Batches of images in ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import contextlib
import os
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.npz import StoredArray, reading
from gan_metrics.files.probe import Probe, probe
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.files.temporary import Temporary, no_room
from gan_metrics.images.in_memory import (
    Arrangement,
    PixelConverter,
    batch_arrangement,
    channels_first,
)
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.images.sources.samples import image_file

__all__ = ["EXTENSIONS", "ArraySource", "image_size", "is_image_batch"]

EXTENSIONS = frozenset((".npy", ".npz"))
"""Lower-case extensions of array files."""

_FIRST = "arr_0"
"""The default array name of ``np.savez``, which ADM's files use for images."""

_NO_IMAGES = {"features", "header", "mu", "sigma", "ref_mu", "ref_sigma"}
"""Names of arrays in feature and statistics files."""

_PIECE = 1 << 20
_CHECKED = 1 << 26
"""Bytes of values that are checked at a time."""

_EXPECTED = "expected uint8, N × H × W × 3 (or × 1, or N × H × W), as np.savez(path, images) saves"


def is_image_batch(found: Probe) -> bool:
    """Whether a file is, or contains, a batch of images, from its headers only.

    It is one if it is an ``.npy`` of ``uint8`` with three or more axes, or an ``.npz`` with such an
    array; see :class:`ArraySource`. The file may contain other arrays, but an array of another type
    counts as images only if there are neither features nor moments.

    Args:
        found: The probe of the file.
    """
    if found.suffix not in EXTENSIONS:
        return False
    arrays = found.arrays.values()
    others = _NO_IMAGES & set(found.arrays)
    return any(map(_is_batch, arrays)) or (
        found.suffix == ".npz" and not others and any(len(one.shape) > 2 for one in arrays)
    )


def image_size(found: Probe) -> tuple[int, int] | None:
    """Return width and height of the images of a file in pixels, from its headers only.

    Args:
        found: The probe of the file.

    Returns:
        Width and height; ``None`` if it does not contain exactly one batch of images.
    """
    with contextlib.suppress(InputError):
        chosen = _choose(found.path, found.arrays)
        if _is_batch(chosen):
            found_as = _arrangement(chosen, None)
            return found_as.width, found_as.height
    return None


class ArraySource:
    """The images of an array; for its type and shape see :mod:`gan_metrics.images.in_memory`.

    In an ``.npz`` it is ``arr_0``, or the only array of a suitable type and shape, whatever its
    name; other arrays (labels, moments) are ignored.

    Each image is read from the file when it is needed, so memory does not grow with N. Before the
    first image, a compressed member of an ``.npz`` is unpacked to a temporary file, deleted with
    this object, and an uncompressed one is read once for its checksum. The file is opened once in
    each process and stays open with this object. Worker processes receive the position of the
    values, not the values.

    Args:
        given: The file, or its probe; if the probe holds the file open, it is used and closed with
            this object.
        value_range: Values of black and white; ``None``: the images are ``uint8``.
        layout: Order of the axes; ``None``: determined from the shape.

    Attributes:
        description: The file's path.
        names: ``"000000"``, ``"000001"``, …: positions along the first axis.
        warnings: Warnings about values that were clipped, or are all in half of the range.
        size: Width and height of the images, in pixels.

    Raises:
        InputError: If the file is missing or broken, does not contain exactly one batch of images,
            or has values of unknown range.
        ResourceError: If the disk is too full for the temporary file.
    """

    def __init__(
        self,
        given: Path | Probe,
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> None:
        found = given if isinstance(given, Probe) else probe(given)
        found.check()
        self.description = str(found.path)
        chosen = _choose(found.path, found.arrays)
        chosen.refuse_objects()
        self._arrangement = _arrangement(chosen, layout)
        self.size = (self._arrangement.width, self._arrangement.height)
        self.names = numbered(self._arrangement.n)
        self._converter = PixelConverter(value_range, whose=_named(chosen))
        self._chosen = chosen
        self._place: tuple[Path, int] | None = None
        self._reset()
        if found.file is not None:
            self._keep(found.file)
        if chosen.dtype != np.uint8:
            self._check_values()

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings about the values."""
        return self._converter.warnings

    def __getstate__(self) -> dict[str, Any]:
        self.prepare()
        return {k: value for k, value in vars(self).items() if k not in ("_lock", "_file")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()
        if self._place is not None and not self._place[0].exists():  # on another machine
            self._place = None

    def _reset(self) -> None:
        self._lock = ProcessLock()
        self._file: BinaryIO | None = None

    def prepare(self) -> tuple[Path, int]:
        """Verify the checksum of the values, so that single images can be read.

        Done automatically at the first read; call it before forking processes.

        Returns:
            The file from which values are read, and their position in it.

        Raises:
            InputError: If the checksum is wrong.
            ResourceError: If the disk is too full for the temporary file.
        """
        with self._lock:
            if self._place is None:
                chosen = self._chosen
                with reading(chosen.path, "save the images again"):
                    if chosen.offset is None:
                        self._place = self._unpacked(chosen), chosen.start
                    else:
                        file = self._file or self._keep(open(chosen.path, "rb"))  # noqa: SIM115
                        if chosen.member is not None:
                            _copy(file, chosen.member, None)
                        self._place = chosen.path, chosen.offset
            return self._place

    def _keep(self, file: BinaryIO) -> BinaryIO:
        """Keep a file open until this object is deleted."""
        self._file = file
        weakref.finalize(self, file.close)
        return file

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one image as an array.

        Args:
            index: Its position, 0 … N − 1.

        Returns:
            ``uint8``, H × W × C with 1, 3 or 4 channels.

        Raises:
            ImageError: If it cannot be read.
        """
        index = range(self._arrangement.n)[index]
        length = self._length
        place, offset = self.prepare()
        try:
            with self._lock:
                file = self._file or self._keep(open(place, "rb"))  # noqa: SIM115
            data = os.pread(file.fileno(), length, offset + index * length)
        except OSError as error:
            raise ImageError(f"cannot read it: {error.strerror or error}") from None
        if len(data) < length:
            raise ImageError(f"it is truncated: {len(data)} of {length} bytes")
        image = self._shaped(np.frombuffer(data, self._chosen.dtype), 1)[0]
        return np.moveaxis(np.asarray(self._converter.map(image)), 0, 2)

    def read(self, index: int) -> bytes:
        """Return one image as an encoded file; see :meth:`ImageSource.read`."""
        return image_file(np.moveaxis(self.pixels(index), 2, 0))

    @property
    def _length(self) -> int:
        """Return the bytes of one image."""
        found = self._arrangement
        return found.height * found.width * found.channels * self._chosen.dtype.itemsize

    def _shaped(self, values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
        """Return the values of some images as N × C × H × W."""
        return np.asarray(channels_first(values, self._arrangement._replace(n=n)))

    def _check_values(self) -> None:
        """Read all values once, to check that they can be images and to count clipped ones.

        Raises:
            InputError: As for :class:`~gan_metrics.images.in_memory.PixelConverter`.
        """
        place, offset = self.prepare()
        step = max(1, _CHECKED // self._length)
        with reading(self._chosen.path, "save the images again"), open(place, "rb") as file:
            for start in range(0, self._arrangement.n, step):
                n = min(step, self._arrangement.n - start)
                file.seek(offset + start * self._length)
                values = np.frombuffer(file.read(n * self._length), self._chosen.dtype)
                self._converter.check(self._shaped(values, n), start)

    def _unpacked(self, chosen: StoredArray) -> Path:
        """Unpack the member to its own file, which lives as long as this object."""
        assert chosen.member is not None  # noqa: S101
        self._copy = Temporary("images.npy")
        with self._copy.create() as target, contextlib.ExitStack() as stack:
            packed = self._file or stack.enter_context(open(chosen.path, "rb"))
            _copy(packed, chosen.member, target)
        self._file = None
        return self._copy.path


def _copy(archive: BinaryIO, member: zipfile.ZipInfo, target: BinaryIO | None) -> None:
    """Read a member completely, which verifies it, and write it to a file if requested.

    Raises:
        ResourceError: If it cannot be written.
    """
    with zipfile.ZipFile(archive) as opened, opened.open(member) as packed:
        while piece := packed.read(_PIECE):
            try:
                if target is not None:
                    target.write(piece)
            except OSError as error:
                raise no_room(error) from None


def _is_batch(array: StoredArray) -> bool:
    return array.dtype == np.uint8 and len(array.shape) >= 3


def _choose(path: Path, found: Mapping[str, StoredArray]) -> StoredArray:
    """Return the array of images, or the most similar one."""
    if (first := found.get(_FIRST, found.get(""))) is not None and len(first.shape) >= 3:
        return first
    kinds = (
        [a for a in found.values() if a.dtype == np.uint8 and len(a.shape) == 4],
        [a for a in found.values() if _is_batch(a)],
        [a for a in found.values() if len(a.shape) == 4],
        [a for a in found.values() if len(a.shape) == 3],
        [a for a in found.values() if a.key in ("", _FIRST)],
    )
    candidates = next((arrays for arrays in kinds if arrays), [])
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InputError(
            f"{path} contains several batches of images ({', '.join(a.key for a in candidates)}); "
            f"save one of them in its own file, or as {_FIRST}"
        )
    held = ", ".join(f"{a.key} ({a.dtype}, {a.shape})" for a in list(found.values())[:8])
    raise InputError(f"{path} contains {held or 'no arrays'} but no batch of images; {_EXPECTED}")


def _arrangement(array: StoredArray, layout: str | None) -> Arrangement:
    if array.fortran and len(array.shape) > 1:
        raise InputError(
            f"{_named(array)} has the shape {array.shape} in Fortran order; save "
            "np.ascontiguousarray(images)"
        )
    return batch_arrangement(array.shape, _named(array), layout)


def _named(array: StoredArray) -> str:
    return f"the images of {array.path}{':' * bool(array.key)}{array.key}"
