"""A run killed at any moment: nothing that looks complete and is not, and the same number."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import LITE0
from data import crops, same_features, write_folder
from records import record

import gan_metrics as gm
from gan_metrics.features.files import load_features

SLOW = pytest.mark.slow
FEW = 2
MANY = pytest.param(20, marks=SLOW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("kills") / "images", crops(150, seed=1))


def killed(program: list[str], times: int, check: object) -> int:
    """Run a program once to its end for its length, then kill it at random moments of it.

    ``check`` is called after each kill. Returns how many were still running when they were hit.
    """
    began = time.monotonic()
    subprocess.run(program, check=True, capture_output=True)
    length = time.monotonic() - began
    check()  # type: ignore[operator]
    rng = np.random.default_rng(0)
    hit = 0
    for moment in rng.uniform(0.3, 1.0, times) * length:
        process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        check()  # type: ignore[operator]
    return hit


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "gan_metrics", *map(str, args)]


@pytest.mark.parametrize("times", [MANY])
@pytest.mark.parametrize("cached", [False, True])
def test_statistics(times: int, cached: bool, folder: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "out.npz", tmp_path / "cache"
    early = "blocks.1"  # where the pass ends: enough work to be killed in, and little of it
    expected = gm.compute_stats(
        folder, backbone=LITE0, layer=early, pool="avg", cache=False
    ).moments
    options = ["--cache", cache] if cached else ["--no-cache"]
    program = command("stats", folder, "-o", out, "--backbone", LITE0, "--layer", early,
                      "--pool", "avg", "-q", *options)  # fmt: skip

    def whole() -> None:
        found = gm.load_stats(out).moments
        assert found.n == 150
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.cov, expected.cov, rtol=1e-5, atol=1e-7)
        out.unlink()

    def whole_or_not_there() -> None:
        if out.exists():
            whole()
        if cached:  # what lies there is taken up, and the next one starts anew
            subprocess.run(program, check=True, capture_output=True)
            whole()
            shutil.rmtree(cache)

    hit = killed(program, times, whole_or_not_there)
    subprocess.run(program, check=True, capture_output=True)
    whole()
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}
    what = "filling a cache" if cached else "extracting and writing statistics"
    record(f"SIGKILL while {what}", times, f"{hit} hit, same number")


@pytest.mark.parametrize("times", [MANY])
@pytest.mark.parametrize("extension", ["parquet", "npy"])
def test_features(extension: str, times: int, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out.{extension}"
    expected = gm.extract_features(folder, backbone=LITE0, cache=tmp_path / "cache").array

    def whole_or_not_there() -> None:
        if out.exists():
            same_features(load_features(out).array, expected)

    program = command(
        "features", folder, "-o", out, "--backbone", LITE0, "--cache", tmp_path / "cache", "-q"
    )
    hit = killed(program, times, whole_or_not_there)
    subprocess.run(program, check=True, capture_output=True)
    whole_or_not_there()
    record(f"SIGKILL while writing .{extension}", times, f"{hit} hit, whole or not there")


DOWNLOAD = """
import sys
from pathlib import Path
from gan_metrics.files.download import fetch
fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
"""


class Slow(http.server.SimpleHTTPRequestHandler):
    """Gives two megabytes in a second, also in parts."""

    data = np.random.default_rng(0).integers(0, 256, 1 << 21, np.uint8).tobytes()

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        rest = self.data[int(asked) :]
        self.send_response(206 if int(asked) else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("Content-Range", f"bytes {asked}-{len(self.data) - 1}/{len(self.data)}")
        self.send_header("ETag", '"one"')
        self.end_headers()
        for start in range(0, len(rest), 1 << 15):
            self.wfile.write(rest[start : start + (1 << 15)])
            time.sleep(1 / 64)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}/weights.bin"
    found.shutdown()


@pytest.mark.parametrize("times", [FEW, MANY])
def test_a_download(
    times: int, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAN_METRICS_OFFLINE")
    out = tmp_path / "weights.bin"
    digest = hashlib.sha256(Slow.data).hexdigest()

    def whole_or_not_there() -> None:
        if out.exists():
            assert out.read_bytes() == Slow.data
            out.unlink()

    program = [sys.executable, "-c", DOWNLOAD, server, str(out), digest]
    hit = killed(program, times, whole_or_not_there)
    subprocess.run(program, check=True, capture_output=True, env={**os.environ})
    assert out.read_bytes() == Slow.data
    record("SIGKILL while downloading", times, f"{hit} hit, whole or not there")
