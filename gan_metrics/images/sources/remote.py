"""A folder of images in a store that fsspec reaches."""

from __future__ import annotations

from gan_metrics.errors import ImageError, InputError
from gan_metrics.images.sources.listing import Listing
from gan_metrics.images.sources.places import Place

__all__ = ["RemoteFolder"]


class RemoteFolder:
    """Every file below a remote folder whose extension is that of an image.

    Each image is asked for when it is needed. A network that gives out ends the run: it does not
    make an image a broken one.

    Args:
        place: The folder.
        recursive: Whether folders below are entered.

    Attributes:
        description: Its URL.
        names: Relative to it, with ``/``, sorted by their bytes.
        warnings: A pair ``("other-files", message)`` if there were files that are not taken.

    Raises:
        InputError: When it is not there or holds no image.
        ResourceError: When the network gives out.
    """

    def __init__(self, place: Place, *, recursive: bool = True) -> None:
        self._place, self.description = place, place.url
        listing = Listing(place.url)
        names = [name for name in place.files() if recursive or "/" not in name]
        self.names = sorted(filter(listing.takes, names), key=str.encode)
        self.warnings = listing.warnings
        if not self.names:
            raise listing.nothing_found()

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        try:
            return self._place.below(self.names[index]).read()
        except InputError as error:  # it was there when the folder was listed
            raise ImageError(str(error)) from None
