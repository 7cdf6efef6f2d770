"""The examples run as they are written; the whole training is the slow part."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from data import digits, write_folder
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(example: str, *args: object, ranks: int = 1) -> str:
    """What an example prints."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [sys.executable, *(several if ranks > 1 else []), str(EXAMPLES / example), *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rank_of(example: str, args: list[str], said: Path, settings: dict[str, str]) -> None:
    """One of several processes, told by the variables that torchrun sets."""
    torch.set_num_threads(1)  # the threads of the parent were not forked
    os.environ.update(settings)
    sys.argv = [example, *args]
    with said.open("w") as out, contextlib.redirect_stdout(out):
        runpy.run_path(str(EXAMPLES / example), run_name="__main__")


def run_forked(example: str, *args: object, ranks: int, folder: Path) -> str:
    """The same in forks of this process, which has imported what they need."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    files = [folder / f"{rank}.txt" for rank in range(ranks)]
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(
            target=rank_of,
            args=(
                example,
                [*map(str, args)],
                file,
                {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            ),
        )
        for rank, file in enumerate(files)
    ]
    for one in started:
        one.start()
    for one in started:
        one.join(300)
    assert [one.exitcode for one in started] == [0] * ranks
    return "".join(file.read_text() for file in files)


def scores(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    return [(line["step"], line["results"][0]["value"]) for line in lines]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_short_training(ranks: int, tmp_path: Path) -> None:
    images = write_folder(tmp_path / "images", digits(24, seed=0))
    out = tmp_path / "out"
    said = run_forked(
        "train_gan.py", "--images", images, "--steps", 4, "--every", 2, "--n-fake", 9,
        "--batch-size", 4, "--output", out, ranks=ranks, folder=tmp_path,
    )  # fmt: skip
    assert [step for step, _ in scores(out)] == [2, 4]
    assert len(said.strip().splitlines()) == 3  # one rank speaks
    best = min(scores(out), key=lambda one: one[1])
    assert f"best: step {best[0]}, {best[1]:.3f}" in said
    assert (out / "best.pt").stat().st_size > 100_000
    with Image.open(out / "curve.png") as curve, Image.open(out / "samples.png") as samples:
        assert curve.size == (900, 540)
        assert samples.size == (274, 274)


def test_accelerate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has imported what it needs."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setattr(sys, "argv", ["accelerate_loop.py", "--output", str(tmp_path)])
    try:
        runpy.run_path(str(EXAMPLES / "accelerate_loop.py"), run_name="__main__")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    learnt(tmp_path, capfd.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_accelerate_in_processes_of_its_own(ranks: int, tmp_path: Path) -> None:
    learnt(tmp_path, run("accelerate_loop.py", "--output", tmp_path, ranks=ranks))


def learnt(folder: Path, said: str) -> None:
    found = scores(folder)
    assert [step for step, _ in found] == [20, 40, 60]
    assert found[-1][1] < 0.2 * found[0][1]
    assert len(said.strip().splitlines()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_whole_training_lowers_the_distance(ranks: int, tmp_path: Path) -> None:
    run("train_gan.py", "--output", tmp_path, ranks=ranks)
    found = dict(scores(tmp_path))
    assert list(found) == list(range(200, 2401, 200))
    assert found[2400] < 0.4 * found[200]
