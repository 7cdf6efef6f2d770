"""Compute the features of images chunk by chunk, or read them from the cache."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.distributed import ALONE, Comm
from gan_metrics.errors import InputError, UsageError, failed_device
from gan_metrics.features.cache import Cache, Chunk
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.images.pipeline import EncodedImage, HashedImages, load_image
from gan_metrics.images.sources import ImageSource
from gan_metrics.metrics.moments import Moments, MomentsStream
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.multi_space import Embedder
    from gan_metrics.images.loader import Batch

__all__ = ["ChunkStream", "ExtractedChunk", "ExtractionOptions", "draw_images"]

_FEW = 8
"""Images of a chunk that are decoded to test for errors before a network is loaded."""


@dataclass(frozen=True)
class ExtractionOptions:
    """How images are read and batched; changes features at most in the last bits of float32.

    Attributes:
        batch_size: Images per forward pass; ``None``: 8 on a CPU, 64 on other devices.
        workers: Decoding processes; 0: threads; ``None``: 0 on a CPU, up to 8 on other devices.
        on_error: ``"raise"``, or ``"skip"`` to leave out, count and list unreadable images.
        max_images: Number of images to draw with ``seed``; ``None``: all.
        seed: Seed of that draw.
        cache: The feature cache; ``None``: none.
        moments: Whether to compute mean and covariance in the same pass.
        features: Whether to keep features; otherwise only their moments.
        progress: Called with the number of finished images.
        comm: The ranks that share the work.
        engine: ``"local"``; ``"openvino"``: OpenVINO runs the networks; ``"ray"``: a pool of Ray
            actors embeds.
        device: Device of the networks.
    """

    batch_size: int | None = None
    workers: int | None = None
    on_error: str = "raise"
    max_images: int | None = None
    seed: int = 0
    cache: Cache | None = None
    moments: bool = True
    features: bool = True
    progress: Progress | None = None
    comm: Comm = ALONE
    engine: str = "local"
    device: str = "auto"

    def __post_init__(self) -> None:
        if ENGINES.find(self.engine).stream is not None and self.comm.size > 1:
            raise UsageError(f"--engine {self.engine} distributes work itself; do not use torchrun")
        if self.on_error not in ("raise", "skip"):
            raise UsageError(f"on_error={self.on_error!r}: expected raise or skip")
        for name, least in (("batch_size", 1), ("workers", 0), ("max_images", 1)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_number(name, value, least=least))


@dataclass(frozen=True)
class _Row:
    """One image's features in each space: on the host and, if just computed, on the device.

    ``None`` on the host means unknown in that space.
    """

    host: tuple[npt.NDArray[np.float32] | None, ...]
    device: tuple[Any, ...]
    metadata: ImageMetadata

    @property
    def whole(self) -> bool:
        return all(features is not None for features in self.host)


@dataclass(frozen=True)
class ExtractedChunk:
    """The result of a chunk of images.

    Attributes:
        chunks: The features in each space.
        failures: Error messages by position of the image.
        digests: SHA-256 of the image's bytes by index, for readable images.
    """

    chunks: Sequence[Chunk]
    failures: Mapping[int, str]
    digests: Mapping[int, bytes]

    def without_features(self) -> ExtractedChunk:
        """Return a copy without features, if they are part of the moments already."""
        return replace(self, chunks=[_without_features(chunk) for chunk in self.chunks])


def _without_features(chunk: Chunk) -> Chunk:
    in_moments = chunk.features.ndim == 2 and np.isfinite(chunk.features).all()
    return replace(chunk, features=chunk.features[:, :0].copy()) if in_moments else chunk


class ChunkStream:
    """Chunks of a source in order, from the cache or computed.

    Args:
        source: The images.
        spaces: The feature spaces, with equal decoding.
        networks: Function that returns the networks of these spaces. Called, and torch imported,
            only if a chunk is missing.
        how: Options for batches, workers and cache.
        chunks: For each chunk, the indices of its images.
        n: Number of images of all ranks together.

    Attributes:
        warnings: Pairs of a code and a message; complete at the end.
    """

    def __init__(
        self,
        source: ImageSource,
        spaces: Sequence[FeatureSpace],
        networks: Callable[[], Embedder],
        how: ExtractionOptions,
        chunks: Sequence[Sequence[int]],
        n: int,
    ) -> None:
        self.source, self.spaces, self.networks, self.how = source, spaces, networks, how
        self.decoding = spaces[0].decoding
        self.chunks, self.n = chunks, n
        self.digests: dict[int, bytes] = {}
        self.warnings: list[tuple[str, str]] = []
        self._moments = [MomentsStream() for _ in spaces]
        self._unkept = False
        self._hashed = HashedImages(source, itertools.chain.from_iterable(chunks))
        self._encoded: dict[int, EncodedImage] = {}
        self._looked_up: tuple[int, dict[int, _Row | str]] = (-1, {})

    def run(self) -> Generator[ExtractedChunk, None, None]:
        """Yield every chunk in order; consecutive missing images are computed together.

        Raises:
            InputError: If an image changes while it is read.
            ResourceError: If a decoding process dies, or the device fails.
        """
        wrote = False
        at = 0
        try:
            while at < len(self.chunks):
                known = self._known(at)
                if self._complete(known, at):
                    yield self._assemble(self.chunks[at], known)
                    at += 1
                    continue
                for finished in self._compute(at, known):
                    wrote |= self._keep(at, finished)
                    yield finished
                    at += 1
        except RuntimeError as error:
            if lost := failed_device(error):
                raise lost from error
            raise
        finally:
            self._hashed.close()
            self._warn_of_damage()
            if wrote and self.how.cache is not None:
                self.how.cache.trim()

    def _warn_of_damage(self) -> None:
        cache = self.how.cache
        if cache is not None and cache.damaged:
            self.warnings.append(
                (
                    "damaged-cache",
                    f"{cache.damaged} cache entries failed their checksum and were computed again; "
                    "if this happens often, check that disk",
                )
            )
            cache.damaged = 0

    def moments(self, number: int) -> Moments | None:
        """Return the moments of all features so far in a space; ``None`` without finite features.

        Args:
            number: Position of the space.
        """
        stream = self._moments[number]
        return None if stream.empty else stream.finish()

    def _complete(self, known: dict[int, _Row | str], at: int) -> bool:
        """Whether all images of a chunk are known in all spaces."""
        return len(known) == len(self.chunks[at]) and all(map(_is_final, known.values()))

    def _known(self, at: int) -> dict[int, _Row | str]:
        """Return what the cache has of a chunk's images; failed images must fail again now."""
        if self.how.cache is None:
            return {}
        if at == self._looked_up[0]:
            return self._looked_up[1]
        indices = self.chunks[at]
        digests = self._read(at)
        known: dict[int, _Row | str] = {}
        chunk: Chunk | None = None
        nothing = (None,) * len(self.spaces)
        for number, space in enumerate(self.spaces):
            found = self.how.cache.look_up(space.spec, self.decoding, digests)
            if found is None:
                continue
            chunk = found
            for i, features, metadata in zip(
                found.positions, found.features, found.metadata, strict=True
            ):
                before = known.get(indices[i])
                host = list(before.host if isinstance(before, _Row) else nothing)
                host[number] = features
                known[indices[i]] = _Row(tuple(host), nothing, metadata)
        if chunk is not None:
            unknown = sorted(set(range(len(indices))) - {indices.index(index) for index in known})
            # Bad images are not cached; without this test each of them would load a network.
            for position in unknown if len(unknown) <= _FEW else chunk.failed:
                index = indices[position]
                image = load_image(self.source, self._encoded[index], self.decoding)
                if image.failure is not None:
                    known[index] = image.failure
        for index, result in known.items():
            if _is_final(result):
                self._release(index)
        self._looked_up = (at, known)
        return known

    def _read(self, at: int) -> list[bytes | None]:
        """Return the SHA-256 of the bytes of a chunk's images; ``None`` for unreadable ones.

        The bytes are held until the image is found in the cache or decoded.
        """
        images = self._hashed.take(len(self.chunks[at]))
        for image in images:
            self._encoded[image.index] = image
            if image.digest is not None:
                self.digests[image.index] = image.digest
        return [image.digest for image in images]

    def _release(self, index: int) -> None:
        self._encoded.pop(index, None)
        self._hashed.release(index)

    def _keep(self, at: int, finished: ExtractedChunk) -> bool:
        finite = all(np.isfinite(chunk.features).all() for chunk in finished.chunks)
        if self.how.cache is None or not finite:
            return False  # the run will end in an error
        digests = [finished.digests.get(index) for index in self.chunks[at]]
        kept = False
        for space, chunk in zip(self.spaces, finished.chunks, strict=True):
            why = self.how.cache.keep(space.spec, self.decoding, digests, chunk)
            if why and not self._unkept:
                self._unkept = True
                self.warnings.append(("cache-not-written", f"features are not cached: {why}"))
            kept |= why is None
        return kept

    def _missing(
        self, first: int, collected: dict[int, _Row | str]
    ) -> Iterator[int | EncodedImage]:
        """Yield the images that must be computed, up to the next chunk that is completely known.

        What is known of other images is added to ``collected``.
        """
        for at in range(first, len(self.chunks)):
            known = self._known(at)
            if at > first and self._complete(known, at):
                return
            collected |= known
            for i in self.chunks[at]:
                if i not in known or not _is_final(known[i]):
                    yield self._encoded.pop(i, i)

    def _compute(self, at: int, known: dict[int, _Row | str]) -> Iterator[ExtractedChunk]:
        """Decode and embed images as one stream of batches that may span chunks."""
        collected = dict(known)
        before_these = sum(map(len, self.chunks[:at]))
        for batch, features in self._embed(self._missing(at, collected), collected):
            for index, digest in batch.digests.items():
                if self.digests.setdefault(index, digest) != digest:
                    raise InputError(
                        f"{self.source.names[index]!r} in {self.source.description} changed "
                        "while it was read; run again when no program writes it"
                    )
            for index in (*batch.indices, *batch.failures):
                self._release(index)
            for i, index in enumerate(batch.indices):
                before = collected.get(index)
                host: list[Any] = [None] * len(self.spaces)
                device: list[Any] = [None] * len(self.spaces)
                if isinstance(before, _Row):
                    host = list(before.host)
                for number, (on_host, on_device) in features.items():
                    host[number], device[number] = on_host[i], on_device[i]
                collected[index] = _Row(tuple(host), tuple(device), batch.metadata[i])
            collected |= batch.failures
            while at < len(self.chunks) and all(
                i in collected and _is_final(collected[i]) for i in self.chunks[at]
            ):
                yield self._assemble(self.chunks[at], collected)
                before_these += len(self.chunks[at])
                at += 1
            done = before_these + len(collected)
            self.report(min(done * self.how.comm.size, self.n))

    def _assemble(self, indices: Sequence[int], collected: dict[int, _Row | str]) -> ExtractedChunk:
        """Return a chunk of collected rows, and remove them from ``collected``."""
        results = [collected.pop(index) for index in indices]
        rows = {i: result for i, result in enumerate(results) if isinstance(result, _Row)}
        failures = {i: result for i, result in enumerate(results) if isinstance(result, str)}
        chunks = []
        for number in range(len(self.spaces)):
            features = [row.host[number] for row in rows.values()]
            chunks.append(
                Chunk(
                    features=np.stack(features) if features else np.empty((0, 0), np.float32),  # type: ignore[arg-type]
                    positions=tuple(rows),
                    metadata=tuple(row.metadata for row in rows.values()),
                    failed=tuple(failures),
                )
            )
            self._sum_up(number, chunks[-1], [row.device[number] for row in rows.values()])
        digests = {index: self.digests.pop(index) for index in indices if index in self.digests}
        return ExtractedChunk(chunks, failures, digests)

    def _sum_up(self, number: int, chunk: Chunk, on_device: Sequence[Any]) -> None:
        """Add a chunk to the moments of a space, on the GPU if its features are there."""
        vectors = self.how.moments and chunk.features.ndim == 2
        if not vectors or not np.isfinite(chunk.features).all():  # the collector raises the error
            return
        on_gpu = on_device and all(d is not None and d.device.type == "cuda" for d in on_device)
        self._moments[number].add(_stacked(on_device) if on_gpu else chunk.features)

    def _embed(
        self, images: Iterable[int | EncodedImage], collected: dict[int, _Row | str]
    ) -> Iterator[tuple[Batch, dict[int, tuple[Any, Any]]]]:
        """Yield batches with the features of their images in each space where one is missing.

        Features are on the host and on the device.
        """
        from gan_metrics.images.loader import load

        embedder = self.networks()
        on_cpu = embedder.device.type == "cpu"
        workers = self.how.workers
        if workers is None:
            workers = 0 if on_cpu else min(8, os.cpu_count() or 1)
        # While a GPU computes one batch, the next one is launched and the last one is copied.
        launched: deque[tuple[Batch, dict[int, Any]]] = deque()
        for batch in load(
            self.source,
            images,
            self.decoding,
            batch_size=self.how.batch_size or (8 if on_cpu else 64),
            workers=workers,
            pin=embedder.device.type == "cuda",
        ):
            groups = batch.groups(embedder.device)
            numbers = self._missing_spaces(batch, collected) if groups else []
            found = embedder.embed(groups, [self.spaces[i] for i in numbers])
            for number, values in zip(numbers, found, strict=True):
                if self.how.moments:
                    self.spaces[number].check_vectors(values.shape)
            launched.append((batch, dict(zip(numbers, map(_fetch, found), strict=True))))
            if on_cpu or len(launched) > 1:
                yield _fetched(launched.popleft())
        yield from map(_fetched, launched)
        if embedder.most is not None:
            self.warnings.append(
                (
                    "smaller-batches",
                    f"a batch did not fit into the device's memory; at most {embedder.most} images "
                    "do: set --batch-size to avoid the attempts",
                )
            )

    def _missing_spaces(self, batch: Batch, collected: dict[int, _Row | str]) -> list[int]:
        """Return the spaces in which an image of a batch is not known yet."""
        rows = [collected.get(index) for index in batch.indices]
        return [
            number
            for number in range(len(self.spaces))
            if any(not isinstance(row, _Row) or row.host[number] is None for row in rows)
        ]

    def report(self, done: int) -> None:
        """Report the number of finished images of all ranks together."""
        if self.how.progress:
            self.how.progress(self.source.description, done, self.n)


def _is_final(result: _Row | str) -> bool:
    """Whether an image is known in all spaces, or known to fail."""
    return isinstance(result, str) or result.whole


def _stacked(rows: Iterable[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(list(rows))


def _fetch(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Start copying features to the host; return them on host and device, and the end event."""
    import torch

    if features.device.type != "cuda":
        return features.cpu(), features, None
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    host.copy_(features, non_blocking=True)
    event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(features.device))
    return host, features, event


def _fetched(item: tuple[Batch, dict[int, Any]]) -> tuple[Batch, dict[int, tuple[Any, Any]]]:
    """Wait until the copies of a batch's features have arrived."""
    batch, fetches = item
    found = {}
    for number, (host, device, event) in fetches.items():
        if event is not None:
            event.synchronize()
        found[number] = (host.numpy(), device)
    return batch, found


def draw_images(n: int, wanted: int | None, seed: int) -> list[int]:
    """Return all indices, or ``wanted`` of them drawn without replacement, in rising order."""
    if wanted is None or wanted >= n:
        return list(range(n))
    drawn = np.random.default_rng(seed).choice(n, wanted, replace=False)
    return sorted(int(index) for index in drawn)
