"""Precision, recall, density and coverage beside the ``prdc`` package: time and memory.

Each runs in a process of its own, in alternation; the features are a memory map that both read.
Prints a Markdown table. ``--alone`` leaves the package out, whose memory grows with n².
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHILD = """
import json, resource, sys, time
import numpy as np
which, path, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = np.load(path, mmap_mode="r")
real, fake = data[:n], data[n:]
if which == "prdc":
    from prdc import compute_prdc
    run = lambda: compute_prdc(np.asarray(real), np.asarray(fake), nearest_k=5)
else:
    from gan_metrics.metrics import prdc
    run = lambda: prdc(real, fake, k=5)
float(np.add.reduce(data[::64, 0]))
for block in range(0, len(data), 4096):  # the features themselves are in memory for both
    data[block:block + 4096].max()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
found = run()
seconds = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "mib": (after - before) / 1024,
                  "peak": after / 1024, "values": {k: float(v) for k, v in found.items()}}))
"""


def features(path: Path, n: int, dim: int) -> None:
    """Two sets as a network gives them: float32, ≥ 0, a spectrum that falls like 1/i."""
    rng = np.random.default_rng(0)
    mix = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * np.arange(1, dim + 1)[:, None] ** -0.5
    mix *= np.sqrt(dim / (mix**2).sum())
    out = np.lib.format.open_memmap(path, "w+", np.float32, (2 * n, dim))
    for start in range(0, 2 * n, 4096):
        stop = min(start + 4096, 2 * n)
        block = rng.normal(size=(stop - start, dim))
        fakes = np.arange(start, stop) >= n
        block[fakes] = block[fakes] * 0.95 + 0.05
        out[start:stop] = np.maximum(block @ mix + 0.3, 0)
    out.flush()


def sgemm_rate(dim: int) -> float:
    """GFLOP/s of one large float32 product."""
    import time

    a = np.ones((4096, dim), np.float32)
    a @ a.T
    start = time.perf_counter()
    for _ in range(3):
        a @ a.T
    return 3 * 2 * 4096**2 * dim / (time.perf_counter() - start) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    which = ["gan-metrics"] if given.alone else ["prdc", "gan-metrics"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in which}
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        features(path, given.n, given.dim)
        for _ in range(given.rounds):
            rates.append(sgemm_rate(given.dim))
            for name in which:
                done = subprocess.run(
                    [sys.executable, "-c", CHILD, name, str(path), str(given.n)],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    flops = 4 * given.n**2 * given.dim / 1e9  # a set with itself is needed once, not twice
    print("<!-- made by benchmarks/neighbors.py -->\n")
    print(f"{given.n} × {given.n} × {given.dim}, sgemm {np.median(rates):.0f} GFLOP/s\n")
    print("| | seconds (each round) | MiB beside the features | GFLOP/s needed | of sgemm |")
    print("|---|---|---|---|---|")
    for name in which:
        seconds = [one["seconds"] for one in found[name]]
        shown = ", ".join(f"{s:.1f}" for s in seconds)
        rate = flops / float(np.median(seconds))
        memory = max(one["mib"] for one in found[name])
        share = rate / float(np.median(rates))
        print(f"| {name} | {shown} | {memory:.0f} | {rate:.0f} | {share:.2f} |")
    if len(which) == 2:
        ratio = np.median(
            [a["seconds"] / b["seconds"] for a, b in zip(*found.values(), strict=True)]
        )
        a, b = (found[name][0]["values"] for name in which)
        gap = max(abs(a[k] - b[k]) for k in a)  # type: ignore[index, call-overload, attr-defined]
        print(f"\n{ratio:.1f} times faster; greatest difference of a value {gap:.1e}.")


if __name__ == "__main__":
    main()
