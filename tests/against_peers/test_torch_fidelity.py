"""What torch-fidelity's own 2015 Inception gives, with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from data import crops, same_features

import gan_metrics as gm


@pytest.fixture(scope="module")
def theirs(inception_weights: Path) -> torch.nn.Module:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(inception_weights)
    )


def test_the_spatial_features_of_sfid(theirs: torch.nn.Module, inception_weights: Path) -> None:
    """By hand from its activations: 7 channels of Mixed_6d.branch1x1, height, width, channel."""
    images = torch.stack(
        [torch.from_numpy(c.copy()).permute(2, 0, 1) for c in crops(3, 0, 299, 299)]
    )
    seen: list[torch.Tensor] = []
    handle = theirs.Mixed_6d.branch1x1.register_forward_hook(lambda *a: seen.append(a[-1]))
    with torch.no_grad():
        theirs(images)
    handle.remove()
    expected = seen[0].permute(0, 2, 3, 1)[..., :7].reshape(3, -1)
    backbone = gm.load_backbone(
        weights=inception_weights, layer="spatial", protocol="tf1", device="cpu"
    )
    found = backbone(images)
    assert found.shape == (3, 2023)
    same_features(found.numpy(), expected.numpy())
