"""Folders on this machine, and the environment variables that change them.

========================== ===================================================================
``GAN_METRICS_CACHE``      folder of the feature cache
``GAN_METRICS_CACHE_SIZE`` its size limit, in GiB (default 20)
``GAN_METRICS_HOME``       weights, reference statistics and their pinned hashes
``GAN_METRICS_INCEPTION``  a weights file for the 2015 Inception
``GAN_METRICS_OFFLINE``    ``1``: open no connection
``GAN_METRICS_PLUGINS``    ``0``: load no plug-ins
``TORCH_HOME``             torch hub's folder; its checkpoints are searched for weights
========================== ===================================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from gan_metrics.errors import UsageError

__all__ = [
    "cache_dir",
    "cache_limit",
    "home_dir",
    "inception_from_environment",
    "offline",
    "pins_file",
    "plugins_enabled",
    "references_dir",
    "torch_hub_checkpoints",
    "weights_dir",
]


def cache_dir() -> Path:
    """The folder of the feature cache."""
    return _place("GAN_METRICS_CACHE", platformdirs.user_cache_dir)


def cache_limit() -> int:
    """The size limit of the feature cache, in bytes.

    Raises:
        UsageError: If ``GAN_METRICS_CACHE_SIZE`` is not a positive number.
    """
    text = os.environ.get("GAN_METRICS_CACHE_SIZE") or "20"
    try:
        gib = float(text)
    except ValueError:
        gib = -1.0
    if not 0 < gib < float("inf"):
        raise UsageError(f"GAN_METRICS_CACHE_SIZE={text!r}: expected a number of GiB, such as 20")
    return int(gib * 2**30)


def home_dir() -> Path:
    """The folder of weights, reference statistics and pins."""
    return _place("GAN_METRICS_HOME", platformdirs.user_data_dir)


def _place(variable: str, default: Callable[..., str]) -> Path:
    try:
        return Path(os.environ.get(variable) or default("gan-metrics", False))
    except RuntimeError as error:  # users without a home folder, in containers
        raise UsageError(f"{error}; set {variable} to a folder") from None


def weights_dir() -> Path:
    """The folder of downloaded and added weights."""
    return home_dir() / "weights"


def references_dir() -> Path:
    """The folder of reference statistics, downloaded or placed there by hand."""
    return home_dir() / "references"


def pins_file() -> Path:
    """The file with the pinned hash of each downloaded artifact."""
    return home_dir() / "pins.json"


def inception_from_environment() -> Path | None:
    """The weights file in ``GAN_METRICS_INCEPTION``, if it is set."""
    path = os.environ.get("GAN_METRICS_INCEPTION")
    return Path(path) if path else None


def torch_hub_checkpoints() -> Path:
    """Torch hub's checkpoint folder, found without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def offline() -> bool:
    """Whether ``GAN_METRICS_OFFLINE`` forbids connections."""
    return os.environ.get("GAN_METRICS_OFFLINE", "") not in ("", "0")


def plugins_enabled() -> bool:
    """Whether plug-ins are loaded; ``GAN_METRICS_PLUGINS=0`` turns them off."""
    return os.environ.get("GAN_METRICS_PLUGINS", "") != "0"
