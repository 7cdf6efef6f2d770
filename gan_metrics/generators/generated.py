"""Images that a generator draws in memory."""

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
"""Batches that are kept: threads read ahead of each other."""


class Generated:
    """Images drawn from a generator, in memory: a set that can be given wherever a folder can.

    Image ``i`` is made of a latent of its own, by ``seed`` and ``i``: the same whatever ``n``, the
    batches and the device are. What a generator draws itself is seeded batch by batch. It runs
    without gradients and in eval mode; modes and random states are afterwards as before.

    Args:
        generator: A callable or module, called with latents ``z`` (``float32``, N × z_size,
            standard normal), or with ``n=`` and ``seed=`` if it has parameters of these names;
            ``"package.module:function"``, a TorchScript file or an ONNX file, whose code is run.
            It gives N images: a tensor or array, N × 3 × H × W (or N × H × W × 3), ``uint8`` or
            floating point in ``value_range``, or a list of images.
        n: How many images.
        z_size: Length of a latent, or its shape; by default the generator's attribute ``z_size``.
        num_classes: Of a generator that is called with ``z`` and labels, drawn alike; by default
            its attribute ``num_classes``. The images' names then begin with their class.
        value_range: What stands for black and white in floating-point images, such as
            ``(-1, 1)``; by default its attribute ``value_range``. What lies outside is clipped.
        seed: Of the latents.
        batch_size: Images per call.
        device: Where a generator that is loaded is put; an object is left where it is.

    Attributes:
        description: The generator's name.
        names: ``"000000"``, ``"000001"``, …; ``"class/000000"`` where there are classes.
        draws: ``True``: reading an image runs the user's generator.

    Raises:
        UsageError: When the generator cannot be loaded, or does not say enough of itself.
        InputError: When its file is missing or broken.
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
        """Those of the generator."""
        return self.generator.warnings

    def redrawn(self, n: int, seed: int) -> Generated:
        """Other images of the same generator: so many, with this seed."""
        return Generated(self.generator, n, seed=seed, batch_size=self.batch_size)  # type: ignore[arg-type]

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """One image as an array.

        Args:
            index: Its place, 0 … n − 1.

        Returns:
            ``uint8``, H × W × C with 1, 3 or 4 channels.

        Raises:
            InputError: When the generator fails, or gives something else than images.
        """
        index = range(len(self.names))[index]
        number, place = divmod(index, self.batch_size)
        with self._lock:
            if number not in self._batches:
                if self._failed is not None:  # other threads have asked for more meanwhile
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
        """One image as an encoded file; see :meth:`ImageSource.read`."""
        return image_file(np.moveaxis(self.pixels(index), 2, 0))
