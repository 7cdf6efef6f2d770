"""Several sources as one: shards, and whatever a pattern names."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from gan_metrics.images.sources.base import ImageSource

__all__ = ["ConcatSource"]


class ConcatSource:
    """Sources one after the other.

    Args:
        description: What they are together.
        sources: Name of a part to the part; a part's name stands before those of its images.

    Attributes:
        names: ``part/name``.
        warnings: Those of all parts.
    """

    def __init__(self, description: str, sources: Sequence[tuple[str, ImageSource]]) -> None:
        self.description = description
        self._parts = [part for _, part in sources]
        self._ends = list(itertools.accumulate(len(part.names) for part in self._parts))
        self.names = [f"{name}/{one}" for name, part in sources for one in part.names]
        self.warnings = [warning for part in self._parts for warning in part.warnings]

    def read(self, index: int) -> bytes:
        """The bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        which = bisect.bisect_right(self._ends, index)
        part = self._parts[which]
        return part.read(index - self._ends[which] + len(part.names))
