"""Published values, for a machine that has the real weights and CIFAR-10; skipped elsewhere.

``GAN_METRICS_TEST_CIFAR10`` names the folder that holds ``cifar-10-batches-py``, and
``GAN_METRICS_TEST_WEIGHTS`` one with the 2015 Inception's weights file (and VGG16's for precision
and recall). Values by torch-fidelity's tests and README, and by pytorch-image-generation-metrics.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from data import write_folder

import gan_metrics as gm
from gan_metrics.metrics.class_predictions import inception_score_estimate
from gan_metrics.metrics.kernel import kid_estimate

CIFAR10 = os.environ.get("GAN_METRICS_TEST_CIFAR10")
WEIGHTS = os.environ.get("GAN_METRICS_TEST_WEIGHTS")
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"

pytestmark = [
    pytest.mark.skipif(CIFAR10 is None, reason="GAN_METRICS_TEST_CIFAR10 names no CIFAR-10"),
    pytest.mark.skipif(WEIGHTS is None, reason="GAN_METRICS_TEST_WEIGHTS names no real weights"),
    pytest.mark.skipif("tf1" not in gm.PROTOCOLS, reason="there is no protocol tf1 yet"),
]


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


def test_fid_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    train, test = (features(folder) for folder in halves)
    assert gm.metrics.frechet_distance(train, test) == pytest.approx(10.3233274, abs=1e-4)


def test_kid_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    train, test = (features(folder) for folder in halves)
    found = kid_estimate(train, test, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(-2.907863e-5, abs=1e-7)
    assert found.details["subset_std"] == pytest.approx(1.023118e-4, abs=1e-7)


def test_inception_score_of_5000(halves: tuple[Path, Path]) -> None:
    logits = features(halves[0], layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(10.75051, abs=1e-2)
    assert found.details["split_std"] == pytest.approx(0.57787, abs=1e-2)


def test_precision_and_recall_of_5000_and_5000(halves: tuple[Path, Path]) -> None:
    """On VGG16's fc2 after its ReLU; the training images are the fakes."""
    weights = next(Path(str(WEIGHTS)).glob("vgg16*.pth"), None)
    if weights is None:
        pytest.skip("there is no vgg16*.pth beside the Inception's weights")
    fake, real = (
        gm.extract_features(f, backbone="vgg16", layer="fc7_relu", weights=weights).array
        for f in halves
    )
    assert gm.metrics.precision(real, fake) == pytest.approx(0.6852, abs=1e-3)
    assert gm.metrics.recall(real, fake) == pytest.approx(0.6908, abs=1e-3)


def test_inception_score_of_100(tmp_path: Path) -> None:
    logits = features(images(True, 100, tmp_path / "train"), layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(4.51089784587268, abs=1e-4)


@pytest.mark.slow
def test_all_of_cifar_10(tmp_path: Path) -> None:
    train, test = (images(t, None, tmp_path / str(t)) for t in (True, False))
    logits = features(train, layer="logits_unbiased")
    found = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert found.value == pytest.approx(11.23678, abs=1e-3)
    assert found.details["split_std"] == pytest.approx(0.09514, abs=1e-3)
    distance = gm.metrics.frechet_distance(features(train), features(test))
    assert distance == pytest.approx(3.15253187, rel=1e-2)
