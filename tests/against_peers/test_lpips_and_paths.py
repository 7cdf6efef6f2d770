"""LPIPS and path lengths beside the packages: the same generator, images and weights.

The packages' answers are records (``recorded.py``).
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import PATHS, RECORDERS, STEP, Curved, Inputs, stack
from tolerances import path_length_error

import gan_metrics as gm
from gan_metrics import image_metrics
from gan_metrics.backbones.lpips import Lpips
from gan_metrics.generators.generated import Generated

pytest.importorskip("lpips")

# The mean over all paths and the places of the first layer's maps.
PATH_LENGTH = path_length_error(STEP, PATHS * 64 * 64)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), inception_weights)


def test_lpips_of_vgg(inputs: Inputs) -> None:
    expected = torch.tensor(RECORDERS["lpips"].read()["answers"]["lpips"])
    x, y = (stack(folder) for folder in inputs.scenes)
    found = Lpips("vgg", weights=inputs.vgg16, device="cpu")(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def path_length(size: int, inputs: Inputs, protocol: str, **arguments: Any) -> gm.MetricResult:
    return gm.evaluate(
        None, Generated(Curved(size), PATHS), metrics="ppl", protocol=protocol,
        weights={"vgg16": inputs.vgg16}, arguments={"ppl": {"epsilon": STEP, **arguments}},
    )["ppl"]  # fmt: skip


@pytest.mark.parametrize("size", [40, 80])
def test_torchmetrics_path_length(size: int, inputs: Inputs) -> None:
    theirs = RECORDERS["torchmetrics-paths"].read()["answers"]
    found = path_length(size, inputs, "torchmetrics", seed=4)
    assert float(found) == pytest.approx(theirs[f"ppl-{size}"], rel=PATH_LENGTH)
    assert found.details["kept"] == theirs[f"kept-{size}"]


@pytest.mark.parametrize("size", [40, 80])
def test_torch_fidelity_path_length(size: int, inputs: Inputs) -> None:
    theirs = RECORDERS["torch-fidelity-paths"].read()["answers"]
    found = path_length(size, inputs, "tf1", discard=0.0)
    assert found.protocol == "tf1"
    assert float(found) == pytest.approx(theirs[f"ppl-{size}"], rel=PATH_LENGTH)


def test_the_default_step_is_that_of_the_packages() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    defaults = pytest.importorskip("torch_fidelity.defaults").DEFAULTS
    theirs = inspect.signature(functional.perceptual_path_length).parameters["epsilon"].default
    ours = inspect.signature(image_metrics.ppl).parameters["epsilon"].default
    assert ours == theirs == defaults["ppl_epsilon"]
