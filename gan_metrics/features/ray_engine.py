"""Chunks of images embedded by a pool of Ray's actors, on this machine or on a cluster.

The actors read the source themselves, by the same code as one process, so pixels and features are
the same. A piece of work is some chunks that lie beside each other. An actor that dies is started
again and its piece done again, by Ray. Moments stay where they are made and are merged there, some
at a time, in a tree; features come back in order.
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
"""Of a piece, at most; as many images as make their moments no larger than their features."""

_AHEAD = 2
"""Pieces that wait for each actor, so that none is idle."""

_FAN = 8
"""Moments that are merged at a time."""

_RETRIES = 3
"""Times that an actor may die, and that a piece is tried again."""

_CPUS = 4
"""Of an actor without a GPU: more threads than that gain little."""


class RayStream:
    """Chunks of a source in order, like :class:`~gan_metrics.features.chunks.ChunkStream`.

    Args:
        source: The images; it is sent to the actors, which must be able to read it.
        spaces: The feature spaces, of one way of decoding.
        how: Batches, actors (``workers``), cache.
        chunks: Of each chunk, the indices of its images.
        n: How many images there are.

    Attributes:
        warnings: Pairs of a code and a message; complete at the end.

    Raises:
        UsageError: When Ray is not installed, or has nobody to do the work.
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
        """Of all features in a space, once all chunks were given; ``None`` where there are none."""
        return self._merged[number]

    def report(self, done: int) -> None:
        """Tell of so many images that are done."""
        if self._how.progress:
            self._how.progress(self._description, done, self._n)

    def run(self) -> Generator[ExtractedChunk, None, None]:
        """Every chunk in order.

        Raises:
            GanMetricsError: As for :meth:`ChunkStream.run`.
            ResourceError: When actors die again and again.
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
                f"Ray's actors died {_RETRIES + 1} times ({first}); they may be short of memory: "
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
        """How many actors, and what each of them holds."""
        there = self._ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        on_gpu = gpus >= 1 and not self._how.device.startswith("cpu")
        most = gpus if on_gpu else cpus
        count = self._how.workers or int(gpus if on_gpu else max(1, cpus // _CPUS))
        if most < 1 or count > most:
            raise UsageError(
                f"--workers {count}: Ray has {most:g} {'GPUs' if on_gpu else 'CPUs'} to give; "
                "start it with more, or take fewer"
            )
        each = {"num_cpus": float(max(1, int(cpus // count)))} if not on_gpu else {"num_gpus": 1.0}
        return count, each


class _Tree:
    """Moments that are merged where they are, eight at a time, as soon as they can be."""

    def __init__(self, ray: ModuleType) -> None:
        self._ray = ray
        self._merge = ray.remote(_merge).options(num_cpus=0, max_retries=_RETRIES)
        self._levels: list[list[Any]] = []

    def add(self, sums: object, level: int = 0) -> None:
        """Take in what a piece, or a merger of some, gives."""
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(sums)
        if len(self._levels[level]) == _FAN:
            eight, self._levels[level] = self._levels[level], []
            self.add(self._merge.remote(*eight), level + 1)

    def merged(self) -> list[Moments | None]:
        """The moments of all, in each space."""
        rest = [sums for level in reversed(self._levels) for sums in level]
        found: list[Moments | None] = self._ray.get(self._merge.remote(*rest))
        return found


def _merge(*parts: list[Moments | None]) -> list[Moments | None]:
    """Of each space the moments of several pieces."""
    return [
        merged(some) if any(one is not None for one in some) else None
        for some in zip(*parts, strict=True)
    ]


class _Worker:
    """An actor: the networks, and the chunks that it is given."""

    def __init__(self, work: Sequence[Any], resources: dict[str, float]) -> None:
        import ray
        import torch

        self._source, self._spaces, self._how = ray.get(work[0])  # also once it is begun anew
        if threads := resources.get("num_cpus"):
            torch.set_num_threads(int(threads))

    @functools.cached_property
    def _networks(self) -> Embedder:
        from gan_metrics.backbones.multi_space import Embedder

        return Embedder(self._how.device)

    def embed(
        self, chunks: Sequence[Sequence[int]]
    ) -> tuple[tuple[list[ExtractedChunk], list[tuple[str, str]]], list[Moments | None]]:
        """Some chunks and what there is to know of them; and their moments in each space."""
        stream = ChunkStream(
            self._source, self._spaces, lambda: self._networks, self._how, chunks, 0
        )
        with contextlib.closing(stream.run()) as finished:
            done = [one if self._how.features else one.summed_up() for one in finished]
        sums = [stream.moments(number) for number in range(len(self._spaces))]
        return (done, stream.warnings), sums
