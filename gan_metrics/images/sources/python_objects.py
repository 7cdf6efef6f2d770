"""Images in Python objects: arrays, tensors, Pillow images, and datasets and loaders of them."""

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
"""Bytes of values that are checked at a time."""


def is_dataset(given: object) -> bool:
    """Whether an object has a length and returns samples by number."""
    return hasattr(given, "__getitem__") and hasattr(given, "__len__")


class ArrayImages:
    """The images of one array or tensor; see :mod:`gan_metrics.images.in_memory`.

    Its values are checked once, before the first image is read.

    Args:
        array: Several images.
        value_range: Values of black and white; ``None``: they are ``uint8``.
        layout: Order of the axes; ``None``: determined from the shape.
        description: Description for messages.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Warnings about values that were clipped, or are all in half of the range.

    Raises:
        InputError: If it does not hold several images, or has values of unknown range.
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
                "for features use gan_metrics.Features(names, array, spec), or the functions of "
                "gan_metrics.metrics"
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
        """Warnings about the values."""
        return self._converter.warnings

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        return image_file(np.asarray(self._converter.map(self._images[index])))


class DatasetSource:
    """The images of a sequence or of a map-style dataset, read when they are needed.

    Samples are read one at a time, even if several threads read images.

    Args:
        data: Returns samples by number; see :mod:`gan_metrics.images.sources.samples`.
        value_range: Values of black and white in arrays; ``None``: they are ``uint8``.
        layout: Order of the axes of arrays; ``None``: determined from their shape.
        description: Description for messages.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Warnings about values that were clipped so far, or are all in half of the range.

    Raises:
        InputError: If it is empty, or its first sample does not have exactly one image.
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
        self._one(data[0])  # report errors of all samples now
        self._reader = self._new_reader()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = ProcessLock()

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings about the values."""
        return self._reader.converter.warnings

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        with self._lock:
            try:
                return self._one(self._data[index])
            except InputError as error:
                raise ImageError(str(error)) from None
            except Exception as error:  # user code may raise anything
                raise ImageError(f"{type(error).__name__}: {error}") from None

    def _new_reader(self) -> SampleReader:
        value_range, layout = self._how
        whose = f"the images of {self.description}"
        return SampleReader(PixelConverter(value_range, whose=whose), layout)

    def _one(self, sample: Any) -> bytes:
        found = list(self._reader.files(sample))
        if len(found) != 1:
            raise InputError(
                f"{self.description} returns {len(found)} images in one sample; expected one image "
                "for each number (only loaders and iterators may return batches)"
            )
        return found[0]


class IteratedSource:
    """The images of an iterable that can be read only once, kept in a temporary file.

    Args:
        data: Yields samples or batches; see :mod:`gan_metrics.images.sources.samples`.
        description: Description for messages.
        most: Most images to read.
        value_range: Values of black and white in arrays; ``None``: they are ``uint8``.
        layout: Order of the axes of arrays; ``None``: determined from their shape.

    Attributes:
        names: ``"000000"``, ``"000001"``, ….
        warnings: Warnings about values that were clipped, or are all in half of the range.

    Raises:
        InputError: If there are no images, or a sample is not an image.
        ResourceError: If the disk is full.
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
            raise InputError(f"{self.description} yields no image")
        self.names = numbered(len(self._spool))
        self.warnings = reader.converter.warnings

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        return self._spool.read(index)
