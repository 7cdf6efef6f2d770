"""Several ranks that work together: the values of one process, and no rank left waiting."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranked
from conftest import made_once
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.distributed import ALONE, Comm, world
from gan_metrics.errors import UsageError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(root: Path) -> None:
        write_folder(root / "real", crops(9, seed=1))
        write_folder(root / "fake", crops(7, seed=2))
        write_folder(root / "few", crops(3, seed=3))
        write_folder(root / "broken", crops(6, seed=4))
        (root / "broken" / "0003.png").write_bytes(b"no image")

    return made_once(tmp_path_factory, "ranks", make)


@pytest.fixture(scope="module")
def expected(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Once for all workers: the jobs append to a log in the shared folder."""

    def make(folder: Path) -> None:
        (folder / "expected.pkl").write_bytes(pickle.dumps(ranked.alone(root)))

    folder = made_once(tmp_path_factory, "found-by-one-process", make)
    return pickle.loads((folder / "expected.pkl").read_bytes())


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def found(
    root: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Of each rank, what it found."""
    size = request.param
    files = [f"found-{size}-{rank}.pkl" for rank in range(size)]

    def make(folder: Path) -> None:
        places = {"GAN_METRICS_HOME": str(folder / "home"), "GAN_METRICS_CACHE": str(folder / "no")}
        ranks = [
            subprocess.Popen(
                [sys.executable, str(HERE / "ranked.py"), str(root), str(rank), str(size)],
                env={**os.environ, **places, "GAN_METRICS_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        said = [rank.communicate(timeout=300)[1] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [0] * size, "\n".join(said)
        for file in files:
            (root / file).rename(folder / file)

    folder = made_once(tmp_path_factory, f"found-by-{size}-ranks", make)
    return [pickle.loads((folder / file).read_bytes()) for file in files]


def same(a: Any, b: Any) -> None:
    """Equal: numbers to 1e-6, all else exactly."""
    if isinstance(a, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * max(1.0, float(np.abs(b).max())))
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-7)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other)
    else:
        assert a == b


@pytest.mark.parametrize("job", [job.__name__ for job in ranked.JOBS])
def test_every_rank_finds_what_one_process_finds(
    job: str, found: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    for of_rank in found:
        same(of_rank[job], expected[job])


def test_a_rank_that_fails_is_told_of_by_all(found: list[dict[str, Any]]) -> None:
    last = len(found) - 1
    for rank, of_rank in enumerate(found):
        failures = of_rank["failures"]
        assert failures["broken"][0] == "ImageError"
        assert "0003.png" in failures["broken"][1]
        assert failures["other images"][0] == "InputError"
        assert f"rank {last} finds 7 images and rank 0 9" in failures["other images"][1]
        assert failures["nan"][0] == "InputError"
        assert "NaN" in failures["nan"][1]
        assert failures["nan"][1].startswith(f"rank {last}: ") == (rank != last)
        assert failures["nothing"][0] == "ComputationError"
        assert failures["loader"][0] == "UsageError"
        assert "DistributedSampler" in failures["loader"][1]
        assert failures["again"] == found[0]["failures"]["again"]


def test_shares_cover_everything_once() -> None:
    for n in (0, 1, 5, 12):
        for size in (1, 2, 5):
            parts = [list(Comm(rank, size).share(n)) for rank in range(size)]
            assert [i for part in parts for i in part] == list(range(n))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            dealt = sorted(i for rank in range(size) for i in range(n) if Comm(rank, size).owns(i))
            assert dealt == list(range(n))


def test_one_process_talks_to_nobody(tmp_path: Path) -> None:
    assert world() is ALONE
    assert ALONE.gather(3) == [3]
    rows = np.ones((2, 3))
    assert ALONE.gather_rows(rows) is rows
    with pytest.raises(ValueError, match="as it was"), ALONE.fail_together():
        raise ValueError("as it was")
    with pytest.raises(UsageError, match="comm"):
        gm.extract_features(tmp_path, comm="all")  # type: ignore[arg-type]


GONE = """
import os, sys, time
import torch.distributed as dist
from gan_metrics.distributed import world
from gan_metrics.errors import ResourceError

root, rank, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", f"file://{root}/store-gone", rank=rank, world_size=size)
comm = world()
comm.gather(rank)
if rank == size - 1:
    os._exit(9)
try:
    for _ in range(100):
        comm.gather(rank)
except ResourceError as error:
    sys.exit(str(error))
"""


def test_a_rank_that_is_killed_leaves_none_waiting(tmp_path: Path) -> None:
    began = time.monotonic()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", GONE, str(tmp_path), str(rank), "3"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert ranks[2].returncode == 9
    for rank in (0, 1):
        assert ranks[rank].returncode == 1
        assert "another rank has ended" in said[rank]
    assert time.monotonic() - began < 60


TOY = "toys:Colours"


def torchrun(size: int, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line on several ranks."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
         str(size), "-m", "gan_metrics", *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_torchrun_prints_once_what_one_process_prints(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    args = ["fid", root / "real", root / "fake", "--backbone", TOY, "--json"]
    done = torchrun(2, *args, "--append", log, "--no-cache")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    expected = gm.fid(root / "real", root / "fake", backbone=TOY)
    assert document["value"] == pytest.approx(expected.value, rel=1e-6)
    assert document["n_real"] == 9
    assert len(log.read_text().splitlines()) == 1
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning[")]
    assert warned
    assert len(warned) == len(set(warned))  # of one rank


def test_torchrun_ends_with_one_message(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    done = torchrun(2, "stats", root / "broken", "-o", out, "--backbone", TOY)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("gan-metrics: ")]
    assert len(lines) == 1
    assert "0003.png" in lines[0]
    assert not out.exists()
    done = torchrun(2, "stats", root / "broken", "-o", out, "--backbone", TOY, "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert gm.load_stats(out).moments.n == 5
    assert done.stdout.count(str(out)) == 1
