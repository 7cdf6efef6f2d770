"""Images in a remote folder, read with fsspec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gan_metrics.errors import ImageError, InputError
from gan_metrics.images.sources.file_names import Listing
from gan_metrics.images.sources.location import Location

__all__ = ["RemoteFiles", "remote_folder"]


class RemoteFiles:
    """Remote image files, each read when it is needed.

    A network failure stops the run; it does not count as a broken image.

    Args:
        description: Description of the folder.
        places: Locations by image name.
        warnings: Pairs of a code and a message.

    Attributes:
        names: Names sorted by their bytes.
    """

    def __init__(
        self,
        description: str,
        places: Mapping[str, Location],
        warnings: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.description, self.warnings = description, warnings
        self.names = sorted(places, key=str.encode)
        self._places = [places[name] for name in self.names]

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        place = self._places[index]
        try:
            return place.read()
        except InputError as error:  # it was deleted after it was listed
            raise ImageError(str(error)) from None


def remote_folder(place: Location, *, recursive: bool = True) -> RemoteFiles:
    """Return every file in a remote folder with the extension of an image.

    Args:
        place: The folder.
        recursive: Whether to read subfolders.

    Returns:
        The files, named by their paths in the folder, with ``/``.

    Raises:
        InputError: If it does not exist or contains no image.
        ResourceError: If the network fails.
    """
    listing = Listing(place.url)
    names = [name for name in place.files() if recursive or "/" not in name]
    found = {name: place.child(name) for name in names if listing.takes(name)}
    if not found:
        raise listing.nothing_found()
    return RemoteFiles(place.url, found, listing.warnings)
