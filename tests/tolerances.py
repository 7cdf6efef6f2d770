"""How far two float32 evaluations of the same network may lie apart, from the arithmetic.

Processors, libraries and batch sizes add up the products of a layer in different orders. A sum of
K products, rounded in any order, is off by about √K·u of its size, where u = 2⁻²⁴: the rounding
errors behave as independent ones (Higham and Mary, 2019, doi:10.1137/18M1226312). Errors of
different layers are independent as well, and normalization keeps a layer from amplifying those of
the layers before. So one evaluation of layers with K₁, K₂, … products per output lies within
√(K₁ + K₂ + …)·u of the exact values, relative to the largest, and two evaluations lie within twice
that of each other. ``test_tolerances.py`` compares the bound with float64.
"""

from __future__ import annotations

import math

from torch import nn

UNIT = 2.0**-24
"""The largest relative error of one float32 operation."""


def rounding_error(network: nn.Module) -> float:
    """The bound of one evaluation's error, relative to the largest output."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return UNIT * math.sqrt(sum(layer.weight[0].numel() for layer in layers))


FEATURES = 2 * UNIT * math.sqrt(96_059)
"""3.7e-5: two evaluations of the 2015 Inception. The other networks have fewer products."""


def frechet_error(value: float, largest: float) -> float:
    """How far rounding moves a Fréchet distance F.

    √F is a metric (Gelbrich, 1990), so that it moves by no more than the two sets of features
    do along the direction of their difference: each by the error of a feature.

    Args:
        value: The distance, squared, as it is reported.
        largest: The largest of the features.
    """
    return 2 * math.sqrt(value) * FEATURES * largest


def path_length_error(step: float, elements: int) -> float:
    """How far rounding moves a path length, relative to it.

    A step of ε changes activations by about ε of their size, of which rounding is ``FEATURES`` / ε.
    The square of each change has twice that error; the mean over independent elements has that
    divided by √N, and on top the mean square of the rounding itself.

    Args:
        step: The step ε.
        elements: The number N of places that the mean is taken over.
    """
    share = FEATURES / step
    return 2 * share / math.sqrt(elements) + share**2
