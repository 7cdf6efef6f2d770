"""Commands about backbones, protocols, reference statistics, layers and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.main_options import Debug, Quiet, app

__all__ = ["backbones", "layers", "protocols", "references"]

weights_app = typer.Typer(help="List, download, add and verify weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


@app.command()
@console.guarded
def backbones(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN", help="Pattern with *, such as 'timm:*dinov2*'.", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the backbones.

    In addition to the listed names: every torchvision classifier as torchvision:NAME, every timm
    model as timm:NAME, CLIP as clip:MODEL/WEIGHTS, and custom ones as package.module:factory.

    Examples:
      gan-metrics backbones

      gan-metrics backbones 'torchvision:*resnet*'

      gan-metrics backbones 'timm:*dinov2*'
    """
    from gan_metrics.backbones.registry import BACKBONES, LIBRARIES, REGISTRY, backbone_names

    names = backbone_names(pattern)
    if pattern is not None:
        if json:
            console.print_json({"backbones": names})
            return
        for name in names:
            print(name)  # noqa: T201
        if not names:
            console.note(f"no backbone matches {pattern!r}; use * as in 'timm:*dinov2*'")
        return
    rows = [BACKBONES[name] for name in names]
    if json:
        console.print_json(
            {
                r.name: {
                    "summary": r.summary,
                    "default_layer": r.default_layer,
                    "layers": list(r.layers),
                    "input_size": r.input_size,
                    **console.plugin_of(REGISTRY, r.name),
                }
                for r in rows
            }
        )
        return
    console.table(
        "Backbones",
        ("name", "default layer", "input", "description"),
        [
            (
                r.name,
                r.default_layer,
                str(r.input_size),
                " · ".join(filter(None, [r.summary, str(REGISTRY.origin(r.name) or "")])),
            )
            for r in rows
        ],
    )
    forms = [library.form for library in LIBRARIES.values()]
    console.note(f"Also: {', '.join(forms)}, package.module:factory")


@app.command()
@console.guarded
def protocols(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print one in full.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the protocols: the tool that each one reproduces, and its settings.

    The default is pytorch-fid for the 2015 Inception, and imagenet for all other backbones.

    Examples:
      gan-metrics protocols

      gan-metrics protocols adm

      gan-metrics evaluate real/ fake/ --metrics fid --protocol pytorch-fid,tf1
    """
    from gan_metrics.protocols.table import PROTOCOLS, REGISTRY, protocol_for

    rows = list(PROTOCOLS.values()) if name is None else [protocol_for(name)]
    if json:
        documents = {
            row.name: {**row.to_json(), **console.plugin_of(REGISTRY, row.name)} for row in rows
        }
        console.print_json(documents if name is None else documents[rows[0].name])
        return
    if name is not None:
        print(rows[0].to_text())  # noqa: T201
        return
    columns = ("name", "metrics", "description", "source")
    console.table(
        "Protocols",
        columns,
        [
            (
                row.name,
                ", ".join(row.metrics),
                row.summary,
                str(REGISTRY.origin(row.name) or row.source),
            )
            for row in rows
        ],
    )
    others = [f"{alias} is {row.name}" for row in rows for alias in row.aliases]
    console.note("; ".join(others))


@app.command()
@console.guarded
def references(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print one in full.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the registered reference statistics, which can be given as REAL: ref:NAME.

    A file is downloaded at first use and verified by its hash.

    Examples:
      gan-metrics references

      gan-metrics references cifar10-train

      gan-metrics fid ref:cifar10-train fake/
    """
    from gan_metrics.stats.references import REFERENCES

    if name is not None:
        REFERENCES.find(name.removeprefix("ref:"))
    if json or name is not None:
        requested = REFERENCES if name is None else [name.removeprefix("ref:")]
        console.print_json(
            {
                name: {
                    "protocol": entry.protocol,
                    "backbone": entry.backbone,
                    "layer": entry.layer,
                    "count": entry.count,
                    "split": entry.split,
                    "keys": list(entry.keys),
                    "resolution": list(entry.resolution) if entry.resolution else None,
                    "urls": list(entry.urls),
                    "sha256": entry.sha256,
                    "source": entry.source,
                    "terms": entry.terms,
                }
                for name, entry in ((name, REFERENCES[name]) for name in requested)
            }
        )
        return
    rows = [
        (
            name,
            "×".join(map(str, entry.resolution)) if entry.resolution else "",
            "" if entry.count is None else f"{entry.count:,}",
            entry.protocol,
            f"{entry.backbone} {entry.layer}",
            entry.source,
        )
        for name, entry in REFERENCES.items()
    ]
    columns = ("name", "size", "images", "protocol", "features", "source")
    console.table("References", columns, rows)


@app.command()
@console.guarded
def layers(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="The network.")],
    named: Annotated[
        bool, typer.Option("--named", help="List only layers with a short name.")
    ] = False,
    time: Annotated[
        bool,
        typer.Option("--time", help="Measure the time of a pass that ends at each layer."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the layers of a network, in the order of a forward pass.

    For each module: its dotted name, its short name if it has one, the shape of its output, the
    default pooling, the number of parameters up to it, and of those after it, which a pass to this
    layer does not use. --layer accepts either name; NAME:in is the input of a module.

    Examples:
      gan-metrics layers vgg19 --named

      gan-metrics layers resnet50 --time
    """
    from gan_metrics.backbones.listing import list_layers

    found = list_layers(backbone, time=time)
    if named:
        found = [layer for layer in found if layer.names]
    if json:
        console.print_json({"backbone": backbone, "layers": [layer.to_json() for layer in found]})
        return
    columns = ["layer", "short name", "shape", "pool", "parameters up to it", "after it"]
    rows = [
        [
            layer.path or "(output)",
            ", ".join(layer.names),
            "×".join(map(str, layer.shape)) or "no tensor",
            layer.pool,
            f"{layer.parameters:,}",
            f"{layer.parameters_above:,}",
        ]
        for layer in found
    ]
    if time:
        columns += ["ms/image", "share of a full pass"]
        for row, layer in zip(rows, found, strict=True):
            seconds, share = layer.seconds, layer.share
            row += ["" if seconds is None else f"{1e3 * seconds:.1f}"]
            row += ["" if share is None else f"{share:.0%}"]
    console.table(f"Layers of {backbone}", columns, rows)


@weights_app.command("list")
@console.guarded
def weights_list(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List which weights are on this machine, and their paths."""
    from gan_metrics.backbones.registry import BACKBONES
    from gan_metrics.backbones.weights import status

    found = {name: status(recipe.weights) for name, recipe in BACKBONES.items() if recipe.weights}
    if json:
        console.print_json({name: path and str(path) for name, (path, _) in found.items()})
        return
    rows = [(name, text) for name, (_, text) in found.items()]
    console.table("Weights", ("backbone", "file"), rows)


@weights_app.command("pull")
@console.guarded
def weights_pull(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="The network.")] = "inception",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download and verify the weights of a backbone, unless they are present."""
    from gan_metrics.backbones.weights import find

    with console.progress() as report:
        file = find(_source(backbone), progress=report)
    print(f"{file.path}\n  sha256 {file.sha256}")  # noqa: T201


@weights_app.command("add")
@console.guarded
def weights_add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that was downloaded elsewhere.")
    ],
    backbone: Annotated[str, typer.Option(help="The network.", metavar="NAME")] = "inception",
    debug: Debug = False,
) -> None:
    """Verify a weights file and copy it to the weights folder."""
    from gan_metrics.backbones.weights import add

    added = add(_source(backbone), file)
    print(f"{added.path}\n  sha256 {added.sha256}")  # noqa: T201


@weights_app.command("verify")
@console.guarded
def weights_verify(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="The network.")] = "inception",
    debug: Debug = False,
) -> None:
    """Verify the weights that would be used by the published hash."""
    from gan_metrics.backbones.weights import find
    from gan_metrics.errors import WeightsError

    source = _source(backbone)
    file = find(source, download=False)
    if not file.sha256.startswith(source.sha256_prefix):
        raise WeightsError(
            f"{file.path} is not the published file: sha256 {file.sha256}, expected "
            f"{source.sha256_prefix}…"
        )
    print(f"{file.path}\n  sha256 {file.sha256}\n  as published")  # noqa: T201


def _source(name: str) -> Any:
    from gan_metrics.backbones.registry import weights_source

    return weights_source(name)
