"""Verbs that draw a single figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.options import takes_features
from gan_metrics.cli.root import Debug, Quiet, app

__all__ = ["attribution"]

plot_app = typer.Typer(help="Single figures, fit for a paper.", no_args_is_help=True)
app.add_typer(plot_app, name="plot")


@plot_app.command()
@console.guarded
@takes_features
def attribution(
    real: Annotated[
        str,
        typer.Argument(metavar="REAL", help="Images, saved features, statistics, or ref:NAME."),
    ],
    fake: Annotated[str, typer.Argument(metavar="FAKE", help="A folder or batch of images.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where to: .png, .svg or .pdf.", metavar="FILE"),
    ],
    options: dict[str, Any],
    top: Annotated[
        int,
        typer.Option(help="So many of the fakes that raise the distance most.", min=1, metavar="N"),
    ] = 8,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="This fake instead; may be given again.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Where in FAKE's images their influence on the Fréchet distance comes from.

    Red places raise the distance, blue ones lower it.

    Examples:
      gan-metrics plot attribution real/ fake/ -o where.png

      gan-metrics plot attribution real/ fake/ -o where.pdf --name 0017.png
    """
    from gan_metrics.attribution import attribute
    from gan_metrics.report.attribution import check_figure_format, save_attribution

    check_figure_format(output)
    keep_freed_memory()
    with console.progress() as report:
        found = attribute(real, fake, top=top, names=name or (), progress=report, **options)
    console.helpers_end()
    save_attribution(found, output)
    console.show_warnings(found.warnings)
    print(f"{output}: {len(found)} images, {found.layer}")  # noqa: T201
