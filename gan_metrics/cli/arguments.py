"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = [
    "METRIC_PANEL",
    "SIDE",
    "ErrorBars",
    "Fake",
    "FakeImages",
    "HeldOut",
    "Real",
    "RealImages",
    "metric_option",
]

SIDE = "A set of images (folder, archive, batch, URL, …), saved features, statistics, or ref:NAME."
_IMAGES = "A set of images (folder, archive, batch, URL, …), or saved features."
METRIC_PANEL = "Metric"
Real = Annotated[str, typer.Argument(metavar="REAL", help=SIDE)]
Fake = Annotated[str, typer.Argument(metavar="FAKE", help=SIDE)]
RealImages = Annotated[str, typer.Argument(metavar="REAL", help=_IMAGES)]
FakeImages = Annotated[str, typer.Argument(metavar="FAKE", help=_IMAGES)]
ErrorBars = Annotated[
    bool,
    typer.Option(
        "--error-bars/--no-error-bars",
        help="Standard error and 95 % interval (default: error-bars).",
        show_default=False,
        rich_help_panel="Output",
    ),
]
HeldOut = Annotated[
    str | None,
    typer.Option(
        "--held-out",
        help="Real images that were not used to train the generator.",
        metavar="SET",
        rich_help_panel="Images",
        show_default=False,
    ),
]


def metric_option(help_: str, **extra: Any) -> Any:
    """Return a Typer option for an argument of a metric."""
    return typer.Option(help=help_, rich_help_panel=METRIC_PANEL, **extra)
