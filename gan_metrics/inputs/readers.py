"""Readers of kinds of files: the registry, to which plug-ins add."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_metrics.utils.registry import Registry

__all__ = ["READERS", "Probe", "Reader", "read_by_plugin"]


@dataclass(frozen=True)
class Probe:
    """What a reader decides by.

    Attributes:
        path: A file or folder that exists.
        suffix: Its extension in lower case, such as ``".tif"``.
    """

    path: Path
    suffix: str


@dataclass(frozen=True)
class Reader:
    """How one kind of file or folder is read.

    Attributes:
        name: The kind, as in a list of what is accepted, such as ``"a stack of slices (.stack)"``.
        claims: Takes a :class:`Probe` and returns whether the file is of this kind. It looks at
            the name and the first bytes only.
        open: Takes the :class:`Probe` and the options, and returns an
            :class:`~gan_metrics.images.sources.ImageSource`,
            :class:`~gan_metrics.stats.statistics.Statistics` or
            :class:`~gan_metrics.features.features.Features`.
    """

    name: str
    claims: Callable[[Any], bool]
    open: Callable[[Any, Any], Any]


READERS: Registry[Reader] = Registry("reader", {})
"""Kind of file to its reader."""


def read_by_plugin(
    given: str | os.PathLike[str], options: Any
) -> tuple[Any, tuple[tuple[str, str], ...]] | None:
    """What a plug-in's reader makes of a path, and the plug-in; ``None``: no reader claims it.

    Args:
        given: A path.
        options: As for :func:`~gan_metrics.inputs.sets.open_side`.
    """
    path = Path(given)
    if not path.exists():
        return None
    found = Probe(path, path.suffix.lower())
    for name, reader in READERS.items():
        origin = READERS.origin(name)
        if reader.claims(found) and origin is not None:
            return reader.open(found, options), ((origin.name, origin.version or ""),)
    return None
