"""Reproduce a saved result from its record.

A record never executes code: a backbone that is not built in must be repeated by the caller, and
weights that are not the published ones must be given again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan_metrics.backbones.registry import is_built_in
from gan_metrics.errors import InputError, MismatchError, UsageError, unreadable
from gan_metrics.evaluation.run import score
from gan_metrics.generators.generated import Generated
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import Input
from gan_metrics.metrics.registry import PIXEL_INPUTS, Metric, check_arguments, entry_of, expand
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS, REGISTRY
from gan_metrics.results.result import EvaluationResult, MetricResult
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.text import dumps, loads

__all__ = ["Reproduced", "Reproduction", "redraw_images", "reproduce"]

_RELATIVE = 1e-5
"""Relative difference between machines, because float32 convolutions sum in different orders."""

_OF_ERROR = 1e-3
"""Accepted difference as a share of the standard error, for values near zero."""

_IMAGES = 2
"""Accepted difference of counts of images in balls, in images."""

_INPUTS = ("metric", "n_real", "n_fake", "skipped", "images", "feature_spec")
"""Facts that must be unchanged if a result is reproduced."""


@dataclass(frozen=True)
class Reproduced:
    """One recorded value and its reproduction.

    Attributes:
        recorded: The recorded value.
        result: The new result.
        changed: Changed facts: name to a pair of old and new.
    """

    recorded: float
    result: MetricResult
    changed: Mapping[str, tuple[Any, Any]]

    @property
    def difference(self) -> float:
        """The new value minus the recorded one."""
        return self.result.value - self.recorded

    @property
    def same_inputs(self) -> bool:
        """Whether images, counts and feature space are those of the record, as far as stated."""
        return not any(name.startswith(_INPUTS) for name in self.changed)

    @property
    def same_value(self) -> bool:
        """Whether both values agree up to float32 rounding."""
        allowed = _RELATIVE * max(abs(self.recorded), abs(self.result.value))
        allowed = max(allowed, _OF_ERROR * (self.result.standard_error or 0.0))
        entry = entry_of(self.result.metric)
        if entry is not None and entry.counts:
            counted = [n for n in (self.result.n_real, self.result.n_fake) if n]
            allowed = max(allowed, _IMAGES / min(counted, default=1))
        return abs(self.difference) <= allowed

    @property
    def agrees(self) -> bool:
        """Whether both value and images agree."""
        return self.same_value and self.same_inputs

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.agrees:
            return "agrees"
        return "DOES NOT AGREE" if not self.same_value else "the same value FROM OTHER INPUTS"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "metric": self.result.metric,
            "protocol": self.result.protocol,
            "recorded": self.recorded,
            "recomputed": self.result.value,
            "difference": self.difference,
            "agrees": self.agrees,
            "changed": {name: list(pair) for name, pair in self.changed.items()},
        }


@dataclass(frozen=True)
class Reproduction:
    """A record and its reproduction.

    Attributes:
        values: One entry for each result of the record.
    """

    values: Sequence[Reproduced]

    @property
    def agrees(self) -> bool:
        """Whether every value agrees."""
        return all(value.agrees for value in self.values)

    @property
    def warnings(self) -> list[ResultWarning]:
        """Warnings of the new results, each once."""
        return unique(w for value in self.values for w in value.result.warnings)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as printed by ``--json``."""
        return {"agrees": self.agrees, "results": [value.to_json() for value in self.values]}

    def dumps(self, indent: int | None = None) -> str:
        """Return the JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return a few lines of text."""
        lines = []
        several = len({value.result.protocol for value in self.values}) > 1
        for value in self.values:
            size = abs(value.recorded)
            apart = f"{value.difference / size:+.1e}" if size else f"{value.difference:+.3g}"
            by = f" by {value.result.protocol}" if several else ""
            lines.append(
                f"{value.result.metric}{by}: {value.recorded:.9g} recorded, "
                f"{value.result.value:.9g} now ({apart}): {value.verdict}"
            )
        changed: dict[str, tuple[Any, Any]] = {}
        for value in self.values:
            changed.update(value.changed)
        lines += [f"  {name}: was {then}, now {now}" for name, (then, now) in changed.items()]
        return "\n".join(lines)


@takes_options
def reproduce(
    record: str | os.PathLike[str] | Mapping[str, Any] | MetricResult | EvaluationResult,
    real: Input | None,
    fake: Input | None = None,
    *,
    held_out: Input | None = None,
    options: Options,
) -> Reproduction:
    """Compute a saved result again from its record, and report whether the values agree.

    All results of one feature space are computed in one pass over the images.

    Backbone, layer, protocol, precision, departures, arguments, seed and draw come from the record.
    A value agrees if the images, their number and the feature space are the same, and it differs by
    less than 1e-5 of its size, 0.1 % of its standard error or, for counts such as precision, two
    images.

    Args:
        record: A file written by ``-o`` or ``--json``, a log written by ``--append`` (its last
            line), such a document, or a result.
        real: Real images, as for :func:`~gan_metrics.api.evaluate`; ``None`` for metrics of the
            generated images only.
        fake: Generated images. If omitted, ``real`` is the only set of such metrics.
        held_out: The held-out images, if a metric of the record uses them.
        options: Options such as ``device``, ``batch_size``, ``workers``, ``cache``; ``weights`` if
            the record's are not the published ones, ``backbone`` if it is not built in. Settings in
            the record cannot be overridden.

    Raises:
        InputError: If the record cannot be read.
        UsageError: If an option contradicts the record.
        MismatchError: If the weights, the backbone or the protocol of the record are unavailable.
        GanMetricsError: As for :func:`~gan_metrics.api.score`.
    """
    if isinstance(record, MetricResult | EvaluationResult):
        record = record.to_json()
    entries = [_Entry.of(entry) for entry in _entries(record)]
    for option in _SETTLED:
        if getattr(options, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} comes from the record; omit it")
    if fake is None:
        if any(entry.row.n_sets == 2 for entry in entries):
            raise UsageError("the record has two sets; give REAL and FAKE")
        real, fake = None, real
    assert fake is not None  # noqa: S101
    if held_out is None and any(entry.row.needs_held_out for entry in entries):
        raise UsageError("the record has a metric with held-out images; give --held-out")
    found: dict[int, Reproduced] = {}
    for run in _runs(entries, options):
        found |= run.results(real, fake, held_out)
    return Reproduction([found[position] for position in range(len(entries))])


def redraw_images(record: str | os.PathLike[str], fake: Input | None) -> Input | None:
    """Return the generator's images with the number and seed of a record.

    Args:
        record: As for :func:`reproduce`.
        fake: Images of a generator; anything else is returned unchanged.
    """
    if not isinstance(fake, Generated):
        return fake
    entry = _entries(record)[0]
    drawn = entry.get("drawn")
    number = drawn.get("of_generated") if isinstance(drawn, Mapping) else entry.get("n_fake")
    seed = entry.get("seed")
    if not isinstance(number, int) or not isinstance(seed, int):
        return fake
    return fake.redrawn(number, seed)


def _entries(record: str | os.PathLike[str] | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results in a record."""
    if isinstance(record, Mapping):
        document, where = record, "the record"
    elif isinstance(record, str | os.PathLike):
        where = os.fspath(record)
        document = _read(Path(record))
    else:
        raise UsageError(f"expected a file, a document or a result as the record, not {record!r}")
    if "ranking" in document:
        raise InputError(f"{where} is a comparison; reproduce needs results of single generators")
    results = document.get("results", [document])
    if not isinstance(results, list) or not results:
        raise InputError(f"{where} contains no result; expected a file written by -o or --json")
    for entry in results:
        if not isinstance(entry, Mapping) or "value" not in entry or "feature_spec" not in entry:
            raise InputError(f"{where} contains no result; expected a file written by -o or --json")
    return results


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            document = loads(text)
        except ValueError:  # a log: use the last line
            document = loads((text.strip().splitlines() or [""])[-1])
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON ({error}); expected a file written by -o or --json"
        ) from None
    if not isinstance(document, Mapping):
        raise InputError(f"{path} contains no result; expected a file written by -o or --json")
    return document


_FACTS = ("metric", "n_real", "n_fake", "n_held_out", "skipped")
_SETTLED = ("layer", "pool", "protocol", "precision", "alpha", "exif", "max_images", "seed")
"""Options that come from the record."""


@dataclass(frozen=True)
class _Entry:
    """One recorded value with its settings, validated before anything is computed."""

    value: float
    name: str
    row: Metric
    spec: FeatureSpec
    protocol: str | None
    arguments: Mapping[str, Any]
    seed: int
    max_images: int | None
    barred: bool
    facts: Mapping[str, Any]
    digests: Sequence[str | None]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Entry:
        """Read one result of a record.

        Raises:
            InputError: If it is invalid; the message has the reason.
        """
        try:
            (name, row), *_ = expand(str(entry["metric"])).items()
            arguments = {
                key: math.inf if given == "inf" else given
                for key, given in dict(entry.get("arguments", {})).items()
            }
            check_arguments({row.name: arguments})
            protocol, value = entry.get("protocol"), float(entry["value"])
            digests = list(entry.get("digests", ()))
            drawn = dict(entry.get("drawn", {}))
            if not math.isfinite(value):
                raise ValueError(f"its value is {value}")
            if not isinstance(protocol, str | None):
                raise TypeError(f"its protocol is {protocol!r}")
            if not all(isinstance(digest, str | None) for digest in digests):
                raise TypeError(f"its digests are {digests!r}")
            return cls(
                value=value,
                name=name,
                row=row,
                spec=FeatureSpec.from_json(entry["feature_spec"]),
                protocol=protocol,
                arguments=arguments,
                seed=int(entry.get("seed", 0)),
                max_images=drawn.get("max_images"),
                barred=entry.get("standard_error") is not None,
                facts={k: entry[k] for k in _FACTS if k in entry},
                digests=digests,
                versions={str(k): str(v) for k, v in dict(entry.get("versions", {})).items()},
            )
        except KeyError as error:
            raise InputError(f"the record is broken: it has no {error}") from None
        except (AttributeError, TypeError, ValueError, UsageError) as error:
            raise InputError(f"the record is broken: {error}") from None


@dataclass
class _Run:
    """Results of a record that one evaluation can compute: one feature space, one draw of images.

    Attributes:
        requested: The options of the record.
        entries: Entries by position in the record; each has another metric.
    """

    requested: Options
    entries: dict[int, _Entry]

    def takes(self, entry: _Entry, requested: Options) -> bool:
        """Whether the evaluation can also compute another entry."""
        return requested == self.requested and all(
            entry.row.name != other.row.name for other in self.entries.values()
        )

    def results(
        self, real: Input | None, fake: Input, held_out: Input | None
    ) -> dict[int, Reproduced]:
        """Return the results by their positions in the record."""
        entries = list(self.entries.values())
        found = score(
            [entry.name for entry in entries],
            real if any(e.row.n_sets == 2 or e.row.shares_bandwidth for e in entries) else None,
            fake,
            held_out=held_out if any(entry.row.needs_held_out for entry in entries) else None,
            error_bars=any(entry.barred for entry in entries),
            arguments={entry.row.name: entry.arguments for entry in entries},
            options=self.requested,
        )
        return {
            position: _compare(entry, found[entry.name]) for position, entry in self.entries.items()
        }


def _runs(entries: Sequence[_Entry], options: Options) -> list[_Run]:
    """Return the evaluations that compute a record again: as few as possible."""
    runs: list[_Run] = []
    for position, entry in enumerate(entries):
        if entry.row.needs in PIXEL_INPUTS:
            stated = _of_lpips(entry.spec, entry.protocol)
        else:
            stated = _of_record(entry.spec, entry.protocol, options)
        requested = replace(options, **stated, seed=entry.seed, max_images=entry.max_images)
        run = next((run for run in runs if run.takes(entry, requested)), None)
        if run is None:
            runs.append(_Run(requested, {position: entry}))
        else:
            run.entries[position] = entry
    return runs


def _compare(entry: _Entry, result: MetricResult) -> Reproduced:
    """Compare one value with the recorded one.

    Raises:
        MismatchError: If other weights were used.
    """
    recorded = entry.spec.weights_sha256
    if recorded not in (None, result.feature_spec.weights_sha256):
        raise MismatchError(
            f"the record's weights have the sha256 {recorded}, but the weights here have "
            f"{result.feature_spec.weights_sha256}; give the record's file with --weights"
        )
    return Reproduced(entry.value, result, _changed(entry, result))


def _of_lpips(spec: FeatureSpec, protocol: str | None) -> dict[str, Any]:
    """Return the options of a record of a metric with LPIPS; the arguments name its kind."""
    requested: dict[str, Any] = {"protocol": protocol}
    if str(spec.weights_sha256).startswith("random"):
        requested["weights"] = "random"
    departures = dict(spec.departures or ())
    requested["alpha"], requested["exif"] = departures.get("alpha"), departures.get("exif")
    return requested


def _of_record(spec: FeatureSpec, protocol: str | None, options: Options) -> dict[str, Any]:
    """Return the options of a record of a metric of features."""
    backbone, known = options.backbone, spec.backbone
    built_in = known is not None and (is_built_in(known) or known in _OF_PROTOCOLS)
    if backbone is None and known is not None and not built_in:
        raise MismatchError(
            f"the record's backbone {known!r} is not built in; a record never chooses what is "
            "imported or downloaded, so repeat it with --backbone"
        )
    if backbone is not None and built_in and backbone != known:
        raise UsageError(f"the record has the backbone {known}; omit --backbone")
    if protocol is not None and protocol not in PROTOCOLS:
        raise MismatchError(f"the record's protocol {protocol!r} is unknown")
    requested: dict[str, Any] = {
        "backbone": known if backbone is None else backbone,
        "layer": spec.layer,
        "pool": spec.pool,
        "protocol": protocol,
        "precision": spec.precision,
    }
    if str(spec.weights_sha256).startswith("random"):
        requested["weights"] = "random"
    departures = dict(spec.departures or ())
    requested["alpha"], requested["exif"] = departures.get("alpha"), departures.get("exif")
    return requested


_OF_PROTOCOLS = {
    row.template.backbone
    for rules in REGISTRY.built_in().values()
    for row in rules.metrics.values()
}
"""Networks of other libraries whose metadata is part of this package."""


def _changed(entry: _Entry, result: MetricResult) -> dict[str, tuple[Any, Any]]:
    """Return the facts that have changed since the record was made."""
    now = result.to_json()
    found: dict[str, tuple[Any, Any]] = {
        name: (then, now[name]) for name, then in entry.facts.items() if then != now[name]
    }
    roles = ("fake",) if result.sides == 1 else ("real", "fake", "held out")
    for role, then, is_now in zip(roles, entry.digests, result.digests, strict=False):
        if None not in (then, is_now) and then != is_now:
            found[f"images ({role})"] = (f"{str(then)[:12]}…", f"{str(is_now)[:12]}…")
    for field in entry.spec.differences(result.feature_spec):
        pair = (getattr(entry.spec, field), getattr(result.feature_spec, field))
        found[f"feature_spec.{field}"] = (str(pair[0]), str(pair[1]))
    for package, version in entry.versions.items():
        if result.versions.get(package, version) != version:
            found[package] = (version, result.versions[package])
    return found
