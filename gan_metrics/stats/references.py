"""Registered references: published statistics by name, downloaded once, verified and pinned.

``reference_stats/index.json`` states their URLs and feature spaces. Files of moments rarely state
them; fields that only the index states are *declared*.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gan_metrics import settings
from gan_metrics.errors import (
    GanMetricsError,
    InputError,
    MismatchError,
    WeightsError,
)
from gan_metrics.files.download import DownloadError, fetch, pin, pinned, sha256_of
from gan_metrics.files.probe import probe
from gan_metrics.protocols.spec import POOLS, FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.stats.files import Reference, read_reference
from gan_metrics.stats.formats import FORMATS
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.registry import Registry

__all__ = [
    "REFERENCES",
    "ReferenceEntry",
    "find_reference",
    "index_path",
    "open_reference",
    "read_index",
]

_GIVES = {name: kind for row in FORMATS.values() for name, kind in row.holds.items()}
"""Possible content of a file, and its use: a kind of features, images, or a detail."""


@dataclass(frozen=True)
class ReferenceEntry:
    """One registered reference in the index.

    Attributes:
        name: The name in ``ref:NAME``.
        urls: Where the file is published, in the order of attempts; none for a file that is part
            of the package.
        protocol: The protocol of the statistics; a key of
            :data:`~gan_metrics.protocols.table.PROTOCOLS`.
        backbone: The network of the main statistics.
        layer: The layer of the features.
        pool: The pooling of the layer's output.
        dim: Number of dimensions of the main statistics.
        count: Number of images behind the moments, or ``None``.
        split: The part of the data set.
        resolution: Width and height of the images in pixels, or ``None``.
        keys: Names of the arrays in the file.
        sha256: SHA-256 of the file in hex, or ``None``.
        source: The publisher's page.
        terms: The terms of use, in short.
    """

    name: str
    urls: tuple[str, ...]
    protocol: str
    backbone: str
    layer: str
    pool: str
    dim: int
    count: int | None
    split: str
    resolution: tuple[int, int] | None
    keys: tuple[str, ...]
    sha256: str | None
    source: str
    terms: str

    @property
    def filename(self) -> str:
        """Name of the local file: the reference's name and its extension."""
        return self.name + (Path(urlsplit(self.urls[0]).path).suffix if self.urls else ".npz")

    @property
    def spec(self) -> FeatureSpec:
        """The feature space of the main statistics; weights and precision are not stated."""
        template = PROTOCOLS[self.protocol].template("fid", self.backbone)
        return replace(
            template, backbone=self.backbone, layer=self.layer, pool=self.pool, departures=()
        )


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _number(value: object) -> bool:
    return type(value) is int and value >= 1


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _or_null(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def _url(value: object) -> bool:
    return isinstance(value, str) and re.match(r"https?://[^/\s]+/\S+", value) is not None


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "urls": (_list_of(_url), "a list of http and https URLs"),
    "protocol": (lambda v: _text(v) and v in PROTOCOLS, "the name of a protocol"),
    "backbone": (_text, "the name of a backbone"),
    "layer": (_text, "the name of a layer"),
    "pool": (lambda v: v in POOLS, f"one of {', '.join(POOLS)}"),
    "dim": (_number, "a whole number of at least 1"),
    "count": (_or_null(_number), "a whole number of at least 1, or null"),
    "split": (_text, "text"),
    "resolution": (
        _or_null(lambda v: _list_of(_number)(v) and len(v) == 2),
        "a width and a height in pixels, or null",
    ),
    "keys": (
        lambda v: _list_of(lambda k: _text(k) and k in _GIVES)(v) and bool(v),
        f"names out of {', '.join(_GIVES)}",
    ),
    "sha256": (
        _or_null(lambda v: _text(v) and re.fullmatch("[0-9a-f]{64}", v) is not None),
        "64 hex digits in lower case, or null",
    ),
    "source": (_url, "a URL"),
    "terms": (_text, "text"),
}
"""Fields of an entry: a check of the value, and a description of valid values."""

_NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")


def index_path() -> Path:
    """Return the path of the index: inside the package, or next to it in a source checkout.

    The files that are part of the package are in the same folder.

    Raises:
        GanMetricsError: If it is in neither place.
    """
    package = Path(__file__).parents[1]
    places = [folder / "reference_stats" / "index.json" for folder in (package, package.parent)]
    for place in places:
        if os.path.isfile(place):
            return place
    raise GanMetricsError(
        f"the index of references is missing, neither {places[0]} nor {places[1]} exists; "
        "reinstall gan-metrics"
    )


def read_index() -> dict[str, ReferenceEntry]:
    """Return the entries of the index, sorted by name.

    Raises:
        GanMetricsError: If it is missing or broken.
    """
    path = index_path()
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(index, dict):
            raise ValueError(f"it holds a {type(index).__name__}, not an object")
        return {name: _entry(name, index[name]) for name in sorted(index)}
    except (OSError, ValueError) as error:
        raise GanMetricsError(
            f"the index of references {path} is broken: {error}; reinstall gan-metrics"
        ) from None


def _entry(name: str, data: object) -> ReferenceEntry:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid name: lower-case letters, digits and single hyphens"
        )
    if not isinstance(data, dict):
        raise ValueError(f"{name} is a {type(data).__name__}, not an object")
    if missing := sorted(_FIELDS.keys() - data.keys()):
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    if unknown := sorted(data.keys() - _FIELDS.keys()):
        raise ValueError(f"{name} has the unknown fields {', '.join(unknown)}")
    for field, (holds, expected) in _FIELDS.items():
        if not holds(data[field]):
            raise ValueError(f"{field} of {name} is {data[field]!r}; expected {expected}")
    frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return ReferenceEntry(name, **frozen)


REFERENCES: Registry[ReferenceEntry] = Registry("reference", read_index)
"""Entries by name, sorted; read from the index at the first look-up."""


def find_reference(name: str, *, progress: Progress | None = None) -> Path:
    """Return the file of a registered reference, and download it if necessary.

    The file is searched next to the index, then in the references folder, where it can also be
    placed by hand. Its SHA-256 must match the index; if the index does not state one,
    :func:`open_reference` pins the file's own hash at first use.

    Args:
        name: The name in ``ref:NAME``.
        progress: Called with the number of downloaded bytes.

    Raises:
        UsageError: If the reference does not exist.
        WeightsError: If the file is unavailable, has the wrong format, or another hash.
        ResourceError: If it cannot be written.
    """
    entry = REFERENCES.find(name)
    target = settings.references_dir() / entry.filename
    looked = [index_path().parent / entry.filename, target]
    for place in looked:
        if os.path.isfile(place):
            return _verified(entry, place)
    failures: list[str] = []
    for url in entry.urls:
        try:
            fetch(url, target, entry.sha256 or "", progress=progress)
        except DownloadError as error:
            failures.append(str(error))
            continue
        if not (fault := _fault(target)):
            return _verified(entry, target)
        target.unlink(missing_ok=True)
        failures.append(f"{url}: {fault}; it was deleted")
    raise WeightsError(_unavailable(entry, looked, failures))


def open_reference(name: str, *, progress: Progress | None = None) -> Reference:
    """Open a registered reference, with everything that the index states.

    Facts in the file (its header, its number of images) come first and must agree with the index.
    Fields of the feature space that only the index states are *declared*.

    Args:
        name: The name in ``ref:NAME``.
        progress: Called with the number of downloaded bytes.

    Raises:
        UsageError, ResourceError: As for :func:`find_reference`.
        WeightsError: As for :func:`find_reference`, and if the file is broken, or its content
            differs from the index.
        MismatchError: If the file and the index state different facts.
    """
    entry = REFERENCES.find(name)
    path = find_reference(name, progress=progress)
    try:
        found = read_reference(path)
    except InputError as error:
        raise WeightsError(f"ref:{name}: {error}.\n{_fetch_again(entry, path)}") from None
    holds = {*found.statistics.kinds, *(["images"] if found.images else [])}
    wanted = {_GIVES[key] for key in entry.keys} - {None}
    if holds != wanted:
        raise WeightsError(
            f"ref:{name}: {path} contains {_listed(holds)}; the index states {_listed(wanted)}.\n"
            + _fetch_again(entry, path)
        )
    kinds = found.statistics.kinds
    main, *others = (_described(entry, path, kind, one) for kind, one in kinds.items())
    _pin(entry, path)  # only after all checks, so that a wrong file is not pinned
    return found._replace(statistics=replace(main, others={one.kind: one for one in others}))


def _verified(entry: ReferenceEntry, path: Path) -> Path:
    found = sha256_of(path)
    if entry.sha256 is not None:
        if found != entry.sha256:
            raise WeightsError(
                f"{path} is damaged or not the file of ref:{entry.name}: its sha256 is {found}, "
                f"expected {entry.sha256}.\n{_fetch_again(entry, path)}"
            )
        return path
    if fault := _fault(path):
        raise WeightsError(f"{path}, as ref:{entry.name}: {fault}.\n{_fetch_again(entry, path)}")
    if pinned(_artifact(entry)) is not None:
        _pin(entry, path)
    return path


def _artifact(entry: ReferenceEntry) -> str:
    return f"reference/{entry.name}"


def _pin(entry: ReferenceEntry, path: Path) -> None:
    """Pin the hash of a file whose hash the index does not state."""
    if entry.sha256 is None:
        try:
            pin(_artifact(entry), sha256_of(path))
        except WeightsError as error:
            raise WeightsError(f"{error}.\nThe file is {path}") from None


def _fault(path: Path) -> str:
    """Return why a file has the wrong format, such as a login page; empty if it is right."""
    found = probe(path)
    if path.suffix == ".pkl" and found.container != "pickle":
        return f"{path} is not a pickle"
    return found.error or ""


def _described(entry: ReferenceEntry, path: Path, kind: str, statistics: Statistics) -> Statistics:
    """Return statistics of a file, completed by what the index states."""
    dim, own = statistics.moments.dim, statistics.spec
    if (kind == "features" and dim != entry.dim) or (kind != "features" and not own.backbone):
        expected = entry.dim if kind == "features" else "those of that kind"
        raise WeightsError(
            f"ref:{entry.name}: the {kind} in {path} have {dim} dimensions; expected {expected}.\n"
            + _fetch_again(entry, path)
        )
    spec = entry.spec if kind == "features" else own
    facts = {
        "n": (statistics.moments.n, entry.count),
        "protocol": (statistics.protocol, entry.protocol),
        "resolution": (statistics.resolution, entry.resolution),
        **{name: (getattr(own, name), getattr(spec, name)) for name in own.differences(spec)},
    }
    wrong = [f"  {k}: {a} — {b}" for k, (a, b) in facts.items() if None not in (a, b) and a != b]
    if wrong:
        head = f"{path} and the index of references disagree on ref:{entry.name}:"
        raise MismatchError("\n".join([head, *wrong, _fetch_again(entry, path)]))
    filled = own.filled_from(spec)
    given = {*own.unstated()} - {*filled.unstated()}
    names = [f.name for f in fields(FeatureSpec)]
    return replace(
        statistics,
        moments=replace(statistics.moments, n=statistics.moments.n or entry.count),
        spec=filled,
        protocol=entry.protocol,
        description=f"ref:{entry.name}",
        declared=tuple(n for n in names if n in given or n in statistics.declared),
        resolution=statistics.resolution or entry.resolution,
    )


def _listed(names: set[Any]) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"


def _fetch_again(entry: ReferenceEntry, path: Path) -> str:
    if not entry.urls:
        return "It is part of the package: reinstall gan-metrics"
    return f"Delete it to download it again from {' or '.join(entry.urls)}"


def _unavailable(entry: ReferenceEntry, looked: list[Path], failures: list[str]) -> str:
    lines = [f"the reference {entry.name} is unavailable. Searched:"]
    lines += [f"  {place}" for place in looked]
    if not entry.urls:
        return "\n".join([*lines, "It is part of the package: reinstall gan-metrics"])
    lines += ["Tried to download:", *(f"  {failure}" for failure in failures)]
    lines += ["On a machine with network access, download this file:"]
    lines += [f"  {'or ' if i else ''}{url}" for i, url in enumerate(entry.urls)]
    lines += ["and save it under this path:", f"  {looked[-1]}"]
    if entry.sha256:
        lines.append(f"Its sha256 must be {entry.sha256}")
    return "\n".join(lines)
