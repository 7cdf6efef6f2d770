"""Where things lie on this machine, and the environment variables that move them.

========================== ===================================================================
``GAN_METRICS_CACHE``      folder of the feature cache
``GAN_METRICS_CACHE_SIZE`` its cap, in GiB (default 20)
``GAN_METRICS_HOME``       weights, reference statistics and their pinned hashes
``GAN_METRICS_INCEPTION``  a weights file for the 2015 Inception
``GAN_METRICS_OFFLINE``    ``1``: open no connection
``TORCH_HOME``             torch hub's folder, whose checkpoints are looked through as well
========================== ===================================================================
"""

from __future__ import annotations

import os
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
    "torch_hub_checkpoints",
    "weights_dir",
]


def cache_dir() -> Path:
    """The folder of the feature cache."""
    return Path(
        os.environ.get("GAN_METRICS_CACHE") or platformdirs.user_cache_dir("gan-metrics", False)
    )


def cache_limit() -> int:
    """The cap of the feature cache, in bytes.

    Raises:
        UsageError: When ``GAN_METRICS_CACHE_SIZE`` is no positive number.
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
    return Path(
        os.environ.get("GAN_METRICS_HOME") or platformdirs.user_data_dir("gan-metrics", False)
    )


def weights_dir() -> Path:
    """The folder that downloaded and added weights go to."""
    return home_dir() / "weights"


def pins_file() -> Path:
    """The file that remembers the full hash of each artefact at its first use."""
    return home_dir() / "pins.json"


def inception_from_environment() -> Path | None:
    """The weights file that ``GAN_METRICS_INCEPTION`` names, if it is set."""
    path = os.environ.get("GAN_METRICS_INCEPTION")
    return Path(path) if path else None


def torch_hub_checkpoints() -> Path:
    """Torch hub's checkpoint folder, found without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch") / "hub" / "checkpoints"


def offline() -> bool:
    """Whether ``GAN_METRICS_OFFLINE`` forbids connections."""
    return os.environ.get("GAN_METRICS_OFFLINE", "") not in ("", "0")
