"""Mean and covariance of features in float64, which can be merged."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.utils.array_types import AnyArray, Floats

if TYPE_CHECKING:
    import torch

__all__ = ["Moments", "MomentsStream", "merged"]


_BLOCK = 4096
"""Rows per step: the smallest number for which the matrix product dominates the time."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of a set of vectors.

    Attributes:
        n: Number of vectors; ``None`` if a file does not state it.
        mean: Shape ``(D,)``, float64.
        cov: Shape ``(D, D)``, float64, symmetric, with the divisor n − 1 (zeros for n = 1).
    """

    n: int | None
    mean: Floats
    cov: Floats

    @property
    def dim(self) -> int:
        """The dimension D."""
        return int(self.mean.shape[0])

    @classmethod
    def from_features(cls, features: npt.ArrayLike | torch.Tensor) -> Moments:
        """Compute the moments of an array in blocks, so that memory does not grow with n.

        Each block is centered on its own mean in float64 before its products are summed; blocks
        are joined by :meth:`merge`. A large offset therefore loses no precision. A
        tensor is processed on its device.

        Args:
            features: Shape ``(n, D)``, any real dtype; a NumPy array, a memory map or a tensor.

        Raises:
            InputError: When the shape is not ``(n, D)`` with n ≥ 1.
            ComputationError: When a value is NaN or infinite; the first such row is named.

        >>> import numpy as np
        >>> m = Moments.from_features(np.array([[0.0, 0.0], [2.0, 4.0]]))
        >>> m.mean.tolist(), m.cov.tolist()
        ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
        """
        stream = MomentsStream()
        array: Any = features if hasattr(features, "shape") else np.asarray(features)
        if len(array.shape) != 2 or array.shape[0] < 1:
            raise InputError(f"features must have the shape (n, D), n ≥ 1, not {(*array.shape,)}")
        for start in range(0, array.shape[0], _BLOCK):
            stream.add(array[start : start + _BLOCK])
        return stream.finish()

    def update(self, features: npt.ArrayLike | torch.Tensor) -> Moments:
        """Add more vectors; see :meth:`from_features`."""
        return self.merge(Moments.from_features(features))

    def merge(self, other: Moments) -> Moments:
        """Compute the moments of both sets together, exactly.

        By the pairwise formula of Chan, Golub & LeVeque (1979): the sums of squares about the
        means add up, plus n·m/(n+m) times the outer product of the difference of the means.

        Raises:
            InputError: If the dimensions differ or a count is unknown.
        """
        if self.n is None or other.n is None:
            raise InputError("moments without a count cannot be merged; n must be stated")
        if self.dim != other.dim:
            raise InputError(f"moments of dimension {self.dim} and {other.dim} cannot be merged")
        n = self.n + other.n
        shift = other.mean - self.mean
        cov = self.cov * ((self.n - 1) / (n - 1))
        cov += other.cov * ((other.n - 1) / (n - 1))
        cov += np.outer(shift, shift * (self.n * other.n / (n * (n - 1))))
        return Moments(n, self.mean + shift * (other.n / n), cov)


def merged(parts: Iterable[Moments | None]) -> Moments:
    """Merge the moments of several sets in order; ``None`` is an empty set.

    Raises:
        InputError: As for :meth:`Moments.merge`, and when all sets are empty.
    """
    some = [part for part in parts if part is not None]
    if not some:
        raise InputError("there are no moments to merge")
    return functools.reduce(Moments.merge, some)


class MomentsStream:
    """Moments of vectors that are added in pieces of any size, on the host or on a device.

    Pieces are collected until a block is large enough for an efficient matrix product.
    """

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._pieces: list[Any] = []
        self._waiting = 0
        self._seen = 0

    def add(self, features: AnyArray) -> None:
        """Add an array or a tensor of shape ``(k, D)``, k ≥ 0.

        Raises:
            ComputationError: When a value is NaN or infinite.
        """
        if not len(features):
            return
        if self._pieces and type(self._pieces[0]) is not type(features):
            self._flush()
        self._pieces.append(features)
        self._waiting += len(features)
        if self._waiting >= _BLOCK:
            self._flush()

    @property
    def empty(self) -> bool:
        """Whether no vector was added yet."""
        return self._moments is None and not self._pieces

    def finish(self) -> Moments:
        """Return the moments of all added vectors.

        Raises:
            ComputationError: If no vector was added, or a value is not finite.
        """
        self._flush()
        if self._moments is None:
            raise ComputationError("there are no features to compute moments of")
        return self._moments

    def _flush(self) -> None:
        if not self._pieces:
            return
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        on_device = not isinstance(pieces[0], np.ndarray) and hasattr(pieces[0], "detach")
        block = _torch_block(pieces) if on_device else _numpy_block(pieces)
        if not np.isfinite(block.mean).all():
            rows = (np.asarray(p.detach().cpu() if on_device else p) for p in pieces)
            bad = np.flatnonzero(~np.isfinite(np.concatenate(list(rows))).all(axis=1))
            raise ComputationError(
                f"the features of {len(bad)} images are not finite, first of number "
                f"{self._seen + int(bad[0])} (counted from 0); a network in low precision can "
                "overflow: try --precision fp32"
            )
        self._seen += block.n or 0
        self._moments = block if self._moments is None else self._moments.merge(block)


def _numpy_block(pieces: list[Any]) -> Moments:
    block = np.concatenate([np.asarray(p, np.float64) for p in pieces])
    with np.errstate(invalid="ignore"):  # non-finite values are found by the mean
        mean = block.mean(axis=0)
        block -= mean
        rest = block.mean(axis=0)  # corrects the rounding of the first sum
        return Moments(len(block), mean + rest, (block.T @ block) / max(len(block) - 1, 1))


def _torch_block(pieces: list[torch.Tensor]) -> Moments:
    import torch

    block = torch.cat([piece.detach() for piece in pieces])
    block = (block.cpu() if block.device.type == "mps" else block).double()  # mps has no float64
    mean = block.mean(dim=0)
    block -= mean
    rest = block.mean(dim=0)
    cov = (block.T @ block) / max(len(block) - 1, 1)
    return Moments(len(block), (mean + rest).cpu().numpy(), cov.cpu().numpy())
