"""Which family of sources a path, a URL, a name or an object belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_metrics.errors import GanMetricsError, InputError, NotFoundError, UsageError
from gan_metrics.files.temporary import Temporary
from gan_metrics.images.sources import file_list, hdf5, lmdb, named_datasets, video
from gan_metrics.images.sources.archive import TarSource, ZipSource, archive_kind
from gan_metrics.images.sources.array_file import EXTENSIONS as ARRAYS
from gan_metrics.images.sources.array_file import ArraySource
from gan_metrics.images.sources.base import ImageSource
from gan_metrics.images.sources.concat import SeveralSources
from gan_metrics.images.sources.folder import FolderSource
from gan_metrics.images.sources.location import Place, is_remote
from gan_metrics.images.sources.parquet import ParquetSource
from gan_metrics.images.sources.python_objects import DatasetSource, IteratedSource, is_dataset
from gan_metrics.images.sources.remote_folder import RemoteFiles, remote_folder
from gan_metrics.images.sources.single_file import is_image

__all__ = ["Copied", "is_object", "open_object", "open_source"]


def open_source(path: str | os.PathLike[str], *, recursive: bool = True) -> ImageSource:
    """Open a set of images by looking at what lies at ``path``.

    Args:
        path: A folder; a zip or tar archive, also compressed; several of these, or of images, by a
            pattern (``*``, ``**``, ``{000..099}``); a list of files (``.txt``, ``.csv``); a batch
            (``.npy``, ``.npz``), a dataset of an HDF5 file (``FILE.h5:NAME``), an LMDB database, a
            Parquet file with a column of images (``FILE.parquet:COLUMN``), a folder that
            ``datasets`` saved; a video (``FILE.mp4?stride=10``); ``torchvision:NAME?…`` or
            ``datasets:NAME?…``; or the URL of any of these files or of a folder.
        recursive: Whether to go into the folders below it.

    Raises:
        NotFoundError: When nothing is there.
        InputError: When it holds no images.
        UsageError: For an unknown kind of name or URL, or a missing extra.
        ResourceError: When the disk is full or the network gives out.
    """
    text = os.fspath(path)
    if text.startswith(named_datasets.PREFIXES):
        return named_datasets.named_dataset(text)
    if text.startswith("pipe:"):
        raise UsageError(f"{text}: programs are not run; let it write a file or a folder")
    place = Place(text)
    if place.remote:
        return _several(text, recursive) if _PATTERN.search(text) else _remote(place, recursive)
    try:
        exists = place.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{text}: {getattr(error, 'strerror', None) or error}") from None
    if exists:
        return _local(Path(text), recursive)
    file, query, stride = text.rpartition("?stride=")
    if query and os.path.isfile(file) and stride.isdigit():
        return video.VideoSource(Path(file), int(stride))
    file, colon, part = text.rpartition(":")
    if colon and os.path.isfile(file):
        return _part(Path(file), part)
    if _PATTERN.search(text):
        return _several(text, recursive)
    raise NotFoundError(
        f"{text} does not exist; give a folder or a batch of images, an archive, saved features, "
        "or a .npz of statistics"
    )


_PATTERN = re.compile(r"[*?\[{]")


def _local(path: Path, recursive: bool) -> ImageSource:
    """What lies in a file or folder of this machine."""
    try:
        if lmdb.is_lmdb(path):
            return lmdb.LmdbSource(path)
        if path.is_dir():
            if named_datasets.is_saved_dataset(path):
                return named_datasets.saved_dataset(path)
            return FolderSource(path, recursive=recursive)
        regular = path.is_file()
    except GanMetricsError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    suffix = path.suffix.lower()
    if not regular and path.exists():
        raise InputError(f"{path} is neither a folder nor a regular file")
    if suffix in ARRAYS:  # what is no batch, its error explains
        batch = ArraySource(path)
        batch.prepare()
        return batch
    if suffix == _PARQUET or suffix in hdf5.EXTENSIONS:
        return _part(path, None)
    if suffix in file_list.EXTENSIONS:
        return file_list.list_files(path)
    if suffix in video.EXTENSIONS:
        return video.VideoSource(path)
    if (found := _archive(Place(str(path)))) is not None:
        return found
    raise InputError(
        f"{path} is neither a folder, an archive or a batch of images (.npz, .npy, .h5, .parquet, "
        ".mdb), nor a list of files (.txt, .csv), nor a video, nor statistics (.npz), nor saved "
        "features (.npz, .npy, .safetensors, .parquet); give one of these"
    )


_PARQUET = ".parquet"


def _archive(place: Place) -> ImageSource | None:
    kind = archive_kind(place)
    if kind is None:
        return None
    return ZipSource(place) if kind == "zip" else TarSource(place)


def _part(path: Path, part: str | None) -> ImageSource:
    """A dataset or a column in a file."""
    if path.suffix.lower() == _PARQUET:
        return ParquetSource(path, part)
    if path.suffix.lower() in hdf5.EXTENSIONS:
        return hdf5.Hdf5Source(path, part)
    raise InputError(f"{path}:{part}: only HDF5 and Parquet files have parts that are named so")


def _remote(place: Place, recursive: bool) -> ImageSource:
    """What lies at a URL."""
    if place.is_folder():
        return remote_folder(place, recursive=recursive)
    if not place.exists():
        raise NotFoundError(f"{place.url} does not exist")
    whole = Path(place.name).suffix.lower() in ARRAYS or not place.has_parts()
    return (None if whole else _archive(place)) or Copied(place, place.fetch())


class Copied:
    """A remote file that cannot be read in place, as a copy that goes with this object.

    Args:
        place: Where it is.
        copy: The copy.
        source: The images in the copy; ``None``: to be opened.
    """

    def __init__(self, place: Place, copy: Temporary, source: ImageSource | None = None) -> None:
        self._place, self._copy = place, copy
        with place.speaks_for(copy):
            self._source = source or _local(copy.path, recursive=False)
        self.description, self.names = place.url, self._source.names
        self.warnings = [(code, place.as_of(copy, told)) for code, told in self._source.warnings]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not self._copy.path.exists():  # on another machine
            self.__init__(self._place, self._place.fetch())  # type: ignore[misc]

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        return self._source.read(index)


def _several(pattern: str, recursive: bool) -> ImageSource:
    """All that a pattern names: images, or folders and archives of them."""
    import braceexpand

    try:
        expanded = list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise UsageError(f"{pattern}: {error}") from None
    found: list[str] = []
    for one in expanded:
        known = Place(one)
        if not _WILD.search(one):
            found.append(one)
        else:
            found += known.matches() if known.remote else file_list.matches(one)
    if not found:
        raise NotFoundError(f"{pattern} matches nothing")
    images = [one for one in found if is_image(one)]
    if images and len(images) < len(found):
        other = next(one for one in found if one not in images)
        raise InputError(f"{pattern} names images ({images[0]}) and other things ({other})")
    if not images:
        return SeveralSources(
            pattern, [(one, open_source(one, recursive=recursive)) for one in found]
        )
    if is_remote(pattern):
        return RemoteFiles(pattern, {one: Place(one) for one in images})
    return file_list.FilesSource(pattern, Path(), images)


_WILD = re.compile(r"[*?\[]")


def is_object(given: Any) -> bool:
    """Whether something holds images by itself: an array, a tensor, a dataset, an iterable."""
    return not isinstance(given, str | bytes | os.PathLike | Mapping) and (
        hasattr(given, "__iter__") or hasattr(given, "__getitem__")
    )


def open_object(given: Any) -> ImageSource:
    """The images of an object; see :mod:`gan_metrics.images.sources.python_objects`.

    Raises:
        InputError: When it is empty, or gives something else than images.
    """
    loader = hasattr(given, "dataset") and hasattr(given, "batch_size")
    return IteratedSource(given) if loader or not is_dataset(given) else DatasetSource(given)
