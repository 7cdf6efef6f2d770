"""Data sets by name: torchvision's, and those of Hugging Face's library."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from gan_metrics import settings
from gan_metrics.errors import InputError, UsageError
from gan_metrics.images.sources.base import ImageSource
from gan_metrics.images.sources.python_objects import DatasetSource, IteratedSource
from gan_metrics.utils.optional import require
from gan_metrics.utils.validation import whole_number

__all__ = ["PREFIXES", "is_saved_dataset", "named_dataset", "saved_dataset"]

PREFIXES = ("torchvision:", "datasets:")
"""Before the names of data sets."""


def named_dataset(text: str) -> ImageSource:
    """A data set by its name.

    Args:
        text: ``torchvision:CIFAR10?root=data&train=false``: a class of ``torchvision.datasets``
            and its arguments; or ``datasets:NAME?split=test&config=…&column=…&streaming=true&
            take=1000``: one of the Hugging Face hub.

    Raises:
        UsageError: For an unknown name or argument, or a missing extra.
        InputError: When it is not there, or cannot be read.
    """
    kind, _, rest = text.partition(":")
    name, _, query = rest.partition("?")
    given = {key: _value(value) for key, value in parse_qsl(query, keep_blank_values=True)}
    if kind == "torchvision":
        return _of_torchvision(text, name, given)
    if any(part in ("", ".", "..") for part in name.split("/")) or name.count("/") > 1:
        raise UsageError(f"{text}: expected NAME or OWNER/NAME of a data set of the hub")
    return _of_hub(text, name, given)


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is what ``save_to_disk`` of Hugging Face's library wrote."""
    return (path / "dataset_info.json").is_file() and (path / "state.json").is_file()


def saved_dataset(path: Path) -> ImageSource:
    """What ``save_to_disk`` wrote.

    Raises:
        InputError: When it is broken, or has no column of images or several.
    """
    datasets = require("datasets", "formats")
    try:
        data = datasets.load_from_disk(str(path))
    except Exception as error:  # of many kinds
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}") from None
    return DatasetSource(_images_of(str(path), data, None), str(path))


def _of_torchvision(text: str, name: str, given: dict[str, Any]) -> ImageSource:
    datasets = require("torchvision.datasets", "torchvision")
    if name not in datasets.__all__:
        raise UsageError(f"{text}: torchvision.datasets has no {name!r}")
    if given.get("download") and settings.offline():
        raise InputError(f"{text}: GAN_METRICS_OFFLINE forbids the download")
    try:
        data = getattr(datasets, name)(**given)
    except TypeError as error:
        raise UsageError(f"{text}: {error}; arguments stand after ?, joined by &") from None
    except Exception as error:  # each has its own
        raise InputError(
            f"{text}: {error} — root=FOLDER says where it lies, and download=true fetches it"
        ) from None
    return DatasetSource(data, text)


def _of_hub(text: str, name: str, given: dict[str, Any]) -> ImageSource:
    known = {"column", "config", "data_dir", "data_files", "revision", "split", "streaming", "take"}
    if idle := sorted(set(given) - known):
        raise UsageError(f"{text}: unknown {', '.join(idle)}; expected {', '.join(sorted(known))}")
    column, take = given.pop("column", None), given.pop("take", None)
    if take is not None:
        take = whole_number(f"{text}: take", take, least=1)
    local = name in ("imagefolder", "parquet", "webdataset", "arrow") and (
        "data_files" in given or "data_dir" in given
    )
    if settings.offline() and not local:
        raise InputError(f"{text} is on the hub, and GAN_METRICS_OFFLINE forbids connections")
    datasets = require("datasets", "formats")
    split = str(given.pop("split", "test"))
    try:
        data = datasets.load_dataset(name, given.pop("config", None), split=split, **given)
    except Exception as error:  # of many kinds
        raise InputError(f"{text}: {type(error).__name__}: {error}") from None
    images = _images_of(text, data, column)
    if given.get("streaming"):
        return IteratedSource(images, text, take)
    return DatasetSource(images.select(range(min(take, len(images)))) if take else images, text)


def _images_of(where: str, data: Any, column: str | None) -> Any:
    """The data with its column of images alone, as the files' bytes or paths, under one name."""
    datasets = require("datasets", "formats")
    if isinstance(data, dict):
        raise InputError(f"{where} has the splits {', '.join(data)}; name one of their folders")
    found = [n for n, kind in (data.features or {}).items() if isinstance(kind, datasets.Image)]
    chosen = column or (found[0] if len(found) == 1 else None)
    if chosen not in (data.features or ()):
        raise InputError(
            f"{where} has the columns of images {', '.join(found) or 'none'}"
            + (f", and not {column!r}" if column else "; name one with column=…")
        )
    data = data.select_columns([chosen])
    data = data if chosen == "image" else data.rename_column(chosen, "image")
    return data.cast_column("image", datasets.Image(decode=False))  # to be decoded as all others


def _value(text: str) -> Any:
    """A word of a query as a number or a truth value, if it is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.lstrip("-").isdigit() else text
