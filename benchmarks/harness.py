"""Contestants in processes of their own, in alternation, and the table of what they needed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

__all__ = [
    "BIN", "HEADS", "NOTHING", "OURS", "Bench", "Case", "Measured", "at_a_glance", "lines",
    "machine", "measure", "sgemm", "timed",
]  # fmt: skip

BIN = Path(sys.executable).parent
OURS = "gan-metrics"
NOTHING = "python -c pass"
"""What starting the interpreter takes."""

_TESTS = Path(__file__).parent.parent / "tests"
_INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
_PACKAGES = ("gan-metrics", "torch", "torchvision", "numpy", "scipy", "pillow", "openvino",
             "pytorch-fid", "torch-fidelity", "clean-fid", "torchmetrics", "prdc", "piq",
             "opencv-python-headless", "simplejpeg")  # fmt: skip

_WATCH = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print([time.perf_counter() - start, usage.ru_maxrss], flush=True)
sys.exit(bool(status))
"""
"""Runs a command. A process counts its parent's memory as its own; that of this one is small."""


@dataclass
class Measured:
    """What one contestant needed in each round."""

    seconds: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    told: list[dict[str, float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


@dataclass
class Case:
    """One question: who runs what, and what was hoped for.

    Attributes:
        title: What is measured.
        goal: In words.
        contestants: Name to a command; a command ``["-c", …]`` is Python, whose last line of output
            is JSON with ``seconds``, which then count instead of the whole process. What else it
            tells stands in the table.
        images: How many pass, if a rate is to be stated.
        rounds: How often.
        gflop: What it takes at least; over the machine's rate, the time below which it cannot go.
    """

    title: str
    goal: str
    contestants: dict[str, list[str]]
    images: int = 0
    rounds: int = 3
    gflop: float = 0.0


class Bench:
    """The material of all cases, in a folder that goes away.

    Args:
        root: The folder.
        quick: Whether small counts do.
    """

    def __init__(self, root: Path, quick: bool) -> None:
        self.root, self.quick = root, quick
        self.env = {**os.environ, "TORCH_HOME": str(root / "torch"), "GAN_METRICS_OFFLINE": "1",
                    "GAN_METRICS_CACHE": str(root / "cache")}  # fmt: skip
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled already
        sys.path.insert(0, str(_TESTS))

    @property
    def weights(self) -> Path:
        """Seeded random weights, where the peers look for theirs."""
        place = self.root / "torch" / "hub" / "checkpoints"
        if not place.exists():
            from data import random_inception_weights

            random_inception_weights(place / _INCEPTION)
            (place / "weights-inception-2015-12-05-6726825d.pth").symlink_to(place / _INCEPTION)
        return place / _INCEPTION

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def folder(self, n: int, side: int, seed: int, kind: str = "png") -> Path:
        """So many crops of photographs."""
        from data import crops
        from PIL import Image

        place = self.root / f"{kind}-{side}-{seed}-{n}"
        if not place.exists():
            place.mkdir()
            for start in range(0, n, 1000):
                for i, crop in enumerate(crops(min(1000, n - start), seed + start, side, side)):
                    Image.fromarray(crop).save(place / f"{start + i:06d}.{kind}")
        return place

    def features(self, n: int, dim: int, seed: int) -> Path:
        """Float32 rows, ≥ 0, whose spectrum falls like 1/i: as a network gives them."""
        path = self.root / f"features-{n}-{dim}-{seed}.npy"
        if not path.exists():
            rng = np.random.default_rng(seed)
            mix = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
            mix *= np.arange(1, dim + 1)[:, None] ** -0.5
            mix *= np.sqrt(dim / (mix**2).sum())
            out = np.lib.format.open_memmap(path, "w+", np.float32, (n, dim))
            for start in range(0, n, 4096):
                block = rng.normal(size=(min(4096, n - start), dim))
                out[start : start + 4096] = np.maximum((block + 0.05 * seed) @ mix + 0.3, 0)
            out.flush()
        return path

    def statistics(self, n: int, dim: int, seed: int) -> Path:
        path = self.root / f"statistics-{n}-{dim}-{seed}.npz"
        if not path.exists():
            rows = np.load(self.features(n, dim, seed)).astype(np.float64)
            np.savez(path, mu=rows.mean(0), sigma=np.cov(rows, rowvar=False))
        return path

    def run(self, command: list[str]) -> tuple[float, float, dict[str, float]]:
        """Seconds, peak MiB and what it told.

        Raises:
            RuntimeError: When it fails.
        """
        if command[0] == "-c":
            command = [sys.executable, *command]
        done = subprocess.run(
            [sys.executable, "-S", "-c", _WATCH, *command],
            env=self.env, cwd=self.root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        *out, last = done.stdout.splitlines() or [""]
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)[:300]}\n{done.stderr[-2000:]}")
        seconds, kib = json.loads(last)
        told: dict[str, float] = {}
        if "-c" in command:
            told = json.loads(out[-1])
            seconds = told.pop("seconds", seconds)
        return seconds, kib / 1024, told


def sgemm(n: int = 4096) -> float:
    """GFLOP/s of float32 products, the best of some, by torch's library or NumPy's."""
    import torch

    best = 0.0
    for a in (torch.ones(n, n), np.ones((n, n), np.float32)):
        for _ in range(4):
            start = time.perf_counter()
            a @ a
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best


def timed(setup: str, run: str) -> list[str]:
    """A program that says how long ``run`` took, the first time, after ``setup``.

    The peak of its memory is told apart: before ``run`` and after it.
    """
    return ["-c", f"""
import json, resource, time
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{setup}
before, start = peak(), time.perf_counter()
{run}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "MiB more": round(peak() - before)}}))
"""]  # fmt: skip


def measure(name: str, one: Case, bench: Bench) -> dict[str, Measured]:
    """Run the contestants in alternation."""
    found = {who: Measured() for who in one.contestants}
    for _ in range(1 if bench.quick else one.rounds):
        for who, command in one.contestants.items():
            seconds, peak, told = bench.run(command)
            found[who].seconds.append(seconds)
            found[who].peak_mib.append(peak)
            found[who].told.append(told)
            print(f"{name}: {who}: {seconds:.2f} s, {peak:.0f} MiB {told}", file=sys.stderr)
    return found


def lines(one: Case, found: dict[str, Measured], sgemm: float) -> Iterator[str]:
    """The table of a case: each contestant beside the first."""
    first = next(iter(found.values()))
    more = list(dict.fromkeys(key for it in found.values() for key in it.told[0]))
    yield f"\n### {one.title}\n"
    yield f"Goal: {one.goal}.\n"
    heads = ["", "seconds, median (least, most)", "times as long", "peak MiB", *more]
    yield _row([*heads, "images/s"] if one.images else heads)
    yield "|---" * (len(heads) + bool(one.images)) + "|"
    for name, it in found.items():
        ratios = [a / b for a, b in zip(it.seconds, first.seconds, strict=True)]
        cells = [
            name,
            f"{it.median:.2f} ({min(it.seconds):.2f}, {max(it.seconds):.2f})",
            f"{np.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})",
            f"{max(it.peak_mib):.0f}",
            *(f"{max(told[key] for told in it.told):g}" if key in it.told[0] else ""
              for key in more),
        ]  # fmt: skip
        yield _row([*cells, f"{one.images / it.median:.1f}"] if one.images else cells)
    if one.gflop:
        limit = one.gflop / sgemm
        cells = [
            f"limit by sgemm, {sgemm:.0f} GFLOP/s",
            f"{limit:.2f}",
            f"{limit / first.median:.2f}",
            "",
        ]
        cells += [""] * len(more)
        yield _row([*cells, f"{one.images / limit:.1f}"] if one.images else cells)


HEADS = (
    "| | gan-metrics | the best other | times as fast | limit by sgemm | goal |\n"
    "|---|---|---|---|---|---|"
)


def at_a_glance(one: Case, found: dict[str, Measured], sgemm: float) -> str:
    """A row for the case: ours, the fastest of the others, and the goal."""
    (_, ours), *rest = found.items()
    others = {name: it for name, it in rest if not name.startswith(OURS) and name != NOTHING}
    best = min(others, key=lambda name: others[name].median, default="")
    ratios = (
        [b / a for a, b in zip(ours.seconds, others[best].seconds, strict=True)] if best else []
    )
    return _row(
        [
            one.title,
            f"{ours.median:.2f} s",
            f"{others[best].median:.2f} s ({best})" if best else "",
            f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})" if best else "",
            f"{one.gflop / sgemm:.2f} s" if one.gflop else "",
            one.goal,
        ]
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> dict[str, str]:
    """What all of it was measured on."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    facts = {
        "processor": f"{len(names)} × {names[0] if names else platform.processor()}",
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "–"
    return facts
