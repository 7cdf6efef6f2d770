"""The verbs. Each imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import gan_metrics
from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.options import takes_features, takes_output

__all__ = ["app"]

app = typer.Typer(
    help="How good are generated images? FID and its relatives, with error bars and provenance.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cache_app = typer.Typer(help="The feature cache: what it holds; empty it.", no_args_is_help=True)
weights_app = typer.Typer(
    help="Weights of the backbones: where they are; get them.", no_args_is_help=True
)
app.add_typer(cache_app, name="cache")
app.add_typer(weights_app, name="weights")

_SIDE = "A folder of images or a statistics .npz."
Real = Annotated[str, typer.Argument(metavar="REAL", help=_SIDE)]
Fake = Annotated[str, typer.Argument(metavar="FAKE", help=_SIDE)]


def _set(name: str) -> Any:
    def callback(value: bool) -> bool:
        console.STATE[name] = value or console.STATE[name]
        return value

    return callback


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no warnings.", callback=_set("quiet"),
                 rich_help_panel="Output"),
]  # fmt: skip
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show a traceback on errors.", callback=_set("debug"),
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


@app.command()
@console.guarded
@takes_features
def stats(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder of images.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .npz to write.", metavar="OUT.npz")
    ],
    options: dict[str, Any],
    json: Annotated[
        bool, typer.Option("--json", help="Print the header as JSON.", rich_help_panel="Output")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write reference statistics: mu, sigma, n and a header that says what they are of.

    pytorch-fid reads the file too.

    Examples:
      gan-metrics stats real/ -o real.npz

      gan-metrics fid real.npz fake/
    """
    from gan_metrics.evaluate import compute_stats

    console.check_outputs(output)
    keep_freed_memory()
    with console.progress() as report:
        statistics = compute_stats(source, progress=report, **options)
    path = statistics.save(output)
    console.show_warnings(statistics.warnings)
    if json:
        console.print_json({**statistics.header(), "path": str(path)})
    else:
        spec, moments = statistics.spec, statistics.moments
        print(f"{path}: {moments.n} images, {moments.dim} dimensions")  # noqa: T201
        print(f"  features     {spec.backbone} {spec.layer}, {statistics.protocol}")  # noqa: T201
        print(f"  fingerprint  {spec.fingerprint()}")  # noqa: T201


@app.command()
@console.guarded
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the images.", metavar="DIR")
    ] = Path("demo"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The main job on real images, offline, in under two minutes.

    Three models of rising quality are fitted to handwritten digits; their samples, and held-out
    real digits as the floor, are compared with the real ones by the embedded classifier.
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
    console.note(f"Samples to look at: {output / 'samples.png'}")
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
    """Device, versions, where weights and the cache are, and what is missing."""
    from gan_metrics.cli.doctor import examine

    report = examine()
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
    cache: Annotated[Path | None, typer.Option(help="Another folder.", metavar="DIR")] = None,
    debug: Debug = False,
) -> None:
    """Where the cache is, what it holds, and its cap."""
    from gan_metrics.cache import FeatureCache

    info = FeatureCache(cache).info()
    if json:
        facts = {"path": str(info.path), "chunks": info.chunks, "bytes": info.size}
        console.print_json({**facts, "limit_bytes": info.limit})
        return
    print(info.path)  # noqa: T201
    print(  # noqa: T201
        f"  {info.chunks} chunks, {info.size / 2**20:.1f} MiB of {info.limit / 2**30:g} GiB"
    )


@cache_app.command("clear")
@console.guarded
def cache_clear(
    cache: Annotated[Path | None, typer.Option(help="Another folder.", metavar="DIR")] = None,
    debug: Debug = False,
) -> None:
    """Delete every cached feature."""
    from gan_metrics.cache import FeatureCache

    store = FeatureCache(cache)
    print(f"deleted {store.clear()} chunks from {store.root}")  # noqa: T201


@weights_app.command("list")
@console.guarded
def weights_list(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Which weights are on this machine, and where."""
    from gan_metrics.backbones.registry import BACKBONES, weights_source
    from gan_metrics.backbones.weights import status

    found = {name: status(weights_source(name)) for name in BACKBONES}
    if json:
        console.print_json({name: path and str(path) for name, (path, _) in found.items()})
        return
    rows = [(name, text) for name, (_, text) in found.items()]
    console.table("Weights", ("backbone", "file"), rows)


@weights_app.command("pull")
@console.guarded
def weights_pull(
    backbone: Annotated[
        str, typer.Argument(metavar="BACKBONE", help="Whose weights.")
    ] = "inception",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download and verify the weights of a backbone, if they are not here."""
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
    backbone: Annotated[str, typer.Option(help="Whose weights.")] = "inception",
    debug: Debug = False,
) -> None:
    """Verify a weights file and copy it to where it will be found."""
    from gan_metrics.backbones.weights import add

    added = add(_source(backbone), file)
    print(f"{added.path}\n  sha256 {added.sha256}")  # noqa: T201


@weights_app.command("verify")
@console.guarded
def weights_verify(
    backbone: Annotated[
        str, typer.Argument(metavar="BACKBONE", help="Whose weights.")
    ] = "inception",
    debug: Debug = False,
) -> None:
    """Check the weights that would be used against the published hash."""
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
