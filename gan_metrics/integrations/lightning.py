"""A callback for Lightning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gan_metrics.errors import UsageError
from gan_metrics.integrations.loggers import scalars
from gan_metrics.training.evaluator import Evaluator
from gan_metrics.utils.optional import require
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from gan_metrics.training.loaders import Reference

__all__ = ["GanMetricsCallback"]

# Lightning can be installed under two names; use the one that the program has imported.
_NAME = "pytorch_lightning" if "pytorch_lightning" in sys.modules else "lightning.pytorch"
_Callback: Any = require(_NAME, "lightning").Callback


class GanMetricsCallback(_Callback):  # type: ignore[misc]
    """Evaluates the generator of a ``LightningModule`` while it trains.

    The trainer logs ``fid``, and ``fid_low`` and ``fid_high``, the ends of the 95 % interval;
    ``ModelCheckpoint(monitor="fid")`` and ``EarlyStopping`` can monitor them. With several devices
    each one draws and embeds its share.

    Args:
        reference: The real images, as for :class:`~gan_metrics.training.Evaluator`.
        metrics: Names of metrics or families.
        generator: Name of the module's attribute with the generator, such as averaged weights; or
            a function of the module that returns it.
        every_n_steps: Number of optimizer steps; ``None``: after each validation, and without
            validation after each epoch.
        checkpoint: File for the trainer's checkpoint, written whenever the first metric improves.
        options: Options of :class:`~gan_metrics.training.Evaluator`: ``n_fake``, ``latent``,
            ``value_range``, ``backbone`` and so on.

    Attributes:
        evaluator: The evaluator, after the training was set up.
    """

    def __init__(
        self,
        reference: Reference,
        metrics: str | Iterable[str] = ("fid",),
        *,
        generator: str | Callable[[Any], Any] = "generator",
        every_n_steps: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if every_n_steps is not None:
            every_n_steps = whole_number("every_n_steps", every_n_steps, least=1)
        if "every" in options:
            raise UsageError("use every_n_steps instead of every")
        self._arguments = (reference, metrics)
        self._options = options
        self._generator, self._every = generator, every_n_steps
        self._checkpoint = checkpoint
        self.evaluator: Evaluator | None = None
        self._saved: dict[str, Any] | None = None
        self._seen = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the evaluator on this rank's device, and read the reference."""
        self._found(pl_module)  # report a wrong name before the first epoch
        if self.evaluator is None:
            options = {"device": str(trainer.strategy.root_device), **self._options}
            self.evaluator = Evaluator(*self._arguments, **options)
            if self._saved is not None:
                self.evaluator.load_state_dict(self._saved)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, if it is due."""
        if self._every is None and not trainer.sanity_checking:
            self._evaluate(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, if there is no validation."""
        if self._every is None and not trainer.enable_validation:
            self._evaluate(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Evaluate, if it is due."""
        step = trainer.global_step
        if self._every is not None and step // self._every > max(self._seen, 0) // self._every:
            self._evaluate(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {} if self.evaluator is None else self.evaluator.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what a checkpoint stored."""
        if "best" not in state_dict:
            return
        self._saved = dict(state_dict)
        if self.evaluator is not None:
            self.evaluator.load_state_dict(self._saved)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.evaluator is not None  # noqa: S101
        step = self._seen = trainer.global_step
        before = self.evaluator.best
        result = self.evaluator(self._found(pl_module), step)
        assert result is not None  # noqa: S101
        values = scalars(result)
        # Values that a module logs in a step are sent to loggers repeatedly until the epoch ends.
        pl_module.log_dict(values, logger=False)
        for logger in trainer.loggers:
            logger.log_metrics(values, step)
        if self._checkpoint is not None and self.evaluator.best != before:
            trainer.save_checkpoint(os.fspath(self._checkpoint))

    def _found(self, pl_module: LightningModule) -> Any:  # noqa: ANN401
        if callable(self._generator):
            return self._generator(pl_module)
        if not hasattr(pl_module, self._generator):
            raise UsageError(
                f"{type(pl_module).__name__} has no attribute {self._generator!r}; give the "
                "name of the generator's attribute, or a function of the module"
            )
        return getattr(pl_module, self._generator)
