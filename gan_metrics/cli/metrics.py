"""Verbs that give the score of one family of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.arguments import (
    ErrorBars,
    Fake,
    FakeImages,
    HeldOut,
    Real,
    RealImages,
    metric_option,
)
from gan_metrics.cli.main_options import Debug, Quiet, app
from gan_metrics.cli.options import takes_features, takes_output

__all__ = ["fid", "inception_score", "kid", "lpips", "memorization", "ppl", "prdc", "vendi"]


@app.command()
@console.guarded
@takes_features
@takes_output
def fid(
    real: Real,
    fake: Fake,
    options: dict[str, Any],
    to: dict[str, Any],
    directions: Annotated[
        int,
        metric_option(
            "Find so many directions that carry the distance.", min=0, max=16, metavar="N"
        ),
    ] = 0,
    error_bars: ErrorBars = True,
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

      gan-metrics fid real/ fake/ --directions 5   (where the sets differ)

      gan-metrics fid real/ fake/ --on-error skip --append log.jsonl

      gan-metrics fid real/ --generator package.module:function   (no files)
    """
    _score("fid", real, fake, options, to, error_bars, {"fid": _named(directions=directions)})


@app.command()
@console.guarded
@takes_features
@takes_output
def kid(
    real: RealImages,
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    subsets: Annotated[
        int | None,
        metric_option(
            "Random subsets that are averaged over (default: the protocol's, 100).",
            min=1,
            metavar="N",
            show_default=False,
        ),
    ] = None,
    subset_size: Annotated[
        int | None,
        metric_option(
            "Images in each (default: the protocol's, 1000).",
            min=2,
            metavar="N",
            show_default=False,
        ),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The kernel distance between REAL and FAKE: unbiased, and fit for few images.

    It may be negative: an unbiased estimate of a small number is below zero now and then.

    Examples:
      gan-metrics kid real/ fake/

      gan-metrics kid real/ fake/ --backbone efficientnet-lite0 --subset-size 500
    """
    given = {"kid": _named(subsets=subsets, subset_size=subset_size)}
    _score("kid", real, fake, options, to, error_bars, given)


@app.command("is")
@console.guarded
@takes_features
@takes_output
def inception_score(
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    splits: Annotated[
        int | None,
        metric_option(
            "Parts that are averaged over (default: the protocol's, 10).",
            min=1,
            metavar="N",
            show_default=False,
        ),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The Inception Score of FAKE: sharp class predictions, and many different ones.

    Images are shuffled with --seed before they are split.

    Examples:
      gan-metrics is fake/

      gan-metrics is fake/ --backbone efficientnet-lite0 --splits 1
    """
    _score("is", None, fake, options, to, error_bars, {"is": _named(splits=splits)})


@app.command()
@console.guarded
@takes_features
@takes_output
def prdc(
    real: RealImages,
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    k: Annotated[
        int | None,
        metric_option(
            "Neighbours (default: 3 for precision and recall, 5 for density and coverage).",
            min=1,
            metavar="N",
            show_default=False,
        ),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Precision, recall, density and coverage: fidelity and diversity, each by itself.

    Precision and density ask whether the fakes look real; recall and coverage, how much of what is
    real they reach.

    Examples:
      gan-metrics prdc real/ fake/

      gan-metrics prdc real/ fake/ --k 5 --json
    """
    from gan_metrics.metrics.registry import FAMILIES

    given = {name: _named(k=k) for name in FAMILIES["prdc"]}
    _score("prdc", real, fake, options, to, error_bars, given)


@app.command()
@console.guarded
@takes_features
@takes_output
def vendi(
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    q: Annotated[float, metric_option("Order, above 0: small ones weigh rare images more.")] = 1.0,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The Vendi score of FAKE: the effective number of different images.

    Between 1, where all are alike, and their number. Nothing in it asks whether they look real.

    Examples:
      gan-metrics vendi fake/

      gan-metrics vendi fake/ --q 0.5 --backbone efficientnet-lite0
    """
    _score("vendi", None, fake, options, to, error_bars, {"vendi": {"q": q}})


@app.command()
@console.guarded
@takes_features
@takes_output
def memorization(
    real: RealImages,
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    held_out: HeldOut = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Whether FAKE copies REAL, its training images: AuthPct, C_T, MiFID and FLD.

    C_T and FLD need --held-out, real images that the generator was not trained on. Near copies are
    named by evaluate --top.

    Examples:
      gan-metrics memorization train/ fake/ --held-out test/

      gan-metrics evaluate train/ fake/ --metrics authpct,mifid --top 20
    """
    from gan_metrics.errors import UsageError

    if held_out is None:
        raise UsageError(
            "C_T and FLD hold fakes against real images that were not trained on: give --held-out "
            "SET; for the others alone, evaluate --metrics authpct,mifid"
        )
    _score("memorization", real, fake, options, to, error_bars, held_out=held_out)


@app.command()
@console.guarded
@takes_features
@takes_output
def ppl(
    options: dict[str, Any],
    to: dict[str, Any],
    fake: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None,
    space: Annotated[
        str | None, metric_option("Where paths lie.", metavar="z|w", show_default=False)
    ] = None,
    sampling: Annotated[
        str | None,
        metric_option(
            "At any place of a path, or where it begins.",
            metavar="full|end",
            show_default=False,
        ),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The perceptual path length of a generator: how smoothly images follow its latents.

    By default as torch-fidelity and torchmetrics have it (z, end, straight, 64 pixels); --protocol
    stylegan3 goes along paths in w.

    Examples:
      gan-metrics ppl --generator package.module:function --n-fake 10000

      gan-metrics ppl --generator package.module:function --protocol stylegan3
    """
    from gan_metrics.errors import UsageError

    if fake is None or isinstance(fake, str):
        raise UsageError("a path length is that of a generator: give --generator, and no images")
    given = {"ppl": _named(space=space, sampling=sampling)}
    _score("ppl", None, fake, options, to, error_bars, given)


@app.command()
@console.guarded
@takes_features
@takes_output
def lpips(
    fake: FakeImages,
    options: dict[str, Any],
    to: dict[str, Any],
    pairs: Annotated[
        int | None,
        metric_option(
            "Pairs that are drawn (default: 1000).", min=2, metavar="N", show_default=False
        ),
    ] = None,
    within_class: Annotated[
        bool, metric_option("Pairs of one class folder alone.", show_default=False)
    ] = False,
    resize: Annotated[
        int | None,
        metric_option(
            "Bring images to a square of this size.", min=1, metavar="N", show_default=False
        ),
    ] = None,
    net: Annotated[
        str | None,
        metric_option("Network (default: alex).", metavar="alex|vgg|squeeze", show_default=False),
    ] = None,
    error_bars: ErrorBars = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The diversity of FAKE: the mean perceptual distance (LPIPS) between pairs of its images.

    It needs the extra lpips, and the weights of the network.

    Examples:
      gan-metrics lpips fake/

      gan-metrics lpips fake/ --within-class --resize 256
    """
    given = _named(pairs=pairs, within_class=within_class, resize=resize, net=net)
    names = {"lpips_diversity": given}
    _score("lpips_diversity", None, fake, options, to, error_bars, names)


def _score(
    names: str,
    real: str | None,
    fake: str,
    options: Mapping[str, Any],
    to: Mapping[str, Any],
    error_bars: bool,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: Any = None,
) -> None:
    """Compute metrics that must come out, and print them: one by itself, several as a list."""
    from gan_metrics.evaluation.run import score

    console.check_outputs(to["output"], to["append"])
    keep_freed_memory()
    with console.progress() as report:
        found = score(
            names,
            real,
            fake,
            **({} if held_out is None else {"held_out": held_out}),
            error_bars=error_bars,
            arguments=arguments,
            progress=report,
            **options,
        )
    console.emit(found[names] if len(found) == 1 else found, to)


def _named(**arguments: Any) -> dict[str, Any]:
    """Those of a metric's arguments that the command names."""
    return {name: value for name, value in arguments.items() if value}
