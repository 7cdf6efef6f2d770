"""Print what the slow tests gave as a table, from pytest's JUnit file.

``make slow`` writes ``docs/slow-tests-table.md`` with it.
"""

from __future__ import annotations

import platform
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from datetime import date
from importlib.metadata import version


def table(path: str) -> str:
    """One row for each module of tests: how many passed, were skipped and failed, and the time."""
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0])
    failed = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        row = rows[case.get("classname", "").replace(".", "/") + ".py"]
        outcome = {child.tag for child in case}
        kind = 2 if outcome & {"failure", "error"} else 1 if "skipped" in outcome else 0
        row[kind] += 1
        row[3] += float(case.get("time", 0))
        if kind == 2:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
    total = [sum(row[i] for row in rows.values()) for i in range(4)]
    lines = [
        "# Slow tests",
        "",
        f"What `make slow` gave on {date.today()}: Python {platform.python_version()}, torch "
        f"{version('torch')}, NumPy {version('numpy')}. Seconds are of one machine.",
        "",
        "| tests | passed | skipped | failed | seconds |",
        "|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(f'{n:.0f}' for n in row)} |" for name, row in rows.items()),
        f"| all | {' | '.join(f'{n:.0f}' for n in total)} |",
    ]
    if failed:
        lines += ["", "Failed:", "", *(f"- `{name}`" for name in failed)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(sys.argv[1]), end="")
