"""The perceptual path length: how smoothly a generator's images follow its latents.

Karras et al. (2019), arXiv 1812.04948: the distance between images of neighboring latents, per
squared step::

    PPL = E LPIPS(G(z(t)), G(z(t + ε))) / ε²

over paths between two latents, in the space of z or of w, at a random position of a path (``full``)
or at the beginning (``end``). Distances outside of the 1st to 99th percentile are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.generators.generated import Generated
from gan_metrics.image_metrics.lpips_input import Floats, check_finite, resized
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.validation import (
    PATHS,
    SAMPLINGS,
    SPACES,
    one_of,
    percentage,
    positive,
)
from gan_metrics.utils.array_types import AnyArray
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.result_warning import ResultWarning

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.lpips import Lpips
    from gan_metrics.generators.calling import Generator

__all__ = ["ppl"]


def ppl(
    drawn: Generated,
    lpips: Lpips,
    *,
    space: str = "z",
    sampling: str = "end",
    interpolation: str = "lerp",
    epsilon: float = 1e-4,
    resize: int | None = 64,
    enlarge: bool = True,
    discard: float = 1.0,
    upper: str = "higher",
    draws: str = "numpy",
    seed: int = 0,
    error_bar: bool = True,
    progress: Progress | None = None,
) -> Estimate:
    """Compute the perceptual path length of a generator.

    Args:
        drawn: Images of the generator; their number is the number of paths.
        lpips: The distance.
        space: ``"z"``, or ``"w"`` for a generator with ``mapping(z)`` and ``synthesis(w)``.
        sampling: ``"full"``: a random position of each path; ``"end"``: its start.
        interpolation: In z: ``"lerp"``, ``"slerp"``, or ``"slerp_unit"`` on the unit sphere. Paths
            in w are straight.
        epsilon: The step ε.
        resize: Side of the square to which images are resized, in pixels: by area averaging if
            they are larger, else bilinear; ``None``: unchanged.
        enlarge: Whether smaller images are resized too.
        discard: Percentage of distances that is left out at both ends, from 0 (none) to below 50.
        upper: Whether the upper percentile is the value below it or above it, ``"lower"`` or
            ``"higher"``; the lower percentile is the value below it.
        draws: Random generator of the latents: ``"numpy"``: one for each path; ``"numpy-legacy"``
            and ``"torch"``: one for all, as in torch-fidelity and torchmetrics.
        seed: Seed of latents and positions.
        error_bar: Whether to compute the standard error.
        progress: Called with the number of finished paths.

    Returns:
        The mean of the remaining distances divided by ε². Its standard error is that of a trimmed
        mean.

    Raises:
        UsageError: For invalid arguments, or a generator without latents.
        InputError: If the generator fails.
        ComputationError: For fewer than 10 paths, or without finite distances.
    """
    import torch

    one_of(*SPACES)("space", space)
    one_of(*SAMPLINGS)("sampling", sampling)
    one_of(*PATHS)("interpolation", interpolation)
    one_of("lower", "higher")("upper", upper)
    positive("epsilon", epsilon)
    percentage("discard", discard)
    generator, n = drawn.generator, len(drawn.names)
    if generator.takes_number:
        raise UsageError(
            f"{generator.name} draws its own latents, but a path length needs paths between "
            "latents; give a generator that is called with latents"
        )
    if n < _LEAST:
        raise ComputationError(f"a path length of {n} paths is meaningless; use at least {_LEAST}")
    walk = _in_w if space == "w" else functools.partial(_in_z, interpolation)
    paths = _paths(generator, n, seed, draws, full=sampling == "full")
    found: list[torch.Tensor] = []
    rounded = False
    for start in range(0, n, drawn.batch_size):
        rows = range(start, min(start + drawn.batch_size, n))
        z0, z1, labels, places = paths(rows)
        condition = [labels] * bool(generator.num_classes)
        ends = []
        for place in (places, places + epsilon):
            images = generator.tensor(
                walk(generator, z0, z1, place, condition, seed + start), len(rows)
            )
            rounded |= not images.is_floating_point()
            ends.append(resized(_in_bytes(generator, images), resize, enlarge=enlarge))
        found.append(lpips(*ends).cpu().double() / epsilon**2)
        if progress is not None:
            progress(f"paths of {generator.name}", rows.stop, n)
    values = torch.cat(found).numpy()
    check_finite(values)
    low = np.percentile(values, discard, method="lower")
    high = np.percentile(values, 100.0 - discard, method=upper)  # type: ignore[call-overload]
    kept = values[(values >= low) & (values <= high)]
    return Estimate(
        float(kept.mean()),
        _trimmed_error(values, float(low), float(high), len(kept)) if error_bar else None,
        details={"space": space, "sampling": sampling, "paths": n, "kept": len(kept)},
        warnings=(_rounded(generator, epsilon),) if rounded else (),
    )


_LEAST = 10
"""Least number of paths, so that some remain between the percentiles."""


def _rounded(generator: Generator, epsilon: float) -> ResultWarning:
    return (
        "rounded-images",
        f"{generator.name} returns uint8: steps of ε = {epsilon:g} are far below its rounding, so "
        "the path length mostly measures rounding; return floating point",
    )


def _trimmed_error(values: Floats, low: float, high: float, kept: int) -> float:
    """Return the standard error of a trimmed mean, by winsorizing (Tukey & McLaughlin)."""
    winsorised = np.clip(values, low, high)
    n = len(values)
    return float(winsorised.std(ddof=1) * np.sqrt(n)) / kept


def _in_bytes(generator: Generator, images: torch.Tensor) -> torch.Tensor:
    """Return a generator's images in 0–255, neither rounded nor clipped."""
    if images.shape[1] == 4:
        raise InputError(
            f"{generator.name} returns images with an alpha channel, but a path length needs RGB: "
            "drop or composite it"
        )
    pixels = generator.pixels(images)  # raises if values are far outside of the range
    if not images.is_floating_point():
        return pixels.float()
    assert generator.value_range is not None  # noqa: S101
    low, high = generator.value_range
    return (images.float() - low) * (255.0 / (high - low))


_Batch = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor", "torch.Tensor"]
_Paths = Callable[[range], _Batch]


def _paths(generator: Generator, n: int, seed: int, draws: str, *, full: bool) -> _Paths:
    """Return a function that gives two latents, the label and the position of each path."""
    import torch

    shape, classes = generator.z_shape, generator.num_classes
    if draws == "numpy":

        def own(rows: range) -> _Batch:
            z0, labels = generator.latents(seed, rows)
            z1, _ = generator.latents(seed, rows, 1)
            places = [np.random.default_rng([seed, row, 2]).random() * full for row in rows]
            return z0, z1, labels, torch.tensor(places, dtype=torch.float64)

        return own
    if draws == "torch":
        made = torch.Generator().manual_seed(seed)
        latents = [torch.randn(n, *shape, generator=made) for _ in range(2)]
        labels = torch.randint(0, max(classes, 1), (n,), generator=made)
        places = torch.rand(n, generator=made, dtype=torch.float64) * full
    else:
        rng = np.random.RandomState(seed)
        latents = [torch.from_numpy(rng.randn(n, *shape)).float() for _ in range(2)]
        labels = torch.from_numpy(rng.randint(0, max(classes, 1), n))
        places = torch.from_numpy(rng.random_sample(n) * full)

    def together(rows: range) -> _Batch:
        part = slice(rows.start, rows.stop)
        z0, z1 = (one[part].to(generator.device, generator.dtype) for one in latents)
        return z0, z1, labels[part].to(generator.device), places[part]

    return together


def _in_z(
    interpolation: str,
    generator: Generator,
    z0: torch.Tensor,
    z1: torch.Tensor,
    place: torch.Tensor,
    labels: Sequence[torch.Tensor],
    chance: int,
) -> AnyArray:
    """Return the images at a position of paths in z."""
    z = _between(z0, z1, place, interpolation)
    return generator.call(generator.function, chance, z, *labels)


def _in_w(
    generator: Generator,
    z0: torch.Tensor,
    z1: torch.Tensor,
    place: torch.Tensor,
    labels: Sequence[torch.Tensor],
    chance: int,
) -> AnyArray:
    """Return the images at a position of straight paths in w."""
    import torch

    parts = [getattr(generator.function, name, None) for name in ("mapping", "synthesis")]
    mapping, synthesis = parts
    if not callable(mapping) or not callable(synthesis):
        raise UsageError(
            f"{generator.name} has no mapping(z) and synthesis(w), which paths in w need; use "
            "space=z"
        )
    ends = [generator.call(mapping, chance, z, *labels) for z in (z0, z1)]
    if not all(isinstance(w, torch.Tensor) and len(w) == len(z0) for w in ends):
        raise InputError(f"the mapping of {generator.name} must return a tensor of {len(z0)} w")
    return generator.call(synthesis, chance, _between(ends[0], ends[1], place, "lerp"))


def _between(
    a: torch.Tensor, b: torch.Tensor, place: torch.Tensor, interpolation: str
) -> torch.Tensor:
    """Return the points at positions of the paths from a to b, in their dtype and on their device.

    Positions and arcs are computed on the host, because not every device has float64.
    """
    import torch

    t = place.view(-1, *[1] * (a.ndim - 1))
    if interpolation == "lerp":
        return a + (b - a) * t.to(a)
    axes = tuple(range(1, a.ndim))
    one, other = a.cpu().double(), b.cpu().double()
    u, v = (x / x.norm(dim=axes, keepdim=True).clamp_min(1e-12) for x in (one, other))
    cosine = (u * v).sum(dim=axes, keepdim=True).clamp(-1.0, 1.0)
    if interpolation == "slerp_unit":
        angle = t * cosine.acos()
        across = v - cosine * u
        across = across / across.norm(dim=axes, keepdim=True).clamp_min(1e-12)
        on_sphere = u * angle.cos() + across * angle.sin()
        unit: torch.Tensor = on_sphere / on_sphere.norm(dim=axes, keepdim=True)
        return unit.to(a)
    omega = cosine.acos()
    straight = omega.sin() < 1e-7
    below = torch.where(straight, torch.ones_like(omega), omega.sin())
    first = torch.where(straight, 1 - t, ((1 - t) * omega).sin() / below)
    second = torch.where(straight, t.expand_as(omega), (t * omega).sin() / below)
    found: torch.Tensor = first * one + second * other
    return found.to(a)
