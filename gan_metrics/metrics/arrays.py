"""What every metric does with the arrays it is given: NumPy's or torch's, by one code.

A metric is written once, in the functions that the array API standard gives to both libraries; it
runs where its arrays lie. torch is imported only if a tensor was given.
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
    """Whether it is a torch tensor; imports nothing."""
    return hasattr(values, "detach")


def as_matrix(values: AnyArray, what: str = "features") -> AnyArray:
    """An array of shape ``(n, D)``, as it is: a memory map stays one, a tensor stays where it is.

    Args:
        values: An array, a tensor, or what NumPy makes an array of.
        what: What it is, for the message.

    Raises:
        InputError: When the shape is another, there is nothing in it, or it holds no real numbers.
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
        raise InputError(f"{what} are a masked array; take the rows that count out of it first")
    try:
        return np.asanyarray(values)
    except ValueError:
        raise InputError(f"{what} must have the shape (n, D), and the rows are not alike") from None


def as_pair(X: ArrayLike, Y: ArrayLike) -> tuple[AnyArray, AnyArray]:
    """Two such arrays of one library, on one device, with the same number of columns.

    Raises:
        InputError: As :func:`as_matrix`, and when the numbers of dimensions differ.
        ComputationError: As :func:`as_matrix`.
    """
    x, y = as_matrix(X, "the real features"), as_matrix(Y, "the fake features")
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"the real features have {x.shape[1]} dimensions and the fake ones {y.shape[1]}"
        )
    if is_tensor(x) or is_tensor(y):
        lead = x if is_tensor(x) else y
        x, y = like(x, lead), like(y, lead)
    return x, y


def check_finite(array: AnyArray, what: str = "features") -> None:
    """Refuse NaN and infinity, looked for block by block.

    Raises:
        ComputationError: Naming the first such row.
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
                f"{what} hold values beyond {_LARGEST:g}, whose squares are no numbers; divide "
                "both sides by a constant"
            )


def blocks(n: int, size: int) -> list[slice]:
    """``range(n)`` in slices of at most ``size``."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def namespace(*arrays: AnyArray) -> AnyArray:
    """The array API functions of the arrays' library."""
    return array_namespace(*arrays)


def host(array: AnyArray) -> npt.NDArray[Any]:
    """It as a NumPy array."""
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    short = str(array.dtype) == "torch.bfloat16"  # which NumPy has not
    return np.asarray(array.float() if short else array)


def like(array: AnyArray, lead: AnyArray) -> AnyArray:
    """An array in another one's library and on its device, its type of numbers kept."""
    if not is_tensor(lead):
        return host(array)
    import torch

    tensor = array if is_tensor(array) else torch.from_numpy(np.array(array))
    return tensor.to(lead.device)


def wide(array: AnyArray) -> AnyArray:
    """It in float64; what lies on a device without float64 (``mps``) comes to the CPU."""
    if is_tensor(array):
        return (array.cpu() if array.device.type == "mps" else array).double()
    return np.asarray(array, np.float64)


@contextlib.contextmanager
def full_precision(*arrays: AnyArray) -> Iterator[None]:
    """Products in this block are those of the dtype: no TF32 or bf16, whatever torch was told."""
    if any(map(is_tensor, arrays)):
        with tf32(wanted=False):
            yield
    else:
        yield
