"""How fast and how frugal: beside the peers, and beside what the machine can do at most.

    python benchmarks/speed.py                      # every case, about an hour on two cores
    python benchmarks/speed.py --cases frechet help # some; the others' figures are kept
    python benchmarks/speed.py --quick -o /tmp      # small counts, to see that it runs

Needs ``pip install '.[bench]'``. Each contestant runs in a process of its own, in alternation, on
the same images and with the same seeded random weights; what a case states is the median of its
rounds with the least and the greatest. Writes ``speed.json`` and ``speed.md``. What was changed
because of these figures stands in ``benchmarks/NOTES.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from harness import (
    BIN,
    HEADS,
    NOTHING,
    OURS,
    Bench,
    Case,
    Measured,
    at_a_glance,
    lines,
    machine,
    measure,
    sgemm,
    timed,
)  # fmt: skip

HERE = Path(__file__).parent
RESULTS = HERE / "results"
GFLOP = 11.42
"""Of one pass of the 2015 Inception over an image of 299 × 299."""

CASES: dict[str, Callable[[Bench], Case]] = {}


def case(make: Callable[[Bench], Case]) -> Callable[[Bench], Case]:
    CASES[make.__name__] = make
    return make


@case
def network(bench: Bench) -> Case:
    n = bench.count(64, 16)
    images = f"import torch; images = torch.randint(0, 256, ({n}, 3, 299, 299), dtype=torch.uint8)"
    weights = str(bench.weights)
    ours = (
        f"{images}\nfrom gan_metrics import load_backbone\n"
        f"net = load_backbone('inception', weights={weights!r}, device='cpu', engine={{!r}})\n"
        "net(images[:8])"
    )
    passes = "[{}(part{}) for part in images.split(8)]"
    return Case(
        f"Network alone, Inception, float32, {n} images of 299 × 299 by eights",
        "≥ 0.9 of the machine's sgemm rate",
        {
            OURS: timed(ours.format("local"), passes.format("net", "")),
            f"{OURS}, OpenVINO": timed(ours.format("openvino"), passes.format("net", "")),
            "pytorch-fid": timed(
                f"{images}\nfrom pytorch_fid.inception import InceptionV3\n"
                "net = InceptionV3([3]).eval(); run = torch.inference_mode()(net)\n"
                "run(images[:8] / 255)",
                passes.format("run", " / 255"),
            ),
            "torch-fidelity": timed(
                f"{images}\nfrom torch_fidelity.feature_extractor_inceptionv3 import "
                "FeatureExtractorInceptionV3 as Net\n"
                f"net = Net('n', ['2048'], feature_extractor_weights_path={weights!r})\n"
                "run = torch.inference_mode()(net); run(images[:8])",
                passes.format("run", ""),
            ),
        },
        images=n, gflop=n * GFLOP,
    )  # fmt: skip


@case
def end_to_end(bench: Bench) -> Case:
    n = bench.count(500, 20)
    real, fake = str(bench.folder(n, 32, 1)), str(bench.folder(n, 32, 2))
    ours = [str(BIN / "gan-metrics"), "fid", real, fake, "--weights", str(bench.weights),
            "--no-cache"]  # fmt: skip
    return Case(
        f"`fid` of 2 × {n} PNGs of 32 × 32, as a command", "≤ 1/2.5 of the best peer's time",
        {
            OURS: ours,
            f"{OURS} --engine openvino": [*ours, "--engine", "openvino"],
            "pytorch-fid": [str(BIN / "pytorch-fid"), real, fake, "--device", "cpu",
                            "--num-workers", "0"],
            "torch-fidelity": [str(BIN / "fidelity"), "--fid", "--input1", real, "--input2", fake,
                               "--cpu", "--no-cache", "--save-cpu-ram"],
            "clean-fid (legacy_pytorch)": ["-c", CLEAN.format(real=real, fake=fake)],
        },
        images=2 * n, rounds=2, gflop=2 * n * GFLOP,
    )  # fmt: skip


CLEAN = """
import json, time
start = time.perf_counter()
import torch
from cleanfid import fid
fid.compute_fid({real!r}, {fake!r}, mode="legacy_pytorch", num_workers=0, verbose=False,
                device=torch.device("cpu"), use_dataparallel=False)
print(json.dumps({{"seconds": time.perf_counter() - start}}))
"""
"""clean-fid has no command."""


def _again(bench: Bench, what: str, goal: str, *options: str) -> Case:
    n = bench.count(500, 20)
    command = [str(BIN / "gan-metrics"), "fid", str(bench.folder(n, 32, 1)),
               str(bench.folder(n, 32, 2)), *options]  # fmt: skip
    bench.run(command)  # the first time, which is not this case
    return Case(f"The same command again, 2 × {n} images, {what}", goal, {OURS: command}, rounds=5)


@case
def again_1280(bench: Bench) -> Case:
    return _again(bench, "1280-d", "≤ 2 s", "--backbone", "efficientnet-lite0")


@case
def again_2048(bench: Bench) -> Case:
    return _again(bench, "2048-d", "≤ 3 s", "--weights", str(bench.weights))


@case
def two_files(bench: Bench) -> Case:
    n, dim = bench.count(5000, 300), bench.count(2048, 64)
    files = [str(bench.statistics(n, dim, seed)) for seed in (1, 2)]
    contestants = {OURS: [str(BIN / "gan-metrics"), "fid", *files]}
    if not bench.quick:
        contestants["pytorch-fid"] = [str(BIN / "pytorch-fid"), *files, "--device", "cpu"]
    assert bench.weights.exists()  # the peer builds its network before it looks at what it is given
    return Case(f"Two statistics files, d = {dim}, as a command", "≤ 2.5 s", contestants)


def _frechet(bench: Bench, n: int, goal: str) -> Case:
    dim = bench.count(2048, 128)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = (
        "import numpy as np, torch\n"
        f"a, b = (np.load(path).astype(np.float64) for path in {files!r})\n"
        "moments = [v for x in (a, b) for v in (x.mean(0), np.cov(x, rowvar=False))]\n"
    )
    tensors = setup + "moments = [torch.from_numpy(m) for m in moments]\n"
    return Case(
        f"Fréchet distance alone, d = {dim}, n = {n}", goal,
        {
            OURS: timed(
                setup
                + "import scipy.linalg, scipy.linalg.lapack\nimport gan_metrics as gm\n"
                "from gan_metrics.metrics import frechet_distance\n"
                + ("sides = [gm.Moments(len(a), *moments[:2]), gm.Moments(len(b), *moments[2:])]"
                   if n > dim else "sides = [a.astype(np.float32), b.astype(np.float32)]"),
                "frechet_distance(*sides)",
            ),
            "pytorch-fid (sqrtm)": timed(
                setup + "from pytorch_fid.fid_score import calculate_frechet_distance as distance",
                "distance(*moments)",
            ),
            "torchmetrics (eigvals)": timed(
                tensors + "from torchmetrics.image.fid import _compute_fid",
                "_compute_fid(*moments)",
            ),
            "piq (Newton–Schulz)": timed(
                tensors + "from piq.fid import _compute_fid", "_compute_fid(*moments)"
            ),
        },
    )  # fmt: skip


@case
def frechet(bench: Bench) -> Case:
    return _frechet(bench, bench.count(5000, 300), "≤ 1.0 s")


@case
def frechet_few(bench: Bench) -> Case:
    return _frechet(bench, bench.count(500, 100), "≤ 0.3 s")


@case
def help(bench: Bench) -> Case:  # noqa: A001 - the name of the case
    return Case(
        "`--help`", "≤ 0.3 s",
        {
            OURS: [str(BIN / "gan-metrics"), "--help"],
            NOTHING: [str(BIN / "python"), "-c", "print('{}')"],
            "pytorch-fid": [str(BIN / "pytorch-fid"), "--help"],
            "torch-fidelity": [str(BIN / "fidelity"), "--help"],
        },
        rounds=7,
    )  # fmt: skip


def _neighbours(bench: Bench, n: int, goal: str, beside: bool, rounds: int) -> Case:
    dim = bench.count(2048, 64)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = f"import numpy as np\na, b = (np.load(path) for path in {files!r})\n"
    contestants = {
        OURS: timed(setup + "from gan_metrics.metrics import prdc", "prdc(a, b, k=5)")
    }  # fmt: skip
    if beside:
        contestants["prdc"] = timed(
            setup + "from prdc import compute_prdc", "compute_prdc(a, b, nearest_k=5)"
        )
    flops = 4 * n**2 * dim / 1e9  # of a set with itself half, of one with the other all
    return Case(
        f"Precision, recall, density, coverage, {n} × {n} × {dim}", goal,
        contestants, rounds=rounds, gflop=flops,
    )  # fmt: skip


@case
def prdc(bench: Bench) -> Case:
    goal = "≤ 1/4 of the peer's time, ≤ 1/2 of its memory"
    return _neighbours(bench, bench.count(10_000, 500), goal, beside=True, rounds=3)


@case
def prdc_many(bench: Bench) -> Case:
    goal = "≤ 2 GiB beside the features, ≥ 0.6 of the sgemm rate"
    return _neighbours(bench, bench.count(50_000, 1000), goal, beside=False, rounds=1)


def _kid(bench: Bench, n: int) -> Case:
    dim, size = bench.count(2048, 64), bench.count(1000, 100)
    files = [str(bench.features(n, dim, seed)) for seed in (1, 2)]
    setup = f"import numpy as np, torch\na, b = (np.load(path) for path in {files!r})\n"
    tensors = setup + "a, b = map(torch.from_numpy, (a, b))\n"
    return Case(
        f"KID, 100 subsets of {size} of {n} × {dim}", "≥ 3 × as fast as the best peer",
        {
            OURS: timed(setup + "from gan_metrics.metrics import kid",
                        f"kid(a, b, subsets=100, subset_size={size})"),
            "torch-fidelity": timed(
                tensors + "from torch_fidelity.metric_kid import kid_features_to_metric",
                "kid_features_to_metric(a, b, kid_subsets=100, kid_subset_size="
                f"{size}, kid_kernel='poly', kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, "
                "kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)",
            ),
            "clean-fid": timed(
                setup + "from cleanfid.fid import kernel_distance",
                f"kernel_distance(a, b, num_subsets=100, max_subset_size={size})",
            ),
            "torchmetrics": timed(
                tensors + "from torchmetrics.image.kid import poly_mmd\n"
                f"def some(x): return x[torch.randperm(len(x))[:{size}]]",
                "[poly_mmd(some(a), some(b), 3, None, 1.0) for _ in range(100)]",
            ),
            "piq": timed(
                tensors + "from piq import KID\n"
                f"it = KID(subset_size={size}, n_subsets=100, average=True)",
                "it.compute_metric(a, b)",
            ),
        },
        gflop=4 * min(n**2, 100 * size**2) * dim / 1e9,  # as for neighbours; all pairs or subsets
    )  # fmt: skip


@case
def kid(bench: Bench) -> Case:
    return _kid(bench, bench.count(5000, 300))


@case
def kid_many(bench: Bench) -> Case:
    return _kid(bench, bench.count(50_000, 500))


DECODE = """
import json, time
from gan_metrics.images.loader import load
from gan_metrics.inputs.opening import open_source
from gan_metrics.protocols.spec import Decoding
import torch
torch.set_num_threads(1)
source = open_source({folder!r})
start = time.perf_counter()
n = sum(len(batch.indices) for batch in load(source, range(len(source.names)), Decoding(),
                                             batch_size=64, workers={workers}))
assert n == len(source.names)
print(json.dumps({{"seconds": time.perf_counter() - start}}))
"""

PLAIN = """
import json, os, time
import numpy as np, torch
from torch.utils.data import DataLoader, Dataset
from PIL import Image
torch.set_num_threads(1)
def pillow(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))
{read}
class Files(Dataset):
    def __init__(self, folder):
        self.files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    def __len__(self): return len(self.files)
    def __getitem__(self, i): return torch.as_tensor(read(self.files[i]))
files = Files({folder!r})
start = time.perf_counter()
n = sum(len(batch) for batch in DataLoader(files, batch_size=64, num_workers={workers}))
seconds = time.perf_counter() - start
same = np.mean([np.array_equal(files[i], pillow(files.files[i])) for i in range(0, n, n // 50)])
print(json.dumps({{"seconds": seconds, "as Pillow's": round(float(same), 2)}}))
"""
"""What one writes without us: torch's loader over one reader."""

READERS = {
    "Pillow": "read = pillow",
    "torchvision": "from torchvision.io import ImageReadMode, decode_image, read_file\n"
    "def read(path):\n"
    "    return decode_image(read_file(path), ImageReadMode.RGB).permute(1, 2, 0)",
    "OpenCV": "import cv2\ncv2.setNumThreads(1)\n"
    "def read(path): return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)",
    "simplejpeg": "import simplejpeg\n"
    "def read(path): return simplejpeg.decode_jpeg(open(path, 'rb').read())",
}


def _decoding(folder: Path, what: str, readers: tuple[str, ...]) -> Case:
    n, place = len(os.listdir(folder)), str(folder)
    contestants = {
        f"{OURS}, as it comes (threads)": ["-c", DECODE.format(folder=place, workers=0)],
        f"{OURS}, 2 processes": ["-c", DECODE.format(folder=place, workers=2)],
    }
    for workers in (0, 2):
        for name in readers:
            program = PLAIN.format(folder=place, workers=workers, read=READERS[name])
            contestants[f"{name}, {workers} processes"] = ["-c", program]
    goal = "≥ 1.5 × the rate of a plain DataLoader with Pillow"
    return Case(f"Decoding and batching {n} {what}", goal, contestants, images=n)


@case
def decode_small(bench: Bench) -> Case:
    folder = bench.folder(bench.count(50_000, 500), 32, 3)
    return _decoding(folder, "PNGs of 32 × 32", ("Pillow", "torchvision", "OpenCV"))


@case
def decode_photographs(bench: Bench) -> Case:
    folder = bench.folder(bench.count(5000, 50), 400, 4)
    return _decoding(folder, "PNGs of 400 × 400", ("Pillow", "torchvision", "OpenCV"))


@case
def decode_jpeg(bench: Bench) -> Case:
    folder = bench.folder(bench.count(5000, 50), 400, 4, "jpg")
    return _decoding(folder, "JPEGs of 400 × 400", tuple(READERS))


TINY = """
import sys
sys.path.insert(0, {here!r})
from soak import Colours
import gan_metrics as gm, json, time
start = time.perf_counter()
gm.fid({folder!r}, {folder!r}, backbone=Colours(), cache=False, batch_size=64)
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "µs for each image": round(1e6 * seconds / {n} / 2, 1)}}))
"""


@case
def growing(bench: Bench) -> Case:
    contestants = {}
    for n in (200, 500) if bench.quick else (1000, 10_000, 50_000, 100_000):
        program = TINY.format(here=str(HERE), folder=str(bench.folder(n, 32, 3)), n=n)
        contestants[f"{OURS}, 2 × {n}"] = ["-c", program]
    return Case(
        "`fid` as n grows, with a network of almost no work",
        "≤ 1.5 GB and independent of n; time linear within 5 %", contestants,
    )  # fmt: skip


def saved(folder: Path) -> dict[str, Any]:
    """What stands in the folder from before."""
    path = folder / "speed.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(folder: Path, record: dict[str, Any]) -> None:
    """Both files, the cases in their order here."""
    order = [name for name in CASES if name in record["cases"]]
    record["cases"] = {name: record["cases"][name] for name in order}
    text = ["# Speed and memory, beside the peers and the machine's limit\n",
            "Made by `python benchmarks/speed.py`. *Times as long*: as the first line of the "
            "table. *MiB more*: the peak of the process above what it was before.\n"]  # fmt: skip
    text.append("; ".join(f"{name} {value}" for name, value in record["machine"].items()))
    glance, tables = [HEADS], list[str]()
    for name in order:
        told = dict(record["cases"][name])
        rate, when = told.pop("sgemm"), told.pop("when")
        found = {who: Measured(**it) for who, it in told.pop("found").items()}
        one = Case(**told, contestants={})
        glance.append(at_a_glance(one, found, rate))
        tables += [*lines(one, found, rate), f"\nMeasured on {when}."]
    text += ["\n## At a glance\n", *glance, "\n## Case by case", *tables]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    (folder / "speed.md").write_text("\n".join(text) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), given.quick)
        cases = {} if given.cases == list(CASES) else saved(given.o).get("cases", {})
        record = {"machine": machine(), "cases": cases}
        for name in given.cases:
            one = CASES[name](bench)
            rate = sgemm()
            found = measure(name, one, bench)
            record["cases"][name] = {
                "title": one.title, "goal": one.goal, "images": one.images, "gflop": one.gflop,
                "sgemm": max(rate, sgemm()), "when": date.today().isoformat(),
                "found": {who: asdict(it) for who, it in found.items()},
            }  # fmt: skip
            write(given.o, record)
    print((given.o / "speed.md").read_text())


if __name__ == "__main__":
    main()
