"""What needs images or a generator rather than features: distances that people would see."""

from gan_metrics.perceptual.pairs import lpips_diversity
from gan_metrics.perceptual.paths import ppl
from gan_metrics.perceptual.values import Perceived, network_of, perceive

__all__ = ["Perceived", "lpips_diversity", "network_of", "perceive", "ppl"]
