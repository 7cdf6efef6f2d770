"""Optional parts of the installation, imported where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from gan_metrics.errors import UsageError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        module: Its dotted name, such as ``"faiss"``.
        extra: The extra's name, such as ``"search"``.

    Raises:
        UsageError: When it is not installed, with the command that mends it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"this needs {module}, which is not to be had here ({error}); "
            f"pip install 'gan-metrics[{extra}]' brings it"
        ) from None
