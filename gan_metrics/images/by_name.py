"""Read images of a source by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError
from gan_metrics.images.pipeline import load_image
from gan_metrics.images.sources import ImageSource
from gan_metrics.protocols.spec import Decoding

__all__ = ["images_by_name"]


def images_by_name(
    source: ImageSource, names: Iterable[str], decoding: Decoding
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode some images of a source, one by one.

    Args:
        source: The images.
        names: Names of the images to decode.
        decoding: Handling of alpha and orientation.

    Yields:
        ``uint8``, 3 × H × W, in the order of the names.

    Raises:
        ImageError: If an image cannot be decoded.
    """
    places = {name: i for i, name in enumerate(source.names)}
    for name in names:
        image = load_image(source, places[name], decoding)
        if image.pixels is None:
            raise ImageError(str(image.failure))
        yield image.pixels
