"""Merge the statistics of parts of a set exactly."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.metrics.moments import merged
from gan_metrics.protocols.spec import FeatureSpec, require_same_space
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.result_warning import unique

__all__ = ["merged_statistics"]


def merged_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Merge the statistics of several sets, as if their images were one set.

    Means and covariances are merged by the formula of Chan, Golub & LeVeque (1979) in float64. The
    order of the parts changes only the last bit.

    Args:
        parts: Statistics, each with its number of images.

    Returns:
        The statistics of all images.

    Raises:
        UsageError: If there are no parts.
        InputError: If statistics have no number of images, or a part is given twice.
        MismatchError: If the parts have different feature spaces, protocols or dimensions.
    """
    if not parts:
        raise UsageError("nothing to merge; give statistics files")
    for part in parts:
        if part.moments.n is None:
            raise InputError(
                f"{_described(part)} does not state its number of images, which is needed for its "
                "weight; compute it again, or add n to the file"
            )
    seen: dict[str, str] = {}
    for part in parts:
        for leaf in _leaves(part):
            if leaf["digest"] in seen:
                raise InputError(
                    f"{_described(part)} and {seen[leaf['digest']]} contain the same images, which "
                    "would count twice; give each part once"
                )
            seen[leaf["digest"]] = _described(part)
    for one, other in itertools.combinations(parts, 2):
        require_same_space(one.spec, other.spec, _described(one), _described(other))
    protocols = sorted({part.protocol for part in parts if part.protocol})
    dims = sorted({part.moments.dim for part in parts})
    if len(protocols) > 1 or len(dims) > 1:
        what = " and ".join(protocols) if len(protocols) > 1 else f"{dims[0]} and {dims[-1]}"
        kind = "protocols" if len(protocols) > 1 else "dimensions"
        raise MismatchError(f"the parts have the {kind} {what} and cannot be merged")
    spec = FeatureSpec()
    for part in parts:
        spec = spec.filled_from(part.spec)
    sizes = {part.resolution for part in parts}
    return replace(
        parts[0],
        moments=merged(part.moments for part in parts),
        spec=spec,
        protocol=next(iter(protocols), None),
        source=_source(parts),
        warnings=tuple(unique(warning for part in parts for warning in part.warnings)),
        description=" + ".join(map(_described, parts)),
        declared=tuple(sorted({name for part in parts for name in part.declared})),
        resolution=sizes.pop() if len(sizes) == 1 else None,
        others={},
    )


def _described(part: Statistics) -> str:
    return part.description or "the statistics"


def _source(parts: Sequence[Statistics]) -> dict[str, Any]:
    """Return the provenance of all parts; the digest is that of the parts' digests in order."""
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
    """Return the parts that a part was merged from; else the part itself."""
    found = part.source.get(_MERGED)
    if isinstance(found, list) and all(isinstance(one, dict) and "digest" in one for one in found):
        return [{"n": one.get("n"), "digest": str(one["digest"])} for one in found]
    return [{"n": part.moments.n, "digest": part.identity}]
