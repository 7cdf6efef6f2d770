"""Disks, caches and clocks that misbehave: the same number, or a clear word."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops, same_features, write_folder
from records import record

import gan_metrics as gm
from gan_metrics.errors import ImageError, InputError, ResourceError
from gan_metrics.features import extraction
from gan_metrics.inputs.opening import open_source

pytestmark = pytest.mark.usefixtures("coarse_lite0")

OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("disks") / "images", crops(23, seed=4))


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    return gm.extract_features(folder, cache=False, **OWN).array


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK", 5)


def same(found: gm.Features, expected: np.ndarray) -> None:
    same_features(found.array, expected)


def test_every_chunk_of_a_cache_damaged(folder: Path, expected: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gm.extract_features(folder, cache=tmp_path, **OWN)
    chunks = sorted(tmp_path.rglob("*.npz"))
    assert len(chunks) == 5
    for kind in ("flipped", "cut", "empty", "other"):
        for chunk in chunks:
            data = bytearray(chunk.read_bytes())
            if kind == "flipped":
                data[rng.integers(len(data) // 2)] ^= 0xFF
            chunk.write_bytes(
                {"flipped": data, "cut": data[: len(data) // 2], "empty": b"", "other": b"hi"}[kind]
            )
        found = gm.extract_features(folder, cache=tmp_path, **OWN)
        same(found, expected)
        told = [message for code, message in found.warnings if code == "damaged-cache"]
        assert len(told) == 1
        assert told[0].startswith("5 entries") or kind == "flipped"
        again = gm.extract_features(folder, cache=tmp_path, **OWN)
        assert "damaged-cache" not in [code for code, _ in again.warnings]
        record(f"every chunk of a cache {kind}", 5, "computed again and said, same number")


def test_a_cache_deleted_under_a_running_job(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    place = tmp_path / "cache"

    def delete(*_: object) -> None:
        shutil.rmtree(place, ignore_errors=True)

    for _ in range(2):
        same(gm.extract_features(folder, cache=place, progress=delete, **OWN), expected)
    record("cache deleted at every chunk", 10, "same number")


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_cache_on_a_full_disk(folder: Path, expected: np.ndarray, tmp_path: Path) -> None:
    with small_disk(tmp_path / "full", "64k") as place:
        found = gm.extract_features(folder, cache=place, **OWN)
        same(found, expected)
        assert "cache-not-written" in [code for code, _ in found.warnings]
        assert not list(place.rglob("*.tmp"))
    record("cache on a full disk", 1, "same number, said")


def test_a_result_on_a_full_disk(folder: Path, tmp_path: Path) -> None:
    features = gm.extract_features(folder, cache=False, **OWN)
    with small_disk(tmp_path / "full", "32k") as place:
        for name in ("x.npz", "x.npy", "x.safetensors", "x.parquet"):
            with pytest.raises(ResourceError, match="space"):
                gm.save_features(features, place / name)
            assert not list(place.iterdir())
        with pytest.raises(ResourceError, match="space"):
            gm.compute_stats(features).save(place / "stats.npz")
        assert not list(place.iterdir())
    record("results on a full disk", 5, "exit code 6, nothing left behind")


def test_a_cache_that_cannot_be_written_to(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    found = gm.extract_features(folder, cache=tmp_path / "file" / "cache", **OWN)
    same(found, expected)
    assert "cache-not-written" in [code for code, _ in found.warnings]
    record("cache that cannot be written to", 1, "same number, said")


def _share(folder: Path, cache: Path, expected: np.ndarray) -> None:
    torch.set_num_threads(1)  # the threads of the parent were not forked
    found = gm.extract_features(folder, cache=cache, **OWN)
    same(found, expected)


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_several_processes_on_one_cache(
    count: int, folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    running = [
        fork.Process(target=_share, args=(folder, tmp_path / "c", expected)) for _ in range(count)
    ]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
    assert [one.exitcode for one in running] == [0] * count
    assert len(list((tmp_path / "c").rglob("*.npz"))) == 5
    assert not list((tmp_path / "c").rglob("*.tmp"))
    record(f"{count} processes on one cache", count, "same number")


def test_a_clock_that_jumps(
    folder: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for jump in (-1e9, 1e9, -5.0, 0.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        same(gm.extract_features(folder, cache=tmp_path, **OWN), expected)
    for chunk in tmp_path.rglob("*.npz"):
        os.utime(chunk, (now + 1e9, now + 1e9))
    same(gm.extract_features(folder, cache=tmp_path, **OWN), expected)
    record("a clock that jumps by 30 years, either way", 5, "same number")


def test_a_file_that_changes_or_goes_between_listing_and_reading(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", crops(6, seed=1))
    source = open_source(folder)
    (folder / "0002.png").unlink()
    with pytest.raises(ImageError, match="cannot read"):
        source.read(2)
    seen: list[int] = []

    def change(_: str, done: int, total: int) -> None:
        if not seen:
            seen.append(done)
            for file in folder.iterdir():
                file.write_bytes(file.read_bytes() + b"\0")

    own = folder.parent / "own"
    shutil.copytree(folder, own)
    found = gm.extract_features(own, cache=False, **OWN)
    with contextlib.suppress(InputError):  # said, where it was read before and after
        changed = gm.extract_features(folder, cache=tmp_path / "c", progress=change, **OWN)
        same(changed, found.array)  # a byte behind the end changes no pixel
    assert seen
    record("files that change while they are read", 2, "an error, or the same number")


NO_FILES_LEFT = """
import resource, sys
import gan_metrics as gm
from gan_metrics.errors import ResourceError
from gan_metrics.inputs.opening import open_source
for path in sys.argv[1:]:
    source = open_source(path)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        pass
    try:
        source.read(0)
    except ResourceError as error:
        print(error)
    del held
    assert source.read(0)
    del source
"""


def test_no_image_is_broken_because_too_many_files_are_open(folder: Path, tmp_path: Path) -> None:
    zipped = shutil.make_archive(str(tmp_path / "x"), "zip", folder)
    shutil.copy(zipped, tmp_path / "y.zip")
    paths = [folder, zipped, shutil.make_archive(str(tmp_path / "x"), "tar", folder),
             tmp_path / "*.zip"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", NO_FILES_LEFT, *map(str, paths)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ["ulimit -n" in line for line in done.stdout.splitlines()] == [True] * 4
    record("too many files open", 4, "exit code 6, whatever --on-error says")
