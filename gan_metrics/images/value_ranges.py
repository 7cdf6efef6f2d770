"""From floating-point images in a declared range to ``uint8``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gan_metrics.errors import InputError, UsageError

__all__ = ["check_value_range", "to_uint8"]


def check_value_range(
    given: Sequence[float] | None, known: Sequence[tuple[float, float]] = ()
) -> tuple[float, float] | None:
    """The least and the greatest value of images, as they are declared.

    Args:
        given: ``(low, high)``; ``None``: images are ``uint8``.
        known: Those that there are; empty: any.

    Raises:
        UsageError: When it is no such pair.
    """
    if given is None:
        return None
    try:
        low, high = (float(value) for value in given)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high or not abs(low) + abs(high) < float("inf"):
        raise UsageError(f"value_range={given!r}: expected two numbers, such as (0, 1) or (-1, 1)")
    if known and (low, high) not in known:
        expected = " or ".join(f"({a:g}, {b:g})" for a, b in known)
        raise UsageError(f"value_range={given!r}: expected {expected}")
    return low, high


def to_uint8(
    images: torch.Tensor,
    value_range: tuple[float, float] | None,
    *,
    beyond: float = 1e-3,
    floor: bool = False,
    whose: str = "images",
) -> torch.Tensor:
    """Images as ``uint8``, 0–255.

    Args:
        images: ``uint8``, or floating point in ``value_range``.
        value_range: What stands for 0 and 255; ``None``: the images must be ``uint8``.
        beyond: How far outside values may lie, as a share of the range's width; they are clipped.
        floor: Cut off rather than round.
        whose: Whose images, for a message.

    Raises:
        InputError: For another dtype, for NaN or infinity, and for values beyond the range.
    """
    if images.dtype == torch.uint8 and value_range is None:
        return images
    if value_range is not None and not images.is_floating_point():
        raise InputError(
            f"{whose} must be floating point in {value_range}, as is declared, not {images.dtype}"
        )
    if value_range is None:
        advice = (
            "declare the range of float images with value_range=(0, 1) or (-1, 1)"
            if images.is_floating_point()
            else "expected are uint8 in 0–255, or floating point in a declared range"
        )
        raise InputError(f"{whose} must be uint8, not {images.dtype}; {advice}")
    if not images.numel():
        return images.to(torch.uint8)
    low, high = value_range
    seen = float(images.min()), float(images.max())
    if not (seen[0] == seen[0] and seen[1] == seen[1]):  # the least of NaN is NaN
        raise InputError(f"{whose} hold NaN")
    slack = beyond * (high - low)
    if not (low - slack <= seen[0] and seen[1] <= high + slack):
        raise InputError(
            f"{whose} must lie in {low:g} … {high:g}, and lie in {seen[0]:g} … {seen[1]:g}"
        )
    scaled = (images.float() - low) * (255.0 / (high - low))
    return (scaled.floor() if floor else scaled.round()).clamp(0, 255).to(torch.uint8)
