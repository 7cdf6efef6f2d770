"""Float32 arithmetic of torch: settings of the process that must not change results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["float32_default", "tf32"]


@contextlib.contextmanager
def float32_default(wanted: bool = True) -> Iterator[None]:
    """Make new tensors float32 in this block, whatever ``torch.set_default_dtype`` is.

    Args:
        wanted: Whether to do so; otherwise nothing changes.
    """
    import torch

    before = torch.get_default_dtype()
    try:
        if wanted:
            torch.set_default_dtype(torch.float32)
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """Turn TF32 on or off in this block; torch's default is on for convolutions.

    Matrix products on a CPU are float32 in this block, although
    ``torch.set_float32_matmul_precision`` could make them bf16 on some processors.

    Torch 2.9 has a new interface for this, and raises if both interfaces were used.

    Args:
        wanted: Whether float32 products and convolutions may use TF32.
    """
    import torch

    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        convolutions: Any = getattr(cudnn, "conv", cudnn)
        onednn: Any = torch.backends.mkldnn
        value: Any = "tf32" if wanted else "ieee"
        places = [(place, "fp32_precision", value) for place in (matmul, convolutions)]
        for name in ("matmul", "conv"):
            if hasattr(onednn, name):
                places.append((getattr(onednn, name), "fp32_precision", "ieee"))
    else:
        places = [(place, "allow_tf32", wanted) for place in (matmul, cudnn)]
    before = [getattr(place, name) for place, name, _ in places]
    try:
        for place, name, wished in places:
            setattr(place, name, wished)
        yield
    finally:
        for (place, name, _), old in zip(places, before, strict=True):
            setattr(place, name, old)
