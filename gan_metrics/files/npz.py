"""The arrays of ``.npy`` and ``.npz`` files: what they are, unread, and where they lie.

Nothing is ever unpickled, and a size that a file claims is held against the file first.
"""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gan_metrics.errors import GanMetricsError, InputError, NotFoundError, unreadable

__all__ = ["StoredArray", "reading", "stored_arrays"]

_NPY = b"\x93NUMPY"
_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name and its extra field."""


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, not read yet.

    Attributes:
        path: The file.
        key: Its name in an ``.npz``; empty in an ``.npy``.
        dtype: Of its values.
        shape: Its axes.
        fortran: Whether the first axis runs fastest.
        start: Bytes of its own header, after which the values come.
        member: Where it is in an ``.npz``.
    """

    path: Path
    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int
    member: zipfile.ZipInfo | None = None

    @property
    def offset(self) -> int | None:
        """Where in the file the values begin, in bytes; ``None`` where they are compressed."""
        if self.member is None:
            return self.start
        if self.member.compress_type != zipfile.ZIP_STORED:
            return None
        with open(self.path, "rb") as file:
            file.seek(self.member.header_offset)
            head = file.read(_LOCAL_HEADER)
        lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        return self.member.header_offset + _LOCAL_HEADER + lengths + self.start

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file or member from its start, the ``.npy`` header included; its CRC is checked."""
        if self.member is None:
            with open(self.path, "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield member

    def read(self) -> np.ndarray:
        """The values.

        Raises:
            InputError: When they are pickled objects.
        """
        self.refuse_objects()
        with self.open() as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):
                raise ValueError(f"there is more to {self.key} than its shape says")
        return array

    def refuse_objects(self) -> None:
        """Raise an error where the values could only be had by unpickling them.

        Raises:
            InputError: When they are pickled objects.
        """
        if self.dtype.hasobject:
            raise InputError(
                f"{self.path}: {self.key or 'the array'} holds pickled objects, which are never "
                "loaded; save it as a plain array of numbers"
            )


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """The arrays of a file by their names; of their values nothing is read.

    Args:
        path: An ``.npz``, or an ``.npy``, whose one array has the empty name.

    Raises:
        InputError: When the file is missing, is no such file, or is cut off.
    """
    with reading(path, "save it again"):
        with open(path, "rb") as file:
            magic = file.read(len(_NPY))
            if magic == _NPY:
                file.seek(0)
                return {"": _array(path, "", file, os.fstat(file.fileno()).st_size, None)}
        if not magic.startswith(b"PK"):
            raise InputError(
                f"{path} is no .npz archive and no .npy array; it starts with {magic!r}"
            )
        found = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                key, dot, extension = member.filename.rpartition(".")
                if dot and extension == "npy":
                    with archive.open(member) as opened:
                        found[key] = _array(path, key, opened, member.file_size, member)
        return found


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one error that names it.

    Args:
        path: The file.
        remedy: What the reader of the message should do.

    Raises:
        NotFoundError: When it does not exist.
        InputError: For everything but our own errors and a lack of memory.
    """
    try:
        yield
    except (GanMetricsError, MemoryError):
        raise
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # zipfile and numpy raise nearly anything on broken bytes
        raise InputError(
            f"{path} is broken ({type(error).__name__}: {str(error) or 'no more is known'}); "
            f"{remedy}"
        ) from None


def _array(
    path: Path, key: str, file: IO[bytes], size: int, member: zipfile.ZipInfo | None
) -> StoredArray:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{key} is an .npy of version {version}, not 1.0 or 2.0")
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = read[version](file)
    start = file.tell()
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0:
        raise ValueError(f"{key} claims the shape {shape}")
    if not dtype.hasobject and (size - start < needed or (member and size - start != needed)):
        raise ValueError(
            f"{key or 'the array'} is cut off or overlong: {size - start} bytes of values, where "
            f"{dtype} of shape {shape} takes {needed}"
        )
    return StoredArray(path, key, dtype, shape, fortran, start, member)
