"""What needs images or a generator rather than features: distances that people would see.

*Diversity* is the mean LPIPS between pairs of generated images (Zhu et al. 2017, BicycleGAN, arXiv
1711.11586). *Perceptual path length* (Karras et al. 2019, arXiv 1812.04948) is how far images move
when latents do, squared and per squared step::

    PPL = E LPIPS(G(z(t)), G(z(t + ε))) / ε²

over paths between two latents, in the space of z or of w, at any place of a path (``full``) or at
its beginning (``end``); distances outside the 1st and the 99th percentile are left out.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, ImageError, InputError, UsageError
from gan_metrics.extraction import Progress, draw_images
from gan_metrics.images.decode import decode
from gan_metrics.images.sources import Generated, ImageSource
from gan_metrics.labels import folder_classes
from gan_metrics.metrics.arguments import (
    PATHS,
    SAMPLINGS,
    SPACES,
    one_of,
    percentage,
    positive,
    whole_number,
)
from gan_metrics.metrics.estimates import Estimate
from gan_metrics.options import Options, weights_of
from gan_metrics.results import Warning_
from gan_metrics.sides import Side
from gan_metrics.specs import Decoding, FeatureSpec

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.lpips import Lpips
    from gan_metrics.generators import Generator

__all__ = ["Perceived", "lpips_diversity", "network_of", "perceive", "ppl"]

Floats = npt.NDArray[np.float64]

_BATCH = 16
_KEPT = 256
"""Decoded images that are kept: a pair's partner may have been seen just before."""


@dataclass(frozen=True)
class Perceived:
    """A value in the space of LPIPS, and what a record says of it.

    Attributes:
        estimate: The value with its error bar.
        spec: The network.
        count: Images or paths.
        digest: What stands for the images that were looked at.
        skipped: Pairs of a name and a reason for images that were left out.
        warnings: Pairs of a code and a message.
    """

    estimate: Estimate
    spec: FeatureSpec
    count: int
    digest: str | None = None
    skipped: Sequence[tuple[str, str]] = ()
    warnings: Sequence[Warning_] = ()


def network_of(metric: str, arguments: Mapping[str, Any]) -> str:
    """The backbone whose weights a metric's LPIPS takes."""
    from gan_metrics.backbones.lpips import NETS

    return NETS[_net_of(metric, arguments)]


def _net_of(metric: str, arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("net", "vgg" if metric == "ppl" else "alex"))


def perceive(
    metric: str,
    side: Side,
    options: Options,
    arguments: Mapping[str, Any],
    *,
    error_bar: bool,
    alone: bool,
) -> Perceived:
    """A metric of images or of a generator.

    Args:
        metric: ``"lpips_diversity"`` or ``"ppl"``.
        side: The images, or what a generator draws.
        options: Device, weights, seed, faults, progress.
        arguments: Of the metric.
        error_bar: Whether the error bar is wanted.
        alone: Whether there is no other network that a weights file without a name is meant for.

    Raises:
        GanMetricsError: As for :func:`lpips_diversity` and :func:`ppl`.
    """
    from gan_metrics.backbones.lpips import Lpips

    lpips = Lpips(
        _net_of(metric, arguments),
        weights=weights_of(options, network_of(metric, arguments), main=alone),
        device=options.get("device", "auto"),
        seed=options.get("seed", 0),
        progress=options.get("progress"),
    )
    given = {name: value for name, value in arguments.items() if name != "net"}
    how: dict[str, Any] = {
        "seed": given.pop("seed", options.get("seed", 0)),
        "error_bar": error_bar,
        "progress": options.get("progress"),
    }
    source, most = side.source, options.get("max_images")
    assert source is not None  # noqa: S101
    decoding = Decoding(options.get("alpha") or "drop", options.get("exif") or "ignore")
    if metric == "ppl":
        if not isinstance(source, Generated):
            raise UsageError("a path length is that of a generator; give --generator")
        if most is not None and most < len(source.names):
            source = source.redrawn(most, source.seed)
        found = ppl(source, lpips, **given, **how)
        count, digest, skipped = len(source.names), None, []
    else:
        rows = draw_images(len(source.names), most, options.get("seed", 0))
        images = _Images(source, options.get("on_error", "raise"), rows, decoding)
        found = lpips_diversity(images, lpips, **given, **how)
        count, digest = len(images) - len(images.skipped), images.digest
        skipped = list(images.skipped.items())
    warned = [*lpips.warnings, *source.warnings]
    spec = replace(lpips.spec, departures=_departures(decoding))
    return Perceived(found, spec, count, digest, skipped, warned)


def _departures(decoding: Decoding) -> tuple[tuple[str, str], ...]:
    """What differs from the plain way of decoding."""
    plain = Decoding()
    ways = {"alpha": (decoding.alpha, plain.alpha), "exif": (decoding.exif, plain.exif)}
    return tuple(sorted((name, way) for name, (way, usual) in ways.items() if way != usual))


class _Images:
    """The decoded images of a source; a bad one is refused, or left out and listed."""

    def __init__(
        self,
        source: ImageSource,
        on_error: str = "raise",
        rows: Sequence[int] | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self._rows = range(len(source.names)) if rows is None else rows
        self._decoding = decoding or Decoding()
        self.names = [source.names[row] for row in self._rows]
        self.description = source.description
        self.skipped: dict[str, str] = {}
        self._hashes: dict[int, bytes] = {}
        self._source, self._skip = source, on_error == "skip"
        self.pixels = functools.lru_cache(_KEPT)(self._pixels)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 over those of the images that were looked at, in their order."""
        return hashlib.sha256(b"".join(h for _, h in sorted(self._hashes.items()))).hexdigest()

    def _pixels(self, index: int) -> npt.NDArray[np.uint8] | None:
        """One image, ``uint8``, 3 × H × W; ``None`` where it is left out."""
        try:
            data = self._source.read(self._rows[index])
            self._hashes[index] = hashlib.sha256(data).digest()
            return decode(data, self._decoding)[0]
        except ImageError as error:
            name = self.names[index]
            if not self._skip:
                raise ImageError(
                    f"{os.path.join(self.description, name)!r}: {error}. "
                    "--on-error skip leaves bad images out and lists them"
                ) from None
            self.skipped[name] = str(error)
            return None


def lpips_diversity(
    images: _Images | ImageSource,
    lpips: Lpips,
    *,
    pairs: int = 1000,
    within_class: bool = False,
    resize: int | None = None,
    seed: int = 0,
    error_bar: bool = True,
    progress: Progress | None = None,
) -> Estimate:
    """The mean LPIPS between pairs of images: 0 where they are all the same.

    Args:
        images: A source of images.
        lpips: The distance.
        pairs: So many different pairs are drawn; all of them where there are no more.
        within_class: Pairs of images of one class folder alone.
        resize: Bring images to a square of this size first, in pixels; needed where their sizes
            differ.
        seed: Of the draw.
        error_bar: Whether the standard error is wanted.
        progress: Told of the pairs as they are done.

    Returns:
        The mean. Its standard error, over redraws of images and pairs, adds up what pairs that
        share an image have in common (Fafchamps & Gubert 2007).

    Raises:
        UsageError: For arguments that cannot be, or images of several sizes.
        InputError: When ``within_class`` is asked for and there are no class folders.
        ComputationError: For fewer than two images, or of one class.
    """
    import torch

    whole_number("pairs", pairs, least=2)
    known = images if isinstance(images, _Images) else _Images(images)
    drawn = _draw_pairs(known, pairs, within_class, seed)
    distances: list[float] = []
    kept: list[int] = []
    for start in range(0, len(drawn), _BATCH):
        batch: dict[tuple[int, ...], list[tuple[int, torch.Tensor, torch.Tensor]]] = {}
        for row in range(start, min(start + _BATCH, len(drawn))):
            one, other = (known.pixels(int(i)) for i in drawn[row])
            if one is None or other is None:
                continue
            x, y = (_resized(torch.tensor(p)[None].float(), resize) for p in (one, other))
            if x.shape != y.shape:
                sizes = " and ".join(f"{p.shape[3]} × {p.shape[2]}" for p in (x, y))
                raise UsageError(
                    f"{known.description} holds images of {sizes} pixels, and LPIPS compares those "
                    "of one size; resize=256 (--resize 256, or --set lpips_diversity.resize=256) "
                    "brings them to one"
                )
            batch.setdefault(tuple(x.shape), []).append((row, x, y))
        for same in batch.values():
            rows, xs, ys = zip(*same, strict=True)
            distances += lpips(torch.cat(xs), torch.cat(ys)).double().cpu().tolist()
            kept += rows
        if progress is not None:
            progress(f"LPIPS of {known.description}", min(start + _BATCH, len(drawn)), len(drawn))
    if not distances:
        raise ComputationError(f"{known.description}: no pair of images could be compared")
    values = np.array(distances)
    _check_finite(values)
    return Estimate(
        float(values.mean()),
        _pairs_error(values, drawn[np.array(kept)], len(known)) if error_bar else None,
        details={"pairs": len(values), "within_class": within_class},
    )


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
            ends.append(_resized(_in_bytes(generator, images), resize, enlarge=enlarge))
        found.append(lpips(*ends).double().cpu() / epsilon**2)
        if progress is not None:
            progress(f"paths of {generator.name}", rows.stop, n)
    values = torch.cat(found).numpy()
    _check_finite(values)
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


def _rounded(generator: Generator, epsilon: float) -> Warning_:
    return (
        "rounded-images",
        f"{generator.name} gives uint8: steps of ε = {epsilon:g} are far smaller than its "
        "rounding, and the path length is mostly that of rounding; give floating point",
    )


def _draw_pairs(
    images: _Images, pairs: int, within_class: bool, seed: int
) -> npt.NDArray[np.int64]:
    """Different pairs of images, ``(k, 2)``; all that there are if there are no more."""
    n = len(images)
    groups = [np.arange(n)]
    if within_class:
        classes = folder_classes(images.names)
        if classes is None:
            raise InputError(
                f"{images.description}: pairs within classes need a folder for each class"
            )
        order = np.array(classes)
        groups = [np.flatnonzero(order == name) for name in dict.fromkeys(classes)]
    sizes = np.array([len(group) * (len(group) - 1) // 2 for group in groups])
    if not sizes.sum():
        raise ComputationError(
            f"{images.description}: there are no two images "
            f"{'of one class ' if within_class else ''}to compare"
        )
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    chosen = np.sort(rng.choice(total, min(pairs, total), replace=False, shuffle=False))
    found = np.empty((len(chosen), 2), np.int64)
    for row, number in enumerate(chosen):
        at = int(np.searchsorted(ends, number, side="right"))
        left = int(number - (ends[at] - sizes[at]))
        # The pair of that number, of those with a first image j < i counted by i.
        i = int((1 + np.sqrt(1 + 8 * left)) / 2)
        while i * (i - 1) // 2 > left:
            i -= 1
        while (i + 1) * i // 2 <= left:
            i += 1
        found[row] = groups[at][i], groups[at][left - i * (i - 1) // 2]
    return found


def _pairs_error(values: Floats, pairs: npt.NDArray[np.int64], n: int) -> float | None:
    """The standard error of a mean over pairs that share images; ``None`` of a single pair."""
    if len(values) < 2:
        return None
    errors = values - values.mean()
    sums = np.bincount(pairs.ravel(), np.repeat(errors, 2), minlength=n)
    own = float((errors**2).sum())
    together = float((sums**2).sum()) - own  # each pair with itself stands in two sums
    return float(np.sqrt(max(together, own))) / len(values)


def _trimmed_error(values: Floats, low: float, high: float, kept: int) -> float:
    """The standard error of a trimmed mean, by the winsorised deviation (Tukey & McLaughlin)."""
    winsorised = np.clip(values, low, high)
    n = len(values)
    return float(winsorised.std(ddof=1) * np.sqrt(n)) / kept


def _check_finite(values: Floats) -> None:
    if not np.isfinite(values).all():
        raise ComputationError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} perceptual distances are not "
            "finite; look at the images, or at the weights"
        )


def _resized(images: torch.Tensor, size: int | None, *, enlarge: bool = True) -> torch.Tensor:
    """Images as a square of that size: by the mean over areas, or bilinear if not larger."""
    from torch.nn.functional import interpolate

    height, width = images.shape[2:]
    larger = height > size and width > size if size is not None else False
    if size is None or not (larger or enlarge) or (height, width) == (size, size):
        return images
    if larger:
        return interpolate(images, (size, size), mode="area")
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)


def _in_bytes(generator: Generator, images: torch.Tensor) -> torch.Tensor:
    """A generator's images in 0–255, neither rounded nor clipped."""
    if not images.is_floating_point():
        return generator.pixels(images).float()
    generator.pixels(images)  # refuses what lies far from the declared range
    assert generator.value_range is not None  # noqa: S101
    low, high = generator.value_range
    return (images.float() - low) * (255.0 / (high - low))


_Paths = Callable[[range], tuple["torch.Tensor", "torch.Tensor", "torch.Tensor", "torch.Tensor"]]


def _paths(generator: Generator, n: int, seed: int, draws: str, *, full: bool) -> _Paths:
    """Gives two latents, the label and the place of each path."""
    import torch

    shape, classes, device = generator.z_shape, generator.num_classes, generator.device
    if draws == "numpy":

        def own(rows: range) -> Any:
            z0, labels = generator.latents(seed, rows)
            z1, _ = generator.latents(seed, rows, 1)
            places = [np.random.default_rng([seed, row, 2]).random() * full for row in rows]
            return z0, z1, labels, torch.tensor(places, dtype=torch.float64, device=device)

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

    def together(rows: range) -> Any:
        part = slice(rows.start, rows.stop)
        return tuple(one[part].to(device) for one in (*latents, labels, places))

    return together


def _in_z(
    interpolation: str,
    generator: Generator,
    z0: torch.Tensor,
    z1: torch.Tensor,
    place: torch.Tensor,
    labels: Sequence[torch.Tensor],
    chance: int,
) -> Any:
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
) -> Any:
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
    """The points at places of the paths from a to b, in their dtype."""
    import torch

    t = place.view(-1, *[1] * (a.ndim - 1))
    if interpolation == "lerp":
        return (a + (b - a) * t.to(a.dtype)).to(a.dtype)
    axes = tuple(range(1, a.ndim))
    u, v = (x.double() / x.double().norm(dim=axes, keepdim=True).clamp_min(1e-12) for x in (a, b))
    cosine = (u * v).sum(dim=axes, keepdim=True).clamp(-1.0, 1.0)
    if interpolation == "slerp_unit":
        angle = t * cosine.acos()
        across = v - cosine * u
        across = across / across.norm(dim=axes, keepdim=True).clamp_min(1e-12)
        on_sphere = u * angle.cos() + across * angle.sin()
        unit: torch.Tensor = on_sphere / on_sphere.norm(dim=axes, keepdim=True)
        return unit.to(a.dtype)
    omega = cosine.acos()
    straight = omega.sin() < 1e-7
    below = torch.where(straight, torch.ones_like(omega), omega.sin())
    first = torch.where(straight, 1 - t, ((1 - t) * omega).sin() / below)
    second = torch.where(straight, t.expand_as(omega), (t * omega).sin() / below)
    found: torch.Tensor = (first * a.double() + second * b.double()).to(a.dtype)
    return found
