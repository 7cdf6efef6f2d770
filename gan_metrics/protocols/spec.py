"""What a feature is: the frozen description that travels with every number.

Two sets of features may be compared only when their :class:`FeatureSpec` is the same. Its
:meth:`~FeatureSpec.fingerprint` stands in the cache key, in the header of a statistics file and
in every result.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from gan_metrics.errors import MismatchError

__all__ = [
    "ALPHAS",
    "EXIFS",
    "LAYOUTS",
    "POOLS",
    "PRECISIONS",
    "Decoding",
    "FeatureSpec",
    "Preprocess",
    "require_same_space",
]

Resize = Literal["exact", "shorter", "square", "none"]

ALPHAS = ("drop", "white", "black")
EXIFS = ("ignore", "apply")
LAYOUTS = ("NCHW", "NHWC", "NHW")
"""Orders of the axes of a batch: number, channels, height, width."""

POOLS = ("avg", "max", "cls", "flatten", "none")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")


@dataclass(frozen=True)
class Decoding:
    """What is done with what an 8-bit RGB array cannot hold.

    Attributes:
        alpha: ``"drop"`` keeps the colour channels as they are stored, ``"white"`` and
            ``"black"`` composite over that colour.
        exif: ``"ignore"`` leaves the pixels as stored, ``"apply"`` turns them upright.
    """

    alpha: str = "drop"
    exif: str = "ignore"

    def departures(self, from_: Decoding) -> tuple[tuple[str, str], ...]:
        """The fields in which this way of decoding departs from another, as sorted pairs."""
        return tuple(
            (f.name, getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(from_, f.name)
        )


@dataclass(frozen=True)
class Preprocess:
    """From ``uint8`` pixels to what a network takes in, as data.

    Attributes:
        resize: ``"exact"`` to ``size × size``; ``"shorter"`` side to ``size``, the aspect kept;
            ``"square"``: the largest centred square, to ``size × size``; ``"none"``.
        size: The target of ``resize``, in pixels; 0 when there is none.
        interpolation: A name of :data:`gan_metrics.images.preprocess.RESAMPLERS`.
        crop: Side of the centre crop that follows, in pixels, or ``None``.
        divisor: What pixels of 0–255 are divided by before they are resized: 255 or 1. In exact
            arithmetic it would not matter; in float32 it decides the last bit.
        mean: Subtracted, per channel (RGB), in the units after the division.
        std: Divided by, per channel (RGB), in the same units.
        clip: Whether what a resize overshoots is cut off at 0 and 255 (in units of the pixels).
    """

    resize: Resize
    size: int
    interpolation: str
    crop: int | None
    divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    clip: bool = False

    def __post_init__(self) -> None:
        """Refuse what no pixels could be prepared by.

        Raises:
            ValueError: Saying what was received and expected.
        """
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize is {self.resize!r}, not one of {get_args(Resize)}")
        if (self.resize != "none" and self.size < 1) or (self.crop is not None and self.crop < 1):
            raise ValueError(f"size {self.size} and crop {self.crop} must be at least 1 pixel")
        if not all(len(v) == 3 and all(map(math.isfinite, v)) for v in (self.mean, self.std)):
            raise ValueError("mean and std need three finite values each")
        if not self.divisor > 0 or not all(self.std):
            raise ValueError(f"divisor {self.divisor} must be above 0, and std {self.std} not 0")

    def __str__(self) -> str:
        steps = {
            "exact": f"{self.interpolation} to {self.size}×{self.size}",
            "shorter": f"{self.interpolation}, shorter side to {self.size}",
            "square": f"centre square, {self.interpolation} to {self.size}×{self.size}",
            "none": "not resized",
        }
        parts = [steps[self.resize]]
        parts += ["clipped to 0…255"] if self.clip else []
        parts += [f"centre crop {self.crop}"] if self.crop else []
        mean, std = (
            f"{v[0]:g}" if len(set(v)) == 1 else "(" + ", ".join(f"{x:g}" for x in v) + ")"
            for v in (self.mean, self.std)
        )
        scaled = "x" if self.divisor == 1 else f"x/{self.divisor:g}"
        return ", ".join([*parts, f"({scaled} − {mean}) / {std}"])

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {
            "resize": self.resize,
            "size": self.size,
            "interpolation": self.interpolation,
            "crop": self.crop,
            "divisor": float(self.divisor),
            "mean": [float(m) for m in self.mean],
            "std": [float(s) for s in self.std],
            **({"clip": True} if self.clip else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: When ``data`` is no such dict.
        """
        return cls(
            resize=data["resize"],
            size=int(data["size"]),
            interpolation=str(data["interpolation"]),
            crop=None if data["crop"] is None else int(data["crop"]),
            divisor=float(data["divisor"]),
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
            clip=data.get("clip", False) is True,
        )


@dataclass(frozen=True)
class FeatureSpec:
    """The identity of a feature space. ``None`` means *not stated* and matches anything.

    Attributes:
        backbone: Name of the network, such as ``"inception"``.
        layer: Where it is cut, such as ``"pool3"``.
        pool: What turns the layer's output into a vector: one of :data:`POOLS`.
        weights_sha256: SHA-256 of the weights file, in hex.
        preprocess: What is done to the pixels before the network.
        precision: One of :data:`PRECISIONS`.
        departures: Sorted pairs of what differs from the protocol's own way of decoding, such as
            ``(("alpha", "white"),)``; empty when nothing does.
        plugins: Sorted pairs of a distribution and its version: the plug-ins that the backbone,
            the preprocessing or the reader are from; ``None``: all are from this package.
    """

    backbone: str | None = None
    layer: str | None = None
    pool: str | None = None
    weights_sha256: str | None = None
    preprocess: Preprocess | None = None
    precision: str | None = None
    departures: tuple[tuple[str, str], ...] | None = None
    plugins: tuple[tuple[str, str], ...] | None = None

    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON of all fields, the first 32 hex digits of it."""
        canonical = json.dumps(self._fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def differences(self, other: FeatureSpec) -> tuple[str, ...]:
        """Names of the fields that both state and in which they differ.

        Plug-ins differ where both name one in different versions.
        """
        one, two = dict(self.plugins or ()), dict(other.plugins or ())
        other_versions = any(one[name] != two[name] for name in one.keys() & two.keys())
        return tuple(
            f.name
            for f in fields(self)
            if None not in (getattr(self, f.name), getattr(other, f.name))
            and getattr(self, f.name) != getattr(other, f.name)
            and (f.name != "plugins" or other_versions)
        )

    def unstated(self) -> tuple[str, ...]:
        """Names of the fields that are ``None``; that is no statement, except for ``plugins``."""
        names = (f.name for f in fields(self) if getattr(self, f.name) is None)
        return tuple(name for name in names if name != "plugins")

    def stated(self) -> tuple[str, ...]:
        """Names of the fields that are not ``None``, without ``plugins``."""
        names = (f.name for f in fields(self) if getattr(self, f.name) is not None)
        return tuple(name for name in names if name != "plugins")

    def with_plugins(self, plugins: Iterable[tuple[str, str]]) -> FeatureSpec:
        """This spec, with more pairs of a distribution and its version."""
        return replace(self, plugins=tuple(sorted({*(self.plugins or ()), *plugins})) or None)

    def filled_from(self, other: FeatureSpec) -> FeatureSpec:
        """This spec, with the fields that it leaves open taken from ``other``."""
        taken = {name: getattr(other, name) for name in self.unstated()}
        return replace(self, **taken).with_plugins(other.plugins or ())

    def to_json(self) -> dict[str, Any]:
        """All fields and the fingerprint, as plain JSON values."""
        return {**self._fields(), "fingerprint": self.fingerprint()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of :meth:`to_json`; the fingerprint, if there, must agree.

        Raises:
            KeyError, TypeError, ValueError: When ``data`` is no such dict.
        """
        texts = {}
        for name in ("backbone", "layer", "pool", "weights_sha256", "precision"):
            texts[name] = data.get(name)
            if not isinstance(texts[name], str | None):
                raise TypeError(f"{name} must be a string or null, not {texts[name]!r}")
        preprocess, departures = data.get("preprocess"), data.get("departures")
        plugins = data.get("plugins")
        spec = cls(
            **texts,
            preprocess=None if preprocess is None else Preprocess.from_json(preprocess),
            departures=(
                None
                if departures is None
                else tuple(sorted((str(k), str(v)) for k, v in departures.items()))
            ),
            plugins=(
                tuple(sorted((str(k), str(v)) for k, v in plugins.items())) if plugins else None
            ),
        )
        if data.get("fingerprint", spec.fingerprint()) != spec.fingerprint():
            raise ValueError("the fingerprint does not belong to the fields beside it")
        return spec

    def _fields(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone,
            "layer": self.layer,
            "pool": self.pool,
            "weights_sha256": self.weights_sha256,
            "preprocess": None if self.preprocess is None else self.preprocess.to_json(),
            "precision": self.precision,
            "departures": None if self.departures is None else dict(self.departures),
            **({"plugins": dict(self.plugins)} if self.plugins else {}),
        }


def require_same_space(one: FeatureSpec, other: FeatureSpec, name: str, other_name: str) -> None:
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


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{k}={v}" for k, v in value) or "none"
    return str(value)
