"""The table of statistics file formats: their content, and how to read and write them.

=============== ===================================== =======================================
format          content                               meaning by convention
=============== ===================================== =======================================
``npz``         mu, sigma; gan-metrics: n and header  none (pytorch-fid, TTUR, clean-fid, EDM)
``adm``         mu, sigma, mu_s, sigma_s, arr_0       protocol ``adm``: pool3 and spatial features
                (an ``.npz``)
``edm2``        num_images, fid and fd_dinov2         protocol ``edm2``: pool3 and DINOv2's token
                (each with mu and sigma)
``torch-``      mu, sigma (torch-fidelity's cache)    protocol ``tf1``: the Inception layer of this
``fidelity``                                          dimension, unless the file's name states
                                                      another network
=============== ===================================== =======================================

The convention applies only if the number of dimensions matches.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.files.download import atomic_path
from gan_metrics.files.npz import read_arrays, reading
from gan_metrics.files.pickle_stand_ins import shown
from gan_metrics.files.probe import TORCH, Probe
from gan_metrics.files.restricted_pickle import PickledArray, open_torch, read_pickle
from gan_metrics.images.sources.array_file import image_size, is_image_batch
from gan_metrics.protocols.table import PROTOCOLS, protocol_for
from gan_metrics.stats.adm_batch import ADM, MOST_IMAGES, write_adm
from gan_metrics.stats.statistics import Statistics
from gan_metrics.stats.stored_moments import Convention, StoredMoments

__all__ = ["FORMATS", "Images", "StatisticsFormat", "read_moments"]

_PICKLES = frozenset((".pkl", ".pickle"))
_FIDELITY_NAME = re.compile(r"^(?P<network>.*)-stat-fid-(?P<layer>.+)\.pth?\Z", re.IGNORECASE)
_INCEPTION = "inception-v3-compat"
_EDM2_KEYS = {"features": "fid", "dinov2": "fd_dinov2"}
Images = Iterable[npt.NDArray[np.uint8]]
"""Images written with statistics: H × W × 3 each."""


@dataclass(frozen=True)
class StatisticsFormat:
    """A format of statistics files.

    Attributes:
        name: Its name.
        extension: Extension of written files.
        claims: Whether a probed file has this format.
        read: Reads all moments of a file by the kind of their features, the main ones first.
        write: Writes statistics and, if the format has them, images.
        holds: Content of a file by name: a kind of features, ``"images"``, or ``None`` for a
            detail.
        conventions: Feature spaces that the format implies, by the kind of features or the name
            of the layer.
        protocol: The protocol that every file implies.
        most_images: Most images in a file; 0: none.
    """

    name: str
    extension: str
    claims: Callable[[Probe], bool]
    read: Callable[[Probe], dict[str, StoredMoments]]
    write: Callable[[Statistics, Path, Images], object]
    holds: Mapping[str, str | None]
    conventions: Mapping[str, Convention] = field(default_factory=dict)
    protocol: str | None = None
    most_images: int = 0

    def choose_protocol(self, named: str | None) -> str | None:
        """Return the protocol for computing statistics.

        Args:
            named: The name of the requested protocol, or ``None``.

        Raises:
            MismatchError: If files of this format imply another protocol.
        """
        if self.protocol is None:
            return named
        own, other = PROTOCOLS[self.protocol], protocol_for(named or self.protocol)
        same = own.template() == other.template()
        if not same or own.metrics["fid"].arguments != other.metrics["fid"].arguments:
            raise MismatchError(
                f"a file of {self.name} always means protocol {own.name} and cannot state "
                f"{other.name}; omit --protocol, or write an .npz"
            )
        return own.name


def read_moments(found: Probe) -> dict[str, StoredMoments]:
    """Return all moments in a file by the kind of their features, the main ones first.

    Args:
        found: The probe of the file. The extension selects the format; unknown extensions are
            read as ``.npz``.

    Returns:
        ``"features"``, ``"spatial"`` and ``"dinov2"``, as far as they exist.

    Raises:
        InputError: If the file is missing or broken, contains code, or has no moments.
    """
    if found.is_one_tensor:
        raise InputError(
            f"{found.path} contains one tensor: features, not statistics; expected mu and sigma"
        )
    row = next((row for row in FORMATS.values() if row.claims(found)), FORMATS["npz"])
    return row.read(found)


# Reading


def _claims_edm2(found: Probe) -> bool:
    return found.suffix in _PICKLES


def _claims_fidelity(found: Probe) -> bool:
    return found.suffix in TORCH and not found.is_one_tensor


def _claims_adm(found: Probe) -> bool:
    names = found.arrays.keys()
    own = "header" in names or "features" in names
    return found.suffix == ".npz" and "mu" in names and not own and bool(names & _OF_ADM)


def _claims_npz(found: Probe) -> bool:
    batch = "arr_0" in found.arrays or is_image_batch(found)
    moments = "mu" in found.arrays or not batch
    return found.suffix == ".npz" and "features" not in found.arrays and moments


def _read_npz(found: Probe) -> dict[str, StoredMoments]:
    held = _read(found, ("mu", "sigma"), ("n", "header"))
    n, header = held.get("n"), held.get("header")
    return {"features": StoredMoments(held["mu"], held["sigma"], n=n, header=header)}


def _read_adm(found: Probe) -> dict[str, StoredMoments]:
    spatial = bool({"mu_s", "sigma_s"} & found.arrays.keys())
    names = {"features": ("mu", "sigma"), **({"spatial": ("mu_s", "sigma_s")} if spatial else {})}
    held = _read(found, [name for pair in names.values() for name in pair], ("n",))
    size, counts = image_size(found), {"features": held.get("n")}
    return {
        kind: StoredMoments(
            held[mu],
            held[sigma],
            (mu, sigma),
            n=counts.get(kind),
            convention=ADM[kind],
            resolution=size,
        )
        for kind, (mu, sigma) in names.items()
    }


def _read(
    found: Probe, needed: Iterable[str], also: Iterable[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the required arrays of an ``.npz``, and optional ones that exist."""
    found.check()
    path, stored = found.path, found.arrays
    if "" in stored:
        raise InputError(f"{path} is a single array, not a .npz of mu and sigma")
    _require(path, stored, tuple(needed))
    with reading(path, "save mu and sigma again, as plain arrays"), found.opened() as file:
        return read_arrays(file, {k: stored[k] for k in (*needed, *also) if k in stored})


def _read_edm2(found: Probe) -> dict[str, StoredMoments]:
    path, held = found.path, read_pickle(found.path)
    if not isinstance(held, dict):
        raise InputError(f"{path} holds {_kind(held)}; expected a dict with fid or fd_dinov2")
    moments = {}
    for kind, key in _EDM2_KEYS.items():
        if key in held:
            names = (f"mu of {key}", f"sigma of {key}")
            mu, sigma = _arrays(path, held[key], f"{key} ")
            n = held.get("num_images")
            n = n if n is None or isinstance(n, int) else shown(n)
            moments[kind] = StoredMoments(mu, sigma, names, n=n, convention=_EDM2[kind])
    if not moments and "mu" in held:
        moments["features"] = StoredMoments(*_arrays(path, held, ""))
    if not moments:
        raise InputError(
            f"{path} contains {_listed(held)}, but neither fid nor fd_dinov2; expected EDM2's "
            "statistics"
        )
    return moments


def _read_fidelity(found: Probe) -> dict[str, StoredMoments]:
    with open_torch(found.path) as held:
        mu, sigma = _arrays(found.path, held, "")
    named = _FIDELITY_NAME.search(found.path.name)
    ours = named is None or named["network"].endswith(_INCEPTION)
    convention = _FIDELITY.get(named["layer"] if named else str(mu.size)) if ours else None
    return {"features": StoredMoments(mu, sigma, convention=convention)}


def _arrays(path: Path, held: Mapping[str, Any], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays mu and sigma of a dict from a pickle."""
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


def _kind(value: object) -> str:
    return "an array" if isinstance(value, PickledArray) else f"a {type(value).__name__}"


# Writing


def _write_npz(statistics: Statistics, path: Path, images: Images) -> None:
    del images
    statistics.save(path)


def _write_adm(statistics: Statistics, path: Path, images: Images) -> None:
    if "spatial" not in statistics.others:
        raise UsageError(
            "ADM's files hold spatial statistics and images too: give Statistics(…, "
            "others={'spatial': …}) and images"
        )
    write_adm(path, statistics, statistics.others["spatial"], images)


def _write_edm2(statistics: Statistics, path: Path, images: Images) -> None:
    """Write a pickle of a dict; ``num_images`` is left out if it is unknown."""
    del images
    moments = statistics.moments
    of_dino = statistics.spec.backbone == _EDM2["dinov2"].spec().backbone
    kind = "dinov2" if of_dino else "features"
    _EDM2[kind].check(statistics)
    count = {} if moments.n is None else {"num_images": moments.n}
    held = {**count, _EDM2_KEYS[kind]: {"mu": moments.mean, "sigma": moments.cov}}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(held, file, protocol=4)


def _write_fidelity(statistics: Statistics, path: Path, images: Images) -> None:
    """Write what torch-fidelity computes: a float32 mean, like its features, and float64 sigma."""
    import torch

    del images
    mean = statistics.moments.mean.astype(np.float32)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"mu": mean, "sigma": statistics.moments.cov}, file)


# The table

_EDM2 = {
    "features": Convention("edm2", "fid", "pool3", "avg", 2048),
    "dinov2": Convention("edm2", "fd_dinov2", "cls", "cls", 1024),
}
_FIDELITY = {
    str(dim): Convention("tf1", "fid", "pool3" if dim == 2048 else str(dim), "avg", dim)
    for dim in (64, 192, 768, 2048)
}
_OF_ADM = frozenset(("mu_s", "sigma_s", "arr_0"))

FORMATS: Mapping[str, StatisticsFormat] = {
    row.name: row
    for row in (
        StatisticsFormat(
            "edm2",
            ".pkl",
            _claims_edm2,
            _read_edm2,
            _write_edm2,
            holds={"fid": "features", "fd_dinov2": "dinov2", "num_images": None},
            conventions=_EDM2,
            protocol="edm2",
        ),
        StatisticsFormat(
            "torch-fidelity",
            ".pt",
            _claims_fidelity,
            _read_fidelity,
            _write_fidelity,
            holds={"mu": "features", "sigma": "features"},
            conventions=_FIDELITY,
            protocol="tf1",
        ),
        StatisticsFormat(
            "adm",
            ".npz",
            _claims_adm,
            _read_adm,
            _write_adm,
            holds={
                "mu": "features",
                "sigma": "features",
                "mu_s": "spatial",
                "sigma_s": "spatial",
                "arr_0": "images",
            },
            conventions=ADM,
            protocol="adm",
            most_images=MOST_IMAGES,
        ),
        StatisticsFormat(
            "npz",
            ".npz",
            _claims_npz,
            _read_npz,
            _write_npz,
            holds={"mu": "features", "sigma": "features", "n": None, "header": None},
        ),
    )
}
"""Formats by name, in the order in which a file is compared with them. pytorch-fid, TTUR,
clean-fid, EDM and EDM2 can also read the ``npz`` of gan-metrics. A ``torch-fidelity`` file is an
entry of its cache, which it looks up as ``INPUT-inception-v3-compat-stat-fid-LAYER.pt``."""
