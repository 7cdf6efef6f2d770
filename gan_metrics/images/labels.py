"""Classes of images: from folders, or from a file of labels."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_metrics.errors import InputError, UsageError, unreadable
from gan_metrics.images.sources.file_list import COLUMNS

__all__ = ["Labels", "LabelsLike", "classes_of", "folder_classes", "labels_of_both", "read_labels"]

Labels = Mapping[str, str]
"""Classes by image name."""

_OfOneSet = Labels | str | os.PathLike[str] | None

LabelsLike = _OfOneSet | Sequence[_OfOneSet]
"""Labels from a user: a mapping or a file for both sets, or a pair of these."""

_CLASS_HEADS = ("label", "class", "category", "target", "class_name", "label_name")


def folder_classes(names: Sequence[str]) -> list[str] | None:
    """Return the first folder of each name; ``None`` if an image is not in a folder."""
    found = [name.partition("/")[0] if "/" in name else "" for name in names]
    return None if "" in found else found


def read_labels(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the class of each image from a file.

    Args:
        path: A ``.csv`` (or ``.tsv``) with two columns, name and class, with or without a header;
            or a ``.json``: an object of names to classes, a list of pairs, or either of these under
            the key ``"labels"``, as in StyleGAN's ``dataset.json``.

    Raises:
        InputError: If it is unreadable, has another form, or gives an image two classes.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {path}: {error}") from None
    pairs = _of_json(path, text) if path.suffix.lower() == ".json" else _of_table(path, text)
    found: dict[str, str] = {}
    for name, label in pairs:
        key, label = str(name).replace("\\", "/").removeprefix("./"), str(label)
        if found.setdefault(key, label) != label:
            raise InputError(f"{path} gives {key} two classes, {found[key]} and {label}")
    if not found:
        raise InputError(f"{path} contains no labels; expected names and classes")
    return found


def labels_of_both(given: LabelsLike) -> tuple[Labels | None, Labels | None]:
    """Return the labels of the real and of the generated images.

    Args:
        given: A mapping of names to classes, or a file for :func:`read_labels`, for both sets;
            ``None``: class folders; or a pair of these.

    Raises:
        InputError: If a file cannot be read.
        UsageError: If they have another type or number.
    """
    pair = given if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        raise UsageError(f"labels: expected one for both sets or two, not {len(pair)}")
    real, fake = (read_labels(one) if isinstance(one, str | os.PathLike) else one for one in pair)
    for one in (real, fake):
        if not isinstance(one, Mapping | None):
            raise UsageError(f"labels must be a file or a mapping of names to classes, not {one!r}")
    return real, fake


def classes_of(names: Sequence[str], labels: Labels | None, where: str) -> list[str]:
    """Return the class of each image.

    Args:
        names: Names of the images.
        labels: Classes by name; names are paths below the folder, or file names if these are
            unique. ``None``: the first folder of each name.
        where: Name of the set for messages.

    Raises:
        InputError: If an image has no label, or is not in a folder.
    """
    if labels is None:
        found = folder_classes(names)
        if found is None:
            lost = next(name for name in names if not name.partition("/")[0] or "/" not in name)
            raise InputError(
                f"{where}: {lost} is not in a class folder; use one folder for each class, or "
                "--labels FILE"
            )
        return found
    known = {str(name): str(label) for name, label in labels.items()}
    bare = Counter(os.path.basename(name) for name in known)
    short = {os.path.basename(n): label for n, label in known.items()}
    twice = Counter(os.path.basename(name) for name in names)
    of_images = []
    for name in names:
        base = os.path.basename(name)
        if name in known:
            of_images.append(known[name])
        elif bare[base] == 1 and twice[base] == 1:
            of_images.append(short[base])
        else:
            missing = sum(n not in known for n in names)
            why = "its file name is not unique" if bare[base] > 1 else "first"
            raise InputError(
                f"{where}: {missing} of {len(names)} images have no label for their path, {why}: "
                f"{name}"
            )
    return of_images


def _of_table(path: Path, text: str) -> Iterable[tuple[str, str]]:
    rows = [row for row in csv.reader(text.splitlines(), _dialect(text)) if any(row)]
    if not rows:
        raise InputError(f"{path} is empty")
    names, classes = 0, 1
    head = [cell.strip().lower() for cell in rows[0]]
    if any(cell in _CLASS_HEADS for cell in head) and any(cell in COLUMNS for cell in head):
        names = next(i for i, cell in enumerate(head) if cell in COLUMNS)
        classes = next(i for i, cell in enumerate(head) if cell in _CLASS_HEADS)
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) <= max(names, classes):
            raise InputError(
                f"{path}, row {number}: expected a name and a class, for example cat/1.png,cat; "
                f"received {','.join(row)!r}"
            )
        yield row[names].strip(), row[classes].strip()


def _dialect(text: str) -> type[csv.Dialect]:
    first = text.partition("\n")[0]
    return csv.excel_tab if "\t" in first else csv.excel


def _of_json(path: Path, text: str) -> Iterable[tuple[str, str]]:
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error})") from None
    if isinstance(document, dict) and isinstance(document.get("labels"), dict | list):
        document = document["labels"]
    pairs = list(document.items()) if isinstance(document, dict) else document
    plain = isinstance(pairs, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], str | int)
        for pair in pairs
    )
    if not plain:
        raise InputError(f"{path}: expected an object of names to classes, or a list of such pairs")
    return [(str(name), str(label)) for name, label in pairs]
