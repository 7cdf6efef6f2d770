"""Images in a store that fsspec reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gan_metrics.errors import ImageError, InputError
from gan_metrics.images.sources.file_names import Listing
from gan_metrics.images.sources.location import Location

__all__ = ["RemoteFiles", "remote_folder"]


class RemoteFiles:
    """Remote image files, each asked for when it is needed.

    A network that gives out ends the run: it does not make an image a broken one.

    Args:
        description: What they are together.
        places: Name of an image to where it is.
        warnings: Pairs of a code and a message.

    Attributes:
        names: Sorted by their bytes.
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
        """The bytes of one image; see :meth:`ImageSource.read`."""
        place = self._places[index]
        try:
            return place.read()
        except InputError as error:  # it was there when it was listed
            raise ImageError(str(error)) from None


def remote_folder(place: Location, *, recursive: bool = True) -> RemoteFiles:
    """Every file below a remote folder whose extension is that of an image.

    Args:
        place: The folder.
        recursive: Whether folders below are entered.

    Returns:
        The files, named by their paths in the folder, with ``/``.

    Raises:
        InputError: When it is not there or holds no image.
        ResourceError: When the network gives out.
    """
    listing = Listing(place.url)
    names = [name for name in place.files() if recursive or "/" not in name]
    found = {name: place.below(name) for name in names if listing.takes(name)}
    if not found:
        raise listing.nothing_found()
    return RemoteFiles(place.url, found, listing.warnings)
