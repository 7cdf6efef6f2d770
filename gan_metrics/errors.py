"""The exceptions of this package, their built-in base classes, and the exit codes at a shell.

Every message says what was received, what was expected and how to fix it::

    GanMetricsError                                     1  a bug in gan-metrics
    ├── UsageError(ValueError)                          2  unknown name or option, missing extra
    ├── InputError(ValueError)                          3  unreadable or malformed input
    │   ├── NotFoundError(FileNotFoundError)            3  a path or URL that does not exist
    │   └── ImageError                                  3  one image of a set cannot be decoded
    ├── WeightsError(RuntimeError)                      4  weights are missing or fail their hash
    ├── MismatchError(ValueError)                       4  inputs that do not belong together
    ├── ComputationError(ValueError)                    5  impossible on these data
    └── ResourceError(RuntimeError)                     6  the disk, memory or network failed

So ``except ValueError``, ``except FileNotFoundError`` and ``except RuntimeError`` catch what their
names suggest, and ``except GanMetricsError`` catches all of them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

__all__ = [
    "ComputationError",
    "GanMetricsError",
    "ImageError",
    "InputError",
    "MismatchError",
    "NotFoundError",
    "ResourceError",
    "UsageError",
    "WeightsError",
    "failed_device",
    "unknown_name",
    "unreadable",
]


class GanMetricsError(Exception):
    """The root of the tree; by itself, a fault of this package."""

    exit_code: int = 1


class UsageError(GanMetricsError, ValueError):
    """An unknown name or option, or an extra or a device that is not there."""

    exit_code = 2


class InputError(GanMetricsError, ValueError):
    """Files, arrays or statistics that are missing, unreadable or malformed."""

    exit_code = 3


class NotFoundError(InputError, FileNotFoundError):
    """A path or URL does not exist. The message is the only argument; ``errno`` is ``None``."""


class ImageError(InputError):
    """One image of a set cannot be decoded; ``on_error="skip"`` leaves it out and lists it."""


class WeightsError(GanMetricsError, RuntimeError):
    """Weights or published statistics cannot be had, or fail their hash."""

    exit_code = 4


class MismatchError(GanMetricsError, ValueError):
    """Two sides, or a file and a command, that do not belong together."""

    exit_code = 4


class ComputationError(GanMetricsError, ValueError):
    """The computation is impossible on these data."""

    exit_code = 5


class ResourceError(GanMetricsError, RuntimeError):
    """The disk, the memory or another resource gave out."""

    exit_code = 6


_DEVICE = ("CUDA error", "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "HIP error")
"""What torch's errors say where an accelerator, not a program, has failed."""


def failed_device(error: BaseException) -> ResourceError | None:
    """What to raise for an error that means that an accelerator was lost; ``None`` for others.

    After such an error nothing more can be computed there in this process.
    """
    if not isinstance(error, RuntimeError) or isinstance(error, GanMetricsError):
        return None
    if type(error).__name__ != "AcceleratorError" and not any(s in str(error) for s in _DEVICE):
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


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """The error for a file that cannot be opened or read.

    Args:
        path: The file.
        error: What the operating system reported.

    Returns:
        A :class:`NotFoundError` where the file does not exist, for the caller to raise.
    """
    kind = NotFoundError if isinstance(error, FileNotFoundError) else InputError
    return kind(f"{os.fspath(path)} cannot be read: {error.strerror or error}")
