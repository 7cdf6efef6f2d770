"""Pieces of bytes in a temporary file, for what can be read but once or only from the front."""

from __future__ import annotations

from typing import Any

from gan_metrics.errors import ImageError
from gan_metrics.files.temporary import Temporary, check_files_left, no_room

__all__ = ["Spool"]


class Spool:
    """Pieces that are written one after the other, and read in any order by threads and processes.

    The file goes when the object that made it does; a copy in another process reads it by its path.

    Raises:
        ResourceError: When the disk is full.
    """

    def __init__(self) -> None:
        self._place = Temporary("spool")
        self._ends = [0]
        self._file: Any = self._place.create()

    def __getstate__(self) -> dict[str, Any]:
        self.close()
        return {**vars(self), "_file": None}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise no_room(error) from None
        self._ends.append(self._ends[-1] + len(piece))

    def close(self) -> None:
        """See that all is on the disk; nothing is added after that."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise no_room(error) from None
            self._file = None

    def read(self, index: int) -> bytes:
        """One piece.

        Raises:
            ImageError: When the file is gone or cut off.
        """
        self.close()
        index = range(len(self))[index]
        start, end = self._ends[index : index + 2]
        try:
            with open(self._place.path, "rb") as file:
                file.seek(start)
                piece = file.read(end - start)
        except OSError as error:
            check_files_left(error)
            raise ImageError(f"it cannot be read: {error.strerror or error}") from None
        if len(piece) < end - start:
            raise ImageError(f"it is cut off: {len(piece)} of its {end - start} bytes are there")
        return piece
