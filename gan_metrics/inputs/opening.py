"""Open a user's input as a set: paths, URLs, names, patterns and Python objects."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from gan_metrics.errors import InputError, NotFoundError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.files.probe import PARQUET, probe
from gan_metrics.files.temporary import Temporary
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import (
    ImageSource,
    Location,
    file_list,
    hdf5,
    is_image,
    is_remote,
    named_datasets,
    video,
)
from gan_metrics.images.sources.archive import TarSource, ZipSource, archive_kind
from gan_metrics.images.sources.array_file import EXTENSIONS as ARRAYS
from gan_metrics.images.sources.concat import ConcatSource
from gan_metrics.images.sources.parquet import ParquetSource
from gan_metrics.images.sources.python_objects import (
    ArrayImages,
    DatasetSource,
    IteratedSource,
    is_dataset,
)
from gan_metrics.images.sources.remote_folder import RemoteFiles, remote_folder
from gan_metrics.images.sources.samples import holds_batch
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.readers import open_probed, pixel_options, statistics_or_images
from gan_metrics.inputs.sets import AnySet, ImageSet, Input
from gan_metrics.stats.references import open_reference
from gan_metrics.stats.statistics import Statistics

__all__ = ["open_object", "open_set", "open_source"]

_REGISTERED = "ref:"
"""Prefix of a registered reference."""

_PATTERN = re.compile(r"[*?\[{]")
_WILD = re.compile(r"[*?\[]")

_MAY_BE_EMBEDDED = frozenset((".npy", ".npz", ".parquet", ".pkl", ".pt", ".pth", ".safetensors"))
"""Extensions of remote files that may hold statistics or features."""


def open_set(given: Input, options: Options, *, single: bool = False) -> AnySet:
    """Open a user's input as a set of images, features or statistics.

    Args:
        given: A set in any form; see :data:`~gan_metrics.inputs.sets.Input`.
        options: Options for reading, such as ``recursive`` and ``progress``.
        single: Whether one image file is accepted as a set.

    Raises:
        UsageError: If the type is not supported, or a registered reference does not exist.
        NotFoundError: If a path does not exist.
        InputError: If a file cannot be read.
        WeightsError: If a registered reference cannot be downloaded.
    """
    if isinstance(given, Statistics | Features):
        return given
    if isinstance(given, Generated):
        return ImageSet(given)
    if not isinstance(given, str | os.PathLike):
        if _is_object(given):
            return ImageSet(open_object(given, options))
        raise UsageError(
            f"expected a path, images, statistics or features, not {type(given).__name__}; "
            "generators go into gan_metrics.Generated(generator, n), features into "
            "gan_metrics.Features(names, array, spec)"
        )
    text = os.fspath(given)
    if text == "":
        raise InputError("a set is an empty string; give a folder of images or a statistics file")
    if text.startswith(_REGISTERED):
        name = text.removeprefix(_REGISTERED)
        return statistics_or_images(open_reference(name, progress=options.progress))
    if text.startswith(named_datasets.PREFIXES):
        return ImageSet(named_datasets.named_dataset(text), kind="a data set by name")
    if text.startswith("pipe:"):
        raise UsageError(
            f"{text}: programs are not executed; write its output to a file or a folder first"
        )
    if is_remote(text):
        return _open_remote(Location(text), options)
    found = probe(text)
    if found.container != "missing":
        return open_probed(found, options, single=single)
    return _open_part_or_pattern(text, options)


def open_source(path: str | os.PathLike[str], *, recursive: bool = True) -> ImageSource:
    """Open the images of a path, a URL, a name or a pattern.

    Args:
        path: A path, URL, name or pattern, as for :func:`open_set`.
        recursive: Whether to read subfolders.

    Raises:
        InputError: If it holds only features or statistics.
        GanMetricsError: As for :func:`open_set`.
    """
    found = open_set(path, Options(recursive=recursive, cache=False))
    if not isinstance(found, ImageSet):
        raise InputError(f"{found.description} holds features or statistics, not images")
    return found.source


def _open_part_or_pattern(text: str, options: Options) -> ImageSet:
    """Open a part of a file (``FILE.h5:NAME``, ``FILE.mp4?stride=10``), or a pattern's matches."""
    file, query, stride = text.rpartition("?stride=")
    if query and os.path.isfile(file) and stride.isdigit():
        return ImageSet(video.VideoSource(Path(file), int(stride)), kind="a video")
    file, colon, part = text.rpartition(":")
    if colon and os.path.isfile(file):
        suffix = Path(file).suffix.lower()
        if suffix == PARQUET:
            return ImageSet(ParquetSource(Path(file), part), kind="a column of a Parquet file")
        if suffix in hdf5.EXTENSIONS:
            source = hdf5.Hdf5Source(Path(file), part, **pixel_options(options))
            return ImageSet(source, kind="a part of an HDF5 file")
        raise InputError(f"{file}:{part}: only HDF5 and Parquet files have named parts")
    if _PATTERN.search(text):
        return ImageSet(_several(text, options.recursive), kind="the matches of a pattern")
    raise NotFoundError(
        f"{text} does not exist; give a folder or a batch of images, an archive, saved features, "
        "or a .npz of statistics"
    )


def _open_remote(place: Location, options: Options) -> AnySet:
    """Open a URL; files that may hold statistics or features are downloaded first."""
    if Path(place.name).suffix.lower() not in _MAY_BE_EMBEDDED:
        if _PATTERN.search(place.url):
            return ImageSet(_several(place.url, options.recursive), kind="the matches of a pattern")
        return ImageSet(_remote_images(place, options.recursive))
    copy = place.fetch()
    with place.named_in_errors(copy):
        found = open_set(copy.path, options)
    if isinstance(found, ImageSet):
        stored = {k: replace(one, description=place.url) for k, one in found.stored.items()}
        return replace(found, source=DownloadedSource(place, copy, found.source), stored=stored)
    if isinstance(found, Features):
        return replace(found, description=place.url)
    others = {k: replace(one, description=place.url) for k, one in found.others.items()}
    return replace(found, description=place.url, others=others)


def _remote_images(place: Location, recursive: bool) -> ImageSource:
    """Open the images at a URL: a folder, an archive that is read in place, or a copy."""
    if place.is_folder():
        return remote_folder(place, recursive=recursive)
    if not place.exists():
        raise NotFoundError(f"{place.url} does not exist")
    whole = Path(place.name).suffix.lower() in ARRAYS or not place.has_parts()
    kind = None if whole else archive_kind(place)
    if kind is None:
        return DownloadedSource(place, place.fetch())
    return ZipSource(place) if kind == "zip" else TarSource(place)


class DownloadedSource:
    """A temporary copy of a remote file that cannot be read in place.

    The copy is removed with this object.

    Args:
        place: The remote file.
        copy: The copy.
        source: The images in the copy; ``None``: opened on first use.
    """

    def __init__(self, place: Location, copy: Temporary, source: ImageSource | None = None) -> None:
        self._place, self._copy = place, copy
        with place.named_in_errors(copy):
            self._source = source or open_source(copy.path, recursive=False)
        self.description, self.names = place.url, self._source.names
        self.warnings = [
            (code, place.replace_path(copy, text)) for code, text in self._source.warnings
        ]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not self._copy.path.exists():  # on another machine
            self.__init__(self._place, self._place.fetch())  # type: ignore[misc]

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        return self._source.read(index)


def _several(pattern: str, recursive: bool) -> ImageSource:
    """Open all matches of a pattern: images, or folders and archives of images."""
    import braceexpand

    try:
        expanded = list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise UsageError(f"{pattern}: {error}") from None
    found: list[str] = []
    for one in expanded:
        known = Location(one)
        if not _WILD.search(one):
            found.append(one)
        else:
            found += known.matches() if known.remote else file_list.matches(one)
    if not found:
        raise NotFoundError(f"{pattern} matches nothing")
    images = [one for one in found if is_image(one)]
    if images and len(images) < len(found):
        other = next(one for one in found if one not in images)
        raise InputError(
            f"{pattern} matches images ({images[0]}) and other files ({other}); use a narrower "
            "pattern"
        )
    if not images:
        return ConcatSource(
            pattern, [(one, open_source(one, recursive=recursive)) for one in found]
        )
    if is_remote(pattern):
        return RemoteFiles(pattern, {one: Location(one) for one in images})
    return file_list.FilesSource(pattern, Path(), images)


def _is_object(given: object) -> bool:
    """Whether an object itself holds images: an array, a tensor, a dataset, an iterable."""
    return not isinstance(given, str | bytes | os.PathLike | Mapping) and (
        hasattr(given, "__iter__") or hasattr(given, "__getitem__")
    )


def open_object(given: Iterable[Any], options: Options) -> ImageSource:
    """Open the images of an object; see :mod:`gan_metrics.images.sources.python_objects`.

    Args:
        given: A tensor, array, list, dataset, loader or other iterable of images.
        options: Value range and layout of arrays.

    Raises:
        InputError: If it is empty, or yields something other than images.
    """
    how = pixel_options(options)
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        return ArrayImages(given, **how)
    if isinstance(given, list | tuple) and given and isinstance(given[0], str | os.PathLike):
        return _listed_files(given)
    loader = hasattr(given, "dataset") and hasattr(given, "batch_size")
    batches = isinstance(given, list | tuple) and len(given) > 0 and holds_batch(given[0])
    if loader or batches or not is_dataset(given):
        return IteratedSource(given, **how)
    return DatasetSource(cast("Sequence[Any]", given), **how)


def _listed_files(paths: Sequence[Any]) -> ImageSource:
    """Open a list of paths or URLs of image files, in its order."""
    texts = [os.fspath(one) if isinstance(one, str | os.PathLike) else one for one in paths]
    odd = next((one for one in texts if not isinstance(one, str)), None)
    if odd is not None:
        raise InputError(f"a list of paths holds {type(odd).__name__}; expected only paths")
    remote = [is_remote(text) for text in texts]
    description = f"a list of {len(texts)} files"
    if all(remote):
        return RemoteFiles(description, {text: Location(text) for text in texts})
    if any(remote):
        raise InputError("a list of paths mixes files and URLs; give them as two sets")
    folders = [text for text in texts if os.path.isdir(text)]
    if folders:
        raise InputError(f"a list of paths holds the folder {folders[0]}; expected image files")
    return file_list.FilesSource(description, Path(), texts)
