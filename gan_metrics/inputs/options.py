"""The options that commands and public functions share, and how functions take them."""

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
"""A file, ``"random"``, or backbone to file."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every function that reads images, with their defaults; checked when made.

    ``None`` means "not given" for what a protocol, a file's header or the hardware may decide.

    Attributes:
        backbone: A name, as for :func:`~gan_metrics.load_backbone`, or a ``torch.nn.Module``; by
            default what a statistics file states, else the 2015 Inception.
        layer: Where the backbone is cut; its final pooling layer by default.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``; the layer's by default.
        protocol: A key of ``PROTOCOLS``, or an alias.
        weights: A file, or ``"random"``; where a protocol has several networks, a mapping from
            backbone to file, with ``""`` for the main one.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or a ``torch.device``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``; by default what a
            header states, else ``"fp32"``.
        batch_size: Images per forward pass; by default 8 on a CPU, 64 elsewhere.
        workers: Processes that decode, 0: threads; with ``engine="ray"``, actors.
        engine: ``"local"``; ``"openvino"``: OpenVINO runs the networks, on a CPU in ``fp32``;
            ``"ray"``: a pool of Ray's actors embeds the images, on this machine or on the cluster
            that Ray is connected to.
        max_images: Take this many images of each set, drawn with ``seed``; all by default.
        seed: Of every random choice; by default the protocol's, else 0.
        recursive: Whether folders below a folder are read too.
        value_range: The values that are black and white in arrays, tensors and array files of
            another type than ``uint8``, such as ``(0, 1)`` or ``(-1, 1)``.
        layout: The order of the axes of arrays, ``"NCHW"``, ``"NHWC"`` or ``"NHW"``; by default by
            their shape.
        alpha: ``"drop"``, ``"white"`` or ``"black"``; the protocol's way by default.
        exif: ``"ignore"`` or ``"apply"``; the protocol's way by default.
        on_error: What to do with an unreadable image: ``"raise"``, or ``"skip"`` to leave it out
            and list it.
        cache: A folder, or the URL of a Redis server, ``redis://host:port/db[?expire=SECONDS]``;
            ``True``: the user's folder; ``False``: none.
        progress: Called with a description, the images done, and their number.
        comm: The processes that share the work, such as :func:`gan_metrics.distributed.world`:
            all of them then make the same call, and all get the result. By default this process
            alone.

    Raises:
        UsageError: For an unknown name or an impossible value.
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
                f"protocol={self.protocol!r}: name one alone; only evaluate compares several"
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
                f"weights={self.weights!r}: expected a file, 'random', or backbone to file"
            )
        for name in self.weights if isinstance(self.weights, Mapping) else ():
            if name and not is_built_in(name) and not library_of(name) and name not in BACKBONES:
                raise unknown_name("backbone of weights", name, BACKBONES)

    @property
    def seed_or_default(self) -> int:
        """The seed that was given, else 0."""
        return 0 if self.seed is None else self.seed

    def weights_of(self, backbone: str | None = None, *, main: bool = True) -> str | Path | None:
        """The weights file that is named for a backbone, ``"random"``, or ``None``.

        Args:
            backbone: The backbone's name.
            main: Whether a file without a backbone's name is meant for this one.
        """
        given = self.weights
        if isinstance(given, Mapping):
            given = given.get(backbone or "") or (given.get("") if main else None)
        elif not main and given != "random":
            given = None
        return "random" if given == "random" else None if given is None else Path(given)

    def extraction(self) -> ExtractionOptions:
        """How images are read, batched and cached."""
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
    """The cache that is named.

    Args:
        given: A folder, the URL of a Redis server; ``True``: the user's folder; ``False``: none.

    Raises:
        UsageError: When a URL cannot be understood, or the extra ``redis`` is missing.
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
    """Let a function with a parameter ``options`` take the fields of :class:`Options` as keywords.

    The decorated function shows them in its signature, except those that it has parameters of its
    own for. It also takes a ready ``options=``, whose fields keywords then replace.

    Raises:
        UsageError: When called with a keyword that neither the function nor the options have.
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
