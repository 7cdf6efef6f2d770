"""A generator evaluated as it trains."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gan_metrics.distributed import Comm
from gan_metrics.errors import InputError, ResourceError, UsageError
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.generators.calling import Generator, GeneratorLike, load_generator
from gan_metrics.metrics.registry import METRICS, expand
from gan_metrics.results.result import EvaluationResult
from gan_metrics.training.accumulators import Metrics
from gan_metrics.training.loaders import Reference
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.validation import whole_number

__all__ = ["Evaluator"]

Latent = int | Sequence[int] | Callable[[int, int], torch.Tensor]
"""Length or shape of a latent; or what gives so many of them for a seed."""

Log = Callable[[int, EvaluationResult], Any]
"""Told of a step and what was found there. If it has a method ``samples(step, images)``, it is
told of the first images too, ``uint8``, N × 3 × H × W."""


class Evaluator:
    """Draws, embeds, computes, logs and keeps the best, every so many steps of a training.

    The latents are the same each time, by their seed, so that points of a curve compare. The real
    side is looked at once. The generator runs in eval mode and without gradients; its modes,
    torch's random state and its device are afterwards as they were.

    Args:
        reference: The real side, as for :class:`~gan_metrics.training.FID`.
        metrics: Names of metrics or families; the first one says which generator is the best.
        n_fake: Images that are drawn each time.
        latent: Length or shape of a latent, by default what the generator says; or a function of
            ``(n, seed)`` that gives all of them, ``n × …``.
        every: Evaluate at steps that this divides; others cost nothing.
        batch_size: Images per call of the generator, and per pass of the network.
        seed: Of the latents and of what the generator draws itself, by default 0; and of the
            metrics, by default the protocol's, else 0.
        value_range: The values that are black and white in images of another type than ``uint8``,
            those of the generator and of the real side; by default the generator's attribute
            ``value_range``.
        num_classes: Of a conditional generator, as for :class:`gan_metrics.Generated`.
        log: A ``.jsonl`` that a line is appended to each time, a function of ``(step, result)``
            such as those of :mod:`gan_metrics.integrations`, or several of these.
        keep: Where the best generator's ``state_dict`` is written, or a function of ``(generator,
            step, result)`` that is called for it.
        options: ``backbone``, ``layer``, ``protocol``, ``weights``, ``precision``, ``device``,
            ``error_bars``, ``arguments``, ``comm``, as for
            :class:`~gan_metrics.training.Metrics`. Where ranks work together, each of them draws
            its share of the same images, and the leading one logs and keeps.

    Attributes:
        history: Pairs of a step and what was found there.

    Raises:
        GanMetricsError: As for :class:`~gan_metrics.training.Metrics`.
    """

    def __init__(
        self,
        reference: Reference,
        metrics: str | Iterable[str] = ("fid",),
        *,
        n_fake: int = 10_000,
        latent: Latent | None = None,
        every: int = 1,
        batch_size: int = 64,
        seed: int | None = None,
        value_range: Sequence[float] | None = None,
        num_classes: int | None = None,
        log: str | os.PathLike[str] | Log | Sequence[str | os.PathLike[str] | Log] = (),
        keep: str | os.PathLike[str] | Callable[[Any, int, EvaluationResult], Any] | None = None,
        **options: Any,
    ) -> None:
        for name, value in (("n_fake", n_fake), ("every", every), ("batch_size", batch_size)):
            whole_number(name, value, least=1)
        rows = expand(metrics)
        self.leading = next(iter(rows))
        self._better = METRICS[rows[self.leading].name].better
        self.n_fake, self.every, self.batch_size = n_fake, every, batch_size
        self.seed = 0 if seed is None else whole_number("seed", seed, least=0)
        self._latent, self._latents = (
            latent,
            None if not callable(latent) else latent(n_fake, self.seed),
        )
        if self._latents is not None and len(self._latents) != n_fake:
            raise InputError(
                f"latent({n_fake}, {self.seed}) gives {len(self._latents)} latents, not {n_fake}"
            )
        self._said: dict[str, Any] = {"value_range": value_range, "num_classes": num_classes}
        logs: Sequence[Any] = log if isinstance(log, list | tuple) else [log]
        self._logs = [one if callable(one) else _Lines(one) for one in logs]
        if keep is not None and not callable(keep):
            check_target(Path(keep))
        self._keep = keep
        self._metrics = Metrics(rows, reference, seed=seed, value_range=value_range, **options)
        if self._metrics.reference is None:
            raise UsageError("an Evaluator needs a reference: the real side does not change")
        self.history: list[tuple[int, EvaluationResult]] = []
        self._best: tuple[int, float] | None = None

    @property
    def best(self) -> tuple[int, float] | None:
        """The step of the best generator so far, and its value; ``None`` before the first."""
        return self._best

    def __call__(self, generator: GeneratorLike, step: int = 0) -> EvaluationResult | None:
        """Evaluate a generator.

        Args:
            generator: As for :class:`gan_metrics.Generated`; an average of weights is a generator
                like any other.
            step: Of the training.

        Returns:
            What was found; ``None`` at a step that ``every`` does not divide.

        Raises:
            InputError: When the generator fails, or gives NaN or something else than images.
            ComputationError: When the leading metric is impossible on its images.
        """
        if step % self.every:
            return None
        if isinstance(generator, DistributedDataParallel):
            generator = generator.module  # else ranks would wait for each other at each call
        self._metrics.reset()
        try:
            with self.comm.fail_together():
                warnings, first = self._draw(self._generator(generator))
                result = _with(self._metrics.compute(), warnings)
        finally:
            self._metrics.reset()
        if self.leading not in result:
            raise InputError(f"{self.leading} has no value: {result.not_computed[self.leading]}")
        best = self._is_best(float(result[self.leading]))
        with self.comm.fail_together():
            if self.comm.is_main:
                for log in self._logs:
                    log(step, result)
                    if first is not None and hasattr(log, "samples"):
                        log.samples(step, first)
                if best:
                    self._keep_it(generator, step, result)
        self.history.append((step, result))
        if best:
            self._best = (step, float(result[self.leading]))
        return result

    @property
    def comm(self) -> Comm:
        """The ranks that share the work."""
        return self._metrics.comm

    def to(self, device: str | torch.device) -> Evaluator:
        """Move the networks that look at the images."""
        self._metrics.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on must know: the best so far."""
        return {"best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        best = state["best"]
        self._best = None if best is None else (int(best[0]), float(best[1]))

    def _draw(self, drawn: Generator) -> tuple[list[ResultWarning], torch.Tensor | None]:
        """Draw and embed this rank's share of the images: warnings of all ranks, first batch."""
        first: torch.Tensor | None = None
        batches = range(0, self.n_fake, self.batch_size)
        for number in self.comm.share(len(batches)):
            indices = range(self.n_fake)[batches[number] : batches[number] + self.batch_size]
            z = None if self._latents is None else self._latents[indices.start : indices.stop]
            images = drawn.images(self.seed, indices, z)
            self._metrics._embed(images, real=False)  # N × C × H × W, whatever ``layout`` says
            first = images[:, :3].expand(-1, 3, -1, -1) if first is None else first
        told = self.comm.gather(list(drawn.warnings))
        notes = {code: (code, text) for one in reversed(told) for code, text in one}
        return list(notes.values()), first

    def _generator(self, given: GeneratorLike) -> Generator:
        size = None if callable(self._latent) else self._latent
        if self._latents is not None:
            size = tuple(self._latents.shape[1:])
        return load_generator(given, z_size=size, **self._said)

    def _is_best(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self._best is None:
            return True
        if self._better == "zero":
            return abs(value) < abs(self._best[1])
        return (value > self._best[1]) == (self._better == "higher") and value != self._best[1]

    def _keep_it(self, generator: GeneratorLike, step: int, result: EvaluationResult) -> None:
        if self._keep is None:
            return
        if callable(self._keep):
            self._keep(generator, step, result)
            return
        if not isinstance(generator, nn.Module):
            raise UsageError(
                f"keep={os.fspath(self._keep)} writes a module's state, and the generator is "
                f"{type(generator).__name__}; give a function of (generator, step, result)"
            )
        with atomic_path(Path(self._keep)) as temporary:
            torch.save(generator.state_dict(), temporary)


def _with(found: EvaluationResult, warnings: Sequence[ResultWarning]) -> EvaluationResult:
    """The same with more to know of every value."""
    told = {
        name: replace(result, warnings=unique([*result.warnings, *warnings]))
        for name, result in found.items()
    }
    return EvaluationResult(told, found.not_computed)


class _Lines:
    """A file of JSON lines."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        check_target(self._path)

    def __call__(self, step: int, result: EvaluationResult) -> None:
        line = json.dumps({"step": step, **result.to_json()})
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise ResourceError(f"{self._path} cannot be written: {error.strerror}") from None
