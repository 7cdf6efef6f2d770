"""A saved result, computed again from its own record.

A record never names code: a backbone that is not built in must be repeated by the caller, and
weights that are not the published ones must be named again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from gan_metrics.backbones.registry import is_built_in
from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.evaluation import score
from gan_metrics.metrics.registry import check_arguments, expand
from gan_metrics.options import Options
from gan_metrics.protocols import PROTOCOLS
from gan_metrics.results import MetricResult, Warning_, dumps, unique
from gan_metrics.sides import Input
from gan_metrics.specs import FeatureSpec

__all__ = ["Reproduced", "Reproduction", "reproduce"]

_RELATIVE = 1e-5
"""Two runs on other machines differ by less: float32 convolutions do not add up in one order."""

_OF_ERROR = 0.05
"""Or by less than this share of a standard error, for counts that change by single images."""


@dataclass(frozen=True)
class Reproduced:
    """One value of a record, and what it is now.

    Attributes:
        recorded: The value that was saved.
        result: What was computed.
        changed: What else is not as it was: names of facts to pairs of then and now.
    """

    recorded: float
    result: MetricResult
    changed: Mapping[str, tuple[Any, Any]]

    @property
    def difference(self) -> float:
        """Now less then."""
        return self.result.value - self.recorded

    @property
    def agrees(self) -> bool:
        """Whether both are the same up to what float32 leaves open."""
        allowed = _RELATIVE * max(abs(self.recorded), abs(self.result.value))
        return abs(self.difference) <= max(allowed, _OF_ERROR * (self.result.standard_error or 0.0))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "metric": self.result.metric,
            "recorded": self.recorded,
            "recomputed": self.result.value,
            "difference": self.difference,
            "agrees": self.agrees,
            "changed": {name: list(pair) for name, pair in self.changed.items()},
        }


@dataclass(frozen=True)
class Reproduction:
    """A record held against what is computed now.

    Attributes:
        values: Of each result of the record.
    """

    values: Sequence[Reproduced]

    @property
    def agrees(self) -> bool:
        """Whether every value agrees."""
        return all(value.agrees for value in self.values)

    @property
    def warnings(self) -> list[Warning_]:
        """Those of the new results, each once."""
        return unique(w for value in self.values for w in value.result.warnings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as ``--json`` prints them."""
        return {"agrees": self.agrees, "results": [value.to_json() for value in self.values]}

    def dumps(self, indent: int | None = None) -> str:
        """The JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)

    def to_text(self) -> str:
        """A few lines for a person."""
        lines = []
        for value in self.values:
            verdict = "agrees" if value.agrees else "DOES NOT AGREE"
            size = abs(value.recorded)
            apart = f"{value.difference / size:+.1e}" if size else f"{value.difference:+.3g}"
            lines.append(
                f"{value.result.metric}: {value.recorded:.9g} recorded, {value.result.value:.9g} "
                f"now ({apart}): {verdict}"
            )
        changed: dict[str, tuple[Any, Any]] = {}
        for value in self.values:
            changed.update(value.changed)
        lines += [f"  {name}: {then} then, {now} now" for name, (then, now) in changed.items()]
        return "\n".join(lines)


def reproduce(
    record: str | os.PathLike[str] | Mapping[str, Any],
    real: Input | None,
    fake: Input,
    **options: Unpack[Options],
) -> Reproduction:
    """Compute a saved result again, by its own record, and say whether it agrees.

    Backbone, layer, protocol, precision, departures, arguments, seed and draw are the record's;
    two values agree when they differ by less than 1e-5 of their size, or than 5 % of the standard
    error.

    Args:
        record: A file written by ``-o`` or ``--json``, the last line of one written by
            ``--append``, or such a document.
        real: As for :func:`~gan_metrics.evaluation.evaluate`; ``None`` for metrics of one set.
        fake: The same.
        options: Where and how to compute: ``device``, ``batch_size``, ``workers``, ``cache``, …;
            ``weights`` where the record's are not the published ones, ``backbone`` where it is not
            built in. What the record says cannot be overridden.

    Raises:
        InputError: When the record cannot be read.
        UsageError: When an option would change what the record says.
        MismatchError: When the weights, the backbone or the protocol of the record are not to be
            had here.
        GanMetricsError: As for :func:`~gan_metrics.evaluation.score`.
    """
    found = []
    for entry in _entries(record):
        found.append(_again(entry, real, fake, options))
    return Reproduction(found)


def _entries(record: str | os.PathLike[str] | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of a record."""
    if isinstance(record, Mapping):
        document, where = record, "the record"
    else:
        where = os.fspath(record)
        document = _read(Path(record))
    results = document.get("results", [document])
    if not isinstance(results, list) or not results:
        raise InputError(f"{where} holds no result; expected what -o or --json writes")
    for entry in results:
        if not isinstance(entry, Mapping) or "value" not in entry or "feature_spec" not in entry:
            raise InputError(f"{where} holds no result; expected what -o or --json writes")
    return results


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            document = json.loads(text)
        except ValueError:  # lines of JSON, of which the last one counts
            document = json.loads(text.strip().splitlines()[-1])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no JSON ({error}); expected what -o or --json writes"
        ) from None
    if not isinstance(document, Mapping):
        raise InputError(f"{path} holds no result; expected what -o or --json writes")
    return document


_SETTLED = ("layer", "pool", "protocol", "precision", "alpha", "exif", "max_images")
"""Options that the record says."""


def _again(
    entry: Mapping[str, Any], real: Input | None, fake: Input, options: Options
) -> Reproduced:
    """One value."""
    try:
        spec = FeatureSpec.from_json(entry["feature_spec"])
        name, value = str(entry["metric"]), float(entry["value"])
        arguments = {
            key: math.inf if given == "inf" else given
            for key, given in dict(entry.get("arguments", {})).items()
        }
        drawn = dict(entry.get("drawn", {}))
        seed = int(drawn.get("seed", entry.get("seed", 0)))
        barred = entry.get("standard_error") is not None
        (metric, row), *_ = expand(name).items()
        check_arguments({row.name: arguments})
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise InputError(f"the record is broken ({error!r}); save the result again") from None
    for option in _SETTLED:
        if options.get(option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} is what the record says; leave it out")
    asked = options.copy()
    asked.update(_of_record(spec, entry.get("protocol"), options))
    asked["seed"], asked["max_images"] = seed, drawn.get("max_images")
    found = score(
        [metric],
        real if row.sides == 2 else None,
        fake,
        error_bars=barred,
        arguments={row.name: arguments},
        **asked,
    )
    result = found[metric]
    if spec.weights_sha256 not in (None, result.feature_spec.weights_sha256):
        raise MismatchError(
            f"the record's weights have the sha256 {spec.weights_sha256}, and those used here "
            f"{result.feature_spec.weights_sha256}; name the record's file with --weights"
        )
    if not math.isfinite(value):
        raise InputError(f"the record's value is {value}")
    return Reproduced(value, result, _changed(entry, spec, result))


def _of_record(spec: FeatureSpec, protocol: Any, options: Options) -> Options:
    """The options that a record stands for."""
    backbone = options.get("backbone")
    if backbone is None and spec.backbone is not None:
        if not is_built_in(spec.backbone):
            raise MismatchError(
                f"the record's backbone {spec.backbone!r} is not built in, and a record never "
                "chooses what is imported or fetched; repeat it with --backbone"
            )
        backbone = spec.backbone
    if protocol is not None and protocol not in PROTOCOLS:
        raise MismatchError(f"the record's protocol {protocol!r} is unknown here")
    asked = Options(backbone=backbone, layer=spec.layer, pool=spec.pool, protocol=protocol)
    asked["precision"] = spec.precision
    if str(spec.weights_sha256).startswith("random"):
        asked["weights"] = "random"
    departures = dict(spec.departures or ())
    asked["alpha"], asked["exif"] = departures.get("alpha"), departures.get("exif")
    return asked


def _changed(
    entry: Mapping[str, Any], spec: FeatureSpec, result: MetricResult
) -> dict[str, tuple[Any, Any]]:
    """What is not as it was when the record was made."""
    now = result.to_json()
    found: dict[str, tuple[Any, Any]] = {}
    for name in ("metric", "n_real", "n_fake", "skipped"):
        if name in entry and entry[name] != now[name]:
            found[name] = (entry[name], now[name])
    for side, then, is_now in zip(
        ("fake",) if result.sides == 1 else ("real", "fake"),
        entry.get("digests", ()),
        result.digests,
        strict=False,
    ):
        if None not in (then, is_now) and then != is_now:
            found[f"images ({side})"] = (f"{then[:12]}…", f"{str(is_now)[:12]}…")
    for field in spec.differences(result.feature_spec):
        found[field] = (getattr(spec, field), getattr(result.feature_spec, field))
    for package, version in entry.get("versions", {}).items():
        if result.versions.get(package, version) != version:
            found[package] = (version, result.versions[package])
    return found
