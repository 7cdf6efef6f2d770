"""Inspect a set of images: sizes, formats, broken files, duplicates; without a network."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.files.packed_digests import UNREADABLE
from gan_metrics.files.probe import probe
from gan_metrics.images.encode import save_sheet
from gan_metrics.images.labels import folder_classes
from gan_metrics.images.metadata import MetadataSummary
from gan_metrics.images.pipeline import DecodedImage, load_image, work_ahead
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.readers import kind_of
from gan_metrics.inputs.sets import ImageSet, Input
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.result_warning import ResultWarning
from gan_metrics.utils.text import as_text, dumps, printable

__all__ = ["EmbeddedInspection", "Inspection", "inspect_images", "inspect_set"]

_AHEAD = 4
_SHOWN = 8
_SHEET = 64
_CELL = 96


@dataclass(frozen=True)
class Inspection:
    """Description of a set of images.

    Attributes:
        description: Location of the images.
        kind: Kind of the source, such as ``"a folder of images"``; empty for objects.
        names: Names of all images.
        tally: Counts of sizes, formats and unusual properties of decodable images.
        modes: Number of images for each of Pillow's modes.
        broken: Reasons by name, for images that cannot be decoded.
        duplicates: Groups of names of identical files.
        classes: Number of images in each first folder; ``None`` without folders.
        size: Total size of the encoded files, in bytes.
        digest: SHA-256 in hex of the SHA-256 of each file, in order, as stored in results.
        warnings: Pairs of a code and a message.
    """

    description: str
    kind: str
    names: Sequence[str]
    tally: MetadataSummary
    modes: Counter[str]
    broken: Mapping[str, str]
    duplicates: Sequence[Sequence[str]]
    classes: Counter[str] | None
    size: int
    digest: str
    warnings: Sequence[ResultWarning] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        sizes = self.tally.sizes.most_common()
        return {
            "source": self.description,
            "kind": self.kind,
            "count": len(self.names),
            "decoded": sum(self.modes.values()),
            "bytes": self.size,
            "sizes": [[width, height, n] for (width, height), n in sizes],
            "formats": dict(self.tally.formats.most_common()),
            "modes": dict(self.modes.most_common()),
            "broken": {as_text(name): why for name, why in self.broken.items()},
            "duplicates": [[as_text(name) for name in group] for group in self.duplicates],
            "classes": None if self.classes is None else dict(sorted(self.classes.items())),
            "digest": self.digest,
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
        }

    def dumps(self, indent: int | None = None) -> str:
        """Return the JSON text."""
        return dumps(self.to_json(), indent=indent)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return some lines of text."""
        sizes = [((f"{w}×{h}"), n) for (w, h), n in self.tally.sizes.most_common()]
        lines = [
            f"{printable(self.description)}: {len(self.names)} images, {self.size / 2**20:.1f} MiB",
            *([f"  kind        {self.kind}"] if self.kind else []),
            f"  sizes       {_counts(sizes)}",
            f"  formats     {_counts(self.tally.formats.most_common())}",
            f"  modes       {_counts(self.modes.most_common())}",
        ]
        if self.classes is not None:
            each = self.classes.most_common()
            lines.append(f"  classes     {len(each)}: {_counts(each)}")
        copies = sum(len(group) - 1 for group in self.duplicates)
        lines.append(f"  duplicates  {copies} files are identical to another file")
        lines += [f"              {_listed(group)}" for group in self.duplicates[:_SHOWN]]
        lines.append(f"  broken      {len(self.broken)}")
        for name, why in list(self.broken.items())[:_SHOWN]:
            lines.append(f"              {printable(name)}: {why}")
        lines.append(f"  digest      {self.digest}")
        return "\n".join(lines)


@dataclass(frozen=True)
class EmbeddedInspection:
    """Description of features or statistics, which do not hold images.

    Attributes:
        description: Location of the file.
        kind: Kind of the file, such as ``"saved features (.npz, …)"``.
        n: Number of images; ``None`` if not stated.
        dim: Number of dimensions.
        spec: The feature space.
        protocol: The protocol, or ``None``.
        warnings: Pairs of a code and a message.
    """

    description: str
    kind: str
    n: int | None
    dim: int
    spec: FeatureSpec
    protocol: str | None
    warnings: Sequence[ResultWarning] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "source": self.description,
            "kind": self.kind,
            "count": self.n,
            "dimensions": self.dim,
            "protocol": self.protocol,
            "feature_spec": self.spec.to_json(),
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
        }

    def to_text(self) -> str:
        """Return some lines of text."""
        n = "an unknown number of" if self.n is None else self.n
        lines = [
            f"{printable(self.description)}: {n} images, {self.dim} dimensions",
            f"  kind         {self.kind}",
            f"  features     {self.spec.backbone or 'not stated'} {self.spec.layer or ''}".rstrip(),
            f"  protocol     {self.protocol or 'not stated'}",
            f"  fingerprint  {self.spec.fingerprint()}",
        ]
        return "\n".join(lines)


def inspect_set(
    source: str,
    *,
    sheet: str | os.PathLike[str] | None = None,
    recursive: bool = True,
    progress: Progress | None = None,
) -> Inspection | EmbeddedInspection:
    """Inspect a set of any kind: images, features or statistics.

    Args:
        source: A path, a URL or a name.
        sheet: As for :func:`inspect_images`.
        recursive: As for :func:`inspect_images`.
        progress: As for :func:`inspect_images`.

    Raises:
        InputError: If it does not exist, or is of an unknown kind.
        UsageError: If a sheet is requested, but the set does not hold images.
        ResourceError: If the disk or the network fails.
    """
    given = open_set(source, Options(recursive=recursive, progress=progress), single=True)
    if isinstance(given, ImageSet):
        return _inspected(given, sheet, progress)
    if sheet is not None:
        raise UsageError(
            f"{given.description} does not contain images, so a contact sheet cannot be drawn"
        )
    embedded = isinstance(given, Features)
    kind = kind_of(probe(source)) or ("saved features" if embedded else "reference statistics")
    return EmbeddedInspection(
        description=given.description,
        kind=kind,
        n=len(given.names) if isinstance(given, Features) else given.moments.n,
        dim=given.array.shape[1] if isinstance(given, Features) else given.moments.dim,
        spec=given.spec,
        protocol=given.protocol,
        warnings=list(given.warnings),
    )


def inspect_images(
    source: Input,
    *,
    sheet: str | os.PathLike[str] | None = None,
    recursive: bool = True,
    progress: Progress | None = None,
) -> Inspection:
    """Inspect every image of a set.

    Args:
        source: A set of images.
        sheet: File for a picture of up to 64 images, evenly from the set.
        recursive: Whether to read subfolders.
        progress: Called with the number of finished images.

    Raises:
        InputError: If it does not exist, or does not hold images.
        ResourceError: If the disk or the network fails.
    """
    options = Options(recursive=recursive, progress=progress)
    given = open_set(source, options, single=True)
    if not isinstance(given, ImageSet):
        raise InputError(f"{given.description} holds statistics or features, not images")
    return _inspected(given, sheet, progress)


def _inspected(
    given: ImageSet, sheet: str | os.PathLike[str] | None, progress: Progress | None
) -> Inspection:
    """Inspect every image of a set; see :func:`inspect_images`."""
    images = given.source
    n = len(images.names)
    shown = set(np.linspace(0, n - 1, min(n, _SHEET)).round().astype(int)) if sheet else set()
    summary, modes = MetadataSummary(), Counter[str]()
    broken: dict[str, str] = {}
    cells: list[tuple[npt.NDArray[np.uint8], str]] = []
    same: dict[bytes, list[str]] = {}
    whole = hashlib.sha256()
    size = 0
    for one in _decoded(images, shown):
        name = images.names[one.index]
        whole.update(one.digest or UNREADABLE)
        size += one.size
        if one.digest is not None:
            same.setdefault(one.digest, []).append(name)
        if one.metadata is None:
            broken[name] = str(one.failure)
        else:
            summary.add(one.metadata)
            modes[one.metadata.mode] += 1
        if one.pixels is not None:
            cells.append((np.ascontiguousarray(one.pixels.transpose(1, 2, 0)), name))
        if progress:
            progress(images.description, one.index + 1, n)
    if sheet is not None and cells:
        rows = [("", cells[i : i + _SHOWN]) for i in range(0, len(cells), _SHOWN)]
        save_sheet(Path(sheet), rows, cell=_CELL)
    classes = folder_classes(images.names)
    notes = [(code, f"{images.description}: {text}") for code, text in summary.warnings(Decoding())]
    return Inspection(
        description=images.description,
        kind=given.kind,
        names=images.names,
        tally=summary,
        modes=modes,
        broken=broken,
        duplicates=[group for group in same.values() if len(group) > 1],
        classes=None if classes is None else Counter(classes),
        size=size,
        digest=whole.hexdigest(),
        warnings=[*images.warnings, *notes],
    )


def _decoded(images: ImageSource, shown: set[int]) -> Iterator[DecodedImage]:
    """Yield every image, in order, with pixels of the shown ones; threads decode ahead."""

    def load(index: int) -> DecodedImage:
        image = load_image(images, index, Decoding())
        return image if index in shown else replace(image, pixels=None)

    threads = os.cpu_count() or 1
    indices = range(len(images.names))
    return work_ahead(images, load, indices, ahead=lambda: _AHEAD * threads, threads=threads)


def _counts(pairs: Sequence[tuple[str, int]]) -> str:
    """Format names and their counts; the rest is summed."""
    found = [f"{printable(name)} ({n})" for name, n in pairs[:_SHOWN]]
    rest = sum(n for _, n in pairs[_SHOWN:])
    if rest:
        found.append(f"{len(pairs) - _SHOWN} others ({rest})")
    return ", ".join(found) or "none"


def _listed(names: Sequence[str]) -> str:
    found = [printable(name) for name in names[:_SHOWN]]
    return ", ".join(found) + (", …" if len(names) > _SHOWN else "")
