"""Registered references, against a real server on loopback whose files change and are cut off."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import io
import json
import pickle
import runpy
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LITE0
from test_imports import imported

import gan_metrics as gm
from gan_metrics import demo, settings
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import GanMetricsError, MismatchError, UsageError, WeightsError
from gan_metrics.files import download
from gan_metrics.images.encode import save_png
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.stats import references
from gan_metrics.stats.files import load_stats
from gan_metrics.stats.references import (
    REFERENCES,
    ReferenceEntry,
    find_reference,
    index_path,
    open_reference,
)
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.registry import Registry

ROOT = Path(gm.__file__).parent.parent
NAME = "cifar10-train"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by path; ``script`` holds what to do to the next requests instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: list[str] = []
        self.asked: list[tuple[str, str | None]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        action = self.server.script.pop(0) if self.server.script else ""
        content = self.server.files.get(self.path.lstrip("/"))
        if action == "to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif content is None:
            self.send_error(404)
        else:
            body = content[int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 :]
            self.send_response(206 if asked else 200)
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
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


Change = Callable[..., ReferenceEntry]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Change fields of an entry, as long as the test runs."""

    def with_changes(name: str = NAME, **changes: Any) -> ReferenceEntry:
        entry = replace(references.REFERENCES[name], **changes)
        changed = Registry("reference", {**references.REFERENCES, name: entry})
        monkeypatch.setattr(references, "REFERENCES", changed)
        return entry

    return with_changes


def moments(seed: int = 0, dim: int = 6, n: int = 50) -> Moments:
    rng = np.random.default_rng(seed)
    return Moments.from_features(rng.normal(1.0, 2.0, (n, dim)))


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def published(seed: int = 0, dim: int = 6) -> bytes:
    """A file as TTUR, clean-fid and EDM publish them: mu and sigma, and not a word more."""
    made = moments(seed, dim)
    return npz(mu=made.mean, sigma=made.cov)


def home_path(entry: ReferenceEntry) -> Path:
    return settings.references_dir() / entry.filename


def put(entry: ReferenceEntry, content: bytes) -> Path:
    """Put a file where a user would by hand."""
    path = home_path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# The index.


def test_every_entry_is_well_formed() -> None:
    assert {NAME, "digits"} <= set(REFERENCES)
    assert list(REFERENCES) == sorted(REFERENCES)
    assert len(REFERENCES) == len(json.loads(index_path().read_text()))
    for name, entry in REFERENCES.items():
        assert entry.name == name
        assert entry.protocol in PROTOCOLS, name
        assert entry.urls or (index_path().parent / entry.filename).is_file(), name
        scheme = "http://bioinf.jku.at/" if name.endswith("-ttur") else "https://"
        assert all(url.startswith(scheme) for url in entry.urls), name
        assert {Path(url).suffix for url in entry.urls} <= {Path(entry.filename).suffix}, name
        assert Path(entry.filename).suffix in (".npz", ".pkl"), name
        assert entry.sha256 is not None or entry.urls, name
        assert entry.source.startswith("https://"), name
        assert entry.resolution is None or entry.resolution[0] == entry.resolution[1], name
        for size in (32, 64, 128, 256, 512, 1024):  # a size that a name or an address tells
            if f"-{size}" in name or any(f"_{size}.npz" in url for url in entry.urls):
                assert entry.resolution == (size, size), name
        if "cifar10" in name:
            assert entry.resolution == (32, 32)
            assert entry.count == (10_000 if "-test-" in name else 50_000), name
    targets = [entry.filename for entry in REFERENCES.values()]
    urls = [url for entry in REFERENCES.values() for url in entry.urls]
    assert len(set(targets)) == len(targets)
    assert len(set(urls)) == len(urls)


def test_the_index_is_sorted_and_no_name_is_there_twice() -> None:
    text = index_path().read_text(encoding="utf-8")
    assert json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n" == text


def test_the_protocols_are_those_of_the_tools() -> None:
    modes = {
        "clean": "clean-fid",
        "legacy_tensorflow": "clean-fid-legacy-tensorflow",
        "legacy_pytorch": "clean-fid-legacy-pytorch",
    }
    seen = []
    for name, entry in REFERENCES.items():
        if "clean-fid/stats" not in "".join(entry.urls):
            continue
        file = entry.urls[0].rpartition("/")[2]
        mode = next(m for m in modes if f"_{m}_" in file)
        seen.append(mode)
        assert entry.protocol == modes[mode]
        assert name.endswith("-" + mode.replace("_", "-"))
        assert file == f"{file.partition(f'_{mode}_')[0]}_{mode}_{entry.split}_" + (
            f"{entry.resolution[0]}.npz" if entry.resolution else ""
        )
    assert len(seen) == 53
    assert REFERENCES[NAME].urls == (
        "https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/cifar10-32x32.npz",
    )
    expected = {"edm": "edm2", "edm2": "edm2", "adm": "adm", "ttur": "tf1"}
    for name, entry in REFERENCES.items():
        tool = name.removesuffix("-baseline").rpartition("-")[2]
        assert entry.protocol == expected.get(tool, entry.protocol), name


def test_clean_fid_itself_asks_for_the_same_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cleanfid")
    from cleanfid import features

    asked: list[str] = []

    def no_download(local_folder: str, url: str) -> str:
        asked.append(url.replace("stats//", "stats/"))
        raise FileNotFoundError

    monkeypatch.setattr(features, "check_download_url", no_download)
    for entry in REFERENCES.values():
        if "clean-fid/stats" in "".join(entry.urls):
            mode = entry.protocol.removeprefix("clean-fid-").replace("-", "_")
            mode = "clean" if mode == "clean_fid" else mode
            data = entry.urls[0].rpartition("/")[2].partition(f"_{mode}_")[0]
            assert entry.resolution
            with pytest.raises(FileNotFoundError):
                features.get_reference_statistics(
                    data.upper(), entry.resolution[0], mode=mode, split=entry.split
                )
            assert asked[-1] == entry.urls[0]


@pytest.mark.parametrize("name", sorted({e.protocol for e in REFERENCES.values()}))
def test_the_feature_space_is_what_a_command_with_that_protocol_computes(name: str) -> None:
    for entry in REFERENCES.values():
        if entry.protocol == name:
            weights = None if entry.backbone == LITE0 else "random"
            choice = choose_backbone(
                entry.backbone, layer=entry.layer, protocol=name, weights=weights
            )
            assert entry.spec.differences(choice.spec) == ()
            assert {"backbone", "layer", "pool", "departures"}.isdisjoint(entry.spec.unstated())


def edited(name: str = NAME, drop: str = "", **changes: Any) -> Any:
    index = json.loads(index_path().read_text())
    index[name].update(changes)
    index[name].pop(drop, None)
    return index


BROKEN = {
    "Expecting": "{",
    "holds a list": "[]",
    "is not a valid name": lambda: {"Bad Name": {}},
    "is a list, not an object": lambda: {"a": []},
    "lacks layer": lambda: edited(drop="layer"),
    "unknown fields code": lambda: edited(code="os.system"),
    "expected the name of a protocol": lambda: edited(protocol="edm"),
    "urls of cifar10-train": lambda: edited(urls=["file:///etc/passwd"]),
    "expected a list of http": lambda: edited(urls="https://example.org/a.npz"),
    "dim of cifar10-train": lambda: edited(dim=True),
    "count of cifar10-train": lambda: edited(count=0),
    "resolution of cifar10-train": lambda: edited(resolution=[32]),
    "keys of cifar10-train": lambda: edited(keys=["sigm"]),
    "expected names out of": lambda: edited(keys=[]),
    "pool of cifar10-train": lambda: edited(pool=None),
    "sha256 of cifar10-train": lambda: edited(sha256="ABC"),
    "terms of cifar10-train": lambda: edited(terms=""),
    "source of cifar10-train": lambda: edited(source="somewhere"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_index_is_told(fault: str, tmp_path: Path, monkeypatch: Any) -> None:
    made = BROKEN[fault]
    path = tmp_path / "index.json"
    path.write_text(made if isinstance(made, str) else json.dumps(made()))
    monkeypatch.setattr(references, "index_path", lambda: path)
    with pytest.raises(GanMetricsError, match=fault) as caught:
        list(Registry("reference", references.read_index))
    assert caught.value.exit_code == 1
    assert str(path) in str(caught.value)
    assert "reinstall gan-metrics" in str(caught.value)


def test_the_index_is_looked_for_in_the_package_first(tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "gan_metrics"
    monkeypatch.setattr(references, "__file__", str(package / "stats" / "references.py"))
    with pytest.raises(GanMetricsError, match="index of references is missing"):
        index_path()
    for folder in (tmp_path, package):
        place = folder / "reference_stats" / "index.json"
        place.parent.mkdir(parents=True)
        place.write_text("{}")
        assert index_path() == place


def test_an_unknown_name() -> None:
    for name in ("cifar10", "../pins", "ref:digits", ""):
        with pytest.raises(UsageError, match="unknown reference"):
            open_reference(name)
    with pytest.raises(UsageError, match="Did you mean cifar10-train"):
        find_reference("cifar10")


# Fetching.


def test_it_is_fetched_once(server: Server, change: Change) -> None:
    entry = change(urls=(server.url("c.npz"),), dim=6)
    server.files["c.npz"] = published()
    heard: list[tuple[str, int, int]] = []
    path = find_reference(NAME, progress=lambda *a: heard.append(a))
    assert path == home_path(entry) == settings.home_dir() / "references" / "cifar10-train.npz"
    assert path.read_bytes() == server.files["c.npz"]
    assert heard[-1][1:] == (len(server.files["c.npz"]),) * 2
    assert find_reference(NAME) == path
    opened = open_reference(NAME)
    np.testing.assert_array_equal(opened.statistics.moments.mean, moments().mean)
    assert len(server.asked) == 1
    sha256 = hashlib.sha256(server.files["c.npz"]).hexdigest()
    assert json.loads(settings.pins_file().read_text()) == {"reference/cifar10-train": sha256}


def test_a_change_at_the_server_or_on_the_disk_is_refused(server: Server, change: Change) -> None:
    entry = change(urls=(server.url("c.npz"),), dim=6)
    server.files["c.npz"] = published(0)
    open_reference(NAME)
    path = find_reference(NAME)
    path.write_bytes(published(1))
    with pytest.raises(WeightsError, match="reference/cifar10-train changed") as caught:
        open_reference(NAME)
    assert str(path) in str(caught.value)
    assert str(settings.pins_file()) in str(caught.value)
    path.unlink()
    server.files["c.npz"] = published(2)
    with pytest.raises(WeightsError, match="changed"):
        find_reference(NAME)
    path.unlink()
    server.files["c.npz"] = published(0)
    assert find_reference(NAME) == home_path(entry)


def test_a_known_sum_is_held_to(server: Server, change: Change) -> None:
    content = published()
    entry = change(urls=(server.url("c.npz"),), dim=6, sha256=hashlib.sha256(content).hexdigest())
    server.files["c.npz"] = published(1)
    with pytest.raises(WeightsError, match="deleted"):
        find_reference(NAME)
    assert not home_path(entry).exists()
    server.files["c.npz"] = content
    assert find_reference(NAME).read_bytes() == content
    home_path(entry).write_bytes(published(1))
    with pytest.raises(WeightsError, match="damaged or not the file") as caught:
        find_reference(NAME)
    assert f"Delete it to download it again from {entry.urls[0]}" in str(caught.value)
    assert not settings.pins_file().exists()


@pytest.mark.parametrize("known", [True, False])
def test_what_was_cut_off_is_resumed_if_its_hash_is_known(
    server: Server, change: Change, known: bool
) -> None:
    content = published()
    change(
        urls=(server.url("c.npz"),),
        dim=6,
        sha256=hashlib.sha256(content).hexdigest() if known else None,
    )
    server.files["c.npz"] = content
    server.script = ["cut", "cut"]
    assert find_reference(NAME).read_bytes() == content
    assert [asked is not None for _, asked in server.asked] == [False, known, known]


def test_all_addresses_are_tried_and_told(server: Server, change: Change) -> None:
    urls = (server.url("gone.npz"), server.url("page.npz"), server.url("c.npz"))
    entry = change(urls=urls, dim=6)
    server.files["page.npz"] = b"<html>Please log in</html>"
    with pytest.raises(WeightsError) as caught:
        find_reference(NAME)
    for part in (f"{urls[0]}: HTTP 404", f"{urls[1]}: ", "<html>", "deleted", f"or {urls[2]}"):
        assert part in str(caught.value)
    assert not home_path(entry).exists()
    server.files["c.npz"] = published()  # the page was not pinned
    assert find_reference(NAME).read_bytes() == published()


def test_a_redirect_to_a_local_file_is_refused(server: Server, change: Change) -> None:
    entry = change(urls=(server.url("c.npz"),))
    server.files["c.npz"] = published()
    server.script = ["to-file"] * 9
    with pytest.raises(WeightsError, match="unavailable"):
        find_reference(NAME)
    assert not home_path(entry).exists()
    assert not Path(f"{home_path(entry)}.part").exists()


def test_offline_the_message_gives_the_address_and_the_place(monkeypatch: Any) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_socket)
    with pytest.raises(WeightsError) as caught:
        find_reference(NAME)
    assert caught.value.exit_code == 4
    lines = str(caught.value).splitlines()
    entry = REFERENCES[NAME]
    assert f"  {entry.urls[0]}: GAN_METRICS_OFFLINE=1 forbids connections" in lines
    at = lines.index("On a machine with network access, download this file:")
    assert lines[at + 1 :] == [
        f"  {entry.urls[0]}",
        "and save it under this path:",
        f"  {settings.home_dir() / 'references' / 'cifar10-train.npz'}",
    ]


def test_a_known_sum_is_told_where_the_file_is_missing(change: Change) -> None:
    change(sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"Its sha256 must be {'0' * 64}"):
        find_reference(NAME)


def test_a_file_put_there_by_hand_is_found_and_pinned(change: Change) -> None:
    entry = change(dim=6)
    path = put(entry, b"<html>Please log in</html>")
    with pytest.raises(WeightsError, match=r"not an \.npz archive"):
        find_reference(NAME)
    assert not settings.pins_file().exists()
    put(entry, published())
    assert find_reference(NAME) == path
    assert not settings.pins_file().exists()  # only what was read whole is pinned
    open_reference(NAME)
    put(entry, published(1))
    with pytest.raises(WeightsError, match="changed"):
        find_reference(NAME)


def test_a_page_in_place_of_a_pickle(change: Change) -> None:
    path = put(REFERENCES["imagenet-64-edm2"], b"<html>")
    assert path.name == "imagenet-64-edm2.pkl"
    with pytest.raises(WeightsError, match="is not a pickle"):
        open_reference("imagenet-64-edm2")


# What the index says beside the file.


def test_the_index_fills_what_the_file_leaves_open(change: Change) -> None:
    put(change(dim=6), published())
    reference = open_reference(NAME)
    assert reference.statistics.description == "ref:cifar10-train"
    assert reference.images is None
    assert list(reference.statistics.kinds) == ["features"]
    found = reference.statistics
    assert found.spec == FeatureSpec(
        backbone="inception",
        layer="pool3",
        pool="avg",
        preprocess=PROTOCOLS["stylegan3"].template().preprocess,
        departures=(),
    )
    assert found.declared == ("backbone", "layer", "pool", "preprocess", "departures")
    assert found.protocol == "edm2"
    assert found.moments.n == 50_000
    assert found.resolution == (32, 32)
    assert found.description == "ref:cifar10-train"
    np.testing.assert_array_equal(found.moments.cov, load_stats(find_reference(NAME)).moments.cov)


def test_what_the_index_does_not_know_stays_open(change: Change) -> None:
    put(change("lsun-bedroom-train-ttur", dim=6), published())
    found = open_reference("lsun-bedroom-train-ttur").statistics
    assert found.moments.n is None
    assert found.resolution is None
    assert found.protocol == "tf1"


def big(seed: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=dim), np.diag(rng.uniform(1.0, 2.0, dim))


def test_adm_s_files_with_their_images() -> None:
    mu, sigma = big(0, 2048)
    mu_s, sigma_s = big(1, 2023)
    images = np.random.default_rng(2).integers(0, 256, (5, 64, 64, 3), np.uint8)
    parts = {"arr_0": images, "mu": mu, "sigma": sigma, "mu_s": mu_s, "sigma_s": sigma_s}
    name = "imagenet-64-adm"
    path = put(REFERENCES[name], npz(**parts))
    reference = open_reference(name)
    assert set(reference.statistics.kinds) == {"features", "spatial"}
    for kind, mean, layer in (("features", mu, "pool3"), ("spatial", mu_s, "spatial")):
        found = reference.statistics.kinds[kind]
        np.testing.assert_array_equal(found.moments.mean, mean)
        assert found.moments.n == 1_281_167
        assert found.resolution == (64, 64)
        assert (found.spec.backbone, found.spec.layer) == ("inception", layer)
        assert found.declared == ("backbone", "layer", "pool", "preprocess", "departures")
        assert found.description == "ref:imagenet-64-adm"
        assert found.protocol == "adm"
    assert reference.images is not None
    assert len(reference.images.names) == 5
    settings.pins_file().unlink(missing_ok=True)
    path.write_bytes(npz(**{**parts, "arr_0": images[:, :32, :32]}))
    with pytest.raises(MismatchError, match=r"resolution: \(32, 32\) — \(64, 64\)"):
        open_reference(name)
    settings.pins_file().unlink(missing_ok=True)
    path.write_bytes(npz(**{k: parts[k] for k in ("mu", "sigma", "mu_s", "sigma_s")}))
    with pytest.raises(
        WeightsError, match="contains features, spatial; the index states features, im"
    ):
        open_reference(name)
    settings.pins_file().unlink(missing_ok=True)
    path.write_bytes(npz(**{**parts, "mu_s": mu_s[:7], "sigma_s": sigma_s[:7, :7]}))
    with pytest.raises(WeightsError, match=r"mu_s has 7 dimensions"):
        open_reference(name)


def test_edm2_s_pickles() -> None:
    (mu, sigma), (mu_d, sigma_d) = big(0, 2048), big(1, 1024)
    held = {
        "num_images": 1234,
        "fid": {"mu": mu, "sigma": sigma},
        "fd_dinov2": {"mu": mu_d, "sigma": sigma_d},
    }
    name = "imagenet-512-edm2"
    put(REFERENCES[name], pickle.dumps(held))
    found = open_reference(name).statistics.kinds
    assert set(found) == {"features", "dinov2"}
    np.testing.assert_array_equal(found["dinov2"].moments.mean, mu_d)
    assert found["dinov2"].spec.backbone == "dinov2-vitl14"
    for statistics in found.values():
        assert statistics.moments.n == 1234
        assert statistics.protocol == "edm2"
        assert statistics.resolution == (512, 512)


def test_a_file_of_another_kind_is_refused(change: Change) -> None:
    entry = change(dim=6)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    made = moments()
    put(entry, npz(arr_0=images, mu=made.mean, sigma=made.cov))
    with pytest.raises(WeightsError, match="contains features, images; the index states features"):
        open_reference(NAME)


def test_other_dimensions_are_refused(change: Change) -> None:
    put(REFERENCES[NAME], published(dim=6))
    with pytest.raises(WeightsError, match="have 6 dimensions; expected 2048") as caught:
        open_reference(NAME)
    assert "Delete it" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (npz(mu=np.full(6, np.nan), sigma=np.eye(6)), "NaN"),
        (npz(mu=np.zeros(6), sigma=np.triu(np.ones((6, 6)))), "not symmetric"),
        (npz(mean=np.zeros(6)), "no mu"),
        (npz(mu=np.array([None] * 6), sigma=np.eye(6)), "never loaded"),
    ],
)
def test_a_broken_file_is_told_as_a_fault_of_the_statistics(
    content: bytes, fault: str, change: Change
) -> None:
    entry = change(dim=6)
    path = put(entry, content)
    with pytest.raises(WeightsError, match=fault) as caught:
        open_reference(NAME)
    assert caught.value.exit_code == 4
    assert "ref:cifar10-train" in str(caught.value)
    assert str(path) in str(caught.value)


def ours(entry: ReferenceEntry, **changes: Any) -> Statistics:
    """Statistics of our own with a header that agrees with an entry, but for some changes."""
    agreeing = Statistics(
        moments=moments(n=50),
        spec=replace(entry.spec, weights_sha256="a" * 64, precision="fp32"),
        protocol=entry.protocol,
        resolution=entry.resolution,
    )
    spec = replace(agreeing.spec, **changes.pop("spec", {}))
    return replace(agreeing, spec=spec, **changes)


def test_a_header_comes_first_where_it_agrees(change: Change) -> None:
    entry = change(dim=6, count=50)
    path = put(entry, b"")
    ours(entry).save(path)
    found = open_reference(NAME).statistics
    assert found.spec == ours(entry).spec
    assert found.declared == ()
    assert found.moments.n == 50


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"spec": {"layer": "192"}}, "layer: 192 — pool3"),
        ({"spec": {"backbone": "resnet50"}}, "backbone: resnet50 — inception"),
        ({"spec": {"departures": (("alpha", "white"),)}}, "departures"),
        ({"protocol": "tf1"}, "protocol: tf1 — edm2"),
        ({"resolution": (64, 64)}, r"resolution: \(64, 64\) — \(32, 32\)"),
        ({"moments": moments(n=49)}, "n: 49 — 50"),
    ],
)
def test_a_header_that_disagrees_is_refused(
    changes: dict[str, Any], fault: str, change: Change
) -> None:
    entry = change(dim=6, count=50)
    ours(entry, **changes).save(put(entry, b""))
    with pytest.raises(MismatchError, match=fault) as caught:
        open_reference(NAME)
    assert "disagree on ref:cifar10-train" in str(caught.value)


# The one that comes with the package.


def digits_folder(folder: Path, some: slice = slice(None)) -> Path:
    """The images that the shipped reference is of, by its own script, or some of them."""
    script = runpy.run_path(str(ROOT / "reference_stats" / "digits.py"))
    loaded = script["load_digits"]()
    loaded.images = loaded.images[some]
    script["write"].__globals__["load_digits"] = lambda: loaded
    script["write"](folder)
    return folder


def test_the_shipped_reference_opens_offline_without_torch() -> None:
    code = (
        "from gan_metrics.stats.references import open_reference\n"
        "assert open_reference('digits').statistics.moments.dim == 320\n"
    )
    assert imported(code, "torch", "sklearn", "numpy") == {"numpy"}


def test_the_shipped_reference_is_what_the_index_says() -> None:
    path = find_reference("digits")
    assert not settings.pins_file().exists()
    entry = REFERENCES["digits"]
    assert path.parent == index_path().parent
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert path.stat().st_size < 900_000
    found = open_reference("digits").statistics
    assert (found.moments.n, found.moments.dim) == (1797, 320)
    assert (found.spec.backbone, found.spec.layer) == (LITE0, "blocks.6")
    assert found.spec.unstated() == ()
    assert found.spec == choose_backbone(LITE0, layer="blocks.6").spec
    assert found.declared == ()
    assert found.resolution == (32, 32)
    assert found.description == "ref:digits"
    with np.load(path) as arrays:
        assert set(arrays.files) == set(entry.keys)
        header = json.loads(str(arrays["header"]))
    assert header["feature_spec"]["fingerprint"] == found.spec.fingerprint()


def test_a_damaged_or_missing_shipped_file_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("index.json", "digits.npz"):
        (tmp_path / name).write_bytes((index_path().parent / name).read_bytes())
    content = bytearray((tmp_path / "digits.npz").read_bytes())
    content[5000] ^= 1
    monkeypatch.setattr(references, "index_path", lambda: tmp_path / "index.json")
    find_reference("digits")
    (tmp_path / "digits.npz").write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged or not the file.*\n.*reinstall gan-metrics"):
        open_reference("digits")
    (tmp_path / "digits.npz").unlink()
    with pytest.raises(WeightsError, match="unavailable") as caught:
        open_reference("digits")
    assert "reinstall gan-metrics" in str(caught.value)
    assert "download" not in str(caught.value)


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo fit the quickest of its models alone."""
    name = "independent-pixels"
    monkeypatch.setattr(demo, "MODELS", {name: demo.MODELS[name]})


@pytest.mark.usefixtures("one_model")
def test_the_demo_s_digits_are_among_those_of_the_script(tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "digits")
    files = {path.read_bytes() for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == 1797
    for i, image in enumerate(demo._draw_sets()["real"][:50]):
        save_png(tmp_path / f"{i}.png", image)
        assert (tmp_path / f"{i}.png").read_bytes() in files


@pytest.mark.usefixtures("one_model")
def test_digits_are_near_the_reference_and_noise_is_far(tmp_path: Path) -> None:
    reference = open_reference("digits").statistics
    digits = gm.extract_features(
        digits_folder(tmp_path / "near", slice(0, 1797, 18)), backbone=LITE0, layer="blocks.6"
    )
    near = gm.fid(reference, digits)
    for i, image in enumerate(demo._draw_sets()["independent-pixels"][:40]):
        save_png(tmp_path / "far" / f"{i:03d}.png", image)
    far = gm.fid(reference, tmp_path / "far")
    assert near.n_real == 1797
    assert near.n_fake == 100
    assert near.metric == "fd"
    assert near.value < 25  # measured: 14, nearly all of it for the small sample
    apart = digits.array.mean(axis=0, dtype=np.float64) - reference.moments.mean
    spread = np.sqrt(np.diag(reference.moments.cov))
    correlation = reference.moments.cov / np.outer(spread, spread)
    deviation = np.sqrt(2 * np.square(correlation).sum()) / len(spread)
    squares = np.mean(np.square(apart / spread)) * 100  # of a random sample: 1 ± deviation
    assert squares < 1 + 2 * deviation
    assert far.value > 120  # measured: 185
    small = tmp_path / "small"
    save_png(small / "a.png", np.zeros((8, 8), np.uint8))
    save_png(small / "b.png", np.ones((8, 8), np.uint8))
    with pytest.raises(MismatchError, match="32×32"):
        gm.fid(reference, small)


@pytest.mark.slow
def test_the_shipped_reference_computed_anew(tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "digits")
    shipped = open_reference("digits").statistics
    anew = gm.compute_stats(folder, backbone=LITE0, layer="blocks.6")
    assert anew.spec == shipped.spec
    assert anew.moments.n == shipped.moments.n
    assert anew.source["digest"] == shipped.source["digest"]
    scale = float(np.abs(shipped.moments.cov).max())
    np.testing.assert_allclose(anew.moments.mean, shipped.moments.mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(anew.moments.cov, shipped.moments.cov, rtol=0, atol=1e-5 * scale)
    assert gm.fid(shipped, anew).value < 1e-4


# In the wheel.

SHIPPED = ["digits.npz", "index.json"]


def test_the_wheel_and_the_sdist_are_told_of_the_shipped_files() -> None:
    tomllib = pytest.importorskip("tomllib")
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    targets = targets["targets"]
    assert targets["wheel"]["force-include"] == {
        f"reference_stats/{name}": f"gan_metrics/reference_stats/{name}" for name in SHIPPED
    }
    assert "reference_stats" in targets["sdist"]["include"]
    folder = ROOT / "reference_stats"
    shipped = sorted({e.filename for e in REFERENCES.values() if not e.urls} | {"index.json"})
    assert shipped == SHIPPED
    assert [name for name in SHIPPED if not (folder / name).is_file()] == []


@pytest.mark.skipif(not importlib.util.find_spec("hatchling"), reason="no hatchling to build with")
def test_the_wheel_holds_them(tmp_path: Path) -> None:
    command = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for name in SHIPPED:
            inside = wheel.read(f"gan_metrics/reference_stats/{name}")
            assert inside == (ROOT / "reference_stats" / name).read_bytes()
