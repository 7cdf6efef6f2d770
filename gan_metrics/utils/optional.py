"""Import optional dependencies, with a clear error if an extra is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from gan_metrics.errors import UsageError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        module: Its dotted name, such as ``"faiss"``.
        extra: The extra's name, such as ``"search"``.

    Raises:
        UsageError: If it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"this needs {module}, which cannot be imported ({error}); install it with: "
            f"pip install 'gan-metrics[{extra}]'"
        ) from None
