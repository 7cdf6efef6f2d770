"""Where in an image: the map points at what was planted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call, refused
from conftest import LITE0
from data import scenes, write_folder
from torch import nn

import gan_metrics as gm
from gan_metrics.analysis.attribution import attribute
from gan_metrics.errors import InputError, UsageError
from gan_metrics.metrics import frechet_influence, frechet_sensitivity

COUNT, SIZE, PATCH, PLANTED = 24, 224, 64, 6


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, tuple]]:
    """Scenes, and the same with a patch of coarse noise in six of them; where it lies in each."""
    root = tmp_path_factory.mktemp("planted")
    images = scenes(COUNT, 4, SIZE)
    real = write_folder(root / "real", images)
    rng = np.random.default_rng(0)
    boxes = {}
    fakes = [image.copy() for image in images]
    for i in range(PLANTED):
        top, left = 16 * rng.integers(1, (SIZE - PATCH) // 16 - 1, 2)
        noise = rng.integers(0, 2, (PATCH // 8, PATCH // 8, 3)) * 255
        fakes[i][top : top + PATCH, left : left + PATCH] = np.kron(noise, np.ones((8, 8, 1)))
        boxes[f"{i:04d}.png"] = (int(top), int(left))
    return real, write_folder(root / "fake", fakes), boxes


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of the planted images are those of many tests."""
    monkeypatch.setenv("GAN_METRICS_CACHE", str(_cache))


class Transformer(nn.Module):
    """A small vision transformer with a class token."""

    default_layer = "norm"
    preprocess = gm.Preprocess("exact", 32, "torch-bilinear", None, 255.0, (0.5,) * 3, (0.5,) * 3)

    def __init__(self, dim: int = 48, patch: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.first = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + (32 // patch) ** 2, dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, batch_first=True, norm_first=True)
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], 1) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens[:, 0])


def spoilt(images: np.ndarray, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The same with a patch of noise in the first ones, and where it lies, in cells of 4 pixels."""
    rng, fakes = np.random.default_rng(3), images.copy()
    cells = [tuple(rng.integers(0, 6, 2).tolist()) for _ in range(count)]
    for fake, (row, column) in zip(fakes, cells, strict=False):
        noise = rng.integers(0, 2, (12, 12, 3)) * 255
        fake[4 * row : 4 * row + 12, 4 * column : 4 * column + 12] = noise
    return fakes, cells


def seeing_transformer() -> Transformer:
    """A transformer that was taught to tell how bright and how rough an image is."""
    images, _ = spoilt(np.stack(scenes(600, 7, 32)), 300)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    rough = [(x[..., 1:] - x[..., :-1]).abs(), (x[..., 1:, :] - x[..., :-1, :]).abs()]
    told = torch.cat([part.mean((2, 3)) for part in (x, x.square(), *rough)], 1)
    told = (told - told.mean(0)) / told.std(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, head = Transformer(), nn.Linear(48, told.shape[1])
        step = torch.optim.Adam([*network.parameters(), *head.parameters()], 2e-3)
        for _ in range(120):
            rows = torch.randint(0, len(x), (64,))
            loss = (head(network(x[rows])) - told[rows]).square().mean()
            step.zero_grad()
            loss.backward()
            step.step()
    assert loss.item() < 0.3
    return network.eval()


def test_in_a_transformer_too(tmp_path: Path) -> None:
    """Gradients reach the tokens before the last attention, and these show where the patch is."""
    images = np.stack(scenes(200, 11, 32))
    fakes, cells = spoilt(images, 10)
    real, fake = (write_folder(tmp_path / n, [*i]) for n, i in (("r", images), ("f", fakes)))
    found = attribute(real, fake, top=10, backbone=seeing_transformer())
    assert found.layer == "layers.2.norm1"
    planted = [one for one in found if int(one.name[:4]) < 10]
    assert len(planted) >= 7  # those that were spoilt raise the distance most
    hits, shares = [], []
    for one in planted:
        row, column = cells[int(one.name[:4])]
        inside = np.zeros((8, 8), bool)
        inside[row : row + 3, column : column + 3] = True
        raised = np.clip(one.places, 0, None)
        hits.append(inside.flat[raised.argmax()])
        shares.append(raised[inside].sum() / raised.sum())
    assert np.mean(hits) >= 0.8
    assert np.median(shares) > 0.5  # on a seventh of the places


def test_a_transformer_s_last_reached_tokens(planted: tuple[Path, Path, dict[str, tuple]]) -> None:
    real, fake, _ = planted
    for name, cut, layer, side in (
        ("test_vit", None, "blocks.5.norm1", 10),
        ("test_vit", "blocks.2", "blocks.2.norm1", 10),
        ("vit_small_patch32_224", None, "blocks.11.norm1", 7),  # 50 tokens beside 64 channels
    ):
        found = attribute(real, fake, top=1, backbone=f"timm:{name}", weights="random", layer=cut,
                          max_images=3)  # fmt: skip
        assert found.layer == layer
        assert next(iter(found)).places.shape == (side, side)


class PlainAttention(nn.Module):
    """Its weights are a module's output, 65 × 65, of which the class token's row alone counts."""

    preprocess = Transformer.preprocess

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.norm = nn.LayerNorm(12)
        self.queries, self.keys, self.values = (nn.Linear(12, 12) for _ in range(3))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
        parts = [
            part(tokens).unflatten(2, (2, 6)).transpose(1, 2)
            for part in (self.queries, self.keys, self.values)
        ]
        weights = self.softmax(parts[0] @ parts[1].transpose(2, 3))
        return (weights @ parts[2]).transpose(1, 2).flatten(2)[:, 0]


def test_weights_of_attention_are_no_map(planted: tuple[Path, Path, dict[str, tuple]]) -> None:
    real, fake, _ = planted
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PlainAttention()
    found = attribute(real, fake, top=1, backbone=network)
    assert found.layer == "norm"
    assert next(iter(found)).places.shape == (8, 8)


def in_view(box: tuple[int, int], size: int) -> tuple[float, float, float]:
    """The patch in what a network sees: the whole image, or its middle at 256 of 224 pixels."""
    scale = 256 / SIZE if size == 224 else size / SIZE
    off = (256 - 224) / 2 if size == 224 else 0.0
    return box[0] * scale - off, box[1] * scale - off, PATCH * scale


@pytest.mark.parametrize(
    ("backbone", "layer", "sharpness"),
    [
        (LITE0, "bn2", 2.0),
        ("resnet18", "layer4", 1.5),
        pytest.param("inception", "Mixed_7c", 1.5, marks=pytest.mark.slow),
    ],
)
def test_a_planted_patch_is_found(
    backbone: str, layer: str, sharpness: float, planted: tuple[Path, Path, dict[str, tuple]]
) -> None:
    real, fake, boxes = planted
    weights = None if backbone == LITE0 else "random"
    found = attribute(real, fake, names=list(boxes), backbone=backbone, weights=weights)
    assert found.layer == layer
    assert found.n_fake == COUNT
    hits, shares = 0, []
    original = scenes(PLANTED, 4, SIZE)
    for one in found:
        size = one.pixels.shape[0]  # as the network sees it
        assert one.pixels.shape == ((299, 299, 3) if backbone == "inception" else (224, 224, 3))
        if backbone == "inception":  # all of it
            corner = original[int(one.name[:4])][-1, -1].astype(float)
            assert np.abs(one.pixels[-1, -1] - corner).max() < 40
        top, left, side = in_view(boxes[one.name], size)
        h, w = one.places.shape
        y, x = (np.mgrid[:h, :w] + 0.5) * size / h
        inside = (top < y) & (y < top + side) & (left < x) & (x < left + side)
        near = size / h
        row, column = np.unravel_index(one.places.argmax(), (h, w))
        py, px = (row + 0.5) * near, (column + 0.5) * near
        hits += (top - near < py < top + side + near) and (left - near < px < left + side + near)
        raised = np.clip(one.places, 0, None)
        shares.append(raised[inside].sum() / raised.sum() / inside.mean())
    assert hits >= PLANTED - 1
    assert np.median(shares) > sharpness


def test_it_is_gradient_times_activation(planted: tuple[Path, Path, dict[str, tuple]]) -> None:
    """Where features are the mean of the map, all places together are the gradient's product."""
    real, fake, _ = planted
    found = attribute(real, fake, top=3, backbone=LITE0)
    reals, fakes = (gm.extract_features(one, backbone=LITE0) for one in (real, fake))
    influence = frechet_influence(fakes.array, reals.array)
    order = np.argsort(-influence)[:3]
    assert [one.name for one in found] == [fakes.names[i] for i in order]
    np.testing.assert_allclose([one.influence for one in found], influence[order])
    gradients = frechet_sensitivity(fakes.array, reals.array, order)
    rows = np.unique(np.linspace(0, len(reals.names) - 1, 32).round().astype(int))
    typical = np.asarray(reals.array)[rows].mean(axis=0)
    for one, gradient, row in zip(found, gradients, order, strict=True):
        whole = gradient @ (np.asarray(fakes.array[row], np.float64) - typical)
        assert one.places.sum() == pytest.approx(whole, rel=1e-2)


def test_a_reference_without_images_will_do(
    planted: tuple[Path, Path, dict[str, tuple]], tmp_path: Path
) -> None:
    real, fake, _ = planted
    statistics = gm.compute_stats(real, backbone=LITE0).save(tmp_path / "real.npz")
    found = attribute(statistics, fake, top=1)
    assert {"reference-has-no-images", "few-images"} <= set(dict(found.warnings))
    assert found.feature_spec.backbone == LITE0
    features = gm.extract_features(fake, backbone=LITE0)
    with pytest.raises(InputError, match="does not hold images"):
        attribute(real, features)


def test_a_generator_s_images(planted: tuple[Path, Path, dict[str, tuple]]) -> None:
    def draw(n: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (n, 3, 40, 40), generator=generator, dtype=torch.uint8)

    (one,) = attribute(planted[0], gm.Generated(draw, 9), top=1, backbone=LITE0)
    assert one.places.shape == (7, 7)


def test_faults(planted: tuple[Path, Path, dict[str, tuple]], tmp_path: Path) -> None:
    real, fake, _ = planted
    with pytest.raises(UsageError, match=r"image of .* '0000.jpg'.*0000.png"):
        attribute(real, fake, names=["0000.jpg"], backbone=LITE0)
    with pytest.raises(UsageError, match="top must be a whole number"):
        attribute(real, fake, top=0, backbone=LITE0)
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 224 * 224, 4))
    with pytest.raises(UsageError, match="no feature map before its layer"):
        attribute(real, fake, top=1, backbone=flat)


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_the_figure(
    extension: str, planted: tuple[Path, Path, dict[str, tuple]], tmp_path: Path
) -> None:
    real, fake, _ = planted
    out = tmp_path / f"where.{extension}"
    done = call("plot", "attribution", real, fake, "-o", out, "--top", 5, "--backbone", LITE0,
                "--max-images", 8)  # fmt: skip
    assert done.code == 0, done.err
    assert "5 images, bn2" in done.out
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[extension]
    assert out.read_bytes().startswith(head)
    if extension == "svg":
        assert "influence" in json.dumps(out.read_text()) or "<path" in out.read_text()


def test_the_verb_refuses(planted: tuple[Path, Path, dict[str, tuple]], tmp_path: Path) -> None:
    real, fake, _ = planted
    plot = ("plot", "attribution", real, fake, "--backbone", LITE0, "-o")
    refused(2, *plot, tmp_path / "where.gif", says=(".png, .svg, .pdf",))
    refused(2, *plot, tmp_path / "w.png", "--name", "none.png", says=("none.png",))
    assert not list(tmp_path.iterdir())
