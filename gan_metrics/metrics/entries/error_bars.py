"""Descriptions of standard errors that several entries share."""

from __future__ import annotations

__all__ = ["INFLUENCE"]

INFLUENCE = "closed form, from the influence of each image; for the expected value at these n"
