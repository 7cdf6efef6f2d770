"""The verbs. Each imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

from gan_metrics.cli import evaluations, figures, networks, scores, sets, upkeep
from gan_metrics.cli.root import app

__all__ = ["app", "evaluations", "figures", "networks", "scores", "sets", "upkeep"]
