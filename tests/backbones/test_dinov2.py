"""DINOv2 against a plain forward pass of it, from a state dict in the published files' layout.

The oracle takes nothing from timm nor from torch's ``interpolate``: it computes in float64, by
products of matrices, and resamples the position embeddings by Keys' kernel as it is defined.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from conftest import Run
from PIL import Image
from tolerances import FEATURES

from gan_metrics import settings
from gan_metrics.backbones.build import skeleton
from gan_metrics.backbones.dinov2 import adapt, resample_table
from gan_metrics.backbones.listing import list_layers
from gan_metrics.backbones.registry import (
    BACKBONES,
    backbone_names,
    choose_backbone,
    load_backbone,
    recipe_of,
)
from gan_metrics.backbones.weights import find
from gan_metrics.errors import WeightsError

State = dict[str, torch.Tensor]
SMALL = "dinov2-vits14"
SIZES = {  # width, blocks, heads, width of the layer between, gated
    SMALL: (384, 12, 6, 1536, False), "dinov2-vitb14": (768, 12, 12, 3072, False),
    "dinov2-vitl14": (1024, 24, 16, 4096, False), "dinov2-vitg14": (1536, 40, 24, 4096, True),
}  # fmt: skip


# The oracle.


def layout(width: int, blocks: int, hidden: int, *, gated: bool) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a published file."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 1370, width), "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    between = {
        "mlp.w12": (2 * hidden, width), "mlp.w3": (width, hidden)
    } if gated else {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}  # fmt: skip
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), **between}
    for i in range(blocks):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.{end}": (width,) for end in ("weight", "bias")}
        shapes |= {f"blocks.{i}.{scale}.gamma": (width,) for scale in ("ls1", "ls2")}
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    return shapes


def published(width: int, blocks: int, hidden: int, *, gated: bool = False) -> State:
    """Random weights, none of them 0 or 1, that keep the sizes of what passes through them."""
    random = torch.Generator().manual_seed(0)

    def draw(key: str, shape: tuple[int, ...]) -> torch.Tensor:
        values = torch.randn(shape, generator=random)
        if key.endswith("gamma"):
            return 0.3 + 0.1 * values
        if "norm" in key and key.endswith("weight"):
            return 1 + 0.2 * values
        if key.endswith("weight"):
            return values / shape[1:].numel() ** 0.5
        return 0.3 * values

    shapes = layout(width, blocks, hidden, gated=gated)
    return {key: draw(key, torch.Size(shape)) for key, shape in shapes.items()}


def keys_kernel(x: np.ndarray) -> np.ndarray:
    """Cubic convolution with a = −3/4; Keys (1981)."""
    x, a = np.abs(x), -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def axis(out: int, into: int, scale: float) -> np.ndarray:
    """One axis as a matrix; beyond the border, the border's value."""
    matrix = np.zeros((out, into))
    for i in range(out):
        place = (i + 0.5) / scale - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, min(max(j, 0), into - 1)] += keys_kernel(np.array(place - j))
    return matrix


def naive_table(table: torch.Tensor, scale: float = 16.1 / 37) -> torch.Tensor:
    matrix = torch.from_numpy(axis(16, 37, scale))
    grid = table[0, 1:].double().reshape(37, 37, -1)
    patches = torch.einsum("ai,bj,ijd->abd", matrix, matrix, grid).reshape(256, -1)
    return torch.cat([table[0, :1].double(), patches])


def naive_tokens(state: State, pixels: torch.Tensor, heads: int) -> torch.Tensor:
    """All tokens after the last norm; ``pixels`` are ready for the network."""
    w = {key: value.double() for key, value in state.items()}
    n, width = len(pixels), w["cls_token"].shape[-1]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    patches = pixels.double().reshape(n, 3, 16, 14, 16, 14).permute(0, 2, 4, 1, 3, 5)
    x = patches.reshape(n, 256, 588) @ w["patch_embed.proj.weight"].reshape(width, 588).T
    x = torch.cat([w["cls_token"].expand(n, 1, width), x + w["patch_embed.proj.bias"]], dim=1)
    table = w["pos_embed"]
    x = x + (naive_table(table) if table.shape[1] == 1370 else table)
    for i in range(1 + max(int(key.split(".")[1]) for key in w if key.startswith("blocks."))):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = qkv.reshape(n, 257, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / (width // heads) ** 0.5).softmax(-1)
        mixed = (attention @ v).transpose(1, 2).reshape(n, 257, width)
        x = x + w[f"{block}.ls1.gamma"] * linear(mixed, f"{block}.attn.proj")
        inner = norm(x, f"{block}.norm2")
        if f"{block}.mlp.w12.weight" in w:
            gate, value = linear(inner, f"{block}.mlp.w12").chunk(2, dim=-1)
            inner = linear(gate * gate.sigmoid() * value, f"{block}.mlp.w3")
        else:
            inner = linear(inner, f"{block}.mlp.fc1")
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            inner = linear(inner, f"{block}.mlp.fc2")
        x = x + w[f"{block}.ls2.gamma"] * inner
    return norm(x, "norm")


def prepared(images: torch.Tensor) -> torch.Tensor:
    """Pillow's bicubic on bytes to 224 × 224, whatever the shape; ImageNet's mean and deviation."""
    whole = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    resized = [np.asarray(i.resize((224, 224), Image.Resampling.BICUBIC)) for i in whole]
    x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    return (x - mean) / std


def pictures(n: int) -> torch.Tensor:
    """Smooth patches of colour, wider than high."""
    coarse = np.random.default_rng(0).integers(0, 256, (n, 9, 12, 3)).astype(np.uint8)
    fine = [np.asarray(Image.fromarray(c).resize((300, 180))) for c in coarse]
    return torch.from_numpy(np.stack(fine)).permute(0, 3, 1, 2)


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = FEATURES / 2) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


@pytest.fixture(scope="module")
def state() -> State:
    return published(*SIZES[SMALL][:2], SIZES[SMALL][3])


@pytest.fixture
def save(tmp_path: Path) -> Callable[[State], Path]:
    def write(state: State) -> Path:
        torch.save(state, tmp_path / "w.pth")
        return tmp_path / "w.pth"

    return write


Save = Callable[[State], Path]


# The network.


def test_tokens_are_those_of_a_plain_pass(state: State, save: Save) -> None:
    images = pictures(2)
    expected = naive_tokens(state, prepared(images), heads=6)
    backbone = load_backbone(SMALL, weights=save(state), device="cpu")
    assert backbone(images).shape == (2, 384)
    close(backbone(images), expected[:, 0])
    between = (expected[0, 0] - expected[1, 0]).norm() / expected[0, 0].norm()
    assert between > 0.05  # or all of this would say little
    grid = load_backbone(
        SMALL, layer="last_hidden_state", pool="none", weights=save(state), device="cpu"
    )
    close(grid(images), expected)


def test_the_gated_layers_of_the_largest(save: Save) -> None:
    """One block of it; the whole of it has the same forty times."""
    width, _, heads, hidden, gated = SIZES["dinov2-vitg14"]
    state = published(width, 1, hidden, gated=gated)
    options = {"img_size": 224, "num_classes": 0, "init_values": 1.0, "depth": 1}
    shallow = dataclasses.replace(
        BACKBONES["dinov2-vitg14"],
        build=lambda: timm.create_model("vit_giant_patch14_dinov2", **options),
    )
    images = pictures(1)
    ours = load_backbone(shallow, weights=save(state), device="cpu")(images)
    close(ours, naive_tokens(state, prepared(images), heads)[:, 0])


@pytest.mark.parametrize("name", SIZES)
def test_every_size_takes_the_published_layout(name: str) -> None:
    width, blocks, heads, hidden, gated = SIZES[name]
    network = skeleton(recipe_of(name))
    expected = network.state_dict()
    shapes = layout(width, blocks, hidden, gated=gated)
    with torch.device("meta"):
        adapted = adapt({key: torch.empty(shape) for key, shape in shapes.items()}, expected)
    assert {k: v.shape for k, v in adapted.items()} == {k: v.shape for k, v in expected.items()}
    assert {block.attn.num_heads for block in network.blocks} == {heads}
    assert {module.eps for module in network.modules() if type(module).__name__ == "LayerNorm"} == {
        1e-6
    }


# The position embeddings.


def test_position_embeddings_are_resampled_by_keys_kernel() -> None:
    table = torch.randn(1, 1370, 5, generator=torch.Generator().manual_seed(1))
    ours = resample_table(table)
    assert ours.dtype == torch.float32
    assert torch.equal(ours[:, :1], table[:, :1])
    close(ours[0], naive_table(table), 2e-5)  # the kernel's weights in float32
    # What it must not be: the places of 16/37, timm's antialiasing, the two axes exchanged.
    turned = ours[0, 1:].reshape(16, 16, 5).transpose(0, 1).reshape(256, 5)
    for other in (
        naive_table(table, 16 / 37),
        timm.layers.resample_abs_pos_embed(table, [16, 16])[0],
        torch.cat([ours[0, :1], turned]),
    ):
        assert float((ours[0] - other).abs().max()) > 0.1


def test_a_half_precision_table_is_resampled_in_float32() -> None:
    table = torch.randn(1, 1370, 3).half()
    assert torch.equal(resample_table(table), resample_table(table.float()))


@pytest.mark.parametrize("grid", [37, 16])
def test_timm_s_own_keys_are_taken(grid: int, save: Save) -> None:
    """A table of 16 × 16 passes as it is; one of 37 × 37 is resampled as the published one is."""
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_small_patch14_dinov2", img_size=14 * grid, num_classes=0, init_values=0.5
    )
    state = network.state_dict()
    state["pos_embed"] = torch.randn(1, 1 + grid * grid, 384)
    images = pictures(1)
    ours = load_backbone(SMALL, weights=save(state), device="cpu")(images)
    close(ours, naive_tokens(state, prepared(images), heads=6)[:, 0])


def test_timm_s_keys_of_the_gated_layers_are_taken() -> None:
    expected = skeleton(recipe_of("dinov2-vitg14")).state_dict()
    assert adapt(dict(expected), expected) == dict(expected)


# Weights of something else.


def empty(**changes: torch.Tensor | None) -> State:
    """A state dict of zeros, some of them replaced (``None``: removed); small on the disk."""
    shapes = layout(384, 12, 1536, gated=False)
    zeros = {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}
    return {k: v for k, v in {**zeros, **changes}.items() if v is not None}


def test_nothing_but_the_change_is_refused(save: Save) -> None:
    load_backbone(SMALL, weights=save(empty()), device="cpu")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"register_tokens": torch.zeros(1, 4, 384)}, r"unexpected \(register_tokens\)"),
        ({"pos_embed": None}, r"missing \(pos_embed\)"),
        ({"pos_embed": torch.zeros(1, 325, 384)}, r"pos_embed \(1, 325, 384\) instead of \(1, 257"),
        ({"pos_embed": torch.zeros(1370, 384)}, r"pos_embed \(1370, 384\) instead of \(1, 257"),
        ({"pos_embed": torch.zeros(1, 1370, 768)}, r"\(1, 1370, 768\) instead of \(1, 257, 384\)"),
        ({"blocks.11.ls2.gamma": None}, r"missing \(blocks.11.ls2.gamma\)"),
        ({"blocks.3.mlp.w12.weight": torch.zeros(3072, 384), "blocks.3.mlp.fc1.weight": None},
         r"of another shape \(blocks.3.mlp.fc1.weight \(3072, 384\) instead"),
        ({"head.weight": torch.zeros(10, 384)}, r"unexpected \(head.weight\)"),
    ],
)  # fmt: skip
def test_another_file_is_refused(
    save: Save, changes: dict[str, torch.Tensor | None], says: str
) -> None:
    path = save(empty(**changes))
    with pytest.raises(WeightsError, match=says) as caught:
        load_backbone(SMALL, weights=path, device="cpu")
    assert str(path) in str(caught.value)
    assert SMALL in str(caught.value)


def test_a_file_of_another_network_is_refused(save: Save) -> None:
    with pytest.raises(WeightsError, match=r"missing .*; 1 unexpected"):
        load_backbone(SMALL, weights=save({"conv1.weight": torch.zeros(2, 2)}), device="cpu")


# The row.


@pytest.mark.parametrize("name", SIZES)
def test_the_space_by_default(name: str) -> None:
    choice = choose_backbone(name, weights="random")
    assert (choice.spec.layer, choice.spec.pool, choice.layer.path) == ("cls", "cls", "norm")
    assert choice.spec.preprocess is not None
    assert choice.spec.preprocess.to_json() == {
        "resize": "exact", "size": 224, "interpolation": "pil-bicubic-uint8", "crop": None,
        "divisor": 255.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    width = SIZES[name][0]
    assert f"{width}-d" in choice.recipe.summary
    listed = {short: row for row in list_layers(name) for short in row.names}
    assert listed["cls"].shape == listed["last_hidden_state"].shape == (257, width)


def test_one_cut_has_one_name() -> None:
    for layer in ("last_hidden_state", "norm"):
        assert choose_backbone(SMALL, layer=layer, weights="random").spec == (
            choose_backbone(SMALL, weights="random").spec
        )


@pytest.mark.parametrize("name", SIZES)
def test_the_published_file_is_found_where_torch_hub_puts_it(name: str) -> None:
    source = BACKBONES[name].weights
    assert source is not None
    model = name.removeprefix("dinov2-")
    file = f"dinov2_{model}_pretrain.pth"
    assert source.urls == (f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{model}/{file}",)
    assert source.sha256_prefix == ""
    with pytest.raises(WeightsError, match=f"{file}: GAN_METRICS_OFFLINE=1"):
        find(source)
    folder = settings.torch_hub_checkpoints()
    folder.mkdir(parents=True)
    (folder / file).write_bytes(b"one")
    assert find(source).path == folder / file
    (folder / file).write_bytes(b"another")
    with pytest.raises(WeightsError, match="changed"):  # the first one's hash was pinned
        find(source)


def test_random_weights_tell_images_apart() -> None:
    one, other = load_backbone(SMALL, weights="random", device="cpu")(pictures(2))
    assert (one - other).norm() / one.norm() > 1e-3


def test_int8_and_bf16_are_near_and_other_spaces(save: Save) -> None:
    width, _, _, hidden, _ = SIZES[SMALL]
    shallow = dataclasses.replace(
        BACKBONES[SMALL],
        build=lambda: timm.create_model(
            "vit_small_patch14_dinov2", img_size=224, num_classes=0, init_values=1.0, depth=3
        ),
    )
    path, images = save(published(width, 3, hidden)), pictures(1)
    plain = load_backbone(shallow, weights=path, device="cpu")
    for precision in ("int8", "bf16"):
        short = load_backbone(shallow, weights=path, device="cpu", precision=precision)
        error = float((short(images) - plain(images)).norm() / plain(images).norm())
        assert 1e-4 < error < 0.1, precision
        assert short.spec.fingerprint() != plain.spec.fingerprint()


def test_the_command_line_lists_and_names_them(run: Run) -> None:
    assert backbone_names("dinov2-*") == list(SIZES)
    listed = json.loads(run("backbones", "--json").stdout)
    assert [listed[name]["layers"] for name in SIZES] == [["cls"]] * len(SIZES)
    found = json.loads(run("weights", "list", "--json").stdout)
    assert [found[name] for name in SIZES] == [None] * len(SIZES)
    pulled = run("weights", "pull", SMALL)
    assert pulled.returncode == 4
    assert "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/" in pulled.stderr


def test_settled_and_listed_without_torch(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"one")
    code = (
        "import sys\n"
        "from gan_metrics.backbones.registry import backbone_names, choose_backbone\n"
        "from gan_metrics.backbones.weights import status\n"
        "for name in backbone_names('dinov2-*'):\n"
        f"    choose_backbone(name, layer='norm', weights={str(tmp_path / 'w.pth')!r})\n"
        "    print(name, status(choose_backbone(name, weights='random').recipe.weights)[1])\n"
        "print('@', *[n for n in ('torch', 'timm', 'numpy') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines == [*(f"{name} missing (gan-metrics weights pull {name})" for name in SIZES), "@"]
