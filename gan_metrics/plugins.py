"""Add metrics, backbones, protocols, readers, caches and engines from another distribution.

A distribution declares a function without arguments as an entry point in the group
``gan_metrics.plugins``; the function calls the functions below:

.. code-block:: toml

    [project.entry-points."gan_metrics.plugins"]
    energy = "gan_metrics_energy:register"

Entry points are loaded if a name is not built in, or if names are listed. A name can be used only
once. The functions can also be called in a script, for that process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gan_metrics.errors import UsageError
from gan_metrics.utils.registry import Origin, origin_of_call

if TYPE_CHECKING:
    from gan_metrics.backbones.recipe import Layer
    from gan_metrics.backbones.weights import WeightsSource
    from gan_metrics.features.cache import Cache
    from gan_metrics.metrics.entry import Check
    from gan_metrics.protocols.spec import Decoding, FeatureSpec, Preprocess

__all__ = [
    "register_backbone",
    "register_cache",
    "register_engine",
    "register_metric",
    "register_protocol",
    "register_reader",
]


def register_metric(
    name: str,
    function: str | Callable[..., Any],
    *,
    summary: str,
    source: str = "",
    needs: str = "features",
    sides: int = 2,
    arguments: Mapping[str, Check] | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
    better: str = "lower",
    error_bar: str = "",
    long_name: str = "",
    cite: tuple[str, ...] = (),
) -> None:
    """Register a metric, for ``evaluate``, ``compare``, ``gan-metrics metrics`` and training.

    Args:
        name: The name for ``--metrics``: lower case, no spaces, commas, dots or ``@``.
        function: The function or ``"module:function"``. Its arguments are the real features ``X``
            (omitted for ``sides=1``) and the generated features ``Y``, NumPy ``float32``, ``n ×
            D``, then the keywords ``seed``, ``error_bar`` and the metric's arguments. It returns a
            number or a :class:`~gan_metrics.metrics.estimate.Estimate`. For ``needs="images"`` and
            ``"generator"`` its only argument is an
            :class:`~gan_metrics.evaluation.image_metrics.ImageMetricInput`.
        summary: One line for the listing.
        source: The paper.
        needs: ``"features"``: features of the layer in use; ``"logits"``: class logits before the
            softmax; ``"spatial"``, ``"clip"``, ``"dinov2"``: features of these networks;
            ``"images"``; ``"generator"``.
        sides: 2: real and generated images; 1: generated images only.
        arguments: Checks of the function's keyword arguments, by name: functions of a name and a
            value that raise :class:`~gan_metrics.UsageError` for an invalid value.
        bounds: The lowest and the highest possible value; ``None``: unbounded.
        better: ``"lower"``, ``"higher"`` or ``"zero"``.
        error_bar: How the standard error is computed.
        long_name: The name in a sentence.
        cite: BibTeX entries, or keys of the package's own.

    Raises:
        UsageError: If the name is in use, or a value is invalid.

    Examples:
        >>> import numpy as np
        >>> def mean_shift(X, Y, *, seed, error_bar):
        ...     return float(np.linalg.norm(X.mean(0) - Y.mean(0)))
        >>> register_metric("mean_shift", mean_shift, summary="distance between the means")
        >>> import gan_metrics as gm
        >>> gm.METRICS["mean_shift"].summary
        'distance between the means'
    """
    from gan_metrics.metrics.entry import PIXEL_INPUTS, Metric
    from gan_metrics.metrics.registry import add_metric

    kinds = ("features", "logits", "spatial", "clip", "dinov2", *PIXEL_INPUTS)
    for what, value, known in (
        ("needs", needs, kinds),
        ("sides", sides, (1, 2)),
        ("better", better, ("lower", "higher", "zero")),
    ):
        if value not in known:
            raise UsageError(f"{what} of the metric {name!r} is {value!r}, not one of {known}")
    if not isinstance(name, str) or name != name.lower() or set(name) & set(" ,.@="):
        raise UsageError(f"a metric's name is lower case, without spaces and , . @ =, not {name!r}")
    entry = Metric(
        name,
        summary,
        function,
        source,
        needs=needs,
        n_sets=1 if needs in PIXEL_INPUTS else sides,
        arguments=dict(arguments or {}),
        bounds=bounds,
        better=better,
        error_bar=error_bar,
        long_name=long_name,
        cite=cite,
    )
    add_metric(entry, _origin())


def register_backbone(
    name: str,
    build: str | Callable[..., Any],
    *,
    preprocess: Preprocess,
    summary: str = "",
    layers: Mapping[str, Layer] | None = None,
    default_layer: str = "output",
    weights: WeightsSource | None = None,
    model: str = "",
    adapt: str = "",
    cite: tuple[str, ...] = (),
) -> None:
    """Register a backbone, for ``--backbone``, ``load_backbone`` and ``gan-metrics backbones``.

    Args:
        name: The name for ``--backbone``, without a colon.
        build: Returns a ``torch.nn.Module`` from ``float32`` images ``N × 3 × H × W``, prepared by
            ``preprocess``, to features: a function without arguments, or ``"module:function"`` of a
            function of ``model``.
        preprocess: The preprocessing from ``uint8`` pixels to the network's input.
        summary: One line for the listing.
        layers: Layers by short name. Every dotted name of a submodule is also a layer.
        default_layer: A short name, the dotted name of a submodule, or ``"output"``.
        weights: Where the weights file is; ``None``: ``build`` loads the weights itself. The
            network is then hashed at each use, and its features are not cached.
        model: Name of the network, for a ``build`` that is a string.
        adapt: ``"module:function"`` of (the file's state dict, the network's, ``model``) that
            converts the file's keys to the network's; empty if they are equal.
        cite: BibTeX entries, or keys of the package's own.

    Raises:
        UsageError: If the name is in use or has a colon.

    Examples:
        >>> import gan_metrics as gm
        >>> def build():
        ...     import torch
        ...     return torch.nn.AdaptiveAvgPool2d(1)
        >>> pixels = gm.Preprocess("exact", 64, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)
        >>> register_backbone("mean-color", build, preprocess=pixels, summary="the mean color")
        >>> gm.BACKBONES["mean-color"].default_layer
        'output'
    """
    from gan_metrics.backbones.recipe import Recipe
    from gan_metrics.backbones.registry import REGISTRY

    if not isinstance(name, str) or ":" in name:
        raise UsageError(f"a backbone's name has no colon, for example 'mynet'; received {name!r}")
    recipe = Recipe(
        name=name,
        summary=summary,
        build=build,
        layers=dict(layers or {}),
        default_layer=default_layer,
        preprocess=preprocess,
        weights=weights,
        model=model,
        adapt=adapt,
        cite=cite,
    )
    REGISTRY.add(name, recipe, _origin())


def register_protocol(
    name: str,
    metrics: Mapping[str, tuple[FeatureSpec, Mapping[str, Any]]],
    *,
    summary: str,
    source: str = "",
    decoding: Decoding | None = None,
    aliases: tuple[str, ...] = (),
    cite: tuple[str, ...] = (),
) -> None:
    """Register a protocol, for ``--protocol`` and ``gan-metrics protocols``.

    Args:
        name: The name for ``--protocol``: lower case, no commas.
        metrics: Feature space and arguments by metric name; fields of a space that are ``None`` are
            those of the backbone in use. The first metric is the protocol's main one.
        summary: One line for the listing.
        source: Where the tool's behavior is documented.
        decoding: Handling of transparency and orientation; default: dropped and ignored.
        aliases: Other names.
        cite: BibTeX entries, or keys of the package's own.

    Raises:
        UsageError: If a name is in use or not in lower case, or there is no metric.

    Examples:
        >>> import gan_metrics as gm
        >>> space = gm.FeatureSpec(backbone="resnet50", layer="avgpool")
        >>> register_protocol("ourpaper", {"kid": (space, {"subsets": 10})}, summary="our table 2")
        >>> gm.PROTOCOLS["ourpaper"].metrics["kid"].arguments["subsets"]
        10
    """
    from gan_metrics.protocols.spec import Decoding
    from gan_metrics.protocols.table import MetricRow, Protocol, add_protocol

    if not metrics:
        raise UsageError(f"the protocol {name!r} has no metrics")
    rows = {metric: MetricRow(space, dict(given)) for metric, (space, given) in metrics.items()}
    row = Protocol(
        name=name,
        summary=summary,
        source=source,
        metrics=rows,
        decoding=decoding or Decoding(),
        aliases=aliases,
        cite=cite,
    )
    add_protocol(row, _origin())


def register_reader(
    name: str, claims: Callable[[Any], bool], opener: Callable[[Any, Any], Any]
) -> None:
    """Register a reader for a kind of file or folder that the package does not read.

    Args:
        name: The kind, as shown in messages, such as ``"a stack of slices (.stack)"``.
        claims: Function of a probe with ``path`` (a :class:`pathlib.Path`) and ``suffix`` (lower
            case, such as ``".stack"``) that returns whether the file is of this kind, from its name
            and first bytes only.
        opener: Function of the probe and the options that returns an image source: an object with
            ``description``, ``names``, ``warnings`` (pairs of a code and a message) and
            ``read(index)``, the encoded bytes of one image; it must be picklable. Or it returns
            :class:`~gan_metrics.Statistics` or :class:`~gan_metrics.Features`.

    Raises:
        UsageError: If the name is in use.

    Examples:
        >>> from gan_metrics.images.sources.folder import FolderSource
        >>> register_reader(
        ...     "a folder of an experiment (.run)",
        ...     lambda probe: probe.suffix == ".run",
        ...     lambda probe, options: FolderSource(probe.path / "samples"),
        ... )
    """
    from gan_metrics.inputs.readers import READERS, Reader

    READERS.add(name, Reader(name, claims, opener), _origin())


def register_cache(scheme: str, opener: Callable[[str], Cache]) -> None:
    """Register a feature cache, for ``--cache SCHEME://…``.

    Args:
        scheme: Scheme of the URL, before ``://``.
        opener: Function of the whole URL that returns a
            :class:`~gan_metrics.features.cache.Cache`, which must be picklable.

    Raises:
        UsageError: If the scheme is in use.

    Examples:
        >>> from pathlib import Path
        >>> from gan_metrics.features.cache import FeatureCache
        >>> register_cache("shared", lambda url: FeatureCache(Path("/mnt") / url[9:]))
    """
    from gan_metrics.features.cache import CACHES

    CACHES.add(scheme, opener, _origin())


def register_engine(
    name: str,
    *,
    compiler: str | Callable[..., Any] | None = None,
    check: str | Callable[..., None] | None = None,
    stream: str | Callable[..., Any] | None = None,
) -> None:
    """Register an engine for ``--engine``: it runs networks, or distributes images to workers.

    Functions may be strings ``"module:function"``.

    Args:
        name: The name for ``--engine``.
        compiler: Function of a ``torch.nn.Module`` in eval mode, the dotted names of layers and the
            shape of one input, such as ``(3, 299, 299)``. Returns a callable from ``float32``
            inputs ``N × 3 × H × W`` to the outputs by layer.
        check: Function of the feature space and the device that raises
            :class:`~gan_metrics.UsageError` if ``compiler`` does not support them.
        stream: Function of an image source, the feature spaces, the extraction options, the indices
            of each chunk and the number of images. Returns an object like
            :class:`~gan_metrics.features.chunks.ChunkStream`.

    Raises:
        UsageError: If the name is in use, or neither ``compiler`` nor ``stream`` is given.

    Examples:
        >>> register_engine("compiled", compiler="mypackage.compiled:compile_network")
    """
    from gan_metrics.backbones.engines import ENGINES, Engine

    if compiler is None and stream is None:
        raise UsageError(f"the engine {name!r} needs compiler or stream")
    ENGINES.add(name, Engine(name, compiler, check, stream), _origin())


def _origin() -> Origin:
    """Return the distribution whose entry point is being loaded; else the caller's module."""
    caller = sys._getframe(2).f_globals.get("__name__", "__main__")
    return origin_of_call(str(caller))
