"""Encoded images in an LMDB database."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from gan_metrics.errors import ImageError, InputError
from gan_metrics.utils.optional import require

__all__ = ["LmdbSource", "is_lmdb"]

_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6")
"""First bytes of encoded images."""


def is_lmdb(path: Path) -> bool:
    """Whether a path is a database: its folder, or its file."""
    if path.is_dir():
        return (path / "data.mdb").is_file()
    return path.suffix.lower() in (".mdb", ".lmdb")


class LmdbSource:
    """Every entry of a database that starts like an image, sorted by key.

    Args:
        path: Its folder or file.

    Attributes:
        description: The path.
        names: The keys, as text.
        warnings: A pair ``("other-files", message)`` if some entries are not images.

    Raises:
        InputError: If it is broken or contains no image.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.description = path.resolve(), str(path)
        self._keys: list[bytes] = []
        others = 0
        try:
            _check_length(self._path)
            with _opened(self._path, os.getpid()).begin(buffers=True) as transaction:
                for key, value in transaction.cursor():
                    if bytes(value[:4]).startswith(_MAGIC):
                        self._keys.append(bytes(key))
                    else:
                        others += 1
        except Exception as error:  # lmdb has exceptions of its own
            raise InputError(f"{path} is broken or not an LMDB database: {error}") from None
        if not self._keys:
            raise InputError(f"{path} contains no images, but {others} other entries")
        self.names = [key.decode("utf-8", "backslashreplace") for key in self._keys]
        message = f"{path}: {others} entries are not images"
        self.warnings = [("other-files", message)] if others else []

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        key = self._keys[index]
        try:
            with _opened(self._path, os.getpid()).begin() as transaction:
                data = transaction.get(key)
        except Exception as error:  # lmdb has exceptions of its own
            raise ImageError(f"cannot read it: {error}") from None
        if data is None:
            raise ImageError("it was deleted from the database")
        return bytes(data)


def _check_length(path: Path) -> None:
    """Check the file's length, because reading a missing page would crash the process."""
    database = _opened(path, os.getpid())
    needs = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    has = os.path.getsize(path / "data.mdb" if path.is_dir() else path)
    if has < needs:
        raise ValueError(f"it has {has} bytes of {needs}")


@functools.lru_cache(maxsize=16)
def _opened(path: Path, process: int) -> Any:
    """Open a database once per process; it must not be opened twice, nor inherited by a fork."""
    del process
    return require("lmdb", "formats").open(
        os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, create=False
    )
