"""Commands about sets of images and their features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.main_options import Debug, Quiet, app
from gan_metrics.cli.options import takes_features

if TYPE_CHECKING:
    from gan_metrics.stats.statistics import Statistics

__all__ = ["features", "inspect", "map_", "merge", "search", "stats"]

_PANEL = "Output"
_AS_JSON = typer.Option("--json", help="Print JSON.", rich_help_panel=_PANEL)


@app.command()
@console.guarded
@takes_features
def stats(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A set of images.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write.", metavar="OUT.npz|.pt|.pkl"),
    ],
    options: dict[str, Any],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="File format (default: from the file's extension). pytorch-fid, clean-fid, EDM "
            "and EDM2 also read npz; adm also holds spatial moments and images.",
            metavar="npz|torch-fidelity|edm2|adm",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the header as JSON.", rich_help_panel="Output")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write reference statistics: mu, sigma, n and a header with their feature space.

    pytorch-fid, clean-fid and EDM can also read the .npz. Use --format to write the files of other
    tools, with the tool's own protocol unless one is named.

    Examples:
      gan-metrics stats real/ -o real.npz

      gan-metrics fid real.npz fake/

      gan-metrics stats real/ -o real-inception-v3-compat-stat-fid-2048.pt

      gan-metrics stats real/ -o VIRTUAL_real.npz --format adm
    """
    from gan_metrics.api import write_reference

    console.check_outputs(output)
    keep_freed_memory()
    with console.progress() as report:
        path, statistics = write_reference(source, output, kind=format_, progress=report, **options)
    console.helpers_end()
    _show_statistics(path, statistics, json)


@app.command()
@console.guarded
def merge(
    parts: Annotated[
        list[str], typer.Argument(metavar="PART.npz", help="Statistics of parts of a set.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.", metavar="ALL.npz")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print the header as JSON.", rich_help_panel="Output")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Merge the statistics of the parts of a set, exactly as if computed in one run.

    Any scheduler can distribute the work: each job writes the statistics of its part.

    Examples:
      gan-metrics merge part-*.npz -o all.npz
    """
    from gan_metrics.api import merge_stats

    console.check_outputs(output)
    statistics = merge_stats(parts)
    _show_statistics(statistics.save(output), statistics, json)


@app.command()
@console.guarded
def inspect(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A set of images, features or statistics.")
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Read subfolders.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a picture of up to 64 of the images.",
            metavar="SHEET.png",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    json: Annotated[bool, _AS_JSON] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Describe a source: its kind, number of images, sizes, formats, broken files, duplicates.

    Every image is decoded once; no network is needed. Broken images are listed, and the exit code
    is still 0. For features and statistics: their feature space and number of images.

    Examples:
      gan-metrics inspect images/

      gan-metrics inspect train.zip -o sheet.png

      gan-metrics inspect statistics.npz

      gan-metrics inspect "shards/{000..099}.tar" --json
    """
    from gan_metrics.analysis.inspection import inspect_set

    console.check_outputs(output)
    with console.progress() as report:
        found = inspect_set(source, sheet=output, recursive=recursive, progress=report)
    console.show_warnings(found.warnings)
    if json:
        console.print_json(found.to_json())
    else:
        print(found.to_text())  # noqa: T201


def _show_statistics(path: Path, statistics: Statistics, json: bool) -> None:
    """Print what was written."""
    console.show_warnings(statistics.warnings)
    if json:
        console.print_json({**statistics.header(), "path": str(path)})
        return
    spec, moments = statistics.spec, statistics.moments
    print(f"{path}: {moments.n} images, {moments.dim} dimensions")  # noqa: T201
    print(f"  features     {spec.backbone} {spec.layer}, {statistics.protocol}")  # noqa: T201
    print(f"  fingerprint  {spec.fingerprint()}")  # noqa: T201


@app.command()
@console.guarded
@takes_features
def features(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A set of images, or saved features.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .npz, .npy, .safetensors or .parquet.",
            metavar="OUT",
        ),
    ],
    options: dict[str, Any],
    json: Annotated[bool, _AS_JSON] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the features of images, with the names of the images and the feature space.

    The file can be used wherever a folder of images can. With --pool none, feature maps keep their
    shape. A .npy file is a plain array that can be memory-mapped; names and feature space are in
    the .npy.json file next to it.

    Examples:
      gan-metrics features images/ -o images.npz

      gan-metrics features images/ -o images.npy --backbone vgg19 --layer fc7

      gan-metrics features images/ -o maps.npy --layer 768 --pool none
    """
    from gan_metrics.api import extract_features
    from gan_metrics.features.files import check_format, save_features

    check_format(output)
    keep_freed_memory()
    with console.progress() as report:
        found = extract_features(source, progress=report, **options)
    console.helpers_end()
    path = save_features(found, output)
    console.show_warnings(found.warnings)
    spec, shape = found.spec, list(found.array.shape)
    if json:
        console.print_json(
            {"path": str(path), "shape": shape, "feature_spec": spec.to_json(),
             "skipped": len(found.skipped)}
        )  # fmt: skip
        return
    print(f"{path}: {' × '.join(map(str, shape))}")  # noqa: T201
    print(f"  features     {spec.backbone} {spec.layer}, {found.protocol}")  # noqa: T201
    print(f"  fingerprint  {spec.fingerprint()}")  # noqa: T201


@app.command()
@console.guarded
@takes_features
def search(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="An image, a set of images, or features.")
    ],
    gallery: Annotated[
        str, typer.Argument(metavar="GALLERY", help="A set of images, or saved features.")
    ],
    options: dict[str, Any],
    top_k: Annotated[
        int, typer.Option(help="Number of matches for each query.", min=1, metavar="N")
    ] = 5,
    distance: Annotated[
        str, typer.Option(metavar="cosine|euclidean", help="Distance between features.")
    ] = ("cosine"),
    index: Annotated[
        str,
        typer.Option(
            metavar="exact|ivf|hnsw",
            help="Index for the search; the recall of ivf and hnsw is measured.",
        ),
    ] = "exact",
    flag_below: Annotated[
        float | None,
        typer.Option(help="List pairs closer than this: likely copies.", metavar="DISTANCE"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write queries and their matches as .html or .png.",
            metavar="FILE",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    json: Annotated[bool, _AS_JSON] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the nearest images by their features: similar images and copies.

    If QUERY and GALLERY are the same set, an image is not its own neighbor.

    Examples:
      gan-metrics search generated/ training/ --flag-below 0.05 -o matches.html

      gan-metrics search photo.jpg training.npy --top-k 10

      gan-metrics search images/ images/ --flag-below 0.01   (near duplicates)
    """
    from gan_metrics.analysis.nearest_images import search as find
    from gan_metrics.reports.nearest_images import check_search_format, save_search_result

    if output is not None:
        check_search_format(output)
    keep_freed_memory()
    with console.progress() as report:
        found = find(
            query,
            gallery,
            top_k=top_k,
            distance=distance,
            index=index,
            flag_below=flag_below,
            progress=report,
            **options,
        )
    console.helpers_end()
    console.show_warnings(found.warnings)
    if json:
        console.print_json(found.to_json())
    else:
        rows = [
            (name if rank == 0 else "", str(rank + 1), f"{d:.4f}", match)
            for i, name in enumerate(found.query)
            for rank, (match, d) in enumerate(found.of(i))
        ]
        console.table("Nearest images", ("query", "rank", found.distance, "match"), rows)
        if flag_below is not None:
            pairs = [(f"{d:.4f}", q, m) for q, m, d in found.flagged()]
            print()  # noqa: T201
            print(f"{len(pairs)} suspicious pairs, closer than {flag_below:g}")  # noqa: T201
            if pairs:
                console.table("", (found.distance, "query", "match"), pairs)
    if found.recall is not None:
        console.note(f"recall of the {index} index: {found.recall:.3f}")
    if output is not None:
        shown = save_search_result(found, output)
        console.note(f"{output}: {shown} of {len(found.query)} queries")


@app.command("map")
@console.guarded
@takes_features
def map_(
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="A set of images, or saved features.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File to write: .html, .png, .svg or .pdf.", metavar="FILE"
        ),
    ],
    options: dict[str, Any],
    fake: Annotated[
        str | None,
        typer.Argument(
            metavar="FAKE", help="A second set, such as the generated images.", show_default=False
        ),
    ] = None,
    method: Annotated[str, typer.Option(metavar="tsne|umap", help="Projection method.")] = "tsne",
    color_by: Annotated[
        str, typer.Option(metavar="set|class", help="Color by set, or by class folder.")
    ] = "set",
    perplexity: Annotated[
        float, typer.Option(help="Perplexity of t-SNE.", min=1.0, metavar="X")
    ] = 30.0,
    neighbors: Annotated[
        int, typer.Option(help="Number of neighbors of UMAP.", min=2, metavar="N")
    ] = 15,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a two-dimensional map of features, by t-SNE or UMAP.

    The .html shows the image under the pointer. Close points are similar; distances between
    distant points mean nothing.

    Examples:
      gan-metrics map real/ fake/ -o map.html

      gan-metrics map images/ -o classes.png --color-by class --method umap
    """
    from gan_metrics.analysis.projection import feature_map
    from gan_metrics.reports.maps import check_map_format, save_map

    check_map_format(output)
    keep_freed_memory()
    with console.progress() as report:
        drawn = feature_map(
            real,
            fake,
            method=method,
            color_by=color_by,
            perplexity=perplexity,
            neighbors=neighbors,
            progress=report,
            **options,
        )
    console.helpers_end()
    save_map(drawn, output)
    console.show_warnings(drawn.warnings)
    print(f"{output}: {len(drawn.names)} images")  # noqa: T201
