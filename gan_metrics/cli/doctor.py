"""The environment that ``gan-metrics doctor`` shows."""

from __future__ import annotations

import os

from gan_metrics import settings
from gan_metrics.backbones.registry import BACKBONES
from gan_metrics.backbones.weights import status
from gan_metrics.features.cache import FeatureCache
from gan_metrics.utils.registry import load_plugins
from gan_metrics.utils.versions import versions

__all__ = ["describe_environment"]


def describe_environment() -> dict[str, dict[str, str]]:
    """Return properties of this machine and installation, by section."""
    import torch

    devices = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used"}
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            devices[f"cuda:{i}"] = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    else:
        devices["cuda"] = "none"
    if torch.backends.mps.is_available():
        devices["mps"] = "available"
    weights = {
        name: status(recipe.weights)[1] for name, recipe in BACKBONES.items() if recipe.weights
    }
    info = FeatureCache().info()
    places = {
        "home": str(settings.home_dir()),
        "weights": str(settings.weights_dir()),
        "torch hub": str(settings.torch_hub_checkpoints()),
        "cache": f"{info.path} ({info.size / 2**20:.1f} MiB of {info.limit / 2**30:g} GiB)",
        "offline": "yes (GAN_METRICS_OFFLINE)" if settings.offline() else "no",
    }
    report = {"Devices": devices, "Weights": weights, "Places": places, "Versions": versions()}
    if not settings.plugins_enabled():
        return {**report, "Plug-ins": {"turned off": "GAN_METRICS_PLUGINS=0"}}
    plugins = {
        f"{plugin.origin}: {plugin.name}": "loaded"
        if plugin.error is None
        else f"NOT LOADED: {plugin.error}"
        for plugin in load_plugins()
    }
    return {**report, **({"Plug-ins": plugins} if plugins else {})}
