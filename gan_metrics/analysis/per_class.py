"""Metrics of each class, and their mean over the classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, GanMetricsError, InputError
from gan_metrics.evaluation.compute import Evaluation, FeatureSets, MetricGroup
from gan_metrics.features.features import Features
from gan_metrics.images.labels import Labels, LabelsLike, classes_of, labels_of_both
from gan_metrics.images.metadata import MetadataSummary
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.results.result import value_text
from gan_metrics.utils.result_warning import ResultWarning
from gan_metrics.utils.tables import text_table
from gan_metrics.utils.text import printable

__all__ = ["SMALL", "ClassValue", "PerClass", "measure_classes"]

SMALL = 100
"""Number of images below which a class is flagged as small."""

_SHOWN = 40
_NAMED = 8

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassValue:
    """A metric's value for one class, or its mean over several.

    Attributes:
        value: The value, or ``None``.
        standard_error: Its standard error; of a mean, √(Σ SE²) over the number of classes.
        reason: Why the value is missing.
        classes: Number of classes in a mean; 1 for the value of a class.
    """

    value: float | None
    standard_error: float | None = None
    reason: str = ""
    classes: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = {"value": self.value, "standard_error": self.standard_error}
        return {**found, **({"reason": self.reason} if self.reason else {})}

    def to_text(self) -> str:
        """Return the value as text."""
        return "–" if self.value is None else value_text(self.value, self.standard_error)


@dataclass(frozen=True)
class PerClass:
    """Metrics by class.

    Attributes:
        counts: Numbers of real and generated images by class; ``None`` without real images.
        values: Values by metric and class.
        means: Mean of each metric over the classes with a value.
        not_computed: Reasons by metric, for metrics that cannot be computed by class.
        warnings: Pairs of a code and a message.
    """

    counts: Mapping[str, tuple[int | None, int]]
    values: Mapping[str, Mapping[str, ClassValue]]
    means: Mapping[str, ClassValue]
    not_computed: Mapping[str, str]
    warnings: Sequence[ResultWarning] = ()

    @property
    def missing(self) -> list[str]:
        """Return the classes with real images but no generated image."""
        return [name for name, (real, fake) in self.counts.items() if real and not fake]

    @property
    def small(self) -> list[str]:
        """Return the classes with fewer than :data:`SMALL` real or generated images."""
        return [
            name
            for name, pair in self.counts.items()
            if min(n for n in pair if n is not None) < SMALL
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as printed by ``--json``."""
        small = set(self.small)
        return {
            "counts": {
                name: {"n_real": real, "n_fake": fake, "small": name in small}
                for name, (real, fake) in self.counts.items()
            },
            "values": {
                metric: {name: value.to_json() for name, value in by_class.items()}
                for metric, by_class in self.values.items()
            },
            "mean": {
                metric: {**mean.to_json(), "classes": mean.classes}
                for metric, mean in self.means.items()
            },
            "missing": self.missing,
            "not_computed": [{"metric": m, "reason": r} for m, r in self.not_computed.items()],
        }

    def to_text(self) -> str:
        """Return a table of the first 40 classes."""
        small = set(self.small)
        names = list(self.counts)[:_SHOWN]
        rows = [
            [
                printable(name) + (" *" if name in small else ""),
                *("–" if n is None else str(n) for n in self.counts[name]),
                *(values[name].to_text() for values in self.values.values()),
            ]
            for name in names
        ]
        rows.append(["mean over classes", "", "", *(m.to_text() for m in self.means.values())])
        heads = ["class", "real", "fake", *self.values]
        lines = [text_table(heads, rows)]
        if len(self.counts) > len(names):
            lines.append(f"… and {len(self.counts) - len(names)} more classes: see --json")
        if small:
            lines.append(f"* fewer than {SMALL} real or generated images")
        lines += [
            f"{name} by class: not computed: {why}" for name, why in self.not_computed.items()
        ]
        return "\n".join(lines)


def measure_classes(
    evaluations: Mapping[str | None, Evaluation],
    labels: LabelsLike = None,
    only: Mapping[str, str] | None = None,
) -> PerClass:
    """Compute metrics of each class from the features of the whole sets.

    Args:
        evaluations: Evaluations of the whole sets by protocol; ``None``: the only protocol.
        labels: As for :func:`~gan_metrics.images.labels.labels_of_both`.
        only: Displayed names of the metrics to compute, by requested name; ``None``: all, under the
            names of their results.

    Raises:
        InputError: If all sets are given as mean and covariance, or an image has no class.
        UsageError: If the labels have another type or number.
    """
    pair = labels_of_both(labels)
    known: dict[Features, dict[str, Indices]] = {}
    values: dict[str, dict[str, ClassValue]] = {}
    not_computed: dict[str, str] = {}
    counts: dict[str, tuple[int | None, int]] = {}
    for protocol, group, displayed in _groups(evaluations, only):
        named = {
            name if protocol is None else f"{name}@{protocol}": group.rows[key]
            for key, name in displayed.items()
        }
        if why := _why_not(group.sets):
            not_computed.update(dict.fromkeys(named, why))
            continue
        by_role = {}
        for role, one, given in (
            ("real", group.sets.real, pair[0]),
            ("fake", group.sets.fake, pair[1]),
        ):
            if isinstance(one, Features):
                if one not in known:
                    known[one] = _rows_by_class(one, given)
                by_role[role] = known[one]
        classes = sorted({name for rows in by_role.values() for name in rows})
        if group.sets.real is not None or not counts:
            counts = {name: _count(by_role, name) for name in classes}
        for name in classes:
            found = _of_class(group, {r: rows.get(name) for r, rows in by_role.items()})
            for metric, row in named.items():
                values.setdefault(metric, {})[name] = _value(found, row.name)
    if not values:
        reason = next(iter(not_computed.values()), "no metric was computed")
        raise InputError(f"no metric can be computed by class: {reason}")
    means = {metric: _mean(by_class.values()) for metric, by_class in values.items()}
    found_here = PerClass(counts, values, means, not_computed)
    return replace(found_here, warnings=_class_warnings(found_here))


def _count(by_role: Mapping[str, Mapping[str, Indices]], name: str) -> tuple[int | None, int]:
    """Return the numbers of real and generated images of a class; ``None`` without real images."""
    fakes = len(by_role["fake"].get(name, ()))
    return len(by_role["real"].get(name, ())) if "real" in by_role else None, fakes


def _groups(
    evaluations: Mapping[str | None, Evaluation], only: Mapping[str, str] | None
) -> Iterator[tuple[str | None, MetricGroup, dict[str, str]]]:
    """Yield protocol, group of metrics, and the metrics' displayed names."""
    for protocol, evaluation in evaluations.items():
        for group in evaluation.groups:
            names = [name for name in group.rows if only is None or name in only]
            results = evaluation.results
            shown = {name: results[name].metric if name in results else name for name in names}
            shown |= {name: only[name] for name in names if only is not None}
            if shown:
                yield protocol, group, shown


def _why_not(sets: FeatureSets) -> str:
    """Return why metrics of these sets cannot be computed by class; empty if they can."""
    if sets.held_out is not None:
        return "it uses held-out images, which have no classes"
    for one in sets.every:
        if not isinstance(one, Features):
            return f"{one.description} is given as mean and covariance only"
    return ""


def _rows_by_class(features: Features, labels: Labels | None) -> dict[str, Indices]:
    classes = np.array(classes_of(features.names, labels, features.description))
    order = np.argsort(classes, kind="stable")
    names, starts = np.unique(classes[order], return_index=True)
    return dict(zip(map(str, names), np.split(order, starts[1:]), strict=True))


def _of_class(
    group: MetricGroup, rows: Mapping[str, Indices | None]
) -> Mapping[str, Estimate | GanMetricsError] | str:
    """Return estimates or errors by metric; or why the class has no values at all."""
    parts: dict[str, Features] = {}
    for role, one in (("real", group.sets.real), ("fake", group.sets.fake)):
        if not isinstance(one, Features):
            continue
        here = rows[role]
        if here is None:
            return f"the class has no {role} image"
        parts[role] = _part(one, here)
    return group.compute(FeatureSets(parts["fake"], parts.get("real")))


def _part(features: Features, rows: Indices) -> Features:
    """Return the features of some images."""
    digests = features.image_digests
    return replace(
        features,
        names=[features.names[i] for i in rows],
        array=np.asarray(features.array[rows]),
        known_moments=None,
        tally=MetadataSummary(),
        digest="",
        image_digests=[digests[i] for i in rows] if digests else (),
    )


def _value(found: Mapping[str, Estimate | GanMetricsError] | str, name: str) -> ClassValue:
    if isinstance(found, str):
        return ClassValue(None, reason=found)
    estimate = found[name]
    if isinstance(estimate, GanMetricsError):
        if not isinstance(estimate, ComputationError):
            raise estimate
        return ClassValue(None, reason=str(estimate))
    return ClassValue(estimate.value, estimate.standard_error)


def _mean(values: Iterable[ClassValue]) -> ClassValue:
    known = [(one.value, one.standard_error) for one in values if one.value is not None]
    if not known:
        return ClassValue(None, reason="no class has a value", classes=0)
    errors = [error for _, error in known if error is not None]
    error = None
    if len(errors) == len(known):
        error = math.sqrt(sum(e**2 for e in errors)) / len(known)
    return ClassValue(sum(value for value, _ in known) / len(known), error, classes=len(known))


def _class_warnings(found: PerClass) -> list[ResultWarning]:
    warnings: list[ResultWarning] = []
    if len(found.counts) == 1:
        warnings.append(
            (
                "one-class",
                f"all images are of one class, {_listed(list(found.counts))}, so its values equal "
                "those of the whole set; if this is a parent folder, give its class folders",
            )
        )
    if found.missing:
        warnings.append(
            (
                "class-missing",
                f"{len(found.missing)} of {len(found.counts)} classes have real images but no "
                f"generated image: {_listed(found.missing)}",
            )
        )
    strange = [name for name, (real, fake) in found.counts.items() if fake and real == 0]
    if strange:
        warnings.append(("class-unknown", f"classes without real images: {_listed(strange)}"))
    if small := [name for name in found.small if name not in {*found.missing, *strange}]:
        warnings.append(
            (
                "class-small",
                f"{len(small)} classes have fewer than {SMALL} real or generated images, so values "
                f"that depend on the number are too high there: {_listed(small)}",
            )
        )
    lost: dict[str, list[str]] = {}
    for metric, by_class in found.values.items():
        for name, value in by_class.items():
            if value.value is None and name not in {*found.missing, *strange}:
                lost.setdefault(name, []).append(metric)
    if lost:
        metrics = sorted({metric for some in lost.values() for metric in some})
        warnings.append(
            (
                "class-without-value",
                f"{len(lost)} classes have no value of {_listed(metrics)} and are excluded from "
                f"its mean: {_listed(list(lost))}",
            )
        )
    return warnings


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more
