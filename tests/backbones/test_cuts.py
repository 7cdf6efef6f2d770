"""Where a network is cut: what comes out is what the library's own pass gives there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from test_backbones import close, images, seeded
from torch import nn

from gan_metrics.backbones.layers import cut_of
from gan_metrics.backbones.listing import list_layers
from gan_metrics.backbones.registry import choose_backbone, load_backbone, recipe_of
from gan_metrics.images.preprocess import apply


def by_hooks(net: nn.Module, inputs: torch.Tensor, paths: list[str]) -> dict[str, torch.Tensor]:
    """What a library's own forward pass gives at some modules, as it was when it came out."""
    seen: dict[str, torch.Tensor] = {}

    def hook(path: str, out: torch.Tensor) -> None:
        seen.setdefault(path, out.clone())

    for path in paths:
        net.get_submodule(path).register_forward_hook(
            lambda _m, _i, out, path=path: hook(path, out)
        )
    with torch.inference_mode():
        net(inputs)
    return seen


POOLED = {
    ("flatten", "NCHW"): lambda t: t.flatten(1),
    ("avg", "NCHW"): lambda t: t.mean((2, 3)),
    ("avg", "NHWC"): lambda t: t.mean((1, 2)),
    ("cls", "NCHW"): lambda t: t[:, 0],
    ("none", "NCHW"): lambda t: t,
}


@pytest.mark.parametrize(
    ("name", "model", "cuts"),
    [
        ("vgg19", "vgg19", {"conv5_4": "features.34", "pool5": "features.36", "fc6": "classifier.0",
                            "fc7": "classifier.3", "fc7_relu": "classifier.4",
                            "logits": "classifier"}),
        ("resnet50", "resnet50", {"layer2.0.conv1": "layer2.0.conv1", "avgpool": "avgpool",
                                  "layer3": "layer3", "logits": "fc", "bn1": "bn1",
                                  "layer4.2.conv3": "layer4.2.conv3"}),
        ("efficientnet-b0", "efficientnet_b0", {"conv_head": "features.8.0",
                                                "conv_head_act": "features.8",
                                                "features.8.1": "features.8.1",
                                                "avgpool": "avgpool"}),
        ("vit-b-16", "vit_b_16", {"last_hidden_state": "encoder", "logits": "heads",
                                  "encoder.layers.encoder_layer_3":
                                  "encoder.layers.encoder_layer_3"}),
        ("convnext-tiny", "convnext_tiny", {"avgpool": "avgpool", "features.3": "features.3"}),
        ("torchvision:swin_t", "swin_t", {"avgpool": "avgpool", "features.3": "features.3"}),
        ("torchvision:densenet121", "densenet121", {"features": "features",
                                                    "logits": "classifier"}),
        ("torchvision:regnet_y_400mf", "regnet_y_400mf", {"avgpool": "avgpool"}),
        ("torchvision:mnasnet1_0", "mnasnet1_0", {"layers.14": "layers.14"}),
    ],
)  # fmt: skip
def test_cuts_are_what_torchvision_s_own_pass_gives(
    tmp_path: Path, name: str, model: str, cuts: dict[str, str]
) -> None:
    net = seeded(lambda: torchvision.models.get_model(model, weights=None), tmp_path / "w.pth")
    first = next(iter(cuts))
    backbone = load_backbone(name, weights=tmp_path / "w.pth", device="cpu", pool="none",
                             layer=first)  # fmt: skip
    x = images(1 if name in ("vgg19", "vit-b-16") else 2, 100)  # the large ones take a while
    theirs = by_hooks(net, apply(x, recipe_of(name).preprocess), list(cuts.values()))
    close(backbone(x), theirs[cuts[first]])
    others = [layer for layer in cuts if layer != first]
    out = backbone.outputs(x, others)  # also those that a folded BatchNorm hides
    for layer in others:
        cut = cut_of(recipe_of(name), layer)[1]
        close(out[layer], POOLED[cut.pool, cut.layout](theirs[cuts[layer]]))
    close(backbone(x), theirs[cuts[first]])  # and the backbone's own cut is what it was


def test_the_input_of_a_module_is_a_cut_too() -> None:
    backbone = load_backbone("torchvision:densenet121", weights="random", device="cpu")
    x = images(1, 64)
    out = backbone.outputs(x, ["classifier:in", "avgpool", "features"])
    assert torch.equal(out["classifier:in"], out["avgpool"])
    assert out["avgpool"].shape == (1, 1024)
    relu = torch.relu(load_backbone("torchvision:densenet121", weights="random", device="cpu",
                                    layer="features", pool="none")(x)).mean((2, 3))  # fmt: skip
    close(out["avgpool"], relu)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "dla34",
                                  "swin_tiny_patch4_window7_224", "vit_small_patch16_dinov3",
                                  "tf_efficientnet_lite0", "levit_128s"])  # fmt: skip
def test_cuts_are_what_timm_s_own_methods_give(tmp_path: Path, name: str) -> None:
    net = seeded(lambda: timm.create_model(name), tmp_path / "w.pth")
    x = images(2, 100)
    recipe = recipe_of(f"timm:{name}")
    with torch.inference_mode():
        maps = net.forward_features(apply(x, recipe.preprocess))
        expected = net.forward_head(maps, pre_logits=True).flatten(1)
        logits = net.forward_head(maps)
    backbone = load_backbone(f"timm:{name}", weights=tmp_path / "w.pth", device="cpu")
    out = backbone.outputs(x, ["pre_logits", "logits"])
    close(out["pre_logits"], expected)
    close(out["logits"], logits)
    if "last_hidden_state" in recipe.layers:
        tokens = load_backbone(f"timm:{name}", weights=tmp_path / "w.pth", device="cpu",
                               layer="last_hidden_state", pool="none")(x)  # fmt: skip
        close(tokens, maps)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "crossvit_tiny_240"])
def test_several_classifiers_are_cut_as_timm_cuts_them(tmp_path: Path, name: str) -> None:
    net = seeded(lambda: timm.create_model(name), tmp_path / "w.pth")
    x = images(2, 64)
    with torch.inference_mode():
        maps = net.forward_features(apply(x, recipe_of(f"timm:{name}").preprocess))
        expected = net.forward_head(maps, pre_logits=True)
        logits = net.forward_head(maps)
    backbone = load_backbone(f"timm:{name}", weights=tmp_path / "w.pth", device="cpu")
    close(backbone(x), expected)
    close(backbone.outputs(x, ["logits"])["logits"], logits)


ABOUT_FOLDED = ["conv1", "conv1.6", "bn1", "bn1:in", "layer1.0.conv2", "layer1.0.bn2:in",
                "maxpool:in"]  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A network's weights file, and what its library's own pass gives and takes on the way."""

    weights: Path
    pixels: torch.Tensor
    values: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def resnet50d(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    path = tmp_path_factory.mktemp("resnet50d") / "w.pth"
    net = seeded(lambda: timm.create_model("resnet50d"), path)
    values: dict[str, torch.Tensor] = {}

    def watch(layer: str) -> None:
        module = net.get_submodule(layer.removesuffix(":in"))
        if layer.endswith(":in"):
            module.register_forward_pre_hook(lambda _m, taken: keep(layer, taken[0]))
        else:
            module.register_forward_hook(lambda _m, _i, out: keep(layer, out))

    def keep(layer: str, value: torch.Tensor) -> None:
        values[layer] = value.clone()

    for layer in ABOUT_FOLDED:
        watch(layer)
    x = images(2, 64)
    with torch.inference_mode():
        net(apply(x, recipe_of("timm:resnet50d").preprocess))
    return Seen(path, x, values)


@pytest.mark.parametrize("layer", ABOUT_FOLDED)
def test_what_ends_in_a_folded_convolution_is_left_as_it_is(layer: str, resnet50d: Seen) -> None:
    """In resnet50d ``conv1`` is a container whose last convolution is read by ``bn1``."""
    backbone = load_backbone("timm:resnet50d", layer=layer, pool="none", device="cpu",
                             weights=resnet50d.weights)  # fmt: skip
    close(backbone(resnet50d.pixels), resnet50d.values[layer])


def test_nor_do_other_cuts_of_one_network_change_it(resnet50d: Seen) -> None:
    for layer in ABOUT_FOLDED:
        plain = load_backbone("timm:resnet50d", device="cpu", weights=resnet50d.weights)
        found = plain.outputs(resnet50d.pixels, [layer])[layer]
        close(found, resnet50d.values[layer].mean((2, 3)))


def test_one_cut_has_one_name() -> None:
    for name, layer in (("timm:resnet18", "logits"), ("clip:ViT-B-32/openai", "embedding")):
        one, other = (choose_backbone(name, layer=x, weights="random") for x in (layer, "output"))
        assert one.spec.fingerprint() == other.spec.fingerprint()


def test_what_goes_into_a_module_has_its_own_shape() -> None:
    for name, path, dim in (("torchvision:densenet121", "classifier:in", 1024),
                            ("torchvision:shufflenet_v2_x1_0", "fc:in", 1024)):  # fmt: skip
        (row,) = (row for row in list_layers(name) if row.path == path)
        assert row.shape == (dim,)
