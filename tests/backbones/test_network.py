"""A network on a device: what comes out, for what goes in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops
from tolerances import FEATURES
from torch import nn

from gan_metrics.backbones import inception
from gan_metrics.backbones import network as network_module
from gan_metrics.backbones.bn_folding import fold_batchnorm
from gan_metrics.backbones.build import build_network, read_state_dict
from gan_metrics.backbones.cut import pool_output, run_until
from gan_metrics.backbones.network import Backbone, pick_device
from gan_metrics.backbones.recipe import Layer
from gan_metrics.backbones.registry import BACKBONES, choose_backbone, load_backbone
from gan_metrics.errors import InputError, MismatchError, UsageError, WeightsError


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone(LITE0, device="cpu")


def images(n: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.stack(crops(n, seed, size, size))).permute(0, 3, 1, 2)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_features_do_not_depend_on_the_batch(lite0: Backbone) -> None:
    x = images(9, 70)
    whole = lite0(x)
    for size in (1, 4):
        parts = torch.cat([lite0(x[i : i + size]) for i in range(0, 9, size)])
        assert relative(parts, whole) < FEATURES
    assert relative(lite0(x.flip(0)).flip(0), whole) < FEATURES


def test_mixed_sizes_in_one_pass(lite0: Backbone) -> None:
    a, b = images(2, 50), images(3, 80)
    assert relative(lite0.embed([a, b]), torch.cat([lite0(a), lite0(b)])) < FEATURES


def test_the_differentiable_door_agrees_and_has_gradients(lite0: Backbone) -> None:
    x = images(2, 70)
    floats = x.float().requires_grad_()
    features = lite0.differentiable(floats)
    assert relative(features.detach(), lite0(x)) < FEATURES
    features.square().sum().backward()
    assert floats.grad is not None
    assert floats.grad.abs().sum() > 0
    assert all(p.grad is None for p in lite0.module.parameters())
    with pytest.raises(InputError, match="floating-point"):
        lite0.differentiable(x)


def test_other_input_is_refused(lite0: Backbone) -> None:
    with pytest.raises(InputError, match="uint8"):
        lite0(images(1, 50).float())
    with pytest.raises(InputError, match="N×3×H×W"):
        lite0(images(1, 50)[:, :1])


def test_bf16_is_close_but_another_space(lite0: Backbone) -> None:
    short = load_backbone(LITE0, device="cpu", precision="bf16")
    x = images(4, 256)
    error = float((short(x) - lite0(x)).norm() / lite0(x).norm())
    assert 1e-4 < error < 0.04  # folded, it would be 0.047: see network.py
    assert short(x).dtype == torch.float32
    assert short.spec.fingerprint() != lite0.spec.fingerprint()


def test_an_autocast_around_it_changes_nothing(lite0: Backbone) -> None:
    x = images(2, 70)
    plain = lite0(x)
    gradients = lite0.differentiable(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lite0(x), plain)
        assert torch.equal(lite0.differentiable(x.float()), gradients)


SETTINGS = [
    "pass",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'tf32'",
]


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", [LITE0, "timm:test_vit", "timm:test_resnet"])
def test_the_default_dtype_of_the_process_changes_nothing(
    name: str, default: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when a network is built nor when it runs."""
    monkeypatch.setattr(network_module, "build_network", build_network)  # built anew
    given = images(2, 40)
    how = {} if name == LITE0 else {"weights": "random"}
    before = load_backbone(name, device="cpu", **how)
    expected = before(given)
    try:
        torch.set_default_dtype(default)
        within = load_backbone(name, device="cpu", **how)
        assert within.spec.fingerprint() == before.spec.fingerprint()
        for backbone in (before, within):
            assert torch.equal(backbone(given), expected)
            floats = backbone.differentiable(given.float())
            assert floats.dtype == torch.float32
        assert torch.get_default_dtype() == default
    finally:
        torch.set_default_dtype(torch.float32)


def test_tf32_is_what_was_asked_for_and_afterwards_what_it_was() -> None:
    """Each in a process of its own: the settings are global, and torch raises once both are used.

    The processes are forks of one that has done no more than the imports.
    """
    known = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # since torch 2.9
    settings = [setting for setting in SETTINGS if known or "fp32_precision" not in setting]
    script = f"""
import torch
from gan_metrics.utils.tf32 import tf32
import os, sys, traceback
import timm, torch, torchvision
import gan_metrics.backbones.network
from gan_metrics.backbones.registry import load_backbone
torch.set_num_threads(1)
def flags():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision, cudnn.conv.fp32_precision
    return matmul.allow_tf32, cudnn.allow_tf32
def of_the_cpu():
    onednn = torch.backends.mkldnn
    return [getattr(getattr(onednn, n, None), "fp32_precision", "ieee") for n in ("matmul", "conv")]
def check(setting):
    exec(setting)
    before, cpu_before = flags(), of_the_cpu()
    for wanted, expected in ((False, ("ieee", False)), (True, ("tf32", True))):
        with tf32(wanted):
            assert all(flag in expected for flag in flags()), flags()
            assert of_the_cpu() == ["ieee", "ieee"], of_the_cpu()
        assert flags() == before, (flags(), before)
    backbone = load_backbone("efficientnet-lite0", device="cpu", weights="random")
    backbone(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert flags() == before
    assert of_the_cpu() == cpu_before
    if "set_float32" in setting:
        assert torch.get_float32_matmul_precision() == "medium"
    print(setting)
for setting in {settings!r}:
    if not os.fork():
        try:
            check(setting)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == settings, done.stderr


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("tf32", "cpu", "tf32 needs"),
        ("fp16", "cpu", "fp16 needs a GPU"),
        ("fp23", "cpu", "unknown"),
    ],
)
def test_a_precision_that_is_not_to_be_had(precision: str, device: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_backbone(LITE0, precision=precision, device=device)


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="CUDA devices"):
        pick_device("cuda:99")
    for name in ("gpu", "meta", ""):
        with pytest.raises(UsageError, match="unknown device"):
            pick_device(name)


def test_random_weights_are_seeded_and_say_so() -> None:
    x = images(1, 50)
    state = torch.random.get_rng_state()
    assert "torch=" in str(choose_backbone(LITE0, weights="random").spec.weights_sha256)
    one, two, other = (
        load_backbone(LITE0, weights="random", seed=s, device="cpu") for s in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))
    assert one.spec == two.spec != other.spec
    assert one.choice.warnings[0][0] == "random-weights"


def test_the_two_kinds_of_logits_differ_by_the_bias(narrow_inception: Path) -> None:
    backbone = load_backbone("inception", weights=narrow_inception, device="cpu")
    out = backbone.outputs(images(2, 60), ["logits", "logits_unbiased"])
    state = torch.load(narrow_inception, weights_only=True)
    nn.init.normal_(backbone.module.fc.bias, generator=torch.Generator().manual_seed(0))
    assert state["fc.weight"].shape == (1008, 2048)
    out = backbone.outputs(images(2, 60), ["logits", "logits_unbiased"])
    expected = out["logits_unbiased"] + backbone.module.fc.bias
    torch.testing.assert_close(out["logits"], expected)
    assert not torch.allclose(out["logits"], out["logits_unbiased"])


@pytest.mark.usefixtures("narrow_inception")
def test_folding_changes_nothing_but_the_last_bits() -> None:
    torch.manual_seed(0)
    net = inception.build()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    net.eval()
    x = torch.randn(1, 3, 299, 299)
    with torch.inference_mode():
        before = run_until(net, x, ["Mixed_5b"])["Mixed_5b"].clone()
        folded = fold_batchnorm(net)
        after = run_until(net, x, ["Mixed_5b"])["Mixed_5b"]
    assert len(folded) == 94
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert relative(after, before) < FEATURES


def test_folding_leaves_alone_what_others_read_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    class Untraceable(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) if x.sum() > 0 else x

    assert fold_batchnorm(Net().eval()) == set()
    assert fold_batchnorm(Untraceable().eval()) == set()


def test_the_embedded_network_is_folded_too(lite0: Backbone) -> None:
    assert not any(isinstance(m, nn.BatchNorm2d) for m in lite0.module.modules())


def test_a_layer_that_is_overwritten_in_place_is_kept_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 4))
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    alone = run_until(net, x, ["0"])["0"]
    assert (alone < 0).any()
    assert torch.equal(run_until(net, x, ["0", "2"])["0"], alone)


def test_the_pass_stops_after_the_last_layer() -> None:
    ran = []
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    net[2].register_forward_pre_hook(lambda *_: ran.append(2))
    out = run_until(net, torch.ones(1, 2), ["1", "0"])
    assert [*out] == ["1", "0"]
    assert out["0"].shape == (1, 3)
    assert ran == []
    assert run_until(net, torch.ones(1, 2), ["2"])["2"].shape == (1, 4)
    assert ran == [2]
    assert all(not m._forward_hooks for m in net)


def test_a_layer_that_is_not_there_names_the_nearest() -> None:
    net = nn.ModuleDict({"features": nn.Linear(2, 2)})
    with pytest.raises(UsageError, match="Did you mean features"):
        run_until(net, torch.ones(1, 2), ["feature"])
    with pytest.raises(UsageError, match="pool3"):
        choose_backbone("inception", layer="pool33", weights="random")
    with pytest.raises(UsageError, match="Did you mean efficientnet-lite0"):
        choose_backbone("efficientnet_lite0")


def test_a_layer_without_a_tensor_or_out_of_the_way() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.unused = Pair(), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.pair(x)[0]

    with pytest.raises(UsageError, match="tuple, not a tensor"):
        run_until(Net(), torch.ones(1, 2), ["pair"])
    with pytest.raises(UsageError, match="does not run unused"):
        run_until(Net(), torch.ones(1, 2), ["unused"])


def test_pools() -> None:
    map_ = torch.arange(24.0).view(1, 2, 3, 4)
    tokens = torch.arange(6.0).view(1, 3, 2)
    assert pool_output(map_, Layer("", "avg")).tolist() == [[5.5, 17.5]]
    assert pool_output(map_, Layer("", "max")).tolist() == [[11.0, 23.0]]
    assert pool_output(map_, Layer("", "flatten")).shape == (1, 24)
    assert pool_output(map_, Layer("", "none")).shape == (1, 2, 3, 4)
    assert pool_output(tokens, Layer("", "cls")).tolist() == [[0.0, 1.0]]
    assert pool_output(tokens, Layer("", "avg")).tolist() == [[2.0, 3.0]]
    with pytest.raises(UsageError, match="does not apply to a layer of shape N×2×3×4"):
        pool_output(map_, Layer("", "cls"))
    with pytest.raises(UsageError, match="does not apply"):
        pool_output(torch.zeros(1, 5), Layer("", "max"))


def test_a_protocol_is_not_for_every_backbone() -> None:
    with pytest.raises(MismatchError, match="defined for inception, not for 'effic"):
        choose_backbone(LITE0, protocol="pytorch-fid")
    with pytest.raises(UsageError, match="Did you mean pytorch-fid"):
        choose_backbone("inception", protocol="pytorchfid")
    assert choose_backbone("inception", weights="random").protocol.name == "pytorch-fid"
    assert choose_backbone(LITE0).protocol.name == "imagenet"
    assert choose_backbone("inception", protocol="imagenet", weights="random").spec.preprocess == (
        BACKBONES["inception"].preprocess
    )


def test_weights_that_do_not_fit_name_the_keys(tmp_path: Path, narrow_inception: Path) -> None:
    state = torch.load(narrow_inception, weights_only=True)
    state["extra.weight"] = torch.zeros(1)
    del state["Conv2d_1a_3x3.conv.weight"]
    state["fc.bias"] = torch.zeros(1000)
    path = tmp_path / "bad.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError) as error:
        load_backbone("inception", weights=path, device="cpu")
    for part in (
        "bad.pth",
        "1 missing (Conv2d_1a",
        "1 unexpected (extra.weight)",
        "(1000,) instead",
    ):
        assert part in str(error.value)


def test_weights_in_safetensors_and_wrapped(tmp_path: Path, narrow_inception: Path) -> None:
    from safetensors.torch import save_file

    state = torch.load(narrow_inception, weights_only=True)
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pth"):
        assert read_state_dict(path).keys() == state.keys()


def test_weights_in_half_precision_are_widened(tmp_path: Path, narrow_inception: Path) -> None:
    state = torch.load(narrow_inception, weights_only=True)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()},
               tmp_path / "half.pth")  # fmt: skip
    backbone = load_backbone("inception", layer="64", weights=tmp_path / "half.pth", device="cpu")
    assert backbone(images(1, 40)).dtype == torch.float32


def test_large_images_are_prepared_in_parts(
    lite0: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images(5, 100)
    whole = lite0(x)
    monkeypatch.setattr(network_module, "_PIXELS_AT_ONCE", 20_000)
    taken: list[int] = []
    inner = network_module.preprocess.apply

    def spy(pixels: torch.Tensor, preprocess: object) -> torch.Tensor:
        taken.append(len(pixels))
        return inner(pixels, preprocess)

    monkeypatch.setattr(network_module.preprocess, "apply", spy)
    assert torch.equal(lite0(x), whole)
    assert taken == [2, 2, 1]


def test_a_file_without_counters_loads(tmp_path: Path, narrow_inception: Path) -> None:
    state = torch.load(narrow_inception, weights_only=True)
    plain = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(plain, tmp_path / "w.pth")
    x = images(1, 40)
    out = load_backbone("inception", layer="64", weights=tmp_path / "w.pth", device="cpu")(x)
    expected = load_backbone("inception", layer="64", weights=narrow_inception, device="cpu")(x)
    assert torch.equal(out, expected)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.mkdir, (self.mark,))


def test_weights_are_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"a": Bomb(mark)}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match="never loaded"):
        read_state_dict(tmp_path / "bomb.pth")
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_no_weights_file(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state_dict(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="list, not a state dict"):
        read_state_dict(tmp_path / "list.pth")
