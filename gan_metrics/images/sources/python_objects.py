"""Images that are there as objects: arrays, tensors, Pillow's, and datasets and loaders of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.files.spool import Spool
from gan_metrics.images.in_memory import PixelConverter, batch_arrangement, channels_first
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.images.sources.samples import SampleReader, image_file, on_host
from gan_metrics.utils.array_types import AnyArray

__all__ = ["ArrayImages", "DatasetSource", "IteratedSource", "is_dataset"]

_CHECKED = 1 << 26
"""Bytes of an array whose values are checked at once."""


def is_dataset(given: object) -> bool:
    """Whether something has a length and gives samples by their number."""
    return hasattr(given, "__getitem__") and hasattr(given, "__len__")


class ArrayImages:
    """The images of one array or tensor; see :mod:`gan_metrics.images.in_memory`.

    Its values are checked once, before the first image is read.

    Args:
        array: Several images.
        value_range: The values that are black and white; ``None``: they are ``uint8``.
        layout: The order of the axes; ``None``: by the shape.
        description: What it is, for a person.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Of values that were clipped, or are all in half of the range.

    Raises:
        InputError: When it holds no images, one image, or values of unknown range.
    """

    def __init__(
        self,
        array: AnyArray,
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
        description: str = "",
    ) -> None:
        self.description = description or f"the {type(array).__name__}"
        images = on_host(array)
        if images.ndim < 3:
            raise InputError(
                f"{self.description} has the shape {images.shape}, which is not a set of images; "
                "features go into gan_metrics.Features(names, array, spec), or to the functions "
                "of gan_metrics.metrics"
            )
        whose = f"the images of {self.description}"
        found = batch_arrangement(images.shape, whose, layout)
        self._images = channels_first(images, found)
        self._converter = PixelConverter(value_range, whose=whose)
        step = max(1, _CHECKED // max(1, self._images[0].nbytes))
        for start in range(0, found.n, step):
            self._converter.check(self._images[start : start + step], start)
        self.names = numbered(found.n)

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Those of the values."""
        return self._converter.warnings

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        return image_file(np.asarray(self._converter.map(self._images[index])))


class DatasetSource:
    """The images of a sequence or of a map-style dataset, asked for when they are needed.

    The dataset is asked for one sample at a time, also where several threads read.

    Args:
        data: Gives samples by number; see :mod:`gan_metrics.images.sources.samples`.
        value_range: The values of arrays that are black and white; ``None``: they are ``uint8``.
        layout: The order of the axes of arrays; ``None``: by their shape.
        description: What it is, for a person.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Of values that were clipped so far, or are all in half of the range.

    Raises:
        InputError: When it is empty, or its first sample has no image or several.
    """

    def __init__(
        self,
        data: Sequence[Any],
        description: str = "",
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> None:
        self._data = data
        self.description = description or f"the {type(data).__name__}"
        n = len(data)
        if not n:
            raise InputError(f"{self.description} is empty")
        self.names = numbered(n)
        self._lock = ProcessLock()
        self._how = (value_range, layout)
        self._reader = self._new_reader()
        self._one(data[0])  # what is wrong with all of them is said now
        self._reader = self._new_reader()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = ProcessLock()

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Those of the values."""
        return self._reader.converter.warnings

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        with self._lock:
            try:
                return self._one(self._data[index])
            except InputError as error:
                raise ImageError(str(error)) from None
            except Exception as error:  # the user's code may raise anything
                raise ImageError(f"{type(error).__name__}: {error}") from None

    def _new_reader(self) -> SampleReader:
        value_range, layout = self._how
        whose = f"the images of {self.description}"
        return SampleReader(PixelConverter(value_range, whose=whose), layout)

    def _one(self, sample: Any) -> bytes:
        found = list(self._reader.files(sample))
        if len(found) != 1:
            raise InputError(
                f"{self.description} gives {len(found)} images in one sample; a loader or an "
                "iterator gives batches, a dataset one image for each number"
            )
        return found[0]


class IteratedSource:
    """The images of what can be gone through once: they are kept in a temporary file.

    Args:
        data: Gives samples or batches; see :mod:`gan_metrics.images.sources.samples`.
        description: What it is, for a person.
        most: Take so many images at most.
        value_range: The values of arrays that are black and white; ``None``: they are ``uint8``.
        layout: The order of the axes of arrays; ``None``: by their shape.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Of values that were clipped, or are all in half of the range.

    Raises:
        InputError: When there is none, or a sample is no image.
        ResourceError: When the disk is full.
    """

    def __init__(
        self,
        data: Iterable[Any],
        description: str = "",
        most: int | None = None,
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> None:
        self.description = description or f"the {type(data).__name__}"
        whose = f"the images of {self.description}"
        reader = SampleReader(PixelConverter(value_range, whose=whose), layout)
        self._spool = Spool()
        for sample in data:
            for file in reader.files(sample):
                if most is None or len(self._spool) < most:
                    self._spool.add(file)
            if most is not None and len(self._spool) >= most:
                break
        self._spool.close()
        if not len(self._spool):
            raise InputError(f"{self.description} gives no image")
        self.names = numbered(len(self._spool))
        self.warnings = reader.converter.warnings

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        return self._spool.read(index)
