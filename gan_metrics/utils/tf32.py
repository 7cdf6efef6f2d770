"""What torch computes float32 in, whatever the process has set: TF32 on a GPU, or as it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["float32_default", "tf32"]


@contextlib.contextmanager
def float32_default(wanted: bool = True) -> Iterator[None]:
    """New tensors are float32 in this block, whatever ``torch.set_default_dtype`` has set.

    Args:
        wanted: Whether to; else the default stays.
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
    """TF32 on or off for this block; torch leaves it on for convolutions by default.

    A CPU's products, which ``torch.set_float32_matmul_precision`` can turn into bf16 where the
    processor has that, are float32 in this block.

    Torch 2.9 has a new way of saying it, and raises once both ways were used.

    Args:
        wanted: Whether products and convolutions of float32 may be made in TF32.
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
