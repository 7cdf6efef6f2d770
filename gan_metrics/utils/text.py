"""Text and JSON that can always be written, even with file names of arbitrary bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["as_text", "dumps", "loads", "printable"]


def as_text(name: str) -> str:
    """Return a file name with bytes that are not valid text escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def printable(text: str, keep: str = "") -> str:
    r"""Return text for a terminal, with control characters and invalid bytes escaped.

    Args:
        text: Text that may come from a file or be a file name.
        keep: Control characters to keep, such as ``"\\n"``.
    """
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode()
        for c in as_text(text)
    )


def dumps(
    document: Mapping[str, Any], indent: int | None = None, *, ascii_only: bool = False
) -> str:
    """Return JSON that can always be written: NaN is refused, file names are escaped."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=ascii_only)
    return as_text(text)


def loads(text: str | bytes) -> Any:  # noqa: ANN401
    """Parse JSON in which every number is finite.

    Raises:
        ValueError: If it is not JSON, or contains NaN or a number too large for float64.
    """
    return json.loads(text, parse_constant=_number, parse_float=_number)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it contains {text}")
    return value
