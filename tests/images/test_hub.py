"""Weights from a hub, by the hub's own library, against a server on loopback."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from conftest import Run
from safetensors.torch import save

from gan_metrics.backbones.registry import recipe_of

NAME = "timm:resnet18"


class Hub(http.server.ThreadingHTTPServer):
    """Serves one repository; ``script`` holds what to do to the next downloads."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: list[str] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.removeprefix(f"http://{self.headers.get('Host')}")
        self.server.asked.append(path)
        data = self.server.files.get(path)
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            cut = self.server.script.pop(0) == "cut" if self.server.script else False
            self.wfile.write(
                data[start : start + (len(data) - start) // 2] if cut else data[start:]
            )


def path_of(file: str) -> str:
    return f"/timm/resnet18.a1_in1k/resolve/main/{file}"


@pytest.fixture(scope="module")
def weights() -> dict[str, bytes]:
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return {"model.safetensors": save(state), "pytorch_model.bin": buffer.getvalue()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    running = Hub()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def online(hub: Hub, tmp_path: Path) -> dict[str, str]:
    recipe_of(NAME)  # what is known of it is kept, so that a process need not build it to know
    return {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "GAN_METRICS_OFFLINE": "",
        "http_proxy": "", "HTTP_PROXY": "", "all_proxy": "", "ALL_PROXY": "", "no_proxy": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "file", ["model.safetensors", pytest.param("pytorch_model.bin", marks=pytest.mark.slow)]
)
def test_fetched_once_and_recorded(
    hub: Hub, online: dict[str, str], weights: dict[str, bytes], run: Run, file: str
) -> None:
    hub.files[path_of(file)] = weights[file]
    done = run("weights", "pull", NAME, **online)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(weights[file]).hexdigest() in done.stdout
    hub.asked.clear()
    again = run("weights", "pull", NAME, **{**online, "GAN_METRICS_OFFLINE": "1"})
    assert again.stdout == done.stdout
    assert hub.asked == []  # and nobody was asked


def test_the_weights_reach_the_score(
    hub: Hub,
    online: dict[str, str],
    weights: dict[str, bytes],
    run: Run,
    folders: tuple[Path, Path],
) -> None:
    hub.files[path_of("model.safetensors")] = weights["model.safetensors"]
    hub.script = ["cut"]  # a connection that breaks in the middle is taken up
    done = run("fid", *folders, "--backbone", NAME, "--json", **online)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(weights["model.safetensors"]).hexdigest() in done.stdout
    assert '"backbone": "timm:resnet18.a1_in1k"' in done.stdout


def test_another_file_than_at_first_use_is_refused(
    hub: Hub, online: dict[str, str], weights: dict[str, bytes], run: Run, tmp_path: Path
) -> None:
    hub.files[path_of("model.safetensors")] = weights["model.safetensors"]
    assert run("weights", "pull", NAME, **online).returncode == 0
    hub.files[path_of("model.safetensors")] = weights["model.safetensors"][::-1]
    other = {**online, "HF_HOME": str(tmp_path / "elsewhere")}
    done = run("weights", "pull", NAME, **other)
    assert done.returncode == 4
    assert "changed" in done.stderr


def test_what_cannot_be_had(hub: Hub, online: dict[str, str], run: Run) -> None:
    done = run("weights", "pull", NAME, **online)
    assert done.returncode == 4
    for part in ("timm/resnet18.a1_in1k does not contain model.safetensors", "--weights"):
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    offline = run("weights", "pull", NAME, **{**online, "GAN_METRICS_OFFLINE": "1"})
    assert offline.returncode == 4
    assert "https://huggingface.co/timm/resnet18.a1_in1k" in offline.stderr


def test_a_proxy_is_asked(
    hub: Hub, online: dict[str, str], weights: dict[str, bytes], run: Run
) -> None:
    hub.files[path_of("model.safetensors")] = weights["model.safetensors"]
    through = {**online, "HF_ENDPOINT": "http://hub.invalid", "http_proxy": hub.url}
    done = run("weights", "pull", NAME, **through)
    assert done.returncode == 0, done.stderr
    assert any(path_of("model.safetensors") in path for path in hub.asked)
