"""The verbs. Each imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

from gan_metrics.cli import cache, datasets, evaluate, metrics, reports, weights
from gan_metrics.cli.main_options import app

__all__ = ["app", "cache", "datasets", "evaluate", "metrics", "reports", "weights"]
