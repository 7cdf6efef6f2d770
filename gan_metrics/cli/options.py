"""Options that mean the same in every verb, declared once."""

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
"""Among a verb's options: what a generator draws."""

_PLACES = ("fakes", "fake", "query", "source")
"""Arguments that a generator can stand for."""

_REPLACED = (*_PLACES, "gallery")
"""Arguments that need not be given where there is a generator."""


def _option(help_: str, *names: str, panel: str, **extra: Any) -> Any:
    return typer.Option(*names, help=help_, rich_help_panel=panel, show_default=False, **extra)


def _features(
    backbone: Annotated[
        str | None,
        _option(
            "Network (default: what a statistics file says, else inception).",
            panel=_SPACE,
            metavar="NAME",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        _option("Where it is cut (default: its last pooling layer).", panel=_SPACE, metavar="NAME"),
    ] = None,
    pool: Annotated[
        str | None,
        _option(
            "How maps become vectors (default: the layer's way).",
            panel=_SPACE,
            metavar="|".join(POOLS),
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        _option(
            "The tool to reproduce: pixels, network, arithmetic; see gan-metrics protocols "
            "(default: pytorch-fid for inception, else imagenet).",
            panel=_SPACE,
            metavar="NAME",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        _option(
            "Weights file, or 'random' for seeded random ones; BACKBONE=PATH for a protocol's "
            "other networks.",
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
            "Transparency (default: the protocol's way, drop).",
            panel=_IMAGES,
            metavar="|".join(ALPHAS),
        ),
    ] = None,
    exif: Annotated[
        str | None,
        _option(
            "Orientation tags (default: the protocol's way, ignore).",
            panel=_IMAGES,
            metavar="|".join(EXIFS),
        ),
    ] = None,
    recursive: Annotated[
        bool,
        _option(
            "Go into the folders below (default: recursive).",
            "--recursive/--no-recursive",
            panel=_IMAGES,
        ),
    ] = True,
    value_range: Annotated[
        str | None,
        _option(
            "The values that are black and white in arrays of another type than uint8 and in a "
            "generator's images, such as --value-range=-1,1 (default: what a generator says).",
            panel=_IMAGES,
            metavar="BLACK,WHITE",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        _option(
            "The order of the axes of arrays (default: by their shape).",
            panel=_IMAGES,
            metavar="|".join(LAYOUTS),
        ),
    ] = None,
    max_images: Annotated[
        int | None,
        _option("Take this many of each set, drawn with --seed.", panel=_IMAGES, metavar="N"),
    ] = None,
    seed: Annotated[
        int | None,
        _option(
            "Of every random choice (default: the protocol's, or 0).",
            panel=_IMAGES,
            metavar="N",
            min=0,
        ),
    ] = None,
    on_error: Annotated[
        str,
        _option(
            "A bad image: stop, or leave out and list (default: raise).",
            panel=_IMAGES,
            metavar="raise|skip",
        ),
    ] = "raise",
    device: Annotated[
        str,
        _option("auto, cpu, cuda, cuda:1, mps (default: auto).", panel=_MACHINE, metavar="NAME"),
    ] = "auto",
    batch_size: Annotated[
        int | None,
        _option(
            "Images per forward pass (default: 8 on a CPU, 64 elsewhere).",
            panel=_MACHINE,
            metavar="N",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _option(
            "Decoding processes; 0: threads (default: 0 on a CPU, up to 8).",
            panel=_MACHINE,
            metavar="N",
        ),
    ] = None,
    engine: Annotated[
        str,
        _option(
            "Who embeds: this process; this process by OpenVINO, on a CPU; or a pool of Ray's "
            "actors, --workers of them (default: local).",
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
        bool, _option("Neither read nor write the feature cache.", "--no-cache", panel=_MACHINE)
    ] = False,
    generator: Annotated[
        str | None,
        _option(
            "Draw the fake images from this, seeded, without files: package.module:function, a "
            "TorchScript file or an ONNX file. Its code is run.",
            panel=_GENERATOR,
            metavar="CODE|FILE",
        ),
    ] = None,
    n_fake: Annotated[
        int | None,
        _option("How many (default: 10000).", panel=_GENERATOR, metavar="N", min=1),
    ] = None,
    z_size: Annotated[
        str | None,
        _option(
            "Length or shape of a latent (default: what the generator says).",
            panel=_GENERATOR,
            metavar="N[,N…]",
        ),
    ] = None,
    num_classes: Annotated[
        int | None,
        _option(
            "Of a generator that is told them (default: it says).",
            panel=_GENERATOR,
            metavar="N",
            min=1,
        ),
    ] = None,
) -> dict[str, Any]:
    """The options of every verb that embeds images, as keywords of the library."""
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


def _generated(generator: str | None, *, device: str, **said: Any) -> Generated | None:
    """What a generator draws, if one is named."""
    given = {name: value for name, value in said.items() if value is not None}
    if generator is None:
        if idle := sorted(given.keys() - {"seed"}):
            option = {"n": "n_fake"}.get(idle[0], idle[0]).replace("_", "-")
            raise UsageError(f"--{option} is about a generator, and there is no --generator")
        return None
    from gan_metrics.generators.generated import Generated

    if "z_size" in given:
        given["z_size"] = _numbers("--z-size", given["z_size"], int)
    return Generated(generator, device=device, **given)


def _numbers(option: str, text: str, number: Callable[[str], _Number]) -> tuple[_Number, ...]:
    """The numbers of an option, which stand between commas."""
    try:
        return tuple(number(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option}={text}: expected numbers with commas between them") from None


def _weights(given: list[str] | None) -> str | dict[str, str] | None:
    """One file, or a file for each of several networks."""
    found: dict[str, str] = {}
    from gan_metrics.backbones.registry import library_of

    for text in given or ():
        name, equals, path = text.partition("=")
        named = bool(equals and name) and ("/" not in name or library_of(name) is not None)
        named = named and not os.path.exists(text)
        key, file = (name, path) if named else ("", text)
        if key in found:
            raise typer.BadParameter(
                f"--weights {text}: the weights of {name if named else 'the backbone'} are named "
                "twice; other networks' are given as BACKBONE=PATH"
            )
        found[key] = file
    return found.get("") if set(found) <= {""} else found


def _output(
    json: Annotated[
        bool, _option("Print one JSON document and nothing else.", "--json", panel=_OUTPUT)
    ] = False,
    output: Annotated[
        Path | None,
        _option("Write the JSON result here too.", "--output", "-o", panel=_OUTPUT, metavar="FILE"),
    ] = None,
    append: Annotated[
        Path | None,
        _option("Append the result as a line of JSON.", panel=_OUTPUT, metavar="LOG.jsonl"),
    ] = None,
    methods: Annotated[
        bool,
        _option(
            "Say what was computed in a paragraph fit for a paper, and what to cite.",
            "--methods",
            panel=_OUTPUT,
        ),
    ] = False,
) -> dict[str, Any]:
    """Where a result goes."""
    return {"json": json, "output": output, "append": append, "methods": methods}


def _stand_in(given: dict[str, Any], shared: dict[str, Any], wanted: Sequence[str]) -> None:
    """Put what a generator draws in the place of the fake images; miss what must be there.

    Args:
        given: The verb's own arguments; changed.
        shared: What the template gave; the generator is taken out.
        wanted: Names of arguments that only a generator makes needless.
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
                f"--generator stands for {place.upper()}, and {given[place]} is given too"
            )
    for name in wanted:
        if given[name] is None:
            raise UsageError(f"{name.upper()} is missing: give a set of images or --generator")


def _takes(template: Callable[..., dict[str, Any]], keyword: str) -> Callable[[Any], Any]:
    """A decorator that adds a template's parameters to a verb and passes them on as one dict.

    Where the template knows of generators, one may stand for the verb's fake images.
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
    """The same annotation of a parameter, which may be ``None``."""
    kind, argument = get_args(hint)
    return Annotated[kind | None, argument]


takes_features = _takes(_features, "options")
takes_output = _takes(_output, "to")
