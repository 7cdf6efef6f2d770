"""The table of faults: what was injected, how often, and what came of it.

    python benchmarks/faults.py > docs/faults-table.md

Runs ``tests/faults`` whole, the slow ones too, some ten minutes; ends with an error if one fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--no-cov", "-m", "slow or not slow",
             "tests/faults"],
            cwd=ROOT,
            env={**os.environ, "FAULTS_RECORD": str(record), "OMP_NUM_THREADS": "1"},
            stdout=sys.stderr,
            check=False,
        )  # fmt: skip
        lines = [json.loads(line) for line in record.read_text().splitlines()]
    if done.returncode:
        sys.exit("a fault had a bad end; see above")
    tried: dict[str, int] = defaultdict(int)
    outcomes: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        tried[line["fault"]] += line["tried"]
        if line["outcome"] not in outcomes[line["fault"]]:
            outcomes[line["fault"]].append(line["outcome"])
    print("# Faults that were injected\n")
    print(
        "Made by `python benchmarks/faults.py`, which runs `tests/faults`: no row is a bad one, or"
    )
    print("there would be no table.\n")
    print("| fault | times | outcome |")
    print("|---|---|---|")
    for fault, times in tried.items():
        print(f"| {fault} | {times} | {'; '.join(outcomes[fault])} |")
    print(f"\n{sum(tried.values())} in all. *As Pillow*: the picture that a strict Pillow has.")
    print("Formats without checksums (BMP, PPM, TIFF) cannot tell a flipped byte from another")
    print("picture. *Hit*: still running when the signal came.")


if __name__ == "__main__":
    main()
