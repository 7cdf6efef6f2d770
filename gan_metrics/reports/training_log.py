"""Read the values of a training log as curves."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gan_metrics.errors import InputError, NotFoundError
from gan_metrics.utils.text import loads

__all__ = ["History", "Scored", "read_history"]


@dataclass(frozen=True)
class Scored:
    """A value at a step.

    Attributes:
        step: Step of the training; without steps in the log, the number of the line, from 1.
        value: The value.
        standard_error: Its standard error, or ``None``.
    """

    step: int
    value: float
    standard_error: float | None


@dataclass(frozen=True)
class History:
    """Curves of a training log.

    Attributes:
        description: The log.
        curves: Points in the order of their steps, by name such as ``"fid"``. Values of several
            protocols or networks are several curves, such as ``"fid (tf1)"``.
        steps: Whether the log states the steps.
    """

    description: str
    curves: Mapping[str, list[Scored]]
    steps: bool


def read_history(path: str | os.PathLike[str]) -> History:
    """Read a log with one line of JSON for each evaluation.

    Args:
        path: A file written by ``training.Evaluator(log=…)`` or ``--append``. If a step is
            repeated, the later line counts.

    Raises:
        InputError: If it is unreadable or has no result, a line is not a result, or only some lines
            state their step.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        kind = NotFoundError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"cannot read {path} as a log of results: {error}") from None
    curves: dict[_Origin, dict[int, Scored]] = {}
    stated = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = loads(line)
            step = document.get("step", number)
            for result in document.get("results", [document]):
                one = _scored(step, result)
                curves.setdefault(_origin(result), {})[one.step] = one
            stated.append("step" in document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: expected a result written by Evaluator(log=…) or --append "
                f"({type(error).__name__}: {error})"
            ) from None
    if not curves:
        raise InputError(f"{path} contains no results")
    if any(stated) and not all(stated):
        raise InputError(
            f"{path}: only {sum(stated)} of {len(stated)} lines state their step, so the lines "
            "cannot be ordered; use one file for each log"
        )
    ordered = {
        _name(origin, curves): [points[step] for step in sorted(points)]
        for origin, points in curves.items()
    }
    return History(str(path), ordered, all(stated))


class _Origin(NamedTuple):
    """Properties that are equal for all points of one curve."""

    metric: str
    protocol: str
    network: str
    fingerprint: str


def _origin(result: Mapping[str, Any]) -> _Origin:
    spec = result.get("feature_spec") or {}
    network = " ".join(str(spec[key]) for key in ("backbone", "layer") if spec.get(key))
    protocol, fingerprint = result.get("protocol") or "", spec.get("fingerprint") or ""
    return _Origin(str(result["metric"]), str(protocol), network, str(fingerprint))


def _name(origin: _Origin, every: Iterable[_Origin]) -> str:
    """Return the metric, with what distinguishes it from other curves of the same metric."""
    others = [one for one in every if one.metric == origin.metric]
    fewest = next(n for n in range(1, 5) if len({one[:n] for one in others}) == len(others))
    labels = [part[:8] if part == origin.fingerprint else part for part in origin[1:fewest] if part]
    return f"{origin.metric} ({', '.join(labels)})" if labels else origin.metric


def _scored(step: object, result: Mapping[str, Any]) -> Scored:
    value, error = float(result["value"]), result.get("standard_error")
    if not isinstance(step, int) or not math.isfinite(value):
        raise ValueError(f"step {step!r}, value {value!r}")
    return Scored(step, value, None if error is None else float(error))
