"""From a source and a backbone to features, kept as they are made."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.cache import CHUNK, Cache, Chunk
from gan_metrics.errors import ComputationError, ImageError, InputError, ResourceError, UsageError
from gan_metrics.images.decode import Facts, Tally, decode
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


_FEW = 8
"""Images of a chunk that are decoded to see whether they can be, before a network is asked for."""

_BLOCK = 4096
"""Rows that moments take in at a time."""

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
        cache: Where features are kept; ``None``: nowhere.
        moments: Whether mean and covariance are computed on the way.
        progress: Told of the images as they are done.
    """

    batch_size: int | None = None
    workers: int | None = None
    on_error: str = "raise"
    max_images: int | None = None
    seed: int = 0
    cache: Cache | None = None
    moments: bool = True
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
        array: ``float32``, ``n × D``; a memory map where it would fill the memory. Maps of an
            unpooled layer keep their shape, ``n × C × H × W``.
        spec: The feature space.
        skipped: Pairs of a name and a reason for the images that were left out.
        tally: Counts of the facts about the images.
        digest: SHA-256, in hex, over the SHA-256 of each image's bytes, in order.
        warnings: Pairs of a code and a message.
        protocol: Name of the protocol they were made by.
        known_moments: Their moments, if they were computed on the way.
        description: Where they come from, for a person.
    """

    names: Sequence[str]
    array: npt.NDArray[np.float32]
    spec: FeatureSpec
    skipped: Sequence[tuple[str, str]] = ()
    tally: Tally = field(default_factory=Tally)
    digest: str = ""
    warnings: Sequence[tuple[str, str]] = ()
    protocol: str | None = None
    known_moments: Moments | None = None
    description: str = ""

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance.

        Raises:
            UsageError: When the features are maps, not vectors.
        """
        if self.known_moments is not None:
            return self.known_moments
        if self.array.ndim != 2:
            raise UsageError(
                f"these features are maps of shape {self.array.shape[1:]}; metrics need vectors"
            )
        stream = MomentsStream()
        for start in range(0, len(self.array), _BLOCK):
            stream.add(self.array[start : start + _BLOCK])
        return stream.finish()


@dataclass(frozen=True)
class _Row:
    """One image's features, on the host and, if they were just computed, on the device."""

    host: npt.NDArray[np.float32]
    device: Any
    facts: Facts


@dataclass(frozen=True)
class _Finished:
    """A chunk; position to what went wrong; its features on the device, if that is a GPU."""

    chunk: Chunk
    failures: dict[int, str]
    on_device: Any


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
        self._hashed: dict[int, list[Future[bytes | None]]] = {}
        self._looked_up: tuple[int, dict[int, _Row | str]] = (-1, {})

    def run(self) -> Features:
        rows = _Rows(len(self.indices))
        stream, tally = MomentsStream(), Tally()
        names: list[str] = []
        skipped: list[tuple[str, str]] = []
        done = 0
        for indices, finished in zip(self.chunks, self._all_chunks(), strict=True):
            for position, reason in sorted(finished.failures.items()):
                name = self.source.names[indices[position]]
                if self.how.on_error == "raise":
                    raise ImageError(
                        f"{os.path.join(self.source.description, name)!r}: {reason}. "
                        "--on-error skip leaves bad images out and lists them"
                    )
                skipped.append((name, reason))
            chunk = finished.chunk
            kept = [self.source.names[indices[position]] for position in chunk.positions]
            self._check_finite(chunk.features, kept)
            if len(kept):
                self._check_vectors(chunk.features.shape)
            rows.add(chunk.features)
            if self.how.moments:
                stream.add(chunk.features if finished.on_device is None else finished.on_device)
            names += kept
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
        return Features(
            names=names,
            array=rows.array(),
            spec=self.choice.spec,
            skipped=skipped,
            tally=tally,
            digest=self._digest(),
            warnings=self.warnings,
            protocol=self.choice.protocol.name,
            known_moments=stream.finish() if self.how.moments else None,
            description=self.source.description,
        )

    def _all_chunks(self) -> Iterator[_Finished]:
        """Every chunk in order: from the cache, or computed, missing images in one go."""
        wrote = False
        at = 0
        try:
            while at < len(self.chunks):
                known = self._known(at)
                if len(known) == len(self.chunks[at]):
                    yield self._assemble(self.chunks[at], known)
                    at += 1
                    continue
                for finished in self._compute(at, known):
                    wrote |= self._keep(at, finished.chunk)
                    yield finished
                    at += 1
        finally:
            self._hashing.shutdown(wait=False, cancel_futures=True)
            if wrote and self.how.cache is not None:
                self.how.cache.trim()

    def _known(self, at: int) -> dict[int, _Row | str]:
        """Of a chunk's images, what the cache knows; those that fail now as they failed then."""
        if self.how.cache is None:
            return {}
        if at == self._looked_up[0]:
            return self._looked_up[1]
        indices = self.chunks[at]
        digests = self._digests_of(at)
        chunk = self.how.cache.look_up(self.choice.spec, self.choice.decoding, digests)
        known: dict[int, _Row | str] = {}
        if chunk is not None:
            rows = zip(chunk.positions, chunk.features, chunk.facts, strict=True)
            known = {indices[i]: _Row(features, None, facts) for i, features, facts in rows}
            unknown = sorted(set(range(len(indices))) - set(chunk.positions))
            # Bad images are in no cache; without this look at them they would cost a network.
            for position in unknown if len(unknown) <= _FEW else chunk.failed:
                try:
                    decode(self.source.read(indices[position]), self.choice.decoding)
                except ImageError as error:
                    known[indices[position]] = str(error)
        self._looked_up = (at, known)
        return known

    def _digests_of(self, at: int) -> list[bytes | None]:
        """SHA-256 of the bytes of a chunk's images; ``None`` for one that cannot be read.

        Some chunks ahead are hashed meanwhile, so that neither the network nor the disk waits.
        """
        for ahead in range(at, min(at + 1 + _HASHED_AHEAD, len(self.chunks))):
            if ahead not in self._hashed:
                self._hashed[ahead] = [
                    self._hashing.submit(self._digest_of, i) for i in self.chunks[ahead]
                ]
        digests = [future.result() for future in self._hashed[at]]
        for done in [chunk for chunk in self._hashed if chunk < at - _HASHED_AHEAD]:
            del self._hashed[done]
        for index, digest in zip(self.chunks[at], digests, strict=True):
            if digest is not None:
                self.digests[index] = digest
        return digests

    def _digest_of(self, index: int) -> bytes | None:
        try:
            return hashlib.sha256(self.source.read(index)).digest()
        except ImageError:
            return None

    def _keep(self, at: int, chunk: Chunk) -> bool:
        if self.how.cache is None or not np.isfinite(chunk.features).all():
            return False  # a run that will end in an error; so may the cause of it
        digests = [self.digests.get(index) for index in self.chunks[at]]
        why = self.how.cache.keep(self.choice.spec, self.choice.decoding, digests, chunk)
        if why and not self._unkept:
            self._unkept = True
            self.warnings.append(("cache-not-written", f"features are not kept: {why}"))
        return why is None

    def _missing(self, first: int, collected: dict[int, _Row | str]) -> Iterator[int]:
        """The images that must be computed, from a chunk on, up to one that is wholly known.

        What is known of the others is put to what is collected.
        """
        for at in range(first, len(self.chunks)):
            known = self._known(at)
            if at > first and len(known) == len(self.chunks[at]):
                return
            collected |= known
            yield from (index for index in self.chunks[at] if index not in known)

    def _compute(self, at: int, known: dict[int, _Row | str]) -> Iterator[_Finished]:
        """Decode and embed images as one stream of batches that do not end where chunks do."""
        collected = dict(known)
        for batch, features in self._embed(self._missing(at, collected)):
            for index, digest in batch.digests.items():
                if self.digests.setdefault(index, digest) != digest:
                    raise InputError(
                        f"{self.source.names[index]!r} in {self.source.description} changed "
                        "while it was being read; run again once it is still"
                    )
            found = () if features is None else zip(*features, batch.facts, strict=True)
            rows = [_Row(*row) for row in found]
            collected |= dict(zip(batch.indices, rows, strict=True))
            collected |= batch.failures
            while at < len(self.chunks) and all(i in collected for i in self.chunks[at]):
                yield self._assemble(self.chunks[at], collected)
                at += 1
            self._report(min(at * CHUNK + len(collected), len(self.indices)))

    def _assemble(self, indices: Sequence[int], collected: dict[int, _Row | str]) -> _Finished:
        """A chunk of what was collected, which is taken out."""
        results = [collected.pop(index) for index in indices]
        rows = {i: result for i, result in enumerate(results) if isinstance(result, _Row)}
        failures = {i: result for i, result in enumerate(results) if isinstance(result, str)}
        features = np.empty((0, 0), np.float32)
        on_device = None
        if rows:
            features = np.stack([row.host for row in rows.values()])
            devices = [row.device for row in rows.values()]
            if all(device is not None and device.device.type == "cuda" for device in devices):
                import torch

                on_device = torch.stack(devices)
        chunk = Chunk(
            features=features,
            positions=tuple(rows),
            facts=tuple(row.facts for row in rows.values()),
            failed=tuple(failures),
        )
        return _Finished(chunk, failures, on_device)

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
            if features is not None:
                self._check_vectors(features.shape)
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

    def _check_vectors(self, shape: Sequence[int]) -> None:
        if self.how.moments and len(shape) != 2:
            raise UsageError(
                f"layer {self.choice.spec.layer!r} with pool {self.choice.spec.pool} gives maps of "
                f"shape {tuple(shape[1:])}; metrics need vectors: choose another --pool"
            )

    def _check_finite(self, features: npt.NDArray[np.float32], names: Sequence[str]) -> None:
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        if not finite.all():
            raise ComputationError(
                f"the network gives NaN or infinity for {names[int(np.argmin(finite))]!r} in "
                f"{self.source.description}; look at that image, or at the weights and precision"
            )


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
    return batch, (host.numpy(), device)


class _Rows:
    """An array that grows to at most ``n`` rows, in memory or in a file without a name."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._shape: tuple[int, ...] = ()
        self._parts: list[npt.NDArray[np.float32]] = []
        self._file: Any = None
        self._filled = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        if not len(rows):
            return
        if not self._filled:
            self._shape = rows.shape[1:]
            self._file = self._open()
        self._filled += len(rows)
        if self._file is None:
            self._parts.append(rows)
            return
        try:
            self._file.write(rows.tobytes())
        except OSError as error:
            raise self._no_room(error) from error

    def array(self) -> npt.NDArray[np.float32]:
        """The rows; a file is mapped into memory, and goes with the mapping."""
        if self._file is None:
            return np.concatenate(self._parts)
        with self._file:
            self._file.flush()
            shape = (self._filled, *self._shape)
            return np.memmap(self._file, np.float32, "r", shape=shape)

    def _open(self) -> Any:
        size = self._size()
        if size <= _IN_MEMORY:
            return None
        try:
            file = tempfile.TemporaryFile(prefix="gan-metrics-")  # noqa: SIM115
            if hasattr(os, "posix_fallocate"):  # a full disk is said now, not hours later
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise self._no_room(error) from error
        return file

    def _size(self) -> int:
        return self._n * math.prod(self._shape) * 4

    def _no_room(self, error: OSError) -> ResourceError:
        return ResourceError(
            f"no room for {self._size() / 2**30:.1f} GiB of features in {tempfile.gettempdir()} "
            f"({error.strerror}); point TMPDIR at a larger disk"
        )


def _draw(n: int, wanted: int | None, seed: int) -> list[int]:
    """All indices, or ``wanted`` of them without replacement, in rising order."""
    if wanted is None or wanted >= n:
        return list(range(n))
    drawn = np.random.default_rng(seed).choice(n, wanted, replace=False)
    return sorted(int(index) for index in drawn)
