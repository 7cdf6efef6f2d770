"""Zip and tar archives, read in place; compressed tars are unpacked once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import operator
import os
import tarfile
import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from gan_metrics.errors import GanMetricsError, ImageError, InputError, ResourceError
from gan_metrics.files.probe import COMPRESSED_TAR_MAGIC, is_tar_header
from gan_metrics.files.temporary import Temporary, check_files_left, no_room
from gan_metrics.images.sources.file_names import Listing
from gan_metrics.images.sources.location import Location

__all__ = ["TarSource", "ZipSource", "archive_kind"]

_LARGEST = 1 << 30
"""Most bytes of an encoded image; larger ones are refused."""

_RATIO = 100
_FREE = 1 << 30
"""A compressed tar may unpack to this many times its size plus these bytes."""

_READERS: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_BLOCK = 512
_FACTS = ("header_offset", "compress_size", "file_size", "CRC", "compress_type", "flag_bits")
"""Fields of a zip entry that reading it needs."""

_PIECE = 1 << 20

_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
)


def archive_kind(place: Location) -> str | None:
    """Return ``"zip"``, ``"tar"``, ``"gz"``, ``"bz2"`` or ``"xz"`` (a compressed tar), or ``None``.

    Args:
        place: A file; its first bytes decide.

    Raises:
        InputError, ResourceError: As for :meth:`Location.read`.
    """
    head = place.read(0, _BLOCK)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if is_tar_header(head):
        return "tar"
    for magic, kind in COMPRESSED_TAR_MAGIC.items():
        if head.startswith(magic):
            try:
                with place.open() as file, _READERS[kind](file) as unpacked:
                    return kind if is_tar_header(unpacked.read(_BLOCK)) else None
            except GanMetricsError:
                raise
            except (OSError, *_BROKEN):
                return kind  # the reader reports the error
    return None


class ZipSource:
    """The images of a zip archive, sorted by name, read in place.

    Nothing is unpacked to the disk, and names are only names. The checksum of a member is checked
    at every read.

    Args:
        place: The archive.

    Attributes:
        description: Its path.
        names: Names of the images in it, sorted by their bytes.
        warnings: A pair ``("other-files", message)`` if it contains other files.

    Raises:
        InputError: If it is broken or encrypted, or contains no image.
        ResourceError: If the network fails.
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        self.description = place.url
        try:
            with place.open() as file, zipfile.ZipFile(file) as archive:
                members = {info.filename: info for info in archive.infolist()}
        except GanMetricsError:
            raise
        except (OSError, *_BROKEN) as error:
            raise _unreadable(place, error) from None
        listing = Listing(place.url)
        found = {
            name: info
            for name, info in members.items()
            if not info.is_dir() and listing.takes(name)
        }
        if not found:
            raise listing.nothing_found()
        if locked := [name for name, info in found.items() if info.flag_bits & 1]:
            raise InputError(
                f"{place.url} is encrypted ({locked[0]!r}); unpack it into a folder first"
            )
        self.names = sorted(found, key=_as_bytes)
        self.warnings = listing.warnings
        # A million entries of zipfile need half a gigabyte, their numbers a tenth of that.
        facts = operator.attrgetter(*_FACTS)
        try:
            self._facts = np.array([facts(found[name]) for name in self.names], np.int64)
        except OverflowError as error:  # impossible sizes
            raise _unreadable(place, error) from None
        # The header has another name if a name contains NUL or is stored in an extra field.
        self._written = {
            name: found[name].orig_filename
            for name in self.names
            if found[name].orig_filename != name
        }
        self._open: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _open=None)

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        info = self._entry(index)
        if info.file_size > _LARGEST:
            raise ImageError(f"it claims {info.file_size} bytes, too many for an image")
        try:
            opened = self._opened()
            with opened.lock:
                member = opened.archive.open(info)
            try:
                return member.read()
            finally:
                with opened.lock:
                    member.close()
        except ResourceError:
            raise
        except InputError as error:  # the archive itself is missing
            raise ImageError(str(error)) from None
        except (OSError, KeyError, *_BROKEN) as error:
            check_files_left(error)
            raise ImageError(f"cannot unpack it: {error}") from None

    def _entry(self, index: int) -> zipfile.ZipInfo:
        name = self.names[index]
        info = zipfile.ZipInfo(name)
        info.orig_filename = self._written.get(name, name)
        for fact, value in zip(_FACTS, self._facts[index].tolist(), strict=True):
            setattr(info, fact, value)
        return info

    def _opened(self) -> _Opened:
        """Return the archive opened by this process; processes must not share a file position."""
        found = self._open
        if found is None or found.process != os.getpid():
            archive = zipfile.ZipFile(self._place.open())
            archive.filelist.clear()  # entries are passed explicitly
            archive.NameToInfo.clear()
            found = self._open = _Opened(os.getpid(), archive)
        return found


@dataclass(frozen=True)
class _Opened:
    """An open archive with a lock, because its count of open members is not thread-safe."""

    process: int
    archive: zipfile.ZipFile
    lock: threading.Lock = field(default_factory=threading.Lock)


class TarSource:
    """The images of a tar archive, sorted by name, read in place.

    A compressed archive is first unpacked into a temporary file, deleted with this object.

    Args:
        place: The archive.

    Attributes:
        description: Its path.
        names: Names of the images in it, sorted by their bytes; of repeated names the last one
            counts, as when the archive is unpacked.
        warnings: A pair ``("other-files", message)`` if it contains other files.

    Raises:
        InputError: If it is broken or truncated, unpacks to too many bytes, or has no image.
        ResourceError: If the disk is full, or the network fails.
    """

    def __init__(self, place: Location) -> None:
        self._archive, self._place = place, place
        self._unpacked: Temporary | None = None
        self.description = place.url
        self._places: dict[str, tuple[int, int]] = {}
        listing = Listing(place.url)
        try:
            kind = archive_kind(place)
            if kind in _READERS:
                self._unpacked = _unpacked(place, str(kind))
                self._place = Location(str(self._unpacked.path))
            with self._place.open() as file:
                self._look_up(file, listing)
        except GanMetricsError:
            raise
        except (OSError, *_BROKEN) as error:
            raise _unreadable(place, error) from None
        if not self._places:
            raise listing.nothing_found()
        self.names = sorted(self._places, key=_as_bytes)
        self.warnings = listing.warnings

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._unpacked is not None and not self._unpacked.path.exists():  # another machine
            self.__init__(self._archive)  # type: ignore[misc]

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        start, size = self._places[self.names[index]]
        if size > _LARGEST:
            raise ImageError(f"it claims {size} bytes, too many for an image")
        try:
            data = self._place.read(start, size)
        except InputError as error:
            raise ImageError(str(error)) from None
        if len(data) < size:
            raise ImageError(f"it is truncated: {len(data)} of {size} bytes")
        return data

    def _look_up(self, file: BinaryIO, listing: Listing) -> None:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # to save memory
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    listing.others["links and devices"] += 1
                elif listing.takes(name):
                    listing.others["earlier versions"] += name in self._places
                    self._places[name] = (member.offset_data, member.size)
            listing.others = +listing.others
            end = archive.offset
        # tarfile treats a broken header and a truncated file like the end of the archive.
        file.seek(end)
        block = file.read(_BLOCK)
        if block.strip(b"\0") or len(block) < _BLOCK:
            raise tarfile.ReadError(f"no end mark at byte {end}")
        if file.read(_BLOCK * 40).strip(b"\0"):
            raise tarfile.ReadError(f"there is data after its end at byte {end}")


def _unpacked(place: Location, kind: str) -> Temporary:
    """Return the archive without its compression, as a temporary file."""
    most = _RATIO * place.size() + _FREE
    found = Temporary("unpacked.tar")
    with place.open() as file, _READERS[kind](file) as packed, found.create() as out:
        done = 0
        while data := packed.read(_PIECE):
            done += len(data)
            if done > most:
                raise InputError(
                    f"{place.url} unpacks to more than {most} bytes, {_RATIO} times its size; "
                    "if this is right, unpack it yourself"
                )
            try:
                out.write(data)
            except OSError as error:
                raise no_room(error) from None
    return found


def _unreadable(place: Location, error: Exception) -> InputError:
    return InputError(
        f"{place.url} is broken or truncated ({type(error).__name__}: {error}); get it again"
    )


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
