"""How fast and how frugal: beside the peers, and beside what the machine can do at most.

    python benchmarks/speed.py                      # every case, some forty minutes on two cores
    python benchmarks/speed.py --cases frechet help # some of them
    python benchmarks/speed.py --quick              # small counts, to see that it runs

Needs ``pip install '.[benchmark]'``. Each contestant runs in a process of its own, in alternation,
on the same images and with the same seeded random weights; what a case states is the median of its
rounds with the least and the greatest. Writes ``benchmarks/results/speed.json`` and ``speed.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
RESULTS = HERE / "results"
BIN = Path(sys.executable).parent
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
GFLOP = 11.42
"""Of one pass of the 2015 Inception over an image of 299 × 299."""

OURS = "gan-metrics"


WATCH = """
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
        name: As it is asked for.
        title: What is measured.
        goal: In words.
        contestants: Name to a command; a command ``["-c", …]`` is Python, whose last line of output
            is JSON with ``seconds``, which then count instead of the whole process.
        images: How many pass, if a rate is to be stated.
        rounds: How often.
        limit: Seconds below which the machine cannot go, if that is known.
    """

    name: str
    title: str
    goal: str
    contestants: dict[str, list[str]]
    images: int = 0
    rounds: int = 3
    limit: float = 0.0


class Bench:
    """The material of all cases, in a folder that goes away."""

    def __init__(self, root: Path, quick: bool) -> None:
        self.root, self.quick = root, quick
        self.sgemm = sgemm()
        self.env = {**os.environ, "TORCH_HOME": str(root / "torch"), "GAN_METRICS_OFFLINE": "1",
                    "GAN_METRICS_CACHE": str(root / "cache")}  # fmt: skip
        self._weights: Path | None = None

    @property
    def weights(self) -> Path:
        """Seeded random weights, where the peers look for theirs."""
        if self._weights is None:
            from data import random_inception_weights

            place = self.root / "torch" / "hub" / "checkpoints"
            place.mkdir(parents=True)
            self._weights = random_inception_weights(place / INCEPTION)
            (place / "weights-inception-2015-12-05-6726825d.pth").symlink_to(self._weights)
        return self._weights

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def folder(self, n: int, side: int, seed: int, kind: str = "png") -> Path:
        """So many crops of photographs."""
        from data import crops
        from PIL import Image

        place = self.root / f"{kind}-{side}-{seed}-{n}"
        if not place.exists():
            place.mkdir()
            for i, crop in enumerate(crops(n, seed, side, side)):
                Image.fromarray(crop).save(place / f"{i:06d}.{kind}")
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
        """Seconds, peak MiB and what it printed."""
        if command[0] == "-c":
            command = [sys.executable, *command]
        done = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, *command],
            env=self.env, cwd=self.root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        *out, last = done.stdout.splitlines() or [""]
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)[:300]}\n{done.stderr[-2000:]}")
        seconds, kib = json.loads(last)
        told: dict[str, float] = {}
        if "-c" in command:
            told = json.loads(out[-1])
            seconds = told.get("seconds", seconds)
        return seconds, kib / 1024, told


def sgemm(n: int = 4096) -> float:
    """GFLOP/s of float32 products, the best of some."""
    import torch

    a = torch.ones(n, n)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best


CASES: dict[str, Callable[[Bench], Case]] = {}


def case(make: Callable[[Bench], Case]) -> Callable[[Bench], Case]:
    CASES[make.__name__] = make
    return make


def timed(setup: str, run: str, repeat: int = 1) -> list[str]:
    """A program that says how long ``run`` took, the best of some, after ``setup``."""
    return ["-c", f"""
import json, time
{setup}
best = 1e9
for _ in range({repeat}):
    start = time.perf_counter()
    {run}
    best = min(best, time.perf_counter() - start)
print(json.dumps({{"seconds": best}}))
"""]  # fmt: skip


@case
def network(bench: Bench) -> Case:
    n = bench.count(64, 16)
    images = f"import torch; images = torch.randint(0, 256, ({n}, 3, 299, 299), dtype=torch.uint8)"
    return Case(
        "network", f"network alone, Inception, float32, {n} images of 299 × 299",
        "≥ 0.9 of the machine's sgemm rate",
        {
            OURS: timed(
                f"{images}\nfrom gan_metrics import load_backbone\n"
                f"net = load_backbone('inception', weights={str(bench.weights)!r}, device='cpu')\n"
                "net(images[:8])",
                "[net(part) for part in images.split(16)]",
            ),
            "pytorch-fid": timed(
                f"{images}\nfrom pytorch_fid.inception import InceptionV3\n"
                "net = InceptionV3([3]).eval(); run = torch.inference_mode()(net)\n"
                "run(images[:8] / 255)",
                "[run(part / 255) for part in images.split(16)]",
            ),
            "torch-fidelity": timed(
                f"{images}\nfrom torch_fidelity.feature_extractor_inceptionv3 import "
                "FeatureExtractorInceptionV3 as Net\n"
                f"net = Net('n', ['2048'], feature_extractor_weights_path={str(bench.weights)!r})\n"
                "run = torch.inference_mode()(net); run(images[:8])",
                "[run(part) for part in images.split(16)]",
            ),
        },
        images=n, limit=n * GFLOP / bench.sgemm,
    )  # fmt: skip


@case
def end_to_end(bench: Bench) -> Case:
    n = bench.count(500, 20)
    real, fake = bench.folder(n, 32, 1), bench.folder(n, 32, 2)
    program = str(BIN / "gan-metrics")
    weights = str(bench.weights)
    return Case(
        "end_to_end", f"`fid` of 2 × {n} PNGs of 32 × 32, as a command", "≤ 1/2.5 of the best peer",
        {
            OURS: [program, "fid", str(real), str(fake), "--weights", weights, "--no-cache"],
            "pytorch-fid": [str(BIN / "pytorch-fid"), str(real), str(fake), "--device", "cpu",
                            "--num-workers", "0"],
            "torch-fidelity": [str(BIN / "fidelity"), "--fid", "--input1", str(real), "--input2",
                               str(fake), "--cpu", "--no-cache", "--save-cpu-ram"],
        },
        images=2 * n, rounds=2, limit=2 * n * GFLOP / bench.sgemm,
    )  # fmt: skip


def _again(bench: Bench, name: str, goal: str, *options: str) -> Case:
    n = bench.count(500, 20)
    command = [str(BIN / "gan-metrics"), "fid", str(bench.folder(n, 32, 1)),
               str(bench.folder(n, 32, 2)), *options]  # fmt: skip
    bench.run(command)  # the first time, which is not this case
    return Case(name, f"the same command again, {name.removeprefix('again_')}", goal,
                {OURS: command}, rounds=5)  # fmt: skip


@case
def again_1280(bench: Bench) -> Case:
    return _again(bench, "again_1280", "≤ 2 s", "--backbone", "efficientnet-lite0")


@case
def again_2048(bench: Bench) -> Case:
    return _again(bench, "again_2048", "≤ 3 s", "--weights", str(bench.weights))


@case
def two_files(bench: Bench) -> Case:
    n, dim = bench.count(5000, 300), bench.count(2048, 64)
    files = [str(bench.statistics(n, dim, seed)) for seed in (1, 2)]
    contestants = {OURS: [str(BIN / "gan-metrics"), "fid", *files]}
    if not bench.quick:
        contestants["pytorch-fid"] = [str(BIN / "pytorch-fid"), *files, "--device", "cpu"]
    bench.weights  # noqa: B018 - the peer builds its network before it looks at what it is given
    return Case("two_files", f"two statistics files, d = {dim}, as a command", "≤ 2.5 s",
                contestants, rounds=3)  # fmt: skip


def _frechet(bench: Bench, name: str, n: int, goal: str) -> Case:
    dim = bench.count(2048, 128)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = (
        "import numpy as np, torch\n"
        f"a, b = (np.load(path).astype(np.float64) for path in {files!r})\n"
        "moments = [v for x in (a, b) for v in (x.mean(0), np.cov(x, rowvar=False))]\n"
    )
    return Case(
        name, f"Fréchet distance alone, d = {dim}, n = {n}", goal,
        {
            OURS: timed(
                setup
                + "import gan_metrics as gm\nfrom gan_metrics.metrics import frechet_distance\n"
                + ("sides = [gm.Moments(len(a), *moments[:2]), gm.Moments(len(b), *moments[2:])]\n"
                   if n > dim else "sides = [a.astype(np.float32), b.astype(np.float32)]\n"),
                "frechet_distance(*sides)", 3,
            ),
            "pytorch-fid (sqrtm)": timed(
                setup + "from pytorch_fid.fid_score import calculate_frechet_distance as distance",
                "distance(*moments)",
            ),
            "torchmetrics (eigvals)": timed(
                setup + "from torchmetrics.image.fid import _compute_fid\n"
                "moments = [torch.from_numpy(m) for m in moments]",
                "_compute_fid(*moments)",
            ),
        },
    )  # fmt: skip


@case
def frechet(bench: Bench) -> Case:
    return _frechet(bench, "frechet", bench.count(5000, 300), "≤ 1.0 s")


@case
def frechet_few(bench: Bench) -> Case:
    return _frechet(bench, "frechet_few", bench.count(500, 100), "≤ 0.3 s")


@case
def help(bench: Bench) -> Case:  # noqa: A001 - the name of the case
    return Case(
        "help", "`--help`", "≤ 0.3 s",
        {
            OURS: [str(BIN / "gan-metrics"), "--help"],
            "pytorch-fid": [str(BIN / "pytorch-fid"), "--help"],
            "torch-fidelity": [str(BIN / "fidelity"), "--help"],
        },
        rounds=5,
    )  # fmt: skip


@case
def prdc(bench: Bench) -> Case:
    n, dim = bench.count(10_000, 500), bench.count(2048, 64)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = f"import numpy as np\na, b = (np.load(path) for path in {files!r})\n"
    flops = 4 * n**2 * dim / 1e9  # a set with itself is needed once, not twice
    return Case(
        "prdc", f"precision, recall, density, coverage, {n} × {n} × {dim}",
        "≤ 1/4 of the time, ≤ 1/2 of the memory",
        {
            OURS: timed(setup + "from gan_metrics.metrics import prdc", "prdc(a, b, k=5)"),
            "prdc": timed(setup + "from prdc import compute_prdc",
                          "compute_prdc(a, b, nearest_k=5)"),
        },
        limit=flops / bench.sgemm,
    )  # fmt: skip


@case
def kid(bench: Bench) -> Case:
    n, dim, size = bench.count(10_000, 500), bench.count(2048, 64), bench.count(1000, 100)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = f"import numpy as np, torch\na, b = (np.load(path) for path in {files!r})\n"
    tensors = setup + "a, b = map(torch.from_numpy, (a, b))\n"
    return Case(
        "kid", f"KID, 100 subsets of {size} of {n} × {dim}", "≥ 3 × the best peer",
        {
            OURS: timed(setup + "from gan_metrics.metrics import kid",
                        f"kid(a, b, subsets=100, subset_size={size})"),
            "torch-fidelity": timed(
                tensors + "from torch_fidelity.metric_kid import kid_features_to_metric",
                "kid_features_to_metric(a, b, kid_subsets=100, kid_subset_size="
                f"{size}, kid_kernel='poly', kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, "
                "kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)",
            ),
            "torchmetrics": timed(
                tensors + "from torchmetrics.image.kid import KernelInceptionDistance\n"
                f"it = KernelInceptionDistance(feature=torch.nn.Identity(), subset_size={size}, "
                "subsets=100) if False else KernelInceptionDistance.__new__("
                "KernelInceptionDistance)\n"
                "from torchmetrics.image.kid import poly_mmd\n"
                "def run():\n"
                "    for _ in range(100):\n"
                f"        poly_mmd(a[torch.randperm(len(a))[:{size}]], "
                f"b[torch.randperm(len(b))[:{size}]], 3, None, 1.0)",
                "run()",
            ),
        },
    )  # fmt: skip


DECODE = """
import json, time, os
from gan_metrics.images.loading import load
from gan_metrics.images.sources import open_source
from gan_metrics.specs import Decoding
import torch
torch.set_num_threads(1)
source = open_source({folder!r})
start = time.perf_counter()
n = sum(len(batch.indices) for batch in load(source, range(len(source.names)), Decoding(),
                                             batch_size=64, workers={workers}))
print(json.dumps({{"seconds": time.perf_counter() - start, "n": n}}))
"""

PILLOW = """
import json, time, os
import numpy as np, torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
torch.set_num_threads(1)
class Files(Dataset):
    def __init__(self, folder):
        self.files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    def __len__(self): return len(self.files)
    def __getitem__(self, i):
        with Image.open(self.files[i]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
start = time.perf_counter()
loader = DataLoader(Files({folder!r}), batch_size=64, num_workers={workers},
                    collate_fn=lambda images: images)
n = sum(len(batch) for batch in loader)
print(json.dumps({{"seconds": time.perf_counter() - start, "n": n}}))
"""


def _decoding(bench: Bench, name: str, folder: Path, what: str) -> Case:
    n = len(os.listdir(folder))
    return Case(
        name, f"decoding and batching {n} {what}", "≥ 1.5 × a plain Pillow DataLoader",
        {
            f"{OURS}, threads": ["-c", DECODE.format(folder=str(folder), workers=0)],
            f"{OURS}, 2 processes": ["-c", DECODE.format(folder=str(folder), workers=2)],
            "Pillow DataLoader": ["-c", PILLOW.format(folder=str(folder), workers=0)],
            "Pillow DataLoader, 2 processes": ["-c", PILLOW.format(folder=str(folder), workers=2)],
        },
        images=n,
    )  # fmt: skip


@case
def decode_small(bench: Bench) -> Case:
    n = bench.count(50_000, 500)
    return _decoding(bench, "decode_small", bench.folder(n, 32, 3), "PNGs of 32 × 32")


@case
def decode_photographs(bench: Bench) -> Case:
    n = bench.count(2000, 50)
    return _decoding(bench, "decode_photographs", bench.folder(n, 400, 4), "PNGs of 400 × 400")


@case
def decode_jpeg(bench: Bench) -> Case:
    n = bench.count(2000, 50)
    folder = bench.folder(n, 400, 4, "jpg")
    return _decoding(bench, "decode_jpeg", folder, "JPEGs of 400 × 400")


TINY = """
import sys
sys.path.insert(0, {here!r})
from soak import Colours
import gan_metrics as gm, json, time
start = time.perf_counter()
gm.fid({real!r}, {fake!r}, backbone=Colours(), cache=False, batch_size=64)
print(json.dumps({{"seconds": time.perf_counter() - start}}))
"""


def _growing(bench: Bench, name: str, title: str, goal: str, counts: tuple[int, ...]) -> Case:
    contestants = {}
    for n in counts:
        folder = str(bench.folder(n, 32, 3))
        contestants[f"{OURS}, n = {n}"] = [
            "-c", TINY.format(here=str(HERE), real=folder, fake=folder)
        ]  # fmt: skip
    return Case(name, title, goal, contestants, rounds=2)


@case
def growing(bench: Bench) -> Case:
    counts = (200, 500) if bench.quick else (1000, 10_000, 50_000)
    return _growing(
        bench, "growing", "`fid` as n grows, a network of almost no work",
        "≤ 1.5 GB and independent of n; time linear within 5 %", counts,
    )  # fmt: skip


def measure(one: Case, bench: Bench) -> dict[str, Measured]:
    found = {name: Measured() for name in one.contestants}
    for _ in range(1 if bench.quick else one.rounds):
        for name, command in one.contestants.items():
            seconds, peak, told = bench.run(command)
            found[name].seconds.append(seconds)
            found[name].peak_mib.append(peak)
            found[name].told.append(told)
            print(f"{one.name}: {name}: {seconds:.2f} s, {peak:.0f} MiB", file=sys.stderr)
    return found


def lines(one: Case, found: dict[str, Measured]) -> Iterator[str]:
    """Rows of the table: the case once, each contestant beside the first."""
    first = next(iter(found.values()))
    yield f"\n### {one.title}\n"
    yield f"Goal: {one.goal}.\n"
    yield "| | seconds, median (least, most) | times as long | peak MiB | images/s |"
    yield "|---|---|---|---|---|"
    for name, it in found.items():
        ratios = [a / b for a, b in zip(it.seconds, first.seconds, strict=True)]
        spread = f"{it.median:.2f} ({min(it.seconds):.2f}, {max(it.seconds):.2f})"
        ratio = f"{np.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        rate = f"{one.images / it.median:.1f}" if one.images else ""
        yield f"| {name} | {spread} | {ratio} | {max(it.peak_mib):.0f} | {rate} |"
    if one.limit:
        rate = f"{one.images / one.limit:.1f}" if one.images else ""
        yield f"| limit by sgemm | {one.limit:.2f} | {one.limit / first.median:.2f} | | {rate} |"


def machine(bench: Bench) -> dict[str, str]:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    packages = ("gan-metrics", "torch", "numpy", "scipy", "pillow", "pytorch-fid",
                "torch-fidelity", "torchmetrics", "prdc")  # fmt: skip
    return {
        "processor": f"{len(names)} × {names[0] if names else platform.processor()}",
        "sgemm": f"{bench.sgemm:.0f} GFLOP/s",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", type=Path, default=RESULTS)
    given = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), given.quick)
        facts = machine(bench)
        text = ["# Speed and memory, beside the peers and the machine's limit\n",
                "Made by `python benchmarks/speed.py`. *Times as long*: as the first line of the "
                "table.\n",
                "; ".join(f"{name} {value}" for name, value in facts.items())]  # fmt: skip
        record: dict[str, object] = {"machine": facts, "cases": {}}
        for name in given.cases:
            one = CASES[name](bench)
            found = measure(one, bench)
            text += lines(one, found)
            record["cases"][name] = {  # type: ignore[index]
                "title": one.title, "goal": one.goal, "limit_seconds": one.limit,
                "contestants": {who: asdict(it) for who, it in found.items()},
            }  # fmt: skip
            given.o.mkdir(parents=True, exist_ok=True)
            (given.o / "speed.json").write_text(json.dumps(record, indent=1) + "\n")
            (given.o / "speed.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
