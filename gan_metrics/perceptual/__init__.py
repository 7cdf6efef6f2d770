"""Metrics of images or of a generator, which take no features."""

from gan_metrics.perceptual.pairs import lpips_diversity
from gan_metrics.perceptual.paths import ppl

__all__ = ["lpips_diversity", "ppl"]
