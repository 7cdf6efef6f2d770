"""Reference statistics: ``.npz`` files with ``mu``, ``sigma``, ``n`` and a JSON header.

pytorch-fid reads ours, and we read its and TTUR's, which hold ``mu`` and ``sigma`` alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.downloads import atomic_path
from gan_metrics.errors import InputError, MismatchError
from gan_metrics.moments import Moments
from gan_metrics.results import versions
from gan_metrics.specs import FeatureSpec

__all__ = ["Statistics", "is_statistics", "load_stats"]

_FORMAT = "gan-metrics statistics 1"
_LARGEST = 1e100
"""Of an entry; its square must still be a number."""

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
    """

    moments: Moments
    spec: FeatureSpec = field(default_factory=FeatureSpec)
    protocol: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    versions: Mapping[str, str] = field(default_factory=versions)
    description: str = ""

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


def is_statistics(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a statistics file, by its extension and by not being a folder."""
    return Path(path).suffix.lower() == ".npz" and not os.path.isdir(path)


def load_stats(path: str | os.PathLike[str]) -> Statistics:
    """Read a statistics file: ours, or one with ``mu`` and ``sigma`` alone.

    Nothing is ever unpickled, and a header never names code.

    Args:
        path: The ``.npz``.

    Returns:
        The statistics, the covariance brought to the divisor n − 1.

    Raises:
        InputError: When the file is missing or broken, holds pickled objects or NaN, or its
            arrays have the wrong shapes, or sigma is no covariance.
        MismatchError: When its header is of another version of the format.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    mu, sigma = (_floats(path, name, arrays[name]) for name in ("mu", "sigma"))
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise InputError(
            f"{path}: mu has the shape {mu.shape} and sigma {sigma.shape}; expected (D,) and (D, D)"
        )
    sigma = _checked_covariance(path, sigma)
    header = _read_header(path, arrays)
    try:
        n = _count(header, arrays)
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
    except Exception as error:  # a header may hold anything
        raise InputError(f"{path}: its header is broken ({error!r}); compute it again") from None
    if divisor == "n" and n is not None and n > 1:
        sigma = sigma * (n / (n - 1))
    return Statistics(
        moments=Moments(n, mu, sigma),
        spec=spec,
        protocol=protocol,
        source=source,
        warnings=notes,
        versions=used,
        description=str(path),
    )


def _count(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int | None:
    """How many images there were, as the header and the array ``n`` say, if they do.

    Raises:
        ValueError: When they are no whole number ≥ 1, or not the same.
    """
    stated = []
    if header.get("n") is not None:
        stated.append(header["n"])
    if "n" in arrays:
        stated.append(arrays["n"].item())
    for n in stated:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n is {n!r}, not a whole number of at least 1")
    if len(set(stated)) > 1:
        raise ValueError(f"n is {stated[0]} in the header and {stated[1]} beside it")
    return stated[0] if stated else None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            raise InputError(f"{path} is a single array, not a .npz of mu and sigma")
        if not start.startswith(b"PK"):
            raise InputError(f"{path} is no .npz archive; expected one with mu and sigma")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ("mu", "sigma") if name not in archive.files]
            if missing:
                raise InputError(
                    f"{path} holds {', '.join(archive.files) or 'nothing'}, but no "
                    f"{' and no '.join(missing)}; expected mu and sigma"
                )
            wanted = [n for n in ("mu", "sigma", "n", "header") if n in archive.files]
            arrays = {name: archive[name] for name in wanted}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile and numpy raise nearly anything on broken bytes
        pickled = "allow_pickle" in str(error) or "Object arrays" in str(error)
        what = (
            "holds pickled objects, which are never loaded" if pickled else f"is broken: {error!r}"
        )
        raise InputError(f"{path} {what}; save mu and sigma as plain arrays") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is broken: {name} is no array")
    return arrays


def _floats(path: Path, name: str, array: np.ndarray) -> Any:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} is of type {array.dtype}, not of numbers")
    with np.errstate(over="ignore"):  # found as infinite below
        values = np.asarray(array, np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(f"{path}: {name} holds {bad} values that are NaN or infinite")
    return values


def _checked_covariance(path: Path, sigma: Any) -> Any:
    """Symmetric to rounding, with no negative variance and no correlation beyond 1."""
    scale = float(np.abs(sigma).max())
    if scale > _LARGEST:
        raise InputError(f"{path}: sigma holds {scale:g}, which is beyond what features can have")
    gap = float(np.abs(sigma - sigma.T).max())
    if gap > 1e-4 * scale:
        raise InputError(
            f"{path}: sigma is not symmetric (it differs from its transpose by {gap:g})"
        )
    diagonal = np.diag(sigma)
    slack = 1e-6 * scale
    bound = np.sqrt(np.clip(diagonal, 0.0, None))
    if diagonal.min() < -slack or (np.abs(sigma) - np.outer(bound, bound)).max() > slack:
        raise InputError(
            f"{path}: sigma is no covariance (a negative variance, or a correlation beyond 1)"
        )
    return (sigma + sigma.T) / 2


def _read_header(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if "header" not in arrays:
        return {}
    try:
        header = json.loads(str(arrays["header"][()]))
        format_ = header["format"]
    except Exception as error:  # a header may hold anything
        raise InputError(f"{path}: its header is broken ({error!r}); compute it again") from None
    if format_ != _FORMAT:
        raise MismatchError(
            f"{path} is of the format {format_!r}, and this version reads {_FORMAT!r}; "
            "use the version that wrote it, or compute it again"
        )
    return dict(header)
