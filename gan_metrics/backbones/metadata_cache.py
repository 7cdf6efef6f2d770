"""What was once worked out about a network, so that it need not be built to be known again.

Notes are JSON: preprocessing, cuts and where weights lie; never anything that is run. A note is
keyed by the versions of the libraries that it was worked out with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from gan_metrics import settings
from gan_metrics.errors import ResourceError
from gan_metrics.files.download import atomic_path
from gan_metrics.utils.versions import installed_versions

__all__ = ["cached_json"]

_REVISION = "3"

_Value = TypeVar("_Value")


def cached_json(
    key: tuple[str, ...], compute: Callable[[], Any], parse: Callable[[Any], _Value]
) -> _Value:
    """What was worked out before by the same versions, or is now.

    Args:
        key: What it is about.
        compute: Gives a JSON value; called if there is no note, or one that is not understood.
        parse: Makes of the JSON value what is wanted; raises for one of another shape.
    """
    used = installed_versions("gan-metrics", "torch", "torchvision", "timm", "open-clip-torch")
    hashed = hashlib.sha256("\n".join([_REVISION, *used, *key]).encode()).hexdigest()
    path = settings.home_dir() / "networks" / f"{hashed}.json"
    with contextlib.suppress(Exception):  # not there, not readable, or not what was written
        note = json.loads(path.read_text())
        if note["sha256"] == _checksum(key, note["value"]):
            return parse(note["value"])
    value = compute()
    with contextlib.suppress(OSError, ResourceError), atomic_path(path) as temporary:
        note = {"about": list(key), "value": value, "sha256": _checksum(key, value)}
        temporary.write_text(json.dumps(note))
    return parse(value)


def _checksum(key: tuple[str, ...], value: object) -> str:
    return hashlib.sha256(json.dumps([list(key), value], sort_keys=True).encode()).hexdigest()
