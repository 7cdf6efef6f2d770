"""The identity of features: backbone, layer, weights, preprocessing, decoding, precision.

Two sets of features can be compared only if they have the same :class:`FeatureSpec`. Its
:meth:`~FeatureSpec.fingerprint` is part of the cache key, of a statistics file's header and of
every result.
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
    """Handling of what an 8-bit RGB array cannot represent.

    Attributes:
        alpha: ``"drop"`` uses the stored colors, ``"white"`` and ``"black"`` composite over that
            color.
        exif: ``"ignore"`` uses the pixels as stored, ``"apply"`` rotates them upright.
    """

    alpha: str = "drop"
    exif: str = "ignore"

    def departures(self, from_: Decoding) -> tuple[tuple[str, str], ...]:
        """Return the fields in which this decoding differs from another decoding, sorted."""
        return tuple(
            (f.name, getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(from_, f.name)
        )


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing from ``uint8`` pixels to the input of a network, as data.

    Attributes:
        resize: ``"exact"`` to ``size × size``; ``"shorter"`` side to ``size``, keeping the aspect
            ratio; ``"square"``: the largest centered square, to ``size × size``; ``"none"``.
        size: Target of ``resize``, in pixels; 0 if there is none.
        interpolation: A name in :data:`gan_metrics.images.preprocess.RESAMPLERS`.
        crop: Side of the center crop after the resize, in pixels, or ``None``.
        divisor: Divisor of pixels of 0–255 before the resize: 255 or 1. It would not matter in
            exact arithmetic; in float32 it decides the last bit.
        mean: Subtracted per channel (RGB), in units after the division.
        std: Divisor per channel (RGB), in the same units.
        clip: Whether overshoot of the resize is clipped to 0–255 (in units of the pixels).
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
        """Check the values.

        Raises:
            ValueError: If a value is invalid; the message states what was expected.
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
            "square": f"center square, {self.interpolation} to {self.size}×{self.size}",
            "none": "not resized",
        }
        parts = [steps[self.resize]]
        parts += ["clipped to 0…255"] if self.clip else []
        parts += [f"center crop {self.crop}"] if self.crop else []
        mean, std = (
            f"{v[0]:g}" if len(set(v)) == 1 else "(" + ", ".join(f"{x:g}" for x in v) + ")"
            for v in (self.mean, self.std)
        )
        scaled = "x" if self.divisor == 1 else f"x/{self.divisor:g}"
        return ", ".join([*parts, f"({scaled} − {mean}) / {std}"])

    def to_json(self) -> dict[str, Any]:
        """Return a dict of plain JSON values."""
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
        """Return the preprocessing of the result of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: If ``data`` is not such a dict.
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
        layer: Layer of the features, such as ``"pool3"``.
        pool: Pooling of the layer's output: one of :data:`POOLS`.
        weights_sha256: SHA-256 of the weights file, in hex.
        preprocess: Preprocessing of the pixels.
        precision: One of :data:`PRECISIONS`.
        departures: Sorted pairs of settings that differ from the protocol's own decoding, such as
            ``(("alpha", "white"),)``; empty if there are none.
        plugins: Sorted pairs of a distribution and its version: the plug-ins of the backbone, the
            preprocessing or the reader; ``None``: all are built in.
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
        """Return the first 32 hex digits of the SHA-256 of all fields as canonical JSON."""
        canonical = json.dumps(self._fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def differences(self, other: FeatureSpec) -> tuple[str, ...]:
        """Return the names of fields that both state differently.

        Plug-ins differ if both name one plug-in in different versions.
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
        """Return the names of the fields that are ``None``, without ``plugins``."""
        names = (f.name for f in fields(self) if getattr(self, f.name) is None)
        return tuple(name for name in names if name != "plugins")

    def stated(self) -> tuple[str, ...]:
        """Return the names of the fields that are not ``None``, without ``plugins``."""
        names = (f.name for f in fields(self) if getattr(self, f.name) is not None)
        return tuple(name for name in names if name != "plugins")

    def with_plugins(self, plugins: Iterable[tuple[str, str]]) -> FeatureSpec:
        """Return this spec with further pairs of a distribution and its version."""
        return replace(self, plugins=tuple(sorted({*(self.plugins or ()), *plugins})) or None)

    def filled_from(self, other: FeatureSpec) -> FeatureSpec:
        """Return this spec with its open fields taken from ``other``."""
        taken = {name: getattr(other, name) for name in self.unstated()}
        return replace(self, **taken).with_plugins(other.plugins or ())

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the fingerprint as plain JSON values."""
        return {**self._fields(), "fingerprint": self.fingerprint()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Return the spec of the result of :meth:`to_json`; a fingerprint in it must match.

        Raises:
            KeyError, TypeError, ValueError: If ``data`` is not such a dict.
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
            raise ValueError("the fingerprint does not match the fields")
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
    """Check that two feature spaces agree in all fields that both state.

    Raises:
        MismatchError: If they differ; the message lists the fields.
    """
    if fields := one.differences(other):
        lines = [
            f"  {field}: {_shown(getattr(one, field))} — {_shown(getattr(other, field))}"
            for field in fields
        ]
        raise MismatchError(
            f"{name} and {other_name} have different feature spaces and cannot be compared:\n"
            + "\n".join(lines)
            + "\nCompute both with the same --backbone, --layer, --protocol, --weights, "
            "--precision, --alpha and --exif."
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{k}={v}" for k, v in value) or "none"
    return str(value)
