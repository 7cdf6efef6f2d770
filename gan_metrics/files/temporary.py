"""A temporary file that goes with the object that holds it."""

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
    """A place for a file in a temporary folder, which is removed with this object.

    A copy of this object in another process knows the path, and removes nothing.

    Args:
        name: Of the file.

    Attributes:
        path: Where it is, or will be.

    Raises:
        ResourceError: When there is no room for a folder.
    """

    def __init__(self, name: str) -> None:
        try:
            folder = tempfile.mkdtemp(prefix="gan-metrics-")
        except OSError as error:
            raise no_room(error) from None
        self.path = Path(folder) / name
        self._remove = weakref.finalize(self, _remove, folder, os.getpid())

    def create(self) -> BinaryIO:
        """The file, to be written.

        Raises:
            ResourceError: When there is no room for it.
        """
        try:
            return open(self.path, "wb")
        except OSError as error:
            raise no_room(error) from None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


def no_room(error: OSError) -> ResourceError:
    """The error where the temporary folder cannot be written to."""
    return ResourceError(
        f"the images do not fit into {tempfile.gettempdir()}: {error.strerror or error}; set "
        "TMPDIR to a larger disk"
    )


def check_files_left(error: Exception) -> None:
    """See that a file could not be opened for its own sake.

    Raises:
        ResourceError: When too many are open already; an image is not broken for that.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise ResourceError(
            f"{error.strerror}: raise the limit (ulimit -n), or use fewer --workers"
        ) from None


def _remove(folder: str, owner: int) -> None:
    """Remove a folder, unless this is a process that was forked off its owner."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
