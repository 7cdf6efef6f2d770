"""Names for the arrays in signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["AnyArray", "ArrayLike", "Flags", "Floats", "Indices"]

ArrayLike: TypeAlias = Union[npt.ArrayLike, "torch.Tensor"]
"""Numbers as users give them: an array, a tensor, or what NumPy makes an array of."""

AnyArray: TypeAlias = Any
"""A NumPy array or a torch tensor inside a metric, which runs on either. The two have no common
type that a checker knows; every use is of the functions that the array API standard gives both."""

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
