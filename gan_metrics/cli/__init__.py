"""Verbs over the library, nothing else. A verb's module is imported when it runs."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; leaves by ``SystemExit`` with the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from gan_metrics.cli.app import app

        app(prog_name="gan-metrics")
    except KeyboardInterrupt:
        sys.exit(130)
