"""pytorch-fid: what it does with its own files, arithmetic and command; and with unusual images.

Its features and distances are in ``test_printed_values.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import frechet_nuclear
from pytorch_fid import fid_score
from pytorch_fid.inception import InceptionV3
from recorded import RECORDERS, Inputs, columns
from tolerances import FEATURES, frechet_error

import gan_metrics as gm

Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), inception_weights)


@pytest.fixture
def weights(inception_weights: Path) -> Path:
    """The random weights, also where pytorch-fid looks for the published ones."""
    hub = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    shutil.copy(inception_weights, hub / "pt_inception-2015-12-05-6726825d.pth")
    return inception_weights


def test_fewer_images_than_dimensions(weights: Path, folders: Folders) -> None:
    """The value is exact; theirs goes through the square root of a singular matrix."""
    features = [gm.extract_features(f, weights=weights, layer="64") for f in folders]
    ours = gm.fid(*features)
    assert ours.value == pytest.approx(frechet_nuclear(*(f.array for f in features)), rel=1e-9)
    moments = [(x.moments.mean, x.moments.cov) for x in features]
    theirs = fid_score.calculate_frechet_distance(*moments[0], *moments[1])
    assert ours.value == pytest.approx(theirs, rel=1e-3)


def test_its_arithmetic_on_moments() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 40)) * np.logspace(0, -2, 40)
    y = rng.normal(size=(400, 40)) * np.logspace(0, -1.5, 40) + 0.1
    a, b = gm.Moments.from_features(x), gm.Moments.from_features(y)
    theirs = fid_score.calculate_frechet_distance(a.mean, a.cov, b.mean, b.cov)
    assert gm.metrics.frechet_distance(a, b) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.slow
def test_its_whole_command(weights: Path, inputs: Inputs) -> None:
    many = inputs.many
    command = [sys.executable, "-m", "pytorch_fid", *map(str, many), "--dims", "64",
               "--batch-size", "1", "--device", "cpu", "--num-workers", "0"]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = float(printed.rpartition("FID:")[2])
    ours = gm.fid(*many, weights=weights, layer="64")
    largest = gm.extract_features(many[1], weights=weights, layer="64").array.max().item()
    assert ours.value == pytest.approx(theirs, abs=frechet_error(theirs, largest))


def test_it_reads_our_statistics_and_we_read_its(
    weights: Path, folders: Folders, tmp_path: Path
) -> None:
    ours = gm.compute_stats(folders[0], weights=weights, layer="64")
    model = InceptionV3([0])
    mean, cov = fid_score.compute_statistics_of_path(
        str(ours.save(tmp_path / "ours.npz")), model, 1, 64, "cpu", 0
    )
    np.testing.assert_array_equal(mean, ours.moments.mean)
    np.testing.assert_array_equal(cov, ours.moments.cov)
    fid_score.save_fid_stats([str(folders[0]), str(tmp_path / "theirs.npz")], 1, "cpu", 64, 0)
    other = gm.extract_features(folders[1], weights=weights, layer="64")
    direct = gm.fid(folders[0], other, weights=weights, layer="64")
    back = gm.fid(tmp_path / "theirs.npz", other, weights=weights, layer="64")
    error = frechet_error(direct.value, float(other.array.max()))
    assert back.value == pytest.approx(direct.value, abs=error)
    assert back.n_real is None


def test_what_it_does_to_alpha_and_orientation(inputs: Inputs) -> None:
    """Crude, and so the protocol's default: the colours are kept, the orientation is ignored."""
    answers = RECORDERS["pytorch-fid"].read()["answers"]
    options = {"weights": inputs.inception, "layer": "64"}
    seen: set[str] = set()
    for folder, theirs in zip(inputs.flawed, answers["flawed-64"], strict=True):
        ours = gm.extract_features(folder, **options)
        atol = FEATURES * answers["largest-64"]
        np.testing.assert_allclose(columns(ours.array), theirs, rtol=0, atol=atol)
        seen |= {code for code, _ in ours.warnings}
        other = gm.extract_features(folder, alpha="white", exif="apply", **options)
        assert {code for code, _ in other.warnings} == {"unpublished-weights"}
        assert np.abs(other.array - ours.array).max() > 1e-3
    assert seen == {"unpublished-weights", "alpha-dropped", "orientation-ignored"}


def test_torch_is_left_as_it_was(weights: Path, folders: Folders) -> None:
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    gm.fid(*folders, weights=weights, layer="64", cache=False)
    assert (torch.is_grad_enabled(), torch.get_num_threads()) == (grad, threads)
