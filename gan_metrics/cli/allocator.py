"""Settings of the C library's allocator: keep the memory that a network frees and soon reuses."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP = 1 << 30
_LEAST = 32 << 20  # some versions of glibc refuse a larger threshold for mmap


def keep_freed_memory() -> bool:
    """Let glibc reuse freed memory for large tensors instead of asking the kernel each time.

    Every layer of a network on a CPU allocates and frees some megabytes. By default glibc maps
    and unmaps each of them, and the kernel clears every page again: with ``efficientnet-lite0``
    this cost 10 s of system time in a run of 16 s (1000 images, two cores); without it the run
    took 10 s. The cost is up to 1 GiB that is not returned between layers, so only the command
    line does this; in a library it would be a side effect on the user's process.

    Returns:
        Whether the allocator accepted the setting; ``False`` if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mapped = any(mallopt(_M_MMAP_THRESHOLD, size) for size in (_KEEP, _LEAST))
    return mapped and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP))
