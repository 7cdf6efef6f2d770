"""What CI makes of pip-audit's answer: faults end the run, silence is not taken for health."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit.py"
FAULTY = {
    "name": "left", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]
}  # fmt: skip
SOUND = {"name": "right", "version": "3.0", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ({"dependencies": [FAULTY, SOUND]}, 1, "left 1.0: PYSEC-1, fixed in 1.1, 2.0"),
        ({"dependencies": [FAULTY, SOUND]}, 1, "1 known vulnerabilities in 2 packages"),
        ({"dependencies": [SOUND]}, 0, "0 known vulnerabilities in 1 packages"),
        ({"dependencies": [SKIPPED]}, 0, "NOT AUDITED, no advisories available for 1: unknown"),
        ("", 0, "NOT AUDITED: pip-audit ended with 0"),
    ],
)
def test_what_it_says(answer: object, code: int, says: str, tmp_path: Path) -> None:
    text = json.dumps(answer) if answer else ""
    (tmp_path / "pip_audit.py").write_text(f"print({text!r})")
    done = subprocess.run(
        [sys.executable, str(AUDIT)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert says in done.stdout
