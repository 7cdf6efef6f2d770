"""Inputs of the golden records: images, features and weights, the same bits on every machine.

Numbers come from ``RandomState``, whose streams NumPy keeps, and are rounded to binary fractions;
images are written as PPM by hand, since the bytes of a PNG depend on the zlib at hand. Paths are
relative to the folder that everything lies in, and so are those of the results.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

import gan_metrics as gm

HERE = Path(__file__).parent
FILES = HERE / "files"
"""Files that an earlier version of the package wrote, and some images of unusual formats."""

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the published weights, which stand in the headers of saved features; no file is needed."""

DIMENSIONS = 16
COUNTS = {
    "real": 24,
    "fake": 20,
    "fake-b": 22,
    "held-out": 26,
    "train": 90,
    "drawn": 84,
    "test": 80,
}
"""Rows of the saved features."""

IMAGES = {"real": 6, "fake": 5, "held-out": 4}
"""Images of the folders."""

_SEEDS = {"fake": 0, "fake-b": 1, "held-out": 2, "real": 3, "train": 4, "drawn": 5, "test": 6}
_SHIFTS = {"fake": 24, "fake-b": 12, "drawn": 6}
_SIDE = 32
_PRIME = 65521  # longer than any filter, and no multiple of a number of channels


def random(seed: int) -> np.random.RandomState:
    """A stream of random numbers that does not depend on the version of NumPy."""
    return np.random.RandomState(seed)


def images(name: str, count: int | None = None, side: int = _SIDE) -> npt.NDArray[np.uint8]:
    """Smooth color gradients with grain, ``uint8``, ``N × H × W × 3``."""
    n = IMAGES[name] if count is None else count
    draws = random(_SEEDS[name] + 10)
    corners = draws.randint(0, 200, (n, 2, 2, 3))
    grain = draws.randint(0, 56 if name == "fake" else 24, (n, side, side, 3))
    t = np.arange(side)
    weights = np.stack([side - 1 - t, t])  # integers, so that no rounding is left to a processor
    smooth = np.einsum("ay,nabc,bx->nyxc", weights, corners, weights) // (side - 1) ** 2
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def features(name: str, scale: int = 1) -> npt.NDArray[np.float32]:
    """Not negative, correlated, multiples of 1/64: exact in float32 and in sums of float64."""
    draws = random(_SEEDS[name] + 20)
    mixing = random(1).randint(-8, 9, (DIMENSIONS, DIMENSIONS))
    rows = (
        draws.randint(-8, 9, (COUNTS[name], DIMENSIONS)) @ mixing // 4 + 128 + _SHIFTS.get(name, 0)
    )
    return (np.maximum(rows, 0) * scale / 64).astype(np.float32)


def names(name: str) -> list[str]:
    """Names of the rows, in two class folders."""
    return [f"{'cat' if i % 3 else 'dog'}/{i:03d}.png" for i in range(COUNTS[name])]


def spec(
    backbone: str = "inception", layer: str = "pool3", protocol: str = "pytorch-fid"
) -> gm.FeatureSpec:
    """A complete identity of features in a space of a protocol."""
    template = gm.PROTOCOLS[protocol].template(None, backbone)
    lite0 = gm.Preprocess("shorter", 256, "pil-bicubic-uint8", 224, 1.0, (127,) * 3, (128,) * 3)
    return gm.FeatureSpec(
        backbone=backbone,
        layer=layer,
        pool="avg",
        weights_sha256=INCEPTION_SHA256,
        preprocess=template.preprocess or lite0,
        precision="fp32",
        departures=(),
    )


def saved(
    name: str, given: gm.FeatureSpec | None = None, protocol: str | None = "pytorch-fid"
) -> gm.Features:
    """Features as the package holds them."""
    given = spec() if given is None else given
    return gm.Features(names(name), features(name), given, protocol=protocol)


def write_ppm(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write one image, whose bytes are its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6\n%d %d\n255\n" % (image.shape[1], image.shape[0]) + image.tobytes())


def build(root: Path) -> None:
    """Write all inputs but the Inception's weights below a folder."""
    for name in IMAGES:
        for i, image in enumerate(images(name)):
            write_ppm(root / name / f"{i:03d}.ppm", image)
    for i, image in enumerate(images("real", 2, side=48)):
        write_ppm(root / "larger" / f"{i:03d}.ppm", image)
    with zipfile.ZipFile(root / "real.zip", "w") as archive:
        for path in sorted((root / "real").iterdir()):
            archive.writestr(zipfile.ZipInfo(f"{path.stem}.ppm"), path.read_bytes())
    np.savez(root / "batch.npz", arr_0=images("fake"))
    (root / "empty").mkdir()
    if FILES.exists():
        shutil.copytree(FILES, root / "files")
    for name in COUNTS:
        gm.save_features(saved(name), root / f"{name}.npz")
    logits = spec(layer="logits_unbiased")
    gm.save_features(saved("fake", logits), root / "logits.npz")
    np.save(root / "plain-real.npy", features("real"))
    np.save(root / "plain-fake.npy", features("fake"))
    np.save(root / "one.npy", features("fake")[:1])
    other = spec("efficientnet-lite0", "global_pool", "imagenet")
    gm.save_features(saved("fake", other, "imagenet"), root / "lite0.npz")
    gm.compute_stats(saved("real")).save(root / "real-stats.npz")
    gm.compute_stats(saved("fake")).save(root / "fake-stats.npz")
    wide = np.zeros((6, 2048), np.float32)
    wide[:, :6] = features("real")[:6, :6]
    edm2 = spec(protocol="edm2")
    gm.save_features(gm.Features(names("real")[:6], wide, edm2, protocol="edm2"), root / "wide.npz")
    lines = [f"{n},{'a' if i % 2 else 'b'}" for i, n in enumerate(names("fake"))]
    (root / "labels.csv").write_text("\n".join(["name,label", *lines]) + "\n", encoding="utf-8")
    (root / "weights.pth").write_bytes(b"a weights file whose hash is known and which is not read")
    (root / "golden_toys.py").write_text(_TOYS, encoding="utf-8")


_TOYS = '''"""A generator of squares of one color, and a network of mean colors."""

import numpy as np
import torch

import gan_metrics as gm


def squares(n, seed):
    colors = np.random.RandomState(seed % 2**32).randint(0, 256, (n, 3, 1, 1), np.uint8)
    return torch.from_numpy(np.broadcast_to(colors, (n, 3, 32, 32)).copy())


def painter(z):
    return torch.sigmoid(z)[:, :3, None, None].expand(-1, -1, 64, 64)


painter.z_size = 4
painter.value_range = (0, 1)


class Colors(torch.nn.Module):
    preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

    def forward(self, images):
        mean = images.mean((2, 3))
        return torch.cat([mean, mean.roll(1, 1) * mean], 1)


def colors():
    return Colors()
'''


def write_inception(path: Path, *, active: int | None = None) -> Path:
    """Seeded weights of the 2015 Inception's shape, as safetensors: the same bytes everywhere.

    Filters have a mean of zero and a power of two as their scale, BatchNorms divide by what that
    leaves of the variance, so that images stay apart through the whole depth.

    Args:
        path: Where to.
        active: So many channels of the last block alone differ from zero, and the spatial features
            are constant: covariances of such features are small files once compressed.
    """
    import torch
    import torchvision
    from safetensors.torch import save_file

    with torch.device("meta"):
        shapes = torchvision.models.inception_v3(
            weights=None, num_classes=1008, aux_logits=False, init_weights=False
        ).state_dict()
    # Sums of a filter's multiples of 1/256 are exact in float32, in whatever order.
    block = (np.round(random(7).standard_normal(_PRIME) * 256) / 256).astype(np.float32)
    state, offset = {}, 0
    for name, meta in shapes.items():
        shape, fan_in = tuple(meta.shape), int(np.prod(meta.shape[1:]))
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) > 1:
            values = np.resize(np.roll(block, -offset), (shape[0], fan_in))
            offset = (offset + 1009) % _PRIME
            values -= np.round(values.sum(1, keepdims=True) / fan_in * 4096) / 4096
            scale = np.float32(2.0 ** -round(np.log2(fan_in) / 2))
            array = (values * scale).reshape(shape)
            variance = fan_in * scale**2
        elif name.endswith("running_var"):
            array = np.full(shape, variance)
        else:
            array = np.full(shape, {"bias": 0.5, "weight": 1.0}.get(name.rpartition(".")[2], 0.0))
        constant = name.startswith("Mixed_6d.branch1x1.bn.weight")
        last = name.startswith("Mixed_7c") and name.endswith(("bn.weight", "bn.bias"))
        if active is not None and constant:
            array[:7] = 0
        if active is not None and last:
            kept = "branch1x1" in name
            array[active if kept else 0 :] = 0
        state[name] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    save_file(state, path)
    return path
