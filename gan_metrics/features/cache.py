"""Features on disk, keyed by the content of the images and the identity of the features.

A chunk holds the features of some consecutive images. Its key is a hash over the SHA-256 of each
image's bytes, the fingerprint of the feature space and what else decides about the pixels, so a
chunk is never stale: another image, another network or another way of decoding is another key.
Chunks are written to a temporary file and renamed, so any number of processes may share a cache,
and a run that is killed is taken up at the chunk where it stopped.
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
"""Images per chunk: what a kill can cost, at most."""

_FORMAT = "gan-metrics features 1"
_REVISION = 2
"""To be raised with every change of decoding, preprocessing or networks that moves a feature."""

_STALE_AFTER = 3600.0
"""Seconds after which a temporary file was left behind by a process that is no more."""


@dataclass(frozen=True)
class Chunk:
    """What became of some consecutive images.

    Attributes:
        features: ``float32``, ``n × …``, one row for each image that was decoded, in order.
        positions: For each row, the position of its image in the chunk.
        facts: For each row, the facts about its image.
        failed: Positions of the images that were not decoded. Why is not kept in a cache: another
            version of a library may decode them. A position that is in neither is not known.
    """

    features: npt.NDArray[np.float32]
    positions: tuple[int, ...]
    facts: tuple[ImageMetadata, ...]
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class CacheInfo:
    """Where a cache is, how many entries it holds, their bytes, and the cap in bytes (0: none)."""

    path: Path | str
    chunks: int
    size: int
    limit: int


class Cache(Protocol):
    """Where features are kept between runs.

    A cache that is not to be had costs time and nothing else: :meth:`look_up` then finds nothing,
    and :meth:`keep` returns the reason.

    Attributes:
        damaged: How many entries failed their checksum since this was last set to 0. They are not
            used.
    """

    damaged: int

    def look_up(
        self, spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes | None]
    ) -> Chunk | None:
        """What is known of some consecutive images.

        Args:
            spec: The feature space.
            decoding: How the files are decoded.
            digests: SHA-256 of each image's bytes; ``None`` for one that cannot be read.
        """
        ...

    def keep(
        self,
        spec: FeatureSpec,
        decoding: Decoding,
        digests: Sequence[bytes | None],
        chunk: Chunk,
    ) -> str | None:
        """Keep what is known of them.

        Returns:
            ``None``, or why it could not be kept.
        """
        ...

    @property
    def description(self) -> str:
        """Where it is, without a password."""
        ...

    def info(self) -> CacheInfo:
        """What it holds."""
        ...

    def clear(self) -> int:
        """Delete all of it; returns the number of entries."""
        ...

    def trim(self) -> None:
        """Make room, once something was kept."""
        ...


_REDIS = "gan_metrics.features.redis_cache:RedisCache"

CACHES: Registry[Callable[[str], Cache]] = Registry(
    "cache", {"redis": _REDIS, "rediss": _REDIS, "unix": _REDIS}
)
"""The scheme of a URL, as in ``redis://host:port/db``, to what opens the cache at that URL."""


def space_key(spec: FeatureSpec, decoding: Decoding) -> bytes:
    """What the features of an image depend on besides its bytes.

    Args:
        spec: The feature space.
        decoding: How the files are decoded. A protocol's own way leaves no trace in the
            fingerprint, so it stands beside it, as do the versions of the decoders.
    """
    space = [spec.fingerprint(), decoding.alpha, decoding.exif]
    return "\n".join([_FORMAT, f"revision {_REVISION}", DECODER, *space]).encode() + b"\n"


def chunk_key(spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes]) -> str:
    """The key of a chunk: of :func:`space_key` and the SHA-256 of each image's bytes, in order."""
    hashed = hashlib.sha256(space_key(spec, decoding))
    for digest in digests:
        hashed.update(digest)
    return hashed.hexdigest()


class FeatureCache:
    """A folder of chunks with a cap on its size.

    A cache that cannot be written to costs time and nothing else: :meth:`put` then returns the
    reason.

    Args:
        root: The folder; by default that of :func:`gan_metrics.settings.cache_dir`.
        limit: The cap in bytes; by default that of :func:`gan_metrics.settings.cache_limit`.
    """

    def __init__(self, root: Path | None = None, limit: int | None = None) -> None:
        self.root = (root or settings.cache_dir()) / "features"
        self.description = str(self.root)
        self.limit = settings.cache_limit() if limit is None else limit
        self.damaged = 0

    def look_up(
        self, spec: FeatureSpec, decoding: Decoding, digests: Sequence[bytes | None]
    ) -> Chunk | None:
        """The chunk of these images, if it is here; see :class:`Cache`."""
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
        """Keep the chunk of these images, if all could be read; see :class:`Cache`."""
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests):
            return None
        return self.put(chunk_key(spec, decoding, known), chunk)

    def get(self, key: str) -> Chunk | None:
        """The chunk of that key; ``None`` if there is none or it fails its checksum."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:  # not there, or not to be had now
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
            os.utime(path)  # the cap takes the chunks that were not used for longest
        return chunk

    def put(self, key: str, chunk: Chunk) -> str | None:
        """Keep a chunk.

        Returns:
            ``None``, or why it could not be kept.
        """
        try:
            with atomic_path(self._path(key)) as temporary:
                temporary.write_bytes(_pack(chunk))
        except ResourceError as error:
            return str(error)
        return None

    def trim(self) -> None:
        """Take out the chunks that were not used for longest until the rest is under the cap."""
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
                path.unlink(missing_ok=True)  # another process may have been quicker
                total -= size

    def info(self) -> CacheInfo:
        """What the cache holds."""
        sizes = []
        for path in self._files():
            with contextlib.suppress(OSError):
                if path.suffix == ".npz":
                    sizes.append(path.stat().st_size)
        return CacheInfo(self.root, len(sizes), sum(sizes), self.limit)

    def clear(self) -> int:
        """Take out every chunk.

        Returns:
            How many there were.

        Raises:
            ResourceError: When a chunk cannot be deleted.
        """
        count = 0
        for path in list(self._files()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ResourceError(f"{path} cannot be deleted: {error.strerror}") from None
            count += path.suffix == ".npz"
        return count

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npz"

    def _files(self) -> Iterator[Path]:
        """Chunks and their temporary files, and nothing else that may lie there."""
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
        "facts": [facts.to_json() for facts in chunk.facts],
    }
    text = np.frombuffer(json.dumps(about, ensure_ascii=True).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, features=chunk.features, about=text)
    return buffer.getvalue()


def _unpack(data: bytes) -> Chunk:
    """The inverse of :func:`_pack`; the archive's CRC-32 is checked as it is read.

    Raises:
        Exception: Of any kind, when a bit is not what it was.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        about = json.loads(bytes(archive["about"]))
        features = archive["features"]
    chunk = Chunk(
        features=features,
        positions=tuple(about["positions"]),
        facts=tuple(ImageMetadata.from_json(facts) for facts in about["facts"]),
    )
    if about["format"] != _FORMAT or features.dtype != np.float32 or features.ndim < 2:
        raise ValueError("not a chunk of this format")
    if not len(features) == len(chunk.positions) == len(chunk.facts):
        raise ValueError("a chunk whose parts do not belong together")
    return chunk
