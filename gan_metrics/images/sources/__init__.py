"""Image sources: one module per kind, each with an :class:`ImageSource`."""

from gan_metrics.images.sources.array_file import ArraySource, is_image_batch
from gan_metrics.images.sources.base import ImageSource
from gan_metrics.images.sources.location import Location, is_remote
from gan_metrics.images.sources.single_file import SingleFileSource, is_image

__all__ = [
    "ArraySource",
    "ImageSource",
    "Location",
    "SingleFileSource",
    "is_image",
    "is_image_batch",
    "is_remote",
]
