"""The table of readers: which kinds of files and folders are read, and how each is opened.

The first reader that claims a path opens it. The table is the only place that lists the kinds of
files: the message about an unknown file, ``inspect`` and the documentation use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gan_metrics.errors import InputError, NotFoundError
from gan_metrics.features.features import Features
from gan_metrics.features.files import claims_features, read_features
from gan_metrics.files.probe import PARQUET, Probe
from gan_metrics.files.restricted_pickle import open_torch
from gan_metrics.images.sources import (
    ArraySource,
    ImageSource,
    Location,
    SingleFileSource,
    file_list,
    hdf5,
    is_image,
    lmdb,
    named_datasets,
    parquet,
    video,
)
from gan_metrics.images.sources.archive import TarSource, ZipSource
from gan_metrics.images.sources.array_file import EXTENSIONS as ARRAYS
from gan_metrics.images.sources.folder import FolderSource
from gan_metrics.images.sources.python_objects import ArrayImages
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import AnySet, ImageSet
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.files import Reference, claims_statistics, read_reference
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.registry import Registry

__all__ = ["READERS", "Reader", "kind_of", "open_probed", "pixel_options", "statistics_or_images"]

Opened = ImageSource | AnySet


@dataclass(frozen=True)
class Reader:
    """How to read one kind of file or folder.

    Attributes:
        name: The kind, such as ``"a video (.mp4)"``.
        claims: Function of a :class:`~gan_metrics.files.probe.Probe` that returns whether the path
            is of this kind, without opening it again.
        open: Function of the probe and the options that returns an
            :class:`~gan_metrics.images.sources.ImageSource`,
            :class:`~gan_metrics.stats.statistics.Statistics` or
            :class:`~gan_metrics.features.features.Features`.
        example: Example of such a path, for the documentation.
        image_names: How images are named and ordered, for the documentation.
    """

    name: str
    claims: Callable[[Probe], bool]
    open: Callable[[Probe, Options], Any]
    example: str = ""
    image_names: str = ""


def open_probed(found: Probe, options: Options, *, single: bool = False) -> AnySet:
    """Open a set with the first reader that claims it; plug-ins come last.

    Args:
        found: The probe of a local path.
        options: Options for reading.
        single: Whether one image file is accepted as a set.

    Raises:
        NotFoundError: If the path does not exist.
        InputError: If no reader claims it, or the reader cannot read it.
    """
    if found.container == "missing":
        raise NotFoundError(f"{found.path} does not exist")
    if single and found.is_file and is_image(found.path):
        return ImageSet(SingleFileSource(found.path), kind="one image file")
    built_in = READERS.built_in()
    try:
        for name in built_in:
            if READERS[name].claims(found):
                return _as_set(READERS[name].open(found, options), name)
        raise InputError(_unknown(found, list(built_in)))
    except InputError:
        for name, reader in READERS.items():
            if name not in built_in and reader.claims(found):
                return _of_plugin(name, reader.open(found, options))
        raise


def kind_of(found: Probe) -> str:
    """Return the name of the reader that claims a path; empty if there is none.

    Args:
        found: The probe of a local path.
    """
    single = "one image file" if found.is_file and is_image(found.path) else ""
    return single or next((name for name, one in READERS.items() if one.claims(found)), "")


def _as_set(opened: Opened, kind: str) -> AnySet:
    if isinstance(opened, ImageSet):
        return replace(opened, kind=kind)
    return opened if isinstance(opened, Features | Statistics) else ImageSet(opened, kind=kind)


def _of_plugin(name: str, opened: Opened) -> AnySet:
    """Return a set from a plug-in's reader; the plug-in becomes part of its feature space."""
    origin = READERS.origin(name)
    plugins = () if origin is None else ((origin.name, origin.version or ""),)
    found = _as_set(opened, name)
    if isinstance(found, ImageSet):
        return replace(found, plugins=plugins)
    return replace(found, spec=found.spec.with_plugins(plugins))


def _unknown(found: Probe, names: list[str]) -> str:
    """Return the message about a path that no reader claims."""
    if found.container == "special":
        return f"{found.path} is neither a folder nor a regular file"
    if found.container == "unknown" and found.error is not None:
        return found.error
    what = "is a single image" if is_image(found.path) else "is of an unknown kind"
    return f"{found.path} {what}; expected {'; '.join(names)}"


def statistics_or_images(found: Reference) -> AnySet:
    """Return the content of a reference file: statistics, or images with stored statistics.

    Args:
        found: The statistics of the file, and its images, if any.
    """
    if found.images is not None:
        return ImageSet(found.images, found.statistics.kinds)
    return found.statistics


def _open_folder(found: Probe, options: Options) -> ImageSource:
    return FolderSource(found.path, recursive=options.recursive)


def _open_features(found: Probe, options: Options) -> Features | ImageSource:
    features = read_features(found)
    if features.array.ndim < 3 or features.spec != FeatureSpec():
        return features
    return ArrayImages(features.array, description=os.fspath(found.path), **pixel_options(options))


def pixel_options(options: Options) -> dict[str, Any]:
    """Return the keyword arguments of an array source: value range and layout."""
    return {"value_range": options.value_range, "layout": options.layout}


def _open_batch(found: Probe, options: Options) -> ImageSource:
    batch = ArraySource(found, **pixel_options(options))
    batch.prepare()
    return batch


def _open_tensor(found: Probe, options: Options) -> ImageSource:
    with open_torch(found.path) as tensor:
        return ArrayImages(tensor.array(), description=str(found.path), **pixel_options(options))


def _open_archive(found: Probe, options: Options) -> ImageSource:
    place = Location(str(found.path))
    return TarSource(place) if found.container == "tar" else ZipSource(place)


READERS: Registry[Reader] = Registry(
    "reader",
    {
        reader.name: reader
        for reader in (
            Reader(
                "an LMDB database (.mdb, .lmdb, or a folder with data.mdb)",
                lambda found: lmdb.is_lmdb(found.path),
                lambda found, options: lmdb.LmdbSource(found.path),
                example="folder.lmdb/",
                image_names="the keys, sorted",
            ),
            Reader(
                "a folder written by save_to_disk of Hugging Face's datasets",
                lambda found: (
                    found.container == "folder" and named_datasets.is_saved_dataset(found.path)
                ),
                lambda found, options: named_datasets.saved_dataset(found.path),
                example="saved/",
                image_names="rows",
            ),
            Reader(
                "a folder of images",
                lambda found: found.container == "folder",
                _open_folder,
                example="images/",
                image_names="paths below it, sorted by their bytes",
            ),
            Reader(
                "saved features (.npz, .npy, .safetensors, .parquet, .pt)",
                claims_features,
                _open_features,
                example="features.npz",
                image_names="as they were saved",
            ),
            Reader(
                "reference statistics (.npz, .pkl, .pt)",
                claims_statistics,
                lambda found, options: statistics_or_images(read_reference(found)),
                example="statistics.npz",
                image_names="none",
            ),
            Reader(
                "a batch of images (.npz, .npy)",
                lambda found: found.is_file and found.suffix in ARRAYS,
                _open_batch,
                example="images.npz",
                image_names="numbers",
            ),
            Reader(
                "a tensor of images (.pt, .pth)",
                lambda found: found.is_one_tensor and len(found.arrays[""].shape) > 2,
                _open_tensor,
                example="images.pt",
                image_names="numbers",
            ),
            Reader(
                "a Parquet file with a column of images (.parquet)",
                lambda found: found.is_file and found.suffix == PARQUET,
                lambda found, options: parquet.ParquetSource(found.path),
                example="file.parquet",
                image_names="rows",
            ),
            Reader(
                "an HDF5 file with images (.h5, .hdf5)",
                lambda found: found.is_file and found.suffix in hdf5.EXTENSIONS,
                lambda found, options: hdf5.Hdf5Source(found.path, **pixel_options(options)),
                example="file.h5",
                image_names="numbers",
            ),
            Reader(
                "a list of image files (.txt, .csv)",
                lambda found: found.is_file and found.suffix in file_list.EXTENSIONS,
                lambda found, options: file_list.list_files(found.path),
                example="list.txt",
                image_names="as listed",
            ),
            Reader(
                "a video (.mp4, .webm, .avi, …)",
                lambda found: found.is_file and found.suffix in video.EXTENSIONS,
                lambda found, options: video.VideoSource(found.path),
                example="video.mp4",
                image_names="frames",
            ),
            Reader(
                "an archive of images (.zip, .tar, .tar.gz, …)",
                lambda found: found.container in ("zip", "tar", "npz", "torch"),
                _open_archive,
                example="images.zip",
                image_names="paths in it, sorted by their bytes",
            ),
        )
    },
)
"""Readers by kind of file or folder; the first that claims a path opens it."""
