"""Commands that write the report and single figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.main_options import Debug, Quiet, app
from gan_metrics.cli.options import takes_features

__all__ = ["attribution", "history", "report"]

plot_app = typer.Typer(help="Single figures for a paper.", no_args_is_help=True)
app.add_typer(plot_app, name="plot")


Real = Annotated[
    str, typer.Argument(metavar="REAL", help="Images, saved features, statistics, or ref:NAME.")
]
Fakes = Annotated[
    list[str],
    typer.Argument(metavar="FAKE [FAKE_B …]", help="Images or saved features, one set or several."),
]
Figure = Annotated[
    Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.", metavar="FILE")
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="Classes, as .csv or .json (default: class folders).", metavar="FILE"
    ),
]


@app.command()
@console.guarded
@takes_features
def report(
    real: Real,
    fakes: Fakes,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .html.", metavar="FILE")
    ],
    options: dict[str, Any],
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated names; the first ranks (default: fid, fd_infinity, kid, prdc, "
            "authpct).",
            metavar="fid,kid,…",
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(help="Held-out real images, for ct and fld.", metavar="SET"),
    ] = None,
    labels: Labels = None,
    history: Annotated[
        Path | None,
        typer.Option(help="Log of the training, for its curves.", metavar="LOG.jsonl"),
    ] = None,
    shown: Annotated[int, typer.Option(help="Number of images in each gallery.", min=0)] = 12,
    map_: Annotated[
        str, typer.Option("--map", metavar="tsne|umap|none", help="Projection method of the map.")
    ] = "tsne",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one page that shows how good the images are, which parts contribute, and its limits.

    Scores with error bars, the terms of the distance, the images that raise it and the real images
    that are not covered, near copies, a map. The page is self-contained and needs no network.

    Examples:
      gan-metrics report real/ fake/ -o report.html

      gan-metrics report real/ gan/ flow/ -o r.html --history train.jsonl
    """
    from gan_metrics.reports import data
    from gan_metrics.reports.html_report import check_report_format, save_report

    check_report_format(output)
    keep_freed_memory()
    with console.progress() as progress:
        found = data.report(
            real,
            fakes,
            metrics=data.REPORT_METRICS if metrics is None else metrics.split(","),
            held_out=held_out,
            labels=labels,
            history=history,
            shown=shown,
            map_method=None if map_ == "none" else map_,
            progress=progress,
            **options,
        )
    console.helpers_end()
    save_report(found, output)
    console.show_warnings(found.warnings)
    size = output.stat().st_size / 2**20
    print(f"{output}: {size:.1f} MiB; open it in a browser")  # noqa: T201


_CHARTS = {
    "comparison": ("Generators with their intervals, best first.", "fid"),
    "terms": ("Mean term and covariance term of the Fréchet distance.", "fid"),
    "spectrum": ("Eigenvalues of the covariances.", "fid"),
    "growth": ("Distance over the number of generated images, with extrapolation.", "fd_infinity"),
    "prdc": ("Precision, recall, density and coverage.", "prdc"),
    "classes": ("Distance for each class.", "fid"),
}
"""Name of each figure, with its description and the metrics that it needs."""


def _plotter(key: str, about: str, metrics: str) -> Callable[..., None]:
    @console.guarded
    @takes_features
    def plot(
        real: Real,
        fakes: Fakes,
        output: Figure,
        options: dict[str, Any],
        labels: Labels = None,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        from gan_metrics.errors import UsageError
        from gan_metrics.reports import data
        from gan_metrics.reports.charts import charts_of
        from gan_metrics.reports.matplotlib_charts import save_chart
        from gan_metrics.reports.style import check_figure_format

        check_figure_format(output)
        keep_freed_memory()
        with console.progress() as progress:
            found = data.report(
                real, fakes, metrics=metrics, labels=labels, shown=0, places=0, map_method=None,
                by_class=key == "classes", progress=progress, **options,
            )  # fmt: skip
        console.helpers_end()
        chart = next((one for one in charts_of(found) if one.key == key), None)
        if chart is None:
            known = {**found.missing, **next((g.missing for g in found.generators), {})}
            why = known.get({"comparison": "ranking"}.get(key, key), _NOTHING.get(key, about))
            raise UsageError(f"cannot draw this figure: {why}")
        save_chart(chart, output)
        console.show_warnings(found.warnings)
        print(f"{output}: {chart.title}")  # noqa: T201

    plot.__doc__ = (
        f"{about}\n\nOne of the report's charts.\n\nExamples:\n  gan-metrics plot {key} real/ "
        f"{'gan/ diffusion/' if key == 'comparison' else 'fake/'} -o {key}.pdf\n"
    )
    return plot


_NOTHING = {
    "comparison": "it needs at least two generators",
    "classes": "both sets need class folders of the same names, or --labels",
}

for _key, (_about, _metrics) in _CHARTS.items():
    plot_app.command(_key)(_plotter(_key, _about, _metrics))


@plot_app.command()
@console.guarded
def history(
    log: Annotated[Path, typer.Argument(metavar="LOG.jsonl", help="The log of a training.")],
    output: Figure,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric of the log (default: the first one).", metavar="NAME"),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a metric over the steps of a training, with its 95 % intervals.

    LOG.jsonl is written by training.Evaluator(log=…) or by --append.

    Examples:
      gan-metrics plot history train.jsonl -o curve.pdf

      gan-metrics plot history train.jsonl -o kid.pdf --metric kid
    """
    from gan_metrics.errors import unknown_name
    from gan_metrics.reports.charts import history_charts
    from gan_metrics.reports.matplotlib_charts import save_chart
    from gan_metrics.reports.style import check_figure_format
    from gan_metrics.reports.training_log import read_history

    check_figure_format(output)
    found = read_history(log)
    charts = dict(zip(found.curves, history_charts(found), strict=True))
    metric = next(iter(charts)) if metric is None else metric
    if metric not in charts:
        raise unknown_name("metric of the log", metric, charts)
    chart = charts[metric]
    save_chart(chart, output)
    print(f"{output}: {chart.title}")  # noqa: T201


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
        typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.", metavar="FILE"),
    ],
    options: dict[str, Any],
    top: Annotated[
        int,
        typer.Option(help="Number of images that raise the distance most.", min=1, metavar="N"),
    ] = 8,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="Name of an image to draw instead; can be repeated.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw which regions of generated images contribute to the Fréchet distance.

    Red regions raise the distance, blue regions lower it.

    Examples:
      gan-metrics plot attribution real/ fake/ -o where.png

      gan-metrics plot attribution real/ fake/ -o where.pdf --name 0017.png
    """
    from gan_metrics.analysis.attribution import attribute
    from gan_metrics.reports.attribution import save_attribution
    from gan_metrics.reports.style import check_figure_format

    check_figure_format(output)
    keep_freed_memory()
    with console.progress() as report:
        found = attribute(real, fake, top=top, names=name or (), progress=report, **options)
    console.helpers_end()
    save_attribution(found, output)
    console.show_warnings(found.warnings)
    print(f"{output}: {len(found)} images, {found.layer}")  # noqa: T201
