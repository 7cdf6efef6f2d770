"""The moments in a statistics file, and the checks before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError, MismatchError
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.stats.statistics import STATISTICS_FORMAT, Statistics
from gan_metrics.utils.text import loads

__all__ = ["Convention", "StoredMoments", "checked_statistics"]

_LARGEST = 1e100
"""Largest entry of a covariance; its square must be finite."""

_SEMIDEFINITE = 1e-4
"""How far below zero an eigenvalue may be; see :func:`_is_semidefinite`."""

_DIVISORS = ("n", "n-1")


@dataclass(frozen=True)
class Convention:
    """The feature space that a kind of file implies without stating it.

    Attributes:
        protocol: Name of the protocol.
        metric: The protocol's metric whose features they are.
        layer: The layer of the features.
        pool: The pooling of the layer's output.
        dim: Number of dimensions.
        required: Whether moments of another dimension are an error; otherwise they belong to an
            unknown feature space.
    """

    protocol: str
    metric: str
    layer: str
    pool: str
    dim: int
    required: bool = False

    @property
    def template(self) -> FeatureSpec:
        """The feature space as the protocol defines it."""
        return PROTOCOLS[self.protocol].metrics[self.metric].template

    def spec(self) -> FeatureSpec:
        """The feature space; weights and precision are not part of a convention."""
        return replace(
            self.template,
            layer=self.layer,
            pool=self.pool,
            weights_sha256=None,
            precision=None,
            departures=(),
        )

    def check(self, statistics: Statistics) -> None:
        """Check that statistics are of this feature space, as far as their header states one.

        Raises:
            MismatchError: If they are not.
        """
        own, expected = statistics.spec, self.spec()
        wrong = own.backbone not in (None, expected.backbone) or own.layer not in (None, self.layer)
        if wrong or statistics.moments.dim != self.dim:
            stated = f"{own.backbone or 'an unknown network'}, layer {own.layer or 'unknown'}"
            raise MismatchError(
                f"the statistics are of {stated}, {statistics.moments.dim} dimensions, but such a "
                f"file holds {expected.backbone}, layer {self.layer}, {self.dim} dimensions"
            )


@dataclass(frozen=True)
class StoredMoments:
    """One mean and covariance as stored in a file, unchecked.

    Attributes:
        mu: The mean.
        sigma: The covariance.
        names: Their names in the file.
        n: Number of images, or ``None``.
        header: The header of gan-metrics, or ``None``.
        convention: The feature space that the kind of file implies, or ``None``.
        resolution: Width and height in pixels of the images stored with them.
    """

    mu: Any
    sigma: Any
    names: tuple[str, str] = ("mu", "sigma")
    n: Any = None
    header: Any = None
    convention: Convention | None = field(default=None)
    resolution: tuple[int, int] | None = None


def checked_statistics(path: Path, kind: str, stored: StoredMoments) -> Statistics:
    """Check the moments of a file and return them as statistics.

    Args:
        path: The file.
        kind: The kind of their features.
        stored: The content of the file.

    Returns:
        The statistics, with the covariance converted to the divisor n − 1.

    Raises:
        InputError: If arrays have a wrong type or shape, contain NaN, or sigma is not a
            covariance, or the header is broken.
        MismatchError: If the header has another version of the format.
    """
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
            raise ValueError(f"divisor {divisor!r}; expected n (with a number of images) or n-1")
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
    convention = stored.convention
    if convention is not None and convention.required and convention.dim != len(mu):
        raise InputError(
            f"{path}: {stored.names[0]} has {len(mu)} dimensions; expected {convention.dim}"
        )
    if convention is not None and convention.dim == len(mu):
        spec, protocol = convention.spec(), convention.protocol
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
        kind=kind,
    )


def _declared(names: object) -> tuple[str, ...]:
    """Check names of fields of a feature space.

    Raises:
        ValueError: If one of them is not a field.
    """
    known = [f.name for f in fields(FeatureSpec)]
    if not isinstance(names, list | tuple) or any(name not in known for name in names):
        raise ValueError(f"declared is {names!r}; expected names from {known}")
    return tuple(names)


def _resolution(size: object) -> tuple[int, int] | None:
    """Check a width and height in pixels.

    Raises:
        ValueError: If they are not two whole numbers ≥ 1.
    """
    if size is None:
        return None
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"the resolution is {size!r}, not a width and a height")
    if any(type(side) is not int or side < 1 for side in size):
        raise ValueError(f"the resolution is {size!r}, not two whole numbers of at least 1")
    return size[0], size[1]


def _count(header: Mapping[str, Any], stored: object) -> int | None:
    """Return the number of images from the header and the file's own array, or ``None``.

    Raises:
        ValueError: If it is not a whole number ≥ 1, or the two differ.
    """
    stated = []
    if header.get("n") is not None:
        stated.append(header["n"])
    if stored is not None:
        stated.append(stored.item() if isinstance(stored, np.ndarray) else stored)
    for n in stated:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n is {n!r}, not a whole number of at least 1")
    if len(set(stated)) > 1:
        raise ValueError(f"n is {stated[0]} in the header and {stated[1]} in its own array")
    return stated[0] if stated else None


def _floats(path: Path, name: str, array: np.ndarray) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} has the type {array.dtype}; expected numbers")
    with np.errstate(over="ignore"):  # found as infinite below
        values = np.asarray(array, np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(f"{path}: {name} contains {bad} values that are NaN or infinite")
    return values


def _checked_covariance(
    path: Path, name: str, sigma: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return a covariance made exactly symmetric, after checking it.

    It must be symmetric and positive semidefinite to rounding, without negative variances and
    without correlations beyond 1.
    """
    scale = float(np.abs(sigma).max())
    if scale > _LARGEST:
        raise InputError(f"{path}: {name} contains {scale:g}, too large for features")
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
            f"{path}: {name} is not a covariance (a negative variance, or a correlation beyond 1)"
        )
    sigma = (sigma + sigma.T) / 2
    if not _is_semidefinite(sigma):
        least, most = np.linalg.eigvalsh(sigma)[[0, -1]]
        raise InputError(
            f"{path}: {name} is not positive semidefinite: its smallest eigenvalue is {least:.3g} "
            f"and its largest {most:.3g}; compute the statistics again"
        )
    return sigma


def _is_semidefinite(sigma: npt.NDArray[np.float64]) -> bool:
    """Whether a symmetric matrix has no eigenvalue below about −1e-4 of its largest one.

    Tests whether LAPACK finds a Cholesky factor of Σ + t·I, which takes a quarter of the time of
    the eigenvalues. t is 1e-4 of the mean of the eigenvalues, each weighted with itself,
    ‖Σ‖² / tr Σ. This is at most the largest one if none is negative, and rounding errors grow with
    it. Measured at d = 2048 on covariances of few images, computed in float32: −1e-7 of the largest
    eigenvalue, and −5e-6 by the formula E[xxᵀ] − μμᵀ.
    """
    from scipy.linalg.lapack import dpotrf

    trace = float(np.trace(sigma))
    if trace <= 0.0:  # all variances are zero to rounding
        return True
    unit = sigma / trace
    unit[np.diag_indices_from(unit)] += _SEMIDEFINITE * float(np.vdot(unit, unit))
    _, failed = dpotrf(unit.T, lower=1, clean=0, overwrite_a=1)
    return bool(failed == 0)


def _read_header(path: Path, text: npt.NDArray[Any] | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        header = loads(str(text[()]))
        format_ = header["format"]
    except Exception as error:  # a header may hold anything
        raise InputError(f"{path}: its header is broken ({error!r}); compute it again") from None
    if format_ != STATISTICS_FORMAT:
        raise MismatchError(
            f"{path} has the format {format_!r}, but this version reads {STATISTICS_FORMAT!r}; "
            "use the version that wrote it, or compute it again"
        )
    return dict(header)
