"""A single image file as a source."""

from __future__ import annotations

import os
from pathlib import Path

from gan_metrics.errors import NotFoundError
from gan_metrics.images.sources.file_names import is_image_name
from gan_metrics.images.sources.folder import read_file

__all__ = ["SingleFileSource", "is_image"]


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the extension of an image and is not a folder."""
    return is_image_name(os.fspath(path)) and not os.path.isdir(path)


class SingleFileSource:
    """A set of one image.

    Args:
        path: The file.

    Attributes:
        description: The folder of the file.
        names: Its name.
        warnings: Always empty.

    Raises:
        NotFoundError: If it does not exist.
    """

    warnings = ()

    def __init__(self, path: Path) -> None:
        if not os.path.lexists(path):
            raise NotFoundError(f"{path} does not exist")
        self._path = path
        self.description = str(path.parent)
        self.names = [path.name]

    def read(self, index: int) -> bytes:
        """Return the bytes of the file; see :meth:`ImageSource.read`."""
        del index
        return read_file(self._path)
