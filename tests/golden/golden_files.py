"""Writes one of each file of the package: old ones are read by every later version."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import golden_inputs as inputs
import numpy as np
import PIL
from golden_runs import inside, run_command
from PIL import Image, features

FEATURES = ("features.npy", "features.npz", "features.parquet", "features.safetensors")

_LITE0 = "--backbone efficientnet-lite0 --device cpu"
_EARLY = f"{_LITE0} --layer blocks.1"
_SEEDED = "--weights inception.safetensors --device cpu"

COMMANDS = (
    f"fid real fake {_LITE0} --json",
    f"stats real -o statistics.npz {_EARLY} --no-cache",
    f"stats real -o torch-fidelity.pt --layer 64 {_SEEDED} --no-cache",
    "stats wide.npz -o edm2.pkl",
    f"stats held-out -o adm.npz --format adm {_SEEDED} --no-cache",
    *(f"features fake -o {name} {_EARLY} --no-cache" for name in FEATURES),
    "fid real.npz fake.npz -o result.json --append log.jsonl",
    "evaluate real.npz fake.npz --metrics fid,kid --append log.jsonl",
)
"""What writes them, in the folder of the inputs."""

LARGE = ("edm2.pkl", "adm.npz")
"""Files of 2048² numbers, nearly all of them zero, which are kept compressed."""

WRITTEN = (
    *("statistics.npz", "torch-fidelity.pt", *LARGE, *FEATURES, "features.npy.json", "result.json"),
    *("log.jsonl", "training.jsonl", "state_dict.pt"),
)


def make(root: Path) -> None:
    """Make all files that are not there yet."""
    import torch

    import gan_metrics as gm

    inputs.FILES.mkdir(exist_ok=True)
    make_images(inputs.FILES / "images")
    inputs.build(root)
    inputs.write_inception(root / "inception.safetensors", active=8)
    with inside(root):
        for command in COMMANDS:
            code, _, err = run_command(command.split())
            if code:
                raise SystemExit(f"gan-metrics {command}: {err}")
        import golden_toys

        how = {"backbone": "efficientnet-lite0", "layer": "blocks.1", "device": "cpu"}
        evaluator = gm.training.Evaluator(
            "real", ["fid", "kid"], n_fake=4, log="training.jsonl", **how
        )
        for step in (0, 10, 20):
            evaluator(lambda n, seed, step=step: golden_toys.squares(n, seed + step), step)
        metric = gm.training.FID(**how)
        images = [
            torch.from_numpy(inputs.images(name)).permute(0, 3, 1, 2) for name in ("real", "fake")
        ]
        metric.update(images[0], real=True).update(images[1])
        torch.save(metric.state_dict(), "state_dict.pt")
    for name in LARGE:
        (root / f"{name}.xz").write_bytes(lzma.compress((root / name).read_bytes(), preset=9))
    for name in WRITTEN:
        name = f"{name}.xz" if name in LARGE else name
        if not (inputs.FILES / name).exists():
            shutil.copyfile(root / name, inputs.FILES / name)
    unlocked = shutil.ignore_patterns("*.lock", "networks")
    for folder in ("cache", "home"):
        if not (inputs.FILES / folder).exists():
            shutil.copytree(root / folder, inputs.FILES / folder, ignore=unlocked)
    decoder = inputs.FILES / "decoder.json"
    if not decoder.exists():
        decoder.write_text(json.dumps(decoder_versions(), indent=1) + "\n", encoding="utf-8")


def decoder_versions() -> dict[str, str | None]:
    """What the keys of the feature cache name besides images and features."""
    libraries = ("jpg", "libjpeg_turbo", "webp", "libtiff")
    return {"pillow": PIL.__version__, **{name: features.version(name) for name in libraries}}


def make_images(folder: Path) -> None:
    """Images that do not fit into 8-bit RGB, one that is cut off, and one twice."""
    if folder.exists():
        return
    folder.mkdir()
    pixels = inputs.images("real", 8, side=24)
    alpha = np.dstack([pixels[0], np.arange(576).reshape(24, 24) % 256]).astype(np.uint8)
    Image.fromarray(alpha).save(folder / "alpha.png")
    Image.fromarray(pixels[1, :, :, 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(pixels[2]).quantize(16).save(folder / "palette.gif")
    Image.fromarray(pixels[3, :, :, 0]).save(folder / "gray.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[4, :16]).save(folder / "turned.png", exif=turned)
    Image.fromarray(pixels[5]).save(folder / "plain.png")
    shutil.copyfile(folder / "plain.png", folder / "twice.png")
    Image.fromarray(pixels[6]).save(folder / "broken.png")
    data = (folder / "broken.png").read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
