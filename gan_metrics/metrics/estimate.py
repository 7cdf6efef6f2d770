"""A value with the data of its error bar.

There are two kinds of error bars. If the metric has a derivative with respect to the weight of each
image, it comes from the *influences*::

    SE² = var(influences of real images) / n + var(influences of generated images) / m

Otherwise it comes from *half-samples*: the metric on random halves of both sets, drawn without
replacement. Given all n values, the variance of the mean of n/2 of them is the variance of the mean
over n. So the variance over half-samples is that of the value itself, if it falls with 1/n
(Politis, Romano & Wolf 1999, *Subsampling*).

Both show what two values with the same real images have in common, so that the error bar of their
difference is smaller than that of independent values.
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
"""Number of half-samples: a standard error from them is accurate to 1/√(2·100), 7 %."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, its standard error, and the data of the standard error.

    Attributes:
        value: The value.
        standard_error: For redrawing both sets at these sizes; ``None``: not requested, or there is
            none.
        real_influence: Shape ``(n,)``, mean zero: to first order the value changes by influence / n
            if a real image is counted once more; for metrics with held-out images, of these.
            ``None``: there is no such derivative, or the real set is fixed or not used.
        fake_influence: The influence of the generated images, ``(m,)``.
        noise: Variance of the value that is not in the influences, such as that of a random choice
            of subsets; part of the standard error.
        draws: Values on half-samples, in the order of :func:`half_samples`.
        draws_scale: Factor between their variance and that of the value.
        draws_of: Key of the drawn real images: estimates with equal keys share the half-samples of
            the real images.
        details: Further values, as plain JSON values.
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
        """Return the estimate of the negative value."""

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
    """Return the standard error from the influences of each set; ``None`` for fixed sets.

    Returns:
        The standard error; ``None`` if every set is fixed.
    """
    known = [values for values in influences if values is not None]
    if not known:
        return None
    return math.sqrt(sum(float(np.var(values, ddof=1)) / len(values) for values in known))


def half_samples(
    n: int | None, m: int, *, seed: int = 0, draws: int = DRAWS
) -> Iterator[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]]:
    """Yield random halves of the real and of the generated images, as rising indices.

    The halves of the real images depend only on ``n`` and the seed, so estimates with the same real
    images share them.

    Args:
        n: Number of real images; ``None``: none.
        m: Number of generated images.
        seed: Seed of the draws.
        draws: Number of draws.
    """
    reals = np.random.default_rng([seed, 0])
    fakes = np.random.default_rng([seed, 1])
    for _ in range(draws):
        rows = None if n is None else np.sort(reals.permutation(n)[: n // 2])
        yield rows, np.sort(fakes.permutation(m)[: m // 2])


def difference_error(a: Estimate, b: Estimate) -> float | None:
    """Return the standard error of ``a.value − b.value``, both with the same real set.

    Returns:
        The standard error; ``None`` if one has no error bar, or their kinds differ.
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
    return math.hypot(a.standard_error, b.standard_error)  # treated as independent
