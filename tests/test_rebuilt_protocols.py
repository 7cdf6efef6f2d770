"""Protocols whose tools cannot be installed, rebuilt naively from their published definitions.

ADM's evaluator, StyleGAN3's and EDM2's scripts, dgm-eval and CMMD: each image alone, each step
written out. The networks themselves are held against other packages elsewhere; here the 2015
Inception is pytorch-fid's, and VGG16 torchvision's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from data import crops, write_folder
from oracles import frechet_nuclear, short_precision_recall, squared_distances
from PIL import Image
from pytorch_fid import inception as pytorch_fid_inception
from torch.nn import functional

import gan_metrics as gm

Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Smaller and larger than 299, odd, not square, grey; the fakes crowd about some reals."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    real = [*crops(9, 1, 21, 77), *crops(2, 3, 310, 361), crops(1, 4)[0][..., 0]]
    fake = [
        np.clip(real[i % 5] + rng.normal(0, 12, real[i % 5].shape), 0, 255).astype(np.uint8)
        for i in range(13)
    ]
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


def pixels(folder: Path) -> Iterator[torch.Tensor]:
    """Each image, ``1 × 3 × H × W``, float32, 0–255."""
    for file in sorted(folder.iterdir()):
        with Image.open(file) as image:
            yield torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()


def by_grid(image: torch.Tensor, size: int) -> torch.Tensor:
    """StyleGAN3's networks resize so."""
    height, width = image.shape[2:]
    theta = torch.eye(2, 3)
    theta[0, 2] += theta[0, 0] / width - theta[0, 0] / size
    theta[1, 2] += theta[1, 1] / height - theta[1, 1] / size
    grid = functional.affine_grid(theta[None], [1, 3, size, size], align_corners=False)
    return functional.grid_sample(image, grid, "bilinear", "border", align_corners=False)


def by_tensorflow(image: torch.Tensor, size: int) -> torch.Tensor:
    """TensorFlow 1's bilinear, one output value after the other in each axis."""
    for axis in (3, 2):
        n = image.shape[axis]
        position = np.arange(size, dtype=np.float32) * np.float32(n / size)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, n - 1)
        share = torch.from_numpy(position - low.astype(np.float32))
        share = share if axis == 3 else share[:, None]
        a = image.index_select(axis, torch.from_numpy(low))
        b = image.index_select(axis, torch.from_numpy(high))
        image = a + (b - a) * share
    return image


class Inception:
    """pytorch-fid's network, which resizes nothing here."""

    def __init__(self, weights: Path) -> None:
        state = torch.load(weights, weights_only=True)
        self.matrix = state["fc.weight"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pytorch_fid_inception, "load_state_dict_from_url", lambda *a, **k: state)
            self.net = pytorch_fid_inception.InceptionV3(
                [3], resize_input=False, normalize_input=False
            ).eval()
        self.spatial: list[torch.Tensor] = []
        block = self.net.blocks[2][6]  # Mixed_6d
        block.branch1x1.register_forward_hook(lambda *a: self.spatial.append(a[-1]))

    @torch.no_grad()
    def __call__(self, inputs: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pool3, the logits without bias, and the spatial features in the order H, W, C."""
        self.spatial.clear()
        pool = torch.cat([self.net(x)[0][:, :, 0, 0] for x in inputs])
        maps = torch.cat(self.spatial)[:, :7].permute(0, 2, 3, 1)
        return pool.numpy(), (pool @ self.matrix.T).numpy(), maps.reshape(len(pool), -1).numpy()


@pytest.fixture(scope="module")
def inception(inception_weights: Path) -> Inception:
    return Inception(inception_weights)


def naive_inception_score(logits: np.ndarray, parts: list[slice]) -> float:
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    scores = []
    for part in parts:
        q = p[part]
        divergence = (q * (np.log(q) - np.log(q.mean(0, keepdims=True)))).sum(1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores))


def naive_kid(real: np.ndarray, fake: np.ndarray, size: int, subsets: int) -> float:
    """StyleGAN3's loop; numpy's global generator, seeded with 0, draws the fakes first."""
    rng = np.random.RandomState(0)
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    d, m = real.shape[1], min(size, len(real), len(fake))
    total = 0.0
    for _ in range(subsets):
        x = fake[rng.choice(len(fake), m, replace=False)]
        y = real[rng.choice(len(real), m, replace=False)]
        a = (x @ x.T / d + 1) ** 3 + (y @ y.T / d + 1) ** 3
        b = (x @ y.T / d + 1) ** 3
        total += (a.sum() - np.diag(a).sum()) / (m - 1) - b.sum() * 2 / m
    return float(total / subsets / m)


def divided_by_n(x: np.ndarray, y: np.ndarray) -> float:
    """The distance with covariances divided by N: features shrunk about their means."""
    shrunk = [
        z.mean(0) + (z - z.mean(0)) * np.sqrt((len(z) - 1) / len(z))
        for z in (x.astype(np.float64), y.astype(np.float64))
    ]
    return frechet_nuclear(*shrunk)


def test_adm(sets: Folders, inception: Inception, inception_weights: Path) -> None:
    real, fake = (
        inception([(by_tensorflow(x, 299) - 128) / 128 for x in pixels(folder)]) for folder in sets
    )
    found = gm.evaluate(*sets, metrics="fid,sfid,is,precision,recall", protocol="adm",
                        weights=inception_weights, arguments={"is": {"split_size": 5}})  # fmt: skip
    assert found["fid"].value == pytest.approx(frechet_nuclear(real[0], fake[0]), rel=1e-5)
    assert found["sfid"].value == pytest.approx(frechet_nuclear(real[2], fake[2]), rel=1e-5)
    parts = [slice(i, i + 5) for i in range(0, 13, 5)]
    expected = naive_inception_score(fake[1], parts)
    assert found["is"].value == pytest.approx(expected, rel=1e-5)
    values = short_precision_recall(real[0], fake[0], 3, "float16-squared")
    assert (found["precision"].value, found["recall"].value) == pytest.approx(values, abs=1e-9)
    assert values[0] != values[1]
    default = gm.evaluate(*sets, metrics="is", protocol="adm", weights=inception_weights)["is"]
    whole = naive_inception_score(fake[1], [slice(None)])
    assert default.value == pytest.approx(whole, rel=1e-5)  # 13 images are one part of 5000


@pytest.mark.xdist_group("vgg16")
def test_stylegan3(
    sets: Folders, inception: Inception, inception_weights: Path, tmp_path: Path
) -> None:
    real, fake = (
        inception([(by_grid(x, 299) - 128) / 128 for x in pixels(folder)]) for folder in sets
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vgg = torchvision.models.vgg16(weights=None).eval()
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    weights = {"": inception_weights, "vgg16": tmp_path / "vgg16.pth"}
    found = gm.evaluate(
        *sets, metrics="fid,kid,is,precision,recall", protocol="stylegan3", weights=weights,
        arguments={"kid": {"subset_size": 9, "subsets": 20}, "is": {"splits": 3}},
    )  # fmt: skip
    (tmp_path / "vgg16.pth").unlink()
    assert found["fid"].value == pytest.approx(divided_by_n(real[0], fake[0]), rel=1e-5)
    assert found["fid"].value != pytest.approx(frechet_nuclear(real[0], fake[0]), rel=1e-3)
    assert found["kid"].value == pytest.approx(naive_kid(real[0], fake[0], 9, 20), rel=1e-4)
    parts = [slice(i * 13 // 3, (i + 1) * 13 // 3) for i in range(3)]
    expected = naive_inception_score(fake[1], parts)
    assert found["is"].value == pytest.approx(expected, rel=1e-5)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    head = vgg.classifier[:5]  # the second fully connected layer and its ReLU
    with torch.no_grad():
        sides = [
            torch.cat(
                [
                    head(vgg.avgpool(vgg.features((by_grid(x, 224) / 255 - mean) / std)).flatten(1))
                    for x in pixels(folder)
                ]
            ).numpy()
            for folder in sets
        ]
    spec = found["precision"].feature_spec
    assert (spec.backbone, spec.layer) == ("vgg16", "fc7_relu")
    values = short_precision_recall(*sides, 3, "float16")
    assert (found["precision"].value, found["recall"].value) == pytest.approx(values, abs=1e-9)
    assert values[0] != values[1]


def test_edm2_s_fid(sets: Folders, inception: Inception, inception_weights: Path) -> None:
    real, fake = (
        inception([(by_grid(x, 299) - 128) / 128 for x in pixels(folder)])[0] for folder in sets
    )
    found = gm.fid(*sets, protocol="edm2", weights=inception_weights)
    assert found.value == pytest.approx(frechet_nuclear(real, fake), rel=1e-5)


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pillow_bicubic(image: torch.Tensor, size: int) -> torch.Tensor:
    """Pillow on bytes: along the rows, then along the columns; 0–255."""
    array = Image.fromarray(image[0].permute(1, 2, 0).to(torch.uint8).numpy())
    wide = array.resize((size, array.height), Image.Resampling.BICUBIC)
    both = wide.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(both)).permute(2, 0, 1)[None].float()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Three and two images, for the large transformers."""
    root = tmp_path_factory.mktemp("few")
    real = [crops(1, 1, 31, 77)[0], crops(1, 3, 345, 361)[0], crops(1, 4)[0][..., 0]]
    return write_folder(root / "real", real), write_folder(root / "fake", crops(2, 5, 60, 240))


@pytest.mark.xdist_group("large")
def test_edm2_and_dgm_eval_in_dinov2(few: Folders) -> None:
    backbone = gm.load_backbone("dinov2-vitl14", weights="random", device="cpu")
    net = backbone.module

    @torch.no_grad()
    def tokens(inputs: list[torch.Tensor]) -> np.ndarray:
        return torch.cat([net.norm(through(net, x))[:, 0] for x in inputs]).numpy()

    by_torch, by_pillow = [], []
    for folder in few:
        resized = [
            functional.interpolate(x, size=(224, 224), mode="bicubic", antialias=True)
            for x in pixels(folder)
        ]
        by_torch.append(tokens([(x / 255 - MEAN) / STD for x in resized]))
        by_pillow.append(
            tokens([(pillow_bicubic(x, 224) / 255 - MEAN) / STD for x in pixels(folder)])
        )
    protocols = {"edm2": by_torch, "dgm-eval": by_pillow}
    found = gm.evaluate(*few, metrics="fd_dinov2", protocol=list(protocols), weights="random")
    for name, sides in protocols.items():
        result = found[f"fd_dinov2@{name}"]
        assert result.value == pytest.approx(frechet_nuclear(*sides), rel=1e-5), name
        assert result.feature_spec.backbone == "dinov2-vitl14"
    assert len({round(result.value, 4) for result in found.values()}) == 2


def through(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Everything up to the last norm, block by block."""
    x = net.patch_embed(x)
    if x.ndim == 4:
        x = x.flatten(1, 2)
    x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
    for block in net.blocks:
        x = block(x)
    return x


def test_dgm_eval_s_neighbours(tmp_path: Path) -> None:
    """Five neighbours, strict, 10,000 images drawn from each side: by the row's own arguments."""
    arguments = {
        name: dict(row.arguments) for name, row in gm.PROTOCOLS["dgm-eval"].metrics.items()
    }
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(50, 5)) * 0.8
    pairs = ((x, x), (y, y), (x, y))
    real, fake, mixed = (np.sqrt(squared_distances(a, b)) for a, b in pairs)
    radii = [np.sort(d, 1)[:, 5] for d in (real, fake)]
    expected = {
        "precision": (mixed < radii[0][:, None]).any(0).mean(),
        "recall": (mixed < radii[1][None]).any(1).mean(),
        "density": (mixed < radii[0][:, None]).sum(0).mean() / 5,
        "coverage": (mixed.min(1) < radii[0]).mean(),
    }
    sides = [
        gm.Features(
            list(map(str, range(len(z)))),
            z.astype(np.float32),
            gm.FeatureSpec(),
            protocol="dgm-eval",
        )
        for z in (x, y)
    ]
    found = gm.evaluate(*sides, metrics="prdc")
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-6), name
        assert found[name].arguments == arguments[name]


@pytest.mark.xdist_group("large")
def test_cmmd(few: Folders) -> None:
    pytest.importorskip("open_clip")
    from gan_metrics.protocols import CLIP

    backbone = gm.load_backbone(CLIP, weights="random", device="cpu")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

    @torch.no_grad()
    def embedded(folder: Path) -> np.ndarray:
        rows = []
        for image in pixels(folder):
            height, width = image.shape[2:]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            square = image[:, :, top : top + side, left : left + side]
            x = (pillow_bicubic(square, 336) / 255 - mean) / std
            rows.append(backbone.module(x)[0].double())
        found = torch.stack(rows).numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    x, y = (embedded(folder) for folder in few)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * 10**2)).mean())

    expected = 1000 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
    found = gm.evaluate(*few, metrics="cmmd", weights="random")["cmmd"]
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.protocol == "cmmd"  # also where none is named
    assert "not-clip" not in [code for code, _ in found.warnings]
