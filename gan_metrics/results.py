"""A number and everything that is needed to trust it."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.specs import FeatureSpec

__all__ = ["MetricResult", "Warning_", "as_text", "dumps", "unique", "versions"]

Warning_ = tuple[str, str]
"""A code and a message."""

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class MetricResult:
    """One value with its error bar and its provenance; ``float(result)`` is the value.

    Attributes:
        metric: Such as ``"fid"``; ``"fd"`` in any other space than the 2015 Inception's pool3.
        value: The value.
        standard_error: Over redraws of the sets at these sample sizes; ``None``: there is none.
        n_real: Real images that were counted; ``None`` where a file does not say.
        n_fake: Fake images that were counted; ``None`` where a file does not say.
        skipped_files: Pairs of a name and a reason for the images that were left out.
        protocol: Name of the protocol.
        feature_spec: The feature space.
        declared: Fields of it that a file did not state and that were taken on trust.
        seed: Of every random choice.
        terms: Parts that add up to the value, such as the mean and the covariance term.
        warnings: Pairs of a code and a message.
        versions: Of what the number depends on.
    """

    metric: str
    value: float
    standard_error: float | None
    n_real: int | None
    n_fake: int | None
    protocol: str | None
    feature_spec: FeatureSpec
    seed: int = 0
    skipped_files: Sequence[tuple[str, str]] = ()
    declared: Sequence[str] = ()
    terms: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[Warning_] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def __float__(self) -> float:
        return self.value

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval for the expected value at these sample sizes, cut off at 0.

        It is not one for the population's value: that is lower, because the Fréchet distance is
        biased upwards by about 1/n.
        """
        if self.standard_error is None:
            return None
        half = _NORMAL_95 * self.standard_error
        return max(self.value - half, 0.0), self.value + half

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as ``--json`` prints them."""
        return {
            "metric": self.metric,
            "value": self.value,
            "standard_error": self.standard_error,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "skipped": len(self.skipped_files),
            "skipped_files": [{"name": n, "reason": r} for n, r in self.skipped_files],
            "protocol": self.protocol,
            "feature_spec": self.feature_spec.to_json(),
            "declared": list(self.declared),
            "terms": dict(self.terms),
            "seed": self.seed,
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
            "versions": dict(self.versions),
        }

    def to_text(self) -> str:
        """A few lines for a person."""
        spec = self.feature_spec
        decimals = _decimals(self.value, self.standard_error)
        lines = [f"{self.metric.upper()} {self.value:.{decimals}f}"]
        if self.ci95 is not None:
            lines[0] += f" ± {self.standard_error:.{decimals}f}"
            low, high = (f"{bound:.{decimals}f}" for bound in self.ci95)
            lines.append(f"  95 % interval   {low} … {high}")
            lines.append(
                "                  for the expected value at these n, not the population's;"
            )
            lines.append(
                "                  up to 1.4 times too wide where the sets are nearly equal"
            )
        if self.terms:
            terms = " + ".join(f"{name} {value:.6g}" for name, value in self.terms.items())
            lines.append(f"  terms           {terms}")
        lines.append(f"  images          {_count(self.n_real)} real, {_count(self.n_fake)} fake")
        if self.skipped_files:
            lines.append(f"  left out        {len(self.skipped_files)} images")
        space = f"{spec.backbone or '?'} {spec.layer or '?'}"
        weights = (spec.weights_sha256 or "?")[:8]
        lines.append(f"  features        {space}, weights {weights}, {spec.precision or '?'}")
        lines.append(f"  protocol        {self.protocol or 'not stated'}")
        if self.declared:
            lines.append(f"  declared        {', '.join(self.declared)}")
        lines.append(f"  fingerprint     {spec.fingerprint()}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    def dumps(self, indent: int | None = None) -> str:
        """The JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)


def dumps(
    document: Mapping[str, Any], indent: int | None = None, *, ascii_only: bool = False
) -> str:
    """JSON that can be written anywhere: NaN is refused, file names of any bytes are escaped."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=ascii_only)
    return text.encode("utf-8", "backslashreplace").decode()


def unique(warnings: Iterable[Warning_]) -> list[Warning_]:
    """Each warning once, in order."""
    return list(dict.fromkeys(warnings))


def as_text(name: str) -> str:
    """A file name that may hold bytes that are no text, with those escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def versions() -> dict[str, str]:
    """Versions of what a number depends on, without importing any of it."""
    packages = ("gan-metrics", "numpy", "scipy", "pillow", "torch", "torchvision", "timm")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _decimals(value: float, error: float | None) -> int:
    """As many as the error bar gives a meaning to and two more, and six digits of the value."""
    sizes = [5 - math.floor(math.log10(abs(value)))] if value else [6]
    if error:
        sizes.append(2 - math.floor(math.log10(error)))
    return min(max(*sizes, 0), 15)


def _count(n: int | None) -> str:
    return "an unknown number of" if n is None else str(n)
