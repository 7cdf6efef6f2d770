"""Verbs that give a score."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.options import takes_features, takes_output
from gan_metrics.cli.root import Debug, Quiet, app

__all__ = ["fid"]

_SIDE = "A folder of images, saved features, or a statistics .npz."
Real = Annotated[str, typer.Argument(metavar="REAL", help=_SIDE)]
Fake = Annotated[str, typer.Argument(metavar="FAKE", help=_SIDE)]


@app.command()
@console.guarded
@takes_features
@takes_output
def fid(
    real: Real,
    fake: Fake,
    options: dict[str, Any],
    to: dict[str, Any],
    error_bars: Annotated[
        bool,
        typer.Option(
            "--error-bars/--no-error-bars",
            help="Standard error and 95 % interval (default: error-bars).",
            show_default=False,
            rich_help_panel="Output",
        ),
    ] = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The Fréchet distance between REAL and FAKE, with its error bar.

    The result calls itself FID in the 2015 Inception's pool3, and FD in any other feature space.
    The 95 % interval is for the expected value at these sample sizes, not for the population's,
    which is lower. Near equality it is too wide, by a factor of up to 1.4.

    Examples:
      gan-metrics fid real/ fake/

      gan-metrics fid cifar10.npz fake/ --json

      gan-metrics fid real/ fake/ --backbone efficientnet-lite0   (offline)

      gan-metrics fid real/ fake/ --on-error skip --append log.jsonl
    """
    from gan_metrics.evaluate import fid as compute

    console.check_outputs(to["output"], to["append"])
    keep_freed_memory()
    with console.progress() as report:
        result = compute(real, fake, error_bars=error_bars, progress=report, **options)
    console.emit(result, to)
