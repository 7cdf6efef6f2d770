"""Image files from a text file or table, or from a pattern."""

from __future__ import annotations

import csv
import glob
import io
import os
from collections.abc import Sequence
from pathlib import Path

from gan_metrics.errors import InputError, unreadable
from gan_metrics.images.sources.folder import read_file

__all__ = ["COLUMNS", "EXTENSIONS", "FilesSource", "list_files", "matches"]

EXTENSIONS = frozenset((".csv", ".lst", ".tsv", ".txt"))
"""Lower-case extensions of files that list images."""

COLUMNS = ("path", "file", "file_name", "filename", "image", "name")
"""Names of table columns that can hold paths."""


class FilesSource:
    """Image files in a given order.

    Args:
        description: Description of the list.
        root: The folder of relative paths.
        names: The paths.

    Attributes:
        names: The paths.
        warnings: Always empty.

    Raises:
        InputError: If a path is repeated, or there are no paths.
    """

    warnings = ()

    def __init__(self, description: str, root: Path, names: Sequence[str]) -> None:
        self.description, self._root, self.names = description, root, list(names)
        if not self.names:
            raise InputError(f"{description} contains no image")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f"{description} contains {twice!r} twice; list each image once")

    def read(self, index: int) -> bytes:
        """Return the bytes of one file; see :meth:`ImageSource.read`."""
        return read_file(self._root / self.names[index])


def list_files(path: Path) -> FilesSource:
    """Return the images listed in a text file, line by line, or in a column of a table.

    Args:
        path: A text file (empty lines and lines starting with ``#`` are skipped), or a ``.csv`` or
            ``.tsv`` with a header line. Paths are relative to its folder.

    Raises:
        InputError: If it is unreadable, has no such column, or lists no image.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise unreadable(path, error) from None
    if "\0" in text:
        raise InputError(f"{path} is not text, so it cannot be a list of images")
    if path.suffix.lower() not in (".csv", ".tsv"):
        lines = (line.strip("\r") for line in text.split("\n"))
        names = [line for line in lines if line.strip() and not line.startswith("#")]
        return FilesSource(str(path), path.parent, names)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is not a valid table: {error}") from None
    header = list(rows[0]) if rows else []
    column = next((name for name in COLUMNS if name in header), None)
    if column is None:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, header)) or 'none'}; expected a column "
            f"{', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}"
        )
    if empty := next((i for i, row in enumerate(rows, 2) if not row[column]), None):
        raise InputError(f"{path}, line {empty}: the column {column} is empty")
    return FilesSource(str(path), path.parent, [row[column] for row in rows])


def matches(pattern: str) -> list[str]:
    """Return the files that match a pattern with ``*``, ``?``, ``[…]`` or ``**``, sorted."""
    return sorted(glob.glob(pattern, recursive=True), key=os.fsencode)
