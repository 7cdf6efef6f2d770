"""The feature cache on disk, keyed by the content of the images and the feature space.

A chunk holds the features of consecutive images. Its key is a hash of the SHA-256 of each image's
bytes, the fingerprint of the feature space and everything else that affects the pixels. So a chunk
is never stale: another image, network or decoding has another key. Chunks are written to a
temporary file and renamed, so several processes can share a cache, and an interrupted run resumes
at the chunk where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gan_metrics import settings
from gan_metrics.errors import ResourceError
from gan_metrics.files.download import atomic_path
from gan_metrics.images.decode import DECODER
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.registry import Registry

__all__ = [
    "CACHES",
    "CHUNK",
    "Cache",
    "CacheInfo",
    "Chunk",
    "FeatureCache",
    "chunk_key",
    "space_key",
]

CHUNK = 128
"""Images per chunk: an interrupted run loses at most this many."""

_FORMAT = "gan-metrics features 1"
_REVISION = 2
"""Increase with every change of decoding, preprocessing or networks that changes features."""

_STALE_AFTER = 3600.0
"""Seconds after which a temporary file belongs to a process that has ended."""


@dataclass(frozen=True)
class Chunk:
    """Features of consecutive images.

    Attributes:
        features: ``float32``, ``n × …``, one row for each decoded image, in order.
        positions: For each row, the position of its image in the chunk.
        metadata: For each row, the metadata of its image.
        failed: Positions of images that could not be decoded. The reason is not cached, because
            another version of a library may decode them. Positions in neither list are unknown.
            version of a library may decode them. A position that is in neither is not known.
    """

    features: npt.NDArray[np.float32]
    positions: tuple[int, ...]
    metadata: tuple[ImageMetadata, ...]
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class CacheInfo:
    """A cache's location, number of entries, size and size limit in bytes (0: no limit)."""

    path: Path | str
    chunks: int
    size: int
    limit: int


class Cache(Protocol):
    """Storage of features between runs.

    An unavailable cache only costs time: :meth:`look_up` then finds nothing, and :meth:`keep`
    returns the reason.

    Attributes:
        damaged: Number of entries that failed their checksum since this was last set to 0. They
            are not used.
    """

    damaged: int

    def look_up(
        self, spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes | None]
    ) -> Chunk | None:
        """Return the cached features of consecutive images.

        Args:
            spec: The feature space.
            decoding: How files are decoded.
            digests: SHA-256 of each image's bytes; ``None`` for an unreadable image.
        """
        ...

    def keep(
        self,
        spec: FeatureSpec,
        decoding: Decoding,
        digests: Sequence[bytes | None],
        chunk: Chunk,
    ) -> str | None:
        """Store the features of these images.

        Returns:
            ``None``, or the reason why they could not be stored.
        """
        ...

    @property
    def description(self) -> str:
        """Location of the cache, without a password."""
        ...

    def info(self) -> CacheInfo:
        """Return location, number of entries and size."""
        ...

    def clear(self) -> int:
        """Delete all entries; return how many there were."""
        ...

    def trim(self) -> None:
        """Delete old entries if the size limit is exceeded."""
        ...


_REDIS = "gan_metrics.features.redis_cache:RedisCache"

CACHES: Registry[Callable[[str], Cache]] = Registry(
    "cache", {"redis": _REDIS, "rediss": _REDIS, "unix": _REDIS}
)
"""Functions that open a cache by the scheme of its URL, such as ``redis://host:port/db``."""


def space_key(spec: FeatureSpec, decoding: Decoding) -> bytes:
    """Return everything except the image's bytes that its features depend on.

    Args:
        spec: The feature space.
        decoding: How files are decoded. A protocol's default decoding is not part of the
            fingerprint, so it is added here, with the versions of the decoders.
    """
    space = [spec.fingerprint(), decoding.alpha, decoding.exif]
    return "\n".join([_FORMAT, f"revision {_REVISION}", DECODER, *space]).encode() + b"\n"


def chunk_key(spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes]) -> str:
    """Return the key of a chunk: a hash of :func:`space_key` and the images' SHA-256, in order."""
    hashed = hashlib.sha256(space_key(spec, decoding))
    for digest in digests:
        hashed.update(digest)
    return hashed.hexdigest()


class FeatureCache:
    """A folder of chunks with a size limit.

    If the folder is not writable, this only costs time: :meth:`put` returns the reason.

    Args:
        root: The folder; default: :func:`gan_metrics.settings.cache_dir`.
        limit: The size limit in bytes; default: :func:`gan_metrics.settings.cache_limit`.
    """

    def __init__(self, root: Path | None = None, limit: int | None = None) -> None:
        self.root = (root or settings.cache_dir()) / "features"
        self.description = str(self.root)
        self.limit = settings.cache_limit() if limit is None else limit
        self.damaged = 0

    def look_up(
        self, spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes | None]
    ) -> Chunk | None:
        """Return the chunk of these images, if it is cached; see :class:`Cache`."""
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests):
            return None
        chunk = self.get(chunk_key(spec, decoding, known))
        if chunk is None:
            return None
        return replace(chunk, failed=tuple(set(range(len(digests))) - set(chunk.positions)))

    def keep(
        self,
        spec: FeatureSpec,
        decoding: Decoding,
        digests: Sequence[bytes | None],
        chunk: Chunk,
    ) -> str | None:
        """Store the chunk of these images, if all were readable; see :class:`Cache`."""
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests):
            return None
        return self.put(chunk_key(spec, decoding, known), chunk)

    def get(self, key: str) -> Chunk | None:
        """Return the chunk of a key; ``None`` if it is missing or fails its checksum."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:  # missing, or unavailable now
            return None
        try:
            chunk = _unpack(data)
        except MemoryError:
            raise
        except Exception:  # zipfile and numpy raise nearly anything on broken bytes
            self.damaged += 1
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # trim() deletes the least recently used chunks
        return chunk

    def put(self, key: str, chunk: Chunk) -> str | None:
        """Store a chunk.

        Returns:
            ``None``, or the reason why it could not be stored.
        """
        try:
            with atomic_path(self._path(key)) as temporary:
                temporary.write_bytes(_pack(chunk))
        except ResourceError as error:
            return str(error)
        return None

    def trim(self) -> None:
        """Delete the least recently used chunks until the rest is below the size limit."""
        now = time.time()
        files = []
        for path in self._files():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix != ".tmp":
                    files.append((status.st_mtime, status.st_size, path))
                elif now - status.st_mtime > _STALE_AFTER:
                    path.unlink()
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                break
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # another process may have deleted it
                total -= size

    def info(self) -> CacheInfo:
        """Return location, number of chunks and size."""
        sizes = []
        for path in self._files():
            with contextlib.suppress(OSError):
                if path.suffix == ".npz":
                    sizes.append(path.stat().st_size)
        return CacheInfo(self.root, len(sizes), sum(sizes), self.limit)

    def clear(self) -> int:
        """Delete every chunk.

        Returns:
            The number of deleted chunks.

        Raises:
            ResourceError: If a chunk cannot be deleted.
        """
        count = 0
        for path in list(self._files()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ResourceError(f"cannot delete {path}: {error.strerror}") from None
            count += path.suffix == ".npz"
        return count

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npz"

    def _files(self) -> Iterator[Path]:
        """Yield chunks and their temporary files, and no other files in the folder."""
        for folder in self.root.glob("[0-9a-f][0-9a-f]"):
            with contextlib.suppress(OSError):
                for path in folder.iterdir():
                    if _OURS.fullmatch(path.name):
                        yield path


_OURS = re.compile(r"[0-9a-f]{64}\.npz|\.[0-9a-f]{64}\.npz\..*\.tmp")


def _pack(chunk: Chunk) -> bytes:
    about = {
        "format": _FORMAT,
        "positions": chunk.positions,
        "facts": [metadata.to_json() for metadata in chunk.metadata],
    }
    text = np.frombuffer(json.dumps(about, ensure_ascii=True).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, features=chunk.features, about=text)
    return buffer.getvalue()


def _unpack(data: bytes) -> Chunk:
    """Return the chunk in a cache file; reading checks the archive's CRC-32.

    Raises:
        Exception: Any exception, if a bit has changed.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        about = json.loads(bytes(archive["about"]))
        features = archive["features"]
    chunk = Chunk(
        features=features,
        positions=tuple(about["positions"]),
        metadata=tuple(ImageMetadata.from_json(metadata) for metadata in about["facts"]),
    )
    if about["format"] != _FORMAT or features.dtype != np.float32 or features.ndim < 2:
        raise ValueError("not a chunk of this format")
    if not len(features) == len(chunk.positions) == len(chunk.metadata):
        raise ValueError("a chunk whose parts do not match")
    return chunk
