"""What each of several ranks does in the tests of their work together, as a program."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from toys import Colours, NoisyPainter, Painter, of_colours

import gan_metrics as gm
from gan_metrics.api import write_reference
from gan_metrics.distributed import ALONE, Comm, world
from gan_metrics.errors import GanMetricsError
from gan_metrics.features import extraction
from gan_metrics.training import FID, Evaluator, FrechetLoss, Metrics

LITE0 = "efficientnet-lite0"
METRICS = ["fid", "kid", "prdc", "vendi"]
COLOURS = Colours()
OWN: dict[str, Any] = {"backbone": COLOURS, "device": "cpu"}
CACHED: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}
"""Features of a network of one's own are not cached."""


def values_of(found: gm.EvaluationResult) -> dict[str, tuple[float, float | None]]:
    return {name: (float(one), one.standard_error) for name, one in found.items()}


def sets(root: Path, comm: Comm) -> Any:
    """Folders whose chunks do not divide evenly; the second time from a cache."""
    found = []
    for _ in range(2):
        scores = gm.evaluate(
            root / "real",
            root / "fake",
            metrics=METRICS,
            comm=comm,
            cache=root / f"cache-{comm.size}",
            **CACHED,
        )
        found.append((values_of(scores), [one.digests for one in scores.values()]))
    return found


def drawn(root: Path, comm: Comm) -> Any:
    """A generator's images, in batches of two."""
    fakes = gm.Generated(NoisyPainter(), 7, batch_size=2)
    return values_of(gm.evaluate(root / "real", fakes, metrics=METRICS, comm=comm, **OWN))


def few(root: Path, comm: Comm) -> Any:
    """Fewer chunks than ranks."""
    features = gm.extract_features(root / "few", comm=comm, cache=False, **OWN)
    return features.array, features.names, features.digest, features.moments.cov


def broken(root: Path, comm: Comm) -> Any:
    """One broken image, left out."""
    features = gm.extract_features(root / "broken", comm=comm, cache=False, on_error="skip", **OWN)
    return features.array, features.skipped, [code for code, _ in features.warnings]


def written(root: Path, comm: Comm) -> Any:
    path = root / f"written-{comm.size}.npz"
    write_reference(root / "real", path, comm=comm, **OWN)
    return gm.load_stats(path).moments.cov


def colours(n: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, 3, 8, 8), np.uint8))


def fed(root: Path, comm: Comm) -> Any:
    """Both sides fed, the last rank nothing; twice, with the reals kept."""
    metrics = Metrics(["fid", "kid", "vendi"], backbone=COLOURS, device="cpu", comm=comm)
    most = max(1, comm.size - 1)
    found = []
    for seed in (1, 2):
        for real, images in ((True, colours(40, 0)), (False, colours(31, seed))):
            mine = Comm(comm.rank, most).share(len(images)) if comm.rank < most else range(0)
            if mine and (seed == 1 or not real):
                metrics.update(images[mine.start : mine.stop], real=real)
        found.append(values_of(metrics.compute()))
        found.append(values_of(metrics.compute()))  # once more: nothing is counted twice
        metrics.reset(keep_real=True)
    return found


def loaded(root: Path, comm: Comm) -> Any:
    """A loader whose sampler repeats images, so that ranks have equally many."""
    data = torch.utils.data.TensorDataset(of_colours(41))
    sampler: Any = None
    if comm.size > 1:
        sampler = torch.utils.data.DistributedSampler(data, shuffle=False)
    loader = torch.utils.data.DataLoader(data, 4, sampler=sampler)
    metric = FID(loader, backbone=COLOURS, device="cpu", comm=comm)
    images = colours(20, 3)
    mine = comm.share(20)
    result = metric.update(images[mine.start : mine.stop]).compute()
    return float(result), result.n_real, result.n_fake


def evaluated(root: Path, comm: Comm) -> Any:
    """A training's evaluation, the generator wrapped as it is there."""
    log, best = root / f"log-{comm.size}.jsonl", root / f"best-{comm.size}.pt"
    evaluator = Evaluator(
        root / "real", ["fid", "kid"], n_fake=13, batch_size=2, log=log, keep=best, comm=comm, **OWN
    )
    module: Any = NoisyPainter()
    if comm.size > 1:
        module = torch.nn.parallel.DistributedDataParallel(module)
    found = [evaluator(module, step) for step in (0, 1)]
    assert found[0] is not None
    return values_of(found[0]), len(log.read_text().splitlines()), sorted(torch.load(best))


def learnt(root: Path, comm: Comm) -> Any:
    """Gradients of a loss after a step: of the mean over ranks."""
    reference = gm.Features(
        [str(i) for i in range(50)],
        gm.load_backbone(COLOURS, device="cpu")(of_colours(50)).numpy(),
        gm.load_backbone(COLOURS, device="cpu").spec,
    )
    loss = FrechetLoss(reference, queue=16, backbone=COLOURS, device="cpu", comm=comm)
    painter: Any = Painter()
    wrapped = painter
    if comm.size > 1:
        wrapped = torch.nn.parallel.DistributedDataParallel(painter)
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 12, 3)).astype(np.float32))
    mine = comm.share(12)
    for batch in z:
        painter.zero_grad()
        value = loss(wrapped(batch[mine.start : mine.stop]))
        value.backward()
    return value.item(), painter.shift.grad.numpy(), painter.scale.grad.numpy(), loss.held


def told(work: Callable[[], Any]) -> tuple[str, str]:
    try:
        work()
    except GanMetricsError as error:
        return type(error).__name__, str(error)
    return "", ""


class Failing(NoisyPainter):
    """Gives NaN on one rank."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        images = super().forward(z)
        return images * (float("nan") if world().rank == world().size - 1 else 1.0)


def failures(root: Path, comm: Comm) -> dict[str, tuple[str, str]]:
    """What goes wrong on one rank alone, or on all."""
    last = comm.size - 1
    place = root / ("fake" if comm.rank == last else "real")
    evaluator = Evaluator(root / "real", n_fake=9, batch_size=2, comm=comm, **OWN)
    found = {
        "broken": told(lambda: gm.extract_features(root / "broken", comm=comm, **OWN)),
        "other images": told(lambda: gm.extract_features(place, comm=comm, **OWN)),
        "nan": told(lambda: evaluator(Failing())),
        "nothing": told(lambda: FID(backbone=COLOURS, device="cpu", comm=comm).compute()),
        "loader": told(lambda: FID([colours(3, 0)], backbone=COLOURS, device="cpu", comm=comm)),
    }
    again = evaluator(NoisyPainter())  # and they still understand each other
    assert again is not None
    return {**found, "again": (str(round(float(again["fid"]), 3)), "")}


JOBS = (sets, drawn, few, broken, written, fed, loaded, evaluated, learnt)


def alone(root: Path) -> dict[str, Any]:
    """The same by one process."""
    extraction.CHUNK = 2
    try:
        return {job.__name__: job(root, ALONE) for job in JOBS}
    finally:
        extraction.CHUNK = 128


def main(root: Path, rank: int, size: int) -> None:
    torch.set_num_threads(1)
    extraction.CHUNK = 2
    dist.init_process_group("gloo", f"file://{root}/store-{size}", rank=rank, world_size=size)
    comm = world()
    found = {job.__name__: job(root, comm) for job in (*JOBS, failures)}
    (root / f"found-{size}-{rank}.pkl").write_bytes(pickle.dumps(found))
    dist.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
