"""Find out what kind of file is at a path, from one look at its first bytes and headers.

The :class:`Probe` decides which reader opens a file, so no reader has to test the file itself.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from gan_metrics.errors import InputError, NotFoundError, UsageError
from gan_metrics.files.npz import NPY_MAGIC, StoredArray, npy_array, npz_arrays, reading
from gan_metrics.files.restricted_pickle import one_tensor
from gan_metrics.utils.optional import require

__all__ = [
    "COMPRESSED_TAR_MAGIC",
    "PARQUET",
    "SAFETENSORS",
    "TORCH",
    "Container",
    "Probe",
    "is_tar_header",
    "probe",
]

Container = Literal[
    "missing",
    "folder",
    "special",
    "npy",
    "npz",
    "torch",
    "pickle",
    "safetensors",
    "parquet",
    "hdf5",
    "lmdb",
    "zip",
    "tar",
    "image",
    "video",
    "unknown",
]
"""Kinds of files. ``special``: neither a folder nor a regular file, such as a pipe; ``npz``: a zip
of arrays; ``torch``: written by ``torch.save``; ``zip`` and ``tar``: other archives, also
compressed tars; ``unknown``: none of these, or an unreadable file."""

TORCH = frozenset((".pt", ".pth"))
"""Lower-case extensions of files written by ``torch.save``."""

SAFETENSORS = ".safetensors"
PARQUET = ".parquet"

_NPZ = ".npz"
_NPY = ".npy"

COMPRESSED_TAR_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_DECOMPRESS: Mapping[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_TAR_BLOCK = 512

_HEAD = 1 << 12
"""Number of bytes read from the start of a file."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_END_OF_ZIP = b"PK\x05\x06"
_TAIL = (1 << 16) + 22 + 20
"""Bytes of a zip's end record, the longest comment and the zip64 locator."""

_LARGEST_DIRECTORY = 1 << 20
"""Most bytes of the directory of a zip of arrays; each member has at least 51."""

_LARGEST_PROGRAM = 1 << 16
"""Most bytes of the pickle in a torch file with one tensor; that of statistics can be larger."""

_LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

_MAGIC: tuple[tuple[bytes, Container], ...] = (
    (NPY_MAGIC, "npy"),
    (_LEGACY_TORCH, "torch"),
    *((b"\x80" + bytes([protocol]), "pickle") for protocol in (2, 3, 4, 5)),
    (b"PAR1", "parquet"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"P5", "image"),
    (b"P6", "image"),
    (b"\x1a\x45\xdf\xa3", "video"),
)
"""Kinds of files by their first bytes."""

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
"""Types of safetensors that NumPy has."""


@dataclass(frozen=True)
class Probe:
    """The kind and the headers of a file.

    Attributes:
        path: The path.
        suffix: Its extension, lower case, such as ``".npz"``.
        container: The kind of file; see :data:`Container`.
        arrays: For ``npy``, ``npz`` and ``safetensors``: the arrays by name. The array of an
            ``.npy``, or of a torch file with exactly one tensor, has an empty name.
        other_members: For ``npz``: names of the members that are not arrays.
        columns: For a ``.parquet``: the columns by name, each with whether it can hold encoded
            images.
        metadata: For a ``.safetensors``: the text stored with its arrays.
        file: The open file, if it is kept open for the reader; see :meth:`opened`.
        error: Why the file cannot be read as its extension or first bytes suggest, as a message
            that names the file; ``None`` if no problem is known.
    """

    path: Path
    suffix: str
    container: Container
    arrays: Mapping[str, StoredArray] = field(default_factory=dict)
    other_members: tuple[str, ...] = ()
    columns: Mapping[str, bool] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    file: BinaryIO | None = field(default=None, repr=False, compare=False)

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Yield the open file: the one that is kept open, or a new one for this block."""
        if self.file is not None:
            yield self.file
        else:
            with open(self.path, "rb") as file:
                yield file

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.container not in ("missing", "folder", "special")

    @property
    def is_one_tensor(self) -> bool:
        """Whether it is a torch file with exactly one tensor."""
        return self.container == "torch" and "" in self.arrays

    def check(self) -> None:
        """Raise an error if the file cannot be read as what it seems to be.

        Raises:
            NotFoundError: If the path does not exist.
            InputError: With the text of :attr:`error`.
        """
        if self.container == "missing":
            raise NotFoundError(f"{self.path} does not exist")
        if self.error is not None:
            raise InputError(self.error)


def probe(path: str | os.PathLike[str]) -> Probe:
    """Probe a path. A file is opened once, and its values are not read.

    Problems are not raised but returned, see :attr:`Probe.error`. Only headers are read: the
    members of an archive of images are not listed.

    Args:
        path: A local path.
    """
    path = Path(path)
    found = Probe(path, path.suffix.lower(), "unknown")
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return replace(found, container="missing", error=f"{path} does not exist")
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        return replace(found, error=f"{path}: {getattr(error, 'strerror', None) or error}")
    if stat.S_ISDIR(mode):
        return replace(found, container="folder")
    if not stat.S_ISREG(mode):
        message = f"{path} is neither a folder nor a regular file"
        return replace(found, container="special", error=message)
    try:
        with reading(path, "save it again"):
            if found.suffix == SAFETENSORS:
                return _safetensors(found)
            with open(path, "rb") as file:
                return _of_file(found, file)
    except InputError as error:
        return replace(found, error=str(error))


def _of_file(found: Probe, file: BinaryIO) -> Probe:
    """Return the probe of a regular file."""
    head = file.read(_HEAD)
    found = replace(found, container=_container(found, head, file))
    details = {"npy": _npy, "npz": _npz, "torch": _torch, "parquet": _parquet}
    try:
        with reading(found.path, "save it again"):
            if (read := details.get(found.container)) is not None:
                found = read(found, file)
    except InputError as error:
        return replace(found, error=str(error))
    if found.suffix in (_NPZ, _NPY) and found.container not in ("npy", "npz"):
        magic = head[: len(NPY_MAGIC)]
        message = f"{found.path} is not an .npz archive or an .npy array; it starts with {magic!r}"
        return replace(found, error=message)
    if found.suffix == PARQUET and found.container != "parquet":
        return replace(found, error=f"{found.path} is broken or not a Parquet file")
    return found


def _container(found: Probe, head: bytes, file: BinaryIO) -> Container:
    if head.startswith(_ZIP):
        return _zip_container(found, head)
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container
    if head[:4] == b"RIFF":
        return {b"WEBP": "image", b"AVI ": "video"}.get(head[8:12], "unknown")  # type: ignore[return-value]
    if head[4:8] == b"ftyp":
        return "video"
    if head[16:20] == b"\xde\xc0\xef\xbe":
        return "lmdb"
    return "tar" if _is_tar(head, file) else "unknown"


def _zip_container(found: Probe, head: bytes) -> Container:
    """Return the kind of a zip, from its extension and the name of its first member."""
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if found.suffix in TORCH or first.endswith(b"/data.pkl"):
        return "torch"
    return "npz" if found.suffix in (_NPZ, _NPY) or first.endswith(b".npy") else "zip"


def _is_tar(head: bytes, file: BinaryIO) -> bool:
    """Whether it is a tar archive, compressed or not, broken or not."""
    for magic, kind in COMPRESSED_TAR_MAGIC.items():
        if head.startswith(magic):
            file.seek(0)
            try:
                with _DECOMPRESS[kind](file) as unpacked:
                    return is_tar_header(unpacked.read(_TAR_BLOCK))
            except Exception:  # differs by compression; the reader reports it
                return True
    return is_tar_header(head[:_TAR_BLOCK])


def is_tar_header(block: bytes) -> bool:
    """Whether 512 bytes are the header of a member of a tar archive."""
    if len(block) < _TAR_BLOCK:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _npy(found: Probe, file: BinaryIO) -> Probe:
    return replace(found, arrays={"": npy_array(found.path, file)})


def _npz(found: Probe, file: BinaryIO) -> Probe:
    _check_directory(found.path, file)
    arrays, others = npz_arrays(found.path, file)
    return replace(found, arrays=arrays, other_members=others)


def _torch(found: Probe, file: BinaryIO) -> Probe:
    file.seek(0)
    if file.read(2) != b"PK":
        return found  # from torch before 1.6; the reader reports it
    _check_directory(found.path, file)
    with zipfile.ZipFile(file) as archive:
        programs = [m for m in archive.infolist() if m.filename.endswith("/data.pkl")]
        if len(programs) != 1 or programs[0].file_size > _LARGEST_PROGRAM:
            return found
        try:
            tensor = one_tensor(found.path, archive)
        except InputError:
            return found  # the reader of statistics reports it
    return found if tensor is None else replace(found, arrays={"": tensor})


def _check_directory(path: Path, file: BinaryIO) -> None:
    """Refuse a zip with too many members that listing them takes long.

    Raises:
        InputError: If its directory is too large.
    """
    end = file.seek(0, os.SEEK_END)
    start = max(end - _TAIL, 0)
    file.seek(start)
    tail = file.read(_TAIL)
    at = tail.rfind(_END_OF_ZIP)
    if at < 0:
        return  # not a zip: the reader reports it
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if tail[at - 20 : at - 16] == b"PK\x06\x07" and at >= 20:  # the locator of zip64
        file.seek(int.from_bytes(tail[at - 12 : at - 4], "little"))
        size = max(size, int.from_bytes(file.read(56)[40:48], "little"))
    if size > _LARGEST_DIRECTORY:
        raise InputError(
            f"{path} has too many members for a file of arrays (a directory of {size:,} bytes). "
            "Save all images as one array, or as files in a .zip"
        )


def _safetensors(found: Probe) -> Probe:
    """Return the probe of a ``.safetensors``; its library checks lengths and offsets."""
    from safetensors import safe_open

    arrays = {}
    with safe_open(found.path, "numpy") as file:
        end = os.path.getsize(found.path)
        for name in reversed(file.offset_keys()):  # the last tensor ends where the file does
            about = file.get_slice(name)
            if about.get_dtype() not in _DTYPES:
                raise ValueError(f"{name} has the unsupported type {about.get_dtype()}")
            dtype, shape = np.dtype(_DTYPES[about.get_dtype()]), tuple(about.get_shape())
            end -= dtype.itemsize * int(np.prod(shape, dtype=object))
            arrays[name] = StoredArray(found.path, name, dtype, shape, offset=end)
        metadata = file.metadata() or {}
    return replace(
        found,
        container="safetensors",
        arrays=arrays,
        metadata=dict(metadata),
    )


def _parquet(found: Probe, file: BinaryIO) -> Probe:
    if found.suffix != PARQUET:
        return found
    try:
        pa, parquet = require("pyarrow", "formats"), require("pyarrow.parquet", "formats")
    except UsageError:
        return found  # reading raises it
    schema = parquet.ParquetFile(file).schema_arrow

    def holds_bytes(kind: Any) -> bool:  # noqa: ANN401
        if pa.types.is_struct(kind):  # as the library datasets writes images
            inner = [kind.field(i) for i in range(kind.num_fields)]
            return any(one.name == "bytes" and holds_bytes(one.type) for one in inner)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    columns = {one.name: holds_bytes(one.type) for one in schema}
    return replace(found, columns=columns)
