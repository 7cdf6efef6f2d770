"""Images behind real servers: S3's protocol and plain HTTP, with the faults that networks have."""

from __future__ import annotations

import http.server
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import s3fs
from conftest import LITE0
from data import crops, same_features, write_folder
from moto.server import ThreadedMotoServer

import gan_metrics as gm
from gan_metrics.errors import ImageError, InputError, ResourceError, UsageError
from gan_metrics.images.sources import Location
from gan_metrics.inputs.opening import open_source
from gan_metrics.inputs.sets import ImageSet

pytestmark = pytest.mark.usefixtures("coarse_lite0")

IMAGES = crops(6, seed=8, low=24, high=24)
OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu", "cache": False}


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAN_METRICS_OFFLINE")
    monkeypatch.setattr("gan_metrics.files.download.seconds_to_wait", lambda *_: 0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, and the same images in archives, a batch and statistics."""
    root = tmp_path_factory.mktemp("remote")
    folder = write_folder(root / "images", IMAGES)
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for i in range(2):
        with tarfile.open(root / f"shard-{i}.tar", "w") as tar:
            for file in sorted(folder.iterdir())[3 * i : 3 * i + 3]:
                tar.add(file, file.name)
    np.savez(root / "images.npz", np.stack(IMAGES))
    gm.compute_stats(folder, **OWN).save(root / "stats.npz")
    return root


@pytest.fixture(scope="module")
def expected(root: Path) -> gm.Features:
    return gm.extract_features(root / "images", **OWN)


@pytest.fixture(scope="module")
def bucket(root: Path) -> Iterator[str]:
    """A bucket in a server of S3's protocol."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            store.put_file(str(file), f"bucket/data/{file.relative_to(root)}")
        yield "s3://bucket/data"
    server.stop()


PLACES = ["images", "images/*.png", "images.zip", "shard-{0..1}.tar", "shard-*.tar", "images.npz"]


@pytest.mark.parametrize("place", PLACES)
def test_a_bucket(place: str, bucket: str, expected: gm.Features) -> None:
    found = gm.extract_features(f"{bucket}/{place}", **OWN)
    same_features(found.array, expected.array)
    assert len(found.names) == 6


def test_statistics_in_a_bucket(bucket: str, root: Path) -> None:
    result = gm.fid(f"{bucket}/stats.npz", f"{bucket}/images", **OWN)
    assert result.value == pytest.approx(0.0, abs=1e-4)
    told = next(message for code, message in result.warnings if code == "few-images")
    assert told.startswith(f"{bucket}/stats.npz")


def test_what_is_not_in_a_bucket(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("nothing", "nothing.zip", "images/none-*.png"):
        with pytest.raises(InputError, match=r"does not exist|holds no images|matches nothing"):
            open_source(f"{bucket}/{place}")
    with pytest.raises((InputError, ResourceError), match="nobucket"):
        open_source("s3://nobucket-at-all/images")
    source = open_source(f"{bucket}/images")
    s3fs.S3FileSystem().rm("bucket/data/images/0000.png")
    try:
        with pytest.raises(ImageError, match="does not exist"):
            source.read(0)
    finally:
        s3fs.S3FileSystem().pipe_file("bucket/data/images/0000.png", b"x")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, with parts of them; and the faults that a path names."""

    hits = 0
    parts = True

    def do_GET(self) -> None:
        type(self).hits += 1
        fault, _, rest = self.path.lstrip("/").partition("/")
        if fault == "gone":
            self.send_error(404)
        elif fault == "busy":
            self.send_error(503)
        elif fault == "locked":
            self.send_error(403)
        elif fault == "away":
            self.send_response(302)
            self.send_header("Location", f"file://{self.directory}/{rest}")
            self.end_headers()
        elif fault in ("cut", "wrong"):
            data = (Path(self.directory) / rest).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else b"?" * len(data))
        elif (asked := self.headers.get("Range")) and self.parts:
            data = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
            start, _, end = asked.removeprefix("bytes=").partition("-")
            piece = data[int(start) : int(end or len(data)) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            self.send_header("Content-Length", str(len(piece)))
            self.end_headers()
            self.wfile.write(piece)
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        fault, _, rest = self.path.lstrip("/").partition("/")
        if fault in ("cut", "wrong"):
            self.path = "/" + rest
            super().do_HEAD()
        elif fault in ("gone", "busy", "locked", "away"):
            self.do_GET()
        else:
            super().do_HEAD()

    def end_headers(self) -> None:
        if self.parts:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def served(root: Path, handler: type[Handler]) -> Iterator[str]:
    def at_root(*args: Any) -> Handler:
        return handler(*args, directory=str(root))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), at_root)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def web(root: Path) -> Iterator[str]:
    yield from served(root, Handler)


class Whole(Handler):
    """As Python's own server: no parts."""

    parts = False


@pytest.fixture
def plain(root: Path) -> Iterator[str]:
    yield from served(root, Whole)


@pytest.mark.parametrize("place", ["images/", "images.zip", "shard-{0..1}.tar", "images.npz"])
@pytest.mark.parametrize("server", ["web", "plain"])
def test_the_web(
    place: str, server: str, request: pytest.FixtureRequest, expected: gm.Features
) -> None:
    url = request.getfixturevalue(server)
    found = gm.extract_features(f"{url}/{place}", **OWN)
    same_features(found.array, expected.array)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("gone", InputError),
        ("busy", ResourceError),
        ("locked", (InputError, ResourceError)),
        ("away", (InputError, ResourceError)),
        ("cut", (InputError, ResourceError)),
        ("wrong", InputError),
    ],
)
@pytest.mark.parametrize("file", ["images.zip", "images.npz", "stats.npz"])
def test_faults_of_the_network(fault: str, kind: Any, file: str, web: str, root: Path) -> None:
    for on_error in ("raise", "skip"):  # neither is a broken image
        with pytest.raises(kind) as caught:
            gm.fid(root / "images", f"{web}/{fault}/{file}", **OWN, on_error=on_error)
        assert "127.0.0.1" in str(caught.value) or file in str(caught.value)


def test_a_server_that_is_not_there(root: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ResourceError, match="cannot reach"):
        open_source(f"http://127.0.0.1:{port}/images.zip")


def test_a_network_that_gives_out_ends_the_run(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(f"{web}/images/")
    monkeypatch.setattr("gan_metrics.api.open_set", lambda *_: ImageSet(source))
    monkeypatch.setattr(source, "_places", [Location(f"{web}/busy/{i}.png") for i in range(6)])
    with pytest.raises(ResourceError, match="cannot reach"):
        gm.extract_features("x", **OWN, on_error="skip")  # not left out as bad images


def test_offline_opens_no_connection(
    web: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_METRICS_OFFLINE", "1")
    Handler.hits = 0
    for url in (
        f"{web}/images.zip",
        f"{web}/shard-{{0..1}}.tar",
        f"{bucket}/images",
        f"{bucket}/*",
    ):
        with pytest.raises(InputError, match="GAN_METRICS_OFFLINE"):
            gm.extract_features(url, **OWN)
    with pytest.raises(InputError, match="GAN_METRICS_OFFLINE"):
        gm.fid(f"{web}/stats.npz", f"{web}/stats.npz")
    assert Handler.hits == 0


def test_urls_that_no_store_has() -> None:
    for url in ("ftp://host/x.zip", "local:///etc/passwd", "zip://x::http://h/a.zip"):
        with pytest.raises(UsageError, match="other URLs and chains of URLs are not read"):
            open_source(url)


class Line:
    """A file on a line that is bad for some reads."""

    def __init__(self, bad: int, error: Exception) -> None:
        self.bad, self.error, self.reads = bad, error, 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads <= self.bad:
            raise self.error
        return b"whole"[: size if size >= 0 else None]

    def close(self) -> None:
        pass


def bad_line(monkeypatch: pytest.MonkeyPatch, bad: int, message: str, status: int) -> Line:
    aiohttp = pytest.importorskip("aiohttp")
    asked = SimpleNamespace(real_url="http://127.0.0.1:9/x.zip")
    error = aiohttp.ClientResponseError(asked, (), status=status, message=message)  # type: ignore
    line = Line(bad, error)
    system = type("System", (), {"open": lambda *_: line})()
    monkeypatch.setattr(Location, "_system", lambda self: (system, "x.zip"))
    return line


def test_a_read_that_the_web_spoils_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    line = bad_line(monkeypatch, 1, "Bad status line: left over", 400)
    with Location("http://127.0.0.1:9/x.zip").open() as file:
        assert file.read(3) == b"who"
    assert line.reads == 2


def test_a_read_that_stays_spoilt_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    bad_line(monkeypatch, 99, "no such part", 416)
    with (
        Location("http://127.0.0.1:9/x.zip").open() as file,
        pytest.raises(ResourceError, match=r"cannot reach http://127\.0\.0\.1:9/x\.zip"),
    ):
        file.read()
