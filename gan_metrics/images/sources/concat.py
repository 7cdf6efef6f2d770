"""Several sources as one: shards, or the matches of a pattern."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from gan_metrics.images.sources.base import ImageSource

__all__ = ["ConcatSource"]


class ConcatSource:
    """Several sources in order.

    Args:
        description: Description of the whole.
        sources: Pairs of a name and a source; the name is the prefix of its images' names.

    Attributes:
        names: ``part/name``.
        warnings: Warnings of all parts.
    """

    def __init__(self, description: str, sources: Sequence[tuple[str, ImageSource]]) -> None:
        self.description = description
        self._parts = [part for _, part in sources]
        self._ends = list(itertools.accumulate(len(part.names) for part in self._parts))
        self.names = [f"{name}/{one}" for name, part in sources for one in part.names]
        self.warnings = [warning for part in self._parts for warning in part.warnings]

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        which = bisect.bisect_right(self._ends, index)
        part = self._parts[which]
        return part.read(index - self._ends[which] + len(part.names))
