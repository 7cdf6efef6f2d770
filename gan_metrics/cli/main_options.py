"""The program's own options, and options that every command shares."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gan_metrics
from gan_metrics.cli import console

__all__ = ["Debug", "Quiet", "app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _set(name: str) -> Any:
    def callback(value: bool) -> bool:
        console.STATE[name] = value or console.STATE[name]
        return value

    return callback


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress and no warnings.", callback=_set("quiet"),
                 rich_help_panel="Output"),
]  # fmt: skip
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show a traceback if there is an error.", callback=_set("debug"),
                 rich_help_panel="Output"),
]  # fmt: skip


def _version(value: bool) -> None:
    if value:
        print(f"gan-metrics {gan_metrics.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How good are generated images? FID and its relatives, with error bars and provenance.

    [bold]gan-metrics demo[/bold] shows the main job on real images, offline.
    """
