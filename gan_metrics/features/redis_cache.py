"""A feature cache in a Redis server, one entry per image, shared by many machines.

The key is a hash of the feature space and the SHA-256 of the image's bytes; the value contains its
dtype, length and checksum, and the full key again. A server that is or becomes unavailable costs
time and a warning, never a result.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np

from gan_metrics.errors import ResourceError, UsageError
from gan_metrics.features.cache import CacheInfo, Chunk, space_key
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["RedisCache"]

_PREFIX = b"gan-metrics:1:"
_MAGIC = b"gmf1"
_HEAD = struct.Struct("<4sI3sxIII")
"""Magic, CRC-32 of the rest, dtype, then the lengths of shape, metadata and features."""
_TIMEOUT = 5.0


class RedisCache:
    """A Redis server as a :class:`~gan_metrics.features.cache.Cache`.

    Args:
        url: ``redis://[user:password@]host[:port]/db``, ``rediss://…`` (TLS) or
            ``unix://path?db=0``; with ``?expire=SECONDS``, values are deleted after this time.

    Attributes:
        description: The URL without its password.
        damaged: Values that failed their checksum.

    Raises:
        UsageError: If the URL is invalid or the extra ``redis`` is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url, self.damaged = url, 0
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UsageError(f"--cache: {error}; expected redis://host:port/db") from None
        query = parse_qs(parts.query)
        expire = query.pop("expire", ["0"])[0]
        if not (expire.isascii() and expire.isdecimal()):
            raise UsageError(f"expire={expire!r} in the cache's URL: expected whole seconds")
        self._expire = int(expire)
        host = parts.netloc.rpartition("@")[2]
        self.description = f"{parts.scheme}://{host}{parts.path}"
        self._password = parts.password or ""
        redis: Any = require("redis", "redis")
        plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
        plain += f"?{urlencode(query, doseq=True)}" if query else ""
        try:
            database = parts.path.strip("/")
            if parts.scheme != "unix" and database and not database.isdecimal():
                raise ValueError(database)
            self._client = redis.Redis.from_url(
                plain, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
            )
        except (ValueError, TypeError):
            raise UsageError(f"--cache {self.description}: expected redis://host:port/db") from None
        self._away = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return RedisCache, (self._url,)  # processes must not share a connection

    def look_up(
        self, spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes | None]
    ) -> Chunk | None:
        """Return features on the server; see :class:`~gan_metrics.features.cache.Cache`."""
        keys = {i: _key(spec, decoding, d) for i, d in enumerate(digests) if d is not None}
        if self._away or not keys:
            return None
        try:
            values = self._client.mget(list(keys.values()))
        except Exception as error:  # the library or the network may raise anything
            self._stop_using(error)
            return None
        rows = {}
        for (position, key), value in zip(keys.items(), values, strict=True):
            row = None if value is None else _unpack(key, value)
            if row is not None:
                rows[position] = row
            elif value is not None:
                self.damaged += 1
        shapes = {features.shape for features, _ in rows.values()}
        if len(shapes) != 1:
            return None
        return Chunk(
            features=np.stack([features for features, _ in rows.values()]),
            positions=tuple(rows),
            metadata=tuple(metadata for _, metadata in rows.values()),
        )

    def keep(
        self,
        spec: FeatureSpec,
        decoding: Decoding,
        digests: Sequence[bytes | None],
        chunk: Chunk,
    ) -> str | None:
        """Send the features to the server; see :class:`~gan_metrics.features.cache.Cache`."""
        if self._away:
            return self._away
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for position, features, metadata in zip(
                    chunk.positions, chunk.features, chunk.metadata, strict=True
                ):
                    digest = digests[position]
                    if digest is not None:
                        key = _key(spec, decoding, digest)
                        pipe.set(key, _pack(key, features, metadata), ex=self._expire or None)
                pipe.execute()
        except Exception as error:  # the library or the network may raise anything
            self._stop_using(error)
            return self._away
        return None

    def trim(self) -> None:
        """Do nothing: the server's own settings decide what is deleted when it is full."""

    def info(self) -> CacheInfo:
        """Return the number of images on the server, and the bytes of their values.

        Raises:
            ResourceError: If the server is unavailable.
        """
        count = size = 0
        for keys in self._batches():
            count += len(keys)
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.strlen(key)
                size += sum(pipe.execute())
        return CacheInfo(self.description, count, size, 0)

    def clear(self) -> int:
        """Delete all entries of gan-metrics from the server.

        Returns:
            The number of deleted images.

        Raises:
            ResourceError: If the server is unavailable.
        """
        return sum(int(self._client.delete(*keys)) for keys in self._batches())

    def _batches(self) -> Iterator[list[bytes]]:
        try:
            batch: list[bytes] = []
            for key in self._client.scan_iter(match=_PREFIX + b"*", count=1000):
                batch.append(key)
                if len(batch) == 1000:
                    yield batch
                    batch = []
            if batch:
                yield batch
        except Exception as error:
            raise ResourceError(self._message(error)) from error

    def _stop_using(self, error: Exception) -> None:
        """Stop using the server; waiting for it at every chunk would cost more."""
        self._away = self._message(error)

    def _message(self, error: Exception) -> str:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if self._password:
            reason = reason.replace(self._password, "…")
        return f"{self.description} cannot be used ({reason})"


def _key(spec: FeatureSpec, decoding: Decoding, digest: bytes) -> bytes:
    space = hashlib.sha256(space_key(spec, decoding)).hexdigest()[:32]
    return _PREFIX + space.encode() + b":" + digest.hex().encode()


def _pack(key: bytes, features: npt.NDArray[Any], metadata: ImageMetadata) -> bytes:
    shape = json.dumps(features.shape).encode()
    about = json.dumps(metadata.to_json()).encode()
    values = np.ascontiguousarray(features, "<f4").tobytes()
    rest = _HEAD.pack(_MAGIC, 0, b"<f4", len(shape), len(about), len(values))[8:]
    rest += shape + about + values
    return _MAGIC + struct.pack("<I", zlib.crc32(key + rest)) + rest


def _unpack(key: bytes, value: bytes) -> tuple[Any, ImageMetadata] | None:
    """Return the row in a value; ``None`` if a bit has changed."""
    try:
        magic, checksum, dtype, *lengths = _HEAD.unpack_from(value)
        if (magic, dtype) != (_MAGIC, b"<f4") or zlib.crc32(key + value[8:]) != checksum:
            return None
        parts, at = [], _HEAD.size
        for length in lengths:
            parts.append(value[at : at + length])
            at += length
        shape = tuple(json.loads(parts[0]))
        return np.frombuffer(parts[2], "<f4").reshape(shape), ImageMetadata.from_json(
            json.loads(parts[1])
        )
    except (struct.error, ValueError, TypeError):
        return None
