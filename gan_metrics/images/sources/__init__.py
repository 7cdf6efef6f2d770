"""Where images come from: one module per family, each an :class:`ImageSource`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gan_metrics.errors import InputError
from gan_metrics.images.sources.arrays import EXTENSIONS as ARRAYS
from gan_metrics.images.sources.arrays import ArraySource, is_image_batch
from gan_metrics.images.sources.folder import FolderSource
from gan_metrics.images.sources.generated import Generated
from gan_metrics.images.sources.single import SingleSource, is_image

__all__ = [
    "ArraySource",
    "Generated",
    "ImageSource",
    "SingleSource",
    "is_image",
    "is_image_batch",
    "open_source",
]


class ImageSource(Protocol):
    """A set of encoded images in a stable order.

    Attributes:
        description: What it is, for a person.
        names: The name of each image, unique within the source.
        warnings: Pairs of a code and a message about what was and was not taken.
    """

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def warnings(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image.

        Raises:
            ImageError: When they cannot be read.
        """
        ...


def open_source(path: str | os.PathLike[str], *, recursive: bool = True) -> ImageSource:
    """Open a set of images by looking at what lies at ``path``.

    Args:
        path: A folder of images, or an ``.npy`` or ``.npz`` with a batch of them.
        recursive: Whether to go into the folders below it.

    Raises:
        InputError: When nothing is there, or nothing that holds images.
    """
    location = Path(path)
    try:
        if location.is_dir():
            return FolderSource(location, recursive=recursive)
        exists = location.exists() or location.is_symlink()
    except OSError as error:
        raise InputError(f"{location}: {error.strerror or error}") from None
    if exists and location.suffix.lower() in ARRAYS:  # what is no batch, its error explains
        batch = ArraySource(location)
        batch.prepare()
        return batch
    if exists:
        raise InputError(
            f"{location} is neither a folder or a batch of images (.npz, .npy), nor statistics "
            "(.npz), nor saved features (.npz, .npy, .safetensors, .parquet); give one of these"
        )
    raise InputError(
        f"{location} does not exist; give a folder or a batch of images, saved features, or a "
        ".npz of statistics"
    )
