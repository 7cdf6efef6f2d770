"""Options that commands and public functions share, and the decorator that adds them."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.registry import BACKBONES, is_built_in, library_of
from gan_metrics.distributed import ALONE, Comm
from gan_metrics.errors import UsageError, unknown_name
from gan_metrics.features.cache import CACHES, Cache, FeatureCache
from gan_metrics.features.chunks import ExtractionOptions
from gan_metrics.images.in_memory import check_layout, check_value_range
from gan_metrics.protocols.table import protocol_for
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    from gan_metrics.backbones.registry import BackboneName

__all__ = ["Options", "open_cache", "takes_options"]

_DEVICE = re.compile(r"auto|(cpu|mps)(:0)?|cuda(:\d+)?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_LARGEST_SEED = 2**63 - 1

Weights = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
"""A weights file, ``"random"``, or a mapping of backbones to weights files."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every function that reads images, with their defaults; validated on creation.

    ``None`` means "not given" for everything that a protocol, a file's header or the hardware may
    decide.

    Attributes:
        backbone: A name, as for :func:`~gan_metrics.load_backbone`, or a ``torch.nn.Module``;
            default: that of a statistics file, else the 2015 Inception.
        layer: Layer to take features from; default: the last pooling layer.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``; default: the layer's.
        protocol: A key of ``PROTOCOLS``, or an alias.
        weights: A weights file, or ``"random"``; for a protocol with several networks, a mapping
            of backbones to files, with ``""`` for the main one.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or a ``torch.device``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``; default: that of a
            header, else ``"fp32"``.
        batch_size: Images per forward pass; default: 8 on a CPU, 64 on other devices.
        workers: Number of decoding processes, 0: threads; with ``engine="ray"``, of actors.
        engine: ``"local"``; ``"openvino"``: OpenVINO runs the networks, on a CPU in ``fp32``;
            ``"ray"``: a pool of Ray actors embeds the images, on this machine or on the connected
            cluster.
        max_images: Number of images to draw from each set with ``seed``; default: all.
        seed: Seed of all random numbers; default: the protocol's, else 0.
        recursive: Whether to read subfolders.
        value_range: Values of black and white in arrays, tensors and array files that are not
            ``uint8``, such as ``(0, 1)`` or ``(-1, 1)``.
        layout: Order of the axes of arrays, ``"NCHW"``, ``"NHWC"`` or ``"NHW"``; default:
            determined from their shape.
        alpha: Transparency: ``"drop"``, ``"white"`` or ``"black"``; default: the protocol's.
        exif: Orientation: ``"ignore"`` or ``"apply"``; default: the protocol's.
        on_error: Handling of unreadable images: ``"raise"``, or ``"skip"`` to leave them out and
            list them.
        cache: A folder, or the URL of a Redis server, ``redis://host:port/db[?expire=SECONDS]``;
            ``True``: the user's folder; ``False``: no cache.
        progress: Called with a description, the number of images done, and their total.
        comm: The processes that share the work, such as :func:`gan_metrics.distributed.world`: all
            of them make the same call, and all get the result. Default: this process only.

    Raises:
        UsageError: For an unknown name or an invalid value.
    """

    backbone: BackboneName | None = None
    layer: str | None = None
    pool: str | None = None
    protocol: str | None = None
    weights: Weights | None = None
    device: Any = "auto"
    precision: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    engine: str = "local"
    max_images: int | None = None
    seed: int | None = None
    recursive: bool = True
    value_range: Sequence[float] | None = None
    layout: str | None = None
    alpha: str | None = None
    exif: str | None = None
    on_error: str = "raise"
    cache: bool | str | os.PathLike[str] = True
    progress: Progress | None = None
    comm: Comm = ALONE

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(str(self.device)):
            raise UsageError(
                f"unknown device {str(self.device)!r}; expected auto, cpu, cuda, cuda:1 or mps"
            )
        if isinstance(self.protocol, list | tuple):
            raise UsageError(
                f"protocol={self.protocol!r}: expected one protocol; only evaluate accepts several"
            )
        protocol_for(self.protocol)
        self._check_weights()
        ENGINES.find(self.engine)
        if self.on_error not in ("raise", "skip"):
            raise UsageError(f"on_error={self.on_error!r}: expected raise or skip")
        for name, least in (("batch_size", 1), ("workers", 0), ("max_images", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None:
                most = _LARGEST_SEED if name == "seed" else None
                checked = whole_number(name, value, least=least, most=most)
                object.__setattr__(self, name, checked)
        object.__setattr__(self, "value_range", check_value_range(self.value_range))
        check_layout(self.layout)
        if not isinstance(self.comm, Comm):
            raise UsageError(
                f"comm={self.comm!r}: expected what gan_metrics.distributed.world() returns"
            )
        if isinstance(self.cache, str):
            open_cache(self.cache)

    def _check_weights(self) -> None:
        if not isinstance(self.weights, str | os.PathLike | Mapping | None):
            raise UsageError(
                f"weights={self.weights!r}: expected a file, 'random', or a mapping of backbones "
                "to files"
            )
        for name in self.weights if isinstance(self.weights, Mapping) else ():
            if name and not is_built_in(name) and not library_of(name) and name not in BACKBONES:
                raise unknown_name("backbone of weights", name, BACKBONES)

    @property
    def seed_or_default(self) -> int:
        """Return the seed, or 0 if none was given."""
        return 0 if self.seed is None else self.seed

    def weights_of(self, backbone: str | None = None, *, main: bool = True) -> str | Path | None:
        """Return the weights file for a backbone, ``"random"``, or ``None``.

        Args:
            backbone: The backbone's name.
            main: Whether a file without a backbone's name applies to this backbone.
        """
        given = self.weights
        if isinstance(given, Mapping):
            given = given.get(backbone or "") or (given.get("") if main else None)
        elif not main and given != "random":
            given = None
        return "random" if given == "random" else None if given is None else Path(given)

    def extraction(self) -> ExtractionOptions:
        """Return the options for reading, batching and caching images."""
        return ExtractionOptions(
            batch_size=self.batch_size,
            workers=self.workers,
            on_error=self.on_error,
            max_images=self.max_images,
            seed=self.seed_or_default,
            cache=open_cache(self.cache),
            progress=self.progress,
            comm=self.comm,
            engine=self.engine,
            device=str(self.device),
        )


def open_cache(given: bool | str | os.PathLike[str]) -> Cache | None:
    """Open a feature cache.

    Args:
        given: A folder, or the URL of a Redis server; ``True``: the user's folder; ``False``: none.

    Raises:
        UsageError: If a URL is invalid, or the extra ``redis`` is missing.
    """
    if given is False:
        return None
    scheme, url, _ = given.partition("://") if isinstance(given, str) else ("", "", "")
    if url and scheme in CACHES:
        return CACHES[scheme](str(given))
    if isinstance(given, str) and _URL.match(given):
        raise UsageError(
            f"--cache {given.partition('@')[2] or given}: expected a folder or redis://host:port/db"
        )
    return FeatureCache(None if given is True else Path(given))


_Result = TypeVar("_Result")


def takes_options(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a function with a parameter ``options`` accept the fields of :class:`Options`.

    The decorated function accepts them as keywords and shows them in its signature, except those
    that it has its own parameters for. It also accepts ``options=``; keywords override its fields.

    Raises:
        UsageError: If a keyword is neither a parameter nor an option.
    """
    signature = inspect.signature(function)
    own = {name: one for name, one in signature.parameters.items() if name != "options"}
    shared = {field.name: field for field in fields(Options) if field.name not in own}

    @functools.wraps(function)
    def call(*args: Any, options: Options | None = None, **keywords: Any) -> _Result:
        given = {name: keywords.pop(name) for name in list(keywords) if name in shared}
        for name in keywords:
            if name not in own:
                raise unknown_name("option", name, [*own, *shared])
        if options is None:
            options = Options(**given)
        elif given:
            options = replace(options, **given)
        return function(*args, options=options, **keywords)

    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for name, field in shared.items()
    ]
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own.values(), *parameters]
    )
    return call
