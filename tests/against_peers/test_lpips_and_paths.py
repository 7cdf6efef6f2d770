"""LPIPS and path lengths beside the packages: the same generator, images and weights.

Steps of 1e-4 leave three digits of float32's seven to their differences, squared: 2e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data import scenes
from tools import VGG16, quietly, random_vgg16_weights
from torch import nn

import gan_metrics as gm
from gan_metrics.backbones.lpips import Lpips
from gan_metrics.generators.generated import Generated

PATHS = 24


class Curved(nn.Module):
    """Gives images of 40 or 80 pixels in 0–255, and draws latents as torchmetrics asks for."""

    z_size = 6
    value_range = (0, 255)
    num_classes = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Linear(6, 3 * 25), nn.Unflatten(1, (3, 5, 5)), nn.Tanh(),
                nn.Upsample((size, size), mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1),
                nn.Sigmoid(),
            )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 255 * self.net(z)

    def sample(self, n: int) -> torch.Tensor:
        return torch.randn(n, 6)


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights where the packages look for torchvision's; and the heads beside them."""
    package = pytest.importorskip("lpips")
    checkpoints = tmp_path_factory.mktemp("lpips") / "hub" / "checkpoints"
    path = random_vgg16_weights(checkpoints / VGG16)
    heads = Path(package.__file__).parent / "weights" / "v0.1" / "vgg.pth"
    (checkpoints / "weights-vgg16-lpips.pth").write_bytes(heads.read_bytes())
    yield path
    path.unlink()


@pytest.fixture
def home(vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(vgg16.parents[2]))
    return vgg16


def test_lpips_of_vgg(home: Path) -> None:
    package = pytest.importorskip("lpips")
    x, y = (torch.from_numpy(np.stack(scenes(4, s, 64))).permute(0, 3, 1, 2) for s in (0, 1))
    with quietly(), torch.no_grad():
        expected = package.LPIPS(net="vgg", verbose=False)(x / 127.5 - 1, y / 127.5 - 1).flatten()
    found = Lpips("vgg", weights=home, device="cpu")(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("size", [40, 80])
def test_torchmetrics_path_length(size: int, home: Path) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    generator = Curved(size)
    with quietly():
        torch.manual_seed(4)
        mean, deviation, kept = functional.perceptual_path_length(
            generator, num_samples=PATHS, batch_size=8, sim_net="vgg", resize=64
        )
    found = gm.evaluate(
        None, Generated(generator, PATHS), metrics="ppl", protocol="torchmetrics",
        weights={"vgg16": home}, arguments={"ppl": {"seed": 4}},
    )["ppl"]  # fmt: skip
    assert float(found) == pytest.approx(float(mean), rel=2e-4)
    assert found.details["kept"] == len(kept)
    del deviation


@pytest.mark.parametrize("size", [40, 80])
def test_torch_fidelity_path_length(size: int, home: Path) -> None:
    """Without percentiles, which it takes in a way that NumPy 2.4 no longer has."""
    fidelity = pytest.importorskip("torch_fidelity")
    generator = Curved(size)
    wrapped = fidelity.GenerativeModelModuleWrapper(generator, 6, "normal", 0)
    asked: dict[str, Any] = {
        "ppl_discard_percentile_lower": None,
        "ppl_discard_percentile_higher": None,
        "ppl_sample_similarity_dtype": "float32",
    }
    with quietly():
        theirs = fidelity.calculate_metrics(
            input1=wrapped, input1_model_num_samples=PATHS, ppl=True, cuda=False, verbose=False,
            batch_size=8, **asked,
        )  # fmt: skip
    found = gm.evaluate(
        None, Generated(generator, PATHS), metrics="ppl", protocol="tf1",
        weights={"vgg16": home}, arguments={"ppl": {"discard": 0.0}},
    )["ppl"]  # fmt: skip
    assert found.protocol == "tf1"
    assert float(found) == pytest.approx(theirs["perceptual_path_length_mean"], rel=2e-4)
