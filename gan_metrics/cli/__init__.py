"""The command line: commands over the library. A command's module is imported when it runs."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

__all__ = ["main"]


def main() -> None:
    """Run the command line; always ends with ``SystemExit`` and the exit code."""
    # Pillow warns about metadata; the coded warnings of gan-metrics report what matters of it.
    warnings.filterwarnings("ignore", module=r"PIL(\..*)?$")
    # A stream that the caller has closed is None; print would then fall back to another stream.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from gan_metrics.cli.app import app

        app(prog_name="gan-metrics")
    except KeyboardInterrupt:
        _leave_at_once()
    except SystemExit as leave:
        if leave.code == _INTERRUPTED:
            _leave_at_once()
        raise


_INTERRUPTED = 130


def _leave_at_once() -> None:
    """Exit without the tear-down of torch, which takes a second."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if "multiprocessing" in sys.modules:  # end decoding processes now
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    os._exit(_INTERRUPTED)
