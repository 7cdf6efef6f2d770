"""How torch multiplies matrices on a GPU: TF32, or what the dtype says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["tf32"]


@contextlib.contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """TF32 on or off for this block; torch leaves it on for convolutions by default.

    Torch 2.9 has a new way of saying it, and raises once both ways were used.

    Args:
        wanted: Whether products and convolutions of float32 may be made in TF32.
    """
    import torch

    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        convolutions: Any = getattr(cudnn, "conv", cudnn)
        places = [(matmul, "fp32_precision"), (convolutions, "fp32_precision")]
        value: Any = "tf32" if wanted else "ieee"
    else:
        places = [(matmul, "allow_tf32"), (cudnn, "allow_tf32")]
        value = wanted
    before = [getattr(place, name) for place, name in places]
    try:
        for place, name in places:
            setattr(place, name, value)
        yield
    finally:
        for (place, name), old in zip(places, before, strict=True):
            setattr(place, name, old)
