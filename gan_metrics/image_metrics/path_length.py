"""How smoothly a generator's images follow its latents: the perceptual path length.

Karras et al. (2019), arXiv 1812.04948: how far images move when latents do, squared and per squared
step::

    PPL = E LPIPS(G(z(t)), G(z(t + ε))) / ε²

over paths between two latents, in the space of z or of w, at any place of a path (``full``) or at
its beginning (``end``); distances outside the 1st and the 99th percentile are left out.
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
    """The perceptual path length of a generator.

    Args:
        drawn: What the generator draws; as many paths as it has images.
        lpips: The distance.
        space: ``"z"``, or ``"w"`` for a generator with ``mapping(z)`` and ``synthesis(w)``.
        sampling: ``"full"``: at a random place of each path; ``"end"``: where it begins.
        interpolation: Of z: ``"lerp"``, ``"slerp"``, or ``"slerp_unit"`` on the unit sphere. Paths
            in w are straight.
        epsilon: The step ε.
        resize: Bring images to a square of this size first, in pixels: by the mean over areas
            where they are larger, else bilinear; ``None``: as they are.
        enlarge: Whether smaller images are brought to it too.
        discard: Distances below this percentile, and above that many from the top, are left out;
            from 0, which keeps all, to below 50.
        upper: Whether the upper percentile is the value below it or above, ``"lower"`` or
            ``"higher"``; the lower one is that below.
        draws: What draws latents: ``"numpy"``: one generator for each path; ``"numpy-legacy"`` and
            ``"torch"``: one for all, as torch-fidelity and torchmetrics do.
        seed: Of latents and places.
        error_bar: Whether the standard error is wanted.
        progress: Told of the paths as they are done.

    Returns:
        The mean of the distances that are kept, over ε². Its standard error is that of a trimmed
        mean.

    Raises:
        UsageError: For arguments that cannot be, or a generator without latents.
        InputError: When the generator fails.
        ComputationError: For fewer than 10 paths, or where none is finite.
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
            f"{generator.name} draws its latents itself, and a path length goes between latents; "
            "give a generator that is called with them"
        )
    if n < _LEAST:
        raise ComputationError(f"a path length of {n} paths says nothing; give at least {_LEAST}")
    walk = _in_w if space == "w" else functools.partial(_in_z, interpolation)
    paths = _paths(generator, n, seed, draws, full=sampling == "full")
    found: list[torch.Tensor] = []
    rounded = False
    for start in range(0, n, drawn.batch_size):
        rows = range(start, min(start + drawn.batch_size, n))
        z0, z1, labels, places = paths(rows)
        told = [labels] * bool(generator.num_classes)
        ends = []
        for place in (places, places + epsilon):
            images = generator.tensor(walk(generator, z0, z1, place, told, seed + start), len(rows))
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
"""Paths, of which the percentiles leave some over."""


def _rounded(generator: Generator, epsilon: float) -> ResultWarning:
    return (
        "rounded-images",
        f"{generator.name} gives uint8: steps of ε = {epsilon:g} are far smaller than its "
        "rounding, and the path length is mostly that of rounding; give floating point",
    )


def _trimmed_error(values: Floats, low: float, high: float, kept: int) -> float:
    """The standard error of a trimmed mean, by the winsorised deviation (Tukey & McLaughlin)."""
    winsorised = np.clip(values, low, high)
    n = len(values)
    return float(winsorised.std(ddof=1) * np.sqrt(n)) / kept


def _in_bytes(generator: Generator, images: torch.Tensor) -> torch.Tensor:
    """A generator's images in 0–255, neither rounded nor clipped."""
    if images.shape[1] == 4:
        raise InputError(
            f"{generator.name} gives images with an alpha channel, and a path length needs RGB: "
            "drop or composite it"
        )
    pixels = generator.pixels(images)  # refuses what lies far from the declared range
    if not images.is_floating_point():
        return pixels.float()
    assert generator.value_range is not None  # noqa: S101
    low, high = generator.value_range
    return (images.float() - low) * (255.0 / (high - low))


_Batch = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor", "torch.Tensor"]
_Paths = Callable[[range], _Batch]


def _paths(generator: Generator, n: int, seed: int, draws: str, *, full: bool) -> _Paths:
    """Gives two latents, the label and the place of each path."""
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
    """The images at a place of paths in z."""
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
    """The images at a place of straight paths in w."""
    import torch

    parts = [getattr(generator.function, name, None) for name in ("mapping", "synthesis")]
    mapping, synthesis = parts
    if not callable(mapping) or not callable(synthesis):
        raise UsageError(
            f"{generator.name} has no mapping(z) and synthesis(w), which paths in w go between; "
            "use space=z"
        )
    ends = [generator.call(mapping, chance, z, *labels) for z in (z0, z1)]
    if not all(isinstance(w, torch.Tensor) and len(w) == len(z0) for w in ends):
        raise InputError(f"the mapping of {generator.name} does not give a tensor of {len(z0)} w")
    return generator.call(synthesis, chance, _between(ends[0], ends[1], place, "lerp"))


def _between(
    a: torch.Tensor, b: torch.Tensor, place: torch.Tensor, interpolation: str
) -> torch.Tensor:
    """The points at places of the paths from a to b, in their dtype and where they are.

    Places are on the host, and so are arcs: not every device has float64.
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
