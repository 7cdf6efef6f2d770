"""Compares what was recorded with what is found."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["EXACT", "Allowed", "Network", "differences"]

EXACT = 1e-9
"""Relative, on the machine that made the records (``GAN_METRICS_GOLDEN_EXACT=1``).

The same instructions give the same bits; what is left are threads that take up sums in another
order, in float64.
"""


@dataclass(frozen=True)
class Network:
    """What bounds the numbers that come of a network.

    Attributes:
        feature: The largest feature.
        dimensions: How many there are.
    """

    feature: float
    dimensions: int


class Allowed:
    """How far a number may be from the recorded one.

    On another processor, sums run in another order and fused operations round once instead of
    twice. What is computed from saved features starts from the same bits. Its dot products over
    D = 16 dimensions, where they are in float32, are within D · 2⁻²⁴ ≈ 1e-6 of the sum of their
    absolute terms (Higham 2002, section 3.1), everything else is float64.

    A network's features are within 1e-5 of the largest one, f, as for the other tests of networks.
    The Fréchet distance is a squared Wasserstein distance of Gaussians, and the distance of a set
    from its own disturbed copy is at most the root mean square of the disturbances, which is
    δ = 1e-5 f √D for D dimensions; so |√FD′ − √FD| ≤ 2δ, and a value or term x moves by at most
    4δ√x + 4δ². Error bars of networks are not recorded.

    A number that is a difference of larger ones carries their absolute error, so a relative bound
    says nothing about it: a KID near 0 is a difference of mean kernel values, a share is one of
    counts. Bounds are therefore relative to the number or to ``size``, whichever is larger: 1, or
    a network's largest feature.

    Args:
        network: Bounds of a network's numbers; ``None``: none ran.
    """

    def __init__(self, network: Network | None = None) -> None:
        self.exact = os.environ.get("GAN_METRICS_GOLDEN_EXACT") == "1"
        self.network = network
        self.size = 1.0 if network is None else max(1.0, network.feature)

    def __call__(self, recorded: float, place: str = "") -> float:
        size = max(abs(recorded), self.size)
        if self.exact:
            return EXACT * size
        if place.endswith("(ties)"):
            return 2 * _TIE  # an interval's end is 1.96 standard errors away
        if self.network is None:
            return 16 * 2.0**-24 * size
        delta = 1e-5 * self.network.feature * math.sqrt(self.network.dimensions)
        return max(4 * delta * math.sqrt(abs(recorded)) + 4 * delta**2, 1e-5 * size)


_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+\.\d+(?:e[-+]?\d+)?|(?<![\w.])[-+]?\d+e[-+]?\d+", re.I)


_BALL_METRICS = {
    "precision",
    "recall",
    "density",
    "coverage",
    "clipped_density",
    "clipped_coverage",
}
"""Metrics whose error bars compare float32 distances with radii in half-samples."""

_TIE = 4e-3
"""How far the recorded error bar of one of these metrics may be off.

The saved features are multiples of 1/64, so a distance can equal a radius exactly, and the rounding
of float32 decides whether a point is in the ball. One decision changes one draw of 100 by at most
1/(k · m/2) = 0.02 for k = 5 and m = 20 generated images, times the slope of the calibration, at
most 2; the standard deviation of the draws changes by at most 1/√99 of this: 4e-3.
"""

_OF_FEATURES = {"crc32"}
"""Checksums of features, whose last bits are the processor's."""


def differences(recorded: Any, found: Any, allowed: Allowed, place: str = "") -> Iterator[str]:
    """Where two documents differ, in words; nothing where they are the same."""
    numbers = (int, float)
    if isinstance(recorded, bool) or isinstance(found, bool):
        if recorded is not found:
            yield f"{place}: {recorded!r} was recorded, {found!r} is found"
    elif isinstance(recorded, dict) and isinstance(found, dict):
        if list(recorded) != list(found):
            yield f"{place}: fields {list(recorded)} were recorded, {list(found)} are found"
            return
        for key, value in recorded.items():
            if key in _OF_FEATURES and allowed.network is not None and not allowed.exact:
                continue
            ties = recorded.get("metric") in _BALL_METRICS and key in ("standard_error", "ci95")
            at = f"{place}.{key}" + (" (ties)" if ties else "")
            yield from differences(value, found[key], allowed, at)
    elif isinstance(recorded, list) and isinstance(found, list):
        if len(recorded) != len(found):
            yield f"{place}: {len(recorded)} entries were recorded, {len(found)} are found"
            yield f"  recorded: {recorded!r}"[:2000]
            yield f"  found:    {found!r}"[:2000]
            return
        for i, (one, other) in enumerate(zip(recorded, found, strict=True)):
            at = f"{place}[{i}]" + (" (ties)" if place.endswith("(ties)") else "")
            yield from differences(one, other, allowed, at)
    elif isinstance(recorded, str) and isinstance(found, str):
        if recorded != found and not _same_text(recorded, found, allowed):
            yield f"{place}: {recorded!r} was recorded, {found!r} is found"
    elif isinstance(recorded, numbers) and isinstance(found, numbers):
        whole = isinstance(recorded, int) and isinstance(found, int)
        if type(recorded) is not type(found) or (
            recorded != found and (whole or not abs(recorded - found) <= allowed(recorded, place))
        ):
            yield f"{place}: {recorded!r} was recorded, {found!r} is found"
    elif recorded is not None or found is not None:
        yield f"{place}: {recorded!r} was recorded, {found!r} is found"


def _same_text(recorded: str, found: str, allowed: Allowed) -> bool:
    """Whether texts are the same but for the last digits of numbers with a decimal point."""
    if allowed.exact:
        return False
    if _NUMBER.sub("#", recorded).split() != _NUMBER.sub("#", found).split():
        return False
    pairs = zip(_NUMBER.findall(recorded), _NUMBER.findall(found), strict=True)
    return all(_same_number(one, other, allowed) for one, other in pairs)


def _same_number(recorded: str, found: str, allowed: Allowed) -> bool:
    one, other = (float(text.replace("−", "-")) for text in (recorded, found))
    return abs(one - other) <= allowed(one) + max(_unit(recorded), _unit(found))


def _unit(text: str) -> float:
    """One in the last place of a printed number: two roundings of half of it."""
    digits, _, power = text.lower().partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
