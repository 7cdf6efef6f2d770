"""From a source and a backbone to features, kept as they are made."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.cache import CHUNK, Chunk, FeatureCache, chunk_key
from gan_metrics.errors import ComputationError, ImageError, InputError, ResourceError, UsageError
from gan_metrics.images.decode import Tally, decode
from gan_metrics.images.sources import ImageSource
from gan_metrics.moments import Moments, MomentsStream
from gan_metrics.specs import FeatureSpec

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.network import Backbone
    from gan_metrics.images.loading import Batch

__all__ = ["Extraction", "Features", "Progress", "extract"]

Progress = Callable[[str, int, int], None]
"""Told what is going on, how many images are done, and how many there are."""

_IN_MEMORY = 64 << 20
"""Features of more bytes than this go to a temporary file that is mapped into memory."""


_HASHED_AHEAD = 4
"""Chunks that are hashed while the one before them is looked up or computed."""


@dataclass(frozen=True)
class Extraction:
    """How images are read and batched; it changes features in the last bits of float32 at most.

    Attributes:
        batch_size: Images per forward pass; ``None``: 8 on a CPU, 64 elsewhere.
        workers: Processes that decode; 0: threads; ``None``: 0 on a CPU, up to 8 elsewhere.
        on_error: ``"raise"``, or ``"skip"`` to leave out, count and list bad images.
        max_images: Take this many, drawn with ``seed``; ``None``: all.
        seed: Of that draw.
        cache: Where chunks are kept; ``None``: nowhere.
        progress: Told of the images as they are done.
    """

    batch_size: int | None = None
    workers: int | None = None
    on_error: str = "raise"
    max_images: int | None = None
    seed: int = 0
    cache: FeatureCache | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "skip"):
            raise UsageError(f"on_error={self.on_error!r}: expected raise or skip")
        for name, least in (("batch_size", 1), ("workers", 0), ("max_images", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise UsageError(f"{name}={value!r}: expected a whole number of at least {least}")


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a set of images.

    Attributes:
        names: Of the images, one for each row.
        array: ``float32``, ``n × D``; a memory map where it would fill the memory.
        spec: The feature space.
        moments: Mean and covariance.
        skipped: Pairs of a name and a reason for the images that were left out.
        tally: Counts of the facts about the images.
        digest: SHA-256, in hex, over the SHA-256 of each image's bytes, in order.
        warnings: Pairs of a code and a message.
        protocol: Name of the protocol they were made by.
    """

    names: Sequence[str]
    array: npt.NDArray[np.float32]
    spec: FeatureSpec
    moments: Moments
    skipped: Sequence[tuple[str, str]] = ()
    tally: Tally = field(default_factory=Tally)
    digest: str = ""
    warnings: Sequence[tuple[str, str]] = ()
    protocol: str | None = None


def extract(
    source: ImageSource,
    choice: BackboneChoice,
    network: Callable[[], Backbone],
    how: Extraction,
) -> Features:
    """Embed every image of a source, or take its features from the cache.

    Args:
        source: The images.
        choice: The feature space.
        network: Gives the backbone of that choice. Called, and torch imported, only if a chunk is
            missing.
        how: Batches, workers, faults, cache.

    Raises:
        ImageError: For the first bad image, unless ``how.on_error`` is ``"skip"``.
        ComputationError: When no image is left, or a feature is not finite.
        ResourceError: When the disk is full or a decoding process dies.
    """
    return _Extractor(source, choice, network, how).run()


class _Extractor:
    def __init__(
        self,
        source: ImageSource,
        choice: BackboneChoice,
        network: Callable[[], Backbone],
        how: Extraction,
    ) -> None:
        self.source, self.choice, self.network, self.how = source, choice, network, how
        self.indices = _draw(len(source.names), how.max_images, how.seed)
        self.chunks = [self.indices[i : i + CHUNK] for i in range(0, len(self.indices), CHUNK)]
        self.digests: dict[int, bytes] = {}
        self.warnings: list[tuple[str, str]] = [*choice.warnings, *source.warnings]
        self._unkept = False
        self._hashing = ThreadPoolExecutor(2, thread_name_prefix="digest")
        self._hashed: list[list[Future[bytes | None]]] = []

    def run(self) -> Features:
        rows = _Rows(len(self.indices))
        stream, tally = MomentsStream(), Tally()
        names: list[str] = []
        skipped: list[tuple[str, str]] = []
        done = 0
        for indices, (chunk, on_device) in zip(self.chunks, self._all_chunks(), strict=True):
            for position, reason in sorted(chunk.failures.items()):
                name = self.source.names[indices[position]]
                if self.how.on_error == "raise":
                    raise ImageError(
                        f"{os.path.join(self.source.description, name)!r}: {reason}. "
                        "--on-error skip leaves bad images out and lists them"
                    )
                skipped.append((name, reason))
            rows.add(chunk.features)
            stream.add(chunk.features if on_device is None else on_device)
            names += [self.source.names[indices[position]] for position in chunk.positions]
            for facts in chunk.facts:
                tally.add(facts)
            done += len(indices)
            self._report(done)
        if not names:
            raise ComputationError(
                f"{self.source.description}: none of {len(self.indices)} images could be decoded"
            )
        if skipped:
            self.warnings.append(
                (
                    "skipped-images",
                    f"{self.source.description}: {len(skipped)} of {len(self.indices)} images "
                    f"were left out, first {skipped[0][0]!r}: {skipped[0][1]}",
                )
            )
        for code, message in tally.warnings(self.choice.decoding):
            self.warnings.append((code, f"{self.source.description}: {message}"))
        try:
            moments = stream.finish()
        except ComputationError as error:
            raise self._named(error, rows.array(), names) from None
        return Features(
            names=names,
            array=rows.array(),
            spec=self.choice.spec,
            moments=moments,
            skipped=skipped,
            tally=tally,
            digest=self._digest(),
            warnings=self.warnings,
            protocol=self.choice.protocol.name,
        )

    def _all_chunks(self) -> Iterator[tuple[Chunk, Any]]:
        """Every chunk in order: from the cache, or computed, missing ones in one go."""
        if self.how.cache is None:
            yield from self._compute(0)
            return
        cache = self.how.cache
        wrote = False
        at = 0
        try:
            while at < len(self.chunks):
                key = self._key(at)
                chunk = self._cached(cache, key, self.chunks[at]) if key else None
                if chunk is not None:
                    yield chunk, None
                    at += 1
                    continue
                for computed in self._compute(at):
                    if key := self._key(at):
                        wrote |= self._keep(cache, key, computed[0])
                    yield computed
                    at += 1
        finally:
            self._hashing.shutdown(wait=False, cancel_futures=True)
            if wrote:
                cache.trim()

    def _cached(self, cache: FeatureCache, key: str, indices: Sequence[int]) -> Chunk | None:
        """A chunk of the cache; images that failed then are tried again, and must fail again."""
        chunk = cache.get(key)
        if chunk is None:
            return None
        failures = {}
        for position in set(range(len(indices))) - set(chunk.positions):
            try:
                decode(self.source.read(indices[position]), self.choice.decoding)
            except ImageError as error:
                failures[position] = str(error)
            else:
                return None
        return replace(chunk, failures=failures)

    def _key(self, chunk: int) -> str | None:
        """The key of a chunk, from its images' bytes; ``None`` if one cannot be read.

        Some chunks ahead are hashed meanwhile, so that neither the network nor the disk waits.
        """
        while len(self._hashed) < min(chunk + 1 + _HASHED_AHEAD, len(self.chunks)):
            indices = self.chunks[len(self._hashed)]
            self._hashed.append([self._hashing.submit(self._digest_of, i) for i in indices])
        digests = [future.result() for future in self._hashed[chunk]]
        self.digests |= {
            i: d for i, d in zip(self.chunks[chunk], digests, strict=True) if d is not None
        }
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests):
            return None
        return chunk_key(self.choice.spec, self.choice.decoding, known)

    def _digest_of(self, index: int) -> bytes | None:
        try:
            return hashlib.sha256(self.source.read(index)).digest()
        except ImageError:
            return None

    def _keep(self, cache: FeatureCache, key: str, chunk: Chunk) -> bool:
        if not np.isfinite(chunk.features).all():  # this run will end in an error; so may the cause
            return False
        why = cache.put(key, chunk)
        if why and not self._unkept:
            self._unkept = True
            self.warnings.append(("cache-not-written", f"features are not kept: {why}"))
        return why is None

    def _missing(self, first: int) -> Iterator[int]:
        """The images of a chunk that must be computed, and of those after it up to a kept one."""
        cache = self.how.cache
        for at in range(first, len(self.chunks)):
            if cache is not None and at > first and (key := self._key(at)) and cache.has(key):
                return
            yield from self.chunks[at]

    def _compute(self, at: int) -> Iterator[tuple[Chunk, Any]]:
        """Decode and embed chunks as one stream of batches that do not end where chunks do."""
        collected: dict[int, Any] = {}
        for batch, features in self._embed(self._missing(at)):
            for index, digest in batch.digests.items():
                if self.digests.setdefault(index, digest) != digest:
                    raise InputError(
                        f"{self.source.names[index]!r} in {self.source.description} changed "
                        "while it was being read; run again once it is still"
                    )
            rows = [] if features is None else list(zip(*features, batch.facts, strict=True))
            collected |= dict(zip(batch.indices, rows, strict=True))
            collected |= batch.failures
            while at < len(self.chunks) and all(i in collected for i in self.chunks[at]):
                yield self._assemble(self.chunks[at], collected)
                at += 1
            self._report(min(at * CHUNK + len(collected), len(self.indices)))

    def _assemble(self, indices: Sequence[int], collected: dict[int, Any]) -> tuple[Chunk, Any]:
        results = [collected.pop(index) for index in indices]
        positions = tuple(i for i, result in enumerate(results) if not isinstance(result, str))
        rows = [results[i] for i in positions]
        on_device = None
        features = np.empty((0, 0), np.float32)
        if rows:
            import torch

            features = torch.stack([host for host, _, _ in rows]).numpy()
            if rows[0][1].device.type == "cuda":
                on_device = torch.stack([device for _, device, _ in rows])
        chunk = Chunk(
            features=features,
            positions=positions,
            facts=tuple(facts for _, _, facts in rows),
            failures={i: r for i, r in enumerate(results) if isinstance(r, str)},
        )
        return chunk, on_device

    def _embed(self, indices: Iterable[int]) -> Iterator[tuple[Batch, Any]]:
        """Batches, and their features on the host and on the device."""
        from gan_metrics.images.loading import load

        backbone = self.network()
        on_cpu = backbone.device.type == "cpu"
        workers = self.how.workers
        if workers is None:
            workers = 0 if on_cpu else min(8, os.cpu_count() or 1)
        # A GPU works on one batch while the next one is launched and the last one is fetched.
        launched: deque[tuple[Batch, Any]] = deque()
        for batch in load(
            self.source,
            indices,
            self.choice.decoding,
            batch_size=self.how.batch_size or (8 if on_cpu else 64),
            workers=workers,
            pin=backbone.device.type == "cuda",
        ):
            groups = batch.groups(backbone.device)
            features = backbone.embed(groups) if groups else None
            if features is not None and features.ndim != 2:
                raise UsageError(
                    f"layer {self.choice.spec.layer!r} with pool none gives maps of shape "
                    f"{tuple(features.shape[1:])}; metrics need vectors: choose another --pool"
                )
            launched.append((batch, None if features is None else _fetch(features)))
            if on_cpu or len(launched) > 1:
                yield _fetched(launched.popleft())
        yield from map(_fetched, launched)

    def _report(self, done: int) -> None:
        if self.how.progress:
            self.how.progress(self.source.description, done, len(self.indices))

    def _digest(self) -> str:
        hashed = hashlib.sha256()
        for index in self.indices:
            hashed.update(self.digests.get(index, b"\0" * 32))
        return hashed.hexdigest()

    def _named(
        self, error: ComputationError, array: npt.NDArray[np.float32], names: Sequence[str]
    ) -> ComputationError:
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        return ComputationError(f"{error} — {names[int(bad[0])]!r} in {self.source.description}")


def _fetch(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Begin to copy features to the host: there, on the device, and the event of its end."""
    import torch

    if features.device.type != "cuda":
        return features.cpu(), features, None
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    host.copy_(features, non_blocking=True)
    event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return host, features, event


def _fetched(item: tuple[Batch, Any]) -> tuple[Batch, Any]:
    """The same, once the copy is there."""
    batch, fetch = item
    if fetch is None:
        return batch, None
    host, device, event = fetch
    if event is not None:
        event.synchronize()
    return batch, (host, device)


class _Rows:
    """An array that grows to at most ``n`` rows, in memory or in a file without a name."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._array: npt.NDArray[np.float32] | None = None
        self._filled = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        if not len(rows):
            return
        if self._array is None:
            self._array = self._allocate(rows.shape[1])
        self._array[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def array(self) -> npt.NDArray[np.float32]:
        assert self._array is not None  # noqa: S101 (the caller has counted the names)
        return self._array[: self._filled]

    def _allocate(self, dim: int) -> npt.NDArray[np.float32]:
        size = self._n * dim * 4
        if size <= _IN_MEMORY:
            return np.empty((self._n, dim), np.float32)
        try:
            with tempfile.TemporaryFile(prefix="gan-metrics-") as file:
                if hasattr(os, "posix_fallocate"):  # a full disk is said now, not by a SIGBUS
                    os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.float32, "r+", shape=(self._n, dim))
        except OSError as error:
            raise ResourceError(
                f"no room for {size / 2**30:.1f} GiB of features in {tempfile.gettempdir()} "
                f"({error.strerror}); point TMPDIR at a larger disk"
            ) from error


def _draw(n: int, wanted: int | None, seed: int) -> list[int]:
    """All indices, or ``wanted`` of them without replacement, in rising order."""
    if wanted is None or wanted >= n:
        return list(range(n))
    drawn = np.random.default_rng(seed).choice(n, wanted, replace=False)
    return sorted(int(index) for index in drawn)
