"""Commands about the installation: demo, doctor, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.main_options import Debug, Quiet, app

__all__ = ["demo", "doctor"]

cache_app = typer.Typer(help="Show or empty the feature cache.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

_Cache = Annotated[
    str | None, typer.Option(help="Another folder, or redis://host:port/db.", metavar="DIR")
]


@app.command()
@console.guarded
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the images.", metavar="DIR")
    ] = Path("demo"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the main job on real images, offline, in under two minutes.

    Three models of increasing quality are fitted to handwritten digits. Their samples, and held-out
    real digits as the floor, are compared with the real digits in the embedded classifier.
    """
    from gan_metrics.demo import run_demo

    keep_freed_memory()
    with console.progress() as report:
        rows = list(run_demo(output, progress=report))
    lines = []
    for row in rows:
        low, high = row.result.ci95 or (row.result.value, row.result.value)
        error = row.result.standard_error or 0.0
        lines.append((row.name, f"{row.result.value:.2f} ± {error:.2f}", f"{low:.2f} … {high:.2f}"))
    first = rows[0].result
    console.table(
        f"Fréchet distance to {output / 'real'} ({first.feature_spec.backbone})",
        ("generator", "FD ± standard error", "95 % interval"),
        lines,
    )
    console.note(f"Pictures of the samples: {output / 'samples.png'}")
    console.note(
        f"Next: gan-metrics fid {output / 'real'} {output / 'gaussian-mixture'} "
        "--backbone efficientnet-lite0"
    )


@app.command()
@console.guarded
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show devices, versions, the folders of weights and cache, and what is missing."""
    from gan_metrics.cli.doctor import describe_environment

    report = describe_environment()
    if json:
        console.print_json(report)
        return
    for section, facts in report.items():
        print(section)  # noqa: T201
        for name, fact in facts.items():
            print(f"  {name:<20} {fact}")  # noqa: T201


@cache_app.command("info")
@console.guarded
def cache_info(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    cache: _Cache = None,
    debug: Debug = False,
) -> None:
    """Show the cache's folder, its content and its size limit."""
    from gan_metrics.inputs.options import open_cache

    store = open_cache(cache or True)
    assert store is not None  # noqa: S101
    info = store.info()
    if json:
        facts = {"path": str(info.path), "chunks": info.chunks, "bytes": info.size}
        console.print_json({**facts, "limit_bytes": info.limit})
        return
    print(info.path)  # noqa: T201
    cap = f" of {info.limit / 2**30:g} GiB" if info.limit else ""
    print(f"  {info.chunks} entries, {info.size / 2**20:.1f} MiB{cap}")  # noqa: T201


@cache_app.command("clear")
@console.guarded
def cache_clear(
    cache: _Cache = None,
    debug: Debug = False,
) -> None:
    """Delete every cached feature."""
    from gan_metrics.inputs.options import open_cache

    store = open_cache(cache or True)
    assert store is not None  # noqa: S101
    print(f"deleted {store.clear()} entries from {store.description}")  # noqa: T201
