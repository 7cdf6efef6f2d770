"""Functions shared by the perceptual metrics of pairs and of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError

if TYPE_CHECKING:
    import torch

__all__ = ["Floats", "check_finite", "resized"]

Floats = npt.NDArray[np.float64]


def check_finite(values: Floats) -> None:
    """Check that distances are finite.

    Raises:
        ComputationError: If one is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise ComputationError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} perceptual distances are not "
            "finite; check the images and the weights"
        )


def resized(images: torch.Tensor, size: int | None, *, enlarge: bool = True) -> torch.Tensor:
    """Resize images to a square: by area averaging, or bilinear if they are not larger."""
    from torch.nn.functional import interpolate

    height, width = images.shape[2:]
    larger = height > size and width > size if size is not None else False
    if size is None or not (larger or enlarge) or (height, width) == (size, size):
        return images
    if larger:
        return interpolate(images, (size, size), mode="area")
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)
