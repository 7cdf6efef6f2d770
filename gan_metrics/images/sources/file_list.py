"""Files that a text or a table lists, or that a pattern names."""

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
"""Of a table, those that may hold the paths."""


class FilesSource:
    """Image files in the order in which they are given.

    Args:
        description: What they are together.
        root: The folder that relative paths begin at.
        names: Their paths.

    Attributes:
        names: The same.
        warnings: None.

    Raises:
        InputError: When a path is there twice, or there is none.
    """

    warnings = ()

    def __init__(self, description: str, root: Path, names: Sequence[str]) -> None:
        self.description, self._root, self.names = description, root, list(names)
        if not self.names:
            raise InputError(f"{description} names no image")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f"{description} names {twice!r} twice; an image counts once")

    def read(self, index: int) -> bytes:
        """The bytes of one file; see :meth:`ImageSource.read`."""
        return read_file(self._root / self.names[index])


def list_files(path: Path) -> FilesSource:
    """The images that a text names line by line, or a table in a column.

    Args:
        path: A text (lines that are empty or begin with ``#`` are left out), or a ``.csv`` or
            ``.tsv`` whose first line names its columns. Paths are relative to its folder.

    Raises:
        InputError: When it cannot be read, has no such column, or names no image.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise unreadable(path, error) from None
    if "\0" in text:
        raise InputError(f"{path} is no text, and so no list of images")
    if path.suffix.lower() not in (".csv", ".tsv"):
        lines = (line.strip("\r") for line in text.split("\n"))
        names = [line for line in lines if line.strip() and not line.startswith("#")]
        return FilesSource(str(path), path.parent, names)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is no table: {error}") from None
    header = list(rows[0]) if rows else []
    column = next((name for name in COLUMNS if name in header), None)
    if column is None:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, header)) or 'none'}; expected one named "
            f"{', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}"
        )
    if empty := next((i for i, row in enumerate(rows, 2) if not row[column]), None):
        raise InputError(f"{path}, line {empty}: there is no {column}")
    return FilesSource(str(path), path.parent, [row[column] for row in rows])


def matches(pattern: str) -> list[str]:
    """What a pattern with ``*``, ``?``, ``[…]`` or ``**`` names, sorted by bytes."""
    return sorted(glob.glob(pattern, recursive=True), key=os.fsencode)
