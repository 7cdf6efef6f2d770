"""Cache of facts about networks, so that they need not be built again to be known.

Entries are JSON: preprocessing, layers and locations of weights, never code. An entry is keyed by
the versions of the libraries that computed it.
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
    """Return a value that was computed before by the same versions, or compute it.

    Args:
        key: Key of the value.
        compute: Function that returns a JSON value; called without an entry, or with an invalid
            one.
        parse: Function that converts the JSON value; raises if it is invalid.
    """
    used = installed_versions("gan-metrics", "torch", "torchvision", "timm", "open-clip-torch")
    hashed = hashlib.sha256("\n".join([_REVISION, *used, *key]).encode()).hexdigest()
    path = settings.home_dir() / "networks" / f"{hashed}.json"
    with contextlib.suppress(Exception):  # missing, unreadable or changed
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
