"""Every network that has a name: its dimension, its pixels, its cuts, against its own library."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import LITE0
from data import crops, same_features
from PIL import Image, ImageFilter
from tolerances import FEATURES
from torch import nn
from torchvision.models import VisionTransformer

import gan_metrics as gm
from gan_metrics.backbones import torchvision as torchvision_networks
from gan_metrics.backbones import torchvision_table
from gan_metrics.backbones.build import read_state_dict, skeleton
from gan_metrics.backbones.cut import pool_output, run_until
from gan_metrics.backbones.layers import cut_of
from gan_metrics.backbones.listing import list_layers
from gan_metrics.backbones.registry import (
    BACKBONES,
    backbone_names,
    choose_backbone,
    load_backbone,
    recipe_of,
)
from gan_metrics.errors import InputError, UsageError, WeightsError
from gan_metrics.images.preprocess import apply


def images(n: int, height: int, width: int | None = None, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    photo = crops(1, seed, 200, 200)[0]
    noise = rng.integers(-40, 40, (n, height, width or height, 3))
    base = np.asarray(Image.fromarray(photo).resize((width or height, height)))
    return torch.from_numpy(np.clip(base + noise, 0, 255).astype(np.uint8)).permute(0, 3, 1, 2)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.any()
    same_features(ours.numpy(), theirs.numpy())


DIMENSIONS: dict[str, dict[str | None, int]] = {
    "inception": {
        None: 2048,
        "pool3": 2048,
        "2048": 2048,
        "64": 64,
        "192": 192,
        "768": 768,
        "logits": 1008,
        "logits_unbiased": 1008,
    },
    "inception-torchvision": {None: 2048},
    "vgg16": {None: 512, "fc7": 4096, "conv5_3": 512},
    "vgg19": {None: 512, "fc6": 4096, "fc7": 4096, "fc7_relu": 4096, "conv5_4": 512},
    "resnet18": {None: 512},
    "resnet50": {"avgpool": 2048},
    "resnet101": {None: 2048},
    "efficientnet-b0": {None: 1280, "conv_head": 1280},
    "efficientnet-b1": {None: 1280},
    "efficientnet-b2": {None: 1408},
    "efficientnet-b3": {None: 1536},
    "efficientnet-b4": {"conv_head": 1792},
    "efficientnet-b5": {None: 2048},
    "efficientnet-b6": {None: 2304},
    "efficientnet-b7": {None: 2560},
    "efficientnet-lite0": {None: 1280, "conv_head": 1280, "logits": 1000, "avgpool": 1280},
    "vit-b-16": {None: 768, "last_hidden_state": 768},
    "convnext-tiny": {None: 768},
    "convnext-small": {None: 768},
    "convnext-base": {None: 1024},
    "convnext-large": {None: 1536},
    "torchvision:swin_t": {None: 768},
    "torchvision:densenet121": {None: 1024},
    "torchvision:regnet_y_400mf": {None: 440},
    "torchvision:squeezenet1_1": {None: 512},
    "torchvision:mobilenet_v2": {None: 1280},
    "torchvision:resnet50.IMAGENET1K_V2": {None: 2048},
    "torchvision:maxvit_t": {None: 512},
    "timm:resnet18": {None: 512},
    "timm:vit_small_patch14_dinov2": {None: 384},
    "timm:vit_small_patch16_dinov3": {None: 384},
    "timm:vit_base_patch16_224.mae": {None: 768},
    "timm:resnet50.fb_swsl_ig1b_ft_in1k": {None: 2048},
    "timm:convnext_tiny.fb_in22k": {None: 768},
    "timm:dla34": {None: 512},
    "dinov2-vits14": {None: 384},
    "dinov2-vitb14": {None: 768},
    "dinov2-vitl14": {None: 1024},
    "clip:ViT-B-32/openai": {None: 512},
    "clip:RN50/openai": {None: 1024},
}

RUN = {  # those whose family no other test runs, and the smallest of each
    "inception", "resnet18", "efficientnet-b0", "efficientnet-lite0", "torchvision:squeezenet1_1",
    "torchvision:mobilenet_v2", "timm:resnet18", "timm:dla34", "dinov2-vits14", "clip:RN50/openai",
}  # fmt: skip


@pytest.mark.parametrize("name", DIMENSIONS)
def test_every_name_has_its_dimension(name: str) -> None:
    """By shapes alone, on the meta device."""
    recipe = recipe_of(name)
    choices = {layer: choose_backbone(name, layer=layer, weights="random")
               for layer in DIMENSIONS[name]}  # fmt: skip
    blank = torch.empty(1, 3, recipe.input_size, recipe.input_size, device="meta")
    paths = {choice.layer.path for choice in choices.values()}
    with torch.inference_mode():
        seen = run_until(skeleton(recipe), blank, sorted(paths))
    for layer, choice in choices.items():
        cut = dataclasses.replace(choice.layer, pool=str(choice.spec.pool))
        features = pool_output(seen[cut.path], cut)
        assert features.shape == (1, DIMENSIONS[name][layer]), layer
        assert features.dtype == torch.float32
        assert str(choice.spec.weights_sha256).startswith("random:")
        assert "random-weights" in [code for code, _ in choice.warnings]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in RUN else pytest.mark.slow) for n in DIMENSIONS],
)
def test_every_name_gives_its_dimension(name: str) -> None:
    first, *others = DIMENSIONS[name]
    backbone = load_backbone(name, layer=first, weights="random", device="cpu")
    x = images(1, 70, 90)
    for layer, features in {first: backbone(x), **backbone.outputs(x, others)}.items():
        assert features.shape == (1, DIMENSIONS[name][layer]), layer
        assert features.dtype == torch.float32
        assert torch.isfinite(features).all()
        assert features.std() > 0
    assert str(backbone.spec.weights_sha256).startswith("random:")
    assert "random-weights" in [code for code, _ in backbone.choice.warnings]


def test_the_table_has_every_name_that_needs_no_prefix() -> None:
    too_large = {"dinov2-vitg14"}  # a billion weights: its parts are in test_dinov2.py
    assert set(DIMENSIONS) >= set(BACKBONES) - too_large
    assert set(DIMENSIONS) >= RUN


MAPS = {
    "vgg19": {"conv5_4": (512, 14, 14), "pool5": (512, 7, 7), "avgpool": (512, 7, 7)},
    "resnet50": {"avgpool": (2048, 1, 1)},
    "vit-b-16": {"last_hidden_state": (197, 768)},
    "inception": {"768": (768, 17, 17)},
    "efficientnet-b0": {"conv_head": (1280, 7, 7)},
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_listed_with_their_shape(name: str) -> None:
    listed = {name: row for row in list_layers(name) for name in row.names}
    assert {layer: listed[layer].shape for layer in MAPS[name]} == MAPS[name]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in ("resnet50", "efficientnet-b0") else pytest.mark.slow)
        for n in MAPS
    ],
)
def test_maps_keep_their_shape(name: str) -> None:
    for layer, shape in MAPS[name].items():
        backbone = load_backbone(name, layer=layer, pool="none", weights="random", device="cpu")
        assert backbone(images(1, 64)).shape == (1, *shape)


def test_torchvision_s_facts_are_torchvision_s() -> None:
    facts = torchvision_table._facts()
    theirs = torchvision_networks.catalogue()
    assert len(theirs) > 80
    differing = {key for key in theirs if key in facts and theirs[key] != facts[key]}
    assert differing == set()
    if torchvision.__version__.startswith("0.29."):  # which the table was made with
        assert facts == theirs
    assert all(recipe_of(name).weights.sha256_prefix or "vgg" in name  # type: ignore[union-attr]
               for name in torchvision_table.all_names())  # fmt: skip


@pytest.mark.parametrize("key", ["resnet50.IMAGENET1K_V2", "efficientnet_b4", "vit_b_16",
                                 "inception_v3", "swin_v2_t", "vit_h_14"])  # fmt: skip
def test_pixels_are_prepared_as_by_torchvision_s_own_transforms(key: str) -> None:
    name, _, tag = key.partition(".")
    weights = torchvision.models.get_model_weights(name)
    theirs = (weights[tag] if tag else next(iter(weights))).transforms()
    pixels = images(1, 333, 444)
    expected = theirs(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()))
    ours = apply(pixels, recipe_of(f"torchvision:{key}").preprocess)[0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "vit_base_patch14_dinov2.lvd142m",
                                  "vit_base_patch16_siglip_224.webli"])  # fmt: skip
def test_pixels_are_prepared_as_by_timm_s_own_transform(name: str) -> None:
    config = timm.data.resolve_data_config(
        pretrained_cfg=vars(timm.models.get_pretrained_cfg(name))
    )
    theirs = timm.data.create_transform(**config)
    pixels = images(1, 333, 444)
    expected = theirs(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()))
    ours = apply(pixels, recipe_of(f"timm:{name}").preprocess)[0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "ViT-B-16-SigLIP/webli"])
def test_pixels_are_prepared_as_by_open_clip(name: str) -> None:
    import open_clip

    config = open_clip.get_pretrained_cfg(*name.split("/"))
    keys = ("mean", "std", "interpolation", "resize_mode")
    theirs = open_clip.image_transform(224, is_train=False, **{k: config[k] for k in keys})
    pixels = images(1, 333, 444)
    expected = theirs(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()))
    ours = apply(pixels, recipe_of(f"clip:{name}").preprocess)[0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)


def seeded(build: object, path: Path) -> nn.Module:
    """A library's own network with seeded weights and lively BatchNorms, saved to a file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net: nn.Module = build()  # type: ignore[operator]
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, 0.5, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
            elif isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)  # heads that begin at zero
    torch.save(net.state_dict(), path)
    return net.eval()


def test_inception_from_torchvision_is_whole(tmp_path: Path) -> None:
    build = torchvision.models.inception_v3
    net = seeded(lambda: build(weights=None, init_weights=False, transform_input=True),
                 tmp_path / "w.pth")  # fmt: skip
    x = images(1, 100)
    with torch.inference_mode():
        expected = net(apply(x, recipe_of("inception-torchvision").preprocess))
    backbone = load_backbone("inception-torchvision", layer="logits", weights=tmp_path / "w.pth",
                             device="cpu")  # fmt: skip
    close(backbone(x), expected)


def test_old_keys_of_densenet_are_understood(tmp_path: Path) -> None:
    net = seeded(torchvision.models.densenet121, tmp_path / "new.pth")
    old = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1")
        .replace("conv2", "conv.2") if "denselayer" in key else key: value
        for key, value in net.state_dict().items()
    }  # fmt: skip
    torch.save(old, tmp_path / "old.pth")
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    x = images(1, 64)
    one, other = (load_backbone("torchvision:densenet121", weights=tmp_path / f, device="cpu")(x)
                  for f in ("new.pth", "old.pth"))  # fmt: skip
    assert torch.equal(one, other)


def test_weights_of_timm_s_older_layouts_are_converted(tmp_path: Path) -> None:
    """The original DINOv2 files have other keys than timm's, and a mask token besides."""
    net = seeded(lambda: timm.create_model("vit_small_patch14_dinov2"), tmp_path / "timm.pth")
    state = net.state_dict() | {"mask_token": torch.zeros(1, 384)}
    torch.save(state, tmp_path / "original.pth")
    for file in ("timm.pth", "original.pth"):
        loaded = load_backbone("timm:vit_small_patch14_dinov2", weights=tmp_path / file,
                               device="cpu").module.state_dict()  # fmt: skip
        assert loaded.keys() == net.state_dict().keys()
        assert all(torch.equal(value, loaded[key]) for key, value in net.state_dict().items())


def test_clip_is_open_clip_s_image_embedding(tmp_path: Path) -> None:
    import open_clip

    with torch.device("meta"):  # its own initialization takes seconds
        model = open_clip.create_model("ViT-B-32", force_quick_gelu=True, device="meta").eval()
    model.visual.to_empty(device="cpu")
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.visual.parameters():
            weights.uniform_(-0.05, 0.05, generator=random)
    tower = model.visual.state_dict()
    of_text = {
        k: torch.zeros(()).expand(v.shape) for k, v in model.state_dict().items() if v.is_meta
    }
    assert "token_embedding.weight" in of_text
    torch.save(of_text | {f"visual.{key}": value for key, value in tower.items()},
               tmp_path / "whole.pt")  # fmt: skip
    torch.save(tower, tmp_path / "tower.pt")
    x = images(2, 100)
    with torch.inference_mode():
        expected = model.encode_image(apply(x, recipe_of("clip:ViT-B-32/openai").preprocess))
    assert (expected[0] - expected[1]).norm() > 1e-3 * expected[0].norm()
    for file in ("whole.pt", "tower.pt"):
        ours = load_backbone("clip:ViT-B-32/openai", weights=tmp_path / file, device="cpu")(x)
        close(ours, expected)


def test_names_are_settled() -> None:
    assert choose_backbone("torchvision:resnet50", weights="random").spec.backbone == "resnet50"
    assert recipe_of("timm:resnet50").name == "timm:resnet50.a1_in1k"
    assert choose_backbone("resnet50", layer="fc", weights="random").spec.layer == "logits"
    assert choose_backbone("vgg19", layer="fc8", weights="random").spec.layer == "logits"
    dotted = choose_backbone("resnet50", layer="layer2.0.conv1", weights="random").spec
    assert (dotted.layer, dotted.pool) == ("layer2.0.conv1", "avg")
    block = choose_backbone("vit-b-16", layer="encoder.layers.encoder_layer_5", weights="random")
    assert block.spec.pool == "cls"
    swin = cut_of(recipe_of("torchvision:swin_t"), "features.1")[1]
    assert (swin.pool, swin.layout) == ("avg", "NHWC")


def test_backbones_are_found_by_patterns() -> None:
    assert backbone_names() == list(BACKBONES)
    assert "timm:vit_small_patch14_dinov2.lvd142m" in backbone_names("timm:*dinov2*")
    assert "torchvision:resnet50.IMAGENET1K_V2" in backbone_names("torchvision:resnet50*")
    assert "clip:ViT-L-14-336/openai" in backbone_names("clip:*/openai")
    assert backbone_names("vgg*") == ["vgg16", "vgg19"]
    assert backbone_names("nothing*") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet49", "Did you mean .*resnet"), ("torchvision:resnet51", "torchvision:resnet50"),
        ("timm:resnet5O", "timm:resnet50"), ("clip:ViT-B-32/opena", "clip:ViT-B-32/openai"),
        ("timm:hf-hub:someone/model", "unknown backbone"), ("timm:", "unknown backbone"),
        ("nowhere.to_be:found", "No module named"), ("gan_metrics.demo:nothing", "nothing"),
        ("gan_metrics.demo:IMAGES", "int, not a torch.nn.Module"),
        ("timm:deepseek_vit_412m.deepseek_v4_1_flash", "border|unknown backbone"),
        ("torchvision:resnet50.IMAGENET1K_V3", "unknown backbone"),
    ],
)  # fmt: skip
def test_an_unknown_backbone_names_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe_of(name)


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("vgg19", "conv5-4", "Did you mean .*conv5_4"),
        ("resnet50", "layer2.0.conv9", "conv1|conv2"),
        ("vgg19", "fc9", "Did you mean .*fc"), (LITE0, "blocks.99", "layer of efficientnet-lite0"),
        ("torchvision:inception_v3", "AuxLogits", "does not run AuxLogits"),
        ("vit-b-16", "encoder.layers.encoder_layer_0.self_attention", "tuple, not a tensor"),
    ],
)  # fmt: skip
def test_an_unknown_layer_names_the_nearest(name: str, layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_backbone(name, layer=layer, weights="random")


def test_weights_that_lack_what_is_computed(tmp_path: Path) -> None:
    """Rotary tables are not part of a state dict; they must not stay without numbers."""
    net = seeded(lambda: timm.create_model("vit_small_patch16_dinov3"), tmp_path / "w.pth")
    missing = {n for n, _ in net.named_buffers()} - set(read_state_dict(tmp_path / "w.pth"))
    assert missing
    before = torch.random.get_rng_state()
    backbone = load_backbone("timm:vit_small_patch16_dinov3", weights=tmp_path / "w.pth",
                             device="cpu")  # fmt: skip
    assert not any(t.is_meta for t in backbone.module.buffers())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_int8_is_near_and_another_space() -> None:
    options = {"image_size": 224, "patch_size": 16, "num_layers": 2, "num_heads": 12}
    shallow = dataclasses.replace(
        BACKBONES["vit-b-16"],
        build=lambda: VisionTransformer(**options, hidden_dim=768, mlp_dim=3072),
    )
    plain = load_backbone(shallow, weights="random", device="cpu")
    short = load_backbone(shallow, weights="random", device="cpu", precision="int8")
    x = images(2, 64)
    error = float((short(x) - plain(x)).norm() / plain(x).norm())
    assert 1e-4 < error < 0.1
    assert short.spec.fingerprint() != plain.spec.fingerprint()
    with pytest.raises(UsageError, match="comes before all of them"):
        load_backbone("resnet18", weights="random", device="cpu", precision="int8")


def test_a_listing_is_in_the_order_of_the_pass() -> None:
    rows = list_layers("vgg19")
    named = [row.names[0] for row in rows if row.names]
    assert named[:4] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2"]
    assert named[-6:] == ["avgpool", "fc6", "fc6_relu", "fc7", "fc7_relu", "logits"]
    by_name = {name: row for row in rows for name in row.names}
    with torch.device("meta"):
        total = sum(p.numel() for p in torchvision.models.vgg19(weights=None).parameters())
    assert by_name["logits"].parameters == total
    assert by_name["fc7"].parameters_above == 4096 * 1000 + 1000
    assert by_name["conv1_1"].parameters == 3 * 3 * 3 * 64 + 64
    dense = [row.path for row in list_layers("torchvision:densenet121")]
    assert dense.index("classifier:in") == dense.index("classifier") - 1
    assert dense[-1] == ""


def test_a_pass_that_ends_early_takes_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_metrics.backbones.listing._BATCH", 1)
    rows = {name: row for row in list_layers("resnet18", time=True) for name in row.names}
    early, late = rows["layer1"].share, rows["avgpool"].share
    assert early is not None
    assert late is not None
    assert 0 < early < 0.7 * late


def test_crops_of_one_photograph_are_nearest_to_each_other() -> None:
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    rng = np.random.default_rng(0)
    cut, of = [], []
    for i, photo in enumerate(photos):
        for _ in range(8):
            top, left = rng.integers(0, 427 - 300), rng.integers(0, 640 - 300)
            cut.append(photo[top : top + 300, left : left + 300])
            of.append(i)
    x = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)
    unit = nn.functional.normalize(load_backbone(LITE0, device="cpu")(x))
    likeness = (unit @ unit.T).fill_diagonal_(-1)
    same = torch.tensor(of)[:, None] == torch.tensor(of)
    assert torch.equal(torch.tensor(of)[likeness.argmax(1)], torch.tensor(of))
    assert likeness[same & (likeness > -1)].mean() > likeness[~same].mean() + 0.2


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.fixture(scope="module")
def of_a_set() -> Callable[[list[Image.Image]], np.ndarray]:
    """The features of some images of one size."""
    backbone = load_backbone(LITE0, device="cpu")

    def features(pictures: list[Image.Image]) -> np.ndarray:
        x = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
        return backbone(x).numpy()

    return features


@pytest.fixture(scope="module")
def whole(
    of_a_set: Callable[[list[Image.Image]], np.ndarray],
) -> tuple[list[Image.Image], gm.Moments]:
    """Images that nothing was done to."""
    pictures = [Image.fromarray(c) for c in crops(16, 5, 128, 128)]
    return pictures, gm.Moments.from_features(of_a_set(pictures))


@pytest.mark.parametrize(
    ("kind", "strengths"), [("blur", (0.5, 1, 2, 4)), ("noise", (5, 15, 40, 90)),
                            ("jpeg", (75, 30, 12, 4))],
)  # fmt: skip
def test_the_distance_rises_with_what_is_done_to_the_images(
    kind: str,
    strengths: tuple[float, ...],
    of_a_set: Callable[[list[Image.Image]], np.ndarray],
    whole: tuple[list[Image.Image], gm.Moments],
) -> None:
    pictures, real = whole
    rng = np.random.default_rng(0)

    def spoilt(image: Image.Image, strength: float) -> Image.Image:
        if kind == "blur":
            return image.filter(ImageFilter.GaussianBlur(strength))
        if kind == "jpeg":
            return _jpeg(image, int(strength))
        noisy = np.asarray(image) + rng.normal(0, strength, (128, 128, 3))
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))

    distances = [
        gm.metrics.frechet_distance(
            real, gm.Moments.from_features(of_a_set([spoilt(p, s) for p in pictures]))
        )
        for s in strengths
    ]
    assert distances == sorted(distances)
    assert distances[0] < distances[-1] / 2


def test_float_images_are_refused_with_every_backbone() -> None:
    with pytest.raises(InputError, match="uint8"):
        load_backbone("resnet18", weights="random", device="cpu")(torch.zeros(1, 3, 8, 8))


def test_an_image_does_not_see_its_batch() -> None:
    x = torch.cat([images(2, 64, seed=1), images(2, 64, seed=2)])
    for precision, limit in {"fp32": FEATURES, "bf16": 3e-2, "int8": 1e-6}.items():
        backbone = load_backbone(
            "timm:vit_tiny_patch16_224", weights="random", device="cpu", precision=precision
        )
        together = backbone(x)
        alone = torch.cat([backbone(one) for one in x.split(1)])
        assert float((together - alone).norm() / alone.norm()) < limit, precision


def test_weights_for_another_size_of_images_are_not_resampled(tmp_path: Path) -> None:
    net = seeded(lambda: timm.create_model("vit_tiny_patch16_224", img_size=112),
                 tmp_path / "small.pth")  # fmt: skip
    assert net.pos_embed.shape[1] == 50
    with pytest.raises(WeightsError, match=r"pos_embed \(1, 50, 192\) instead of \(1, 197, 192\)"):
        load_backbone("timm:vit_tiny_patch16_224", weights=tmp_path / "small.pth", device="cpu")


def test_loading_leaves_the_random_state_alone() -> None:
    """As for weights from a file that lack something, in the test of these."""
    before = torch.random.get_rng_state()
    for name in ("torchvision:regnet_y_400mf", "timm:test_resnet"):
        load_backbone(name, weights="random", device="cpu")
        assert torch.equal(torch.random.get_rng_state(), before), name


def test_a_clip_with_several_outputs_gives_the_embedding() -> None:
    backbone = load_backbone("clip:coca_ViT-B-32/laion2b_s13b_b90k", weights="random", device="cpu")
    assert backbone(images(1, 64)).shape == (1, 512)


def test_a_misspelt_library_is_recognised() -> None:
    with pytest.raises(UsageError, match=r"Did you mean torchvision:resnet50\?"):
        recipe_of("torchvison:resnet50")
    with pytest.raises(UsageError, match=r"inception.*timm:NAME"):
        recipe_of("zzzzzzzzz")


def test_notes_of_another_shape_are_worked_out_again() -> None:
    from gan_metrics import settings

    first = recipe_of("timm:resnet18")
    for path in (settings.home_dir() / "networks").glob("*.json"):
        for text in ("", "{}", '{"value": 3}', '{"value": {"name": "x"}}'):
            path.write_text(text)
            assert recipe_of("timm:resnet18") == first


def test_an_unknown_tag_of_timm_is_an_unknown_name() -> None:
    with pytest.raises(UsageError, match="Did you mean timm:resnet"):
        recipe_of("timm:resnet18.nope")


def test_a_note_that_was_tampered_with_is_not_believed() -> None:
    from gan_metrics import settings

    before = choose_backbone(LITE0, layer="blocks.3.1.conv_pw").layer
    (path,) = (settings.home_dir() / "networks").glob("*.json")
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "value": ["avg", "NHWC"]}))
    assert choose_backbone(LITE0, layer="blocks.3.1.conv_pw").layer == before
