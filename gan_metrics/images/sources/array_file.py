"""Batches of images in one array, in ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import contextlib
import os
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.npz import StoredArray, reading
from gan_metrics.files.probe import Probe, probe
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.files.temporary import Temporary, no_room
from gan_metrics.images.netpbm import netpbm
from gan_metrics.images.sources.file_names import numbered

__all__ = ["EXTENSIONS", "ArraySource", "image_size", "is_image_batch"]

EXTENSIONS = frozenset((".npy", ".npz"))
"""Lower-case file name extensions that arrays have."""

_FIRST = "arr_0"
"""The name that ``np.savez`` gives an array without one: that of the images in ADM's files."""

_PIECE = 1 << 20
_LOOK = 1 << 24
"""Bytes of an array that is no batch of images which are read for the range of its values."""

_EXPECTED = "expected uint8, N × H × W × 3 (or × 1, or N × H × W), as np.savez(path, images) saves"


class _Layout(NamedTuple):
    n: int
    height: int
    width: int
    channels: int
    channels_first: bool


def is_image_batch(found: Probe) -> bool:
    """Whether a file is, or holds, a batch of images: by its headers alone.

    It does when it is an ``.npy`` of ``uint8`` with three axes or more, or an ``.npz`` with such an
    array; see :class:`ArraySource`. The file may hold other things besides.

    Args:
        found: The probe of the file.
    """
    return found.suffix in EXTENSIONS and any(_is_batch(one) for one in found.arrays.values())


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
            layout = _layout(chosen)
            return layout.width, layout.height
    return None


class ArraySource:
    """The images of an array: ``uint8``, N × H × W × 3, RGB, 0–255.

    N × H × W × 1 and N × H × W are grey; N × 3 × H × W and N × 1 × H × W are taken where the last
    axis is neither 3 nor 1. In an ``.npz`` it is ``arr_0``, or the one array of such a type and
    shape, whatever it is called; all others (labels, moments) are left alone.

    Each image is read from its place in the file when it is asked for, so memory does not grow
    with N. Before the first one, a compressed member of an ``.npz`` is written out to a temporary
    file, which goes when this object does, and one that is stored as it is is read through once,
    for its checksum. The file is opened once in each process and stays open with this object.
    Worker processes are given the place of the values, not the values.

    Args:
        given: The file, or the probe of it; a file that the probe holds open is used, and closed
            with this object.

    Attributes:
        description: The file's path.
        names: ``"000000"``, ``"000001"``, …: the places along the first axis.
        warnings: None.
        size: Width and height of the images, in pixels.

    Raises:
        InputError: When the file is missing or broken, holds no batch of images or several, or the
            values are not ``uint8``.
        ResourceError: When the disk is too full for the temporary file.
    """

    warnings = ()

    def __init__(self, given: Path | Probe) -> None:
        found = given if isinstance(given, Probe) else probe(given)
        found.check()
        self.description = str(found.path)
        chosen = _choose(found.path, found.arrays)
        chosen.refuse_objects()
        if chosen.dtype != np.uint8:
            raise InputError(_wrong_type(chosen))
        self._layout = _layout(chosen)
        self.size = (self._layout.width, self._layout.height)
        self.names = numbered(self._layout.n)
        self._chosen = chosen
        self._place: tuple[Path, int] | None = None
        self._reset()
        if found.file is not None:
            self._keep(found.file)

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
            ``uint8``, H × W × 3 or H × W × 1.

        Raises:
            ImageError: When it cannot be read.
        """
        n, height, width, channels, channels_first = self._layout
        index = range(n)[index]
        length = height * width * channels
        place, offset = self.prepare()
        try:
            with self._lock:
                file = self._file or self._keep(open(place, "rb"))  # noqa: SIM115
            data = os.pread(file.fileno(), length, offset + index * length)
        except OSError as error:
            raise ImageError(f"it cannot be read: {error.strerror or error}") from None
        if len(data) < length:
            raise ImageError(f"it is cut off: {len(data)} of its {length} bytes are there")
        image: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8)
        if channels_first:
            return np.moveaxis(image.reshape(channels, height, width), 0, 2)
        return np.reshape(image, (height, width, channels))

    def read(self, index: int) -> bytes:
        """One image as a binary PPM, or PGM where it is grey; see :meth:`ImageSource.read`."""
        return netpbm(self.pixels(index))

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


def _layout(array: StoredArray) -> _Layout:
    shape = array.shape
    fault = _EXPECTED
    if min(shape, default=1) == 0:
        fault = "there is nothing in it"
    elif array.fortran and len(shape) > 1:
        fault = "its first axis runs fastest; save np.ascontiguousarray(images)"
    elif len(shape) == 3 and shape[2] > 4:
        return _Layout(*shape, 1, False)
    elif len(shape) == 3:
        fault = f"is it one image? {_EXPECTED}"
    elif len(shape) == 4 and shape[3] in (1, 3):
        return _Layout(*shape, False)
    elif len(shape) == 4 and shape[1] in (1, 3):
        return _Layout(shape[0], shape[2], shape[3], shape[1], True)
    elif len(shape) == 4 and 4 in (shape[1], shape[3]):
        fault = f"an alpha channel cannot be told from a fourth colour; {_EXPECTED}"
    what = f"{array.path}: {array.key or 'the array'} has the shape {shape}"
    raise InputError(f"{what}: {fault}")


def _wrong_type(array: StoredArray) -> str:
    what = f"{array.path}: {array.key or 'the array'} is of type {array.dtype}"
    advice = "images must be uint8, 0–255"
    if array.dtype.kind not in "fiu":
        return f"{what}; {advice}"
    with reading(array.path, "save the images again"), array.open() as file:
        file.seek(array.start)
        data = file.read(min(_LOOK, _whole(array)) // array.dtype.itemsize * array.dtype.itemsize)
    values = np.frombuffer(data, array.dtype)
    if not values.size:
        return f"{what} and holds no values; {advice}"
    low, high = float(values.min()), float(values.max())
    scale = {True: "(x * 127.5 + 127.5)", False: "x" if high > 2 else "(x * 255)"}
    convert = f"{scale[low < 0 and high <= 2]}.round().clip(0, 255).astype(np.uint8)"
    return f"{what} with values from {low:g} to {high:g}; {advice}: save {convert}"


def _whole(array: StoredArray) -> int:
    return int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
