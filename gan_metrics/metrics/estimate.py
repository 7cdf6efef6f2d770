"""A value and what its error bar is made of.

An error bar comes from one of two things. Where the metric has a derivative with respect to the
weight of each image, the *influences*::

    SE² = var(influences of the reals) / n + var(influences of the fakes) / m

Elsewhere from *half-samples*: the metric on random halves of both sets, drawn without replacement.
The variance of a mean over n/2 of n things, given all of them, is that of the mean over n; so the
variance over half-samples is that of the value itself, as far as that falls with 1/n (Politis,
Romano & Wolf 1999, *Subsampling*).

Both tell what two values have in common that were computed against one reference, so the error bar
of a difference is not that of two independent values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.utils.array_types import Floats

__all__ = ["DRAWS", "Estimate", "difference_error", "half_samples", "influence_error"]


DRAWS = 100
"""Half-samples: a standard error from them is good to 1/√(2·100), 7 %."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, its standard error, and where that comes from.

    Attributes:
        value: The value.
        standard_error: Over redraws of both sets at these sizes; ``None``: not asked for, or
            there is none.
        real_influence: Shape ``(n,)``, mean zero: to first order the value changes by
            influence / n when a real image is counted once more; of a held-out one, where the
            metric takes such. ``None``: no such derivative, or the real side is held fixed or not
            used.
        fake_influence: The same for the fake images, ``(m,)``.
        noise: Variance of the value that no influence sees, such as that of a random choice of
            subsets; part of the standard error.
        draws: The values on half-samples, in the order of :func:`half_samples`.
        draws_scale: What their variance is multiplied by to be that of the value.
        draws_of: What decides which real images were drawn: two estimates with the same share
            their half-samples of them.
        details: Facts beside the value, plain JSON values.
        warnings: Pairs of a code and a message.
    """

    value: float
    standard_error: float | None = None
    real_influence: Floats | None = None
    fake_influence: Floats | None = None
    noise: float = 0.0
    draws: Floats | None = None
    draws_scale: float = 1.0
    draws_of: tuple[int, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()

    def mirrored(self) -> Estimate:
        """The estimate of minus the value."""

        def minus(values: Floats | None) -> Floats | None:
            return None if values is None else -values

        return replace(
            self,
            value=-self.value,
            real_influence=minus(self.real_influence),
            fake_influence=minus(self.fake_influence),
            draws=minus(self.draws),
        )


def influence_error(*influences: Floats | None) -> float | None:
    """The standard error from the influences of each side; ``None`` for sides held fixed.

    Returns:
        ``None`` when every side is held fixed.
    """
    known = [values for values in influences if values is not None]
    if not known:
        return None
    return math.sqrt(sum(float(np.var(values, ddof=1)) / len(values) for values in known))


def half_samples(
    n: int | None, m: int, *, seed: int = 0, draws: int = DRAWS
) -> Iterator[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]]:
    """Random halves of the real and of the fake images, as rising indices.

    The halves of the reals depend on ``n`` and the seed alone, so two estimates that draw from the
    same real images share them.

    Args:
        n: Number of real images; ``None``: there are none.
        m: Number of fake images.
        seed: Of the draws.
        draws: How many.
    """
    reals = np.random.default_rng([seed, 0])
    fakes = np.random.default_rng([seed, 1])
    for _ in range(draws):
        rows = None if n is None else np.sort(reals.permutation(n)[: n // 2])
        yield rows, np.sort(fakes.permutation(m)[: m // 2])


def difference_error(a: Estimate, b: Estimate) -> float | None:
    """The standard error of ``a.value − b.value``, both against one and the same real set.

    Returns:
        ``None`` when one of them has no error bar, or they were not made in the same way.
    """
    if a.fake_influence is not None and b.fake_influence is not None:
        real = None
        if a.real_influence is not None and b.real_influence is not None:
            real = a.real_influence - b.real_influence
        error = influence_error(real, a.fake_influence, b.fake_influence)
        return None if error is None else math.sqrt(error**2 + a.noise + b.noise)
    if a.draws is None or b.draws is None:
        return None
    if a.draws_of == b.draws_of:
        first = (a.draws - a.draws.mean()) * math.sqrt(a.draws_scale)
        second = (b.draws - b.draws.mean()) * math.sqrt(b.draws_scale)
        return float(np.std(first - second, ddof=1))
    if a.standard_error is None or b.standard_error is None:
        return None
    return math.hypot(a.standard_error, b.standard_error)  # nothing known to be in common
