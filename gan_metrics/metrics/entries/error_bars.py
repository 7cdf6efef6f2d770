"""How standard errors are computed, in the words that several entries share."""

from __future__ import annotations

__all__ = ["INFLUENCE"]

INFLUENCE = "closed form, by the influence of each image; for the expected value at these n"
