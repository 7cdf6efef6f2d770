"""Attribution: which regions of an image contribute to its influence on the Fréchet distance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.errors import InputError, UsageError, unknown_name
from gan_metrics.evaluation.compatibility import common_space, declared_warnings
from gan_metrics.evaluation.extract import choose_feature_space, embed_in_one_space
from gan_metrics.evaluation.warnings import metric_warnings
from gan_metrics.features.features import Features
from gan_metrics.images.by_name import images_by_name
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import EmbeddedSet, ImageSet, Input
from gan_metrics.metrics.frechet import frechet_influence
from gan_metrics.metrics.frechet_gradient import frechet_sensitivity
from gan_metrics.metrics.registry import METRICS
from gan_metrics.protocols.spec import Decoding, FeatureSpec, Preprocess
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    import torch


__all__ = ["Attribution", "ImageAttribution", "attribute", "attribute_embedded"]

_TYPICAL = 32
"""Number of real images whose mean activation is subtracted."""

_ASPECT = 1.3
"""Largest ratio of a feature map's aspect ratio to the image's."""

_REACHED = 0.5
"""Share of the positions that a gradient must reach."""


@dataclass(frozen=True, eq=False)
class ImageAttribution:
    """The contributions of the regions of one image.

    Attributes:
        name: Name of the image.
        influence: Without the image the distance is lower by about ``influence / n``.
        pixels: The part of the image that the network receives, ``uint8``, H × W × 3.
        places: Contribution of each position of the feature map to the influence, to first order,
            relative to the mean of real images; shape ``(h, w)``, float64; positive ones raise it.
    """

    name: str
    influence: float
    pixels: npt.NDArray[np.uint8]
    places: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The contributions of the regions of several images.

    Attributes:
        images: One entry for each image.
        layer: Module name of the feature map to which gradients are propagated back.
        n_fake: Number of generated images behind the influences.
        feature_spec: The feature space.
        warnings: Pairs of a code and a message.
    """

    images: Sequence[ImageAttribution]
    layer: str
    n_fake: int
    feature_spec: FeatureSpec
    warnings: Sequence[ResultWarning] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageAttribution]:
        return iter(self.images)


@takes_options
def attribute(
    real: Input,
    fake: Input,
    *,
    top: int = 8,
    names: Sequence[str] = (),
    options: Options,
) -> Attribution:
    """Compute which regions of generated images contribute to the Fréchet distance.

    The gradient of an image's influence with respect to its features
    (:func:`~gan_metrics.metrics.frechet_sensitivity`) is propagated back to the last feature map of
    the network. Each position is weighted with gradient × (activation − mean activation of real
    images), summed over channels; after Kynkäänniemi et al. (2022), arXiv 2203.06026. The map is
    the last one with a gradient at more than one position: the map before the pooling of a
    convolutional network, or the tokens before the last attention of a transformer.

    Args:
        real: Real images, as for :func:`~gan_metrics.fid`.
        fake: A folder or batch of images, or a generator.
        top: Number of images with the highest influence.
        names: Names of images to use instead.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`; gradients are in fp32.

    Raises:
        UsageError: If an image does not exist, or the network has no suitable map.
        InputError: If the generated set does not hold images.
        GanMetricsError: As for :func:`~gan_metrics.fid`.
    """
    top = whole_number("top", top, least=1)
    sets = [open_set(one, options) for one in (real, fake)]
    if not isinstance(sets[1], ImageSet):
        raise InputError(f"{sets[1].description} does not hold images, which attribution needs")
    space = choose_feature_space(sets, options)
    assert space is not None  # noqa: S101  (there are images)
    reals, fakes = embed_in_one_space(sets, space, options)
    return attribute_embedded(reals, fakes, space, options, top=top, names=names)


def attribute_embedded(
    reals: EmbeddedSet,
    fakes: EmbeddedSet,
    space: FeatureSpace,
    options: Options,
    *,
    top: int = 8,
    names: Sequence[str] = (),
) -> Attribution:
    """Do the same as :func:`attribute`, for sets that are embedded already.

    Args:
        reals: Features or statistics of the real images.
        fakes: Features of the generated images, with their source.
        space: The feature space.
        options: The options; only the device is used.
        top: Number of images with the highest influence.
        names: Names of images to use instead.

    Raises:
        GanMetricsError: As for :func:`attribute`.
    """
    if not isinstance(fakes, Features) or fakes.source is None:
        raise InputError(f"{fakes.description} does not hold images, which attribution needs")
    spec, declared = common_space([reals, fakes], space, options)
    against = reals.moments if reals.array is None else reals.array
    influence = frechet_influence(fakes.array, against)
    rows = _selected_rows(fakes.names, influence, top, names, fakes.description)
    gradients = frechet_sensitivity(fakes.array, against, rows)
    typical = reals if isinstance(reals, Features) and reals.source is not None else fakes
    mapper = _Mapper(space, options.device, _some_pixels(typical, space.decoding))
    names = [fakes.names[row] for row in rows]
    pixels = images_by_name(fakes.source, names, space.decoding)
    found = [
        ImageAttribution(name, float(influence[row]), mapper.seen(image), mapper.places(image, g))
        for name, row, image, g in zip(names, rows, pixels, gradients, strict=True)
    ]
    notes = [] if typical is reals else [_without_reals(reals)]
    warned = [warning for one in (reals, fakes) for warning in one.warnings]
    warned += metric_warnings(METRICS["fid"], [reals, fakes], spec, error_bars=False)
    warned += declared_warnings(declared)
    return Attribution(found, mapper.layer, len(influence), spec, unique([*warned, *notes]))


class _Mapper:
    """A network, and its feature map to which gradients are propagated back."""

    def __init__(
        self, choice: FeatureSpace, device: str, typical: Sequence[npt.NDArray[np.uint8]]
    ) -> None:
        from gan_metrics.backbones.network import Backbone

        precise = replace(choice, spec=replace(choice.spec, precision="fp32"))
        self._backbone = Backbone(precise, device)
        self._paths = {module: path for path, module in self._backbone.module.named_modules()}
        self.layer = ""
        self._typical = typical
        self._mean: torch.Tensor | None = None

    def seen(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the part of an image that the network receives, H × W × 3."""
        import torch

        from gan_metrics.images import preprocess

        how = self._backbone.spec.preprocess
        assert isinstance(how, Preprocess)  # noqa: S101
        with torch.inference_mode():
            inputs = preprocess.apply(torch.tensor(pixels)[None], how)[0]
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
        shown = (inputs * std + mean) * how.divisor
        found: npt.NDArray[np.uint8] = shown.round().clamp(0, 255).to(torch.uint8).numpy()
        return np.ascontiguousarray(found.transpose(1, 2, 0))

    def places(
        self, pixels: npt.NDArray[np.uint8], gradient: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the contribution of each position of the map to (gradient · features)."""
        import torch

        recorded = self._forward(pixels)
        features = recorded.pop(None)
        score = (features * torch.from_numpy(gradient).to(features)).sum()
        if not self.layer:
            self.layer = self._last_map(score, recorded)
        (slope,) = torch.autograd.grad(score, recorded[self.layer])
        if self._mean is None:
            every = [_places(self._forward(image)[self.layer].detach()) for image in self._typical]
            self._mean = torch.stack([one.mean(dim=(1, 2)) for one in every]).mean(dim=0)
        activation = _places(recorded[self.layer].detach())
        share = (_places(slope) * (activation - self._mean[:, None, None])).sum(dim=0)
        return share.double().cpu().numpy()

    def _forward(self, pixels: npt.NDArray[np.uint8]) -> dict[Any, torch.Tensor]:
        """Return the features of one image (key ``None``), and possible maps on the way to them."""
        import torch

        image = torch.tensor(pixels).float()[None].requires_grad_()
        recorded: dict[Any, torch.Tensor] = {}

        def keep(module: torch.nn.Module, _: object, output: Any) -> None:  # noqa: ANN401
            path = self._paths[module]
            wanted = path == self.layer if self.layer else _is_map(module, output)
            if wanted and path:
                recorded.setdefault(path, output)

        handles = [module.register_forward_hook(keep) for module in self._paths]
        try:
            features = self._backbone.differentiable(image)
        finally:
            for handle in handles:
                handle.remove()
        if not self.layer:
            recorded = _without_attention(recorded)
        recorded[None] = features
        return recorded

    def _last_map(self, score: torch.Tensor, recorded: dict[Any, torch.Tensor]) -> str:
        """Return the last map with a gradient at most of its positions.

        Raises:
            UsageError: If there is none.
        """
        import torch

        paths = list(recorded)[::-1]
        slopes = (
            torch.autograd.grad(
                score, [recorded[path] for path in paths], retain_graph=True, allow_unused=True
            )
            if paths
            else ()
        )
        for path, slope in zip(paths, slopes, strict=True):
            if slope is not None:
                size = _places(slope).abs().amax(dim=0)
                if (size > 1e-9 * size.max()).float().mean() > _REACHED and size.max() > 0:
                    return str(path)
        raise UsageError(
            f"{self._backbone.spec.backbone} has no feature map before its layer "
            f"{self._backbone.spec.layer!r} with a gradient at more than one position"
        )


def _is_map(module: torch.nn.Module, output: object) -> bool:
    """Whether an output is a map: N × C × H × W, N × H × W × C, or tokens of a square grid."""
    import torch
    from torch import nn

    if not isinstance(output, torch.Tensor) or not output.requires_grad or len(output) != 1:
        return False
    if output.ndim == 4:
        height, width = _places(output).shape[1:]
        return min(height, width) > 1 and max(height, width) < _ASPECT * min(height, width)
    # A linear layer is only part of a step, such as queries, keys and values of attention.
    return output.ndim == 3 and output.shape[1] >= 4 and not isinstance(module, nn.Linear)


def _without_attention(recorded: dict[Any, torch.Tensor]) -> dict[Any, torch.Tensor]:
    """Remove outputs inside of attention layers, one axis of which counts tokens."""
    tokens = {output.shape[1] for output in recorded.values() if output.ndim == 3}
    return {
        path: output
        for path, output in recorded.items()
        if output.ndim == 3 or not tokens & {*output.shape[2:]}
    }


def _places(output: torch.Tensor) -> torch.Tensor:
    """Return the map of one image as C × h × w; tokens: the largest square grid at their end."""
    one = output[0]
    if one.ndim == 3:
        last = one.shape[0] == one.shape[1] != one.shape[2]
        return one.permute(2, 0, 1) if last else one
    side = math.isqrt(len(one))
    return one[len(one) - side * side :].T.reshape(-1, side, side)


def _selected_rows(
    known: Sequence[str],
    influence: npt.NDArray[np.float64],
    top: int,
    names: Sequence[str],
    where: str,
) -> list[int]:
    """Return the positions of the selected images."""
    if not names:
        return [int(i) for i in np.argsort(-influence, kind="stable")[:top]]
    places = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in places:
            raise unknown_name(f"image of {where}", name, known)
    return [places[name] for name in names]


def _some_pixels(features: Features, decoding: Decoding) -> list[npt.NDArray[np.uint8]]:
    """Return some images of a set, evenly over their order."""
    assert features.source is not None  # noqa: S101  (checked by the callers)
    names = features.names
    rows = np.unique(np.linspace(0, len(names) - 1, _TYPICAL).round().astype(int))
    return list(images_by_name(features.source, [names[row] for row in rows], decoding))


def _without_reals(reals: EmbeddedSet) -> ResultWarning:
    return (
        "reference-has-no-images",
        f"{reals.description} does not hold images: the mean of generated ones is subtracted",
    )
