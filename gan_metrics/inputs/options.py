"""What every composition takes, by the same names as the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from gan_metrics.backbones.registry import BACKBONES, is_built_in, library_of
from gan_metrics.distributed import ALONE, Comm
from gan_metrics.errors import UsageError, unknown_name
from gan_metrics.features.cache import CACHES, Cache, FeatureCache
from gan_metrics.features.chunks import Extraction
from gan_metrics.protocols.table import protocol_for
from gan_metrics.utils.progress import Progress

__all__ = ["Options", "check_options", "comm_of", "extraction_of", "open_cache", "weights_of"]


class Options(TypedDict, total=False):
    """The options, all of which may be left out.

    Attributes:
        backbone: A name, as for :func:`~gan_metrics.load_backbone`, or a ``torch.nn.Module``; by
            default what a statistics file says, else the 2015 Inception.
        layer: Where it is cut; its final pooling layer by default.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``.
        protocol: A key of ``PROTOCOLS``, or an alias; ``evaluate`` takes several.
        weights: A file, or ``"random"``; where a protocol has several networks, a mapping from
            backbone to file, with ``""`` for the main one.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or a ``torch.device``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.
        batch_size: Images per forward pass.
        workers: Processes that decode, 0: threads; with ``engine="ray"``, actors.
        engine: ``"local"`` (default); ``"openvino"``: OpenVINO runs the networks, on a CPU in
            ``fp32``; ``"ray"``: a pool of Ray's actors embeds the images, on this machine or on the
            cluster that Ray is connected to.
        max_images: Take this many of each set, drawn with ``seed``.
        seed: Of every random choice; 0 by default.
        recursive: Whether to go into folders below; ``True`` by default.
        alpha: ``"drop"``, ``"white"`` or ``"black"``; the protocol's way by default.
        exif: ``"ignore"`` or ``"apply"``; the protocol's way by default.
        on_error: ``"raise"`` (default) or ``"skip"``.
        cache: A folder, or the URL of a Redis server, ``redis://host:port/db[?expire=SECONDS]``;
            ``True`` (default): the user's folder; ``False``: none.
        progress: Called with a description, the images done, and their number.
        comm: The ranks that share the work, such as :func:`gan_metrics.distributed.world`: all
            of them then make the same call, and all get the result. By default this process alone.
    """

    backbone: Any
    layer: str | None
    pool: str | None
    protocol: Any
    weights: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None
    device: Any
    precision: str | None
    batch_size: int | None
    workers: int | None
    engine: str
    max_images: int | None
    seed: int
    recursive: bool
    alpha: str | None
    exif: str | None
    on_error: str
    cache: bool | str | os.PathLike[str]
    progress: Progress | None
    comm: Comm


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the images are, before any work is done.

    Raises:
        UsageError: For an unknown name or an impossible value.
    """
    for name in options:
        if name not in Options.__annotations__:
            raise unknown_name("option", name, Options.__annotations__)
    device = options.get("device", "auto")
    if not re.fullmatch(r"auto|(cpu|mps)(:0)?|cuda(:\d+)?", str(device)):
        raise UsageError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:1 or mps")
    protocol_for(options.get("protocol"))
    weights = options.get("weights")
    if not isinstance(weights, str | os.PathLike | Mapping | None):
        raise UsageError(f"weights={weights!r}: expected a file, 'random', or backbone to file")
    for name in weights if isinstance(weights, Mapping) else ():
        if name and not is_built_in(name) and not library_of(name) and name not in BACKBONES:
            raise unknown_name("backbone of weights", name, BACKBONES)
    seed = options.get("seed", 0)
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed!r}: expected a whole number from 0 to 2⁶³ − 1")
    extraction_of(Options(**options))  # type: ignore[typeddict-item]


def extraction_of(options: Options) -> Extraction:
    """What of it concerns how images are read and batched."""
    return Extraction(
        batch_size=options.get("batch_size"),
        workers=options.get("workers"),
        on_error=options.get("on_error", "raise"),
        max_images=options.get("max_images"),
        seed=options.get("seed", 0),
        cache=open_cache(options.get("cache", True)),
        progress=options.get("progress"),
        comm=comm_of(options),
        engine=options.get("engine", "local"),
        device=str(options.get("device", "auto")),
    )


def comm_of(options: Options) -> Comm:
    """The ranks that share the work.

    Raises:
        UsageError: When it is something else.
    """
    comm = options.get("comm", ALONE)
    if not isinstance(comm, Comm):
        raise UsageError(f"comm={comm!r}: expected what gan_metrics.distributed.world() gives")
    return comm


def weights_of(
    options: Options, backbone: str | None = None, *, main: bool = True
) -> str | Path | None:
    """The weights file that is named for a backbone, ``"random"``, or ``None``.

    Args:
        options: The options.
        backbone: Whose weights.
        main: Whether a file without a backbone's name is meant for it.
    """
    given = options.get("weights")
    if isinstance(given, Mapping):
        given = given.get(backbone or "") or (given.get("") if main else None)
    elif not main and given != "random":
        given = None
    return "random" if given == "random" else None if given is None else Path(given)


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
    if isinstance(given, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", given):
        raise UsageError(
            f"--cache {given.partition('@')[2] or given}: expected a folder or redis://host:port/db"
        )
    return FeatureCache(None if given is True else Path(given))
