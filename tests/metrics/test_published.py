"""Published values, for a machine that has the real weights and CIFAR-10; skipped elsewhere.

``GAN_METRICS_TEST_CIFAR10`` names the folder that holds ``cifar-10-batches-py``,
``GAN_METRICS_TEST_ADM`` one with guided-diffusion's reference batch and samples of ImageNet-256,
``GAN_METRICS_TEST_WEIGHTS`` one with the 2015 Inception's weights file, and VGG16's for precision
and recall. Values by torch-fidelity's tests and README, by pytorch-image-generation-metrics and by
guided-diffusion's README.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from data import write_folder

import gan_metrics as gm
from gan_metrics.metrics.class_predictions import inception_score_estimate
from gan_metrics.metrics.mmd import kid_estimate

CIFAR10 = os.environ.get("GAN_METRICS_TEST_CIFAR10")
ADM = os.environ.get("GAN_METRICS_TEST_ADM")
WEIGHTS = os.environ.get("GAN_METRICS_TEST_WEIGHTS")
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"

pytestmark = pytest.mark.skipif(
    WEIGHTS is None, reason="GAN_METRICS_TEST_WEIGHTS names no real weights"
)
cifar10 = pytest.mark.skipif(CIFAR10 is None, reason="GAN_METRICS_TEST_CIFAR10 names no CIFAR-10")


def images(train: bool, count: int | None, folder: Path) -> Path:
    """PNGs of a split; ``count`` of them as torch-fidelity's tests choose them."""
    from torchvision import datasets

    pixels = datasets.CIFAR10(str(CIFAR10), train=train).data
    if count is not None:
        pixels = pixels[np.random.RandomState(2020).choice(len(pixels), count, replace=False)]
    return write_folder(folder, list(pixels))


def features(folder: Path, **space: str) -> np.ndarray:
    weights = Path(str(WEIGHTS)) / INCEPTION
    return gm.extract_features(folder, weights=weights, protocol="tf1", **space).array


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("cifar10")
    return images(True, 5000, root / "train"), images(False, 5000, root / "test")


@cifar10
def test_fid_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    train, test = (features(folder) for folder in halves)
    assert gm.metrics.frechet_distance(train, test) == pytest.approx(10.3233274, abs=1e-4)


@cifar10
def test_kid_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    train, test = (features(folder) for folder in halves)
    found = kid_estimate(train, test, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(-2.907863e-5, abs=1e-7)
    assert found.details["subset_std"] == pytest.approx(1.023118e-4, abs=1e-7)


@cifar10
def test_inception_score_of_5000(halves: tuple[Path, Path]) -> None:
    logits = features(halves[0], layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(10.75051, abs=1e-2)
    assert found.details["split_std"] == pytest.approx(0.57787, abs=1e-2)


@cifar10
def test_precision_and_recall_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    """On VGG16's fc2 after its ReLU; the training images are the fakes."""
    weights = next(Path(str(WEIGHTS)).glob("vgg16*.pth"), None)
    if weights is None:
        pytest.skip("there is no vgg16*.pth beside the Inception's weights")
    fake, real = (
        gm.extract_features(f, backbone="vgg16", protocol="tf1", weights=weights).array
        for f in halves
    )
    assert gm.metrics.precision(real, fake) == pytest.approx(0.6852, abs=1e-3)
    assert gm.metrics.recall(real, fake) == pytest.approx(0.6908, abs=1e-3)


@cifar10
def test_inception_score_of_100(tmp_path: Path) -> None:
    logits = features(images(True, 100, tmp_path / "train"), layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(4.51089784587268, abs=1e-4)


@cifar10
@pytest.mark.slow
def test_all_of_cifar_10(tmp_path: Path) -> None:
    train, test = (images(t, None, tmp_path / str(t)) for t in (True, False))
    logits = features(train, layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(11.23678, abs=1e-3)
    assert found.details["split_std"] == pytest.approx(0.09514, abs=1e-3)
    distance = gm.metrics.frechet_distance(features(train), features(test))
    assert distance == pytest.approx(3.15253187, rel=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(ADM is None, reason="GAN_METRICS_TEST_ADM names no reference batch and samples")
def test_guided_diffusion_on_imagenet_256(tmp_path: Path) -> None:
    """ADM-G with upsampling: FID by the stored moments, precision and recall by the images."""
    batch = np.load(Path(str(ADM)) / "VIRTUAL_imagenet256_labeled.npz")
    samples = np.load(Path(str(ADM)) / "admnet_guided_upsampled_imagenet256.npz")["arr_0"]
    real = write_folder(tmp_path / "real", list(batch["arr_0"]))
    fake = write_folder(tmp_path / "fake", list(samples))
    pool3 = features(fake)
    moments = gm.Moments(None, batch["mu"], batch["sigma"])
    assert gm.metrics.frechet_distance(moments, pool3) == pytest.approx(3.94256, abs=1e-2)
    spatial = gm.Moments(None, batch["mu_s"], batch["sigma_s"])
    distance = gm.metrics.frechet_distance(spatial, features(fake, layer="spatial"))
    assert distance == pytest.approx(6.14043, abs=1e-2)
    of_real = features(real)
    assert gm.metrics.precision(of_real, pool3) == pytest.approx(0.8265, abs=3e-3)
    assert gm.metrics.recall(of_real, pool3) == pytest.approx(0.5309, abs=3e-3)
    logits = features(fake, layer="logits")
    score = inception_score_estimate(logits, shuffle=False)
    assert score.value == pytest.approx(215.837, rel=5e-3)
