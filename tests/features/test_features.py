"""From a folder to features: order, faults, cache, resume."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LITE0, TINY
from data import crops, same_features, write_folder
from narrow import SHARE
from PIL import Image

import gan_metrics as gm
from gan_metrics.backbones.multi_space import Embedder
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import (
    ComputationError,
    ImageError,
    InputError,
    ResourceError,
    UsageError,
)
from gan_metrics.features import extraction as extraction_module
from gan_metrics.features.cache import FeatureCache, chunk_key
from gan_metrics.features.chunks import ExtractionOptions
from gan_metrics.features.extraction import extract
from gan_metrics.features.features import Features
from gan_metrics.files import growing_array as rows_module
from gan_metrics.images import pipeline
from gan_metrics.images.loader import load
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.opening import open_object, open_source
from gan_metrics.inputs.options import Options
from gan_metrics.protocols.spec import Decoding

pytestmark = pytest.mark.usefixtures("coarse_lite0")


class Network:
    """A small network, loaded at most once, that counts what it embeds."""

    def __init__(self, weights: Path, **choice: str) -> None:
        self.choice = choose_backbone(TINY, weights=weights, **choice)
        self.embedder: Embedder | None = None
        self.embedded = 0

    def __call__(self) -> Embedder:
        if self.embedder is None:
            self.embedder = Embedder("cpu")
            inner = self.embedder.embed

            def embed(groups: list[torch.Tensor], wanted: list[FeatureSpace]) -> list[torch.Tensor]:
                self.embedded += sum(map(len, groups))
                return inner(groups, wanted)

            self.embedder.embed = embed  # type: ignore[method-assign]
        return self.embedder

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self().embed([images], [self.choice])[0]

    def extract(self, source: Path | ImageSource, **how: object) -> Features:
        opened = open_source(source) if isinstance(source, Path) else source
        return extract(opened, [self.choice], self, ExtractionOptions(**how))[0]


@pytest.fixture(scope="module")
def network(tiny_weights: Path) -> Network:
    return Network(tiny_weights)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction_module, "CHUNK", 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", crops(12, seed=1))


def test_features_are_those_of_the_backbone_in_the_order_of_the_names(
    network: Network, folder: Path
) -> None:
    found = network.extract(folder)
    assert list(found.names) == [f"{i:04d}.png" for i in range(12)]
    for name, row in zip(found.names, found.array, strict=True):
        image = torch.from_numpy(np.array(Image.open(folder / name))).permute(2, 0, 1)[None]
        expected = network.features(image)[0].numpy()
        same_features(row, expected)
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.moments.mean, found.array.astype(float).mean(0))
    assert found.moments.n == 12


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_workers_and_chunks_change_nothing(
    network: Network, folder: Path, batch_size: int, workers: int, tmp_path: Path
) -> None:
    plain = network.extract(folder, batch_size=3)
    other = network.extract(
        folder, batch_size=batch_size, workers=workers, cache=FeatureCache(tmp_path / "cache")
    )
    assert other.names == plain.names
    assert other.digest == plain.digest
    same_features(other.array, plain.array)


@pytest.mark.usefixtures("small_chunks")
def test_a_second_look_embeds_nothing(network: Network, folder: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    first = network.extract(folder, cache=cache)
    before = network.embedded

    def no_network() -> Embedder:
        raise AssertionError("the network was asked for")

    again = extract(
        open_source(folder), [network.choice], no_network, ExtractionOptions(cache=cache)
    )[0]
    assert network.embedded == before
    np.testing.assert_array_equal(again.array, first.array)
    np.testing.assert_array_equal(again.moments.cov, first.moments.cov)
    assert (again.names, again.digest, again.tally) == (
        first.names,
        first.digest,
        first.tally,
    )


@pytest.mark.usefixtures("small_chunks")
def test_only_what_changed_is_embedded_again(
    network: Network, folder: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    network.extract(folder, cache=cache)
    shutil.copytree(folder, tmp_path / "moved")  # another place, the same content
    before = network.embedded
    network.extract(tmp_path / "moved", cache=cache)
    assert network.embedded == before
    shutil.copy(folder / "0000.png", folder / "0007.png")
    changed = network.extract(folder, cache=cache)
    assert network.embedded == before + 5
    np.testing.assert_array_equal(changed.array[7], changed.array[0])


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [0, 1])
def test_gaps_between_kept_chunks_are_filled(
    network: Network, tmp_path: Path, workers: int
) -> None:
    folder = write_folder(tmp_path / "images", crops(43, seed=1, low=32, high=40))
    cache = FeatureCache(tmp_path / "cache")
    first = network.extract(folder, cache=cache)
    for gone in ({0}, {8}, {1, 2, 5}, {0, 3, 4, 7, 8}, set(range(9))):
        keys = [
            chunk_key(network.choice.spec, network.choice.decoding,
                      [hashlib.sha256((folder / n).read_bytes()).digest()
                       for n in first.names[i : i + 5]])
            for i in range(0, 43, 5)
        ]  # fmt: skip
        for i in gone:
            cache._path(keys[i]).unlink()
        before = network.embedded
        again = network.extract(folder, cache=cache, batch_size=3, workers=workers)
        assert network.embedded - before == sum(len(first.names[5 * i : 5 * i + 5]) for i in gone)
        assert again.names == first.names
        assert again.digest == first.digest
        same_features(again.array, first.array)


@pytest.mark.usefixtures("small_chunks")
def test_a_corrupt_chunk_is_computed_again(network: Network, folder: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    first = network.extract(folder, cache=cache)
    for path in sorted(cache.root.glob("*/*.npz"))[:2]:
        path.write_bytes(path.read_bytes()[:-40])
    again = network.extract(folder, cache=cache)
    same_features(again.array, first.array)


def test_another_way_of_decoding_is_another_key(
    tmp_path: Path, network: Network, tiny_weights: Path
) -> None:
    rgba = np.dstack([crops(1, 0)[0], np.full(crops(1, 0)[0].shape[:2], 90, np.uint8)])
    folder = write_folder(tmp_path / "images", [rgba] * 2)
    cache = FeatureCache(tmp_path / "cache")
    dropped = network.extract(folder, cache=cache)
    white = Network(tiny_weights, alpha="white").extract(folder, cache=cache)
    assert not np.allclose(dropped.array, white.array)
    assert dropped.spec.fingerprint() != white.spec.fingerprint()
    assert [code for code, _ in dropped.warnings] == ["alpha-dropped"]
    assert list(white.warnings) == []
    again = network.extract(folder, cache=cache)  # from the cache, and still said
    assert [code for code, _ in again.warnings] == ["alpha-dropped"]


BAD = {
    "empty.png": b"",
    "text.jpg": b"hello",
    "cut.png": None,
}


def spoil(folder: Path) -> None:
    whole = (folder / "0003.png").read_bytes()
    for name, data in BAD.items():
        (folder / name).write_bytes(whole[: len(whole) // 2] if data is None else data)


@pytest.mark.parametrize("cached", [False, True])
def test_a_bad_image_stops_the_run_by_name(
    network: Network, folder: Path, tmp_path: Path, cached: bool
) -> None:
    spoil(folder)
    cache = FeatureCache(tmp_path / "cache") if cached else None
    for _ in range(2):
        with pytest.raises(ImageError, match=r"images/cut\.png.*--on-error skip"):
            network.extract(folder, cache=cache)


@pytest.mark.usefixtures("small_chunks")
def test_bad_images_are_left_out_counted_and_listed(
    network: Network, folder: Path, tmp_path: Path
) -> None:
    good = network.extract(folder)
    spoil(folder)
    cache = FeatureCache(tmp_path / "cache")
    for _ in range(2):
        found = network.extract(folder, on_error="skip", cache=cache)
        assert [name for name, _ in found.skipped] == sorted(BAD)
        assert all(reason for _, reason in found.skipped)
        assert list(found.names) == list(good.names)
        same_features(found.array, good.array)
        assert found.moments.n == 12
        assert "skipped-images" in [code for code, _ in found.warnings]


@pytest.mark.usefixtures("small_chunks")
def test_an_image_that_can_be_decoded_now_is_not_left_out(
    network: Network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the installation of a library with another codec: same bytes, another outcome."""
    cache = FeatureCache(tmp_path / "cache")
    real_decode, victim = pipeline.decode, (folder / "0001.png").read_bytes()

    def picky(data: bytes, decoding: Decoding) -> object:
        if data == victim:
            raise ImageError("no codec")
        return real_decode(data, decoding)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "decode", picky)
        assert len(network.extract(folder, on_error="skip", cache=cache).names) == 11
        before = network.embedded
        assert len(network.extract(folder, on_error="skip", cache=cache).names) == 11
        assert network.embedded == before
    assert len(network.extract(folder, on_error="skip", cache=cache).names) == 12
    assert network.embedded == before + 1


def test_the_score_does_not_depend_on_the_batch(folders: tuple[Path, Path]) -> None:
    scores = [
        float(gm.fid(*folders, backbone=LITE0, cache=False, batch_size=size, workers=workers))
        for size, workers in ((1, 0), (7, 0), (64, 2))
    ]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-6)


def test_nothing_left_is_an_error(network: Network, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ComputationError, match="none of 1 images"):
        network.extract(tmp_path, on_error="skip")


class Changing:
    """A source whose bytes change between two reads of the same image."""

    description, warnings = "a changing source", ()

    def __init__(self, folder: Path) -> None:
        self.inner = open_source(folder)
        self.names = self.inner.names
        self.reads: dict[int, int] = {}

    def read(self, index: int) -> bytes:
        self.reads[index] = self.reads.get(index, 0) + 1
        return self.inner.read((index + (self.reads[index] > 1 and index == 3)) % len(self.names))


def test_a_file_that_changes_between_two_reads_is_an_error(
    network: Network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_HELD_BYTES", 0)  # so that images are read twice
    with pytest.raises(InputError, match=r"'0003.png'.*changed while it was read"):
        network.extract(Changing(folder), cache=FeatureCache(tmp_path / "cache"))


class Logging:
    """A source that notes each read of an image, in whichever process it happens."""

    def __init__(self, inner: ImageSource, log: Path) -> None:
        self.inner, self.log = inner, log
        self.description, self.names, self.warnings = inner.description, inner.names, ()

    def read(self, index: int) -> bytes:
        with open(self.log, "a") as file:
            file.write(f"{index}\n")
        return self.inner.read(index)

    def reads(self) -> list[int]:
        found = sorted(map(int, self.log.read_text().split()))
        self.log.unlink()
        return found


def sources(folder: Path, tmp_path: Path) -> dict[str, ImageSource]:
    """One set of images as a folder, a zip, a tar, and a dataset whose images differ each time."""
    shutil.make_archive(str(tmp_path / "set"), "zip", folder)
    shutil.make_archive(str(tmp_path / "set"), "tar", folder)
    rng = np.random.default_rng(0)

    class Augmented:
        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> np.ndarray:
            return rng.integers(0, 256, (16, 16, 3), np.uint8)

    return {
        "folder": open_source(folder),
        "zip": open_source(tmp_path / "set.zip"),
        "tar": open_source(tmp_path / "set.tar"),
        "dataset": open_object(Augmented(), Options()),
    }


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "dataset"])
def test_an_image_is_read_once_whatever_the_cache_holds(
    network: Network, folder: Path, tmp_path: Path, kind: str, workers: int
) -> None:
    source = Logging(sources(folder, tmp_path)[kind], tmp_path / "reads")
    cache = FeatureCache(tmp_path / "cache")
    how: dict[str, Any] = {"workers": workers, "batch_size": 4}
    for given in (None, cache, cache):  # no cache, nothing in it, everything in it
        found = network.extract(source, cache=given, **how)
        assert source.reads() == list(range(12))
        assert len(found.names) == 12
    for path in sorted(cache.root.glob("*/*.npz"))[:1]:
        path.unlink()
    network.extract(source, cache=cache, **how)
    assert source.reads() == list(range(12))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [0, 2])
def test_what_does_not_fit_into_memory_is_read_again(
    network: Network, folder: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = network.extract(folder)
    sizes = [(folder / name).stat().st_size for name in plain.names]
    monkeypatch.setattr(pipeline, "_HELD_BYTES", sum(sizes[:3]))
    source = Logging(open_source(folder), tmp_path / "reads")
    cache = FeatureCache(tmp_path / "cache")
    found = network.extract(source, cache=cache, workers=workers, batch_size=4)
    counts = Counter(source.reads())
    assert set(counts) == set(range(12))
    assert counts[0] == counts[1] == counts[2] == 1
    assert counts[3] == counts[4] == 2
    assert max(counts.values()) == 2
    assert found.digest == plain.digest
    np.testing.assert_allclose(found.array, plain.array, atol=1e-5 * np.abs(plain.array).max())


def test_an_image_that_cannot_be_read_is_asked_for_once(
    network: Network, folder: Path, tmp_path: Path
) -> None:
    (folder / "0002.png").unlink()
    (folder / "0002.png").symlink_to(tmp_path / "gone.png")
    source = Logging(open_source(folder), tmp_path / "reads")
    found = network.extract(source, on_error="skip", cache=FeatureCache(tmp_path / "cache"))
    assert source.reads() == list(range(12))
    assert found.skipped == [("0002.png", "cannot read it: No such file or directory")]


@pytest.mark.usefixtures("small_chunks")
def test_a_failure_to_read_is_not_kept(network: Network, folder: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    (folder / "0002.png").rename(tmp_path / "away.png")
    (folder / "0002.png").symlink_to(tmp_path / "gone.png")
    found = network.extract(folder, on_error="skip", cache=cache)
    assert [name for name, _ in found.skipped] == ["0002.png"]
    (folder / "0002.png").unlink()
    (tmp_path / "away.png").rename(folder / "0002.png")
    assert len(network.extract(folder, on_error="skip", cache=cache).names) == 12


def test_a_cache_that_cannot_be_written_to_costs_a_warning(
    network: Network, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "features").write_text("in the way")
    found = network.extract(folder, cache=FeatureCache(tmp_path))
    assert [code for code, _ in found.warnings] == ["cache-not-written"]
    assert len(found.names) == 12


def test_a_seeded_draw(network: Network, folder: Path) -> None:
    one = network.extract(folder, max_images=5, seed=3)
    assert len(one.names) == 5
    assert list(one.names) == sorted(one.names)
    assert network.extract(folder, max_images=5, seed=3).names == one.names
    others = [network.extract(folder, max_images=5, seed=s).names for s in range(4, 8)]
    assert any(names != one.names for names in others)
    assert len(network.extract(folder, max_images=99).names) == 12


def test_many_features_go_to_a_file_without_a_name(
    network: Network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = network.extract(folder)
    monkeypatch.setattr(rows_module, "_IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    mapped = network.extract(folder)
    assert isinstance(mapped.array, np.memmap)
    same_features(mapped.array, plain.array)
    assert not list((tmp_path / "temporary").iterdir())


def test_no_room_for_features_is_said_at_once(
    network: Network, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows_module, "_IN_MEMORY", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(ResourceError, match="TMPDIR"):
        network.extract(folder)


def test_features_that_are_not_finite_name_the_image(network: Network, folder: Path) -> None:
    embedder = network()
    inner = embedder.embed
    calls = []

    def poisoned(groups: list[torch.Tensor], wanted: list[FeatureSpace]) -> list[torch.Tensor]:
        calls.append(1)
        out = inner(groups, wanted)[0].clone()
        if len(calls) == 2:
            out[0, 3] = float("nan")
        return [out]

    embedder.embed = poisoned  # type: ignore[method-assign]
    try:
        with pytest.raises(ComputationError, match=r"0001\.png"):
            network.extract(folder, batch_size=1, workers=0)
    finally:
        embedder.embed = inner  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 0}, "batch_size must be .* not 0"),
        ({"workers": -1}, "workers must be .* not -1"),
        ({"max_images": 0}, "max_images must be .* not 0"),
        ({"on_error": "ignore"}, "raise or skip"),
    ],
)
def test_wrong_ways_are_named(how: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExtractionOptions(**how)


@pytest.mark.usefixtures("narrow_inception")
def test_maps_without_a_pool_are_refused_where_vectors_are_needed(folder: Path) -> None:
    how = {"backbone": "inception", "layer": "64", "pool": "none", "weights": "random"}
    with pytest.raises(UsageError, match="metrics need vectors"):
        gm.compute_stats(folder, cache=False, **how)
    assert gm.extract_features(folder, cache=False, **how).array.shape == (12, 64 // SHARE, 73, 73)


def test_progress_is_told(network: Network, folder: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    network.extract(folder, batch_size=5, progress=lambda *a: heard.append(a))
    assert heard[-1] == (str(folder), 12, 12)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


class _Deadly:
    description, warnings, names = "deadly", (), ("a", "b", "c", "d")

    def read(self, index: int) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


def test_a_worker_that_is_killed_is_said() -> None:
    with pytest.raises(ResourceError, match="decoding process died"):
        list(load(_Deadly(), range(4), Decoding(), batch_size=2, workers=1))


KILLED = """
import sys, time
import gan_metrics as gm
from gan_metrics.features import extraction
from gan_metrics.backbones.multi_space import Embedder
extraction.CHUNK = 4
own = Embedder.embed
def slowly(*given):
    time.sleep(0.3)
    return own(*given)
Embedder.embed = slowly
real, fake, cache, weights = sys.argv[1:]
gm.fid(real, fake, backbone="timm:test_resnet", weights=weights, cache=cache, batch_size=2)
"""


@pytest.mark.parametrize("chunks", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_killed_run_is_taken_up_where_it_stopped(
    tmp_path: Path, tiny_weights: Path, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_folder(tmp_path / "real", crops(7, seed=1, low=32, high=32))
    fake = write_folder(tmp_path / "fake", crops(8, seed=2, low=32, high=32))
    cache = tmp_path / "cache"
    process = subprocess.Popen([sys.executable, "-c", KILLED, real, fake, cache, tiny_weights])
    try:
        while len(list(cache.glob("features/*/*.npz"))) < chunks:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    whole = {path: path.stat().st_ino for path in cache.glob("features/*/*.npz")}
    monkeypatch.setattr(extraction_module, "CHUNK", 4)
    how = {"backbone": TINY, "weights": tiny_weights, "batch_size": 2}
    straight = gm.fid(real, fake, cache=False, **how)
    taken_up = gm.fid(real, fake, cache=cache, **how)
    assert taken_up.value == pytest.approx(straight.value, rel=1e-6)
    assert len(list(cache.glob("features/*/*.npz"))) == 4
    assert chunks <= len(whole) < 4
    # Written again, a chunk would be another file.
    assert {path: path.stat().st_ino for path in whole} == whole
    again = gm.fid(real, fake, cache=cache, **how)
    assert again.value == taken_up.value


def test_statistics_need_no_room_for_features(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ResourceError("no room")

    expected = gm.extract_features(folder, backbone=LITE0, cache=False).moments
    monkeypatch.setattr("gan_metrics.files.growing_array.GrowingArray.add", full)
    found = gm.compute_stats(folder, backbone=LITE0, cache=False).moments
    assert found.n == expected.n
    np.testing.assert_array_equal(found.cov, expected.cov)
    with pytest.raises(ResourceError):
        gm.extract_features(folder, backbone=LITE0, cache=False)


def test_a_device_without_room_gets_smaller_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gm.extract_features(folder, backbone=LITE0, cache=False)
    own, seen = Embedder._pass, []

    def small(self: Embedder, groups: list[torch.Tensor], wanted: list[Any]) -> list[torch.Tensor]:
        n = sum(map(len, groups))
        seen.append(n)
        if n > 3:
            raise torch.OutOfMemoryError("no room")
        return own(self, groups, wanted)

    monkeypatch.setattr(Embedder, "_pass", small)
    found = gm.extract_features(folder, backbone=LITE0, cache=False, batch_size=8)
    np.testing.assert_allclose(found.array, expected.array, rtol=1e-5, atol=1e-6)
    assert found.names == expected.names
    assert len([n for n in seen if n > 3]) <= 2  # it learns
    told = [message for code, message in found.warnings if code == "smaller-batches"]
    assert len(told) == 1
    assert "at most 2 images" in told[0]
    monkeypatch.setattr(Embedder, "_pass", lambda *_: no_room())
    with pytest.raises(torch.OutOfMemoryError):
        gm.extract_features(folder, backbone=LITE0, cache=False)


def no_room() -> None:
    raise torch.OutOfMemoryError("no room")
