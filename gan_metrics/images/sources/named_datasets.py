"""Named data sets of torchvision and of Hugging Face's ``datasets``."""

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
"""Prefixes of named data sets."""


def named_dataset(text: str) -> ImageSource:
    """Open a named data set.

    Args:
        text: ``torchvision:CIFAR10?root=data&train=false``: a class of ``torchvision.datasets``
            with its arguments; or ``datasets:NAME?split=test&config=…&column=…&streaming=true&
            take=1000``: a data set from the Hugging Face hub.

    Raises:
        UsageError: For an unknown name or argument, or a missing extra.
        InputError: If it does not exist, or cannot be read.
    """
    kind, _, rest = text.partition(":")
    name, _, query = rest.partition("?")
    given = {key: _value(value) for key, value in parse_qsl(query, keep_blank_values=True)}
    if kind == "torchvision":
        return _of_torchvision(text, name, given)
    if any(part in ("", ".", "..") for part in name.split("/")) or name.count("/") > 1:
        raise UsageError(f"{text}: expected NAME or OWNER/NAME of a data set on the hub")
    return _of_hub(text, name, given)


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder was written by ``save_to_disk`` of ``datasets``."""
    return (path / "dataset_info.json").is_file() and (path / "state.json").is_file()


def saved_dataset(path: Path) -> ImageSource:
    """Open a folder written by ``save_to_disk``.

    Raises:
        InputError: If it is broken, or does not have exactly one column of images.
    """
    datasets = require("datasets", "formats")
    try:
        data = datasets.load_from_disk(str(path))
    except Exception as error:  # it may raise anything
        raise InputError(f"cannot read {path}: {type(error).__name__}: {error}") from None
    return DatasetSource(_images_of(str(path), data, None), str(path))


def _of_torchvision(text: str, name: str, given: dict[str, Any]) -> ImageSource:
    datasets = require("torchvision.datasets", "torchvision")
    if name not in datasets.__all__:
        raise UsageError(f"{text}: torchvision.datasets has no {name!r}")
    if given.get("download") and settings.offline():
        raise InputError(f"{text}: GAN_METRICS_OFFLINE forbids the download; unset it")
    try:
        data = getattr(datasets, name)(**given)
    except TypeError as error:
        raise UsageError(f"{text}: {error}; arguments follow ?, separated by &") from None
    except Exception as error:  # each class has its own exceptions
        raise InputError(
            f"{text}: {error} — root=FOLDER sets its folder, and download=true downloads it"
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
        raise InputError(f"{text} is on the hub, but GAN_METRICS_OFFLINE forbids connections")
    datasets = require("datasets", "formats")
    split = str(given.pop("split", "test"))
    try:
        data = datasets.load_dataset(name, given.pop("config", None), split=split, **given)
    except Exception as error:  # it may raise anything
        raise InputError(f"{text}: {type(error).__name__}: {error}") from None
    images = _images_of(text, data, column)
    if given.get("streaming"):
        return IteratedSource(images, text, take)
    return DatasetSource(images.select(range(min(take, len(images)))) if take else images, text)


def _images_of(where: str, data: Any, column: str | None) -> Any:
    """Return the data with only its column of images, as encoded bytes or paths, named image."""
    datasets = require("datasets", "formats")
    if isinstance(data, dict):
        raise InputError(f"{where} has the splits {', '.join(data)}; give one of their folders")
    found = [n for n, kind in (data.features or {}).items() if isinstance(kind, datasets.Image)]
    chosen = column or (found[0] if len(found) == 1 else None)
    if chosen not in (data.features or ()):
        raise InputError(
            f"{where} has the columns of images {', '.join(found) or 'none'}"
            + (f", but not {column!r}" if column else "; choose one with column=…")
        )
    data = data.select_columns([chosen])
    data = data if chosen == "image" else data.rename_column(chosen, "image")
    return data.cast_column("image", datasets.Image(decode=False))  # keep files encoded


def _value(text: str) -> Any:
    """Convert a value of a query to a number or truth value, if possible."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.lstrip("-").isdigit() else text
