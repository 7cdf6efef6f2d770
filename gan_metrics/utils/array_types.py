"""Type names for arrays in signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["AnyArray", "ArrayLike", "Flags", "Floats", "Indices"]

ArrayLike: TypeAlias = Union[npt.ArrayLike, "torch.Tensor"]
"""Numbers from a user: an array, a tensor, or anything that NumPy converts to an array."""

AnyArray: TypeAlias = Any
"""A NumPy array or a torch tensor in a metric that works on both. Type checkers have no common type
for them; only functions of the array API standard are used, which both have."""

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
