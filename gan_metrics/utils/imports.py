"""Import an object by ``package.module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

__all__ = ["import_object"]


def import_object(text: str, *, current_folder: bool = False) -> Any:  # noqa: ANN401
    """Import a module and return one of its objects.

    Args:
        text: ``package.module:name``, where ``name`` may have dots.
        current_folder: Whether modules in the current folder can be imported too. The folder is
            added to the end of ``sys.path`` and stays there.

    Raises:
        ImportError, AttributeError: If the module or name does not exist; also anything that the
            module itself raises.
    """
    module, _, name = text.partition(":")
    if current_folder and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
