"""The errors that a user can meet, and the exit codes they lead to at a shell.

Every message says what was received, what was expected and how to mend it::

    GanMetricsError                1  a fault of ours
    ├── UsageError                 2  wrong usage, unknown name, missing extra or device
    ├── InputError                 3  the input is missing or cannot be read
    │   └── ImageError             3  one image of a set cannot be decoded
    ├── WeightsError               4  weights or statistics cannot be had or fail their hash
    ├── MismatchError              4  two sides that do not belong together
    ├── ComputationError           5  impossible on these data
    └── ResourceError              6  the disk or another resource gave out
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ComputationError",
    "GanMetricsError",
    "ImageError",
    "InputError",
    "MismatchError",
    "ResourceError",
    "UsageError",
    "WeightsError",
    "failed_device",
    "unknown_name",
]


class GanMetricsError(Exception):
    """The root of the tree; by itself, a fault of this package."""

    exit_code: int = 1


class UsageError(GanMetricsError):
    """An unknown name or option, or an extra or a device that is not there."""

    exit_code = 2


class InputError(GanMetricsError):
    """Files, arrays or statistics that are missing, unreadable or malformed."""

    exit_code = 3


class ImageError(InputError):
    """One image of a set cannot be decoded; ``on_error="skip"`` leaves it out and lists it."""


class WeightsError(GanMetricsError):
    """Weights or published statistics cannot be had, or fail their hash."""

    exit_code = 4


class MismatchError(GanMetricsError):
    """Two sides, or a file and a command, that do not belong together."""

    exit_code = 4


class ComputationError(GanMetricsError):
    """The computation is impossible on these data."""

    exit_code = 5


class ResourceError(GanMetricsError):
    """The disk, the memory or another resource gave out."""

    exit_code = 6


_DEVICE = ("CUDA error", "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "HIP error")
"""What torch's errors say where an accelerator, not a program, has failed."""


def failed_device(error: BaseException) -> ResourceError | None:
    """What to raise for an error that means that an accelerator was lost; ``None`` for others.

    After such an error nothing more can be computed there in this process.
    """
    lost = type(error).__name__ == "AcceleratorError" or any(sign in str(error) for sign in _DEVICE)
    if not lost or not isinstance(error, RuntimeError):
        return None
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return ResourceError(
        f"the device failed ({first}); what it was given last is not used, and whole chunks are in "
        "the cache. Run the same again, or with --device cpu if the device stays away"
    )


_LISTED = 40


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is in no registry, with the nearest names that are.

    Args:
        kind: What the name should have been, such as ``"backbone"``.
        name: What was received.
        known: The names there are.

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    there_are = f"There are: {', '.join(names[:_LISTED])}{more}."
    hint = f"Did you mean {' or '.join(close)}?" if close else there_are
    return UsageError(f"unknown {kind} {name!r}. {hint}")
