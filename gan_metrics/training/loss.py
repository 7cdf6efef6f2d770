"""The Fréchet distance as a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gan_metrics.errors import InputError
from gan_metrics.images.in_memory import check_value_range
from gan_metrics.metrics.frechet import frechet_distance
from gan_metrics.training.accumulators import FID
from gan_metrics.training.loaders import Reference
from gan_metrics.utils.validation import whole_number

__all__ = ["FrechetLoss"]


class FrechetLoss(nn.Module):
    """The Fréchet distance between a reference and generated images, with gradients.

    A covariance needs far more images than a batch has. Therefore features of earlier batches are
    kept in a queue, without gradients, and the distance is that of the queue and the batch
    together. Its gradient with respect to the batch is that of the batch's influence (arXiv
    2604.28190). The queue should hold more images than there are dimensions, and fewer than the
    generator needs to change.

    Args:
        reference: The real images, as for :class:`~gan_metrics.training.FID`; only their moments
            are used.
        queue: Number of images of earlier batches, of all ranks together.
        value_range: Values of black and white, such as ``(-1, 1)``.
        options: ``backbone``, ``layer``, ``pool``, ``protocol``, ``weights``, ``device``,
            ``seed``, ``comm`` as for :class:`~gan_metrics.training.FID`. If several ranks work
            together, the distance is that of all their images, and its gradient is the mean of
            their gradients, which ``DistributedDataParallel`` computes.

    Raises:
        UsageError: For an unknown name or value range.
        MismatchError: If the reference has another feature space.
        WeightsError: If the weights are unavailable.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        queue: int = 4096,
        value_range: Sequence[float] = (-1, 1),
        device: str | torch.device = "auto",
        **options: Any,
    ) -> None:
        super().__init__()
        queue = whole_number("queue", queue, least=0)
        low_high = check_value_range(value_range)
        assert low_high is not None  # noqa: S101
        self.value_range = low_high
        self.queue = queue
        fid = FID(reference, device=device, error_bars=False, **options)
        self._fid = fid
        self.moments = fid.known.moments
        self._waiting: list[torch.Tensor] = []

    @property
    def held(self) -> int:
        """Number of images in the queue."""
        return sum(map(len, self._waiting))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the distance of the queue and these images, and add them to the queue.

        Args:
            images: Floating point in ``value_range``, ``N × 3 × H × W``, RGB.

        Returns:
            A float64 scalar, differentiable with respect to the images.

        Raises:
            InputError: For another dtype or shape, or NaN.
            ComputationError: If there is only one image and the queue is empty.
        """
        if not images.is_floating_point():
            raise InputError(f"the loss needs floating-point images, not {images.dtype}")
        if not images.detach().isfinite().all():
            raise InputError("the images contain NaN or infinity")
        low, high = self.value_range
        features = self._fid.backbone.differentiable(
            (images.float() - low) * (255.0 / (high - low))
        )
        batch = self._of_all_ranks(features)
        loss = frechet_distance(torch.cat([*self._waiting, batch]), self.moments)
        self._push(batch.detach())
        return loss

    def _of_all_ranks(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features of all ranks; this rank's gradient is multiplied by their number.

        The mean of the ranks' gradients, which ``DistributedDataParallel`` computes, is then the
        gradient of the distance of all images.
        """
        comm = self._fid.comm
        if comm.size == 1:
            return features
        own = features.detach()
        found = [torch.from_numpy(part).to(own) for part in comm.gather(own.cpu().numpy())]
        found[comm.rank] = own + comm.size * (features - own)
        return torch.cat(found)

    def reset(self) -> None:
        """Empty the queue."""
        self._waiting = []

    def _push(self, features: torch.Tensor) -> None:
        self._waiting.append(features)
        while self._waiting and self.held - len(self._waiting[0]) >= self.queue:
            self._waiting.pop(0)
        if (more := self.held - self.queue) > 0:
            self._waiting[0] = self._waiting[0][more:]
        self._waiting = [part for part in self._waiting if len(part)]
