"""Statistics of parts of a set, put together exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gan_metrics.agreement import all_agree
from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.moments import merged
from gan_metrics.results import unique
from gan_metrics.sides import Input, open_side
from gan_metrics.specs import FeatureSpec
from gan_metrics.stats import Statistics

__all__ = ["merge_stats"]


def merge_stats(parts: Sequence[Input]) -> Statistics:
    """The statistics of several sets of images together, as if they had been one.

    Means and covariances are joined by the formula of Chan, Golub & LeVeque (1979) in float64; the
    order of the parts moves the last bit alone.

    Args:
        parts: Statistics, or files of them, each with its count of images.

    Returns:
        The statistics of all images.

    Raises:
        UsageError: When there are no parts, or one is no statistics.
        InputError: When a file is missing, broken or without a count, or a part is given twice.
        MismatchError: When they are of different feature spaces, protocols or dimensions.
    """
    sides = [open_side(part, {}) for part in parts]
    if not sides:
        raise UsageError("there is nothing to merge; give files of statistics")
    some: list[Statistics] = []
    for side in sides:
        if side.statistics is None:
            raise UsageError(
                f"{side.description} is no file of statistics; make one with gan-metrics stats"
            )
        if side.moments.n is None:
            raise InputError(
                f"{side.description} does not say how many images it is of, so that its share of "
                "the whole is not known; compute it again, or add n to it"
            )
        some.append(side.statistics)
    seen: dict[str, str] = {}
    for side, part in zip(sides, some, strict=True):
        for leaf in _leaves(part):
            if leaf["digest"] in seen:
                raise InputError(
                    f"{side.description} and {seen[leaf['digest']]} are of the same images, which "
                    "would count twice"
                )
            seen[leaf["digest"]] = side.description
    all_agree(sides)
    protocols = sorted({part.protocol for part in some if part.protocol})
    dims = sorted({part.moments.dim for part in some})
    if len(protocols) > 1 or len(dims) > 1:
        what = " and ".join(protocols) if len(protocols) > 1 else f"{dims[0]} and {dims[-1]}"
        kind = "protocols" if len(protocols) > 1 else "dimensions"
        raise MismatchError(f"the parts are of the {kind} {what}, and cannot be merged")
    spec = FeatureSpec()
    for part in some:
        spec = spec.filled_from(part.spec)
    sizes = {part.resolution for part in some}
    return replace(
        some[0],
        moments=merged(part.moments for part in some),
        spec=spec,
        protocol=next(iter(protocols), None),
        source=_source(some),
        warnings=tuple(unique(warning for part in some for warning in part.warnings)),
        description=" + ".join(side.description for side in sides),
        declared=tuple(sorted({name for part in some for name in part.declared})),
        resolution=sizes.pop() if len(sizes) == 1 else None,
    )


def _source(parts: Sequence[Statistics]) -> dict[str, Any]:
    """What is known of the images of all parts; their digest is that of the parts' in order."""
    skipped = [pair for part in parts for pair in part.source.get("skipped_files", ())]
    leaves = [leaf for part in parts for leaf in _leaves(part)]
    return {
        "digest": hashlib.sha256("\n".join(leaf["digest"] for leaf in leaves).encode()).hexdigest(),
        "skipped": len(skipped),
        "skipped_files": skipped,
        _MERGED: leaves,
    }


_MERGED = "merged"


def _leaves(part: Statistics) -> list[dict[str, Any]]:
    """The parts that a part was merged from itself; else this one."""
    found = part.source.get(_MERGED)
    if isinstance(found, list) and all(isinstance(one, dict) and "digest" in one for one in found):
        return [{"n": one.get("n"), "digest": str(one["digest"])} for one in found]
    return [{"n": part.moments.n, "digest": part.identity}]
