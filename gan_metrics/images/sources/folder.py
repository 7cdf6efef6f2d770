"""A folder of image files, in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.temporary import check_files_left
from gan_metrics.images.sources.file_names import Listing

__all__ = ["FolderSource", "read_file"]


class FolderSource:
    """Every file in a folder with the extension of an image, sorted by relative path.

    Links are followed; a link to a parent folder is not followed twice. Hidden files and folders
    (``.name``) are not images; they and files with other extensions are counted in
    :attr:`warnings`.

    Args:
        root: The folder.
        recursive: Whether to read subfolders.

    Attributes:
        description: The folder's path.
        names: Paths relative to ``root``, with ``/``, sorted by their bytes.
        warnings: A pair ``("other-files", message)`` if there are other files.

    Raises:
        InputError: If the folder cannot be listed or contains no image.
    """

    def __init__(self, root: Path, *, recursive: bool = True) -> None:
        self.root = root
        self.description = str(root)
        listing = Listing(str(root))
        self._unentered = 0
        found: list[str] = []
        self._list("", found, frozenset(), recursive, listing)
        self.names = sorted(found, key=os.fsencode)
        if not self.names:
            unentered = f"{self._unentered} subfolders were not read (--no-recursive)"
            raise listing.nothing_found(unentered if self._unentered else "")
        self.warnings = listing.warnings

    def read(self, index: int) -> bytes:
        """Return the bytes of one file; see :meth:`ImageSource.read`."""
        return read_file(os.path.join(self.root, self.names[index]))

    def _list(
        self,
        prefix: str,
        found: list[str],
        above: frozenset[tuple[int, int]],
        recursive: bool,
        listing: Listing,
    ) -> None:
        folder = self.root / prefix
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise InputError(f"cannot list {folder}: {error.strerror or error}") from None
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        for entry in entries:
            name = prefix + entry.name
            if not entry.name.startswith(".") and _is_folder(entry):
                if recursive:
                    self._list(name + "/", found, above | {here}, recursive, listing)
                else:
                    self._unentered += 1
            elif listing.takes(entry.name):
                found.append(name)


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        ImageError: If it is not a regular file, or cannot be read.
    """
    try:
        file = os.open(path, _TO_READ)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("it is not a regular file")
            parts = [os.read(file, status.st_size + 1)]
            while parts[-1] and sum(map(len, parts)) != status.st_size:
                parts.append(os.read(file, 1 << 20))
        finally:
            os.close(file)
    except OSError as error:
        check_files_left(error)
        raise ImageError(f"cannot read it: {error.strerror or error}") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


_TO_READ = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would block
)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a broken link: reading it reports the error
        return False
