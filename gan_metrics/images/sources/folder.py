"""A folder of image files, in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from gan_metrics.errors import ImageError, InputError
from gan_metrics.images.decode import EXTENSIONS

__all__ = ["FolderSource", "read_file"]


class FolderSource:
    """Every file below a folder whose extension is that of an image, sorted by relative path.

    Links are followed; a link that leads back to a folder above itself is not entered again.
    Hidden files and folders (``.name``) are not images; they and files with other extensions are
    counted in :attr:`warnings`.

    Args:
        root: The folder.
        recursive: Whether to go into the folders below it.

    Attributes:
        description: The folder's path.
        names: Paths relative to ``root``, with ``/``, sorted by their bytes.
        warnings: A pair ``("other-files", message)`` if there were files that are not taken.

    Raises:
        InputError: When the folder cannot be listed or holds no image.
    """

    def __init__(self, root: Path, *, recursive: bool = True) -> None:
        self.root = root
        self.description = str(root)
        self._others: Counter[str] = Counter()
        self._unentered = 0
        found: list[str] = []
        self._list("", found, frozenset(), recursive)
        self.names = sorted(found, key=os.fsencode)
        if not self.names:
            raise InputError(self._nothing_found())
        self.warnings = (
            [("other-files", f"{self.root}: not taken for images: {self._seen()}")]
            if self._others
            else []
        )

    def read(self, index: int) -> bytes:
        """The bytes of one file; see :meth:`ImageSource.read`."""
        return read_file(self.root / self.names[index])

    def _list(
        self, prefix: str, found: list[str], above: frozenset[tuple[int, int]], recursive: bool
    ) -> None:
        folder = self.root / prefix
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise InputError(f"{folder} cannot be listed: {error.strerror or error}") from None
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith("."):
                self._others["hidden"] += 1
            elif _is_folder(entry):
                if recursive:
                    self._list(name + "/", found, above | {here}, recursive)
                else:
                    self._unentered += 1
            elif (extension := os.path.splitext(entry.name)[1].lower()) in EXTENSIONS:
                found.append(name)
            else:
                self._others[extension or "no extension"] += 1

    def _seen(self) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in self._others.most_common(8))

    def _nothing_found(self) -> str:
        if not self._others and not self._unentered:
            return f"{self.root} is empty; expected a folder of images"
        seen = [f"it holds {self._seen()}"] if self._others else []
        if self._unentered:
            seen.append(f"{self._unentered} folders were not entered (--no-recursive)")
        return (
            f"{self.root} holds no images: {'; '.join(seen)}. "
            f"Taken for images are {' '.join(sorted(EXTENSIONS))}"
        )


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        ImageError: When it is none, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer
            raise ImageError("it is not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"it cannot be read: {error.strerror or error}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or out of bounds: reading it will say so, by its name
        return False
