"""Sums over kernel matrices, computed in blocks, and the terms of the variance of an MMD².

A kernel matrix is computed in blocks, in float64 because the differences of its means cancel, and
summed at once: by row, by column, its squares, and over random subsets. The sum over a subset is s'
K s with s its indicator, so one pass over all pairs is enough for all subsets; if the subsets
contain fewer pairs, they are computed one by one. An image is never paired with itself.

The variance of the unbiased MMD²::

    U = mean(a − c) + mean(b − d)

where aᵢ is the mean of k(xᵢ, ·) over the other real images, cᵢ that over the generated images, and
bⱼ, dⱼ those of a generated image over the other generated images and over the real images. Split
k into its mean, the effect of each argument and the rest, with variances σxx, σyy and σxy.
The rest enters Var(U) as::

    S = 2 σxx / n(n−1) + 2 σyy / m(m−1) + 4 σxy / nm

and enters the first-order formula, 4 var(a − c)/n + 4 var(b − d)/m, exactly twice. Hence::

    Var(U) = 4 var(a − c)/n + 4 var(b − d)/m − S,  and at least S

σxx is estimated without bias by U-centring (Székely & Rizzo 2014), σxy by the analysis of variance.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import blocks, host, like, namespace, wide
from gan_metrics.metrics.kernels import Products
from gan_metrics.utils.array_types import AnyArray, Floats

__all__ = [
    "Spread",
    "Sums",
    "all_pairs",
    "finite",
    "spread",
    "spread_by_reference",
    "sweep",
]

Rows = npt.NDArray[np.intp]

_ROWS = 1024
"""Rows per block: two blocks of 2048-d features and their kernel use 40 MiB."""

_REFERENCE = 2000
"""Images per set used in place of the whole set if a pass over all pairs would take too long."""

_HELD = 1 << 25
"""Maximum number of prepared values kept: 128 MiB of float32, or twice that of float64."""

_PASSES = 64
"""Cost of the kernel in addition to one product, in multiplications per pair."""


class _Ready:
    """Prepared rows; kept if there is enough memory.

    Args:
        products: The products that take the rows.
        sides: The features.
    """

    def __init__(self, products: Products, *sides: AnyArray) -> None:
        self.products = products
        self._holds = sum(len(side) * side.shape[1] for side in sides) <= _HELD
        self._held: dict[tuple[int, int], tuple[Any, Any]] = {}

    def rows(self, side: AnyArray, part: slice) -> tuple[AnyArray, AnyArray]:
        """Return some rows of a set, prepared."""
        key = id(side), part.start
        if key in self._held:
            return self._held[key]
        made = self.products.rows(side[part])
        if self._holds:
            self._held[key] = made
        return made


class Sums(NamedTuple):
    """Sums of kernel values, without the pairs of an image with itself.

    Attributes:
        xx: Per real image, over the other real images.
        xy: Per real image, over the generated images.
        yy: Per generated image, over the other generated images.
        yx: Per generated image, over the real images.
        squares: Sums of squares over real, fake and mixed pairs (0 if not requested).
        chosen: Shape ``(3, B)``: the three sums within each subset.
    """

    xx: Floats
    xy: Floats
    yy: Floats
    yx: Floats
    squares: Floats
    chosen: Floats

    @property
    def witness(self) -> tuple[Floats, Floats]:
        """``a − c`` and ``b − d``."""
        n, m = len(self.xx), len(self.yy)
        return self.xx / (n - 1) - self.xy / m, self.yy / (m - 1) - self.yx / n

    @property
    def unbiased(self) -> float:
        """U."""
        real, fake = self.witness
        return float(real.mean() + fake.mean())


class Spread(NamedTuple):
    """What the variance of U is made of, whatever the numbers of images, and the influences.

    Attributes:
        first: The variances of a − c and of b − d in the populations, estimated without bias.
        second: σxx, σyy, σxy.
        real: The influence of each real image on U, mean zero.
        fake: That of each generated image.
    """

    first: tuple[float, float]
    second: tuple[float, float, float]
    real: Floats
    fake: Floats

    def variance(self, n: int, m: int) -> float:
        """Var(U) for n real and m generated images."""
        degenerate = (
            2 * self.second[0] / (n * (n - 1))
            + 2 * self.second[1] / (m * (m - 1))
            + 4 * self.second[2] / (n * m)
        )
        return max(4 * self.first[0] / n + 4 * self.first[1] / m, 0.0) + degenerate


def all_pairs(n: int, m: int, dim: int, subsets: int, size: int, *, error_bar: bool) -> bool:
    """Whether to sweep over all pairs rather than over the subsets one by one.

    With an error bar it may cost twice as much, as it gives U as well.
    """
    every = (n + m) ** 2 / 2 * (dim + _PASSES + subsets)
    single = 2 * subsets * size**2 * (dim + _PASSES)
    if error_bar:
        reference = (n + m) * (min(n, _REFERENCE) + min(m, _REFERENCE))
        return every <= 2 * (single + reference * (dim + _PASSES))
    return every <= single


def sweep(
    x: AnyArray,
    y: AnyArray,
    products: Products,
    drawn: list[tuple[Rows, ...]] | None = None,
    *,
    squares: bool = False,
) -> Sums:
    """The sums over all pairs of two sets.

    Args:
        x: Real features, ``(n, D)``.
        y: Generated features, ``(m, D)``.
        products: Those of the kernel.
        drawn: Per subset, its rows of x and its rows of y.
        squares: Whether the sums of squares are wanted.

    Raises:
        ComputationError: When the kernel overflows.
    """
    n, m, count = len(x), len(y), len(drawn or ())
    marks = [np.zeros((k, count), np.uint8) for k in (n, m)]
    for b, pair in enumerate(drawn or ()):
        for mark, rows in zip(marks, pair, strict=True):
            mark[rows, b] = 1
    ready = _Ready(products, x, y)
    xx, _, *real = _gram(x, x, ready, marks[0], marks[0], own=True, squares=squares)
    yy, _, *fake = _gram(y, y, ready, marks[1], marks[1], own=True, squares=squares)
    xy, yx, *both = _gram(x, y, ready, marks[0], marks[1], squares=squares)
    for values in (xx, yy, xy, yx):
        finite(float(np.abs(values).max()))
    square, chosen = zip(real, fake, both, strict=True)
    return Sums(xx, xy, yy, yx, np.array(square), np.array(chosen))


def _gram(
    a: AnyArray,
    b: AnyArray,
    ready: _Ready,
    marks_a: npt.NDArray[np.uint8],
    marks_b: npt.NDArray[np.uint8],
    *,
    own: bool = False,
    squares: bool = False,
) -> tuple[Floats, Floats, float, Floats]:
    """Row sums, column sums, sum of squares and sums per subset of K(a, b).

    With ``own``, a and b are one set: each block is made once, for both of its places, and the
    diagonal left out; all the sums of an image are then among the row sums.
    """
    lead = wide(a[:1])
    xp = namespace(lead)

    def moved(values: AnyArray) -> AnyArray:
        return wide(like(np.asarray(values, np.float64), lead))

    down, across = moved(np.zeros(len(a))), moved(np.zeros(len(b)))
    square, chosen = moved(np.zeros(())), moved(np.zeros(marks_a.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in blocks(len(a), _ROWS):
            left, left_marks = ready.rows(a, rows), moved(marks_a[rows])
            for cols in blocks(len(b), _ROWS):
                if own and cols.start < rows.start:
                    continue
                same = own and cols == rows
                right = left if same else ready.rows(b, cols)
                right_marks = moved(marks_b[cols])
                times = 2.0 if own and not same else 1.0
                for part, k in ready.products.values(left, right):
                    if same:
                        k.reshape(-1)[part.start or 0 :: k.shape[1] + 1] = 0.0
                    down[rows][part] += xp.sum(k, axis=1)
                    if not same:
                        (down if own else across)[cols] += xp.sum(k, axis=0)
                    if squares:
                        flat = k.reshape(-1)
                        square = square + times * (flat @ flat)
                    if marks_a.shape[1]:
                        inner = left_marks[part] * (k @ right_marks)
                        chosen = chosen + times * xp.sum(inner, axis=0)
    return host(down), host(across), float(square), host(chosen)


def spread(sums: Sums) -> Spread | None:
    """From the sums over all pairs; ``None`` with fewer than four images on a side."""
    n, m = len(sums.xx), len(sums.yy)
    if min(n, m) < 4:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # the variance is then not finite
        second = (
            _within(sums.xx, sums.squares[0]),
            _within(sums.yy, sums.squares[1]),
            _between(sums.xy, sums.yx, sums.squares[2]),
        )
        real, fake = sums.witness
        first = (
            float(real.var(ddof=1)) - second[0] / (n - 1) - second[2] / m,
            float(fake.var(ddof=1)) - second[1] / (m - 1) - second[2] / n,
        )
    return Spread(first, second, _influence(real), _influence(fake))


def spread_by_reference(
    x: AnyArray, y: AnyArray, products: Products, rng: np.random.Generator
) -> Spread | None:
    """The same where every image is held against a random part of either set."""
    picked = [
        np.sort(rng.choice(len(side), min(len(side), _REFERENCE), replace=False)) for side in (x, y)
    ]
    parts = [side[like(rows, side)] for side, rows in zip((x, y), picked, strict=True)]
    sums = sweep(parts[0], parts[1], products, squares=True)
    ready = _Ready(products, x, y)
    inner = spread(sums)
    if inner is None:
        return None
    r, s = len(parts[0]), len(parts[1])
    influences, first = [], []
    for own, side in enumerate((x, y)):
        means = []
        for part in parts:
            none = np.zeros((len(side), 0), np.uint8), np.zeros((len(part), 0), np.uint8)
            means.append(_gram(side, part, ready, *none)[0] / len(part))
        witness = means[own] - means[1 - own]
        witness[picked[own]] = sums.witness[own]  # there without the image itself
        noise = inner.second[own] / ((r, s)[own] - 1) + inner.second[2] / (s, r)[own]
        first.append(float(witness.var(ddof=1)) - noise)
        influences.append(_influence(witness))
    return Spread((first[0], first[1]), inner.second, influences[0], influences[1])


def _within(sums: Floats, squares: float) -> float:
    """σxx: the variance of k(x, x') less the effects of x and of x', without bias."""
    n, total = len(sums), sums.sum()
    left = squares - 2 * (sums @ sums) / (n - 2) + total * total / ((n - 1) * (n - 2))
    return max(float(left) / (n * (n - 3)), 0.0)


def _between(down: Floats, across: Floats, squares: float) -> float:
    """σxy: the variance of k(x, y) less the effects of x and of y, without bias."""
    n, m, total = len(down), len(across), down.sum()
    left = squares - down @ down / m - across @ across / n + total * total / (n * m)
    return max(float(left) / ((n - 1) * (m - 1)), 0.0)


def _influence(witness: Floats) -> Floats:
    """Twice the witness, as a pair has two places."""
    return np.asarray(2.0 * (witness - witness.mean()))


def finite(value: float) -> float:
    """The value, unless the kernel overflowed."""
    if not math.isfinite(value):
        raise ComputationError(
            "the kernel overflows float64 on these features: divide both sets by one constant or "
            "pass a smaller gamma"
        )
    return value
