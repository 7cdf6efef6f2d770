"""Embed chunks of images with a pool of Ray actors, on this machine or on a cluster.

The actors read the source with the same code as a single process, so pixels and features are the
same. A task consists of consecutive chunks. If an actor dies, Ray restarts it and repeats its task.
Moments stay where they are computed and are merged there in a tree; features are returned in order.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.errors import GanMetricsError, ResourceError, UsageError
from gan_metrics.features.chunks import ChunkStream, ExtractedChunk, ExtractionOptions
from gan_metrics.images.sources import ImageSource
from gan_metrics.metrics.moments import Moments, merged
from gan_metrics.utils.optional import require

if TYPE_CHECKING:
    from gan_metrics.backbones.multi_space import Embedder

__all__ = ["RayStream"]

_CHUNKS = 8
"""Most chunks of a task; as many images as make its moments no larger than its features."""

_AHEAD = 2
"""Waiting tasks for each actor, so that none is idle."""

_FAN = 8
"""Moments merged at a time."""

_RETRIES = 3
"""How often an actor may die, and a task is repeated."""

_CPUS = 4
"""Threads of an actor without a GPU; more gain little."""


class RayStream:
    """Chunks of a source in order, like :class:`~gan_metrics.features.chunks.ChunkStream`.

    Args:
        source: The images; sent to the actors, which must be able to read them.
        spaces: The feature spaces, with equal decoding.
        how: Options for batches, actors (``workers``) and cache.
        chunks: For each chunk, the indices of its images.
        n: Number of images.

    Attributes:
        warnings: Pairs of a code and a message; complete at the end.

    Raises:
        UsageError: If Ray is not installed, or has no CPUs or GPUs.
    """

    def __init__(
        self,
        source: ImageSource,
        spaces: Sequence[FeatureSpace],
        how: ExtractionOptions,
        chunks: Sequence[Sequence[int]],
        n: int,
    ) -> None:
        self._ray: Any = require("ray", "ray")
        self._work = (source, spaces, replace(how, progress=None, workers=0))
        self._how, self._description, self._n = how, source.description, n
        self._chunks = chunks
        self._merged: list[Moments | None] = [None for _ in spaces]
        self.warnings: list[tuple[str, str]] = []

    def moments(self, number: int) -> Moments | None:
        """Return the moments of all features in a space, after the last chunk; may be ``None``."""
        return self._merged[number]

    def report(self, done: int) -> None:
        """Report the number of finished images."""
        if self._how.progress:
            self._how.progress(self._description, done, self._n)

    def run(self) -> Generator[ExtractedChunk, None, None]:
        """Yield every chunk in order.

        Raises:
            GanMetricsError: As for :meth:`ChunkStream.run`.
            ResourceError: If actors die repeatedly.
        """
        ray = self._ray
        begun = not ray.is_initialized()
        if begun:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            yield from self._run()
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, GanMetricsError | MemoryError):
                raise cause from None
            raise
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ResourceError(
                f"Ray's actors died {_RETRIES + 1} times ({first}), perhaps for lack of memory: "
                "try fewer --workers"
            ) from None
        finally:
            if begun:
                ray.shutdown()

    def _run(self) -> Generator[ExtractedChunk, None, None]:
        ray = self._ray
        count, resources = self._pool()
        size = max(1, min(_CHUNKS, len(self._chunks) // (count * _AHEAD)))
        pieces = [self._chunks[i : i + size] for i in range(0, len(self._chunks), size)]
        kind = ray.remote(_Worker).options(
            max_restarts=_RETRIES, max_task_retries=_RETRIES, **resources
        )
        shared = ray.put(self._work)
        actors = [kind.remote([shared], resources) for _ in range(min(count, len(pieces)))]
        tree = _Tree(ray)
        waiting: dict[Any, tuple[int, Any]] = {}
        done: dict[int, Any] = {}
        load = dict.fromkeys(range(len(actors)), 0)
        begun = 0
        for wanted in range(len(pieces)):
            while wanted not in done:
                last = min(len(pieces), wanted + 2 * _AHEAD * len(actors))
                while begun < last and min(load.values()) < _AHEAD:
                    who = min(load, key=load.__getitem__)
                    made, sums = actors[who].embed.options(num_returns=2).remote(pieces[begun])
                    waiting[made] = (begun, who)
                    tree.add(sums)
                    load[who] += 1
                    begun += 1
                ready, _ = ray.wait(list(waiting), num_returns=1)
                number, who = waiting.pop(ready[0])
                done[number] = ready[0]
                load[who] -= 1
            chunks, warnings = ray.get(done.pop(wanted))
            self.warnings += [one for one in warnings if one not in self.warnings]
            yield from chunks
        if self._how.moments:
            self._merged = tree.merged()

    def _pool(self) -> tuple[int, dict[str, float]]:
        """Return the number of actors, and the resources of each."""
        there = self._ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        on_gpu = gpus >= 1 and not self._how.device.startswith("cpu")
        most = gpus if on_gpu else cpus
        count = self._how.workers or int(gpus if on_gpu else max(1, cpus // _CPUS))
        if most < 1 or count > most:
            raise UsageError(
                f"--workers {count}: Ray has {most:g} free {'GPUs' if on_gpu else 'CPUs'}; start "
                "it with more, or use fewer workers"
            )
        each = {"num_cpus": float(max(1, int(cpus // count)))} if not on_gpu else {"num_gpus": 1.0}
        return count, each


class _Tree:
    """Moments, merged where they are computed, eight at a time, as soon as possible."""

    def __init__(self, ray: ModuleType) -> None:
        self._ray = ray
        self._merge = ray.remote(_merge).options(num_cpus=0, max_retries=_RETRIES)
        self._levels: list[list[Any]] = []

    def add(self, sums: object, level: int = 0) -> None:
        """Add the moments of a task, or of a merge."""
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(sums)
        if len(self._levels[level]) == _FAN:
            eight, self._levels[level] = self._levels[level], []
            self.add(self._merge.remote(*eight), level + 1)

    def merged(self) -> list[Moments | None]:
        """Return the moments of all tasks in each space."""
        rest = [sums for level in reversed(self._levels) for sums in level]
        found: list[Moments | None] = self._ray.get(self._merge.remote(*rest))
        return found


def _merge(*parts: list[Moments | None]) -> list[Moments | None]:
    """Merge the moments of several tasks in each space."""
    return [
        merged(some) if any(one is not None for one in some) else None
        for some in zip(*parts, strict=True)
    ]


class _Worker:
    """An actor: its networks, and the embedding of chunks."""

    def __init__(self, work: Sequence[Any], resources: dict[str, float]) -> None:
        import ray
        import torch

        self._source, self._spaces, self._how = ray.get(work[0])  # also after a restart
        if threads := resources.get("num_cpus"):
            torch.set_num_threads(int(threads))

    @functools.cached_property
    def _networks(self) -> Embedder:
        from gan_metrics.backbones.multi_space import Embedder

        return Embedder(self._how.device)

    def embed(
        self, chunks: Sequence[Sequence[int]]
    ) -> tuple[tuple[list[ExtractedChunk], list[tuple[str, str]]], list[Moments | None]]:
        """Return the chunks with their metadata, and their moments in each space."""
        stream = ChunkStream(
            self._source, self._spaces, lambda: self._networks, self._how, chunks, 0
        )
        with contextlib.closing(stream.run()) as finished:
            done = [one if self._how.features else one.without_features() for one in finished]
        sums = [stream.moments(number) for number in range(len(self._spaces))]
        return (done, stream.warnings), sums
