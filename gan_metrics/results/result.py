"""Results: one value or several, with error bars, provenance and warnings; text and JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.metrics.registry import REGISTRY as METRICS
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import REGISTRY as PROTOCOLS
from gan_metrics.results.methods_text import bibtex_of, methods_of
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.tables import text_table
from gan_metrics.utils.text import dumps

__all__ = [
    "EvaluationResult",
    "MetricResult",
    "plugins_used",
    "rounded_text",
    "value_text",
]

_NORMAL_95 = 1.959963984540054

_DECIMALS, _TINY = 9, 1e-3

_LISTED = 16
"""Most values of a detail that the text shows."""

_INITIALS = 4
"""Metric names of at most this length are printed in upper case."""


@dataclass(frozen=True)
class MetricResult:
    """One value with its error bar and its provenance; ``float(result)`` is the value.

    Attributes:
        metric: Name such as ``"fid"``; ``"fd"`` in other spaces than the 2015 Inception's pool3.
        value: The value.
        standard_error: Standard error for redrawing the sets at these sample sizes, or ``None``.
        n_real: Number of real images; ``None`` if a file does not state it.
        n_fake: Number of generated images; ``None`` if a file does not state it.
        skipped_files: Name and reason for each image that was left out.
        protocol: Name of the protocol.
        feature_spec: The feature space.
        declared: Fields of the feature space that a file does not state and that were assumed.
        seed: Seed of all random numbers, unless ``arguments`` contains a seed for the metric.
        arguments: Keyword arguments of the metric, from the caller or its protocol.
        drawn: How many images were drawn from larger sets, and ``max_images``.
        fixed: Sets given as mean and covariance, ``"real"`` or ``"fake"``, and their source; the
            error bar treats them as fixed.
        digests: Digest of each set, real before generated; ``None`` if unknown.
        terms: Parts that add up to the value, such as the mean and the covariance term.
        details: Further numbers, such as the number of subsets.
        bounds: Lowest and highest possible value; ``None``: unbounded.
        error_bar: How the error bar was computed, and how accurate it is.
        sides: 2; or 1 for a metric of the generated images only, with ``n_real`` ``None``.
        n_held_out: Number of held-out real images, for a metric that uses them.
        warnings: Pairs of a code and a message.
        versions: Versions of the packages that affect the value.
        plugins: Pairs of a distribution and its version: the plug-ins of the metric, the protocol
            or the feature space.
    """

    metric: str
    value: float
    standard_error: float | None
    n_real: int | None
    n_fake: int | None
    protocol: str | None
    feature_spec: FeatureSpec
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    digests: Sequence[str | None] = ()
    skipped_files: Sequence[tuple[str, str]] = ()
    declared: Sequence[str] = ()
    terms: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    bounds: tuple[float | None, float | None] = (0.0, None)
    error_bar: str = ""
    sides: int = 2
    n_held_out: int | None = None
    warnings: Sequence[ResultWarning] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    plugins: Sequence[tuple[str, str]] = ()

    def __float__(self) -> float:
        return self.value

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval for the expected value at these sample sizes, within the bounds.

        It does not cover the value of the whole distributions, which differs for biased metrics:
        that of the Fréchet distance is lower, by about 1/n.
        """
        if self.standard_error is None:
            return None
        half = _NORMAL_95 * self.standard_error
        low, high = self.value - half, self.value + half
        least, greatest = self.bounds
        return (
            low if least is None else max(low, min(least, self.value)),
            high if greatest is None else min(high, max(greatest, self.value)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values, as printed by ``--json``."""
        return {
            "metric": self.metric,
            "value": self.value,
            "standard_error": self.standard_error,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            **({} if self.n_held_out is None else {"n_held_out": self.n_held_out}),
            "skipped": len(self.skipped_files),
            "skipped_files": [{"name": n, "reason": r} for n, r in self.skipped_files],
            "protocol": self.protocol,
            "feature_spec": self.feature_spec.to_json(),
            "declared": list(self.declared),
            "terms": dict(self.terms),
            "details": dict(self.details),
            "error_bar": self.error_bar,
            "seed": self.seed,
            "arguments": {k: _finite(v) for k, v in self.arguments.items()},
            **({"drawn": dict(self.drawn)} if self.drawn else {}),
            **({"fixed": dict(self.fixed)} if self.fixed else {}),
            "digests": list(self.digests),
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
            "versions": dict(self.versions),
            **({"plugins": [_plugin(*pair) for pair in self.plugins]} if self.plugins else {}),
        }

    def to_text(self) -> str:
        """Return the result as a few lines of text."""
        name = self.metric.upper() if len(self.metric) <= _INITIALS else self.metric
        lines = [f"{name} {self.value_text()}"]
        if self.ci95 is not None:
            decimals = _decimals(self.value, self.standard_error)
            low, high = (_digits(bound, decimals) for bound in self.ci95)
            lines.append(f"  95 % interval   {low} … {high}")
            wrapped = textwrap.wrap(self.error_bar, 74)
            lines += [f"                  {line}" for line in wrapped]
        if self.terms:
            terms = " + ".join(f"{name} {value:.6g}" for name, value in self.terms.items())
            lines.append(f"  terms           {terms}")
        for name, value in self.details.items():
            if shown := _shown(value):
                lines += _wrapped(name.replace("_", " "), shown)
        return "\n".join([*lines, *self.provenance()])

    def __repr__(self) -> str:
        return f"<{self.metric} {self.value_text()}>"

    def value_text(self) -> str:
        """Return the value and its standard error with as many digits as the error justifies."""
        return value_text(self.value, self.standard_error)

    def provenance(self) -> list[str]:
        """Return lines about the images, the feature space and the protocol."""
        spec = self.feature_spec
        counts = [f"{_count(self.n_real)} real"] if self.sides == 2 else []
        counts.append(f"{_count(self.n_fake)} fake")
        if self.n_held_out is not None:
            counts.append(f"{self.n_held_out} held out")
        lines = [f"  images          {', '.join(counts)}"]
        if self.skipped_files:
            lines.append(f"  left out        {len(self.skipped_files)} images")
        space = f"{spec.backbone or '?'} {spec.layer or '?'}"
        weights = (spec.weights_sha256 or "?")[:8]
        lines.append(f"  features        {space}, weights {weights}, {spec.precision or '?'}")
        lines.append(f"  protocol        {self.protocol or 'not stated'}")
        if self.declared:
            lines.append(f"  declared        {', '.join(self.declared)}")
        lines.append(f"  fingerprint     {spec.fingerprint()}")
        return lines

    def __str__(self) -> str:
        return self.to_text()

    def methods(self) -> str:
        """Return a methods paragraph for a paper."""
        return methods_of([self])

    def bibtex(self) -> str:
        """Return BibTeX entries of everything to cite."""
        return bibtex_of([self])

    def dumps(self, indent: int | None = None) -> str:
        """Return the JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)


class EvaluationResult(Mapping[str, MetricResult]):
    """Several results from one pass; a mapping of names, as requested, to results.

    A result is also found by its own name, such as ``fd`` if ``fid`` was requested.

    Args:
        results: Results by name.
        not_computed: Reasons by name, for metrics without a result.
        protocols: Names of the protocols if there are several; the keys are then
            ``metric@protocol``.
        per_image: Scores of single images, if requested.
        per_class: Metrics of each class, if requested.
        top: Number of images of each kind that text and JSON list.

    Attributes:
        not_computed: Reasons by name, for metrics without a result.
        protocols: Names of the protocols if there are several.
        per_image: A :class:`~gan_metrics.analysis.per_image.PerImage`, or ``None``.
        per_class: A :class:`~gan_metrics.analysis.per_class.PerClass`, or ``None``.
    """

    def __init__(
        self,
        results: Mapping[str, MetricResult],
        not_computed: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
        *,
        per_image: Any = None,  # noqa: ANN401
        per_class: Any = None,  # noqa: ANN401
        top: int = 0,
    ) -> None:
        self._results = dict(results)
        self.per_image, self.per_class, self._top = per_image, per_class, top
        self.not_computed: dict[str, str] = dict(not_computed or {})
        self.protocols = tuple(protocols)

    def __getitem__(self, name: str) -> MetricResult:
        if name in self.not_computed:
            raise KeyError(f"{name} was not computed: {self.not_computed[name]}")
        if name not in self._results and not self.protocols:  # by its own name: fd for fid
            own = (result for result in self._results.values() if result.metric == name)
            return next(own, None) or self._results[name]
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def warnings(self) -> list[ResultWarning]:
        """Warnings of all results and of the analysis of images and classes, each once."""
        found = [w for result in self._results.values() for w in result.warnings]
        parts = [part for part in (self.per_image, self.per_class) if part is not None]
        return unique([*found, *(w for part in parts for w in part.warnings)])

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain JSON values, as printed by ``--json``."""
        document: dict[str, Any] = {
            "results": [result.to_json() for result in self._results.values()],
            "not_computed": [{"metric": m, "reason": r} for m, r in self.not_computed.items()],
        }
        if self.per_image is not None:
            document["images"] = self.per_image.to_json(self._top)
        if self.per_class is not None:
            document["classes"] = self.per_class.to_json()
        for part in (self.per_image, self.per_class):
            if part is not None and part.warnings:
                listed = [{"code": code, "message": message} for code, message in part.warnings]
                document.setdefault("warnings", []).extend(listed)
        if self.protocols:
            document["differences"] = [
                {
                    "metric": result.metric,
                    "protocol": result.protocol,
                    "to": first.protocol,
                    "difference": result.value - first.value,
                    "relative_difference": _relative(result.value, first.value),
                }
                for first, result in self._beside_first()
            ]
        return document

    def _beside_first(self) -> Iterator[tuple[MetricResult, MetricResult]]:
        """Yield each result of a later protocol with the result of the first protocol.

        Distances in different networks cannot be compared and are left out.
        """
        first: dict[str, MetricResult] = {}
        for key, result in self._results.items():
            name = key.partition("@")[0]
            before = first.setdefault(name, result)
            same = before.metric == result.metric and _network(before) == _network(result)
            if before is not result and same:
                yield before, result

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the table, headings first."""
        apart = {id(result): first for first, result in self._beside_first()}
        rows = []
        for result in self._results.values():
            decimals = _decimals(result.value, result.standard_error)
            interval = ""
            if result.ci95 is not None:
                interval = " … ".join(_digits(bound, decimals) for bound in result.ci95)
            row: tuple[str, ...] = (result.metric, result.value_text(), interval)
            if self.protocols:
                first = apart.get(id(result))
                shown = "" if first is None else _beside(result, first)
                row = (result.metric, str(result.protocol), result.value_text(), interval, shown)
            rows.append(row)
        barred = any(result.standard_error is not None for result in self._results.values())
        heads = ("value ± standard error", "95 % interval") if barred else ("value", "")
        if self.protocols:
            return [("metric", "protocol", *heads, f"vs. {self.protocols[0]}"), *rows]
        return [("metric", *heads), *rows]

    def to_text(self) -> str:
        """Return a table, followed by the provenance of its values."""
        heads, *rows = self._rows()
        lines = [text_table(heads, rows)]
        lines += [f"{name}: not computed: {why}" for name, why in self.not_computed.items()]
        spaces: dict[str, tuple[list[str], MetricResult]] = {}
        for result in self._results.values():
            numbers = f"{result.n_real} {result.n_fake} {result.n_held_out}"
            counts = f"{result.sides} {numbers} {result.declared}"
            key = f"{counts} {result.protocol} {result.feature_spec.fingerprint()}"
            spaces.setdefault(key, ([], result))[0].append(result.metric)
        for names, result in spaces.values():
            lines += ["", *textwrap.wrap(", ".join(names), 100), *result.provenance()]
        if self.per_class is not None:
            lines += ["", self.per_class.to_text()]
        if self.per_image is not None and self._top:
            lines += ["", self.per_image.to_text(self._top)]
        return "\n".join(lines)

    def methods(self) -> str:
        """Return a methods paragraph for a paper."""
        return methods_of(list(self._results.values()))

    def bibtex(self) -> str:
        """Return BibTeX entries of everything to cite."""
        return bibtex_of(list(self._results.values()))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<EvaluationResult {', '.join(map(repr, self._results.values()))}>"

    def dumps(self, indent: int | None = None) -> str:
        """Return the JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)


def plugins_used(
    metric: str, spec: FeatureSpec, protocol: str | None
) -> tuple[tuple[str, str], ...]:
    """Return the plug-ins of a result: pairs of a distribution and its version.

    Args:
        metric: Name of the metric's entry.
        spec: The feature space.
        protocol: Name of the protocol.
    """
    origins = [METRICS.origin(metric), PROTOCOLS.origin(protocol or "")]
    pairs = {(origin.name, origin.version or "") for origin in origins if origin is not None}
    return tuple(sorted({*pairs, *(spec.plugins or ())}))


def _plugin(name: str, version: str) -> dict[str, str | None]:
    return {"name": name, "version": version or None}


def value_text(value: float, error: float | None) -> str:
    """Format a value and its standard error with as many digits as the error justifies."""
    decimals = _decimals(value, error)
    text = _digits(value, decimals)
    return text if error is None else f"{text} ± {_digits(error, decimals)}"


def rounded_text(value: float, error: float | None) -> str:
    """Format a value and its standard error for a table: two digits of the error."""
    if not error:
        return f"{value:.6g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _beside(result: MetricResult, first: MetricResult) -> str:
    """Format a difference as a percentage, or as a number if the first value is nearly zero."""
    relative = _relative(result.value, first.value)
    if relative is None or abs(first.value) < 2 * (first.standard_error or 0.0):
        return f"{result.value - first.value:+.3g}"
    return f"{relative:+.3%}"


def _network(result: MetricResult) -> tuple[str | None, str | None]:
    return result.feature_spec.backbone, result.feature_spec.layer


def _finite(value: object) -> object:
    """Return a value that JSON can hold."""
    return "inf" if value == math.inf else value


def _relative(value: float, first: float) -> float | None:
    """Return the difference of two values relative to the first; ``None`` if that is zero."""
    return (value - first) / abs(first) if first else None


def _decimals(value: float, error: float | None) -> int:
    """Return the number of decimals: two more than the error justifies, at most six digits."""
    sizes = [5 - math.floor(math.log10(abs(value)))] if value else [6]
    if error:
        sizes.append(2 - math.floor(math.log10(error)))
    return min(max(*sizes, 0), 15)


def _digits(value: float, decimals: int) -> str:
    """Format a number with a number of decimals; tiny numbers in scientific notation."""
    if decimals > _DECIMALS and abs(value) < _TINY:
        return f"{value:.6g}"
    return f"{value:.{min(decimals, _DECIMALS)}f}"


def _shown(value: object) -> str:
    """Format a detail; empty if it is too long to print."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and len(value) <= _LISTED:
        return ", ".join(map(_shown, value))
    return str(value) if isinstance(value, int | str) else ""


def _wrapped(name: str, text: str) -> list[str]:
    """Format a name and a text; long texts continue on indented lines."""
    lines = textwrap.wrap(text, 74) or [""]
    head = f"  {name:<15} " if len(name) <= 15 else f"  {name}\n{' ' * 18}"
    return [head + lines[0], *(" " * 18 + line for line in lines[1:])]


def _count(n: int | None) -> str:
    return "an unknown number of" if n is None else str(n)
