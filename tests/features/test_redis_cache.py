"""Against a real Redis server, which the tests start on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from data import crops, same_features, write_folder
from test_features import Network

import gan_metrics as gm
from gan_metrics.errors import ResourceError, UsageError
from gan_metrics.features import extraction as extraction_module
from gan_metrics.features.cache import Chunk, FeatureCache
from gan_metrics.features.redis_cache import RedisCache
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.inputs.options import open_cache
from gan_metrics.protocols.spec import Decoding, FeatureSpec

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="there is no redis-server here (Debian's package redis-server has it)",
)

SPEC = FeatureSpec("inception", "pool3")


class Server:
    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.options = folder, options
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
                   "--appendonly", "no", "--dir", str(self.folder), *self.options]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def network(tiny_weights: Path) -> Network:
    return Network(tiny_weights)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extraction_module, "CHUNK", 5)
    return write_folder(tmp_path / "images", crops(12, seed=1))


def digests(n: int) -> list[bytes | None]:
    return [bytes([i]) * 32 for i in range(n)]


def chunk(n: int, shape: tuple[int, ...] = (4,)) -> Chunk:
    rows = np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)
    return Chunk(rows, tuple(range(n)), (ImageMetadata(3, 4, "PNG", "RGB", ("alpha",)),) * n)


@pytest.mark.parametrize("shape", [(4,), (3, 2, 2)])
def test_what_is_kept_comes_back_image_by_image(server: Server, shape: tuple[int, ...]) -> None:
    cache = RedisCache(server.url)
    before = chunk(3, shape)
    assert cache.look_up(SPEC, Decoding(), digests(3)) is None
    assert cache.keep(SPEC, Decoding(), digests(3), before) is None
    asked = [bytes([9]) * 32, None, *digests(3)[::-1]]
    back = cache.look_up(SPEC, Decoding(), asked)
    assert back is not None
    assert (back.positions, back.failed) == ((2, 3, 4), ())
    np.testing.assert_array_equal(back.features, before.features[::-1])
    assert back.metadata == before.metadata
    for other in (FeatureSpec("inception", "192"), SPEC):
        decoding = Decoding() if other is not SPEC else Decoding(alpha="white")
        assert cache.look_up(other, decoding, digests(3)) is None


def test_the_network_never_runs_twice_for_an_image(
    server: Server, network: Network, folder: Path
) -> None:
    cache = RedisCache(server.url)
    first = network.extract(folder, cache=cache)
    before = network.embedded
    again = network.extract(folder, cache=RedisCache(server.url))
    assert network.embedded == before
    np.testing.assert_array_equal(again.array, first.array)
    assert (again.names, again.digest, again.tally) == (
        first.names,
        first.digest,
        first.tally,
    )
    # Another order, other company, some new ones: only those run.
    mixed = write_folder(folder.parent / "mixed", crops(3, seed=77))
    for name in ("0007.png", "0002.png", "0011.png"):
        shutil.copy(folder / name, mixed / f"z{name}")
    found = network.extract(mixed, cache=cache)
    assert network.embedded == before + 3
    plain = network.extract(mixed)
    same_features(found.array, plain.array)
    assert found.names == plain.names


def test_a_bad_image_is_still_a_bad_image(server: Server, network: Network, folder: Path) -> None:
    (folder / "0005.png").write_bytes(b"no image")
    cache = RedisCache(server.url)
    for _ in range(2):
        found = network.extract(folder, on_error="skip", cache=cache)
        assert [name for name, _ in found.skipped] == ["0005.png"]
        assert len(found.names) == 11


def test_a_server_that_goes_away_costs_time_alone(
    server: Server, network: Network, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = network.extract(folder)
    for after in (1, 2):  # it dies after so many chunks were kept
        cache = RedisCache(server.url)
        kept: list[object] = []
        inner = cache.keep

        def keep(*given: object, kept: list[object] = kept, after: int = after,
                 inner: object = inner) -> str | None:  # fmt: skip
            reason: str | None = inner(*given)  # type: ignore[operator]
            kept.append(reason)
            if len(kept) == after:
                server.stop()
            return reason

        monkeypatch.setattr(cache, "keep", keep)
        found = network.extract(folder, cache=cache)
        same_features(found.array, plain.array)
        assert found.names == plain.names
        assert [code for code, _ in found.warnings] == ["cache-not-written"]
        assert "127.0.0.1" in found.warnings[0][1]
        server.start()


def test_a_server_that_never_was_there(folder: Path, network: Network) -> None:
    start = time.monotonic()
    found = network.extract(folder, cache=RedisCache("redis://127.0.0.1:1/0"))
    assert len(found.names) == 12
    assert [code for code, _ in found.warnings] == ["cache-not-written"]
    assert time.monotonic() - start < 15
    with pytest.raises(ResourceError, match="cannot be used"):
        RedisCache("redis://127.0.0.1:1/0").info()


def test_every_flipped_byte_of_a_value_is_noticed(server: Server) -> None:
    import redis

    cache, client = RedisCache(server.url), redis.Redis(port=server.port)
    cache.keep(SPEC, Decoding(), digests(1), chunk(1))
    (key,) = client.keys("*")
    value = client.get(key)
    for at in range(len(value)):
        client.set(key, value[:at] + bytes([value[at] ^ 0x55]) + value[at + 1 :])
        found = cache.look_up(SPEC, Decoding(), digests(1))
        assert found is None or (found.features == chunk(1).features).all()
        assert found is None, f"byte {at} was changed in silence"
    for keep in (0, 5, len(value) - 1):
        client.set(key, value[:keep])
        assert cache.look_up(SPEC, Decoding(), digests(1)) is None
    # A value under the key of another image is another image's.
    cache.keep(SPEC, Decoding(), [b"x" * 32], chunk(1))
    client.rename(key.replace(digests(1)[0].hex().encode(), (b"x" * 32).hex().encode()), key)
    assert cache.look_up(SPEC, Decoding(), digests(1)) is None


def test_values_expire_when_they_are_told_to(server: Server) -> None:
    import redis

    client = redis.Redis(port=server.port)
    RedisCache(server.url).keep(SPEC, Decoding(), digests(1), chunk(1))
    assert client.ttl(client.keys("*")[0]) == -1
    RedisCache(f"{server.url}?expire=100").keep(SPEC, Decoding(), digests(1), chunk(1))
    assert 90 < client.ttl(client.keys("*")[0]) <= 100


def test_the_verbs(server: Server, folders: tuple[Path, Path]) -> None:
    import redis

    redis.Redis(port=server.port).set("somebody's", "else")
    for _ in range(2):
        done = call("fid", *folders, "--backbone", "efficientnet-lite0", "--cache", server.url)
        assert done.code == 0, done.err
    assert "23 entries" in call("cache", "info", "--cache", server.url).out
    assert "deleted 23" in call("cache", "clear", "--cache", server.url).out
    assert redis.Redis(port=server.port).keys("*") == [b"somebody's"]
    refused(6, "cache", "info", "--cache", "redis://127.0.0.1:1/0", says=("cannot be used",))


def test_a_password_is_never_told(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    server = Server(tmp_path, "--requirepass", "s3cret")
    try:
        url = f"redis://:s3cret@127.0.0.1:{server.port}/0"
        result = gm.fid(*folders, backbone="efficientnet-lite0", cache=url)
        assert RedisCache(url).info().chunks == 23
        wrong = f"redis://:wr0ng@127.0.0.1:{server.port}/0"
        other = gm.fid(*folders, backbone="efficientnet-lite0", cache=wrong)
        assert "cache-not-written" in [code for code, _ in other.warnings]
        told = result.dumps() + other.dumps() + RedisCache(url).description
        told += call("cache", "info", "--cache", url).out
        told += call("cache", "info", "--cache", wrong).err
        assert "s3cret" not in told
        assert "wr0ng" not in told
    finally:
        server.stop()


def test_what_is_a_redis() -> None:
    assert isinstance(open_cache("redis://h:1/0"), RedisCache)
    assert isinstance(open_cache("rediss://h:1/0"), RedisCache)
    assert isinstance(open_cache("/tmp/redis"), FeatureCache)
    assert isinstance(open_cache(Path("redis:/x")), FeatureCache)
    with pytest.raises(UsageError, match="expire='soon'"):
        RedisCache("redis://h:1/0?expire=soon")
    for url in ("redis://[::1/0", "redis://h:1/0?expire=²"):
        with pytest.raises(UsageError):
            RedisCache(url)
    with pytest.raises(UsageError, match="expected redis://host:port/db"):
        RedisCache("redis://user:pw@h:port/0")


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    server = Server(tmp_path, "--unixsocket", str(path))
    try:
        for url in (f"unix://{path}", f"unix://{path}?db=0&expire=100"):
            cache = RedisCache(url)
            assert cache.keep(SPEC, Decoding(), digests(2), chunk(2)) is None
            assert cache.look_up(SPEC, Decoding(), digests(2)) is not None
    finally:
        server.stop()


def test_other_addresses_are_no_folders(folders: tuple[Path, Path]) -> None:
    for url in ("http://h/x", "REDIS://h:1/0", "redis:/127.0.0.1", "redis://h:1/abc"):
        refused(2, "fid", *folders, "--backbone", "efficientnet-lite0", "--cache", url,
                says=("redis://host:port/db",))  # fmt: skip
