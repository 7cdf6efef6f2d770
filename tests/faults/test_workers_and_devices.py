"""Helpers and devices that die under a run: the same number, or a clear word, in time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from commands import refused
from conftest import LITE0
from data import crops, same_features, write_folder
from records import record
from torch.utils.data import dataloader
from toys import Colours

import gan_metrics as gm
from gan_metrics.backbones.multi_space import Embedder
from gan_metrics.errors import ResourceError
from gan_metrics.features import extraction
from gan_metrics.images.loader import load
from gan_metrics.inputs.opening import open_source
from gan_metrics.protocols.spec import Decoding

pytestmark = pytest.mark.usefixtures("coarse_lite0")

OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("dying") / "images", crops(60, seed=4))


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    return gm.extract_features(folder, cache=False, **OWN).array


class Deadly:
    """Images of which one ends the process that reads it, when nobody is busy any more."""

    def __init__(self) -> None:
        self.owner = os.getpid()

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 40 and os.getpid() != self.owner:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((16, 16, 3), index, np.uint8)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_worker_that_is_killed(workers: int) -> None:
    ours = psutil.Process()
    before = {child.pid for child in ours.children(recursive=True)}
    with pytest.raises(ResourceError, match="decoding process died"):
        gm.extract_features(
            Deadly(), backbone=Colours(), workers=workers, batch_size=2, cache=False
        )
    _, alive = psutil.wait_procs(
        [child for child in ours.children(recursive=True) if child.pid not in before], timeout=5
    )
    assert not [one for one in alive if "tracker" not in " ".join(one.cmdline())]
    record("a decoding process killed", 1, "exit code 6, no process left")


def _died(iterator: Any) -> None:
    iterator._index_queues[0]._notempty.acquire()
    raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")


def _load_with_a_lock_held(folder: Path, told: Any) -> None:
    dataloader._MultiProcessingDataLoaderIter._next_data = _died
    try:
        next(load(open_source(folder), range(9), Decoding(), batch_size=2, workers=2))
    except ResourceError as error:
        told.send(str(error))


def test_a_worker_that_dies_while_a_lock_is_held(folder: Path) -> None:
    """As when the signal of its death comes just after the lock of a queue was taken."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_load_with_a_lock_held, args=(folder, theirs))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert ours.poll()
    assert "a decoding process died" in ours.recv()


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_interrupted(workers: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", crops(600, 0, 64, 64))
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-m", "gan_metrics", "fid", folder, folder, "--backbone",
         "timm:test_resnet", "--weights", "random", "--workers", str(workers),
         "--batch-size", "4", "--cache", cache],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also in the background
    )  # fmt: skip
    while not list(cache.rglob("*.npz")):
        assert process.poll() is None
        time.sleep(0.02)
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert len(helpers) >= workers
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    start = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 2
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not psutil.wait_procs(helpers, timeout=2)[1]
    record(f"SIGINT, {workers} decoding processes", 1, "exit code 130 within 2 s, none left")


def failing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, after: int = 0, most: int | None = None
) -> None:
    """Let a device fail after some batches; or at batches that are larger than it has room for."""
    own, seen = Embedder._pass, []

    def pass_(self: Embedder, groups: list[torch.Tensor], wanted: list[Any]) -> list[torch.Tensor]:
        n = sum(map(len, groups))
        seen.append(n)
        if (most is not None and n > most) or (most is None and len(seen) > after):
            raise error
        return own(self, groups, wanted)

    monkeypatch.setattr(Embedder, "_pass", pass_)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_device_without_room(
    most: int, folder: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), most=most)
    found = gm.extract_features(folder, batch_size=16, cache=False, **OWN)
    same_features(found.array, expected)
    assert "smaller-batches" in [code for code, _ in found.warnings]
    record("a device without room for a batch", 1, "smaller batches, said, same number")


def test_a_device_without_any_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), most=0)
    refused(6, "fid", folder, folder, "--backbone", LITE0, "--no-cache", says=("out of memory",))
    record("a device without room for one image", 1, "exit code 6")


LOST = [
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported",
    "CUDA error: unspecified launch failure",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "CUDA error: device is lost",
]


@pytest.mark.parametrize("why", LOST)
def test_a_device_that_is_lost(
    why: str, folder: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "CHUNK", 5)
    kind = getattr(torch, "AcceleratorError", RuntimeError) if "illegal" in why else RuntimeError
    first = why.partition("\n")[0]
    with monkeypatch.context() as patch:
        failing(patch, kind(why), after=5)
        with pytest.raises(ResourceError, match="the device failed") as caught:
            gm.extract_features(folder, batch_size=4, cache=tmp_path, **OWN)
        assert first in str(caught.value)
        assert "kernel errors" not in str(caught.value)
        failing(patch, kind(why))
        refused(6, "fid", folder, folder, "--backbone", LITE0, "--no-cache", says=(first,))
    kept = sorted(tmp_path.rglob("*.npz"))
    assert len(kept) == 4  # the five batches before held four whole chunks
    found = gm.extract_features(folder, batch_size=4, cache=tmp_path, **OWN)
    same_features(found.array, expected)
    record("a device that is lost", 2, "exit code 6; taken up again, same number")


def test_a_network_s_own_error_is_none_of_the_device(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        gm.extract_features(folder, cache=False, **OWN)
