from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gan_metrics.errors import UsageError
from gan_metrics.features.cache import Chunk, FeatureCache, chunk_key
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding, FeatureSpec

SPEC = FeatureSpec("inception", "pool3")
FACTS = ImageMetadata(3, 4, "PNG", "RGB", ("alpha",))


def chunk(seed: int = 0, rows: int = 5) -> Chunk:
    features = np.random.default_rng(seed).normal(size=(rows, 7)).astype(np.float32)
    return Chunk(features, tuple(range(rows)), (FACTS,) * rows)


def key(n: int) -> str:
    return chunk_key(SPEC, Decoding(), [bytes([n]) * 32])


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.get(key(0)) is None
    assert cache.put(key(0), chunk()) is None
    back = cache.get(key(0))
    assert back is not None
    np.testing.assert_array_equal(back.features, chunk().features)
    assert (back.positions, back.metadata) == (chunk().positions, chunk().metadata)


def test_the_key_depends_on_all_that_decides_about_the_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = b"a" * 32, b"b" * 32
    keys = {
        chunk_key(SPEC, Decoding(), [a, b]),
        chunk_key(SPEC, Decoding(), [b, a]),
        chunk_key(SPEC, Decoding(), [a]),
        chunk_key(FeatureSpec("inception", "192"), Decoding(), [a, b]),
        chunk_key(SPEC, Decoding(alpha="white"), [a, b]),
        chunk_key(SPEC, Decoding(exif="apply"), [a, b]),
    }
    monkeypatch.setattr("gan_metrics.features.cache.DECODER", "pillow=0.0")
    keys.add(chunk_key(SPEC, Decoding(), [a, b]))
    monkeypatch.setattr("gan_metrics.features.cache._REVISION", 99)
    keys.add(chunk_key(SPEC, Decoding(), [a, b]))
    assert len(keys) == 8


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(0), chunk())
    path = next(cache.root.glob("*/*.npz"))
    whole = path.read_bytes()
    silent = []
    for at in range(len(whole)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        back = cache.get(key(0))
        if back is None:
            assert not path.exists()  # a broken chunk is taken out
        elif not (back.features == chunk().features).all() or back.metadata != chunk().metadata:
            silent.append(at)
    assert silent == []


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_a_truncated_chunk_is_noticed(tmp_path: Path, keep: int) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(0), chunk())
    path = next(cache.root.glob("*/*.npz"))
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.get(key(0)) is None


def test_a_passing_fault_does_not_cost_a_good_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(0), chunk())

    def too_many(_: Path) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", too_many)
    assert cache.get(key(0)) is None
    monkeypatch.undo()
    assert cache.get(key(0)) is not None


def test_a_chunk_that_would_need_pickle_is_no_chunk(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(0), chunk())
    path = next(cache.root.glob("*/*.npz"))
    with open(path, "wb") as file:
        np.savez(file, features=np.array([object()]), about=np.zeros(3, np.uint8))
    assert cache.get(key(0)) is None


def test_the_cap_takes_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for n in range(4):
        cache.put(key(n), chunk(n))
    size = cache.info().size // 4
    for n in range(4):
        path = cache._path(key(n))
        os.utime(path, (1000 + n, 1000 + n))
    cache.get(key(0))  # used again
    FeatureCache(tmp_path, limit=2 * size + 10).trim()
    assert [cache.get(key(n)) is not None for n in range(4)] == [True, False, False, True]


def test_trimming_clears_up_after_the_dead(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(0), chunk())
    folder = next(cache.root.iterdir())
    old, new = (folder / f".{letter * 64}.npz.1.2.tmp" for letter in "ab")
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.trim()
    assert not old.exists()
    assert new.exists()
    assert cache.info().chunks == 1


def test_info_and_clear(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.info().chunks == 0
    for n in range(3):
        cache.put(key(n), chunk(n))
    others = [tmp_path / "mine.txt", cache.root / "ab" / "thesis.txt", cache.root / "cd"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        if not other.exists():
            other.write_text("not of the cache")
    info = cache.info()
    assert (info.chunks, info.limit) == (3, 20 * 2**30)
    assert info.size == sum(p.stat().st_size for p in cache.root.glob("*/*.npz"))
    assert cache.clear() == 3
    assert cache.info().chunks == 0
    FeatureCache(tmp_path, limit=1).trim()
    assert all(other.exists() for other in others)


def test_the_cap_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_METRICS_CACHE_SIZE", "0.5")
    assert FeatureCache().info().limit == 2**29
    monkeypatch.setenv("GAN_METRICS_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="GAN_METRICS_CACHE_SIZE"):
        FeatureCache()


def test_a_cache_that_cannot_be_written_to_says_why(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where the folder should be")
    reason = FeatureCache(tmp_path).put(key(0), chunk())
    assert reason is not None
    assert "cannot write" in reason


def _hammer(root: Path) -> int:
    cache = FeatureCache(root, limit=4000)
    wrong = 0
    for i in range(60):
        cache.put(key(i % 5), chunk(i % 5))
        back = cache.get(key(i % 5))
        wrong += back is not None and not (back.features == chunk(i % 5).features).all()
        if i % 7 == 0:
            cache.trim()
    return wrong


def test_processes_share_it_safely(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(_hammer, [tmp_path] * 4)) == [0] * 4
