"""Pieces of bytes in a temporary file, for sources that can be read only once or in order."""

from __future__ import annotations

from typing import Any

from gan_metrics.errors import ImageError
from gan_metrics.files.temporary import Temporary, check_files_left, no_room

__all__ = ["Spool"]


class Spool:
    """Pieces of bytes, written in order and read in any order by threads and processes.

    The file is deleted with the object that made it; a copy in another process reads it by path.

    Raises:
        ResourceError: If the disk is full.
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
        """Flush everything to the disk; nothing can be added afterwards."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise no_room(error) from None
            self._file = None

    def read(self, index: int) -> bytes:
        """Return one piece.

        Raises:
            ImageError: If the file was deleted or truncated.
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
            raise ImageError(f"cannot read it: {error.strerror or error}") from None
        if len(piece) < end - start:
            raise ImageError(f"it is truncated: {len(piece)} of {end - start} bytes")
        return piece
