"""Images that are there as objects: arrays, tensors, Pillow's, and datasets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.spool import Spool
from gan_metrics.images.encode import file_of
from gan_metrics.images.netpbm import netpbm
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.images.sources.folder import read_file

__all__ = ["KEYS", "DatasetSource", "IteratedSource", "encoded", "image_of", "is_dataset"]

KEYS = ("image", "images", "img", "pixel_values")
"""Where a sample that is a mapping has its image."""


def is_dataset(given: object) -> bool:
    """Whether something has a length and gives samples by their number."""
    return hasattr(given, "__getitem__") and hasattr(given, "__len__")


class DatasetSource:
    """The images of a sequence or of a map-style dataset, asked for when they are needed.

    Args:
        data: Gives samples by number: an image, a tuple that begins with one, or a mapping that has
            one as ``image``, ``img`` or ``pixel_values``. An image is Pillow's; ``uint8``, H × W ×
            3, H × W × 1 or H × W, or a tensor 3 × H × W or 1 × H × W; or its encoded bytes.
        description: What it is, for a person.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: None.

    Raises:
        InputError: When it is empty, or its first sample has no such image.
    """

    warnings = ()

    def __init__(self, data: Sequence[Any], description: str = "") -> None:
        self._data = data
        self.description = description or f"the {type(data).__name__}"
        n = len(data)
        if not n:
            raise InputError(f"{self.description} is empty")
        self.names = numbered(n)
        encoded(data[0], self.description)  # what is wrong with all of them is said now

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        try:
            return encoded(self._data[index], self.description)
        except InputError as error:
            raise ImageError(str(error)) from None
        except Exception as error:  # the user's code may raise anything
            raise ImageError(f"{type(error).__name__}: {error}") from None


class IteratedSource:
    """The images of what can be gone through once: they are kept in a temporary file.

    Args:
        data: Gives samples as :class:`DatasetSource` takes them, or batches of them: tensors N × 3
            × H × W, alone, first in a tuple, or in a mapping.
        description: What it is, for a person.
        most: Take so many images at most.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: None.

    Raises:
        InputError: When there is none, or a sample is no image.
        ResourceError: When the disk is full.
    """

    warnings = ()

    def __init__(self, data: Iterable[Any], description: str = "", most: int | None = None) -> None:
        self.description = description or f"the {type(data).__name__}"
        self._spool = Spool()
        for sample in data:
            for one in _samples(sample):
                if most is None or len(self._spool) < most:
                    self._spool.add(encoded(one, self.description))
            if most is not None and len(self._spool) >= most:
                break
        self._spool.close()
        if not len(self._spool):
            raise InputError(f"{self.description} gives no image")
        self.names = numbered(len(self._spool))

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        return self._spool.read(index)


def _samples(given: Any) -> Iterable[Any]:
    """The samples of a batch; a sample by itself is one."""
    image = image_of(given)
    return list(image) if getattr(image, "ndim", 0) == 4 else [image]


def image_of(sample: Any) -> Any:
    """The image of a sample, or those of a batch: first in a tuple, or in a mapping by its name."""
    if isinstance(sample, Mapping):
        return next((sample[key] for key in KEYS if key in sample), sample)
    return sample[0] if isinstance(sample, tuple | list) and len(sample) else sample


def encoded(sample: object, whose: str) -> bytes:
    """The image of a sample as a file, without loss.

    Args:
        sample: See :class:`DatasetSource`.
        whose: For the error.

    Raises:
        InputError: When it is none.
    """
    image = image_of(sample)
    if isinstance(image, Mapping) and {"bytes", "path"} <= set(image):  # of Hugging Face's library
        image = image["bytes"] or (image["path"] and read_file(Path(image["path"])))
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if (file := file_of(image)) is not None:
        return file
    tensor = hasattr(image, "detach")
    if tensor:
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"{whose} gives {type(image).__name__}; expected an image of Pillow's, an array or "
            "tensor of uint8, or encoded bytes, alone or first in a tuple"
        )
    return netpbm(_pixels(image, whose, tensor))


def _pixels(array: np.ndarray, whose: str, tensor: bool) -> np.ndarray:
    """H × W × C of one image."""
    if array.ndim < 2:
        raise InputError(
            f"{whose} gives arrays of shape {array.shape}, which are no images; features go into "
            "gan_metrics.Features(names, array, spec), or to the functions of gan_metrics.metrics"
        )
    if array.dtype != np.uint8:
        low, high = (float(f(array)) for f in (np.min, np.max)) if array.size else (0.0, 0.0)
        raise InputError(
            f"{whose} gives images of {array.dtype} with values from {low:g} to {high:g}; expected "
            "uint8, 0–255: they are what is saved and shown, so convert them as your tool does"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and (tensor or array.shape[2] not in (1, 3)) and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise InputError(f"{whose} gives an array of shape {array.shape}; expected H × W × 3")
    return np.ascontiguousarray(array)
