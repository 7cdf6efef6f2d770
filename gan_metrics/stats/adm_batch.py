"""Write reference batches of ADM's evaluator: moments of two kinds of features, and images."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.stats.statistics import Statistics
from gan_metrics.stats.stored_moments import Convention

__all__ = ["ADM", "MOST_IMAGES", "write_adm"]

MOST_IMAGES = 10_000
"""Most images in one file."""

ADM = {
    "features": Convention("adm", "fid", "pool3", "avg", 2048),
    "spatial": Convention("adm", "sfid", "spatial", "flatten", 2023, required=True),
}
"""The convention of the moments, by the kind of features."""


def write_adm(
    path: str | os.PathLike[str],
    pool3: Statistics,
    spatial: Statistics,
    images: Iterable[npt.NDArray[np.uint8]],
) -> Path:
    """Write a reference batch for ADM's evaluator: moments, spatial moments and images.

    Args:
        path: The file to write; ``.npz`` is appended if missing.
        pool3: Statistics of 2048 dimensions: the 2015 Inception's pool3.
        spatial: Statistics of 2023 dimensions: its spatial features.
        images: ``uint8``, H × W × 3, of equal size, at most 10,000; read one by one.

    Returns:
        The path of the written file.

    Raises:
        MismatchError: If the statistics are of other features.
        InputError: If there are no images, too many, or one has another type or shape.
        ResourceError: If the disk is full or not writable.
    """
    path = Path(path)
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    check_target(path)
    ADM["features"].check(pool3)
    ADM["spatial"].check(spatial)
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


def _spool(images: Iterable[npt.NDArray[np.uint8]], file: BinaryIO) -> tuple[int, ...]:
    """Write images one after the other; return their shape, N × H × W × 3."""
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
                f"image {n} (counted from 0) has the shape {array.shape}, but image 0 has {shape}: "
                "ADM's files need images of equal size; resize them first"
            )
        n += 1
        if n > MOST_IMAGES:
            raise InputError(
                f"there are more than {MOST_IMAGES:,} images, the most in an ADM file; use fewer"
            )
        file.write(np.ascontiguousarray(array).tobytes())
    if not n:
        raise InputError(f"there are no images; expected 1 to {MOST_IMAGES:,}")
    return (n, *shape)
