"""What a run does, counted: none of it depends on how fast the machine is."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LITE0
from data import crops, write_folder
from toys import Colours, of_colours

import gan_metrics as gm
from gan_metrics.backbones.network import Backbone
from gan_metrics.images import pipeline
from gan_metrics.images.sources.folder import FolderSource

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]
OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Networks built, passes and the images in them, files read, images decoded."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str, size: Any = None) -> None:
        own = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[what] += 1
            if size is not None:
                counts[f"{what}: images"] += size(*args)
            return own(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(Backbone, "_built", "networks")
    count(Backbone, "_raw", "passes", lambda _, inputs, __: len(inputs))
    count(FolderSource, "read", "reads")
    count(pipeline, "decode", "decoded")
    return counts


@pytest.fixture
def sets(tmp_path: Path) -> Folders:
    """12 and 11 images of one size: in batches of 4, three passes for each."""
    real, fake = crops(12, 1, 32, 32), crops(11, 2, 32, 32)
    return write_folder(tmp_path / "real", real), write_folder(tmp_path / "fake", fake)


def test_a_score_reads_decodes_and_embeds_each_image_once(
    sets: Folders, counted: Counter[str]
) -> None:
    gm.fid(*sets, batch_size=4, cache=False, **OWN)
    assert counted == {
        "networks": 1, "passes": 6, "passes: images": 23, "reads": 23, "decoded": 23
    }  # fmt: skip


def test_many_metrics_of_one_space_cost_one_pass(sets: Folders, counted: Counter[str]) -> None:
    gm.evaluate(*sets, metrics=["fid", "kid", "precision", "recall", "density", "coverage",
                                "vendi", "realism"], batch_size=4, cache=False, **OWN)  # fmt: skip
    assert counted["passes: images"] == counted["decoded"] == counted["reads"] == 23
    assert counted["passes"] == 6
    assert counted["networks"] == 1


def test_two_layers_cost_one_pass(sets: Folders, counted: Counter[str]) -> None:
    gm.evaluate(*sets, metrics=["fid", "is"], batch_size=4, cache=False, **OWN)
    assert counted["passes"] == 6
    assert counted["decoded"] == 23


def test_a_second_run_decodes_nothing(sets: Folders, counted: Counter[str], tmp_path: Path) -> None:
    first = gm.fid(*sets, batch_size=4, cache=tmp_path / "cache", **OWN)
    assert counted["decoded"] == counted["passes: images"] == counted["reads"] == 23
    counted.clear()
    again = gm.fid(*sets, batch_size=4, cache=tmp_path / "cache", **OWN)
    assert counted == {"reads": 23}
    assert again.value == first.value


SOLVERS = ("eigh", "eigvalsh", "eig", "eigvals", "svd", "svdvals", "sqrtm")


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Factorisations of matrices, by kind and by their smaller side."""
    import scipy.linalg

    counts: Counter[tuple[str, int]] = Counter()

    def count(library: Any, name: str, what: str) -> None:
        own = getattr(library, name)

        def counting(matrix: Any, *args: Any, **kwargs: Any) -> Any:
            counts[what, min(np.shape(matrix)[-2:])] += 1
            return own(matrix, *args, **kwargs)

        monkeypatch.setattr(library, name, counting)

    for library in (scipy.linalg, np.linalg):
        for name in SOLVERS:
            if hasattr(library, name):
                count(library, name, "eigenvalues")
    count(scipy.linalg.lapack, "dpotrf", "factors")
    count(scipy.linalg.lapack, "dpstrf", "pivoted factors")
    return counts


def moments(n: int, dim: int, seed: int) -> gm.Moments:
    return gm.Moments.from_features(np.random.default_rng(seed).normal(size=(n, dim)))


def test_a_distance_solves_one_eigenvalue_problem(solved: Counter[tuple[str, int]]) -> None:
    gm.metrics.frechet_distance(moments(200, 24, 0), moments(200, 24, 1))
    assert solved == {("factors", 24): 2, ("eigenvalues", 24): 1}


def test_the_distance_of_few_images_is_a_small_problem(solved: Counter[tuple[str, int]]) -> None:
    rng = np.random.default_rng(0)
    gm.metrics.frechet_distance(rng.normal(size=(10, 300)), rng.normal(size=(12, 300)))
    assert solved == {("eigenvalues", 10): 1}


def test_a_reference_is_factored_once(tmp_path: Path, solved: Counter[tuple[str, int]]) -> None:
    reference = tmp_path / "reference.npz"
    gm.compute_stats(of_colours(30), backbone=Colours(), cache=False).save(reference)
    metric = gm.training.FID(reference, backbone=Colours(), device="cpu")
    for round_ in range(4):
        solved.clear()
        metric.reset()
        metric.update(of_colours(20))
        metric.compute()
        factors = solved["factors", 6]
        assert factors == (2 if round_ == 0 else 1)
        assert solved["eigenvalues", 6] == 1


PEAK = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from toys import Colours, of_colours
import gan_metrics as gm
class Images:
    def __init__(self, n):
        self.n = n
        self.image = of_colours(1)[0, :, :1, :1].expand(-1, 128, 128).contiguous()
    def __len__(self): return self.n
    def __getitem__(self, i):
        if i >= self.n: raise IndexError
        return self.image.clone()
def measure(n):
    gm.compute_stats(Images(n), backbone=Colours(), cache=False, batch_size=16)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, flush=True)
for n in (100, 1500):  # no tensor exists before: OpenMP's threads do not survive a fork
    if not os.fork():
        measure(n)
        os._exit(0)
    os.wait()
"""


def test_memory_does_not_grow_with_the_images() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(Path(__file__).parents[1])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    few, many = map(int, done.stdout.split())
    assert many < few + 40  # MiB; their pixels would be 66
