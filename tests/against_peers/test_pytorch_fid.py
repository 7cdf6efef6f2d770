"""pytorch-fid, by its own entry points, on the same images and the same weights file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data import crops, write_folder
from oracles import frechet_nuclear
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid.inception import InceptionV3

import gan_metrics as gm

Folders = tuple[Path, Path]


@pytest.fixture
def weights(inception_weights: Path) -> Path:
    """The random weights, also where pytorch-fid looks for the published ones."""
    hub = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    shutil.copy(inception_weights, hub / "pt_inception-2015-12-05-6726825d.pth")
    return inception_weights


@pytest.fixture(scope="module", params=[64, pytest.param(192, marks=pytest.mark.slow)])
def dims(request: pytest.FixtureRequest) -> int:
    """The width of a layer of the Inception."""
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def many(dims: int, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """More images than dimensions: crops of mixed sizes and formats, grey ones among them."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    real = crops(dims + 18, 1, 20, 60)
    fake = [np.clip(c + rng.normal(0, 30, c.shape), 0, 255).astype(np.uint8)
            for c in crops(dims + 13, 2, 20, 60)]  # fmt: skip
    real[3] = real[3][..., 0]
    fake[5] = np.asarray(Image.fromarray(crops(1, 7, 320, 360)[0]))
    return write_folder(root / "real", real), write_folder(root / "fake", fake, "bmp")


def their_features(folder: Path, dims: int) -> np.ndarray:
    model = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[dims]])
    files = sorted(map(str, folder.iterdir()))
    # One at a time: images of several sizes do not go into one of its batches.
    features = fid_score.get_activations(files, model, 1, dims, "cpu", num_workers=0)
    assert features.shape == (len(files), dims)
    return np.asarray(features)


@pytest.mark.parametrize("width", [64, 192, 768, pytest.param(2048, marks=pytest.mark.slow)])
def test_features(weights: Path, folders: Folders, width: int) -> None:
    for folder in folders:
        theirs = their_features(folder, width)
        ours = gm.extract_features(folder, weights=weights, layer=str(width), cache=False).array
        assert theirs.std(0).mean() > 1e-3 * np.abs(theirs).max()  # they tell images apart
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_more_images_than_dimensions(weights: Path, many: Folders, dims: int) -> None:
    theirs = fid_score.calculate_fid_given_paths(
        [str(f) for f in many], 1, "cpu", dims=dims, num_workers=0
    )
    ours = gm.fid(*many, weights=weights, layer=str(dims))
    assert ours.value == pytest.approx(theirs, rel=1e-5)
    assert (ours.n_real, ours.n_fake) == (dims + 18, dims + 13)
    assert theirs > 1e-3


def test_fewer_images_than_dimensions(weights: Path, folders: Folders) -> None:
    """Our value is exact; theirs goes through the square root of a singular matrix."""
    theirs = fid_score.calculate_fid_given_paths(
        [str(f) for f in folders], 1, "cpu", dims=192, num_workers=0
    )
    ours = gm.fid(*folders, weights=weights, layer="192")
    features = [gm.extract_features(f, weights=weights, layer="192").array for f in folders]
    assert ours.value == pytest.approx(frechet_nuclear(*features), rel=1e-9)
    assert ours.value == pytest.approx(theirs, rel=1e-3)
    their_exact = frechet_nuclear(*(their_features(f, 192) for f in folders))
    assert ours.value == pytest.approx(their_exact, rel=1e-5)


@pytest.mark.slow
def test_the_exact_value_at_2048_dimensions(weights: Path, folders: Folders) -> None:
    features = [gm.extract_features(f, weights=weights).array for f in folders]
    ours = gm.fid(*folders, weights=weights)
    assert ours.metric == "fid"
    assert ours.value == pytest.approx(frechet_nuclear(*features), rel=1e-9)
    theirs = frechet_nuclear(*(their_features(f, 2048) for f in folders))
    assert ours.value == pytest.approx(theirs, rel=1e-5)


def test_its_arithmetic_on_moments() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 40)) * np.logspace(0, -2, 40)
    y = rng.normal(size=(400, 40)) * np.logspace(0, -1.5, 40) + 0.1
    a, b = gm.Moments.from_features(x), gm.Moments.from_features(y)
    theirs = fid_score.calculate_frechet_distance(a.mean, a.cov, b.mean, b.cov)
    assert gm.metrics.frechet_distance(a, b) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.slow
def test_its_whole_command(weights: Path, many: Folders, dims: int) -> None:
    command = [sys.executable, "-m", "pytorch_fid", *map(str, many), "--dims", str(dims),
               "--batch-size", "1", "--device", "cpu", "--num-workers", "0"]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = float(printed.rpartition("FID:")[2])
    ours = gm.fid(*many, weights=weights, layer=str(dims))
    assert ours.value == pytest.approx(theirs, rel=1e-5)


def test_it_reads_our_statistics_and_we_read_its(
    weights: Path, many: Folders, dims: int, tmp_path: Path
) -> None:
    layer = str(dims)
    ours = gm.compute_stats(many[0], weights=weights, layer=layer).save(tmp_path / "ours.npz")
    theirs = fid_score.calculate_fid_given_paths(
        [str(ours), str(many[1])], 1, "cpu", dims=dims, num_workers=0
    )
    direct = gm.fid(*many, weights=weights, layer=layer)
    assert theirs == pytest.approx(direct.value, rel=1e-5)
    fid_score.save_fid_stats([str(many[0]), str(tmp_path / "theirs.npz")], 1, "cpu", dims, 0)
    back = gm.fid(tmp_path / "theirs.npz", many[1], weights=weights, layer=layer)
    assert back.value == pytest.approx(direct.value, rel=1e-5)
    assert back.n_real is None


def test_what_it_does_to_alpha_and_orientation(weights: Path, tmp_path: Path) -> None:
    """Crude, and so the protocol's default: the colours are kept, the orientation is ignored."""
    colours = crops(2, 0)[0]
    alpha = np.dstack(
        [colours, np.tile(np.arange(colours.shape[1], dtype=np.uint8), (len(colours), 1))]
    )
    folder = write_folder(tmp_path / "images", [alpha])
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(colours).save(folder / "turned.png", exif=exif)
    theirs = their_features(folder, 64)
    ours = gm.extract_features(folder, weights=weights, layer="64")
    np.testing.assert_allclose(ours.array, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    said = {code for code, _ in ours.warnings} - {"unpublished-weights"}
    assert said == {"alpha-dropped", "orientation-ignored"}
    other = gm.extract_features(folder, weights=weights, layer="64", alpha="white", exif="apply")
    assert {code for code, _ in other.warnings} == {"unpublished-weights"}
    assert (np.abs(other.array - theirs).max(axis=1) > 1e-3).all()


def test_torch_is_left_as_it_was(weights: Path, folders: Folders) -> None:
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    gm.fid(*folders, weights=weights, layer="64", cache=False)
    assert (torch.is_grad_enabled(), torch.get_num_threads()) == (grad, threads)
