"""A CUDA device: how near to its limit, how exact, and how far ahead of pytorch-fid.

    python benchmarks/gpu.py                         # everything, under eight minutes
    python benchmarks/gpu.py --device cpu --quick    # small counts, to see that it runs

Needs ``pytorch-fid`` and the embedded weights, no network. Weights are seeded
random ones, but for the drift, which needs a trained network: the embedded classifier. A part that
fails says so in its place, and the others go on. Writes ``benchmarks/results/gpu.json`` and
``gpu.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from data import crops, random_inception_weights, write_folder  # noqa: E402

import gan_metrics as gm  # noqa: E402
from gan_metrics.backbones.bn_folding import fold_batchnorm  # noqa: E402
from gan_metrics.backbones.build import build_network  # noqa: E402
from gan_metrics.backbones.registry import choose_backbone, load_backbone  # noqa: E402
from gan_metrics.metrics import frechet_distance, kid, prdc  # noqa: E402
from gan_metrics.metrics.moments import MomentsStream  # noqa: E402

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
GFLOP = 11.42
"""Of one pass of the 2015 Inception over an image of 299 × 299."""

LONGEST = 420
"""Seconds after which no further part is begun."""

SHORT = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Bench:
    """What all parts share, and the tables that they fill."""

    root: Path
    device: torch.device
    quick: bool
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def row(self, table: str, **cells: Any) -> None:
        self.tables.setdefault(table, []).append(cells)
        print(table, cells, file=sys.stderr, flush=True)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object], repeat: int = 5, warm: int = 2) -> float:
        """The median over some repeats, the device waited for."""
        for _ in range(warm):
            run()
        taken = []
        for _ in range(1 if self.quick else repeat):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - start)
        return float(np.median(taken))


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Any:
    """Products of that precision, for networks that are not of the library."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    short = SHORT.get(precision)
    try:
        with torch.autocast(device.type, dtype=short, enabled=short is not None):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def matrix_rates(bench: Bench) -> None:
    """TFLOP/s of large products: the limit of everything below."""
    n = bench.count(8192, 512)
    for precision in ("fp32", "tf32", "bf16", "fp16") if bench.cuda else ("fp32", "bf16"):
        kind = SHORT.get(precision, torch.float32)
        a = torch.randn(n, n, device=bench.device, dtype=kind)
        with arithmetic(precision if precision == "tf32" else "fp32", bench.device):
            seconds = bench.seconds(lambda a=a: a @ a)
        bench.rates[precision] = 2 * n**3 / seconds / 1e12
        bench.row("Matrix products", precision=precision, tflops=bench.rates[precision])
    a = torch.randn(bench.count(4096, 256), 2048, device=bench.device, dtype=torch.float64)
    seconds = bench.seconds(lambda: a.T @ a)
    bench.row("Matrix products", precision="fp64", tflops=2 * len(a) * 2048**2 / seconds / 1e12)


def plain_network(bench: Bench, *, folded: bool) -> torch.nn.Module:
    choice = choose_backbone("inception", weights=str(bench.root / "torch" / INCEPTION))
    module = build_network(choice).eval()
    if folded:
        fold_batchnorm(module, keep=[])
    return module.requires_grad_(False).to(bench.device)


def graphed(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A pass as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            net(images)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        net(images)
    return graph.replay


def forward(bench: Bench) -> None:
    """Images per second of the network alone, in every way to run it."""
    eager = plain_network(bench, folded=False)
    plain = plain_network(bench, folded=True)
    fast = plain_network(bench, folded=True).to(memory_format=torch.channels_last)
    precisions = ("fp32", "tf32", "bf16", "fp16") if bench.cuda else ("fp32", "bf16")
    for size in (64, 256, 512) if not bench.quick else (2,):
        images = torch.randn(size, 3, 299, 299, device=bench.device)
        last = images.contiguous(memory_format=torch.channels_last)
        for precision in precisions:
            ways: dict[str, Callable[[], Callable[[], object]]] = {
                "eager": lambda images=images: lambda: eager(images),
                "folded": lambda images=images: lambda: plain(images),
                "folded, channels_last": lambda last=last: lambda: fast(last),
            }
            # The library takes the plain layout in fp32 on CUDA, and channels_last elsewhere.
            net, given = (plain, images) if precision == "fp32" else (fast, last)
            if bench.cuda and size == 256:
                ways["CUDA graph"] = lambda net=net, given=given: graphed(net, given)
                if precision in ("fp32", "bf16"):
                    ways["torch.compile"] = lambda net=net, given=given: compiled(net, given)
            for way, prepare in ways.items():
                with torch.inference_mode(), arithmetic(precision, bench.device):
                    try:
                        seconds = bench.seconds(prepare(), repeat=3)
                    except Exception as error:  # the other ways go on
                        bench.row(
                            "Failed", part=f"forward, {way}, {precision}", why=str(error)[:300]
                        )
                        continue
                rate, limit = size / seconds, bench.rates[precision] * 1000 / GFLOP
                bench.row("Forward pass of Inception", batch=size, precision=precision, way=way,
                          images_per_s=rate, of_limit=rate / limit)  # fmt: skip


def compiled(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A pass as ``torch.compile`` makes it."""
    made = torch.compile(net)
    return lambda: made(images)


def own_forward(bench: Bench) -> None:
    """The same through the library: from uint8 pixels to features, resized and normalised."""
    for precision in ("fp32", "tf32", "bf16", "fp16") if bench.cuda else ("fp32",):
        net = load_backbone("inception", weights=str(bench.root / "torch" / INCEPTION),
                            precision=precision, device=str(bench.device))  # fmt: skip
        for side in (32, 299):
            size = bench.count(256, 2)
            images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8,
                                   device=bench.device)  # fmt: skip
            rate = size / bench.seconds(lambda net=net, images=images: net(images))
            limit = bench.rates[precision] * 1000 / GFLOP
            bench.row("load_backbone('inception')", precision=precision, pixels=side,
                      images_per_s=rate, of_limit=rate / limit)  # fmt: skip


def drift(bench: Bench) -> None:
    """How far each precision moves a distance of real features."""
    n = bench.count(1000, 30)
    real = write_folder(bench.root / "drift-real", crops(n, 1, 128, 256))
    rng = np.random.default_rng(0)
    noisy = [np.clip(c + rng.normal(0, 12, c.shape), 0, 255).astype(np.uint8)
             for c in crops(n, 2, 128, 256)]  # fmt: skip
    fake = write_folder(bench.root / "drift-fake", noisy)
    exact = None
    for precision in ("fp32", "tf32", "bf16", "fp16") if bench.cuda else ("fp32", "bf16"):
        found = gm.fid(real, fake, backbone="efficientnet-lite0", precision=precision,
                       device=str(bench.device), cache=False)  # fmt: skip
        exact = exact or found.value
        bench.row("Drift of the distance, trained network", precision=precision, fd=found.value,
                  standard_error=found.standard_error, drift=found.value - exact,
                  relative=found.value / exact - 1)  # fmt: skip


def timed(command: list[str], bench: Bench) -> float:
    env = {**os.environ, "GAN_METRICS_OFFLINE": "1"}
    start = time.perf_counter()
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=150
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    return time.perf_counter() - start


def end_to_end(bench: Bench) -> None:
    """Commands from PNG files to a number, and from pixels in memory in this process.

    pytorch-fid leaves cuDNN's convolutions in TF32, so that ``gan-metrics, tf32`` is its like.
    """
    n = bench.count(5000, 20)
    sides = [write_folder(bench.root / f"png{i}", crops(n, i, 32, 32)) for i in (3, 4)]
    weights = bench.root / "torch" / INCEPTION
    device = str(bench.device)
    places = [str(side) for side in sides]
    ours = [sys.executable, "-m", "gan_metrics", "fid", *places, "--weights", str(weights),
            "--device", device, "--no-cache"]  # fmt: skip
    theirs = [sys.executable, "-m", "pytorch_fid", *places, "--device", device]
    bests: dict[str, float] = {}
    timed([*theirs[:3], "--help"], bench)  # what both read from the disk is in memory then
    for name, command in (("pytorch-fid", theirs), ("gan-metrics", ours),
                          ("gan-metrics, tf32", [*ours, "--precision", "tf32"]),
                          ("gan-metrics, bf16", [*ours, "--precision", "bf16"])):  # fmt: skip
        if "tf32" in name and not bench.cuda:
            continue
        bests[name] = timed(command, bench)
        bench.row(f"End to end, 2 × {n} PNGs of 32 × 32", who=name, seconds=bests[name],
                  times_as_fast=bests["pytorch-fid"] / bests[name])  # fmt: skip
    pixels = [torch.from_numpy(np.stack(crops(n, i, 32, 32))).permute(0, 3, 1, 2) for i in (3, 4)]
    start = time.perf_counter()
    in_memory(pixels, bench)
    peer = time.perf_counter() - start
    title = f"End to end, 2 × {n} images in memory"
    bench.row(title, who="pytorch-fid's network and distance", seconds=peer, times_as_fast=1.0)
    for precision in ("fp32", "tf32", "bf16") if bench.cuda else ("fp32", "bf16"):
        start = time.perf_counter()
        gm.fid(*pixels, weights=str(weights), device=device, precision=precision, cache=False)
        seconds = time.perf_counter() - start
        bench.row(title, who=f"gan-metrics, {precision}", seconds=seconds,
                  times_as_fast=peer / seconds)  # fmt: skip


def in_memory(sides: list[torch.Tensor], bench: Bench) -> float:
    """What its user writes around pytorch-fid: batches of 50 to features, moments, the distance."""
    from pytorch_fid.fid_score import calculate_frechet_distance
    from pytorch_fid.inception import InceptionV3

    net = InceptionV3([3]).eval().to(bench.device)
    moments = []
    for pixels in sides:
        with torch.no_grad():
            parts = [net(part.to(bench.device) / 255)[0] for part in pixels.split(50)]
        rows = torch.cat(parts).flatten(1).cpu().numpy()
        moments += [rows.mean(axis=0), np.cov(rows, rowvar=False)]
    return float(calculate_frechet_distance(*moments))


def moments(bench: Bench) -> None:
    """The float64 moments on the device, beside the pass that feeds them."""
    size = bench.count(256, 4)
    net = load_backbone("inception", weights=str(bench.root / "torch" / INCEPTION),
                        device=str(bench.device))  # fmt: skip
    images = torch.randint(0, 256, (size, 3, 299, 299), dtype=torch.uint8, device=bench.device)
    embedding = bench.seconds(lambda: net(images))
    rows = torch.randn(bench.count(16_384, 64), 2048, device=bench.device)

    def sum_up() -> None:
        stream = MomentsStream()
        for part in rows.split(size):
            stream.add(part)
        stream.finish()

    summing = bench.seconds(sum_up) * size / len(rows)
    bench.row("Moments in float64", images=size, embedding_s=embedding, moments_s=summing,
              share=summing / (embedding + summing))  # fmt: skip


def overlap(bench: Bench) -> None:
    """How much of an extraction the device is busy."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    n = bench.count(4000, 20)
    folder = write_folder(bench.root / "overlap", crops(n, 5, 64, 64))
    options = {"weights": str(bench.root / "torch" / INCEPTION), "device": str(bench.device),
               "cache": False}  # fmt: skip
    gm.extract_features(folder, max_images=64 if not bench.quick else 4, **options)
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * bench.cuda
    with profile(activities=kinds) as seen:
        start = time.perf_counter()
        gm.extract_features(folder, **options)
        bench.wait()
        whole = time.perf_counter() - start
    # Kernels and copies themselves, and not what launched them, which is told their time as well.
    events = [e for e in seen.key_averages() if e.device_type == DeviceType.CUDA]
    busy = sum(e.self_device_time_total for e in events) / 1e6
    copies = sum(e.self_device_time_total for e in events if "emcpy" in e.key) / 1e6
    bench.row("Overlap", images=n, seconds=whole, device_busy_s=busy, copies_s=copies,
              busy_share=busy / whole)  # fmt: skip


def metrics(bench: Bench) -> None:
    """Distances and neighbours of features that lie on the device."""
    n, dim = bench.count(50_000, 300), bench.count(2048, 32)
    generator = torch.Generator(bench.device).manual_seed(0)
    sides = [torch.randn(n, dim, device=bench.device, generator=generator).relu() + shift
             for shift in (0.0, 0.05)]  # fmt: skip
    for name, run in (
        ("frechet_distance", lambda: frechet_distance(*sides)),
        ("kid, 100 × 1000", lambda: kid(*sides, subset_size=min(1000, n))),
        ("prdc", lambda: prdc(*sides, k=5)),
    ):
        if bench.cuda:
            torch.cuda.reset_peak_memory_stats(bench.device)
        seconds = bench.seconds(run, repeat=1, warm=0)
        peak = torch.cuda.max_memory_allocated(bench.device) / 2**30 if bench.cuda else 0.0
        bench.row(f"Metrics, n = {n}, d = {dim}", metric=name, seconds=seconds, peak_gib=peak)


class Generator(torch.nn.Module):
    """Images of 64 × 64 from 128 numbers; nothing that is learnt."""

    z_size = 128
    value_range = (-1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(128, 256 * 4 * 4)
        widths = (256, 128, 64, 32, 3)
        self.rest = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths)
        )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.first(z).view(-1, 256, 4, 4)
        for layer in self.rest:
            x = layer(x.relu())
        return x.tanh()


def in_training(bench: Bench) -> None:
    """An evaluation within a training loop, beside drawing and embedding alone."""
    n, size = bench.count(10_000, 32), bench.count(100, 16)
    weights = str(bench.root / "torch" / INCEPTION)
    reference = bench.root / "reference.npz"
    images = torch.from_numpy(np.stack(crops(bench.count(3000, 20), 6, 32, 32))).permute(0, 3, 1, 2)
    gm.compute_stats(images, weights=weights, device=str(bench.device), cache=False).save(reference)
    torch.manual_seed(0)
    generator = Generator().to(bench.device)
    net = load_backbone("inception", weights=weights, device=str(bench.device))

    def alone() -> None:
        with torch.no_grad():
            for _ in range(0, n, size):
                drawn = generator(torch.randn(size, 128, device=bench.device))
                net(((drawn + 1) * 127.5).round().to(torch.uint8))

    plain = bench.seconds(alone, repeat=1, warm=1)
    evaluator = gm.training.Evaluator(reference, ["fid"], n_fake=n, batch_size=size,
                                      weights=weights, device=str(bench.device))  # fmt: skip
    evaluator(generator, 0)
    whole = bench.seconds(lambda: evaluator(generator, 1), repeat=1, warm=0)
    bench.row("Evaluator", images=n, seconds=whole, alone_s=plain, above=whole / plain - 1)


def jpeg(bench: Bench) -> None:
    """Decoding on the host in threads and in workers, and on the device."""
    from io import BytesIO

    from PIL import Image
    from torchvision.io import ImageReadMode, decode_jpeg

    from gan_metrics.images.loader import load
    from gan_metrics.inputs.opening import open_source
    from gan_metrics.protocols.spec import Decoding

    n = bench.count(2000, 10)
    folder = bench.root / "jpeg"
    folder.mkdir()
    files = []
    for i, crop in enumerate(crops(n, 7, 400, 400)):
        buffer = BytesIO()
        Image.fromarray(crop).save(buffer, "JPEG", quality=92)
        (folder / f"{i:05d}.jpg").write_bytes(buffer.getvalue())
        files.append(torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8))
    source = open_source(folder)
    for workers in (0, 4, 8) if not bench.quick else (0,):
        batches = load(source, range(n), Decoding(), batch_size=8, workers=workers)
        left = n - len(next(batches).indices)  # from here on all processes are there
        start = time.perf_counter()
        for _ in batches:
            pass
        bench.row("Decoding JPEGs of 400 × 400", way=f"host, {workers} workers",
                  images_per_s=left / (time.perf_counter() - start))  # fmt: skip
    if bench.cuda:

        def on_device() -> None:
            for start in range(0, n, 64):
                decode_jpeg(files[start : start + 64], mode=ImageReadMode.RGB,
                            device=bench.device)  # fmt: skip

        rate = n / bench.seconds(on_device, repeat=1, warm=1)
        bench.row("Decoding JPEGs of 400 × 400", way="nvJPEG", images_per_s=rate)
        with Image.open(BytesIO(bytes(files[0].tolist()))) as image:
            host = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        found = decode_jpeg(files[0], mode=ImageReadMode.RGB, device=bench.device).cpu()
        apart = (found.int() - host.int()).abs()
        bench.row(
            "Decoding JPEGs of 400 × 400",
            way="nvJPEG beside Pillow",
            greatest_difference=int(apart.max()),
            share_different=float((apart > 0).float().mean()),
        )


PARTS = (matrix_rates, forward, own_forward, drift, end_to_end, moments, overlap, metrics,
         in_training, jpeg)  # fmt: skip


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page(bench: Bench, facts: dict[str, str]) -> str:
    lines = ["# On a CUDA device\n", "Made by `python benchmarks/gpu.py`.\n",
             "; ".join(f"{name} {value}" for name, value in facts.items())]  # fmt: skip
    for title, rows in bench.tables.items():
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines += [f"\n## {title}\n", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
        lines += [f"| {' | '.join(shown(row.get(n, '')) for n in names)} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=[part.__name__ for part in PARTS])
    parser.add_argument("-o", type=Path, default=HERE / "results")
    given = parser.parse_args()
    device = torch.device(given.device)
    facts = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gan-metrics": gm.__version__,
    }
    given.o.mkdir(parents=True, exist_ok=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), device, given.quick)
        place = bench.root / "torch"
        place.mkdir()
        weights = random_inception_weights(place / INCEPTION)
        os.environ["TORCH_HOME"] = str(bench.root / "home")  # where pytorch-fid looks
        home = bench.root / "home" / "hub" / "checkpoints"
        home.mkdir(parents=True)
        (home / INCEPTION).symlink_to(weights)
        for part in PARTS:
            if given.parts and part.__name__ not in (*given.parts, "matrix_rates"):
                continue
            start = time.perf_counter()
            if start - begun > LONGEST:
                bench.row("Failed", part=part.__name__, why=f"{LONGEST} s were over")
                continue
            try:
                part(bench)
            except Exception as error:  # the others go on
                traceback.print_exc()
                bench.row(
                    "Failed", part=part.__name__, why=f"{type(error).__name__}: {error}"[:300]
                )
            gc.collect()
            if bench.cuda:
                torch.cuda.empty_cache()
            bench.row("Seconds of each part", part=part.__name__,
                      seconds=time.perf_counter() - start)  # fmt: skip
            text = page(bench, facts)
            (given.o / "gpu.md").write_text(text)
            (given.o / "gpu.json").write_text(
                json.dumps({"facts": facts, "tables": bench.tables}, indent=1) + "\n"
            )
    print(text)
    if "Failed" in bench.tables:
        sys.exit("a part failed; see above")


if __name__ == "__main__":
    main()
