"""Metrics that are updated batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from gan_metrics.backbones.multi_space import Embedder
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import BackboneName
from gan_metrics.distributed import Comm, world
from gan_metrics.errors import ComputationError, InputError, MismatchError, UsageError
from gan_metrics.evaluation.compute import Evaluation, FeatureSets, ProtocolRun, compute
from gan_metrics.evaluation.extract import choose_feature_space, embed
from gan_metrics.evaluation.plan import make_plan
from gan_metrics.features.features import Features
from gan_metrics.images.decode import decode
from gan_metrics.images.in_memory import PixelConverter, check_layout, check_value_range
from gan_metrics.images.sources.samples import SampleReader, image_file
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import AnySet, EmbeddedSet, ImageSet, InputSets
from gan_metrics.metrics import registry
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.results.result import EvaluationResult, MetricResult
from gan_metrics.training.loaders import Reference, batches_of, is_loader
from gan_metrics.utils.result_warning import unique

__all__ = [
    "FID",
    "KID",
    "Accumulator",
    "InceptionScore",
    "Metrics",
    "PrecisionRecall",
    "PushedImages",
]

"""Default value range of floating-point images."""

Self = TypeVar("Self", bound="Accumulator")


class PushedImages:
    """A placeholder for images that are added later, used to choose their feature space."""

    names: ClassVar[Sequence[str]] = ()
    warnings: ClassVar[Sequence[tuple[str, str]]] = ()

    def __init__(self, description: str) -> None:
        self.description = description

    def read(self, index: int) -> bytes:
        """Raise, because there are no images yet; see :meth:`ImageSource.read`."""
        raise IndexError(index)


class Accumulator:
    """Collected features of images in the spaces that some metrics need.

    Each batch passes each network once, whatever the number of metrics. The features are kept on
    the host (4·D bytes per image), so that every value has its error bar.
    """

    def __init__(
        self,
        metrics: str | Iterable[str],
        reference: Reference | None = None,
        *,
        backbone: BackboneName | None = None,
        layer: str | None = None,
        pool: str | None = None,
        protocol: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        precision: str | None = None,
        value_range: Sequence[float] | None = None,
        layout: str | None = None,
        device: str | torch.device = "auto",
        seed: int | None = None,
        error_bars: bool = True,
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        comm: Comm | None = None,
    ) -> None:
        self._comm = comm
        self.value_range, self.layout = check_value_range(value_range), check_layout(layout)
        rows = registry.expand(metrics)
        for name, row in rows.items():
            if row.needs in registry.PIXEL_INPUTS or row.needs_held_out:
                raise UsageError(f"{name} cannot be updated in batches; use gan_metrics.evaluate")
        options = Options(
            backbone=backbone,
            layer=layer,
            pool=pool,
            protocol=protocol,
            weights=weights,
            precision=precision,
            value_range=value_range,
            layout=layout,
            device=device,
            seed=seed,
            cache=False,
            comm=self.comm,
        )
        checked = registry.check_arguments(arguments)
        loader = reference if is_loader(reference) else None
        self.reference: AnySet | None = None
        if loader is not None:
            self.reference = ImageSet(PushedImages("the images of the loader"))
        elif reference is not None:
            self.reference = open_set(reference, options)
        pushed = ImageSet(PushedImages("the real images"))
        sets = InputSets(self.reference or pushed, [ImageSet(PushedImages("the fake images"))])
        choice = choose_feature_space(sets.every, options)
        assert choice is not None  # noqa: S101  (there are images)
        plan = make_plan(rows, sets, choice, options)
        for error in plan.failed.values():
            raise error
        for name, reason in plan.not_computed.items():
            raise InputError(f"{name} cannot be computed: {reason}")
        self._main = choice
        arguments_of = plan.arguments(checked, options)
        self._run = ProtocolRun(options, plan, arguments_of, error_bars, choice)
        self._spaces = {space.spec: space for space in plan.spaces.values()}
        self._embedder = Embedder(device)
        self._readers: dict[bool, SampleReader] = {}
        self._kept: dict[bool, dict[FeatureSpec, list[torch.Tensor]]] = {}
        self._gathered: dict[tuple[bool, FeatureSpec], tuple[int, Features]] = {}
        self._forget(real=True)
        self._forget(real=False)
        self._known: dict[str, EmbeddedSet] = {}
        if loader is not None:
            self._read(loader)  # type: ignore[arg-type]
        elif self.reference is not None:
            self._known = self._embed_reference(self.reference)

    @property
    def comm(self) -> Comm:
        """The ranks that share the images."""
        return world() if self._comm is None else self._comm

    @property
    def backbone(self) -> Backbone:
        """The network of the main space."""
        return self._embedder.network(self._main)

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self._embedder.device

    def to(self: Self, device: str | torch.device) -> Self:
        """Move the networks; features stay on the host.

        Raises:
            UsageError: If the device does not exist.
        """
        self._embedder = Embedder(str(device))
        return self

    def update(self: Self, images: object, real: bool = False) -> Self:
        """Embed a batch and keep its features.

        Args:
            images: A tensor or array of N images, ``uint8`` or in ``value_range``; a list of
                images; or a batch of a loader, such as ``(images, labels)``. See
                :mod:`gan_metrics.images.sources.samples`.
            real: Whether they are real images.

        Returns:
            This object.

        Raises:
            InputError: For an unsupported dtype, shape or value range.
        """
        if real and self.reference is not None:
            raise UsageError("real images come from the reference; update only generated images")
        self._add(images, real)
        return self

    def _add(self, images: object, real: bool) -> None:
        reader = self._readers[real]
        self._embed(torch.as_tensor(reader.converter.convert(reader.batch(images))), real)

    def _embed(self, images: torch.Tensor, real: bool) -> None:
        """Embed a batch, ``uint8``, N × C × H × W with 1, 3 or 4 channels."""
        pixels = self._rgb(images)
        spaces = list(self._spaces.values())
        found = self._embedder.embed([pixels], spaces)
        for space, features in zip(spaces, found, strict=True):
            space.check_vectors(features.shape)
            if not features.isfinite().all():
                raise ComputationError(
                    "the network returns NaN or infinity for an image of this batch; check the "
                    "image, the weights and the precision"
                )
        for space, features in zip(spaces, found, strict=True):  # add to all spaces or to none
            self._kept[real][space.spec].append(features.cpu())

    def _rgb(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with three channels; alpha is handled as the protocol does in files."""
        if images.shape[1] != 4:
            return images.expand(-1, 3, -1, -1)
        decoding = self._main.protocol.decoding
        files = [image_file(image) for image in images.cpu().numpy()]
        rgb = np.stack([decode(file, decoding)[0] for file in files])
        return torch.from_numpy(rgb).to(images.device)

    def _read(self, loader: Iterable[Any]) -> None:
        """Read real images from a loader in one pass."""
        with self.comm.fail_together():
            reader = self._readers[True]
            for images in batches_of(loader, self.comm, reader):
                self._embed(torch.as_tensor(reader.converter.convert(images)), True)
            spaces = self._run.plan.spaces
            self._known = {name: self._pushed(True, spaces[name]) for name in self._run.plan.rows}
        self._forget(real=True)

    def compute(self) -> MetricResult | EvaluationResult:
        """Return the value or values; see :class:`FID` and :class:`Metrics`."""
        raise NotImplementedError

    def reset(self: Self, *, keep_real: bool = False) -> Self:
        """Remove all images; a reference stays.

        Args:
            keep_real: Whether to keep real images added by ``update``.

        Returns:
            This object.
        """
        self._forget(real=False)
        if not keep_real:
            self._forget(real=True)
        return self

    def merge(self: Self, other: Accumulator) -> Self:
        """Append the images of another object.

        Raises:
            MismatchError: If it has other feature spaces.
        """
        return self.load_state_dict(other.state_dict(), add=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the features, ``float32``, ``n × D``, by the fingerprint of their space."""
        return {
            name: {
                spec.fingerprint(): _concatenate(parts) for spec, parts in self._kept[real].items()
            }
            for name, real in _SIDES.items()
        }

    def load_state_dict(self: Self, state: Mapping[str, Any], *, add: bool = False) -> Self:
        """Restore the result of :meth:`state_dict`.

        Args:
            state: The result of :meth:`state_dict`.
            add: Whether to add it to the present images; otherwise it replaces them.

        Raises:
            MismatchError: If it has other feature spaces.
            InputError: If it is not a state of this class.
        """
        own_spaces = {spec.fingerprint(): spec for spec in self._spaces}
        try:
            given = {real: dict(state[name]) for name, real in _SIDES.items()}
        except (KeyError, TypeError, ValueError):
            raise InputError(
                "expected the result of state_dict(): real and fake features"
            ) from None
        for features in given.values():
            if set(features) != set(own_spaces):
                raise MismatchError(
                    f"the state has the spaces {', '.join(sorted(features)) or 'none'}, but this "
                    f"object has {', '.join(sorted(own_spaces))}"
                )
        if not add:
            self._forget(real=True)
            self._forget(real=False)
        for real, features in given.items():
            for fingerprint, values in features.items():
                if len(values):
                    tensor = torch.as_tensor(values, dtype=torch.float32).cpu()
                    self._kept[real][own_spaces[fingerprint]].append(tensor)
        return self

    def _evaluate(self) -> Evaluation:
        """Compute all metrics of the images of all ranks."""
        plan = self._run.plan
        wanted = any(row.n_sets == 2 for row in plan.rows.values())
        with self.comm.fail_together():
            fakes = {name: self._pushed(False, plan.spaces[name]) for name in plan.rows}
            reals = dict(self._known)
            pushed = any(self.comm.gather(any(map(len, self._kept[True].values()))))
            if not reals and (wanted or pushed):
                reals = {name: self._pushed(True, plan.spaces[name]) for name in plan.rows}
            sets = {name: FeatureSets(fake, reals.get(name)) for name, fake in fakes.items()}
            return compute(self._run, sets, None, {})

    def _embed_reference(self, reference: AnySet) -> dict[str, EmbeddedSet]:
        """Embed the reference in the feature space of each metric that uses real images."""
        plan, options = self._run.plan, self._run.options
        wanted = plan.spaces_for(reference, "real")
        [features] = embed([reference], [wanted], options, moments=plan.moments)
        return {
            name: plan.embedded_set(reference, name, "real", features)
            for name in plan.metrics_of("real")
        }

    def _forget(self, *, real: bool) -> None:
        self._kept[real] = {spec: [] for spec in self._spaces}
        floor = self._main.protocol.floats == "floor"
        whose = f"the {'real' if real else 'generated'} images"
        converter = PixelConverter(self.value_range, floor=floor, whose=whose)
        self._readers[real] = SampleReader(converter, self.layout)
        self._gathered = {key: kept for key, kept in self._gathered.items() if key[0] != real}

    def _pushed(self, real: bool, space: FeatureSpace) -> Features:
        """Return the features of the real or generated images of all ranks, in order."""
        key = (real, space.spec)
        parts = self._kept[real][space.spec]
        if len(parts) > 1:
            self._kept[real][space.spec] = parts = [torch.cat(parts)]
        own = parts[0].numpy() if parts else np.empty((0, 0), np.float32)
        kept = self._gathered.get(key)
        fresh = kept is not None and kept[0] == len(own)
        if not all(self.comm.gather(fresh)):
            array = self.comm.gather_rows(own)
            value_warnings = [
                one
                for part in self.comm.gather([*self._readers[real].converter.warnings])
                for one in part
            ]
            name = "real" if real else "fake"
            if not len(array):
                hint = "give a reference, or update(images, real=True)" if real else "call update"
                raise ComputationError(f"there are no {name} images yet; {hint} first")
            loader = self.reference if real else None
            where = f"the {name} images" if loader is None else loader.description
            features = Features(
                names=[f"{name} {i}" for i in range(len(array))],
                array=array,
                spec=space.spec,
                warnings=unique([*space.warnings, *value_warnings]),
                protocol=space.protocol.name,
                description=where,
            )
            kept = (len(own), features)
            self._gathered[key] = kept
        assert kept is not None  # noqa: S101
        return kept[1]


_SIDES = {"real": True, "fake": False}


def _concatenate(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(parts)) if parts else torch.empty(0)


class _Single(Accumulator):
    """One metric."""

    _metric: ClassVar[str]

    def __init__(self, reference: Reference | None = None, **options: Any) -> None:
        super().__init__([self._metric], reference, **options)

    @property
    def known(self) -> EmbeddedSet:
        """The reference in the metric's feature space.

        Raises:
            UsageError: If there is no reference.
        """
        if self.reference is None:
            raise UsageError("there is no reference: real images are added by update")
        return self._known[self._metric]

    def compute(self) -> MetricResult:
        """Return the value of all added images, with its error bar.

        Raises:
            ComputationError: If one of the sets has too few images.
        """
        measured = self._evaluate()
        for error in measured.errors.values():
            raise error
        return measured.results[self._metric]


class FID(_Single):
    """The Fréchet distance, updated batch by batch.

    The features of the images are kept (4·D bytes each), so that the result has its error bar.

    Args:
        reference: The real images: a statistics file, ``ref:NAME``, a folder of images (read
            once), or one of these as an object; a loader of batches, with or without labels (read
            once); ``None``: they are added by ``update(…, real=True)``.
        options: ``backbone``: default: that of the reference, else the 2015 Inception; ``layer``,
            ``pool``, ``protocol``, ``weights``, ``precision``, ``device``, ``seed`` as for
            :func:`gan_metrics.fid`; ``value_range``: values of black and white in images that are
            not ``uint8``, such as ``(-1, 1)``; they are converted to ``uint8`` as the protocol
            defines (rounded; truncated for torchmetrics); ``layout``: order of the axes, default:
            determined from the shape; ``error_bars``; ``arguments`` of the metric, such as
            ``{"fid": {"directions": 5}}``; ``comm``: the ranks that share the images, default: all
            of torch's default process group. Then every rank makes the object and calls
            ``compute``, and gets the value of all images.

    Raises:
        UsageError: For an unknown name or value range.
        MismatchError: If the reference has another feature space.
        WeightsError: If the weights are unavailable.
    """

    _metric = "fid"


class KID(_Single):
    """The kernel distance, updated batch by batch; see :class:`FID`.

    Args:
        reference: As for :class:`FID`, but images or features; moments are not enough.
        options: As for :class:`FID`.
    """

    _metric = "kid"


class InceptionScore(_Single):
    """The Inception Score of the generated images, updated batch by batch; see :class:`FID`.

    Args:
        reference: Not needed.
        options: As for :class:`FID`.
    """

    _metric = "is"


class Metrics(Accumulator):
    """Several metrics, updated batch by batch, that share networks and passes.

    Args:
        metrics: Names of metrics or families, such as ``["fid", "kid", "prdc"]``.
        reference: As for :class:`FID`.
        options: As for :class:`FID`.

    >>> import torch
    >>> both = Metrics(["fid", "vendi"], backbone="efficientnet-lite0", device="cpu")
    >>> images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    >>> sorted(both.update(images, real=True).update(images).compute())
    ['fid', 'vendi']
    """

    def __init__(
        self, metrics: str | Iterable[str], reference: Reference | None = None, **options: Any
    ) -> None:
        super().__init__(metrics, reference, **options)

    def compute(self) -> EvaluationResult:
        """Return each metric of all added images.

        Returns:
            A mapping of names, as requested (families: their members), to results;
            ``.not_computed`` has the reason for each metric that is impossible for these images.

        Raises:
            ComputationError: If one of the sets has no images.
        """
        measured = self._evaluate()
        return EvaluationResult(
            measured.results, {name: str(error) for name, error in measured.errors.items()}
        )


class PrecisionRecall(Metrics):
    """Precision and recall, updated batch by batch; see :class:`FID`.

    Args:
        reference: As for :class:`KID`.
        options: As for :class:`FID`.
    """

    def __init__(self, reference: Reference | None = None, **options: Any) -> None:
        super().__init__(["precision", "recall"], reference, **options)
