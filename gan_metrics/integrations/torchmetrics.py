"""Use the objects of :mod:`gan_metrics.training` as torchmetrics metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from gan_metrics.results.result import EvaluationResult, MetricResult
from gan_metrics.training.accumulators import Accumulator
from gan_metrics.utils.optional import require

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TorchMetric"]

_Metric: Any = require("torchmetrics", "torchmetrics").Metric


class TorchMetric(_Metric):  # type: ignore[misc]
    """An object of :mod:`gan_metrics.training` as a ``torchmetrics.Metric``.

    For Lightning's ``self.log`` and for ``MetricCollection``. ``compute`` returns a scalar tensor,
    or for :class:`~gan_metrics.training.Metrics` a dictionary of them; the complete results, with
    error bars, are in ``.result``. The object itself gathers over ranks. ``forward`` adds images
    and computes nothing.

    Args:
        metric: The object.
        keep_real: Whether ``reset`` keeps added real images.

    Attributes:
        result: Result of the last ``compute``.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, metric: Accumulator, keep_real: bool = True) -> None:
        super().__init__(sync_on_compute=False)
        self.metric, self._keep_real = metric, keep_real
        self.result: Any = None
        self.register_buffer("_place", torch.empty(0), persistent=False)

    def update(self, images: torch.Tensor, real: bool = False) -> None:
        """Add a batch; see :meth:`gan_metrics.training.FID.update`."""
        self.metric.update(images, real=real)

    def compute(self) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the value of all images; a dictionary if there are several metrics."""
        self.result = self.metric.compute()
        if isinstance(self.result, EvaluationResult):
            return {name: self._tensor(one) for name, one in self.result.items()}
        return self._tensor(self.result)

    def forward(self, images: torch.Tensor, real: bool = False) -> None:
        """Add a batch; the value of a single batch would be meaningless."""
        self.update(images, real=real)

    def reset(self) -> None:
        """Remove the images."""
        super().reset()
        self.metric.reset(keep_real=self._keep_real)

    def _tensor(self, value: MetricResult) -> torch.Tensor:
        return torch.tensor(float(value), device=self._place.device)

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        before = self._place.device
        found: Self = super()._apply(fn, *args, **kwargs)
        if self._place.device != before:
            self.metric.to(self._place.device)
        return found
