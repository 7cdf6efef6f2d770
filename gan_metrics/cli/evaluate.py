"""Commands about several metrics, several generators, and saved results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.arguments import (
    METRIC_PANEL,
    SIDE,
    ErrorBars,
    Fake,
    HeldOut,
    Real,
    metric_option,
)
from gan_metrics.cli.main_options import Debug, Quiet, app
from gan_metrics.cli.options import takes_features, takes_output

__all__ = ["compare", "evaluate", "metrics", "reproduce"]

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="An argument of a metric, such as precision.k=5 or kid.subsets=50.",
        metavar="METRIC.NAME=VALUE",
        rich_help_panel=METRIC_PANEL,
        show_default=False,
    ),
]


def _images(help_: str, *names: str, **extra: Any) -> Any:
    return typer.Option(
        *names, help=help_, rich_help_panel="Images and classes", show_default=False, **extra
    )


@app.command()
@console.guarded
@takes_features
@takes_output
def evaluate(
    real: Real,
    fake: Fake,
    options: dict[str, Any],
    to: dict[str, Any],
    metrics: Annotated[
        str, metric_option("Comma-separated names, or all.", metavar="fid,kid,prdc,…|all")
    ] = "all",
    set_: Set = None,
    held_out: HeldOut = None,
    per_image: Annotated[
        Path | None,
        _images(
            "Write each generated image's influence on the score and its nearest real image.",
            "--per-image",
            metavar="OUT.csv|parquet",
        ),
    ] = None,
    top: Annotated[
        int, _images("List the N best and worst generated images.", "--top", min=0, metavar="N")
    ] = 0,
    per_class: Annotated[
        bool, _images("Also compute the metrics of each class (class folders).", "--per-class")
    ] = False,
    labels: Annotated[
        list[Path] | None,
        _images(
            "File of names and classes, .csv or .json; give it twice for REAL and FAKE.",
            "--labels",
            metavar="FILE",
        ),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compute many metrics with one decode and one pass of each network.

    Metrics that cannot be computed are listed with the reason. With several protocols, the table
    shows how much the protocol alone changes the number.

    --per-image, --top, --per-class and --labels report single images and classes in the same pass.

    Examples:
      gan-metrics evaluate real/ fake/

      gan-metrics evaluate real/ fake/ --metrics fid,kid,prdc --json

      gan-metrics evaluate real/ fake/ --metrics prdc --set precision.k=5

      gan-metrics evaluate real/ fake/ --metrics fid --protocol tf1,clean-fid

      gan-metrics evaluate real/ fake/ --per-image images.csv --top 20

      gan-metrics evaluate train/ fake/ --metrics memorization --held-out test/
    """
    from gan_metrics.analysis.per_image import check_table
    from gan_metrics.api import evaluate as compute

    console.check_outputs(to["output"], to["append"])
    if per_image is not None:
        check_table(per_image)
    arguments = _arguments(set_, metrics)
    keep_freed_memory()
    with console.progress() as report:
        found = compute(
            real,
            fake,
            metrics=metrics,
            held_out=held_out,
            error_bars=error_bars,
            arguments=arguments,
            per_image=per_image is not None,
            per_class=per_class,
            labels=_for_both(labels),
            top=top,
            progress=report,
            **options,
        )
    console.emit(found, to)
    if per_image is not None:
        found.per_image.save(per_image)
    if not found:
        console.leave("no metric could be computed", 5)


@app.command()
@console.guarded
@takes_features
@takes_output
def compare(
    real: Real,
    fakes: Annotated[
        list[str],
        typer.Argument(
            metavar="FAKE",
            help="Images of each generator, as REAL; NAME=RUN1,RUN2,… for several training runs.",
        ),
    ],
    options: dict[str, Any],
    to: dict[str, Any],
    metrics: Annotated[
        str, metric_option("Comma-separated names; the first one ranks.", metavar="fid,kid,…")
    ] = "fid",
    set_: Set = None,
    held_out: HeldOut = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Format of the printed table.",
            metavar="text|csv|markdown|latex|json",
            rich_help_panel="Output",
        ),
    ] = "text",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Rank generators, and report which differences between neighbors are significant.

    A difference is significant if redraws of equal generators would differ as much in less than
    5 % of cases. Training again with another seed changes FID about three times as much as drawing
    new images: give several runs of each generator, NAME=RUN1,RUN2, to use their spread instead.

    -o writes .json, .csv, .md or .tex.

    Examples:
      gan-metrics compare real/ gan/ diffusion/ flow/

      gan-metrics compare real/ gan/ flow/ --metrics fid,prdc --format markdown

      gan-metrics compare real.npz gan=run1/,run2/ flow=run3/,run4/ -o table.tex
    """
    from gan_metrics.analysis.comparison import compare as compute
    from gan_metrics.errors import UsageError, unknown_name

    writers = {"csv": "to_csv", "markdown": "to_markdown", "latex": "to_latex", "text": "to_text"}
    if format_ not in (*writers, "json"):
        raise unknown_name("format", format_, [*writers, "json"])
    endings = {".csv": "to_csv", ".md": "to_markdown", ".tex": "to_latex"}
    output = to["output"]
    if output is not None and output.suffix.lower() not in (*endings, ".json"):
        raise UsageError(f"-o {output}: expected a file name ending in .json, .csv, .md or .tex")
    console.check_outputs(output, to["append"])
    arguments, models = _arguments(set_, metrics), _runs(fakes)
    keep_freed_memory()
    with console.progress() as report:
        found = compute(
            real,
            models,
            metrics=metrics.split(","),
            held_out=held_out,
            arguments=arguments,
            progress=report,
            **options,
        )
    text = None if format_ == "json" else getattr(found, writers[format_])()
    written = None
    if output is not None and output.suffix.lower() in endings:
        written = getattr(found, endings[output.suffix.lower()])()
    console.emit(found, to, text=text, json=format_ == "json", written=written)


@app.command()
@console.guarded
@takes_features
def reproduce(
    record: Annotated[
        Path, typer.Argument(metavar="RESULT.json", help="A file written by -o or --append.")
    ],
    options: dict[str, Any],
    real: Annotated[str | None, typer.Argument(metavar="REAL", help=SIDE)] = None,
    fake: Annotated[str | None, typer.Argument(metavar="FAKE", help=SIDE)] = None,
    held_out: HeldOut = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Output")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compute a saved result again from its record, and report whether the values agree.

    Backbone, layer, protocol, precision, arguments, seed and draw come from the record (of a log:
    its last line). For a metric of the generated images only, give only these. The exit code is 4
    if a value does not agree or the images differ.

    Examples:
      gan-metrics fid real/ fake/ -o result.json

      gan-metrics reproduce result.json real/ fake/
    """
    from gan_metrics.analysis.reproduction import redraw_images
    from gan_metrics.analysis.reproduction import reproduce as compute
    from gan_metrics.errors import UsageError

    drawn = redraw_images(record, fake)
    sets = [one for one in (real, drawn) if one is not None]
    if not sets:
        raise UsageError("REAL is missing: give the sets of images of the record")
    stated = {k: v for k, v in options.items() if v is not None}
    keep_freed_memory()
    with console.progress() as report:
        found = compute(record, *sets, held_out=held_out, progress=report, **stated)
    console.helpers_end()
    console.show_warnings(found.warnings)
    if json:
        console.print_json(found.to_json())
    else:
        print(found.to_text())  # noqa: T201
    if not found.agrees:
        console.leave("the recorded result was not reproduced", 4)


@app.command()
@console.guarded
def metrics(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the metrics, what each one needs, and its source."""
    from gan_metrics.metrics.registry import FAMILIES, METRICS, REGISTRY

    if json:
        console.print_json(
            {
                "metrics": {
                    row.name: {
                        "summary": row.summary,
                        "needs": row.needs,
                        "sides": row.n_sets,
                        "moments": row.accepts_statistics,
                        "better": row.better,
                        "arguments": list(row.arguments),
                        "error_bar": row.error_bar,
                        "source": row.source,
                        **console.plugin_of(REGISTRY, row.name),
                    }
                    for row in METRICS.values()
                },
                "families": {name: list(members) for name, members in FAMILIES.items()},
            }
        )
        return
    kinds = {"clip": "features (CLIP's by default)", "spatial": "features of layer spatial"}
    needs = {"both": " or moments", "real": ", or moments of REAL", "": ""}
    rows = [
        (
            row.name,
            "REAL FAKE" if row.n_sets == 2 else "FAKE",
            f"{kinds.get(row.needs, row.needs)}{needs[row.accepts_statistics]}",
            row.better,
            row.summary,
            str(REGISTRY.origin(row.name) or row.source),
        )
        for row in METRICS.values()
    ]
    console.table("Metrics", ("name", "sets", "needs", "better", "description", "source"), rows)
    for name, members in FAMILIES.items():
        console.note(f"{name} means {', '.join(members)}")


def _arguments(given: list[str] | None, metrics: str) -> dict[str, dict[str, Any]]:
    """Return the values of ``METRIC.NAME=VALUE`` as keyword arguments for each metric.

    Raises:
        UsageError: If a text has another form, or names a metric that is not computed.
    """
    import json
    import math

    from gan_metrics.errors import UsageError
    from gan_metrics.metrics.registry import check_arguments, expand

    found: dict[str, dict[str, Any]] = {}
    for text in given or ():
        path, equals, value = (part.strip() for part in text.partition("="))
        metric, dot, name = (part.strip() for part in path.partition("."))
        if not (equals and dot and metric and name):
            raise UsageError(f"--set {text}: expected METRIC.NAME=VALUE, such as precision.k=5")
        if name in found.get(metric, {}):
            raise UsageError(f"--set {metric}.{name} is given twice")
        try:
            lower = value.lower()
            known = (
                math.inf
                if lower in ("inf", "infinity")
                else json.loads(
                    "null" if lower == "none" else lower if lower in ("true", "false") else value
                )
            )
        except ValueError:
            known = value  # a word; the argument's own check decides
        found.setdefault(metric, {})[name] = known
    requested = {row.name for row in expand(metrics).values()}
    if idle := sorted(set(check_arguments(found)) - requested):
        names = ", ".join(idle)
        raise UsageError(f"--set is given for {names}, but --metrics does not include it")
    return found


def _for_both(labels: list[Path] | None) -> Any:
    """Return one file of labels for both sets, or one for each set."""
    from gan_metrics.errors import UsageError

    if labels and len(labels) > 2:
        raise UsageError(
            f"--labels is given {len(labels)} times; give it once for both sets, or twice"
        )
    return None if not labels else labels[0] if len(labels) == 1 else tuple(labels)


def _runs(fakes: list[Any]) -> Any:
    """Return a list of paths, or a mapping of names to paths if names are given."""
    import os

    from gan_metrics.errors import UsageError

    named = [f for f in fakes if isinstance(f, str) and "=" in f and not os.path.exists(f)]
    if not named:
        return fakes
    models: dict[str, Any] = {}
    for fake in fakes:
        if not isinstance(fake, str):
            models[fake.description] = fake
            continue
        name, _, paths = fake.partition("=") if fake in named else (os.path.normpath(fake), "", "")
        name = name if fake in named else os.path.basename(name)
        if not name.strip():
            raise UsageError(f"{fake!r} has no name before '='; expected NAME=RUN1,RUN2,…")
        if name in models:
            raise UsageError(f"the generator {name!r} is given twice; separate its runs by commas")
        models[name] = [path for path in paths.split(",") if path] if fake in named else fake
    return models
