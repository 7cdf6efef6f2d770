"""Text and JSON that can be written anywhere, whatever bytes a file name is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["as_text", "dumps", "loads", "printable"]


def as_text(name: str) -> str:
    """A file name that may hold bytes that are no text, with those escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def printable(text: str, keep: str = "") -> str:
    r"""A text for a terminal, with control characters and bytes that are no text escaped.

    Args:
        text: It may come from a file, or be a file's name.
        keep: Control characters that stay as they are, such as ``"\\n"``.
    """
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode()
        for c in as_text(text)
    )


def dumps(
    document: Mapping[str, Any], indent: int | None = None, *, ascii_only: bool = False
) -> str:
    """JSON that can be written anywhere: NaN is refused, file names of any bytes are escaped."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=ascii_only)
    return as_text(text)


def loads(text: str | bytes) -> Any:  # noqa: ANN401
    """JSON, of which every number is one.

    Raises:
        ValueError: When it is no JSON, or holds NaN or a number that float64 cannot hold.
    """
    return json.loads(text, parse_constant=_number, parse_float=_number)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text}")
    return value
