"""What the peers give on fixed images and weights, as committed records.

``python tests/against_peers/recorded.py [NAME …]`` runs the installed peers, or those named, and
rewrites their JSON files in ``records/``: versions, digests of the images and weights, and the
peer's answers. Of features there are some columns, and the Fréchet distance of all columns.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from data import crops, random_inception_weights, scenes, write_folder
from oracles import frechet_nuclear
from PIL import Image
from tools import (
    TOOLS,
    VGG16,
    Tool,
    install_weights,
    quietly,
    random_vgg16_weights,
)
from torch import nn

Folders = tuple[Path, Path]
Answers = dict[str, Any]

RECORDS = Path(__file__).with_name("records")
COLUMNS = 16
"""The columns of the features that are recorded."""

SUBSET_SIZE = 5
"""Of KID."""

IS_IMAGES = 23
"""The images of the Inception Score: its splits get unequal sizes."""

PATHS = 24
STEP = 1e-2
"""Of path lengths. The default, 1e-4, leaves three digits of float32's seven to the differences."""


def noisy(images: list[np.ndarray], seed: int, deviation: float = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.clip(i + rng.normal(0, deviation, i.shape), 0, 255).astype(np.uint8) for i in images]


def mixed(root: Path) -> Folders:
    """A few of every kind: smaller and larger than 299, odd, not square, grey."""
    real = [*crops(4, 1, 21, 77), *crops(2, 3, 310, 361), *crops(1, 4, 299, 299)]
    real[1] = real[1][..., 0]  # grey
    real[2] = real[2][:, :13]  # narrow
    fake = noisy([*crops(3, 6, 25, 80), *crops(2, 7, 301, 340), *crops(1, 8, 64, 64)], 9)
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


def clustered(root: Path) -> Folders:
    """Fakes that crowd about two of the reals: high precision, low recall."""
    real = crops(14, 1, 40, 60)
    fake = noisy([real[i % 2] for i in range(16)], 0, 3)
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


def many(root: Path) -> Folders:
    """More images than the 64 dimensions of the first layer."""
    real, fake = crops(75, 1, 20, 50), noisy(crops(70, 2, 20, 50), 3)
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


def flawed(root: Path) -> Folders:
    """An image with an alpha channel, and one that is turned by its EXIF orientation."""
    image = crops(2, 0)[0]
    alpha = np.tile(np.arange(image.shape[1], dtype=np.uint8), (len(image), 1))
    exif = Image.Exif()
    exif[274] = 6
    turned = write_folder(root / "turned", [])
    Image.fromarray(image).save(turned / "turned.png", exif=exif)
    return write_folder(root / "alpha", [np.dstack([image, alpha])]), turned


class Inputs:
    """The images and weights that are given to the peers and to the package, below one folder.

    Args:
        root: An empty folder.
        inception: A weights file by ``random_inception_weights``.
    """

    def __init__(self, root: Path, inception: Path) -> None:
        self.root, self.inception = root, inception

    @cached_property
    def mixed(self) -> Folders:
        return mixed(self.root / "mixed")

    @cached_property
    def clustered(self) -> Folders:
        return clustered(self.root / "clustered")

    @cached_property
    def many(self) -> Folders:
        return many(self.root / "many")

    @cached_property
    def flawed(self) -> Folders:
        return flawed(self.root / "flawed")

    @cached_property
    def scenes(self) -> Folders:
        return (
            write_folder(self.root / "scenes" / "x", scenes(4, 0, 64)),
            write_folder(self.root / "scenes" / "y", scenes(4, 1, 64)),
        )

    @cached_property
    def torch_home(self) -> Path:
        """Where the peers find the Inception, the convolutions of VGG16, and the heads of LPIPS."""
        import lpips

        home = self.root / "torch"
        install_weights(home, self.inception)
        random_vgg16_weights(home / "hub" / "checkpoints" / VGG16, classifier=False)
        heads = Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
        shutil.copy(heads, home / "hub" / "checkpoints" / "weights-vgg16-lpips.pth")
        return home

    @property
    def vgg16(self) -> Path:
        return self.torch_home / "hub" / "checkpoints" / VGG16

    def digest(self, name: str) -> str:
        """SHA-256 of pixels or tensors, whichever way their files are packed."""
        found: Path | Folders = getattr(self, name)
        digest = hashlib.sha256()
        if isinstance(found, Path):
            for key, tensor in torch.load(found, weights_only=True).items():
                digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
            return digest.hexdigest()
        for file in (file for folder in found for file in sorted(folder.iterdir())):
            with Image.open(file) as image:
                digest.update(repr((image.mode, image.size)).encode() + image.tobytes())
        return digest.hexdigest()


def part(folder: Path, n: int) -> Path:
    """The first so many images of a folder, by links."""
    found = folder.with_name(f"{folder.name}-{n}")
    found.mkdir(exist_ok=True)
    for file in sorted(folder.iterdir())[:n]:
        (found / file.name).unlink(missing_ok=True)
        (found / file.name).symlink_to(file)
    return found


def columns(features: np.ndarray) -> np.ndarray:
    """The columns that are recorded."""
    return features[:, :: features.shape[1] // COLUMNS]


def of_features(tool: Tool, folders: Folders, layer: str) -> Answers:
    sides = [tool.features(folder, layer) for folder in folders]
    return {
        f"features-{layer}": [columns(side).tolist() for side in sides],
        f"largest-{layer}": max(float(np.abs(side).max()) for side in sides),
        f"fid-{layer}": frechet_nuclear(*sides),
    }


def equal_sides(folders: Folders) -> Folders:
    """As many images of each side."""
    n = min(len(list(folder.iterdir())) for folder in folders)
    return part(folders[0], n), part(folders[1], n)


def of_inception(tool: Tool, inputs: Inputs) -> Answers:
    """Features, distances and scores of one of the tools."""
    found: Answers = {}
    for layer in ("64", "2048"):
        if layer in tool.layers:
            found |= of_features(tool, inputs.mixed, layer)
    if tool.name == "pytorch-fid":
        for layer in ("192", "768"):
            found |= of_features(tool, inputs.mixed, layer)
        found["flawed-64"] = [columns(tool.features(f, "64")).tolist() for f in inputs.flawed]
    if "64" in tool.layers:
        found["printed-many-64"] = tool.fid(*inputs.many, "64")
    if tool.name == "piq":
        # Its iteration for the square root stops early, and takes minutes on 2048 dimensions.
        found["fid-many-64"] = frechet_nuclear(*(tool.features(f, "64") for f in inputs.many))
        sides = equal_sides(inputs.mixed)  # and its KID takes all images at once
        found["kid"] = tool.kid(*sides, subset_size=len(list(sides[0].iterdir())))
        found["precision-recall"] = tool.precision_recall(*inputs.clustered)
    else:
        if "legacy" not in tool.name:  # the modes of clean-fid differ in their features alone
            found["printed-2048"] = tool.fid(*inputs.mixed)
        found["kid"] = tool.kid(*inputs.mixed, subset_size=SUBSET_SIZE)
        found["is"] = tool.inception_score(part(inputs.many[1], IS_IMAGES))
    return {name: answer for name, answer in found.items() if answer is not None}


class Curved(nn.Module):
    """Gives images of 40 or 80 pixels in 0–255, and draws latents as torchmetrics asks for."""

    z_size = 6
    value_range = (0, 255)
    num_classes = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Linear(6, 3 * 25), nn.Unflatten(1, (3, 5, 5)), nn.Tanh(),
                nn.Upsample((size, size), mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1),
                nn.Sigmoid(),
            )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 255 * self.net(z)

    def sample(self, n: int) -> torch.Tensor:
        return torch.randn(n, 6)


def stack(folder: Path) -> torch.Tensor:
    """The images of a folder, ``uint8``, ``N × 3 × H × W``."""
    images = [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def of_lpips(inputs: Inputs) -> Answers:
    import lpips

    x, y = (stack(folder) / 127.5 - 1 for folder in inputs.scenes)
    with quietly(), torch.no_grad():
        return {"lpips": lpips.LPIPS(net="vgg", verbose=False)(x, y).flatten().tolist()}


def paths_of_torchmetrics(inputs: Inputs) -> Answers:
    from torchmetrics.functional.image import perceptual_path_length

    del inputs
    found: Answers = {}
    for size in (40, 80):
        with quietly():
            torch.manual_seed(4)
            mean, _, kept = perceptual_path_length(
                Curved(size), num_samples=PATHS, batch_size=8, epsilon=STEP, sim_net="vgg",
                resize=64,
            )  # fmt: skip
        found[f"ppl-{size}"] = float(mean)
        found[f"kept-{size}"] = len(kept)
    return found


def paths_of_torch_fidelity(inputs: Inputs) -> Answers:
    """Without percentiles, which it takes in a way that NumPy 2.4 no longer has."""
    import torch_fidelity

    del inputs
    asked: dict[str, Any] = {
        "ppl_discard_percentile_lower": None,
        "ppl_discard_percentile_higher": None,
        "ppl_sample_similarity_dtype": "float32",
        "ppl_epsilon": STEP,
    }
    found: Answers = {}
    for size in (40, 80):
        wrapped = torch_fidelity.GenerativeModelModuleWrapper(Curved(size), 6, "normal", 0)
        with quietly():
            theirs = torch_fidelity.calculate_metrics(
                input1=wrapped, input1_model_num_samples=PATHS, ppl=True, cuda=False,
                verbose=False, batch_size=8, **asked,
            )  # fmt: skip
        found[f"ppl-{size}"] = theirs["perceptual_path_length_mean"]
    return found


@dataclass(frozen=True)
class Recorder:
    """A peer whose answers are recorded.

    Attributes:
        name: Of the file.
        package: What ``pip install`` calls it.
        module: What ``import`` calls it.
        inputs: The attributes of :class:`Inputs` that it is given.
        answers: Runs the peer, whose weights are in ``TORCH_HOME``.
    """

    name: str
    package: str
    module: str
    inputs: tuple[str, ...]
    answers: Callable[[Inputs], Answers]

    def __str__(self) -> str:
        return self.name

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    @property
    def path(self) -> Path:
        return RECORDS / f"{self.name}.json"

    def read(self) -> dict[str, Any]:
        """The committed record."""
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    def run(self, inputs: Inputs) -> dict[str, Any]:
        """The record anew, by the installed peer."""
        version = importlib.metadata.version
        return {
            "versions": {name: version(name) for name in (self.package, "torch", "numpy", "scipy")},
            "inputs": {name: inputs.digest(name) for name in self.inputs},
            "answers": self.answers(inputs),
        }


def _inputs(tool: Tool) -> tuple[str, ...]:
    more = {"pytorch-fid": ("flawed",), "piq": ("clustered",)}
    return ("inception", "mixed", "many", *more.get(tool.name, ()))


RECORDERS: Mapping[str, Recorder] = {
    recorder.name: recorder
    for recorder in (
        *(
            Recorder(tool.name, tool.package, tool.module, _inputs(tool),
                     partial(of_inception, tool))
            for tool in TOOLS
        ),
        Recorder("lpips", "lpips", "lpips", ("vgg16", "scenes"), of_lpips),
        Recorder("torchmetrics-paths", "torchmetrics", "torchmetrics", ("vgg16",),
                 paths_of_torchmetrics),
        Recorder("torch-fidelity-paths", "torch-fidelity", "torch_fidelity", ("vgg16",),
                 paths_of_torch_fidelity),
    )
}  # fmt: skip


def main() -> None:
    RECORDS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        inputs = Inputs(root, random_inception_weights(root / "inception.pth"))
        os.environ["TORCH_HOME"] = str(inputs.torch_home)
        for recorder in (RECORDERS[name] for name in sys.argv[1:] or RECORDERS):
            if not recorder.installed:
                print(f"{recorder.package} is not installed")
                continue
            text = json.dumps(recorder.run(inputs), indent=1)
            recorder.path.write_text(f"{text}\n", encoding="utf-8")
            print(recorder.path, flush=True)


if __name__ == "__main__":
    main()
