"""Protocols of tools that cannot be installed, beside their rebuilt pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from data import crops, write_folder
from oracles import frechet_nuclear, short_precision_recall, squared_distances
from rebuilt import (
    Inception,
    by_grid,
    by_tensorflow,
    dinov2_tokens,
    divided_by_n,
    naive_cmmd,
    naive_inception_score,
    naive_kid,
    pixels,
    vgg16_features,
)

import gan_metrics as gm

Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Smaller and larger than 299, odd, not square, grey; the fakes crowd about some reals."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    real = [*crops(9, 1, 21, 77), *crops(2, 3, 310, 361), crops(1, 4)[0][..., 0]]
    fake = [
        np.clip(real[i % 5] + rng.normal(0, 12, real[i % 5].shape), 0, 255).astype(np.uint8)
        for i in range(13)
    ]
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


@pytest.fixture(scope="module")
def inception(inception_weights: Path) -> Inception:
    return Inception(inception_weights)


@pytest.fixture(scope="module")
def by_stylegan3(sets: Folders, inception: Inception) -> list[tuple[np.ndarray, ...]]:
    """Of both sets what the rebuilt pipelines of StyleGAN3 and EDM2 give."""
    return [inception([(by_grid(x, 299) - 128) / 128 for x in pixels(folder)]) for folder in sets]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, by which those two protocols share features: their pixels are the same."""
    return tmp_path_factory.mktemp("kept")


def test_adm(sets: Folders, inception: Inception, inception_weights: Path) -> None:
    real, fake = (
        inception([(by_tensorflow(x, 299) - 128) / 128 for x in pixels(folder)]) for folder in sets
    )
    found = gm.evaluate(*sets, metrics="fid,sfid,is,precision,recall", protocol="adm",
                        weights=inception_weights, arguments={"is": {"split_size": 5}})  # fmt: skip
    assert found["fid"].value == pytest.approx(frechet_nuclear(real[0], fake[0]), rel=1e-5)
    assert found["sfid"].value == pytest.approx(frechet_nuclear(real[2], fake[2]), rel=1e-5)
    parts = [slice(i, i + 5) for i in range(0, 13, 5)]
    expected = naive_inception_score(fake[1], parts)
    assert found["is"].value == pytest.approx(expected, rel=1e-5)
    values = short_precision_recall(real[0], fake[0], 3, "float16-squared")
    assert (found["precision"].value, found["recall"].value) == pytest.approx(values, abs=1e-9)
    assert values[0] != values[1]
    default = gm.evaluate(*sets, metrics="is", protocol="adm", weights=inception_weights)["is"]
    whole = naive_inception_score(fake[1], [slice(None)])
    assert default.value == pytest.approx(whole, rel=1e-5)  # 13 images are one part of 5000


def test_stylegan3(
    sets: Folders,
    by_stylegan3: list[tuple[np.ndarray, ...]],
    inception_weights: Path,
    kept: Path,
) -> None:
    real, fake = by_stylegan3
    found = gm.evaluate(
        *sets, metrics="fid,kid,is", protocol="stylegan3", weights=inception_weights, cache=kept,
        arguments={"kid": {"subset_size": 9, "subsets": 20}, "is": {"splits": 3}},
    )  # fmt: skip
    assert found["fid"].value == pytest.approx(divided_by_n(real[0], fake[0]), rel=1e-5)
    assert found["fid"].value != pytest.approx(frechet_nuclear(real[0], fake[0]), rel=1e-3)
    assert found["kid"].value == pytest.approx(naive_kid(real[0], fake[0], 9, 20), rel=1e-4)
    parts = [slice(i * 13 // 3, (i + 1) * 13 // 3) for i in range(3)]
    expected = naive_inception_score(fake[1], parts)
    assert found["is"].value == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_stylegan3_s_precision_and_recall(
    sets: Folders, inception_weights: Path, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vgg = torchvision.models.vgg16(weights=None).eval()
    path = tmp_path / "vgg16.pth"
    torch.save(vgg.state_dict(), path)
    weights = {"": inception_weights, "vgg16": path}
    found = gm.evaluate(*sets, metrics="precision,recall", protocol="stylegan3", weights=weights)
    sides = vgg16_features(sets, path)
    path.unlink()
    spec = found["precision"].feature_spec
    assert (spec.backbone, spec.layer) == ("vgg16", "fc7_relu")
    values = short_precision_recall(*sides, 3, "float16")
    assert (found["precision"].value, found["recall"].value) == pytest.approx(values, abs=1e-9)
    assert values[0] != values[1]


def test_edm2_s_fid(
    sets: Folders,
    by_stylegan3: list[tuple[np.ndarray, ...]],
    inception_weights: Path,
    kept: Path,
) -> None:
    real, fake = (side[0] for side in by_stylegan3)
    found = gm.fid(*sets, protocol="edm2", weights=inception_weights, cache=kept)
    assert found.value == pytest.approx(frechet_nuclear(real, fake), rel=1e-5)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Three and two images, for the large transformers."""
    root = tmp_path_factory.mktemp("few")
    real = [crops(1, 1, 31, 77)[0], crops(1, 3, 345, 361)[0], crops(1, 4)[0][..., 0]]
    return write_folder(root / "real", real), write_folder(root / "fake", crops(2, 5, 60, 240))


@pytest.mark.slow
def test_edm2_and_dgm_eval_in_dinov2(few: Folders) -> None:
    expected = dinov2_tokens(few)
    found = gm.evaluate(*few, metrics="fd_dinov2", protocol=list(expected), weights="random")
    for name, sides in expected.items():
        result = found[f"fd_dinov2@{name}"]
        assert result.value == pytest.approx(frechet_nuclear(*sides), rel=1e-5), name
        assert result.feature_spec.backbone == "dinov2-vitl14"
    assert len({round(result.value, 4) for result in found.values()}) == 2


def test_dgm_eval_s_neighbours(tmp_path: Path) -> None:
    """Five neighbours, strict, 10,000 images drawn from each side: by the row's own arguments."""
    arguments = {
        name: dict(row.arguments) for name, row in gm.PROTOCOLS["dgm-eval"].metrics.items()
    }
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 5)) * 0.8
    pairs = ((x, x), (y, y), (x, y))
    real, fake, mixed = (np.sqrt(squared_distances(a, b)) for a, b in pairs)
    radii = [np.sort(d, 1)[:, 5] for d in (real, fake)]
    expected = {
        "precision": (mixed < radii[0][:, None]).any(0).mean(),
        "recall": (mixed < radii[1][None]).any(1).mean(),
        "density": (mixed < radii[0][:, None]).sum(0).mean() / 5,
        "coverage": (mixed.min(1) < radii[0]).mean(),
    }
    sides = [
        gm.Features(
            list(map(str, range(len(z)))),
            z.astype(np.float32),
            gm.FeatureSpec(),
            protocol="dgm-eval",
        )
        for z in (x, y)
    ]
    found = gm.evaluate(*sides, metrics="prdc")
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-6), name
        assert found[name].arguments == arguments[name]


@pytest.mark.slow
def test_cmmd(few: Folders) -> None:
    pytest.importorskip("open_clip")
    found = gm.evaluate(*few, metrics="cmmd", weights="random")["cmmd"]
    assert found.value == pytest.approx(naive_cmmd(few), rel=1e-4)
    assert found.protocol == "cmmd"  # also where none is named
    assert "not-clip" not in [code for code, _ in found.warnings]
