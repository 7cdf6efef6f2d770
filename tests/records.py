"""What the tests of faults tried, for the table in docs/faults-table.md."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["record"]


def record(fault: str, tried: int, outcome: str) -> None:
    """Note how often a fault was injected and what came of it.

    Nothing is noted unless the environment variable ``FAULTS_RECORD`` names a file.
    """
    if path := os.environ.get("FAULTS_RECORD"):
        with open(Path(path), "a", encoding="utf-8") as file:
            file.write(json.dumps({"fault": fault, "tried": tried, "outcome": outcome}) + "\n")
