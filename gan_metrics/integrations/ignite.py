"""A handler for pytorch-ignite."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from gan_metrics.integrations.loggers import scalars
from gan_metrics.training.evaluator import Evaluator
from gan_metrics.utils.optional import require

if TYPE_CHECKING:
    from ignite.engine import Engine, Events

__all__ = ["GanMetricsHandler"]


class GanMetricsHandler:
    """Evaluates a generator at an event of an engine, and stores the values in its metrics.

    ``engine.state.metrics`` contains ``fid``, ``fid_low`` and ``fid_high``, which ignite's loggers,
    ``Checkpoint`` and ``EarlyStopping`` can use.

    Args:
        evaluator: The evaluator. Its ``every`` counts iterations.
        generator: The generator, or a function without arguments that returns it.
    """

    def __init__(self, evaluator: Evaluator, generator: nn.Module | Callable[[], Any]) -> None:
        self.evaluator, self._generator = evaluator, generator

    def attach(self, engine: Engine, event: Events | None = None) -> None:
        """Run at an event; default: the end of each epoch."""
        events = require("ignite.engine", "ignite").Events
        engine.add_event_handler(events.EPOCH_COMPLETED if event is None else event, self)

    def __call__(self, engine: Engine) -> None:
        """Evaluate now."""
        found = self._generator
        generator = found if isinstance(found, nn.Module) else found()
        result = self.evaluator(generator, engine.state.iteration)
        if result is not None:
            engine.state.metrics.update(scalars(result))
