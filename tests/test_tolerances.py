"""The derived tolerances against float64, on the processor that runs the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data import crops
from tolerances import FEATURES, rounding_error

from gan_metrics.backbones import inception
from gan_metrics.backbones.build import read_state_dict


def test_the_bound_is_that_of_the_inception() -> None:
    assert pytest.approx(2 * rounding_error(inception.build())) == FEATURES


def test_one_evaluation_lies_within_the_bound_of_float64(inception_weights: Path) -> None:
    """And above a hundredth of it: a bound that no fault exceeds would be of no use."""
    net = inception.build().eval()
    net.load_state_dict(inception.rename_keys(read_state_dict(inception_weights), {}))
    maps: dict[str, torch.Tensor] = {}
    for name in ("maxpool1", "maxpool2", "Mixed_6e", "avgpool"):
        net.get_submodule(name).register_forward_hook(
            lambda *call, name=name: maps.update({name: call[-1].double()})
        )
    pixels = torch.from_numpy(np.stack(crops(1, 5, 299, 299))).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        net(pixels)
        found = dict(maps)
        net.double()(pixels.double())
    for name, exact in maps.items():
        error = float((found[name] - exact).abs().max() / exact.abs().max())
        assert FEATURES / 200 < error < FEATURES / 2, name
