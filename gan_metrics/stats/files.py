"""Files of statistics: read, recognized and written by the table of formats."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gan_metrics.errors import unknown_name
from gan_metrics.files.npz import reading
from gan_metrics.files.probe import Probe, probe
from gan_metrics.images.sources.array_file import ArraySource, is_image_batch
from gan_metrics.stats.formats import FORMATS, Images, StatisticsFormat, read_moments
from gan_metrics.stats.statistics import Statistics
from gan_metrics.stats.stored_moments import checked_statistics

__all__ = [
    "Reference",
    "choose_format",
    "claims_statistics",
    "load_stats",
    "read_reference",
    "read_statistics",
    "write_statistics",
]


class Reference(NamedTuple):
    """Statistics, and the images in the same file.

    Attributes:
        statistics: The statistics, with those of other kinds of features.
        images: The images, or ``None``. In ADM's files they are 10,000 images of another set than
            the statistics are of.
    """

    statistics: Statistics
    images: ArraySource | None = None


def claims_statistics(found: Probe) -> bool:
    """Whether a file is one of statistics, ours or another tool's.

    By its extension: ``.npz``, ``.pkl``, ``.pickle``, ``.pt`` and ``.pth``, but not an ``.npz``
    that holds features, or images without statistics, nor a torch file that holds a tensor alone.

    Args:
        found: The probe of the file.
    """
    return found.container != "folder" and any(row.claims(found) for row in FORMATS.values())


def load_stats(path: str | os.PathLike[str]) -> Statistics:
    """Read a statistics file of any format: its main statistics, and the others beside them.

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
    return read_statistics(probe(path))


def read_statistics(found: Probe) -> Statistics:
    """Read a statistics file; see :func:`load_stats`.

    Args:
        found: The probe of the file.

    Raises:
        InputError, MismatchError: As for :func:`load_stats`.
    """
    moments = read_moments(found)
    main, *others = (checked_statistics(found.path, k, one) for k, one in moments.items())
    return replace(main, others={one.kind: one for one in others})


def read_reference(given: str | os.PathLike[str] | Probe) -> Reference:
    """Read a statistics file and find the images in it.

    Args:
        given: The file, or the probe of it.

    Raises:
        InputError, MismatchError: As for :func:`load_stats`, and for images that are none.
    """
    found = given if isinstance(given, Probe) else probe(given)
    images = None
    if is_image_batch(found) and claims_statistics(found):
        with reading(found.path, "save it again"):
            found = replace(found, file=open(found.path, "rb"))  # noqa: SIM115
        images = ArraySource(found)  # which closes the file
    elif "arr_0" in found.arrays:
        ArraySource(found)  # explains what is wrong with it
    return Reference(read_statistics(found), images)


def choose_format(kind: str | None, path: Path) -> StatisticsFormat:
    """The format to write a file in.

    Args:
        kind: Its name; ``None``: by the path's extension, else ``npz``.
        path: Where to.

    Raises:
        UsageError: When no format has that name.
    """
    if kind is None:
        named = (r for r in FORMATS.values() if r.extension == path.suffix.lower())
        return next((row for row in named if not row.most_images), FORMATS["npz"])
    if kind not in FORMATS:
        raise unknown_name("kind of statistics file", kind, FORMATS)
    return FORMATS[kind]


def write_statistics(
    statistics: Statistics, path: str | os.PathLike[str], kind: str, images: Images = ()
) -> Path:
    """Write statistics as a file that another tool reads, whole or not at all.

    Args:
        statistics: With a covariance of divisor n − 1, as all of these expect it.
        path: Where to; the format's extension is appended if it does not end so.
        kind: A key of :data:`FORMATS`.
        images: For ``"adm"``: ``uint8``, H × W × 3, all of one size; taken in one by one.

    Returns:
        The path that was written.

    Raises:
        UsageError: For another format, or when statistics of a kind that it holds are missing.
        MismatchError: When the format cannot hold the features that these are of.
        InputError: When it cannot hold the images.
        ResourceError: When the disk is full or cannot be written to.
    """
    path = Path(path)
    row = choose_format(kind, path)
    if path.suffix != row.extension:
        path = path.with_name(path.name + row.extension)
    row.write(statistics, path, images)
    return path
