"""Images of a generator as an image source."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import GanMetricsError
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.images.sources.samples import image_file
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    from gan_metrics.generators.calling import Generator

__all__ = ["Generated"]

_KEPT = 3
"""Batches that are kept, because threads read ahead of each other."""


class Generated:
    """Images drawn from a generator in memory: a set that can be used like a folder.

    Image ``i`` has its own latent, drawn from ``seed`` and i: it is the same for any ``n``, batch
    size and device. The generator's own random numbers are seeded for each batch. It runs without
    gradients and in eval mode; modes and random states are restored afterwards.

    Args:
        generator: A callable or module, called with latents ``z`` (``float32``, N × z_size,
            standard normal), or with ``n=`` and ``seed=`` if it has parameters of these names;
            ``"package.module:function"``, a TorchScript file or an ONNX file, whose code is
            executed. It returns N images: a tensor or array, N × 3 × H × W (or N × H × W × 3),
            ``uint8`` or floating point in ``value_range``, or a list of images.
        n: Number of images.
        z_size: Length of a latent, or its shape; default: the generator's attribute ``z_size``.
        num_classes: Number of classes of a generator that is called with ``z`` and labels, which
            are drawn with equal probability; default: its attribute ``num_classes``. The images'
            names then begin with their class.
        value_range: Values of black and white in floating-point images, such as ``(-1, 1)``;
            default: its attribute ``value_range``. Values outside are clipped.
        seed: Seed of the latents.
        batch_size: Images per call.
        device: Device of a loaded generator; an object stays on its device.

    Attributes:
        description: The generator's name.
        names: ``"000000"``, ``"000001"``, …; ``"class/000000"`` if there are classes.
        draws: ``True``: reading an image runs the user's generator.

    Raises:
        UsageError: If the generator cannot be loaded, or a value is neither given nor an attribute.
        InputError: If its file is missing or broken.
    """

    draws = True

    def __init__(
        self,
        generator: str | os.PathLike[str] | Callable[..., Any],
        n: int = 10_000,
        *,
        z_size: int | Sequence[int] | None = None,
        num_classes: int | None = None,
        value_range: Sequence[float] | None = None,
        seed: int = 0,
        batch_size: int = 32,
        device: str = "auto",
    ) -> None:
        from gan_metrics.generators.calling import load_generator

        n = whole_number("n", n, least=1)
        batch_size = whole_number("batch_size", batch_size, least=1)
        seed = whole_number("seed", seed, least=0)
        self.generator: Generator = load_generator(
            generator,
            z_size=z_size,
            num_classes=num_classes,
            value_range=value_range,
            device=device,
        )
        self.description = self.generator.name
        self.seed = seed
        self.batch_size = batch_size
        self.names: list[str] = numbered(n)
        if self.generator.num_classes:
            _, labels = self.generator.latents(seed, range(n))
            classes = [self.generator.class_names[label] for label in labels.tolist()]
            self.names = [f"{c}/{name}" for c, name in zip(classes, self.names, strict=True)]
        self._failed: GanMetricsError | None = None
        self._batches: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings of the generator."""
        return self.generator.warnings

    def redrawn(self, n: int, seed: int) -> Generated:
        """Return ``n`` other images of the same generator, drawn with another seed."""
        return Generated(self.generator, n, seed=seed, batch_size=self.batch_size)  # type: ignore[arg-type]

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one image as an array.

        Args:
            index: Its number, 0 … n − 1.

        Returns:
            ``uint8``, H × W × C with 1, 3 or 4 channels.

        Raises:
            InputError: If the generator fails, or returns something other than images.
        """
        index = range(len(self.names))[index]
        number, place = divmod(index, self.batch_size)
        with self._lock:
            if number not in self._batches:
                if self._failed is not None:  # set by another thread
                    raise self._failed
                start = number * self.batch_size
                indices = range(start, min(start + self.batch_size, len(self.names)))
                try:
                    self._batches[number] = self.generator.draw(self.seed, indices)
                except GanMetricsError as error:
                    self._failed = error
                    raise
                if len(self._batches) > _KEPT:
                    self._batches.popitem(last=False)
            self._batches.move_to_end(number)
            found: npt.NDArray[np.uint8] = self._batches[number][place]
            return found

    def read(self, index: int) -> bytes:
        """Return one image as an encoded file; see :meth:`ImageSource.read`."""
        return image_file(np.moveaxis(self.pixels(index), 2, 0))
