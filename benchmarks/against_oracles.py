"""Compare every metric with another implementation on the same features; print a Markdown table.

Prints ``docs/oracles-table.md``. Needs the extra ``test``, which brings the other packages; where
there is none, the naive definition that the tests keep is the oracle.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import oracles

from gan_metrics import metrics
from gan_metrics.metrics.class_predictions import inception_score_estimate
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.mmd import kid_estimate

N, M, DIM = 1200, 1000, 64
QUIET = {"verbose": False}


def features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sets as a network gives them (float32, ≥ 0, correlated), and logits."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(DIM, DIM)) / np.sqrt(DIM)
    real = np.maximum(rng.normal(size=(N, DIM)) @ mix + 0.3, 0)
    fake = np.maximum(rng.normal(size=(M, DIM)) * 1.15 @ mix + 0.4, 0)
    logits = 3 * rng.normal(size=(M, 20))
    return real.astype(np.float32), fake.astype(np.float32), logits.astype(np.float32)


Row = tuple[str, Callable[[], float], str, Callable[[], float]]


def rows() -> Iterator[Row]:
    """Name, ours, the oracle's name, the oracle."""
    x, y, logits = features()
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    moments = [(a.mean(0), np.cov(a, rowvar=False)) for a in (x.astype(float), y.astype(float))]

    import ot
    import prdc
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd
    from torchmetrics.image.mifid import _mifid_compute
    from vendi_score import vendi

    def fid() -> float:
        return metrics.frechet_distance(x, y)

    yield "fid", fid, "pytorch-fid", lambda: calculate_frechet_distance(*moments[0], *moments[1])
    stats = [{"mu": mu, "sigma": sigma} for mu, sigma in moments]
    yield (
        "fid",
        fid,
        "torch-fidelity",
        lambda: metric_fid.fid_statistics_to_metric(*stats, verbose=False)[
            "frechet_inception_distance"
        ],
    )
    tensors = [torch.from_numpy(part) for pair in moments for part in pair]
    yield "fid", fid, "torchmetrics", lambda: float(_compute_fid(*tensors))

    def seeded_kid() -> Estimate:
        return kid_estimate(x, y, seed=np.random.RandomState(2020), error_bar=False)

    def their_kid(key: str) -> Callable[[], float]:
        return lambda: metric_kid.kid_features_to_metric(
            tx, ty, kid_subsets=100, kid_subset_size=1000, rng_seed=2020, **QUIET
        )[f"kernel_inception_distance_{key}"]

    yield "kid", lambda: seeded_kid().value, "torch-fidelity, its subsets", their_kid("mean")
    yield ("kid, spread of subsets", lambda: float(seeded_kid().details["subset_std"]),
           "torch-fidelity", their_kid("std"))  # fmt: skip
    yield ("kernel_distance", lambda: metrics.kernel_distance(x[:M], y),
           "torchmetrics", lambda: float(_poly_mmd(poly_mmd, tx[:M], ty)))  # fmt: skip
    yield ("kernel_distance", lambda: metrics.kernel_distance(x, y),
           "naive definition", lambda: oracles.mmd_polynomial(x, y))  # fmt: skip
    yield ("cmmd", lambda: metrics.cmmd(x[:400], y[:300]),
           "naive definition", lambda: oracles.cmmd_direct(x[:400], y[:300]))  # fmt: skip

    def isc(key: str) -> Callable[[], float]:
        return lambda: metric_isc.isc_features_to_metric(torch.from_numpy(logits))[
            f"inception_score_{key}"
        ]

    def seeded_is() -> Estimate:
        return inception_score_estimate(logits, seed=np.random.RandomState(2020), error_bar=False)

    yield "is", lambda: seeded_is().value, "torch-fidelity, its shuffle", isc("mean")
    yield ("is, spread of splits", lambda: float(seeded_is().details["split_std"]),
           "torch-fidelity", isc("std"))  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = prdc.compute_prdc(x, y, nearest_k=5)
    for name in ("precision", "recall", "density", "coverage"):
        yield (f"{name}, k = 5", lambda name=name: metrics.prdc(x, y, k=5)[name],
               "prdc", lambda name=name: float(theirs[name]))  # fmt: skip
    prc = metric_prc.prc_features_to_metric(ty, tx, prc_neighborhood=3, prc_batch_size=10_000,
                                            save_cpu_ram=False, **QUIET)  # fmt: skip
    for name in ("precision", "recall"):
        yield (f"{name}, k = 3", lambda name=name: getattr(metrics, name)(x, y),
               "torch-fidelity", lambda name=name: float(prc[name]))  # fmt: skip
    naive = oracles.manifold_naive(x, y, 5)
    for name in ("clipped_density", "clipped_coverage"):
        yield (name, lambda name=name: getattr(metrics, name)(x, y),
               "naive definition", lambda name=name: naive[name])  # fmt: skip
    naive_4 = oracles.manifold_naive(x, y, 4)
    for name in ("p_precision", "p_recall"):
        yield (name, lambda name=name: getattr(metrics, name)(x, y),
               "naive definition", lambda name=name: naive_4[name])  # fmt: skip
    units = oracles.unit_directions(100, DIM, 0)
    yield ("swd", lambda: metrics.swd(x, y, directions=100), "POT, squared",
           lambda: float(ot.sliced_wasserstein_distance(
               x.astype(float), y.astype(float), projections=units.T) ** 2))  # fmt: skip
    yield ("mind", lambda: metrics.mind(x[:M], y, directions=100), "naive definition",
           lambda: 3 * DIM * oracles.sliced_wasserstein(
               x[:M].astype(float), y.astype(float), units))  # fmt: skip
    yield ("vendi", lambda: metrics.vendi(y), "vendi-score",
           lambda: float(vendi.score_dual(y.astype(float), normalize=True)))  # fmt: skip
    yield ("vendi, q = 2", lambda: metrics.vendi(y, q=2.0), "vendi-score",
           lambda: float(vendi.score_K(oracles.cosine_kernel(y), q=2)))  # fmt: skip
    kernel = oracles.gaussian_kernel(y[:400], 2.0)
    yield ("rke", lambda: metrics.rke(y[:400], sigma=2.0), "naive definition",
           lambda: float(1 / np.mean(kernel**2)))  # fmt: skip
    yield ("fkea, random features", lambda: metrics.fkea(y[:400], sigma=2.0),
           "exact Vendi score", lambda: oracles.renyi_score(kernel, 1.0))  # fmt: skip
    yield ("fd_infinity", lambda: metrics.fd_infinity(x, y), "naive regression",
           lambda: oracles.fd_infinity_naive(x, y, 0))  # fmt: skip
    points = oracles.pointwise_naive(x, y)
    yield ("realism, median", lambda: float(np.median(metrics.realism(x, y))),
           "naive definition", lambda: float(np.median(points["realism"])))  # fmt: skip
    yield ("rarity, mean inside", lambda: float(np.nanmean(metrics.rarity(x, y))),
           "naive definition", lambda: float(np.nanmean(points["rarity"])))  # fmt: skip
    yield ("authpct", lambda: metrics.authpct(x, y),
           "naive definition", lambda: 100 * float(points["authentic"].mean()))  # fmt: skip
    train, test = x[:800], x[800:]
    yield ("ct", lambda: metrics.ct(train, y, test),
           "naive definition", lambda: oracles.ct_naive(train, y, test))  # fmt: skip
    yield ("mifid", lambda: metrics.mifid(x, y),
           "naive definition", lambda: oracles.mifid_naive(x, y))  # fmt: skip

    def torchmetrics_mifid() -> float:
        means = [torch.from_numpy(mean) for mean, _ in moments]
        covs = [torch.from_numpy(cov) for _, cov in moments]
        # It takes the mean over the images that it calls real.
        return float(_mifid_compute(means[1], covs[1], ty.double(), means[0], covs[0], tx.double()))

    yield (
        "mifid",
        lambda: metrics.mifid(x, y),
        "torchmetrics, its sides swapped",
        torchmetrics_mifid,
    )
    order = np.random.default_rng([0, 1]).permutation(len(train))
    yield ("fld", lambda: metrics.fld(train, y, test), "naive definition, autograd",
           lambda: oracles.fld_naive(train, y, test, order))  # fmt: skip


def _poly_mmd(function: Callable[..., torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> float:
    return float(function(x.double(), y.double()))


def main() -> None:
    packages = ("pytorch-fid", "torch-fidelity", "torchmetrics", "prdc", "POT", "vendi-score")
    used = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print("# Metrics and oracles\n")
    print("Made by `python benchmarks/against_oracles.py`: the same seeded features for both"
          f"\n({N} real, {M} fake, {DIM} dimensions, float32; 20 classes). {used}.\n"
          "The naive definitions are in `tests/oracles.py`; they use float64.\n"
          "torch-fidelity's KID is float32, whose noise is 1e-6; the random Fourier features of\n"
          "FKEA have a Monte-Carlo error of some percent, by definition.\n")  # fmt: skip
    print("| metric | ours | oracle | its value | relative difference |")
    print("|---|---|---|---|---|")
    for name, ours, oracle, theirs in rows():
        with contextlib.redirect_stdout(io.StringIO()):
            a, b = float(ours()), float(theirs())
        print(f"| {name} | {a:.9g} | {oracle} | {b:.9g} | {abs(a - b) / abs(b):.1e} |", flush=True)


if __name__ == "__main__":
    main()
