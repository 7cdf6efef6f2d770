"""OpenVINO's features are torch's, and what it cannot do is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call, refused
from conftest import LITE0
from data import crops, same_features, write_folder
from toys import Colours

import gan_metrics as gm
from gan_metrics import UsageError
from gan_metrics.backbones import openvino

OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu", "cache": False}


@pytest.fixture(autouse=True)
def _installed() -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The layers of every network that was compiled."""
    seen: list[tuple[str, ...]] = []

    class Seen(openvino.CompiledCut):
        def __init__(self, module: Any, layers: Any, shape: Any) -> None:
            seen.append(tuple(layers))
            super().__init__(module, layers, shape)

    monkeypatch.setattr(openvino, "CompiledCut", Seen)
    return seen


@pytest.mark.usefixtures("narrow_inception")
@pytest.mark.parametrize("name", [LITE0, "inception"])
def test_its_features_are_torchs(name: str, compiled: list[tuple[str, ...]]) -> None:
    weights = {} if name == LITE0 else {"weights": "random"}
    images = torch.from_numpy(np.stack(crops(5, 1, 64, 64))).permute(0, 3, 1, 2)
    own = gm.load_backbone(name, device="cpu", **weights)
    other = gm.load_backbone(name, device="cpu", engine="openvino", **weights)
    assert other.spec == own.spec
    for part in (images, images[:1]):  # compiled once for any number of them
        same_features(other(part).numpy(), own(part).numpy())
    assert len(compiled) == 1


def test_several_layers_and_folded_ones(compiled: list[tuple[str, ...]]) -> None:
    images = torch.from_numpy(np.stack(crops(3, 2, 64, 64))).permute(0, 3, 1, 2)
    layers = ["conv_stem", "blocks.2"]  # the first was folded, so the network is built anew
    own = gm.load_backbone(LITE0, device="cpu")
    other = gm.load_backbone(LITE0, device="cpu", engine="openvino")
    other(images)
    expected, found = own.outputs(images, layers), other.outputs(images, layers)
    for layer in layers:
        same_features(found[layer].numpy(), expected[layer].numpy())
    same_features(other(images).numpy(), own(images).numpy())
    assert len(compiled) == 3


def test_gradients_are_left_to_torch(compiled: list[tuple[str, ...]]) -> None:
    images = torch.full((1, 3, 64, 64), 99.0, requires_grad=True)
    gm.load_backbone(LITE0, device="cpu", engine="openvino").differentiable(images).sum().backward()
    assert images.grad is not None
    assert not compiled


def test_the_command(tmp_path: Path, compiled: list[tuple[str, ...]]) -> None:
    real, fake = crops(12, 1, 40, 60), crops(11, 2, 40, 60)
    folders = write_folder(tmp_path / "real", real), write_folder(tmp_path / "fake", fake)
    options = (*map(str, folders), "--backbone", LITE0, "--no-cache", "--json")
    expected = json.loads(call("fid", *options).out)
    done = call("fid", *options, "--engine", "openvino")
    found = json.loads(done.out)
    assert "Tracer" not in done.err
    assert found["value"] == pytest.approx(expected["value"], rel=1e-5)
    assert found["feature_spec"] == expected["feature_spec"]
    assert len(compiled) == 1  # for both sides


ALONE = """
import faulthandler, gc, os, signal, sys, torch
import gan_metrics as gm

def compiled(layer):
    options = {"layer": layer, "device": "cpu", "engine": "openvino"}
    network = gm.load_backbone("efficientnet-lite0", **options)
    network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    return network

faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
first, second = compiled("blocks.1"), compiled("blocks.2")
print("openvino_telemetry" in sys.modules)
import openvino.tools.ovc.telemetry_utils as used
print(used.tm.__name__)
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_it_tells_nobody_and_does_no_harm(tmp_path: Path) -> None:
    """In a process of its own.

    Its telemetry would ask an analytics service, and leave an identity in the home folder. The
    stack that signals are handled on must not go with a network.
    """
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={**os.environ, "HOME": str(tmp_path), "CI": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = ["False", "openvino.tools.ovc.telemetry_stub", "heard"]
    assert (done.returncode, done.stdout.split()) == (0, said), done.stderr
    assert not list(tmp_path.glob("intel*"))


def test_refused(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "real", crops(3, 1, 40, 60)))
    with pytest.raises(UsageError, match="not custom ones"):
        gm.extract_features(folder, **{**OWN, "backbone": Colours(), "engine": "openvino"})
    refused(
        2, "fid", folder, folder, "--backbone", LITE0, "--engine", "openvino", "--precision",
        "bf16", says=("on a CPU in fp32, not on cpu in bf16",),
    )  # fmt: skip


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'gan-metrics\[openvino\]'"):
        gm.load_backbone(LITE0, device="cpu", engine="openvino")


def test_what_it_cannot_convert() -> None:
    class Odd(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.sort(inputs.detach().numpy())).polygamma_(1).erfinv_()

    with pytest.raises(UsageError, match="does not support this network"):
        openvino.CompiledCut(Odd(), [""], (3, 8, 8))
