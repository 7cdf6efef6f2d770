"""Citations: the entries of ``citations.bib``, and their keys for protocols and networks.

The keys of a metric are in its entry, see :class:`~gan_metrics.metrics.entry.Metric`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from types import MappingProxyType

__all__ = ["bibtex", "entries"]


@functools.cache
def entries() -> Mapping[str, str]:
    """Return the BibTeX entries of ``citations.bib`` by key."""
    text = resources.files("gan_metrics.results").joinpath("citations.bib").read_text("utf-8")
    found = {}
    for entry in text.strip().split("\n\n"):
        key = re.match(r"@\w+\{([^,\s]+),", entry)
        if key is None:
            raise ValueError(f"citations.bib: expected @kind{{key, …, not {entry[:40]!r}")
        found[key[1]] = entry
    return MappingProxyType(found)


def bibtex(keys: Iterable[str]) -> str:
    """Return BibTeX entries in the given order, each once.

    Args:
        keys: Keys of ``citations.bib``, or whole entries, which begin with ``@``.
    """
    known = entries()
    return "\n\n".join(
        key.strip() if key.lstrip().startswith("@") else known[key] for key in dict.fromkeys(keys)
    )
