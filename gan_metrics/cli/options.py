"""Options with the same meaning in every command, declared once."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from gan_metrics.cli import console
from gan_metrics.errors import UsageError
from gan_metrics.protocols.spec import ALPHAS, EXIFS, LAYOUTS, POOLS, PRECISIONS

if TYPE_CHECKING:
    from gan_metrics.generators.generated import Generated

__all__ = ["takes_features", "takes_output"]

_Number = TypeVar("_Number", int, float)

_SPACE, _IMAGES, _MACHINE, _OUTPUT = "Feature space", "Images", "Machine", "Output"
_GENERATOR = "Generator"

_DRAWN = "drawn"
"""Key of the generated images (:class:`Generated`) among a command's options."""

_PLACES = ("fakes", "fake", "query", "source")
"""Arguments that ``--generator`` can replace."""

_REPLACED = (*_PLACES, "gallery")
"""Arguments that are optional with ``--generator``."""


def _option(help_: str, *names: str, panel: str, **extra: Any) -> Any:
    return typer.Option(*names, help=help_, rich_help_panel=panel, show_default=False, **extra)


def _features(
    backbone: Annotated[
        str | None,
        _option(
            "Backbone (default: the one in a statistics file's header, else inception).",
            panel=_SPACE,
            metavar="NAME",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        _option(
            "Layer to take features from (default: the last pooling layer).",
            panel=_SPACE,
            metavar="NAME",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        _option(
            "How feature maps become vectors (default: defined by the layer).",
            panel=_SPACE,
            metavar="|".join(POOLS),
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        _option(
            "Tool to reproduce: preprocessing, network, arithmetic; see gan-metrics protocols "
            "(default: pytorch-fid for inception, else imagenet).",
            panel=_SPACE,
            metavar="NAME",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        _option(
            "Weights file, or 'random' for seeded random weights; BACKBONE=PATH for the other "
            "networks of a protocol.",
            panel=_SPACE,
            metavar="PATH",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        _option(
            "Arithmetic of the network (default: fp32).",
            panel=_SPACE,
            metavar="|".join(PRECISIONS),
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        _option(
            "Handling of transparency (default: the protocol's, drop).",
            panel=_IMAGES,
            metavar="|".join(ALPHAS),
        ),
    ] = None,
    exif: Annotated[
        str | None,
        _option(
            "Handling of EXIF orientation (default: the protocol's, ignore).",
            panel=_IMAGES,
            metavar="|".join(EXIFS),
        ),
    ] = None,
    recursive: Annotated[
        bool,
        _option(
            "Read subfolders (default: recursive).",
            "--recursive/--no-recursive",
            panel=_IMAGES,
        ),
    ] = True,
    value_range: Annotated[
        str | None,
        _option(
            "Values of black and white in arrays that are not uint8 and in a generator's images, "
            "for example --value-range=-1,1 (default: the generator's own).",
            panel=_IMAGES,
            metavar="BLACK,WHITE",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        _option(
            "Order of the axes of arrays (default: determined from the shape).",
            panel=_IMAGES,
            metavar="|".join(LAYOUTS),
        ),
    ] = None,
    max_images: Annotated[
        int | None,
        _option("Use this many images of each set, drawn with --seed.", panel=_IMAGES, metavar="N"),
    ] = None,
    seed: Annotated[
        int | None,
        _option(
            "Random seed (default: the protocol's, or 0).",
            panel=_IMAGES,
            metavar="N",
            min=0,
        ),
    ] = None,
    on_error: Annotated[
        str,
        _option(
            "Unreadable images: stop (raise), or leave out and list (skip) (default: raise).",
            panel=_IMAGES,
            metavar="raise|skip",
        ),
    ] = "raise",
    device: Annotated[
        str,
        _option(
            "Device: auto, cpu, cuda, cuda:1, mps (default: auto).", panel=_MACHINE, metavar="NAME"
        ),
    ] = "auto",
    batch_size: Annotated[
        int | None,
        _option(
            "Images per forward pass (default: 8 on a CPU, 64 on a GPU).",
            panel=_MACHINE,
            metavar="N",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _option(
            "Decoding processes; 0 uses threads (default: 0 on a CPU, up to 8 on a GPU).",
            panel=_MACHINE,
            metavar="N",
        ),
    ] = None,
    engine: Annotated[
        str,
        _option(
            "Engine: local, openvino (CPU), or ray (a pool of --workers actors) (default: local).",
            panel=_MACHINE,
            metavar="local|openvino|ray",
        ),
    ] = "local",
    cache: Annotated[
        str | None,
        _option(
            "Folder of the feature cache, or redis://host:port/db.", panel=_MACHINE, metavar="DIR"
        ),
    ] = None,
    no_cache: Annotated[
        bool, _option("Do not use the feature cache.", "--no-cache", panel=_MACHINE)
    ] = False,
    generator: Annotated[
        str | None,
        _option(
            "Draw the generated images, seeded, without files, from package.module:function, a "
            "TorchScript file or an ONNX file. Its code is executed.",
            panel=_GENERATOR,
            metavar="CODE|FILE",
        ),
    ] = None,
    n_fake: Annotated[
        int | None,
        _option("Number of images to draw (default: 10000).", panel=_GENERATOR, metavar="N", min=1),
    ] = None,
    z_size: Annotated[
        str | None,
        _option(
            "Length or shape of a latent (default: the generator's own).",
            panel=_GENERATOR,
            metavar="N[,N…]",
        ),
    ] = None,
    num_classes: Annotated[
        int | None,
        _option(
            "Number of classes of a conditional generator (default: its num_classes).",
            panel=_GENERATOR,
            metavar="N",
            min=1,
        ),
    ] = None,
) -> dict[str, Any]:
    """Return the options of every command that embeds images, as keyword arguments of the API."""
    if cache is not None and no_cache:
        raise typer.BadParameter("--cache and --no-cache exclude each other")
    declared = None if value_range is None else _numbers("--value-range", value_range, float)
    return {
        "backbone": backbone,
        "layer": layer,
        "pool": pool,
        "protocol": protocol,
        "weights": _weights(weights),
        "precision": precision,
        "alpha": alpha,
        "exif": exif,
        "recursive": recursive,
        "value_range": declared,
        "layout": layout,
        "max_images": max_images,
        "seed": seed,
        "on_error": on_error,
        "device": device,
        "batch_size": batch_size,
        "workers": workers,
        "engine": engine,
        "cache": False if no_cache else (cache or True),
        _DRAWN: _generated(
            generator,
            n=n_fake,
            z_size=z_size,
            num_classes=num_classes,
            seed=seed,
            value_range=declared if generator else None,
            device=device,
        ),
    }


def _generated(generator: str | None, *, device: str, **options: Any) -> Generated | None:
    """Return the generated images of ``--generator``; ``None`` without this option."""
    given = {name: value for name, value in options.items() if value is not None}
    if generator is None:
        if idle := sorted(given.keys() - {"seed"}):
            option = {"n": "n_fake"}.get(idle[0], idle[0]).replace("_", "-")
            raise UsageError(f"--{option} needs --generator, which is not given")
        return None
    from gan_metrics.generators.generated import Generated

    if "z_size" in given:
        given["z_size"] = _numbers("--z-size", given["z_size"], int)
    return Generated(generator, device=device, **given)


def _numbers(option: str, text: str, number: Callable[[str], _Number]) -> tuple[_Number, ...]:
    """Return the numbers of an option's comma-separated text."""
    try:
        return tuple(number(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option}={text}: expected numbers separated by commas") from None


def _weights(given: list[str] | None) -> str | dict[str, str] | None:
    """Return one weights file, or a mapping of backbones to weights files."""
    found: dict[str, str] = {}
    from gan_metrics.backbones.registry import library_of

    for text in given or ():
        name, equals, path = text.partition("=")
        named = bool(equals and name) and ("/" not in name or library_of(name) is not None)
        named = named and not os.path.exists(text)
        key, file = (name, path) if named else ("", text)
        if key in found:
            raise typer.BadParameter(
                f"--weights {text}: the weights of {name if named else 'the backbone'} are given "
                "twice; for other networks use BACKBONE=PATH"
            )
        found[key] = file
    return found.get("") if set(found) <= {""} else found


def _output(
    json: Annotated[
        bool, _option("Print one JSON document and nothing else.", "--json", panel=_OUTPUT)
    ] = False,
    output: Annotated[
        Path | None,
        _option(
            "Also write the JSON result to this file.",
            "--output",
            "-o",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    append: Annotated[
        Path | None,
        _option("Append the result as one line of JSON.", panel=_OUTPUT, metavar="LOG.jsonl"),
    ] = None,
    methods: Annotated[
        bool,
        _option(
            "Also print a methods paragraph and citations for a paper.",
            "--methods",
            panel=_OUTPUT,
        ),
    ] = False,
) -> dict[str, Any]:
    """Return the options that say where a result is written."""
    return {"json": json, "output": output, "append": append, "methods": methods}


def _stand_in(given: dict[str, Any], shared: dict[str, Any], wanted: Sequence[str]) -> None:
    """Replace the generated images by those of ``--generator``, and check what is missing.

    Args:
        given: The arguments of the command; modified.
        shared: The options from the template; the generator's images are removed from it.
        wanted: Names of arguments that are optional only with ``--generator``.

    Raises:
        UsageError: If the generated images are given twice, or an argument is missing.
    """
    drawn = shared.pop(_DRAWN, None)
    place = next((name for name in _PLACES if name in given), None)
    if drawn is not None and place is not None:
        if place == "query" and given["gallery"] is None:
            given["query"], given["gallery"] = None, given["query"]
        if place == "fakes":
            given[place] = [*(given[place] or []), drawn]
        elif given[place] is None:
            given[place] = drawn
        else:
            raise UsageError(
                f"--generator replaces {place.upper()}, but {given[place]} is given too"
            )
    for name in wanted:
        if given[name] is None:
            raise UsageError(f"{name.upper()} is missing: give a set of images or --generator")


def _takes(template: Callable[..., dict[str, Any]], keyword: str) -> Callable[[Any], Any]:
    """Return a decorator that adds a template's parameters to a command, passed on as one dict.

    If the template has ``--generator``, this option can replace the command's generated images.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        hints = {**get_type_hints(verb, include_extras=True)}
        own = [p for name, p in inspect.signature(verb).parameters.items() if name != keyword]
        wanted = [p.name for p in own if p.name in _REPLACED and p.default is p.empty]
        wanted = wanted if template is _features else []
        shared_hints = get_type_hints(template, include_extras=True)
        shared = list(inspect.signature(template).parameters.values())

        @functools.wraps(verb)
        def wrapper(**given: Any) -> None:
            taken = template(**{p.name: given.pop(p.name) for p in shared})
            _stand_in(given, taken, wanted)
            if template is not _features:
                verb(**given, **{keyword: taken})
                return
            with console.ranks() as comm:
                verb(**given, **{keyword: {**taken, "comm": comm}})

        hints.pop(keyword, None)
        for name in wanted:
            hints[name] = _optional(hints[name])
        wrapper.__annotations__ = {
            **hints,
            **{p.name: shared_hints[p.name] for p in shared},
        }
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                p.replace(
                    kind=inspect.Parameter.KEYWORD_ONLY,
                    annotation=wrapper.__annotations__[p.name],
                    default=None if p.name in wanted else p.default,
                )
                for p in [*own, *shared]
            ]
        )
        del wrapper.__wrapped__
        return wrapper

    return decorate


def _optional(hint: object) -> object:
    """Return the annotation of a parameter that may also be ``None``."""
    kind, argument = get_args(hint)
    return Annotated[kind | None, argument]


takes_features = _takes(_features, "options")
takes_output = _takes(_output, "to")
