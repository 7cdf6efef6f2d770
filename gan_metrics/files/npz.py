"""The arrays of ``.npy`` and ``.npz`` files: their headers, their offsets, and reading them.

Pickled objects are never loaded. Sizes in headers are compared with the size of the file before
memory is allocated.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from gan_metrics.errors import GanMetricsError, InputError, NotFoundError, unreadable

__all__ = ["NPY_MAGIC", "StoredArray", "npy_array", "npz_arrays", "read_arrays", "reading"]

NPY_MAGIC = b"\x93NUMPY"
"""The first bytes of an ``.npy``."""

_LONGEST_HEADER = 1 << 16
"""Bytes of an array's header; NumPy refuses headers longer than 10,000."""

_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name and its extra field."""


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, not loaded yet.

    Attributes:
        path: The file.
        key: Its name in an ``.npz``; empty in an ``.npy``.
        dtype: The type of its values.
        shape: Its axes.
        fortran: Whether the first axis varies fastest.
        start: Length of its own header in bytes; the values follow.
        offset: Position of the values in the file, in bytes; ``None`` if they are compressed.
        member: The member of the ``.npz`` that contains it.
    """

    path: Path
    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool = False
    start: int = 0
    offset: int | None = None
    member: zipfile.ZipInfo | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file or member from its start, with the ``.npy`` header; its CRC is checked."""
        if self.member is None:
            with open(self.path, "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield member

    def refuse_objects(self) -> None:
        """Raise an error if the values can only be read by unpickling.

        Raises:
            InputError: If they are pickled objects.
        """
        if self.dtype.hasobject:
            raise InputError(
                f"{self.path}: {self.key or 'the array'} holds pickled objects, which are never "
                "loaded; save it as a plain array of numbers"
            )


def npy_array(path: Path, file: BinaryIO) -> StoredArray:
    """Return the array of an open ``.npy``; its values are not read.

    Args:
        path: The file, for messages and for reading it later.
        file: The same file, open.

    Raises:
        ValueError: If the header is broken or the file is truncated.
    """
    file.seek(0)
    return _array(path, "", file, os.fstat(file.fileno()).st_size)


def npz_arrays(path: Path, file: BinaryIO) -> tuple[dict[str, StoredArray], tuple[str, ...]]:
    """Return the arrays of an open ``.npz`` by name; their values are not read.

    Args:
        path: The file, for messages and for reading it later.
        file: The same file, open.

    Returns:
        The arrays, and the names of the members that are not arrays.

    Raises:
        Exception: What :mod:`zipfile` raises for a broken archive, or ``ValueError`` for a broken
            array.
    """
    found, others = {}, []
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            key, dot, extension = member.filename.rpartition(".")
            if not dot or extension != "npy":
                others.append(member.filename)
                continue
            with archive.open(member) as opened:
                found[key] = _array(path, key, opened, member.file_size, member, file)
    return found, tuple(others)


def read_arrays(file: BinaryIO, arrays: Mapping[str, StoredArray]) -> dict[str, np.ndarray]:
    """Read arrays of an open ``.npz`` and verify their checksums.

    Args:
        file: The file.
        arrays: The arrays to read, by name.

    Raises:
        InputError: If the values are pickled objects.
        Exception: What NumPy and :mod:`zipfile` raise for a broken file; see :func:`reading`.
    """
    for stored in arrays.values():
        stored.refuse_objects()
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(file) as archive:
        for name, stored in arrays.items():
            with archive.open(stored.member or name) as member:
                found[name] = np.lib.format.read_array(member, allow_pickle=False)
                if member.read(1):
                    raise ValueError(f"{stored.key} has more values than its shape")
    return found


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn any failure while a file is read into one error that names the file.

    Args:
        path: The file.
        remedy: What the user should do.

    Raises:
        NotFoundError: If it does not exist.
        InputError: For everything except GanMetricsError and MemoryError.
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
            f"{path} is broken ({type(error).__name__}: {str(error) or 'no details'}); {remedy}"
        ) from None


def _array(
    path: Path,
    key: str,
    file: IO[bytes],
    size: int,
    member: zipfile.ZipInfo | None = None,
    archive: BinaryIO | None = None,
) -> StoredArray:
    shape, fortran, dtype, start = _header(key, file)
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0:
        raise ValueError(f"{key} has the invalid shape {shape}")
    if not dtype.hasobject and (size - start < needed or (member and size - start != needed)):
        raise ValueError(
            f"{key or 'the array'} has {size - start} bytes of values, but {dtype} of shape "
            f"{shape} needs {needed}"
        )
    offset: int | None = start
    if member is not None and archive is not None:
        stored = member.compress_type == zipfile.ZIP_STORED
        offset = _member_offset(archive, member) + start if stored else None
    return StoredArray(path, key, dtype, shape, fortran, start, offset, member)


def _header(key: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, type and length of the header, reading only the header."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{key} is an .npy of version {version}, not 1.0 or 2.0")
    width, read = {
        (1, 0): ("<H", np.lib.format.read_array_header_1_0),
        (2, 0): ("<I", np.lib.format.read_array_header_2_0),
    }[version]
    prefix = file.read(struct.calcsize(width))
    (length,) = struct.unpack(width, prefix)
    if length > _LONGEST_HEADER:
        raise ValueError(f"the header of {key or 'the array'} has {length} bytes, too many")
    shape, fortran, dtype = read(io.BytesIO(prefix + file.read(length)))
    return shape, fortran, dtype, len(NPY_MAGIC) + 2 + len(prefix) + length


def _member_offset(archive: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return the position of a member's bytes in the file of its archive."""
    archive.seek(member.header_offset)
    head = archive.read(_LOCAL_HEADER)
    lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return member.header_offset + _LOCAL_HEADER + lengths
