"""The moments in statistics files of every kind, as they stand there, and what each kind means.

=============== ===================================== =======================================
kind            holds                                 what it means by convention
=============== ===================================== =======================================
``.npz``        mu, sigma; ours: n and header too     nothing (pytorch-fid, TTUR, clean-fid, EDM)
``.npz`` (ADM)  mu, sigma, mu_s, sigma_s, arr_0       protocol ``adm``: pool3 and spatial features
``.pkl`` (EDM2) num_images, fid and fd_dinov2         protocol ``edm2``: pool3 and DINOv2's token
                (each with mu and sigma)
``.pt``         mu, sigma (torch-fidelity's cache)    protocol ``tf1``: the Inception's layer of so
                                                      many dimensions, but where the file's name
                                                      says another network
=============== ===================================== =======================================

Such a meaning is claimed only where the number of dimensions is that of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import InputError
from gan_metrics.files.npz import read_arrays, reading
from gan_metrics.files.pickle_stand_ins import shown
from gan_metrics.files.probe import TORCH, Probe
from gan_metrics.files.restricted_pickle import PickledArray, open_torch, read_pickle
from gan_metrics.images.sources.array_file import image_size
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS

__all__ = ["PICKLES", "Convention", "StoredMoments", "read_moments"]

PICKLES = frozenset((".pkl", ".pickle"))
"""Lower-case extensions of EDM2's files."""

_PARTS = ("mu", "sigma", "mu_s", "sigma_s", "n", "header")


@dataclass(frozen=True)
class Convention:
    """What moments in a kind of file are moments of, though the file does not say so.

    Attributes:
        protocol: Name of the protocol.
        metric: That metric of it whose features they are.
        layer: Where the network is cut.
        pool: What makes a vector of the layer's output.
        dim: The number of dimensions.
    """

    protocol: str
    metric: str
    layer: str
    pool: str
    dim: int

    def spec(self) -> FeatureSpec:
        """The feature space; weights and precision are not part of a convention."""
        return replace(
            PROTOCOLS[self.protocol].metrics[self.metric].template,
            layer=self.layer,
            pool=self.pool,
            weights_sha256=None,
            precision=None,
            departures=(),
        )


ADM = {
    "features": Convention("adm", "fid", "pool3", "avg", 2048),
    "spatial": Convention("adm", "sfid", "spatial", "flatten", 2023),
}
EDM2 = {
    "fid": Convention("edm2", "fid", "pool3", "avg", 2048),
    "fd_dinov2": Convention("edm2", "fd_dinov2", "cls", "cls", 1024),
}
FIDELITY = {
    str(dim): Convention("tf1", "fid", "pool3" if dim == 2048 else str(dim), "avg", dim)
    for dim in (64, 192, 768, 2048)
}
_FIDELITY_NAME = re.compile(r"^(?P<network>.*)-stat-fid-(?P<layer>.+)\.pth?\Z", re.IGNORECASE)
_INCEPTION = "inception-v3-compat"


@dataclass(frozen=True)
class StoredMoments:
    """One mean and covariance of a file, as they stand there: nothing of them is checked.

    Attributes:
        mu: The mean.
        sigma: The covariance.
        names: What the two are called in the file.
        n: The count of images, if there is one.
        header: Our header, if there is one.
        convention: What the kind of file claims for them, if it does.
        resolution: Width and height of the images that lie beside them, in pixels.
    """

    mu: Any
    sigma: Any
    names: tuple[str, str] = ("mu", "sigma")
    n: Any = None
    header: Any = None
    convention: Convention | None = field(default=None)
    resolution: tuple[int, int] | None = None


def read_moments(found: Probe) -> dict[str, StoredMoments]:
    """All moments that a file holds, by the kind of their features; the main ones come first.

    Args:
        found: The probe of a file of any kind of those above; the extension says which, and
            ``.npz`` is meant where it is none of them.

    Returns:
        ``"features"``, ``"spatial"`` and ``"dinov2"``, as far as they are there.

    Raises:
        InputError: When the file is missing or broken, does what is never run, or holds no moments.
    """
    path = found.path
    if found.suffix in PICKLES:
        return _of_edm2(path, read_pickle(path))
    if found.suffix in TORCH:
        with open_torch(path) as held:
            return _of_fidelity(path, held)
    return _of_npz(found)


def _of_npz(found: Probe) -> dict[str, StoredMoments]:
    found.check()
    path, stored = found.path, found.arrays
    if "" in stored:
        raise InputError(f"{path} is a single array, not a .npz of mu and sigma")
    _require(path, stored, ("mu", "sigma"))
    spatial = "mu_s" in stored or "sigma_s" in stored
    if spatial:
        _require(path, stored, ("mu_s", "sigma_s"))
    with reading(path, "save mu and sigma again, as plain arrays"):
        arrays = read_arrays(path, {name: stored[name] for name in _PARTS if name in stored})
    header = arrays.get("header")
    adm = header is None and (spatial or "arr_0" in stored)
    size = image_size(found) if adm else None
    moments = {
        "features": StoredMoments(
            arrays["mu"],
            arrays["sigma"],
            n=arrays.get("n"),
            header=header,
            convention=ADM["features"] if adm else None,
            resolution=size,
        )
    }
    if adm and spatial:
        moments["spatial"] = StoredMoments(
            arrays["mu_s"],
            arrays["sigma_s"],
            ("mu_s", "sigma_s"),
            convention=ADM["spatial"],
            resolution=size,
        )
    return moments


def _of_edm2(path: Path, held: Any) -> dict[str, StoredMoments]:
    if not isinstance(held, dict):
        raise InputError(f"{path} holds {_kind(held)}; expected a dict with fid or fd_dinov2")
    found = {}
    for key, kind in (("fid", "features"), ("fd_dinov2", "dinov2")):
        if key in held:
            names = (f"mu of {key}", f"sigma of {key}")
            mu, sigma = _arrays(path, held[key], f"{key} ")
            n = held.get("num_images")
            n = n if n is None or isinstance(n, int) else shown(n)
            found[kind] = StoredMoments(mu, sigma, names, n=n, convention=EDM2[key])
    if not found and "mu" in held:
        found["features"] = StoredMoments(*_arrays(path, held, ""))
    if not found:
        raise InputError(
            f"{path} holds {_listed(held)}, but no fid and no fd_dinov2; expected EDM2's statistics"
        )
    return found


def _of_fidelity(path: Path, held: Any) -> dict[str, StoredMoments]:
    if isinstance(held, PickledArray):
        raise InputError(
            f"{path} holds one tensor: features, not statistics; expected mu and sigma"
        )
    mu, sigma = _arrays(path, held, "")
    said = _FIDELITY_NAME.search(path.name)
    ours = said is None or said["network"].endswith(_INCEPTION)
    convention = FIDELITY.get(said["layer"] if said else str(mu.size)) if ours else None
    return {"features": StoredMoments(mu, sigma, convention=convention)}


def _arrays(path: Path, held: Any, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """The arrays mu and sigma of a dict that came out of a pickle."""
    if not isinstance(held, dict):
        raise InputError(f"{path}: {prefix}holds {_kind(held)}; expected mu and sigma")
    _require(path, held, ("mu", "sigma"), prefix)
    with reading(path, "save mu and sigma as .npz"):
        arrays = []
        for name in ("mu", "sigma"):
            if not isinstance(held[name], PickledArray):
                raise InputError(f"{path}: {prefix}{name} is {_kind(held[name])}, not an array")
            arrays.append(held[name].array())
        return arrays[0], arrays[1]


def _require(path: Path, held: Mapping[Any, Any], names: tuple[str, ...], prefix: str = "") -> None:
    if missing := [name for name in names if name not in held]:
        what = f"{path}: {prefix}holds" if prefix else f"{path} holds"
        images = "arr_0" in held and "mu" in missing
        raise InputError(
            f"{what} {_listed(held)}, but no {' and no '.join(missing)}; expected "
            f"{' and '.join(names)}"
            + ("; a batch of images in arr_0 is given as uint8, N × H × W × 3" if images else "")
        )


def _listed(held: Mapping[Any, Any]) -> str:
    names = [str(name)[:40] for name in list(held)[:8]]
    return ", ".join(names) + (", …" if len(held) > 8 else "") or "nothing"


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, PickledArray) else f"a {type(value).__name__}"
