"""A number and everything that is needed to trust it."""

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
"""Values of a detail that are shown to a person."""

_INITIALS = 4
"""Names of no more letters are written as initials are."""


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
        seed: Of every random choice, but where ``arguments`` name another one for the metric.
        arguments: Keyword arguments that the metric was given, by the caller or its protocol.
        drawn: Where images were drawn from the sets, ``max_images``.
        fixed: Sides known by their moments alone, ``"real"`` or ``"fake"``, and where these are
            from: the error bar holds them fixed.
        digests: Of the images of each side, real before fake; ``None`` where they are not known.
        terms: Parts that add up to the value, such as the mean and the covariance term.
        details: Facts beside the value, such as the number of subsets.
        bounds: The least and the greatest value there can be; ``None``: there is none.
        error_bar: How the error bar was made, and what it is good for.
        n_sets: 2; 1 for a metric of the fake images alone, whose ``n_real`` is ``None``.
        n_held_out: Images that were not trained on, for a metric that takes them.
        warnings: Pairs of a code and a message.
        versions: Of what the number depends on.
        plugins: Pairs of a distribution and its version: the plug-ins that the metric, the
            protocol or the feature space are from.
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
    n_sets: int = 2
    n_held_out: int | None = None
    warnings: Sequence[ResultWarning] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    plugins: Sequence[tuple[str, str]] = ()

    def __float__(self) -> float:
        return self.value

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval for the expected value at these sample sizes, within the bounds.

        It is not one for the population's value, which differs where the metric is biased: that of
        the Fréchet distance is lower, by about 1/n.
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
        """Plain JSON values, as ``--json`` prints them."""
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
        """A few lines for a person."""
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
        """The value and its standard error, with as many digits as these have a meaning."""
        return value_text(self.value, self.standard_error)

    def provenance(self) -> list[str]:
        """Lines on what it was computed from."""
        spec = self.feature_spec
        sides = [f"{_count(self.n_real)} real"] if self.n_sets == 2 else []
        sides.append(f"{_count(self.n_fake)} fake")
        if self.n_held_out is not None:
            sides.append(f"{self.n_held_out} held out")
        lines = [f"  images          {', '.join(sides)}"]
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
        """What was computed and how, in a paragraph that is fit for a paper."""
        return methods_of([self])

    def bibtex(self) -> str:
        """What to cite for it."""
        return bibtex_of([self])

    def dumps(self, indent: int | None = None) -> str:
        """The JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)


class EvaluationResult(Mapping[str, MetricResult]):
    """Several values from one pass; a mapping from names, as they were asked for, to results.

    A result is also found by what it calls itself, such as ``fd`` where ``fid`` was asked for.

    Args:
        results: Name to result.
        not_computed: Name to the reason why there is no result.
        protocols: Where each metric was computed by several protocols, their names; the keys are
            then ``metric@protocol``.
        per_image: What was found of each image, if that was asked for.
        per_class: What was found of each class, if that was asked for.
        top: How many images of each kind are told of in text and JSON.

    Attributes:
        not_computed: The same.
        protocols: The same.
        per_image: The same; a :class:`~gan_metrics.analysis.per_image.PerImage`.
        per_class: The same; a :class:`~gan_metrics.analysis.per_class.PerClass`.
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
        if name not in self._results and not self.protocols:  # what it calls itself: fd for fid
            own = (result for result in self._results.values() if result.metric == name)
            return next(own, None) or self._results[name]
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def warnings(self) -> list[ResultWarning]:
        """Those of all results, each once, and of what was found of images and classes."""
        found = [w for result in self._results.values() for w in result.warnings]
        parts = [part for part in (self.per_image, self.per_class) if part is not None]
        return unique([*found, *(w for part in parts for w in part.warnings)])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as ``--json`` prints them."""
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
        """Each result by another protocol than the first, and before it that by the first one.

        Distances in different networks are no two values of one thing, and are left out.
        """
        first: dict[str, MetricResult] = {}
        for key, result in self._results.items():
            name = key.partition("@")[0]
            before = first.setdefault(name, result)
            same = before.metric == result.metric and _network(before) == _network(result)
            if before is not result and same:
                yield before, result

    def _rows(self) -> list[tuple[str, ...]]:
        """The table, with its headings."""
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
            return [("metric", "protocol", *heads, f"beside {self.protocols[0]}"), *rows]
        return [("metric", *heads), *rows]

    def to_text(self) -> str:
        """A table for a person, and below it what it was computed from."""
        heads, *rows = self._rows()
        lines = [text_table(heads, rows)]
        lines += [f"{name}: not computed: {why}" for name, why in self.not_computed.items()]
        spaces: dict[str, tuple[list[str], MetricResult]] = {}
        for result in self._results.values():
            numbers = f"{result.n_real} {result.n_fake} {result.n_held_out}"
            counts = f"{result.n_sets} {numbers} {result.declared}"
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
        """What was computed and how, in a paragraph that is fit for a paper."""
        return methods_of(list(self._results.values()))

    def bibtex(self) -> str:
        """What to cite for it."""
        return bibtex_of(list(self._results.values()))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<EvaluationResult {', '.join(map(repr, self._results.values()))}>"

    def dumps(self, indent: int | None = None) -> str:
        """The JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)


def plugins_used(
    metric: str, spec: FeatureSpec, protocol: str | None
) -> tuple[tuple[str, str], ...]:
    """The plug-ins that a result depends on: pairs of a distribution and its version.

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
    """A value and its standard error, with as many digits as these have a meaning."""
    decimals = _decimals(value, error)
    text = _digits(value, decimals)
    return text if error is None else f"{text} ± {_digits(error, decimals)}"


def rounded_text(value: float, error: float | None) -> str:
    """A value and its standard error as a table shows them: two digits of the error."""
    if not error:
        return f"{value:.6g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _beside(result: MetricResult, first: MetricResult) -> str:
    """A difference for a person: a share, or itself where the first value may as well be zero."""
    relative = _relative(result.value, first.value)
    if relative is None or abs(first.value) < 2 * (first.standard_error or 0.0):
        return f"{result.value - first.value:+.3g}"
    return f"{relative:+.3%}"


def _network(result: MetricResult) -> tuple[str | None, str | None]:
    return result.feature_spec.backbone, result.feature_spec.layer


def _finite(value: object) -> object:
    """A value that JSON can hold."""
    return "inf" if value == math.inf else value


def _relative(value: float, first: float) -> float | None:
    """How much one value is above another, as a share of it."""
    return (value - first) / abs(first) if first else None


def _decimals(value: float, error: float | None) -> int:
    """As many as the error bar gives a meaning to and two more, and six digits of the value."""
    sizes = [5 - math.floor(math.log10(abs(value)))] if value else [6]
    if error:
        sizes.append(2 - math.floor(math.log10(error)))
    return min(max(*sizes, 0), 15)


def _digits(value: float, decimals: int) -> str:
    """A number with so many decimals; a tiny one that needs too many in powers of ten."""
    if decimals > _DECIMALS and abs(value) < _TINY:
        return f"{value:.6g}"
    return f"{value:.{min(decimals, _DECIMALS)}f}"


def _shown(value: object) -> str:
    """A detail for a person; empty for what is too long to be read."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and len(value) <= _LISTED:
        return ", ".join(map(_shown, value))
    return str(value) if isinstance(value, int | str) else ""


def _wrapped(name: str, text: str) -> list[str]:
    """A line of the result's text, continued below where it is long."""
    lines = textwrap.wrap(text, 74) or [""]
    head = f"  {name:<15} " if len(name) <= 15 else f"  {name}\n{' ' * 18}"
    return [head + lines[0], *(" " * 18 + line for line in lines[1:])]


def _count(n: int | None) -> str:
    return "an unknown number of" if n is None else str(n)
