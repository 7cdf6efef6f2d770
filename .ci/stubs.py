"""Write ``gan_metrics/__init__.pyi``: the public names, with every option of every function.

``python .ci/stubs.py`` writes the file; a test compares it with what this module gives.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import gan_metrics

TARGET = Path(gan_metrics.__file__).with_name("__init__.pyi")

_ALIASES = {
    "Input": "gan_metrics.inputs.sets",
    "Arguments": "gan_metrics.evaluation.run",
    "BackboneName": "gan_metrics.backbones.registry",
    "LabelsLike": "gan_metrics.images.labels",
    "Weights": "gan_metrics.inputs.options",
    "Progress": "gan_metrics.utils.progress",
}
"""Names of types that have no module of their own, and where they are defined."""


def stubs() -> str:
    """The text of the stub file."""
    imports: dict[str, set[str]] = {}
    functions = []
    for name in sorted(gan_metrics.__all__):
        if name in ("metrics", "training"):
            imports.setdefault("gan_metrics", set()).add(f"{name} as {name}")
            continue
        value = getattr(gan_metrics, name)
        if not hasattr(value, "__signature__"):
            module = gan_metrics._HOME_OF[name]
            imports.setdefault(module, set()).add(f"{name} as {name}")
            continue
        signature = inspect.signature(value)
        for used in _names(signature):
            if used not in gan_metrics.__all__ and (module := _home(used, value)):
                imports.setdefault(module, set()).add(used)
        functions.append(_definition(name, signature))
    lines = [
        f"from {module} import {', '.join(sorted(names))}" for module, names in imports.items()
    ]
    every = "\n".join(f"    {name!r}," for name in gan_metrics.__all__)
    return (
        "# Made by `python .ci/stubs.py`; a test compares.\nimport os\n"
        + "\n".join(sorted(lines))
        + f"\n\n__version__: str\n__all__ = [\n{every}\n]\n\n"
        + "\n\n".join(functions)
        + "\n"
    ).replace("'", '"')


def _definition(name: str, signature: inspect.Signature) -> str:
    """A function's parameters, one a line."""
    lines, keyword_only = [], False
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("    *,")
        default = "" if one.default is one.empty else f" = {_shown(one.default)}"
        lines.append(f"    {one.name}: {one.annotation}{default},")
    return "\n".join([f"def {name}(", *lines, f") -> {signature.return_annotation}: ..."])


def _shown(default: Any) -> str:
    return repr(default) if isinstance(default, str | int | float | bool | None) else "..."


def _names(signature: inspect.Signature) -> set[str]:
    """The identifiers in the annotations."""
    texts = [str(one.annotation) for one in signature.parameters.values()]
    return set(re.findall(r"[A-Za-z_][\w.]*", " ".join([*texts, str(signature.return_annotation)])))


def _home(name: str, function: Any) -> str | None:
    """The module to import a name of an annotation from; ``None`` for built-in names."""
    if name == "os.PathLike":
        return None
    if name in _ALIASES:
        return _ALIASES[name]
    found = inspect.unwrap(function).__globals__.get(name)
    if found is None:
        found = getattr(importlib.import_module("gan_metrics.inputs.options"), name, None)
    if found is None or name in ("None", "True", "False"):
        return None
    module = "typing" if found is Any else str(found.__module__)
    return None if module == "builtins" else module


if __name__ == "__main__":
    TARGET.write_text(stubs())
