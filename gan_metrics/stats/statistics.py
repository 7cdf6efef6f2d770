"""Reference statistics: ``.npz`` files with ``mu``, ``sigma``, ``n`` and a JSON header.

The tools that take an ``.npz`` read ours; theirs and their other files are read here too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import InputError, MismatchError
from gan_metrics.files.download import atomic_path
from gan_metrics.files.probe import Probe, probe
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.formats import StoredMoments, read_moments
from gan_metrics.utils.text import loads
from gan_metrics.utils.versions import versions

__all__ = ["Statistics", "load_all_stats", "load_stats"]

_FORMAT = "gan-metrics statistics 1"
_LARGEST = 1e100
"""Of an entry; its square must still be a number."""

_SEMIDEFINITE = 1e-4
"""How far below nothing an eigenvalue may be; see :func:`_is_semidefinite`."""

_DIVISORS = ("n", "n-1")


@dataclass(frozen=True, eq=False)
class Statistics:
    """The moments of a set of images, and what they are moments of.

    Attributes:
        moments: Mean, covariance (divisor n − 1) and count.
        spec: The feature space; fields that the file does not state are ``None``.
        protocol: Name of the protocol, or ``None``.
        source: Facts about the images: ``digest``, ``skipped`` and ``skipped_files``.
        warnings: Pairs of a code and a message, from when they were computed.
        versions: Of the packages they were computed with.
        description: Where they come from, for a person.
        declared: Names of fields of ``spec`` that the kind of file stands for by convention and
            that the file itself does not state.
        resolution: Width and height of the images in pixels, where all are of one size.
        others: Statistics of other kinds of features in the same file, by kind (``"spatial"``,
            ``"dinov2"``); not part of the header.
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
    others: Mapping[str, Statistics] = field(default_factory=dict)

    def for_kind(self, kind: str) -> Statistics:
        """The statistics of a kind of features in the same file; these where it has no others.

        Args:
            kind: Such as ``"spatial"``; see :attr:`gan_metrics.metrics.registry.Metric.needs`.
        """
        return self.others.get(kind, self)

    @property
    def array(self) -> None:
        """There are no features of single images: ``None``."""
        return None

    @property
    def count(self) -> int | None:
        """The number of images, if it is known."""
        return self.moments.n

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return self.moments.dim

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Pairs of a name and a reason for the images that were left out."""
        listed = self.source.get("skipped_files", ())
        return [(str(name), str(reason)) for name, reason in listed]

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of the images, if they are known to be of one size."""
        return set() if self.resolution is None else {self.resolution}

    @property
    def identity(self) -> str:
        """What stands for them: the digest of their images, else SHA-256 of the moments, in hex."""
        known = str(self.source.get("digest") or "")
        return (
            known
            or hashlib.sha256(self.moments.mean.tobytes() + self.moments.cov.tobytes()).hexdigest()
        )

    def header(self) -> dict[str, Any]:
        """The JSON header."""
        return {
            "format": _FORMAT,
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
        """Write the file, whole or not at all.

        Args:
            path: Where to; ``.npz`` is appended if it does not end so.

        Returns:
            The path that was written.

        Raises:
            ResourceError: When the disk is full or cannot be written to.
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


def load_stats(path: str | os.PathLike[str]) -> Statistics:
    """Read a statistics file of any kind: its main statistics, where it holds several.

    Nothing is ever unpickled, and a header never names code.

    Args:
        path: An ``.npz`` (ours, or one with ``mu`` and ``sigma``), EDM2's ``.pkl`` or
            torch-fidelity's ``.pt``; see :mod:`gan_metrics.stats.formats`.

    Returns:
        The statistics, the covariance brought to the divisor n − 1.

    Raises:
        InputError: When the file is missing or broken, holds pickled objects or NaN, does anything
            but describe arrays, or its arrays have the wrong shapes, or sigma is no covariance.
        MismatchError: When its header is of another version of the format.
    """
    found = probe(path)
    return _statistics(found.path, next(iter(read_moments(found).values())))


def load_all_stats(path: str | os.PathLike[str] | Probe) -> dict[str, Statistics]:
    """Read all the statistics of a file, by the kind of their features.

    Args:
        path: As for :func:`load_stats`, or the probe of the file.

    Returns:
        The main ones first; see :func:`gan_metrics.stats.formats.read_moments`.

    Raises:
        InputError, MismatchError: As for :func:`load_stats`.
    """
    found = path if isinstance(path, Probe) else probe(path)
    return {kind: _statistics(found.path, stored) for kind, stored in read_moments(found).items()}


def _statistics(path: Path, stored: StoredMoments) -> Statistics:
    mu, sigma = (
        _floats(path, name, array)
        for name, array in zip(stored.names, (stored.mu, stored.sigma), strict=True)
    )
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise InputError(
            f"{path}: {stored.names[0]} has the shape {mu.shape} and {stored.names[1]} "
            f"{sigma.shape}; expected (D,) and (D, D)"
        )
    sigma = _checked_covariance(path, stored.names[1], sigma)
    header = _read_header(path, stored.header)
    try:
        n = _count(header, stored.n)
        spec = FeatureSpec.from_json(header.get("feature_spec") or {})
        divisor = header.get("divisor", "n-1")
        if divisor not in _DIVISORS or (divisor == "n" and n is None):
            raise ValueError(f"the divisor {divisor!r} needs n, and must be n or n-1")
        notes = tuple((str(w["code"]), str(w["message"])) for w in header.get("warnings", ()))
        protocol = header.get("protocol")
        if not isinstance(protocol, str | None):
            raise TypeError(f"the protocol is {protocol!r}")
        source = dict(header.get("source", {}))
        listed = [[str(name), str(why)] for name, why in source.get("skipped_files", [])]
        source["skipped_files"] = listed
        used = {str(k): str(v) for k, v in dict(header.get("versions", {})).items()}
        declared = _declared(header.get("declared", ()))
        resolution = _resolution(header.get("resolution", stored.resolution))
    except Exception as error:  # a header may hold anything
        raise InputError(f"{path}: its header is broken ({error!r}); compute it again") from None
    if divisor == "n" and n is not None and n > 1:
        sigma = sigma * (n / (n - 1))
    if stored.convention is not None and stored.convention.dim == len(mu):
        spec, protocol = stored.convention.spec(), stored.convention.protocol
        declared = spec.stated()
    return Statistics(
        moments=Moments(n, mu, sigma),
        spec=spec,
        protocol=protocol,
        source=source,
        warnings=notes,
        versions=used,
        description=str(path),
        declared=declared,
        resolution=resolution,
    )


def _declared(names: Any) -> tuple[str, ...]:
    """Names of fields of a spec.

    Raises:
        ValueError: When one of them is none.
    """
    known = [f.name for f in fields(FeatureSpec)]
    if not isinstance(names, list | tuple) or any(name not in known for name in names):
        raise ValueError(f"declared is {names!r}, not names out of {known}")
    return tuple(names)


def _resolution(size: Any) -> tuple[int, int] | None:
    """Width and height, in pixels.

    Raises:
        ValueError: When they are no two whole numbers ≥ 1.
    """
    if size is None:
        return None
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"the resolution is {size!r}, not a width and a height")
    if any(type(side) is not int or side < 1 for side in size):
        raise ValueError(f"the resolution is {size!r}, not two whole numbers of at least 1")
    return size[0], size[1]


def _count(header: Mapping[str, Any], beside: Any) -> int | None:
    """How many images there were, as the header and what stands beside it say, if they do.

    Raises:
        ValueError: When they are no whole number ≥ 1, or not the same.
    """
    stated = []
    if header.get("n") is not None:
        stated.append(header["n"])
    if beside is not None:
        stated.append(beside.item() if isinstance(beside, np.ndarray) else beside)
    for n in stated:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n is {n!r}, not a whole number of at least 1")
    if len(set(stated)) > 1:
        raise ValueError(f"n is {stated[0]} in the header and {stated[1]} beside it")
    return stated[0] if stated else None


def _floats(path: Path, name: str, array: np.ndarray) -> Any:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} is of type {array.dtype}, not of numbers")
    with np.errstate(over="ignore"):  # found as infinite below
        values = np.asarray(array, np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(f"{path}: {name} holds {bad} values that are NaN or infinite")
    return values


def _checked_covariance(path: Path, name: str, sigma: Any) -> Any:
    """Symmetric to rounding, with no negative variance, no correlation beyond 1, and all in all
    positive semidefinite to rounding; returned symmetric.
    """  # noqa: D205
    scale = float(np.abs(sigma).max())
    if scale > _LARGEST:
        raise InputError(f"{path}: {name} holds {scale:g}, which is beyond what features can have")
    gap = float(np.abs(sigma - sigma.T).max())
    if gap > 1e-4 * scale:
        raise InputError(
            f"{path}: {name} is not symmetric (it differs from its transpose by {gap:g})"
        )
    diagonal = np.diag(sigma)
    slack = 1e-5 * scale
    bound = np.sqrt(np.clip(diagonal, 0.0, None))
    if diagonal.min() < -slack or (np.abs(sigma) - np.outer(bound, bound)).max() > slack:
        raise InputError(
            f"{path}: {name} is no covariance (a negative variance, or a correlation beyond 1)"
        )
    sigma = (sigma + sigma.T) / 2
    if not _is_semidefinite(sigma):
        least, most = np.linalg.eigvalsh(sigma)[[0, -1]]
        raise InputError(
            f"{path}: {name} is not positive semidefinite: its smallest eigenvalue is {least:.3g} "
            f"and its largest {most:.3g}; compute the statistics again"
        )
    return sigma


def _is_semidefinite(sigma: Any) -> bool:
    """Whether a symmetric matrix has no eigenvalue below −1e-4 of its largest, roughly.

    By whether LAPACK finds a Cholesky factor of Σ + t·I, which takes a quarter of the time of
    the eigenvalues. t is 1e-4 of the mean of the eigenvalues, each weighted with itself,
    ‖Σ‖² / tr Σ: that is at most the largest one where none is negative, and what rounding leaves
    behind grows with it. Measured at d = 2048 on covariances of few images, computed in float32:
    −1e-7 of the largest eigenvalue, and −5e-6 by the formula E[xxᵀ] − μμᵀ.
    """
    from scipy.linalg.lapack import dpotrf

    trace = float(np.trace(sigma))
    if trace <= 0.0:  # all variances are nothing, to rounding, and the correlations are within 1
        return True
    unit = sigma / trace
    unit[np.diag_indices_from(unit)] += _SEMIDEFINITE * float(np.vdot(unit, unit))
    _, failed = dpotrf(unit.T, lower=1, clean=0, overwrite_a=1)
    return bool(failed == 0)


def _read_header(path: Path, text: Any) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        header = loads(str(text[()]))
        format_ = header["format"]
    except Exception as error:  # a header may hold anything
        raise InputError(f"{path}: its header is broken ({error!r}); compute it again") from None
    if format_ != _FORMAT:
        raise MismatchError(
            f"{path} is of the format {format_!r}, and this version reads {_FORMAT!r}; "
            "use the version that wrote it, or compute it again"
        )
    return dict(header)
