"""A million images through ``stats``: what memory and file descriptors do meanwhile.

    python benchmarks/soak.py > docs/soak-table.md

Makes a zip and a tar of 8 × 8 pixel images (350 MB and 1.5 GB, in the folder for temporary files),
and takes their statistics with a network of almost no arithmetic, so that all else is what is seen.
Ends with an error where memory or descriptors grow. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

import gan_metrics as gm

MARKS = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
MOST = 1.05
"""What memory may be at the end, over what it was after a tenth."""


class Colours(nn.Module):
    """Mean and spread of each channel."""

    preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)


def write(path: Path, n: int) -> None:
    """An archive of so many different images."""
    rng = np.random.default_rng(0)
    with (
        zipfile.ZipFile(path, "w") if path.suffix == ".zip" else tarfile.open(path, "w") as archive
    ):
        for i in range(n):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "BMP")
            if isinstance(archive, zipfile.ZipFile):
                archive.writestr(f"{i:07d}.bmp", buffer.getvalue())
                continue
            info = tarfile.TarInfo(f"{i:07d}.bmp")
            info.size = len(buffer.getvalue())
            archive.addfile(info, io.BytesIO(buffer.getvalue()))
            archive.members.clear()  # type: ignore[attr-defined]


def run(path: str, workers: int) -> None:
    """Take the statistics in this process, and print what was seen on the way."""
    process = psutil.Process()
    seen: dict[float, dict[str, float]] = {}
    start = time.monotonic()

    def look(_: str, done: int, total: int) -> None:
        for mark in MARKS:
            if done >= mark * total and mark not in seen:
                seen[mark] = {
                    "seconds": time.monotonic() - start,
                    "memory": process.memory_info().rss,
                    "descriptors": process.num_fds(),
                }

    found = gm.compute_stats(
        path, backbone=Colours(), cache=False, batch_size=256, workers=workers, progress=look
    )
    print(json.dumps({"n": found.moments.n, "mean": found.moments.mean.tolist(),
                      "seen": list(seen.items())}))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--run", nargs=2)
    given = parser.parse_args()
    if given.run:
        run(given.run[0], int(given.run[1]))
        return
    print("# A million images\n")
    print("Made by `python benchmarks/soak.py`: 8 × 8 pixels each, a network of almost no work, no")
    print("cache. Memory is that of the process (RSS), the listing of a million names included.\n")
    print("| source | workers | images | seconds | memory, MB | over a tenth's | files open |")
    print("|---|---|---|---|---|---|---|")
    worse = []
    means = []
    with tempfile.TemporaryDirectory() as folder:
        for name, workers in (("images.zip", 0), ("images.zip", 2), ("images.tar", 0)):
            path = Path(folder) / name
            if not path.exists():
                write(path, given.n)
            done = subprocess.run(
                [sys.executable, __file__, "--run", str(path), str(workers)],
                stdout=subprocess.PIPE, check=True, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            told = json.loads(done.stdout)
            assert told["n"] == given.n
            means.append(told["mean"])
            seen = dict(map(tuple, told["seen"]))
            for mark, facts in seen.items():
                over = facts["memory"] / seen[0.1]["memory"]
                cells = (
                    path.suffix, workers, f"{int(mark * given.n):,}", f"{facts['seconds']:.0f}",
                    f"{facts['memory'] / 1e6:.0f}", f"{over:.3f}", facts["descriptors"],
                )  # fmt: skip
                print("|", *(f"{cell} |" for cell in cells), flush=True)
            if seen[1.0]["memory"] > MOST * seen[0.1]["memory"]:
                worse.append(f"{name}: memory grew")
            if seen[1.0]["descriptors"] > seen[0.1]["descriptors"] + 2:  # one may be passing by
                worse.append(f"{name}: descriptors grew")
    np.testing.assert_allclose(means, means[0] * np.ones((3, 1)), rtol=1e-12)
    print("\nAll three have the same mean to 1e-12.")
    if worse:
        sys.exit("; ".join(worse))


if __name__ == "__main__":
    main()
