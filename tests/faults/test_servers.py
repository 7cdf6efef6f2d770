"""Servers that fail: the same bytes, or an error that names the server; never another number."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LITE0
from data import crops, write_folder
from records import record

import gan_metrics as gm
from gan_metrics.errors import GanMetricsError
from gan_metrics.files import download
from gan_metrics.files.download import DownloadError, fetch

pytestmark = pytest.mark.usefixtures("coarse_lite0")

OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}


class Handler(http.server.BaseHTTPRequestHandler):
    """``/FAULT/FILE``: a file, as a server with that fault gives it."""

    protocol_version = "HTTP/1.1"
    root: Path
    asked: dict[str, int]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path
        fault, _, name = url.lstrip("/").partition("/")
        key = f"{self.command} {fault}"
        self.asked[key] = self.asked.get(key, 0) + 1
        data = (self.root / name).read_bytes()
        start = 0
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, whole = int(first), len(data)
            data = data[start : int(last or whole) + 1]
        if fault.startswith("status-") or (
            fault.startswith("once-") and self.asked[key] == 1 and self.command == "GET"
        ):
            self._begin(int(fault[-3:]), 0, **{"Retry-After": "0"})
        elif fault == "moved":
            self._begin(302, 0, Location=f"/sound/{name}")
        elif fault == "moved-to-file":
            self._begin(302, 0, Location=f"file://{self.root / name}")
        else:
            long = {"too-long": 64, "too-short": -64}.get(fault, 0)
            extra = (
                {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{whole}"} if asked else {}
            )
            self._begin(206 if asked else 200, max(len(data) + long, 0), **extra)
            if self.command == "GET":
                self._body(fault, data)

    def _begin(self, code: int, length: int, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, fault: str, data: bytes) -> None:
        if fault == "slow":
            for at in range(0, len(data), 1 + len(data) // 5):
                self.wfile.write(data[at : at + 1 + len(data) // 5])
                self.wfile.flush()
                time.sleep(0.05)
        elif fault == "cut":
            self.wfile.write(data[: len(data) // 2])
        elif fault == "page":
            self.wfile.write(b"<html>Please log in</html>".ljust(len(data))[: len(data)])
        elif fault == "flipped":
            self.wfile.write(bytes(byte ^ 0x55 for byte in data))
        else:
            self.wfile.write(data)
        if fault in ("cut", "too-long", "too-short"):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("network")
    folder = write_folder(root / "images", crops(6, seed=8, low=24, high=24))
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    gm.compute_stats(folder, cache=False, **OWN).save(root / "stats.npz")
    (root / "one.png").write_bytes((folder / "0000.png").read_bytes())
    (root / "weights.bin").write_bytes(np.random.default_rng(0).bytes(1 << 17))
    return root


@pytest.fixture
def server(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("GAN_METRICS_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "seconds_to_wait", lambda *_: 0.0)

    here = type("Here", (Handler,), {"root": root, "asked": {}})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), here)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def images(url: str, root: Path, _: Path) -> None:
    found = gm.fid(root / "stats.npz", f"{url}/images.zip", cache=False, **OWN)
    assert abs(found.value) < 1e-3


def statistics(url: str, root: Path, _: Path) -> None:
    found = gm.fid(f"{url}/stats.npz", root / "images", cache=False, **OWN)
    assert abs(found.value) < 1e-3


def weights(url: str, root: Path, tmp_path: Path) -> None:
    data = (root / "weights.bin").read_bytes()
    target = tmp_path / "weights.bin"
    try:
        fetch(f"{url}/weights.bin", target, hashlib.sha256(data).hexdigest())
    except DownloadError:
        assert not target.exists()
        raise
    assert target.read_bytes() == data


USES = {"images": images, "statistics": statistics, "weights": weights}
GOOD = ("sound", "slow", "moved", "once-429", "once-503")
BAD = ("cut", "page", "flipped", "too-long", "moved-to-file", "status-403", "status-404",
       "status-429", "status-503")  # fmt: skip


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", [*GOOD, *BAD, "too-short"])
def test_a_server(fault: str, use: str, server: str, root: Path, tmp_path: Path) -> None:
    outcome = tried(USES[use], f"{server}/{fault}", root, tmp_path)
    if fault in GOOD:
        assert outcome == "same number"
    elif fault in BAD:
        assert outcome != "same number"
    record(f"network, {use}: {fault}", 1, outcome)


@pytest.mark.parametrize("use", USES)
def test_no_server(use: str, nobody: str, server: str, root: Path, tmp_path: Path) -> None:
    outcome = tried(USES[use], f"{nobody}/sound", root, tmp_path)
    assert outcome == "an error that names it"
    record(f"network, {use}: refused", 1, outcome)


@pytest.mark.parametrize("use", USES)
def test_a_proxy(
    use: str, server: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server)
    monkeypatch.setenv("no_proxy", "")
    outcome = tried(USES[use], "http://elsewhere.invalid/sound", root, tmp_path)
    assert outcome == "same number"
    record(f"network, {use}: behind a proxy", 1, outcome)


@pytest.mark.parametrize("use", USES)
def test_offline_opens_no_socket(
    use: str, server: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("GAN_METRICS_OFFLINE", "1")
    monkeypatch.setattr("socket.socket.connect", no_socket)
    monkeypatch.setattr("socket.socket.connect_ex", no_socket)
    monkeypatch.setattr("socket.getaddrinfo", no_socket)
    with pytest.raises(GanMetricsError, match="GAN_METRICS_OFFLINE"):
        USES[use](f"{server}/sound", root, tmp_path)
    record(f"network, {use}: offline", 1, "an error, no socket opened")


def tried(use: Callable[[str, Path, Path], None], url: str, root: Path, tmp_path: Path) -> str:
    failed = None
    try:
        use(url, root, tmp_path)
    except GanMetricsError as error:
        failed = error
    if failed is None:
        return "same number"
    assert url in str(failed)
    assert failed.exit_code in (3, 4, 6)
    return "an error that names it"
