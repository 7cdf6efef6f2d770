"""Functions that all metrics use for arrays of NumPy or torch.

Metrics use the functions of the array API standard, which both libraries have, and run on the
device of their arrays. torch is imported only if a tensor was given.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.utils.array_types import AnyArray, ArrayLike
from gan_metrics.utils.tf32 import tf32

__all__ = [
    "as_matrix",
    "as_pair",
    "blocks",
    "check_finite",
    "full_precision",
    "host",
    "is_tensor",
    "like",
    "namespace",
    "wide",
]

_ROWS = 4096
_LARGEST = 1e100


def is_tensor(values: AnyArray) -> bool:
    """Whether the value is a torch tensor; does not import torch."""
    return hasattr(values, "detach")


def as_matrix(values: AnyArray, what: str = "features") -> AnyArray:
    """Return an array of shape ``(n, D)`` without a copy; a tensor stays on its device.

    Args:
        values: An array, a tensor, or a value that NumPy converts to an array.
        what: Name of the value in the message.

    Raises:
        InputError: If the shape is wrong, the array is empty, or its dtype is not real.
        ComputationError: When a value is NaN or infinite.
    """
    if is_tensor(values):
        array = values.detach()
        if array.is_sparse or array.is_quantized:
            raise InputError(
                f"{what} must be a plain tensor: call to_dense() or dequantize() on it"
            )
        real = not array.is_complex()
    else:
        array = _as_array(values, what)
        real = array.dtype.kind in "fiub"
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{what} must have the shape (n, D), n ≥ 1, not {(*array.shape,)}")
    if not real:
        raise InputError(f"{what} must hold real numbers, not {array.dtype}")
    check_finite(array, what)
    return array


def _as_array(values: AnyArray, what: str) -> npt.NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{what} are a masked array; select the valid rows first")
    try:
        return np.asanyarray(values)
    except ValueError:
        raise InputError(
            f"{what} must have the shape (n, D), but its rows have different lengths"
        ) from None


def as_pair(X: ArrayLike, Y: ArrayLike) -> tuple[AnyArray, AnyArray]:
    """Return two such arrays of the same library and device, with equal numbers of columns.

    Raises:
        InputError: As :func:`as_matrix`, and when the numbers of dimensions differ.
        ComputationError: As :func:`as_matrix`.
    """
    x, y = as_matrix(X, "the real features"), as_matrix(Y, "the generated features")
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"the real features have {x.shape[1]} dimensions and the generated ones {y.shape[1]}"
        )
    if is_tensor(x) or is_tensor(y):
        lead = x if is_tensor(x) else y
        x, y = like(x, lead), like(y, lead)
    return x, y


def check_finite(array: AnyArray, what: str = "features") -> None:
    """Raise an error if a value is NaN or infinite; works in blocks.

    Raises:
        ComputationError: If a row is not finite; the message names the first one.
    """
    for rows in blocks(len(array), _ROWS):
        block = array[rows]
        if not is_tensor(block):
            block = np.asarray(block)
            if block.dtype.kind != "f":
                return
        xp = array_namespace(block)
        low, high = float(xp.min(block)), float(xp.max(block))  # NaN where there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            fine = xp.all(xp.isfinite(block), axis=1)
            bad = int(np.flatnonzero(~host(fine))[0]) + rows.start
            raise ComputationError(
                f"{what} hold NaN or infinity, first in row {bad} (counted from 0)"
            )
        if max(high, -low) > _LARGEST:
            raise ComputationError(
                f"{what} hold values beyond {_LARGEST:g}, whose squares overflow; divide "
                "both sets by a constant"
            )


def blocks(n: int, size: int) -> list[slice]:
    """``range(n)`` in slices of at most ``size``."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def namespace(*arrays: AnyArray) -> AnyArray:
    """Return the array API functions of the arrays' library."""
    return array_namespace(*arrays)


def host(array: AnyArray) -> npt.NDArray[Any]:
    """Return the array as a NumPy array."""
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    short = str(array.dtype) == "torch.bfloat16"  # which NumPy does not have
    return np.asarray(array.float() if short else array)


def like(array: AnyArray, lead: AnyArray) -> AnyArray:
    """Convert an array to the library and device of another array; the dtype is kept."""
    if not is_tensor(lead):
        return host(array)
    import torch

    tensor = array if is_tensor(array) else torch.from_numpy(np.array(array))
    return tensor.to(lead.device)


def wide(array: AnyArray) -> AnyArray:
    """Convert to float64; arrays on a device without float64 (``mps``) are moved to the CPU."""
    if is_tensor(array):
        return (array.cpu() if array.device.type == "mps" else array).double()
    return np.asarray(array, np.float64)


@contextlib.contextmanager
def full_precision(*arrays: AnyArray) -> Iterator[None]:
    """Context in which products have the precision of the dtype: no TF32 or bf16."""
    if any(map(is_tensor, arrays)):
        with tf32(wanted=False):
            yield
    else:
        yield
