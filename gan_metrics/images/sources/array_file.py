"""Batches of images in one array, in ``.npy`` and ``.npz`` files."""

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
"""Lower-case file name extensions that arrays have."""

_FIRST = "arr_0"
"""The name that ``np.savez`` gives an array without one: that of the images in ADM's files."""

_NO_IMAGES = {"features", "header", "mu", "sigma", "ref_mu", "ref_sigma"}
"""Names of arrays in files of features and of statistics."""

_PIECE = 1 << 20
_CHECKED = 1 << 26
"""Bytes of an array whose values are checked at once."""

_EXPECTED = "expected uint8, N × H × W × 3 (or × 1, or N × H × W), as np.savez(path, images) saves"


def is_image_batch(found: Probe) -> bool:
    """Whether a file is, or holds, a batch of images: by its headers alone.

    It does when it is an ``.npy`` of ``uint8`` with three axes or more, or an ``.npz`` with such an
    array; see :class:`ArraySource`. The file may hold other things besides, but an array of another
    type is only one of images where there are neither features nor moments.

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
    """Width and height of the images of a file, in pixels, from its headers alone.

    Args:
        found: The probe of the file.

    Returns:
        ``None`` where it holds no batch of images, or several.
    """
    with contextlib.suppress(InputError):
        chosen = _choose(found.path, found.arrays)
        if _is_batch(chosen):
            found_as = _arrangement(chosen, None)
            return found_as.width, found_as.height
    return None


class ArraySource:
    """The images of an array; its type and shape: see :mod:`gan_metrics.images.in_memory`.

    In an ``.npz`` it is ``arr_0``, or the one array of such a type and shape, whatever it is
    called; all others (labels, moments) are left alone.

    Each image is read from its place in the file when it is asked for, so memory does not grow
    with N. Before the first one, a compressed member of an ``.npz`` is written out to a temporary
    file, which goes when this object does, and one that is stored as it is is read through once,
    for its checksum. The file is opened once in each process and stays open with this object.
    Worker processes are given the place of the values, not the values.

    Args:
        given: The file, or the probe of it; a file that the probe holds open is used, and closed
            with this object.
        value_range: The values that are black and white; ``None``: they are ``uint8``.
        layout: The order of the axes; ``None``: by the shape.

    Attributes:
        description: The file's path.
        names: ``"000000"``, ``"000001"``, …: the places along the first axis.
        warnings: Of values that were clipped, or are all in half of the range.
        size: Width and height of the images, in pixels.

    Raises:
        InputError: When the file is missing or broken, holds no batch of images or several, or
            values of unknown range.
        ResourceError: When the disk is too full for the temporary file.
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
        """Those of the values."""
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
        """Check the values against their checksum, so that single images can be read.

        Done at the first read by itself; before processes are forked, better at once.

        Returns:
            The file that the values are read from, and where in it they begin.

        Raises:
            InputError: When the values do not have their checksum.
            ResourceError: When the disk is too full for the temporary file.
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
        """Close a file when this object is gone, and not before."""
        self._file = file
        weakref.finalize(self, file.close)
        return file

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """One image as an array.

        Args:
            index: Its place, 0 … N − 1.

        Returns:
            ``uint8``, H × W × C with 1, 3 or 4 channels.

        Raises:
            ImageError: When it cannot be read.
        """
        index = range(self._arrangement.n)[index]
        length = self._length
        place, offset = self.prepare()
        try:
            with self._lock:
                file = self._file or self._keep(open(place, "rb"))  # noqa: SIM115
            data = os.pread(file.fileno(), length, offset + index * length)
        except OSError as error:
            raise ImageError(f"it cannot be read: {error.strerror or error}") from None
        if len(data) < length:
            raise ImageError(f"it is cut off: {len(data)} of its {length} bytes are there")
        image = self._shaped(np.frombuffer(data, self._chosen.dtype), 1)[0]
        return np.moveaxis(np.asarray(self._converter.map(image)), 0, 2)

    def read(self, index: int) -> bytes:
        """One image as an encoded file; see :meth:`ImageSource.read`."""
        return image_file(np.moveaxis(self.pixels(index), 2, 0))

    @property
    def _length(self) -> int:
        """Of one image, in bytes."""
        found = self._arrangement
        return found.height * found.width * found.channels * self._chosen.dtype.itemsize

    def _shaped(self, values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
        """The values of some images as N × C × H × W."""
        return np.asarray(channels_first(values, self._arrangement._replace(n=n)))

    def _check_values(self) -> None:
        """Go through the values once, to know whether they can be images, and how many clip.

        Raises:
            InputError: See :class:`~gan_metrics.images.in_memory.PixelConverter`.
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
        """The member's bytes in a file of their own, for as long as this object lives."""
        assert chosen.member is not None  # noqa: S101
        self._copy = Temporary("images.npy")
        with self._copy.create() as target, contextlib.ExitStack() as stack:
            packed = self._file or stack.enter_context(open(chosen.path, "rb"))
            _copy(packed, chosen.member, target)
        self._file = None
        return self._copy.path


def _copy(archive: BinaryIO, member: zipfile.ZipInfo, target: BinaryIO | None) -> None:
    """Read a member from end to end, which checks it, and write it out if wanted.

    Raises:
        ResourceError: When it cannot be written.
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
    """The array that holds the images, or the one that comes nearest to it."""
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
            f"{path} holds several batches of images ({', '.join(a.key for a in candidates)}); "
            f"save the one that is meant alone, or as {_FIRST}"
        )
    held = ", ".join(f"{a.key} ({a.dtype}, {a.shape})" for a in list(found.values())[:8])
    raise InputError(f"{path} holds {held or 'no arrays'} and no batch of images; {_EXPECTED}")


def _arrangement(array: StoredArray, layout: str | None) -> Arrangement:
    if array.fortran and len(array.shape) > 1:
        raise InputError(
            f"{_named(array)} has the shape {array.shape}, and its first axis runs fastest; save "
            "np.ascontiguousarray(images)"
        )
    return batch_arrangement(array.shape, _named(array), layout)


def _named(array: StoredArray) -> str:
    return f"the images of {array.path}{':' * bool(array.key)}{array.key}"
