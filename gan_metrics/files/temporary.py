"""A temporary file that is deleted with the object that holds it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from gan_metrics.errors import ResourceError

__all__ = ["Temporary", "check_files_left", "no_room"]


class Temporary:
    """A path in a temporary folder, which is deleted with this object.

    A copy of this object in another process uses the path, but does not delete it.

    Args:
        name: Name of the file.

    Attributes:
        path: Path of the file, which may not exist yet.

    Raises:
        ResourceError: If the folder cannot be made.
    """

    def __init__(self, name: str) -> None:
        try:
            folder = tempfile.mkdtemp(prefix="gan-metrics-")
        except OSError as error:
            raise no_room(error) from None
        self.path = Path(folder) / name
        self._remove = weakref.finalize(self, _remove, folder, os.getpid())

    def create(self) -> BinaryIO:
        """Create the file and open it for writing.

        Raises:
            ResourceError: If it cannot be created.
        """
        try:
            return open(self.path, "wb")
        except OSError as error:
            raise no_room(error) from None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


def no_room(error: OSError) -> ResourceError:
    """Return the error for a temporary folder that cannot be written."""
    return ResourceError(
        f"cannot store the images in {tempfile.gettempdir()}: {error.strerror or error}; set "
        "TMPDIR to a larger disk"
    )


def check_files_left(error: Exception) -> None:
    """Raise if a file could not be opened because too many files are open.

    Raises:
        ResourceError: If the limit of open files is reached, so the image is not broken.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise ResourceError(
            f"{error.strerror}: raise the limit (ulimit -n), or use fewer --workers"
        ) from None


def _remove(folder: str, owner: int) -> None:
    """Delete a folder, unless this is a forked process and not the owner."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
