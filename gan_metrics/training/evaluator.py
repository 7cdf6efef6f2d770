"""Evaluate a generator while it trains."""

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
"""Length or shape of a latent; or a function that returns latents for a number and a seed."""

Log = Callable[[int, EvaluationResult], Any]
"""Called with a step and its result. If it has a method ``samples(step, images)``, that is called
with the first images, ``uint8``, N × 3 × H × W."""


class Evaluator:
    """Draws images, computes metrics, logs them and saves the best generator, every N steps.

    The latents are the same each time, given by the seed, so that points of a curve can be
    compared. Real images are read once. The generator runs in eval mode and without gradients; its
    modes, torch's random state and its device are restored afterwards.

    Args:
        reference: The real images, as for :class:`~gan_metrics.training.FID`.
        metrics: Names of metrics or families; the first one decides which generator is the best.
        n_fake: Number of images drawn each time.
        latent: Length or shape of a latent, default: defined by the generator; or a function of
            ``(n, seed)`` that returns all latents, ``n × …``.
        every: Evaluate at multiples of this step; other steps cost nothing.
        batch_size: Images per call of the generator, and per pass of the network.
        seed: Seed of the latents and of the generator's own random numbers, default 0; and of the
            metrics, default: the protocol's, else 0.
        value_range: Values of black and white in images that are not ``uint8``, of the generator
            and of the real images; default: the generator's attribute ``value_range``.
        num_classes: Number of classes of a conditional generator, as for
            :class:`gan_metrics.Generated`.
        log: A ``.jsonl`` to which a line is appended each time, a function of ``(step, result)``
            such as those of :mod:`gan_metrics.integrations`, or several of these.
        keep: File for the best generator's ``state_dict``, or a function of ``(generator, step,
            result)`` that saves it.
        options: ``backbone``, ``layer``, ``protocol``, ``weights``, ``precision``, ``device``,
            ``error_bars``, ``arguments``, ``comm``, as for
            :class:`~gan_metrics.training.Metrics`. If several ranks work together, each one draws
            its share of the same images, and the main rank logs and saves.

    Attributes:
        history: Pairs of a step and its result.

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
                f"latent({n_fake}, {self.seed}) returned {len(self._latents)} latents; expected "
                f"{n_fake}"
            )
        self._said: dict[str, Any] = {"value_range": value_range, "num_classes": num_classes}
        logs: Sequence[Any] = log if isinstance(log, list | tuple) else [log]
        self._logs = [one if callable(one) else _Lines(one) for one in logs]
        if keep is not None and not callable(keep):
            check_target(Path(keep))
        self._keep = keep
        self._metrics = Metrics(rows, reference, seed=seed, value_range=value_range, **options)
        if self._metrics.reference is None:
            raise UsageError("an Evaluator needs a reference: its real images do not change")
        self.history: list[tuple[int, EvaluationResult]] = []
        self._best: tuple[int, float] | None = None

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best generator so far; ``None`` before the first evaluation."""
        return self._best

    def __call__(self, generator: GeneratorLike, step: int = 0) -> EvaluationResult | None:
        """Evaluate a generator.

        Args:
            generator: As for :class:`gan_metrics.Generated`; averaged weights are a generator like
                any other.
            step: Step of the training.

        Returns:
            The result; ``None`` unless ``step`` is a multiple of ``every``.

        Raises:
            InputError: If the generator fails, or returns NaN or something other than images.
            ComputationError: If the first metric is impossible for its images.
        """
        if step % self.every:
            return None
        if isinstance(generator, DistributedDataParallel):
            generator = generator.module  # DDP would synchronize ranks at each call
        self._metrics.reset()
        try:
            with self.comm.fail_together():
                warnings, first = self._draw(self._generator(generator))
                result = _with_warnings(self._metrics.compute(), warnings)
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
                    self._save_best(generator, step, result)
        self.history.append((step, result))
        if best:
            self._best = (step, float(result[self.leading]))
        return result

    @property
    def comm(self) -> Comm:
        """The ranks that share the work."""
        return self._metrics.comm

    def to(self, device: str | torch.device) -> Evaluator:
        """Move the networks that embed the images."""
        self._metrics.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs: the best value so far."""
        return {"best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`."""
        best = state["best"]
        self._best = None if best is None else (int(best[0]), float(best[1]))

    def _draw(self, drawn: Generator) -> tuple[list[ResultWarning], torch.Tensor | None]:
        """Draw and embed this rank's images; return warnings of all ranks and the first batch."""
        first: torch.Tensor | None = None
        batches = range(0, self.n_fake, self.batch_size)
        for number in self.comm.share(len(batches)):
            indices = range(self.n_fake)[batches[number] : batches[number] + self.batch_size]
            z = None if self._latents is None else self._latents[indices.start : indices.stop]
            images = drawn.images(self.seed, indices, z)
            self._metrics._embed(images, real=False)  # N × C × H × W, whatever ``layout`` says
            first = images[:, :3].expand(-1, 3, -1, -1) if first is None else first
        warnings = self.comm.gather(list(drawn.warnings))  # of the first rank that has a code
        by_code = {code: (code, text) for own in reversed(warnings) for code, text in own}
        return list(by_code.values()), first

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

    def _save_best(self, generator: GeneratorLike, step: int, result: EvaluationResult) -> None:
        if self._keep is None:
            return
        if callable(self._keep):
            self._keep(generator, step, result)
            return
        if not isinstance(generator, nn.Module):
            raise UsageError(
                f"keep={os.fspath(self._keep)} saves the state of a module, but the generator is a "
                f"{type(generator).__name__}; give a function of (generator, step, result)"
            )
        with atomic_path(Path(self._keep)) as temporary:
            torch.save(generator.state_dict(), temporary)


def _with_warnings(found: EvaluationResult, warnings: Sequence[ResultWarning]) -> EvaluationResult:
    """Return results with additional warnings for every value."""
    results = {
        name: replace(result, warnings=unique([*result.warnings, *warnings]))
        for name, result in found.items()
    }
    return EvaluationResult(results, found.not_computed)


class _Lines:
    """A log file of JSON lines."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        check_target(self._path)

    def __call__(self, step: int, result: EvaluationResult) -> None:
        line = json.dumps({"step": step, **result.to_json()})
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise ResourceError(f"cannot write {self._path}: {error.strerror}") from None
