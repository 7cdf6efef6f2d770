"""Draw the layers of the package in ``docs/design.md`` from the contract in ``pyproject.toml``.

``python .ci/layers.py`` writes the block between the two marks; a test compares it.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design.md"
BEGIN = "<!-- layers: made by `python .ci/layers.py` -->\n"
END = "<!-- end of layers -->\n"


def layers() -> list[str]:
    """Names of packages and modules in the order of imports: the lowest first."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^layers = \[\n(.*?)^\]", text, re.M | re.S)
    if block is None:
        raise ValueError("pyproject.toml has no layers contract")
    return re.findall(r'"(\w+)"', block[1])[::-1]


def drawing() -> str:
    """Each layer with the first sentence of its docstring and its modules."""
    lines = []
    for name in layers():
        path = ROOT / "gan_metrics" / name
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        summary = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]
        shown = f"{name}/" if path.is_dir() else f"{name}.py"
        lines.append(f"{shown:<16} {summary}")
        if path.is_dir():
            inside = [one.stem for one in path.glob("*.py") if one.stem != "__init__"]
            inside += [f"{one.parent.name}/" for one in path.glob("*/__init__.py")]
            modules = ", ".join(sorted(inside))
            lines += textwrap.wrap(modules, 78, initial_indent=" " * 17, subsequent_indent=" " * 17)
    return f"{BEGIN}\n```text\n" + "\n".join(lines) + f"\n```\n\n{END}"


def page() -> str:
    """The page with the drawing in its place."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + drawing() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
