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
    """The base class; raised itself only for a bug in gan-metrics."""

    exit_code: int = 1


class UsageError(GanMetricsError, ValueError):
    """An unknown name or option, or a missing extra or device."""

    exit_code = 2


class InputError(GanMetricsError, ValueError):
    """Files, arrays or statistics that are missing, unreadable or malformed."""

    exit_code = 3


class NotFoundError(InputError, FileNotFoundError):
    """A path or URL does not exist. The message is the only argument; ``errno`` is ``None``."""


class ImageError(InputError):
    """One image of a set cannot be decoded; ``on_error="skip"`` leaves it out and lists it."""


class WeightsError(GanMetricsError, RuntimeError):
    """Weights or published statistics are unavailable, or fail their hash."""

    exit_code = 4


class MismatchError(GanMetricsError, ValueError):
    """Two sets, or a file and a command, that do not match."""

    exit_code = 4


class ComputationError(GanMetricsError, ValueError):
    """The computation is impossible on these data."""

    exit_code = 5


class ResourceError(GanMetricsError, RuntimeError):
    """The disk, the memory or another resource failed."""

    exit_code = 6


_DEVICE = ("CUDA error", "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "HIP error")
"""Beginnings of torch's messages when a device fails."""


def failed_device(error: BaseException) -> ResourceError | None:
    """Return the error to raise if an accelerator was lost; ``None`` for other errors.

    After such an error this process cannot use the device again.
    """
    if not isinstance(error, RuntimeError) or isinstance(error, GanMetricsError):
        return None
    if type(error).__name__ != "AcceleratorError" and not any(s in str(error) for s in _DEVICE):
        return None
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return ResourceError(
        f"the device failed ({first}); complete chunks are in the cache. Run the command again, or "
        "use --device cpu if the device stays unavailable"
    )


_LISTED = 40


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the nearest known names.

    Args:
        kind: The kind of name, such as ``"backbone"``.
        name: The name that was received.
        known: All known names.

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    choices = f"Known: {', '.join(names[:_LISTED])}{more}."
    hint = f"Did you mean {' or '.join(close)}?" if close else choices
    return UsageError(f"unknown {kind} {name!r}. {hint}")


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """Return the error for a file that cannot be opened or read.

    Args:
        path: The file.
        error: The error from the operating system.

    Returns:
        A :class:`NotFoundError` if the file does not exist, for the caller to raise.
    """
    kind = NotFoundError if isinstance(error, FileNotFoundError) else InputError
    return kind(f"cannot read {os.fspath(path)}: {error.strerror or error}")
