"""Metrics of images or of a generator, which do not use features."""

from gan_metrics.image_metrics.pairs import lpips_diversity
from gan_metrics.image_metrics.path_length import ppl

__all__ = ["lpips_diversity", "ppl"]
