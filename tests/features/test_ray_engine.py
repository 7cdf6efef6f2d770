"""A pool of Ray's actors: the values of one process, also when an actor is killed."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from commands import refused
from conftest import LITE0
from data import crops, same_features, write_folder
from pyarrow import parquet

import gan_metrics as gm
from gan_metrics.errors import ComputationError, ImageError, ResourceError, UsageError
from gan_metrics.features import extraction, ray_engine
from gan_metrics.features.ray_engine import RayStream
from gan_metrics.inputs.sets import ImageSet

ray = pytest.importorskip("ray")
OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu", "cache": False}
POOL: dict[str, Any] = {**OWN, "engine": "ray", "workers": 2}


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Two actors' worth of a cluster, whatever the machine has."""
    begin()
    yield
    ray.shutdown()


def begin() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20
    )


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK", 2)
    monkeypatch.setattr(ray_engine, "_FAN", 2)  # so that moments are merged in more than one level


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("ray") / "images", crops(41, seed=1))


def same(found: gm.Features, expected: gm.Features) -> None:
    assert found.names == expected.names
    assert found.digest == expected.digest
    same_features(found.array, expected.array)
    np.testing.assert_allclose(found.moments.mean, found.array.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found.moments.cov, np.cov(found.array.astype(float), rowvar=False), rtol=1e-6, atol=1e-9
    )


@pytest.mark.slow
def test_the_pool_finds_what_one_process_finds(folder: Path) -> None:
    done: list[int] = []
    found = gm.extract_features(folder, **POOL, progress=lambda _, n, total: done.append(n))
    same(found, gm.extract_features(folder, **OWN))
    assert done == sorted(done)
    assert done[-1] == 41
    stats, expected = (gm.compute_stats(folder, **how) for how in (POOL, OWN))
    same_features(stats.moments.cov, expected.moments.cov)
    assert stats.identity == expected.identity


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["url", "shards", "parquet"])
def test_other_sources(kind: str, folder: Path, tmp_path: Path) -> None:
    data = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    expected = gm.extract_features(folder, **OWN).array
    if kind == "parquet":
        parquet.write_table(pa.table({"image": list(data.values())}), tmp_path / "x.parquet")
        found = gm.extract_features(tmp_path / "x.parquet", **POOL)
    else:
        for number, half in enumerate((list(data)[:20], list(data)[20:])):
            with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
                for name in half:
                    tar.add(folder / name, name)
        where = str(tmp_path)
        if kind == "url":
            server = http.server.ThreadingHTTPServer(
                ("127.0.0.1", 0),
                functools.partial(http.server.SimpleHTTPRequestHandler, directory=where),
            )
            threading.Thread(target=server.serve_forever, daemon=True).start()
            where = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("GAN_METRICS_OFFLINE")
            found = gm.extract_features(where + "/{0..1}.tar", **POOL)
    same_features(found.array, expected)


def test_an_actor_that_is_killed_costs_nothing_but_time(folder: Path) -> None:
    killed: list[int] = []

    def kill(_: str, done: int, total: int) -> None:
        if 0 < done < total and not killed:
            killed.append(os.getpid())
            for pid in actors():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    found = gm.extract_features(folder, **POOL, progress=kill)
    assert len(killed) == 3  # this process' own number, and both actors
    same(found, gm.extract_features(folder, **OWN))


def actors() -> list[int]:
    """The processes of the actors that are at work for this process, and for no other test's."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if status.read_bytes().startswith(b"ray::_Worker"):
                pid = int(status.parent.name)
                if os.getpid() in (parent(pid), parent(parent(pid))):
                    found.append(pid)
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_actors_that_always_die_are_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying:
        description, warnings = "dying", ()
        names = ("a.png",) * 6

        def read(self, index: int) -> bytes:
            os.kill(os.getpid(), signal.SIGKILL)
            return b""

    monkeypatch.setattr("gan_metrics.api.open_set", lambda *_: ImageSet(Dying()))
    with pytest.raises(ResourceError, match="died 4 times"):
        gm.extract_features(folder, **{**POOL, "workers": 1})


@pytest.mark.slow
def test_errors_are_those_of_one_process(tmp_path: Path) -> None:
    pool = {**POOL, "workers": 1}
    folder = write_folder(tmp_path / "broken", crops(5, seed=3))
    (folder / "0002.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"0002\.png"):
        gm.extract_features(folder, **pool)
    found = gm.extract_features(folder, **pool, on_error="skip")
    same(found, gm.extract_features(folder, **OWN, on_error="skip"))
    assert [name for name, _ in found.skipped] == ["0002.png"]
    for file in folder.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(ComputationError, match="none of 5"):
        gm.extract_features(folder, **pool, on_error="skip")
    with pytest.raises(UsageError, match="2 CPUs to give"):
        gm.extract_features(folder, **{**POOL, "workers": 3})
    with pytest.raises(UsageError, match="unknown engine 'spark'"):
        gm.extract_features(folder, **{**POOL, "engine": "spark"})
    refused(2, "fid", folder, folder, "--engine", "dask", says=("local, openvino, ray",))


@pytest.mark.slow
def test_what_is_drawn_stays_here(folders: tuple[Path, Path]) -> None:
    def paint(n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), np.uint8)

    pooled, alone = (gm.fid(folders[0], gm.Generated(paint, 9), **how) for how in (POOL, OWN))
    assert float(pooled) == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.slow
def test_the_pool_gives_the_metrics_of_one_process(folders: tuple[Path, Path]) -> None:
    pooled, alone = (
        gm.evaluate(*folders, metrics=["fid", "kid", "prdc"], **how) for how in (POOL, OWN)
    )
    for name, one in alone.items():
        assert float(pooled[name]) == pytest.approx(float(one), rel=1e-6, abs=1e-9)
        assert pooled[name].digests == one.digests


@pytest.mark.slow
def test_ray_is_begun_and_ended_with_the_work(folder: Path) -> None:
    ray.shutdown()
    try:
        found = gm.extract_features(folder, **{**POOL, "workers": 1})
        assert not ray.is_initialized()
        assert len(found.array) == 41
    finally:
        begin()


def test_a_missing_ray_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"gan-metrics\[ray\]"):
        RayStream(None, [], None, [], 0)  # type: ignore[arg-type]
