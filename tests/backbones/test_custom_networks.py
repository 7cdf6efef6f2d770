"""Networks of the user's own: modules and factories, their identity, and what they do wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from conftest import Run
from test_backbones import close, images
from torch import nn

import gan_metrics as gm
from gan_metrics.backbones.registry import (
    choose_backbone,
    is_built_in,
    load_backbone,
    recipe_of,
)
from gan_metrics.errors import UsageError, WeightsError
from gan_metrics.images.preprocess import apply
from gan_metrics.protocols.spec import Preprocess


class Tiny(nn.Module):
    """A network of a user's own."""

    preprocess = Preprocess("exact", 16, "torch-bilinear", None, 255.0, (0.5,) * 3, (0.5,) * 3)
    default_layer = "features"

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.features = nn.Conv2d(3, 5, 3)
            self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


class Fixed(nn.Module):
    """One that takes images of one size alone."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


def test_a_module_of_the_user_s_own() -> None:
    net, x = Tiny().eval(), images(3, 40)
    backbone = load_backbone(net, device="cpu")
    with torch.inference_mode():
        expected = net.features(apply(x, Tiny.preprocess)).mean((2, 3))
    close(backbone(x), expected)
    assert backbone.spec.layer == "features"
    assert backbone.spec.backbone == "module:test_custom_networks.Tiny"
    assert [code for code, _ in backbone.choice.warnings] == ["own-backbone"]
    head = load_backbone(net, layer="output", device="cpu")
    assert head(x).shape == (3, 2)
    before = backbone.spec.fingerprint()
    with torch.no_grad():
        net.head.bias.add_(1)
    assert load_backbone(net, device="cpu").spec.fingerprint() != before
    assert backbone.choice.recipe.build().training is net.training  # type: ignore[operator]
    assert all(p.requires_grad for p in net.parameters())  # the original is as it was


def test_scores_with_a_module_of_the_user_s_own(folders: tuple[Path, Path]) -> None:
    result = gm.fid(*folders, backbone=Tiny(), cache=False)
    assert result.metric == "fd"
    assert result.value > 0
    again = gm.fid(*folders, backbone="test_custom_networks:Tiny", cache=False)
    assert again.value == result.value
    assert again.feature_spec.backbone == "test_custom_networks:Tiny"
    with pytest.raises(UsageError, match="has its own weights"):
        gm.fid(*folders, backbone=Tiny(), weights="random")


def test_own_weights_from_a_file(tmp_path: Path) -> None:
    other = Tiny()
    with torch.no_grad():
        other.features.weight.mul_(2)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    x = images(1, 30)
    ours = load_backbone("test_custom_networks:Tiny", weights=tmp_path / "w.pth", device="cpu")(x)
    close(ours, load_backbone(other, device="cpu")(x))
    torch.save({"features.weight": torch.zeros(5, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="3 missing"):
        load_backbone("test_custom_networks:Tiny", weights=tmp_path / "part.pth", device="cpu")


def test_a_network_that_wants_another_size_says_so() -> None:
    with pytest.raises(UsageError, match=r"fails on a blank image of 224×224.*'preprocess'"):
        load_backbone(Fixed(), device="cpu")
    fixed = Fixed()
    fixed.preprocess = Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)
    assert load_backbone(fixed, device="cpu")(images(1, 30)).shape == (1, 4)
    backbone = load_backbone(fixed, device="cpu")
    with pytest.raises(UsageError, match="fails on images of 9×9"):
        backbone._raw(torch.zeros(1, 3, 9, 9), [""])


def test_a_module_without_preprocess_says_what_is_taken() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    choice = choose_backbone(net)
    assert [code for code, _ in choice.warnings] == ["own-backbone", "assumed-preprocess"]
    assert choice.spec.layer == "output"


def test_a_header_never_chooses_code(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    stats = gm.compute_stats(folders[0], backbone="test_custom_networks:Tiny", cache=False)
    path = stats.save(tmp_path / "own.npz")
    with pytest.raises(gm.MismatchError, match="not built in"):
        gm.fid(path, folders[1])
    assert gm.fid(path, folders[1], backbone="test_custom_networks:Tiny", cache=False).value > 0
    assert not is_built_in("timm:resnet18.a1_in1k")
    assert is_built_in("torchvision:resnet50.IMAGENET1K_V2")


class Standardised(nn.Conv2d):
    """A convolution that does something to its weights on the way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight / (weight.std() + 1e-5), self.bias)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "conv",
    [
        lambda: Standardised(3, 6, 3),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 6, 3)),
        lambda: nn.utils.weight_norm(nn.Conv2d(3, 6, 3)),
        lambda: nn.Conv2d(3, 6, 3, dtype=torch.float64),
    ],
)
def test_convolutions_of_another_kind_are_not_folded(conv: object) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())  # type: ignore[operator]
    net[1].running_mean.uniform_(-1, 1)
    net[1].running_var.uniform_(0.5, 2)
    net.preprocess = Preprocess("exact", 9, "torch-bilinear", None, 255.0, (0.5,) * 3, (0.5,) * 3)
    x = images(2, 20)
    with torch.inference_mode():
        expected = net.float().eval()(apply(x, net.preprocess))
    close(load_backbone(net, device="cpu")(x), expected)


def test_a_layer_that_does_not_count_the_images_is_refused() -> None:
    name = "timm:swin_tiny_patch4_window7_224"
    for layer in ("layers.0.blocks.0.attn", "layers.0.blocks.1.attn:in"):
        with pytest.raises(UsageError, match="first axis does not count images"):
            choose_backbone(name, layer=layer, weights="random")


def test_networks_of_one_s_own_are_told_apart_and_not_cached(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, 3)
    values, prints = [], []
    for activation in (nn.ReLU(), nn.Tanh()):
        net = nn.Sequential(conv, activation, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        result = gm.fid(*folders, backbone=net, cache=tmp_path / "cache")
        values.append(result.value)
        prints.append(result.feature_spec.fingerprint())
    assert values[0] != values[1]
    assert prints[0] != prints[1]
    assert not list((tmp_path / "cache").rglob("*.npz"))


def broken() -> nn.Module:
    raise RuntimeError("out of cheese")


def test_a_factory_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="RuntimeError: out of cheese"):
        recipe_of("test_custom_networks:broken")
    (tmp_path / "wrong_syntax.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="SyntaxError"):
        recipe_of("wrong_syntax:net")


class Powered(nn.Module):
    """What it does depends on a plain attribute."""

    preprocess = Tiny.preprocess

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs().pow(self.power).flatten(1)


def test_plain_attributes_are_part_of_the_identity() -> None:
    one, two, other = (choose_backbone(Powered(p)).spec for p in (1.0, 1.0, 2.0))
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


class Flattening(nn.Module):
    """As in many tutorials: ``view`` wants the plain layout of memory."""

    preprocess = Tiny.preprocess

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(3, 4, 3), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:  # state that is made at first use
            self.table = torch.ones(1)
        x = self.conv(x)
        return x.view(len(x), -1) * self.table


def test_a_network_from_a_tutorial_works() -> None:
    net = Flattening().eval()
    x = images(3, 30).contiguous()
    ours = load_backbone(net, device="cpu")(x)
    with torch.inference_mode():
        close(ours, net(apply(x, Tiny.preprocess)))


class Faulty(nn.Module):
    preprocess = Tiny.preprocess

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "numpy":  # needs numbers, so shapes alone will not do
            return torch.from_numpy(x.numpy().mean((2, 3)))
        if self.kind == "prints":
            print("from the network")
            return x.mean((2, 3))
        if self.kind == "complex":
            return x.mean((2, 3)).to(torch.complex64)
        if self.kind == "key":
            raise KeyError("k")
        raise SystemExit(0)


def numpy_one() -> nn.Module:
    return Faulty("numpy")


def printing() -> nn.Module:
    print("from the factory")
    return Faulty("prints")


def test_whatever_a_user_s_network_does(folders: tuple[Path, Path], run: Run) -> None:
    for kind, message in (("key", "KeyError: 'k'"), ("exit", "SystemExit: 0"),
                          ("complex", "complex numbers")):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            load_backbone(Faulty(kind), device="cpu")
    assert load_backbone(Faulty("numpy"), device="cpu")(images(2, 30)).shape == (2, 3)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    done = run(
        "fid", *folders, "--backbone", "test_custom_networks:printing", "--json", PYTHONPATH=path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metric"] == "fd"
    assert "from the factory" in done.stderr
    assert "from the network" in done.stderr


@pytest.mark.parametrize(
    "change",
    [{"resize": "bogus"}, {"size": 0}, {"mean": (0.5,)}, {"std": (0.0,) * 3}, {"crop": 0},
     {"divisor": 0.0}],
)  # fmt: skip
def test_an_impossible_preprocess_is_refused(change: dict[str, object]) -> None:
    good = {"resize": "exact", "size": 9, "interpolation": "torch-bilinear", "crop": None,
            "divisor": 255.0, "mean": (0.5,) * 3, "std": (0.5,) * 3}  # fmt: skip
    with pytest.raises(ValueError, match=r"must|need|not one of"):
        Preprocess(**{**good, **change})
    net = Powered(1.0)
    net.preprocess = Preprocess(**{**good, "interpolation": "nearst"})
    with pytest.raises(UsageError, match="unknown interpolation"):
        load_backbone(net, device="cpu")(images(1, 30))


def test_images_of_several_sizes_need_a_resize() -> None:
    net = Powered(1.0)
    net.preprocess = Preprocess("none", 0, "torch-bilinear", None, 255.0, (0.5,) * 3, (0.5,) * 3)
    backbone = load_backbone(net, layer="output", pool="flatten", device="cpu")
    with pytest.raises(UsageError, match="several sizes"):
        backbone.embed([images(1, 224), images(1, 100)])


def test_weights_that_are_no_plain_numbers(tmp_path: Path) -> None:
    state = Tiny().state_dict()
    for bad in (state["head.weight"].to(torch.complex64), state["head.weight"].to_sparse()):
        torch.save({**state, "head.weight": bad}, tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=r"head\.weight is"):
            load_backbone("test_custom_networks:Tiny", weights=tmp_path / "w.pth", device="cpu")
