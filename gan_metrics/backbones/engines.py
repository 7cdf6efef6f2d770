"""Engines, which run the networks or distribute images to workers. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gan_metrics.utils.imports import import_object
from gan_metrics.utils.registry import Registry

__all__ = ["ENGINES", "Engine"]


@dataclass(frozen=True)
class Engine:
    """One engine of ``--engine``. Functions may be strings ``"module:function"``.

    Attributes:
        name: Its name.
        compile: Function of a network (a ``torch.nn.Module`` in eval mode), the dotted names of
            layers and the shape of one input. Returns a callable from inputs ``N × C × H × W`` to
            the layers' outputs by name. ``None``: torch runs the network.
        check: Function of the feature space and the device that raises
            :class:`~gan_metrics.errors.UsageError` if ``compile`` does not support them.
        stream: Function of an image source, the feature spaces, the extraction options, the
            indices of each chunk and the number of images. Returns an object like
            :class:`~gan_metrics.features.chunks.ChunkStream` that distributes the chunks.
            ``None``: this process computes them.
    """

    name: str
    compile: str | Callable[..., Any] | None = None
    check: str | Callable[..., None] | None = None
    stream: str | Callable[..., Any] | None = None

    def load(self, part: str) -> Callable[..., Any] | None:
        """Return one of the functions, imported; ``None`` if the engine does not have it."""
        found = getattr(self, part)
        loaded: Callable[..., Any] | None = (
            import_object(found) if isinstance(found, str) else found
        )
        return loaded


ENGINES: Registry[Engine] = Registry(
    "engine",
    {
        engine.name: engine
        for engine in (
            Engine("local"),
            Engine(
                "openvino",
                compile="gan_metrics.backbones.openvino:CompiledCut",
                check="gan_metrics.backbones.openvino:check",
            ),
            Engine("ray", stream="gan_metrics.features.ray_engine:RayStream"),
        )
    },
)
"""Engines by name."""
