"""How the influence of an image on the Fréchet distance changes with its features.

The influence of an image x of set *a* is, but for a constant,
2 (μa − μb)·(x − μa) + n/(n−1) (x − μa)ᵀ (I − T) (x − μa), with T the optimal transport map between
the two Gaussians. Its gradient with respect to x is::

    2 (μa − μb) + 2 n/(n−1) (x − μa − T (x − μa))

which is also n times the derivative of the distance itself, since means and covariance depend on
each image by 1/n. Back-propagated to a feature map it shows where in the image the influence comes
from, after the sensitivity maps of Kynkäänniemi et al. (2022), arXiv 2203.06026.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError
from gan_metrics.metrics.gaussian_transport import Coupling, gaussian_pair, transported
from gan_metrics.metrics.moments import Moments
from gan_metrics.utils.array_types import AnyArray

__all__ = ["frechet_sensitivity"]


def frechet_sensitivity(
    a: npt.ArrayLike,
    b: npt.ArrayLike | Moments,
    rows: AnyArray = None,
) -> npt.NDArray[np.float64]:
    """The gradient of the influence of images of set ``a`` with respect to their features.

    Args:
        a: Features of shape ``(n, D)``.
        b: Features or moments of the other set.
        rows: Indices of the images, ``(k,)``; ``None``: all.

    Returns:
        Shape ``(k, D)``, float64, in units of the features.

    Raises:
        InputError: When the dimensions differ, an array is not two-dimensional, or an index is
            none.
        ComputationError: When a set has fewer than two images or is not finite.

    >>> import numpy as np
    >>> a = np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0], [1.0, -2.0]])
    >>> frechet_sensitivity(a, a + [3.0, 0.0], rows=[1]).round(6).tolist()
    [[-6.0, 0.0]]
    """
    if isinstance(a, Moments):
        raise InputError("influences belong to images: give the features of set a")
    one, other = gaussian_pair(a, b, None, None)
    assert one.features is not None  # noqa: S101
    count = len(one.features)
    indices = np.arange(count) if rows is None else np.asarray(rows)
    indices = indices if indices.size else indices.astype(np.intp)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or (
        indices.size and not 0 <= indices.min() <= indices.max() < count
    ):  # fmt: skip
        raise InputError(f"rows must be whole numbers from 0 to {count - 1}, not {rows!r}")
    indices = indices.astype(np.intp)
    coupling = Coupling(one, other, vectors=True)
    centred = np.asarray(one.features[indices], np.float64) - one.moments.mean
    moved = transported(one, other, coupling, indices, first=True)
    shift = one.moments.mean - other.moments.mean
    return np.asarray(2.0 * shift + 2.0 * count / (count - 1) * (centred - moved))
