"""Where in an image its influence on the Fréchet distance comes from."""

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
"""Real images whose mean is what a place is held against."""

_ASPECT = 1.3
"""Ratio by which a feature map may be wider or higher than the image is."""

_REACHED = 0.5
"""Share of the places that a gradient must reach."""


@dataclass(frozen=True, eq=False)
class ImageAttribution:
    """Where in one image its influence comes from.

    Attributes:
        name: Of the image.
        influence: Leaving the image out lowers the distance by about ``influence / n``.
        pixels: What the network sees of the image, ``uint8``, H × W × 3.
        places: Shape ``(h, w)``, float64: what each place of the feature map adds to the
            influence, to first order, beside the mean of real images; above 0 it raises it.
    """

    name: str
    influence: float
    pixels: npt.NDArray[np.uint8]
    places: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where in some images their influence comes from.

    Attributes:
        images: Of each of them.
        layer: The feature map that the gradients were propagated back to, by its module's name.
        n_fake: Number of the fake images that the influences are of.
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
    """Show where in fake images their influence on the Fréchet distance comes from.

    The gradient of an image's influence with respect to its features
    (:func:`~gan_metrics.metrics.frechet_sensitivity`) is propagated back to the last feature map
    of the network, whose every place then counts with gradient × (activation − mean activation of
    real images), summed over channels; after Kynkäänniemi et al. (2022), arXiv 2203.06026. The
    map is the last one that the gradient reaches in more than one place: that before the pooling
    of a convolutional network, the tokens before the last attention of a transformer.

    Args:
        real: As for :func:`~gan_metrics.fid`.
        fake: A folder or batch of images, or what a generator draws.
        top: So many images with the highest influence.
        names: These images instead, by their names.
        options: See :class:`~gan_metrics.inputs.options.Options`; gradients are always in fp32.

    Raises:
        UsageError: When an image is not there, or the network has no map that a gradient reaches.
        InputError: When the fake side holds no images.
        GanMetricsError: As for :func:`~gan_metrics.fid`.
    """
    top = whole_number("top", top, least=1)
    sets = [open_set(one, options) for one in (real, fake)]
    if not isinstance(sets[1], ImageSet):
        raise InputError(
            f"{sets[1].description} holds no images, and where in an image is asked for"
        )
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
    """As :func:`attribute`, for sets whose features are there already.

    Args:
        reals: The real images' features or statistics.
        fakes: The generated images' features, with their source.
        space: The feature space.
        options: The device; see :class:`~gan_metrics.inputs.options.Options`.
        top: As many images with the highest influence.
        names: These images instead, by their names.

    Raises:
        GanMetricsError: As for :func:`attribute`.
    """
    if not isinstance(fakes, Features) or fakes.source is None:
        raise InputError(f"{fakes.description} holds no images, and where in an image is asked for")
    spec, declared = common_space([reals, fakes], space, options)
    against = reals.moments if reals.array is None else reals.array
    influence = frechet_influence(fakes.array, against)
    rows = _chosen(fakes.names, influence, top, names, fakes.description)
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
    """A network, and the map in it that gradients are propagated back to."""

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
        """What the network sees of an image, H × W × 3."""
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
        """What each place of the map adds to (gradient · features)."""
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
        """The features of one image (under ``None``), and what may be a map on the way to them."""
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
        """The last map that the gradient reaches in most of its places.

        Raises:
            UsageError: When there is none.
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
            f"{self._backbone.spec.layer!r} that the gradient reaches in more than one place"
        )


def _is_map(module: torch.nn.Module, output: object) -> bool:
    """Whether an output has places: N × C × H × W, N × H × W × C, or tokens of a square grid."""
    import torch
    from torch import nn

    if not isinstance(output, torch.Tensor) or not output.requires_grad or len(output) != 1:
        return False
    if output.ndim == 4:
        height, width = _places(output).shape[1:]
        return min(height, width) > 1 and max(height, width) < _ASPECT * min(height, width)
    # A linear map alone is a part of a step, such as the queries, keys and values of attention.
    return output.ndim == 3 and output.shape[1] >= 4 and not isinstance(module, nn.Linear)


def _without_attention(recorded: dict[Any, torch.Tensor]) -> dict[Any, torch.Tensor]:
    """The same without what goes on inside of attention: a side of it counts the tokens."""
    tokens = {output.shape[1] for output in recorded.values() if output.ndim == 3}
    return {
        path: output
        for path, output in recorded.items()
        if output.ndim == 3 or not tokens & {*output.shape[2:]}
    }


def _places(output: torch.Tensor) -> torch.Tensor:
    """The map of one image as C × h × w; of tokens, those of the largest square at their end."""
    one = output[0]
    if one.ndim == 3:
        last = one.shape[0] == one.shape[1] != one.shape[2]
        return one.permute(2, 0, 1) if last else one
    side = math.isqrt(len(one))
    return one[len(one) - side * side :].T.reshape(-1, side, side)


def _chosen(
    known: Sequence[str],
    influence: npt.NDArray[np.float64],
    top: int,
    names: Sequence[str],
    where: str,
) -> list[int]:
    """The images that are shown, by their places."""
    if not names:
        return [int(i) for i in np.argsort(-influence, kind="stable")[:top]]
    places = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in places:
            raise unknown_name(f"image of {where}", name, known)
    return [places[name] for name in names]


def _some_pixels(features: Features, decoding: Decoding) -> list[npt.NDArray[np.uint8]]:
    """Some images of a set, evenly over their order."""
    assert features.source is not None  # noqa: S101  (the callers have seen to it)
    names = features.names
    rows = np.unique(np.linspace(0, len(names) - 1, _TYPICAL).round().astype(int))
    return list(images_by_name(features.source, [names[row] for row in rows], decoding))


def _without_reals(reals: EmbeddedSet) -> ResultWarning:
    return (
        "reference-has-no-images",
        f"{reals.description} holds no images: places are held against the mean of fake ones",
    )
