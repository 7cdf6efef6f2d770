"""Reference statistics: the moments of a set of images, with their feature space and provenance."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.files.download import atomic_path
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.utils.versions import versions

__all__ = ["STATISTICS_FORMAT", "Statistics"]

STATISTICS_FORMAT = "gan-metrics statistics 1"


@dataclass(frozen=True, eq=False)
class Statistics:
    """The moments of a set of images, with their feature space and provenance.

    Attributes:
        moments: Mean, covariance (divisor n − 1) and number of images.
        spec: The feature space; fields that the file does not state are ``None``.
        protocol: Name of the protocol, or ``None``.
        source: Facts about the images: ``digest``, ``skipped`` and ``skipped_files``.
        warnings: Pairs of a code and a message, from when they were computed.
        versions: Versions of the packages that computed them.
        description: Where they come from, in words.
        declared: Names of fields of ``spec`` that the kind of file implies by convention but the
            file itself does not state.
        resolution: Width and height of the images in pixels, if all have one size.
        kind: The kind of their features: ``"features"``, unless the file has others first.
        others: Statistics of further kinds of features in the same file, by kind: ``"spatial"``
            and ``"dinov2"``. They are not part of the header and are not saved.
    """

    moments: Moments
    spec: FeatureSpec = field(default_factory=FeatureSpec)
    protocol: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    versions: Mapping[str, str] = field(default_factory=versions)
    description: str = "the statistics"
    declared: tuple[str, ...] = ()
    resolution: tuple[int, int] | None = None
    kind: str = "features"
    others: Mapping[str, Statistics] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Statistics]:
        """All statistics in the file by the kind of their features."""
        return {self.kind: self, **self.others}

    def for_kind(self, kind: str) -> Statistics:
        """Return the statistics of a kind of features; these statistics if it is missing.

        Args:
            kind: A kind such as ``"spatial"``; see
                :attr:`gan_metrics.metrics.entry.Metric.needs`.
        """
        return self.others.get(kind, self)

    @property
    def array(self) -> None:
        """``None``: statistics have no features of single images."""
        return None

    @property
    def count(self) -> int | None:
        """Number of images, or ``None``."""
        return self.moments.n

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self.moments.dim

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Name and reason for each image that was left out."""
        listed = self.source.get("skipped_files", ())
        return [(str(name), str(reason)) for name, reason in listed]

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of the images, if they are known to have one size."""
        return set() if self.resolution is None else {self.resolution}

    @property
    def identity(self) -> str:
        """The digest of the images, else the SHA-256 of the moments, in hex."""
        known = str(self.source.get("digest") or "")
        return (
            known
            or hashlib.sha256(self.moments.mean.tobytes() + self.moments.cov.tobytes()).hexdigest()
        )

    def header(self) -> dict[str, Any]:
        """Return the JSON header."""
        return {
            "format": STATISTICS_FORMAT,
            "n": self.moments.n,
            "divisor": "n-1",
            "feature_spec": self.spec.to_json(),
            "protocol": self.protocol,
            "source": dict(self.source),
            "warnings": [{"code": c, "message": m} for c, m in self.warnings],
            "versions": dict(self.versions),
            **({"declared": list(self.declared)} if self.declared else {}),
            **({"resolution": list(self.resolution)} if self.resolution else {}),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file completely or not at all.

        Args:
            path: The file to write; ``.npz`` is appended if missing.

        Returns:
            The path of the written file.

        Raises:
            ResourceError: If the disk is full or not writable.
        """
        path = Path(path)
        if path.suffix != ".npz":
            path = path.with_name(path.name + ".npz")
        arrays: dict[str, Any] = {
            "mu": self.moments.mean,
            "sigma": self.moments.cov,
            "header": np.array(json.dumps(self.header(), sort_keys=True)),
        }
        if self.moments.n is not None:
            arrays["n"] = np.array(self.moments.n)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        return path
