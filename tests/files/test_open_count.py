"""How often a file is opened: once to look at it, and once to read it."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import LITE0
from pyarrow import parquet

import gan_metrics as gm
from gan_metrics.features.features import Features
from gan_metrics.features.files import save_features
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.files import read_reference
from gan_metrics.stats.statistics import Statistics

pytestmark = pytest.mark.usefixtures("coarse_lite0")

ROWS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
MOMENTS = Moments.from_features(ROWS)
MU, SIGMA = MOMENTS.mean, MOMENTS.cov
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), np.uint8)

opened: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        opened.append(os.fspath(arguments[0]))


sys.addaudithook(_audit)


def own_statistics(path: Path) -> None:
    Statistics(MOMENTS).save(path)


def ttur(path: Path) -> None:
    np.savez_compressed(path, mu=MU, sigma=SIGMA)


def adm(path: Path) -> None:
    spatial = {"mu_s": np.zeros(2023), "sigma_s": np.eye(2023)}
    np.savez(path, mu=MU, sigma=SIGMA, arr_0=IMAGES, **spatial)


def fidelity(path: Path) -> None:
    torch.save({"mu": torch.from_numpy(MU), "sigma": SIGMA}, path)


def fidelity_features(path: Path) -> None:
    torch.save(torch.from_numpy(ROWS), path)


def edm2(path: Path) -> None:
    held = {"mu": MU, "sigma": SIGMA}
    path.write_bytes(pickle.dumps({"num_images": 40, "fid": held, "fd_dinov2": held}))


def features(path: Path) -> None:
    save_features(Features([str(i) for i in range(40)], ROWS, FeatureSpec()), path)


def plain_array(path: Path) -> None:
    np.save(path, ROWS)


def plain_table(path: Path) -> None:
    names = [str(i) for i in range(40)]
    parquet.write_table(pa.table({"name": names, "features": ROWS.tolist()}), path)


def images(path: Path) -> None:
    np.save(path, IMAGES) if path.suffix == ".npy" else np.savez(path, IMAGES)


def packed_images(path: Path) -> None:
    np.savez_compressed(path, IMAGES)


def distance(path: Path) -> None:
    other = gm.Statistics(MOMENTS)
    assert gm.fid(other, path).value == pytest.approx(0, abs=1e-4)


def reference(path: Path) -> None:
    found = read_reference(path)
    assert set(found.statistics.kinds) == {"features", "spatial"}
    assert found.images is not None
    for i in range(9):
        np.testing.assert_array_equal(found.images.pixels(i), IMAGES[i])


def extraction(path: Path) -> None:
    how = {"backbone": LITE0, "cache": False, "device": "cpu", "workers": 0}
    assert gm.extract_features(path, **how).array.shape == (9, 1280)


@pytest.mark.parametrize(
    ("name", "write", "use"),
    [
        ("own.npz", own_statistics, distance),
        ("ttur.npz", ttur, distance),
        ("adm.npz", adm, reference),
        ("fidelity.pt", fidelity, distance),
        ("edm2.pkl", edm2, distance),
        ("features.pt", fidelity_features, distance),
        ("features.npz", features, distance),
        ("features.npy", features, distance),
        ("plain.npy", plain_array, distance),
        ("features.safetensors", features, distance),
        ("features.parquet", features, distance),
        ("plain.parquet", plain_table, distance),
        ("images.npy", images, extraction),
        ("images.npz", images, extraction),
        ("packed.npz", packed_images, extraction),
    ],
)
def test_a_file_is_opened_at_most_twice(
    tmp_path: Path, name: str, write: Callable[[Path], None], use: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    opened.clear()
    use(tmp_path / name)
    count = opened.count(str(tmp_path / name))
    # The library safetensors opens a file by itself, which no audit hook is told of.
    assert count == (1 if name.endswith(".safetensors") else 2)
