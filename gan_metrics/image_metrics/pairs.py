"""LPIPS diversity: the mean LPIPS distance between pairs of images.

Zhu et al. (2017), BicycleGAN, arXiv 1711.11586.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, ImageError, InputError, UsageError
from gan_metrics.image_metrics.lpips_input import Floats, check_finite, resized
from gan_metrics.images.labels import folder_classes
from gan_metrics.images.pipeline import load_image
from gan_metrics.images.sources import ImageSource
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.protocols.spec import Decoding
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.lpips import Lpips

__all__ = ["DecodedImages", "lpips_diversity"]

_BATCH = 16
_KEPT = 256
"""Decoded images that are kept, because an image can be in several pairs."""


class DecodedImages:
    """The decoded images of a source; bad images raise an error, or are left out and listed."""

    def __init__(
        self,
        source: ImageSource,
        on_error: str = "raise",
        rows: Sequence[int] | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self._rows = range(len(source.names)) if rows is None else rows
        self._decoding = decoding or Decoding()
        self.names = [source.names[row] for row in self._rows]
        self.description = source.description
        self.skipped: dict[str, str] = {}
        self._hashes: dict[int, bytes] = {}
        self._source, self._skip = source, on_error == "skip"
        self.pixels = functools.lru_cache(_KEPT)(self._pixels)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of the images that were used, in their order."""
        return hashlib.sha256(b"".join(h for _, h in sorted(self._hashes.items()))).hexdigest()

    def _pixels(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Return one image, ``uint8``, 3 × H × W; ``None`` if it is left out."""
        image = load_image(self._source, self._rows[index], self._decoding)
        if image.digest is not None:
            self._hashes[index] = image.digest
        if image.failure is not None:
            name = self.names[index]
            if not self._skip:
                raise ImageError(
                    f"{os.path.join(self.description, name)!r}: {image.failure}. "
                    "--on-error skip leaves unreadable images out and lists them"
                )
            self.skipped[name] = image.failure
        return image.pixels


def lpips_diversity(
    images: DecodedImages | ImageSource,
    lpips: Lpips,
    *,
    pairs: int = 1000,
    within_class: bool = False,
    resize: int | None = None,
    seed: int = 0,
    error_bar: bool = True,
    progress: Progress | None = None,
) -> Estimate:
    """Compute the mean LPIPS between pairs of images: 0 if all are equal.

    Args:
        images: A source of images.
        lpips: The distance.
        pairs: Number of different pairs to draw; all pairs if there are fewer.
        within_class: Whether both images must be in the same class folder.
        resize: Side of the square to which images are resized, in pixels; needed if their sizes
            differ.
        seed: Seed of the draw.
        error_bar: Whether to compute the standard error.
        progress: Called with the number of finished pairs.

    Returns:
        The mean. Its standard error, for redrawing images and pairs, includes the covariance of
        pairs that share an image (Fafchamps & Gubert 2007).

    Raises:
        UsageError: For invalid arguments, or images of several sizes.
        InputError: If ``within_class`` is set and there are no class folders.
        ComputationError: For fewer than two images, or classes of one image.
    """
    import torch

    whole_number("pairs", pairs, least=2)
    known = images if isinstance(images, DecodedImages) else DecodedImages(images)
    drawn = _draw_pairs(known, pairs, within_class, seed)
    distances: list[float] = []
    kept: list[int] = []
    for start in range(0, len(drawn), _BATCH):
        batch: dict[tuple[int, ...], list[tuple[int, torch.Tensor, torch.Tensor]]] = {}
        for row in range(start, min(start + _BATCH, len(drawn))):
            one, other = (known.pixels(int(i)) for i in drawn[row])
            if one is None or other is None:
                continue
            x, y = (resized(torch.tensor(p)[None].float(), resize) for p in (one, other))
            if x.shape != y.shape:
                sizes = " and ".join(f"{p.shape[3]} × {p.shape[2]}" for p in (x, y))
                raise UsageError(
                    f"{known.description} has images of {sizes} pixels, but LPIPS needs equal "
                    "sizes; use resize=256 (--resize 256, or --set lpips_diversity.resize=256)"
                )
            batch.setdefault(tuple(x.shape), []).append((row, x, y))
        for same in batch.values():
            rows, xs, ys = zip(*same, strict=True)
            distances += lpips(torch.cat(xs), torch.cat(ys)).cpu().double().tolist()
            kept += rows
        if progress is not None:
            progress(f"LPIPS of {known.description}", min(start + _BATCH, len(drawn)), len(drawn))
    if not distances:
        raise ComputationError(f"{known.description}: no pair of images could be compared")
    values = np.array(distances)
    check_finite(values)
    return Estimate(
        float(values.mean()),
        _pairs_error(values, drawn[np.array(kept)], len(known)) if error_bar else None,
        details={"pairs": len(values), "within_class": within_class},
    )


def _draw_pairs(
    images: DecodedImages, pairs: int, within_class: bool, seed: int
) -> npt.NDArray[np.int64]:
    """Return different pairs of images, ``(k, 2)``; all pairs if there are not more."""
    n = len(images)
    groups = [np.arange(n)]
    if within_class:
        classes = folder_classes(images.names)
        if classes is None:
            raise InputError(
                f"{images.description}: pairs within classes need a folder for each class"
            )
        order = np.array(classes)
        groups = [np.flatnonzero(order == name) for name in dict.fromkeys(classes)]
    sizes = np.array([len(group) * (len(group) - 1) // 2 for group in groups])
    if not sizes.sum():
        raise ComputationError(
            f"{images.description}: fewer than two images "
            f"{'of one class ' if within_class else ''}to compare"
        )
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    chosen = np.sort(rng.choice(total, min(pairs, total), replace=False, shuffle=False))
    found = np.empty((len(chosen), 2), np.int64)
    for row, number in enumerate(chosen):
        at = int(np.searchsorted(ends, number, side="right"))
        left = int(number - (ends[at] - sizes[at]))
        # Convert a pair's number to its images j < i; pairs are counted by i.
        i = int((1 + np.sqrt(1 + 8 * left)) / 2)
        while i * (i - 1) // 2 > left:
            i -= 1
        while (i + 1) * i // 2 <= left:
            i += 1
        found[row] = groups[at][i], groups[at][left - i * (i - 1) // 2]
    return found


def _pairs_error(values: Floats, pairs: npt.NDArray[np.int64], n: int) -> float | None:
    """Return the standard error of a mean over pairs that share images; ``None`` for one pair."""
    if len(values) < 2:
        return None
    errors = values - values.mean()
    sums = np.bincount(pairs.ravel(), np.repeat(errors, 2), minlength=n)
    own = float((errors**2).sum())
    together = float((sums**2).sum()) - own  # a pair with itself is in two sums
    return float(np.sqrt(max(together, own))) / len(values)
