"""Check the installed packages for known vulnerabilities with pip-audit.

    python .ci/audit.py [OPTION OF PIP-AUDIT ...]

Exits with 1 if there is one. If no advisories are available, pip-audit skips every package and
prints "No known vulnerabilities found"; this script then reports that nothing was audited.
"""

from __future__ import annotations

import json
import subprocess
import sys

#: Advisories that do not reach us, each with the reason.
IGNORED: dict[str, str] = {}


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json",
               "--progress-spinner", "off", *sys.argv[1:]]  # fmt: skip
    command += [part for name in IGNORED for part in ("--ignore-vuln", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"NOT AUDITED: pip-audit ended with {done.returncode}:\n{done.stderr.strip()[-800:]}")
        return 0
    rows = [row for row in rows if row["name"] != "gan-metrics"]
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    found = [(row, fault) for row in rows for fault in row.get("vulns", ())]
    for row, fault in found:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{row['name']} {row['version']}: {fault['id']}, fixed in {fixed}")
    audited = len(rows) - len(skipped)
    print(f"pip-audit: {len(found)} known vulnerabilities in {audited} packages")
    if skipped:
        print(f"NOT AUDITED, no advisories available for {len(skipped)}: {', '.join(skipped)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
