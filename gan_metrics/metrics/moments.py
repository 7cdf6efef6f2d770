"""Mean and covariance of features, in float64, mergeable."""

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
"""Rows per step; the least number for which the matrix product dominates."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of a set of vectors.

    Attributes:
        n: How many there were; ``None`` where a file does not say.
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
        """Moments of an array, in blocks, so that memory does not grow with n.

        Each block is centered on its own mean in float64 before its products are summed; blocks
        are joined by :meth:`merge`. A large offset therefore costs no digits. A tensor is
        treated on the device where it lies.

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
        """These moments with more vectors taken in; see :meth:`from_features`."""
        return self.merge(Moments.from_features(features))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together, exactly.

        By the pairwise formula of Chan, Golub & LeVeque (1979): the sums of squares about the
        means add up, plus n·m/(n+m) times the outer product of the difference of the means.

        Raises:
            InputError: When the dimensions differ or a count is not known.
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
    """The moments of several sets together, one after the other; ``None`` is an empty set.

    Raises:
        InputError: As for :meth:`Moments.merge`, and when all sets are empty.
    """
    some = [part for part in parts if part is not None]
    if not some:
        raise InputError("there are no moments to merge")
    return functools.reduce(Moments.merge, some)


class MomentsStream:
    """Moments of vectors that arrive in pieces of any size, on the host or on a device.

    Pieces are put together until they make a block that is worth a matrix product.
    """

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._pieces: list[Any] = []
        self._waiting = 0
        self._seen = 0

    def add(self, features: AnyArray) -> None:
        """Take in an array or a tensor of shape ``(k, D)``, k ≥ 0.

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
        """Whether nothing was added yet."""
        return self._moments is None and not self._pieces

    def finish(self) -> Moments:
        """The moments of all that was added.

        Raises:
            ComputationError: When that was nothing, or is not finite.
        """
        self._flush()
        if self._moments is None:
            raise ComputationError("there are no features to take moments of")
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
    with np.errstate(invalid="ignore"):  # what is not finite is found by its mean
        mean = block.mean(axis=0)
        block -= mean
        rest = block.mean(axis=0)  # what the rounding of the first sum left over
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
