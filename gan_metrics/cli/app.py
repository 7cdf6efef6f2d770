"""The commands, in the order of ``--help``. Each imports what it needs when it runs."""

from __future__ import annotations

# isort: off
# The order of this import is the order of the commands in the help.
from gan_metrics.cli import evaluate, reports, weights, metrics, datasets, cache
from gan_metrics.cli.main_options import app

__all__ = ["app", "cache", "datasets", "evaluate", "metrics", "reports", "weights"]
