"""One side of a comparison, on its way from what was given to what is compared."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.backbones.registry import (
    built_in,
    choose_backbone,
    is_built_in,
    recipe_of,
    state_spec,
)
from gan_metrics.errors import InputError, MismatchError, UsageError, WeightsError
from gan_metrics.extraction import extract
from gan_metrics.feature_files import is_features, load_features
from gan_metrics.features import Features
from gan_metrics.images.sources import (
    ArraySource,
    ImageSource,
    SingleSource,
    is_image,
    is_image_batch,
    open_source,
)
from gan_metrics.moments import Moments
from gan_metrics.options import Options, extraction_of, weights_of
from gan_metrics.peer_files import (
    Reference,
    is_features_tensor,
    is_reference,
    read_features_tensor,
    read_reference,
)
from gan_metrics.protocols import PROTOCOLS, protocol_for
from gan_metrics.references import open_reference
from gan_metrics.results import Warning_
from gan_metrics.specs import Decoding, FeatureSpec
from gan_metrics.stats import Statistics

if TYPE_CHECKING:
    from gan_metrics.backbones.embedder import Embedder

__all__ = [
    "Input",
    "Side",
    "agree_in_resolution",
    "agree_with_command",
    "all_agree",
    "common_protocol",
    "common_spec",
    "declared_warnings",
    "embed_all",
    "embed_spaces",
    "must_agree",
    "open_side",
    "settle",
]

Input = str | os.PathLike[str] | Statistics | Features
"""A folder or a batch of images, a file of statistics or of features, ``ref:NAME`` for registered
statistics, or one of these as an object."""


@dataclass(frozen=True)
class Side:
    """One side: images, statistics or features; and, once embedded, images and their features.

    Attributes:
        source: The images.
        statistics: Their moments.
        features: Their features.
        stored: Kind of features to the moments that a file holds of it, beside the above.
    """

    source: ImageSource | None = None
    statistics: Statistics | None = None
    features: Features | None = None
    stored: Mapping[str, Statistics] = field(default_factory=dict)

    def of(self, kind: str) -> Side:
        """The side as the moments that its file holds of a kind of features, if it does."""
        kept = self.stored.get(kind) if self.source is None else None
        return self if kept is None else replace(self, statistics=kept)

    @property
    def stated(self) -> FeatureSpec | None:
        """The feature space that its file speaks of, also if it holds images beside moments."""
        kept = next(iter(self.stored.values()), None)
        return self.spec or (None if kept is None else kept.spec)

    @property
    def known(self) -> Features | Statistics:
        """What is known of its images, once they are embedded."""
        known = self.features or self.statistics
        assert known is not None  # noqa: S101
        return known

    @property
    def moments(self) -> Moments:
        """Mean and covariance, once they are known."""
        return self.known.moments

    @property
    def array(self) -> npt.NDArray[np.float32] | None:
        """The features, once they are known; ``None`` where only the moments are."""
        return None if self.features is None else self.features.array

    @property
    def count(self) -> int | None:
        """How many images there are, if it is known."""
        return self.moments.n if self.features is None else len(self.features.array)

    @property
    def dim(self) -> int:
        """The number of dimensions, once it is known.

        Raises:
            UsageError: When the features are maps, not vectors.
        """
        if self.features is None:
            return self.moments.dim
        shape = self.features.array.shape
        if len(shape) != 2:
            raise UsageError(
                f"{self.description} has maps of shape {shape[1:]}, and vectors are needed: choose "
                "another --pool"
            )
        return int(shape[1])

    @property
    def spec(self) -> FeatureSpec | None:
        """The feature space, if it is known."""
        known = self.features or self.statistics
        return None if known is None else known.spec

    @property
    def protocol(self) -> str | None:
        """The name of the protocol they were made by, if it is known."""
        known = self.features or self.statistics or next(iter(self.stored.values()), None)
        return None if known is None else known.protocol

    @property
    def digest(self) -> str | None:
        """What stands for the set: the hash of its files, else that of its features or moments."""
        known = self.features or self.statistics
        if known is None:
            return None
        return known.identity

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Pairs of a name and a reason for the images that were left out."""
        if self.statistics is not None:
            listed = self.statistics.source.get("skipped_files", ())
            return [(str(name), str(reason)) for name, reason in listed]
        return () if self.features is None else self.features.skipped

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of its images, as far as they are known."""
        if self.statistics is not None:
            size = self.statistics.resolution
            return set() if size is None else {size}
        return set() if self.features is None else set(self.features.tally.sizes)

    @property
    def warnings(self) -> Sequence[Warning_]:
        """What a reader of its number should know."""
        known = self.features or self.statistics
        return () if known is None else known.warnings

    @property
    def description(self) -> str:
        """What it is, for a person."""
        if self.statistics is not None:
            return self.statistics.description or "the statistics"
        if self.features is not None:
            return self.features.description or "the features"
        assert self.source is not None  # noqa: S101
        return self.source.description


def open_side(given: Input, options: Options, *, single: bool = False) -> Side:
    """Look at what was given.

    Args:
        given: A path or an object.
        options: Whether folders below are entered.
        single: Whether one image file is a set.

    Raises:
        UsageError: When it is of another type, or no reference has that name.
        InputError: When nothing is there, or it cannot be read.
        WeightsError: When a registered reference cannot be had.
    """
    if isinstance(given, Statistics):
        return Side(statistics=given)
    if isinstance(given, Features):
        return Side(features=given)
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            f"expected a path, statistics or features, not {type(given).__name__}; arrays go to "
            "the functions of gan_metrics.metrics, or into gan_metrics.Features(names, array, spec)"
        )
    if os.fspath(given) == "":
        raise InputError("a side is empty text; give a folder of images or a statistics file")
    if isinstance(given, str) and given.startswith(_REGISTERED):
        name = given.removeprefix(_REGISTERED)
        return _of_reference(open_reference(name, progress=options.get("progress")))
    if single and is_image(given):
        return Side(source=SingleSource(Path(given)))
    if is_features_tensor(given):
        array = read_features_tensor(given)
        names = [str(i) for i in range(len(array))]
        return Side(features=Features(names, array, FeatureSpec(), description=os.fspath(given)))
    if is_features(given) and not is_image_batch(given):
        features = load_features(given)
        if features.array.ndim == 4 and features.spec == FeatureSpec():
            raise InputError(
                f"{os.fspath(given)} holds {features.array.dtype} of shape {features.array.shape} "
                "without a header: images must be uint8, 0–255, and features n × D"
            )
        return Side(features=features)
    if is_reference(given):
        return _of_reference(read_reference(given))
    return Side(source=open_source(given, recursive=options.get("recursive", True)))


_REGISTERED = "ref:"
"""Before the name of a registered reference."""


def _of_reference(found: Reference) -> Side:
    """What a file of statistics holds: the main ones, or images with statistics beside them."""
    if found.images is not None:
        return Side(source=found.images, stored=found.statistics)
    main = next(iter(found.statistics.values()))
    return Side(statistics=main, stored=found.statistics)


def settle(sides: Sequence[Side], options: Options) -> BackboneChoice | None:
    """The feature space of the images, if there are any; a header chooses where nothing is named.

    Raises:
        MismatchError: When what is named is not what a header says.
    """
    stated = next((s for s in sides if s.stated and s.stated.backbone), None)
    wanted = FeatureSpec() if stated is None or stated.stated is None else stated.stated
    fixed = [side.description for side in sides if side.source is None or side.stored]
    if options.get("max_images") is not None and fixed:
        raise UsageError(
            f"max_images draws images from both sides, and {fixed[0]} is not given as images alone"
        )
    if all(side.source is None for side in sides):
        return None
    protocol, given = options.get("protocol"), options.get("backbone")
    recipe = None if given is None else recipe_of(given)
    if recipe is None and protocol is not None:
        named = protocol_for(protocol).template().backbone
        recipe = None if named is None else recipe_of(named)
    if recipe is not None and recipe.name != wanted.backbone:
        wanted, stated = FeatureSpec(), None  # nothing else of the header applies: it will differ
    described = stated.description if stated is not None else ""
    chosen = recipe or built_in(wanted.backbone, described)
    departures = dict(wanted.departures or ())
    if protocol is None and stated is not None:
        protocol = stated.protocol
        if protocol not in (None, *PROTOCOLS):
            raise MismatchError(f"the statistics are of the protocol {protocol!r}, unknown here")
    try:
        choice = choose_backbone(
            chosen,
            layer=options.get("layer") or wanted.layer,
            pool=options.get("pool") or wanted.pool,
            protocol=protocol,
            weights=weights_of(options, _name_of(chosen) or "inception"),
            precision=options.get("precision") or wanted.precision,
            alpha=options.get("alpha") or departures.get("alpha"),
            exif=options.get("exif") or departures.get("exif"),
            seed=options.get("seed", 0),
            progress=options.get("progress"),
        )
    except WeightsError:  # what cannot be compared anyway needs no weights
        _agree_before(sides, chosen, protocol, options)
        raise
    for side in sides:
        held = [side.spec, *(kept.spec for kept in side.stored.values())]
        if side.spec is not None and all(s is None or s.differences(choice.spec) for s in held):
            must_agree(side.spec, choice.spec, side.description, "the command")
    return choice


def _agree_before(
    sides: Sequence[Side], chosen: Any, protocol: str | None, options: Options
) -> None:
    """See that the command says nothing else than the files, as far as that needs no weights."""
    stated = state_spec(
        chosen,
        layer=options.get("layer"),
        pool=options.get("pool"),
        protocol=protocol,
        precision=options.get("precision"),
    )
    for side in sides:
        held = [side.spec, *(kept.spec for kept in side.stored.values())]
        if side.spec is not None and all(s is None or s.differences(stated) for s in held):
            must_agree(side.spec, stated, side.description, "the command")


def _name_of(backbone: Any) -> str | None:
    name = getattr(backbone, "name", backbone)
    return name if isinstance(name, str) else None


def embed_all(
    sides: Sequence[Side],
    choice: BackboneChoice | None,
    options: Options,
    *,
    moments: bool = True,
) -> list[Side]:
    """The sides with their images embedded in one space.

    Args:
        sides: What was given.
        choice: The feature space, if there are images.
        options: Batches, workers, faults, cache.
        moments: Whether the features are needed as vectors, and their moments computed on the way.
    """
    if choice is None:
        return list(sides)
    spaces = [{"": choice} for _ in sides]
    done = embed_spaces(sides, spaces, options, moments=moments)
    return [found.get("", side) for side, found in zip(sides, done, strict=True)]


def embed_spaces(
    sides: Sequence[Side],
    wanted: Sequence[Mapping[str, BackboneChoice]],
    options: Options,
    *,
    moments: bool = True,
) -> list[dict[str, Side]]:
    """Each side's images embedded in several spaces, in one pass; networks are built when needed.

    Args:
        sides: What was given.
        wanted: For each side, name to feature space.
        options: Batches, workers, faults, cache.
        moments: Whether the features are needed as vectors, and their moments computed on the way.

    Returns:
        For each side, name to the side in that space; empty where there are no images.
    """
    every = list({id(c): c for named in wanted for c in named.values()}.values())

    @functools.cache
    def networks() -> Embedder:
        from gan_metrics.backbones.embedder import Embedder

        return Embedder(options.get("device", "auto"))

    how = replace(extraction_of(options), moments=moments)
    if any(c.recipe.weights is None for c in every):  # a network of the user's own may change
        how = replace(how, cache=None)
    done: list[dict[str, Side]] = []
    for side, named in zip(sides, wanted, strict=True):
        found: dict[str, Side] = {}
        if named and isinstance(side.source, ArraySource):
            side.source.prepare()
        ways: dict[Decoding, dict[FeatureSpec, BackboneChoice]] = {}
        for choice in named.values() if side.source is not None else ():
            ways.setdefault(choice.decoding, {})[choice.spec] = choice
        embedded: dict[FeatureSpec, Features] = {}
        for spaces in ways.values():
            assert side.source is not None  # noqa: S101
            features = extract(side.source, [*spaces.values()], networks, how)
            embedded.update(zip(spaces, features, strict=True))
        for name, choice in named.items():
            if choice.spec in embedded:
                found[name] = replace(side, features=embedded[choice.spec])
        done.append(found)
    return done


def _claimed(sides: Sequence[Side], options: Options) -> FeatureSpec:
    """What the command says about the space of sides that both have their features already."""
    given = options.get("backbone")
    backbone = next((s.spec.backbone for s in sides if s.spec and s.spec.backbone), None)
    named = given if given is not None else backbone if backbone and is_built_in(backbone) else None
    return state_spec(
        named,
        layer=options.get("layer"),
        pool=options.get("pool"),
        protocol=options.get("protocol"),
        weights=weights_of(options, _name_of(named) or "inception"),
        precision=options.get("precision"),
        alpha=options.get("alpha"),
        exif=options.get("exif"),
        seed=options.get("seed", 0),
    )


def common_spec(
    sides: Sequence[Side], choice: BackboneChoice | None, options: Options
) -> tuple[FeatureSpec, tuple[str, ...]]:
    """The feature space of one or two sides, and the fields of it that a side did not state.

    What the files leave open is taken from the command. Where that is silent too, 2048 dimensions
    are taken for the default backbone's, which is what such files are made with.
    """
    sides = [sides[0], sides[-1]]
    one, other = (side.spec or FeatureSpec() for side in sides)
    must_agree(one, other, *(side.description for side in sides))
    dims = [side.dim for side in sides]
    if dims[0] != dims[1]:
        raise MismatchError(
            f"{sides[0].description} has {dims[0]} dimensions and {sides[1].description} "
            f"{dims[1]}: they are of different layers; choose the one that fits with --layer"
        )
    spec = one.filled_from(other)
    if choice is None:
        claimed = _claimed(sides, options)
        must_agree(spec, claimed, " and ".join(s.description for s in sides), "the command")
        spec = spec.filled_from(claimed)
    trusted = {name for side in sides if side.statistics for name in side.statistics.declared}
    declared = tuple(sorted({*trusted, *one.unstated(), *other.unstated()}))
    if choice is None and not spec.backbone and dims[0] == 2048:
        default = replace(protocol_for(None).template(), pool="avg", departures=())
        spec = spec.filled_from(default)
    return spec, declared


def all_agree(sides: Sequence[Side]) -> None:
    """See that several sides are of one feature space, as far as they state it.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    stated = [(side, side.spec) for side in sides if side.spec is not None]
    for (one, spec), (other, theirs) in itertools.combinations(stated, 2):
        must_agree(spec, theirs, one.description, other.description)


def declared_warnings(declared: Sequence[str]) -> list[Warning_]:
    """What a reader should know of fields that a file did not state."""
    if not declared:
        return []
    message = f"a file does not state its {', '.join(declared)}: taken on trust"
    return [("declared", message)]


def agree_with_command(side: Side, options: Options) -> None:
    """Let a side that has its features already pass only if the command says nothing else of it.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    if side.spec is not None:
        must_agree(side.spec, _claimed([side], options), side.description, "the command")


def agree_in_resolution(sides: Sequence[Side]) -> None:
    """Let statistics of images of one size pass only if the other side has images of that size.

    Raises:
        MismatchError: Naming both sizes.
    """
    sizes = [side.resolutions for side in sides]
    stated = any(side.statistics is not None for side in sides)
    if len(sides) == 2 and stated and all(sizes) and not sizes[0] & sizes[1]:
        shown = [", ".join(f"{w}×{h}" for w, h in sorted(some)[:3]) for some in sizes]
        raise MismatchError(
            f"{sides[0].description} is of images of {shown[0]} and {sides[1].description} of "
            f"{shown[1]}: at another resolution the distance says nothing about the generator; "
            "take the statistics of images of that size"
        )


def must_agree(one: FeatureSpec, other: FeatureSpec, name: str, other_name: str) -> None:
    """Let two feature spaces pass only if they are the same in all that both state.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    if fields := one.differences(other):
        lines = [
            f"  {field}: {_shown(getattr(one, field))} — {_shown(getattr(other, field))}"
            for field in fields
        ]
        raise MismatchError(
            f"{name} and {other_name} are of different feature spaces and cannot be compared:\n"
            + "\n".join(lines)
            + "\nCompute both with the same --backbone, --layer, --protocol, --weights, "
            "--precision, --alpha and --exif."
        )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{k}={v}" for k, v in value) or "none"
    return str(value)


def common_protocol(sides: Sequence[Side], choice: BackboneChoice | None) -> str | None:
    """The name of the protocol of both sides, if it is known."""
    if choice is not None:
        return choice.protocol.name
    return next((side.protocol for side in sides if side.protocol), None)
