"""The Fréchet distance with covariances divided by n, as some tools do, instead of n − 1.

With α = (n − 1)/n of set *a* and β of set *b*::

    FD = |μa − μb|² + α tr Σa + β tr Σb − 2 √(αβ) tr (Σa Σb)^½

where Σa and Σb have the divisor n − 1, and the optimal transport map becomes √(β/α) T. So the
influence of an image x of set *a* follows from the one with the divisor n − 1::

    √(αβ) · influence + (1 − √(αβ)) 2 (μa − μb)·(x − μa) + (1 − √(β/α)) |x − μa|²

less the mean of this over the images.
"""

from __future__ import annotations

import math

import numpy as np

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import blocks
from gan_metrics.metrics.gaussian_transport import Gaussian
from gan_metrics.metrics.validation import DIVISORS, one_of
from gan_metrics.utils.array_types import Floats

__all__ = ["factors", "influence_over_n"]


_ROWS = 8192
"""Rows per step of a pass over the features."""


def factors(one: Gaussian, other: Gaussian, divisor: str) -> tuple[float, float]:
    """Return the factors of both covariances: α and β, or 1 and 1.

    Args:
        one: The first side.
        other: The second side.
        divisor: ``"n-1"`` or ``"n"``.

    Raises:
        ComputationError: When the divisor is ``"n"`` and an n is not known.
        UsageError: If it is another value.
    """
    if one_of(*DIVISORS)("divisor", divisor) == "n-1":
        return 1.0, 1.0
    found = []
    for side, which in ((one, "first (real)"), (other, "second (generated)")):
        n = side.moments.n
        if n is None:
            raise ComputationError(
                f"divisor='n' needs the number of images of the {which} set, and its statistics do "
                "not state it: give its images, statistics with an n, or divisor='n-1'"
            )
        found.append((n - 1) / n)
    return found[0], found[1]


def influence_over_n(
    side: Gaussian, opposite: Gaussian, influence: Floats | None, own: float, its: float
) -> Floats | None:
    """Influences of the images of a set with the divisor n.

    Args:
        side: The set of the images.
        opposite: The other set.
        influence: Those with the divisor n − 1, ``(n,)``; ``None``: there are none.
        own: α of the set.
        its: α of the opposite set.

    Returns:
        Shape ``(n,)``, mean zero; ``None``: there are none.
    """
    if influence is None or side.features is None:
        return None
    root, out = math.sqrt(own * its), np.empty(len(influence))
    shift = 2.0 * (1.0 - root) * (side.moments.mean - opposite.moments.mean)
    for rows in blocks(len(out), _ROWS):
        centred = np.asarray(side.features[rows], np.float64) - side.moments.mean
        squared = np.einsum("ij,ij->i", centred, centred)
        out[rows] = (
            root * influence[rows] + centred @ shift + (1.0 - math.sqrt(its / own)) * squared
        )
    return np.asarray(out - out.mean())
