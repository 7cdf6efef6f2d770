"""Statistics files: recognize, read and write them with the table of formats."""

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
        statistics: The statistics, including those of other kinds of features.
        images: The images, or ``None``. In ADM's files they are 10,000 images of another set than
            the one behind the statistics.
    """

    statistics: Statistics
    images: ArraySource | None = None


def claims_statistics(found: Probe) -> bool:
    """Whether a file contains statistics, of gan-metrics or of another tool.

    Decided by its extension: ``.npz``, ``.pkl``, ``.pickle``, ``.pt`` and ``.pth``; except an
    ``.npz`` with features, or with images only, and a torch file with only a tensor.

    Args:
        found: The probe of the file.
    """
    return found.container != "folder" and any(row.claims(found) for row in FORMATS.values())


def load_stats(path: str | os.PathLike[str]) -> Statistics:
    """Read a statistics file of any format: its main statistics and any others in it.

    Code in the file is never executed, and a header never names code.

    Args:
        path: An ``.npz`` (of gan-metrics, or with ``mu`` and ``sigma``), EDM2's ``.pkl`` or
            torch-fidelity's ``.pt``; see :mod:`gan_metrics.stats.formats`.

    Returns:
        The statistics, with the covariance converted to the divisor n − 1.

    Raises:
        InputError: If the file is missing or broken, contains pickled objects or NaN, its arrays
            have wrong shapes, or sigma is not a covariance.
        MismatchError: If its header has another version of the format.
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
    """Read a statistics file and open the images in it.

    Args:
        given: The file, or its probe.

    Raises:
        InputError, MismatchError: As for :func:`load_stats`, and for invalid images.
    """
    found = given if isinstance(given, Probe) else probe(given)
    images = None
    if is_image_batch(found) and claims_statistics(found):
        with reading(found.path, "save it again"):
            found = replace(found, file=open(found.path, "rb"))  # noqa: SIM115
        images = ArraySource(found)  # which closes the file
    elif "arr_0" in found.arrays:
        ArraySource(found)  # raises the error
    return Reference(read_statistics(found), images)


def choose_format(kind: str | None, path: Path) -> StatisticsFormat:
    """Return the format for writing a file.

    Args:
        kind: Its name; ``None``: from the path's extension, else ``npz``.
        path: The file to write.

    Raises:
        UsageError: If the format is unknown.
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
    """Write statistics in a tool's file format; the file is written completely or not at all.

    Args:
        statistics: Statistics with the divisor n − 1, which all formats expect.
        path: The file to write; the format's extension is appended if missing.
        kind: A key of :data:`FORMATS`.
        images: For ``"adm"``: ``uint8``, H × W × 3, of equal size; read one by one.

    Returns:
        The path of the written file.

    Raises:
        UsageError: For an unknown format, or if statistics that it needs are missing.
        MismatchError: If the format cannot hold these features.
        InputError: If it cannot hold the images.
        ResourceError: If the disk is full or not writable.
    """
    path = Path(path)
    row = choose_format(kind, path)
    if path.suffix != row.extension:
        path = path.with_name(path.name + row.extension)
    row.write(statistics, path, images)
    return path
