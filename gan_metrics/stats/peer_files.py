"""The peers' files of reference statistics: all that is in one, and writing one that they read.

What a file of each kind means is told in :mod:`gan_metrics.stats.formats`.
"""

from __future__ import annotations

import functools
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError, MismatchError, UsageError, unknown_name
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.files.probe import TORCH, Probe, probe
from gan_metrics.images.sources.array_file import ArraySource, is_image_batch
from gan_metrics.stats.formats import ADM, EDM2, PICKLES
from gan_metrics.stats.statistics import Statistics, load_all_stats

__all__ = [
    "KINDS",
    "Reference",
    "claims_statistics",
    "read_reference",
    "write_adm",
    "write_statistics",
]

_MOST_IMAGES = 10_000
"""In ADM's files."""


@dataclass(frozen=True)
class Reference:
    """What a file of reference statistics holds.

    Attributes:
        statistics: By the kind of their features: ``"features"`` (the main ones), ``"spatial"`` and
            ``"dinov2"``, as far as they are there.
        image_file: The file, if images lie beside the statistics, or ``None``.
        description: Where it comes from, for a person.
    """

    statistics: Mapping[str, Statistics]
    image_file: Probe | None = None
    description: str = ""

    @functools.cached_property
    def images(self) -> ArraySource | None:
        """The images that lie beside the statistics, opened when they are first asked for.

        In ADM's files they are 10,000 images of another set than the statistics are of.

        Raises:
            InputError, ResourceError: As :class:`~gan_metrics.images.sources.ArraySource` does.
        """
        return None if self.image_file is None else ArraySource(self.image_file)


def claims_statistics(found: Probe) -> bool:
    """Whether a file is one of statistics, ours or another tool's.

    By its extension: ``.npz``, ``.pkl``, ``.pickle``, ``.pt`` and ``.pth``, but not an ``.npz``
    that holds features, or images without statistics, nor a torch file that holds a tensor alone.

    Args:
        found: The probe of the file.
    """
    if found.container == "folder":
        return False
    if found.suffix == ".npz":
        batch = "arr_0" in found.arrays or is_image_batch(found)
        return "features" not in found.arrays and ("mu" in found.arrays or not batch)
    return found.suffix in PICKLES or (found.suffix in TORCH and not found.is_one_tensor)


def read_reference(path: str | os.PathLike[str] | Probe) -> Reference:
    """Read all that a file of reference statistics holds, ours or a peer's.

    Args:
        path: The file, or the probe of it; see :func:`claims_statistics`.

    Raises:
        InputError: As for :func:`gan_metrics.load_stats`, and for a batch of images alone.
        MismatchError: When it is ours, and of another version of the format.
    """
    found = path if isinstance(path, Probe) else probe(path)
    path = found.path
    statistics = load_all_stats(found)
    spatial = statistics.get("spatial")
    if spatial is not None and spatial.moments.dim != ADM["spatial"].dim:
        raise InputError(
            f"{path}: mu_s has {spatial.moments.dim} dimensions; ADM's spatial features have "
            f"{ADM['spatial'].dim}"
        )
    images = is_image_batch(found)
    if "arr_0" in found.arrays and not images:
        ArraySource(found)  # says what is wrong with it
    return Reference(statistics, found if images else None, str(path))


def write_statistics(statistics: Statistics, path: str | os.PathLike[str], kind: str) -> Path:
    """Write statistics as a file that a peer reads, whole or not at all.

    Args:
        statistics: With a covariance of divisor n − 1, as all of these expect it.
        path: Where to; the kind's extension is appended if it does not end so.
        kind: A key of :data:`KINDS`.

    Returns:
        The path that was written.

    Raises:
        UsageError: For another kind.
        MismatchError: When the kind cannot hold the features that these are of.
        ResourceError: When the disk is full or cannot be written to.
    """
    if kind == "adm":
        raise UsageError(
            "ADM's files hold spatial statistics and images too: "
            "write_adm(path, pool3, spatial, images)"
        )
    if kind not in KINDS:
        raise unknown_name("kind of statistics file", kind, KINDS)
    extension, write = KINDS[kind]
    path = Path(path)
    if path.suffix != extension:
        path = path.with_name(path.name + extension)
    write(statistics, path)
    return path


def write_adm(
    path: str | os.PathLike[str],
    pool3: Statistics,
    spatial: Statistics,
    images: Iterable[npt.NDArray[np.uint8]],
) -> Path:
    """Write a reference batch as ADM's evaluator reads it: moments, spatial moments and images.

    Args:
        path: Where to; ``.npz`` is appended if it does not end so.
        pool3: Of 2048 dimensions: the 2015 Inception's pool3.
        spatial: Of 2023 dimensions: its spatial features.
        images: ``uint8``, H × W × 3, all of one size, 10,000 at the most; taken in one by one.

    Returns:
        The path that was written.

    Raises:
        MismatchError: When the statistics are of other features.
        InputError: When there are no images, too many, or one is of another type or shape.
        ResourceError: When the disk is full or cannot be written to.
    """
    path = Path(path)
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    check_target(path)
    for statistics, kind in ((pool3, "features"), (spatial, "spatial")):
        _must_be(statistics, ADM[kind].dim, ADM[kind].spec().backbone, ADM[kind].layer)
    with atomic_path(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as spool:
        shape = _spool(images, spool)
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            with archive.open("arr_0.npy", "w", force_zip64=True) as file:
                about = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, about)
                spool.seek(0)
                while piece := spool.read(1 << 20):
                    file.write(piece)
            for name, array in (
                ("mu", pool3.moments.mean),
                ("sigma", pool3.moments.cov),
                ("mu_s", spatial.moments.mean),
                ("sigma_s", spatial.moments.cov),
            ):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return path


def _spool(images: Iterable[npt.NDArray[np.uint8]], file: Any) -> tuple[int, ...]:
    """Write images one after the other; their shape, N × H × W × 3."""
    shape: tuple[int, ...] = ()
    n = 0
    for image in images:
        array = np.asarray(image)
        shape = shape or array.shape
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise InputError(
                f"image {n} is {array.dtype} of shape {array.shape}; expected uint8, H × W × 3"
            )
        if array.shape != shape:
            raise InputError(
                f"image {n} (counted from 0) has the shape {array.shape}, and image 0 {shape}: "
                "ADM's files hold images of one size; resize them first"
            )
        n += 1
        if n > _MOST_IMAGES:
            raise InputError(f"there are more than {_MOST_IMAGES:,} images; ADM's files hold fewer")
        file.write(np.ascontiguousarray(array).tobytes())
    if not n:
        raise InputError(f"there are no images; expected 1 to {_MOST_IMAGES:,}")
    return (n, *shape)


def _write_npz(statistics: Statistics, path: Path) -> None:
    statistics.save(path)


def _write_edm2(statistics: Statistics, path: Path) -> None:
    """A pickle of a dict; ``num_images`` is left out where it is not known."""
    spec, moments = statistics.spec, statistics.moments
    of_dino = spec.backbone == EDM2["fd_dinov2"].spec().backbone
    key = "fd_dinov2" if of_dino else "fid"
    _must_be(statistics, EDM2[key].dim, EDM2[key].spec().backbone, EDM2[key].layer)
    count = {} if moments.n is None else {"num_images": moments.n}
    held = {**count, key: {"mu": moments.mean, "sigma": moments.cov}}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(held, file, protocol=4)


def _write_fidelity(statistics: Statistics, path: Path) -> None:
    """What torch-fidelity computes: a mean in float32, as its features are, and float64."""
    import torch

    mean = statistics.moments.mean.astype(np.float32)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"mu": mean, "sigma": statistics.moments.cov}, file)


KINDS: Mapping[str, tuple[str, Callable[[Statistics, Path], None]]] = {
    "npz": (".npz", _write_npz),
    "edm2": (".pkl", _write_edm2),
    "torch-fidelity": (".pt", _write_fidelity),
}
"""Name to extension and writer: ``npz`` is ours, and what pytorch-fid, TTUR, clean-fid, EDM and
EDM2 read; ``edm2`` is EDM2's pickle; ``torch-fidelity`` an entry of its cache, which is looked up
as ``INPUT-inception-v3-compat-stat-fid-LAYER.pt``."""


def _must_be(statistics: Statistics, dim: int, backbone: str | None, layer: str) -> None:
    """See that statistics are of a feature space, as far as they state theirs.

    Raises:
        MismatchError: Saying what they are of and what is expected.
    """
    spec = statistics.spec
    wrong = spec.backbone not in (None, backbone) or spec.layer not in (None, layer)
    if wrong or statistics.moments.dim != dim:
        theirs = f"{spec.backbone or 'an unknown network'}, layer {spec.layer or 'unknown'}"
        raise MismatchError(
            f"the statistics are of {theirs}, {statistics.moments.dim} dimensions; such a file "
            f"holds those of {backbone}, layer {layer}, {dim} dimensions"
        )
