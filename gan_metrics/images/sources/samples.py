"""Find the images in a sample of a dataset, loader or generator: one image, or a batch.

==========================================  ===================================================
sample                                      its images
==========================================  ===================================================
a Pillow image, encoded bytes               the image itself
an array or a tensor                        see :mod:`gan_metrics.images.in_memory`
a mapping with ``image``, ``images``,       those of that value
``img`` or ``pixel_values``
an object with ``images``                   those of that attribute, as in diffusers' pipelines
a list or a tuple of images                 each of them
a list or a tuple that begins with images   those of its first member; labels follow them
==========================================  ===================================================

Ambiguous samples, such as a pair of two batches, are errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError
from gan_metrics.images.decode import decode
from gan_metrics.images.encode import file_of, is_pillow, rgba_file
from gan_metrics.images.in_memory import (
    CHANNELS,
    PixelConverter,
    channels_first,
    sample_arrangement,
)
from gan_metrics.images.netpbm import netpbm
from gan_metrics.images.sources.folder import read_file
from gan_metrics.protocols.spec import Decoding
from gan_metrics.utils.array_types import AnyArray

__all__ = ["KEYS", "SampleReader", "holds_batch", "image_file", "on_host"]

KEYS = ("image", "images", "img", "pixel_values")
"""Keys of the image in a sample that is a mapping."""

_ENCODED = {"bytes", "path"}
"""Keys of an encoded image in Hugging Face's ``datasets``."""

_EXPECTED = (
    "expected Pillow images, encoded bytes, arrays or tensors, a list of these, (images, "
    f"labels), or a mapping with {', '.join(map(repr, KEYS[:-1]))} or {KEYS[-1]!r}"
)


class SampleReader:
    """Finds the images in samples, and encodes them as files without loss.

    Args:
        converter: Converts the values of arrays to ``uint8``.
        layout: Order of the axes of arrays, one of
            :data:`~gan_metrics.protocols.spec.LAYOUTS`; ``None``: determined from their shape. The
            reading of the first array with three axes applies to all later ones.
    """

    def __init__(self, converter: PixelConverter, layout: str | None = None) -> None:
        self.converter, self.layout = converter, layout
        self._gray_batches: bool | None = None

    def files(self, sample: Any) -> Iterator[bytes]:
        """Yield each image of a sample as an encoded file.

        Raises:
            InputError: If it contains something other than images.
        """
        for one in self.parts(sample):
            if isinstance(one, bytes):
                yield one
            elif (file := file_of(one)) is not None:
                yield file
            else:
                pixels = self.converter.convert(on_host(one))
                for image in pixels:
                    yield image_file(image)

    def batch(self, sample: Any) -> AnyArray:
        """Return the images of a sample as one array N × C × H × W, with unchanged values.

        Returns:
            A tensor on its device if the sample contains one; otherwise a NumPy array.

        Raises:
            InputError: If it contains something other than images, or images of several sizes.
        """
        parts = [self._as_array(one) for one in self.parts(sample)]
        if len(parts) == 1:
            return parts[0]
        shapes = sorted({tuple(one.shape[1:]) for one in parts})
        if len(shapes) > 1:
            a, b = ("×".join(map(str, shape)) for shape in shapes[:2])
            raise InputError(
                f"{self.converter.whose} have the shapes {a} and {b} in one list; expected one"
            )
        if any(hasattr(one, "detach") for one in parts):
            import torch

            return torch.cat([torch.as_tensor(one) for one in parts])
        return np.concatenate(parts)

    def parts(self, sample: Any) -> list[Any]:
        """Return the images of a sample: Pillow images, bytes, and arrays N × C × H × W.

        Raises:
            InputError: If it contains something other than images.
        """
        if isinstance(sample, bytes | bytearray | memoryview):
            return [bytes(sample)]
        if is_pillow(sample):
            return [sample]
        if _is_array(sample):
            return [self._arranged(sample)]
        if isinstance(sample, Mapping):
            return self._of_mapping(sample)
        if isinstance(sample, list | tuple):
            return self._of_sequence(sample)
        if hasattr(sample, "images"):
            return self.parts(sample.images)
        raise InputError(f"{self.converter.whose} are {_named(sample)}; {_EXPECTED}")

    def _of_mapping(self, sample: Mapping[Any, Any]) -> list[Any]:
        if set(sample) >= _ENCODED:
            data = sample["bytes"] or (sample["path"] and read_file(Path(sample["path"])))
            if isinstance(data, bytes):
                return [data]
        for key in KEYS:
            if key in sample:
                return self.parts(sample[key])
        raise InputError(f"{self.converter.whose} are {_named(sample)}; {_EXPECTED}")

    def _of_sequence(self, sample: list[Any] | tuple[Any, ...]) -> list[Any]:
        if sample and all(map(_is_image, sample)) and _of_one_kind(sample):
            return [part for one in sample for part in self.parts(one)]
        if not sample or not _holds_images(sample[0]):
            raise InputError(f"{self.converter.whose} are {_named(sample)}; {_EXPECTED}")
        others = [one for one in sample[1:] if _holds_images(one) and _axes(one) != 2]
        if others:
            raise InputError(
                f"{self.converter.whose} are {_named(sample)}, which is ambiguous; give only the "
                "images, or a mapping with 'image'"
            )
        return self.parts(sample[0])

    def _arranged(self, array: AnyArray) -> AnyArray:
        """Return an array as N × C × H × W."""
        array = array.detach() if hasattr(array, "detach") else array
        whose, shape = self.converter.whose, tuple(array.shape)
        if len(shape) < 2:
            raise InputError(
                f"{whose} are arrays of shape {shape}, which cannot be images; for features use "
                "gan_metrics.Features(names, array, spec), or to the functions of "
                "gan_metrics.metrics"
            )
        layout = "NHW" if self._gray_batches and len(shape) == 3 else self.layout
        found = sample_arrangement(shape, whose, layout)
        if len(shape) == 3:
            gray = found.layout == "NHW"
            if self._gray_batches is False and gray:
                raise InputError(
                    f"{whose} have the shape {shape}, a batch of gray images, but earlier ones "
                    "were single images; declare layout='NHW' (--layout NHW)"
                )
            self._gray_batches = gray
        return channels_first(array, found)

    def _as_array(self, part: Any) -> AnyArray:
        """Return a part of a sample as an array N × C × H × W."""
        if isinstance(part, bytes):
            return decode(part, Decoding())[0][None]
        if is_pillow(part):
            if part.mode not in ("RGB", "L"):
                raise InputError(
                    f"{self.converter.whose} are Pillow images of mode {part.mode}; expected RGB "
                    "or L: image.convert('RGB')"
                )
            return self._arranged(np.asarray(part))
        return part


def image_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode an image as a file: PPM, PGM if it is gray, PNG if it has an alpha channel.

    Args:
        pixels: ``uint8``, C × H × W with 1, 3 or 4 channels.
    """
    last = np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    if last.shape[2] != 4:
        return netpbm(last)
    return rgba_file(last)


def on_host(array: AnyArray) -> npt.NDArray[Any]:
    """Return an array or a tensor as a NumPy array; bfloat16, missing in NumPy, as float32."""
    if not hasattr(array, "detach"):
        return np.asarray(array)
    array = array.cpu()
    short = str(array.dtype) == "torch.bfloat16"
    return np.asarray((array.float() if short else array).numpy())


def _is_array(given: Any) -> bool:
    return isinstance(given, np.ndarray) or hasattr(given, "detach")


def _axes(given: Any) -> int | None:
    """Return the number of axes of an array; ``None`` for other objects."""
    return len(given.shape) if _is_array(given) else None


def _is_image(given: Any) -> bool:
    """Whether an object is one image, according to its type and axes."""
    if isinstance(given, Mapping):
        return set(given) >= _ENCODED or any(key in given for key in KEYS)
    if _is_array(given):
        return _axes(given) in (2, 3)
    return isinstance(given, bytes | bytearray | memoryview) or is_pillow(given)


def _holds_images(given: Any) -> bool:
    """Whether an object is an image or a batch, according to its type and axes."""
    if isinstance(given, list | tuple):
        return bool(given) and all(map(_is_image, given))
    return _is_image(given) or _axes(given) == 4 or hasattr(given, "images")


def holds_batch(sample: object) -> bool:
    """Whether a sample contains several images, according to its type and axes."""
    if isinstance(sample, Mapping) and not set(sample) >= _ENCODED:
        return any(holds_batch(sample[key]) for key in KEYS if key in sample)
    if isinstance(sample, list | tuple):
        several = len(sample) > 1 and all(map(_is_image, sample)) and _of_one_kind(sample)
        return several or (bool(sample) and holds_batch(sample[0]))
    if _axes(sample) == 3:
        return not {sample.shape[0], sample.shape[2]} & set(CHANNELS)  # type: ignore[attr-defined]
    return _axes(sample) == 4 or hasattr(sample, "images")


def _of_one_kind(images: list[Any] | tuple[Any, ...]) -> bool:
    """Whether arrays among images have equally many axes, unlike an image and its mask."""
    return len({axes for one in images if (axes := _axes(one)) is not None}) <= 1


def _named(given: Any) -> str:
    """Describe an object for a message."""
    if isinstance(given, Mapping):
        return f"a mapping of {', '.join(map(str, list(given)[:8])) or 'nothing'}"
    if isinstance(given, list | tuple):
        kinds = [type(one).__name__ for one in given[:3]]
        more = ", …" if len(given) > len(kinds) else ""
        return f"a {type(given).__name__} of {len(given)} ({', '.join(kinds)}{more})"
    return f"of type {type(given).__name__}"
