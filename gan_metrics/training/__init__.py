"""Metrics in a training loop, updated batch by batch, without files and without a second pass.

>>> from gan_metrics.training import FID
>>> import torch
>>> metric = FID(backbone="efficientnet-lite0", device="cpu")
>>> images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
>>> result = metric.update(images, real=True).update(images.flip(0)).compute()
>>> abs(float(result)) < 1e-3
True
"""

from gan_metrics.training.accumulators import FID, KID, InceptionScore, Metrics, PrecisionRecall
from gan_metrics.training.evaluator import Evaluator
from gan_metrics.training.loss import FrechetLoss

__all__ = ["FID", "KID", "Evaluator", "FrechetLoss", "InceptionScore", "Metrics", "PrecisionRecall"]
