"""Hooks of the site: pages that are made of files elsewhere, and of the program's own help.

No text stands twice: the change log, SECURITY.md and their like are pages of the site as they are,
and links between them and the pages below docs/ hold here as they do in the repository.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/NOTES.md": "speed-notes.md",
    "benchmarks/results/speed.md": "speed-table.md",
    "reference_stats/README.md": "reference_stats.md",
    "examples/accelerate_loop.py": "examples/accelerate_loop.md",
    "examples/train_gan.py": "examples/train_gan.md",
    **{
        f"notebooks/{path.name}": f"notebooks/{path.stem}.md"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    },
}
"""Files of the repository, and the pages of the site that they are."""

WIDE = ("comparison.md", "speed-table.md")
"""Pages with wide tables."""

_HOME = {page: file for file, page in PAGES.items()}
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file below docs/."""
    from mkdocs.structure.files import File

    made = {page: _page(file) for file, page in PAGES.items()}
    made["reference/cli.md"] = command_line()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links between files of the repository be links between pages of the site."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["navigation", "toc"]
    return relinked(markdown, page.file.src_uri)


def _page(file: str) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        return _notebook(text)
    if not file.endswith(".py"):
        return text
    title, _, _ = text.partition("\n")
    return f"# {Path(file).name}\n\n{title.strip(chr(34))}\n\n```python\n{text}```\n"


def _notebook(text: str) -> str:
    """The cells of a notebook, one below the other."""
    shown = []
    for cell in json.loads(text)["cells"]:
        body = "".join(cell["source"])
        shown.append(body if cell["cell_type"] == "markdown" else f"```python\n{body}\n```")
    return "\n\n".join(shown) + "\n"


def relinked(markdown: str, page: str) -> str:
    """The text of a page, its links to files of the repository led to their pages.

    Args:
        markdown: The text.
        page: The page, relative to the folder of the site's pages.
    """
    place = posixpath.dirname(_HOME.get(page, f"docs/{page}"))

    def lead(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        file = posixpath.normpath(posixpath.join(place, target))
        found = PAGES.get(file, file[len("docs/") :] if file.startswith("docs/") else None)
        if found is None:
            return match[0]
        return f"{before}{posixpath.relpath(found, posixpath.dirname(page) or '.')}{after}"

    return _LINK.sub(lead, markdown)


def command_line() -> str:
    """The page of the command line: every verb's help at 80 columns, as the program prints it."""
    sys.path.insert(0, str(ROOT))
    try:
        from typer.main import get_command
        from typer.testing import CliRunner

        from gan_metrics.cli.app import app
    finally:
        sys.path.remove(str(ROOT))
    text = [
        "# Command line",
        "",
        "The output of `gan-metrics COMMAND --help`. REAL and FAKE are always in that order; see",
        "[sources](../sources.md) for what they can be. Exit codes are those of the",
        "[errors](errors.md).",
        "",
    ]
    runner, program = CliRunner(), get_command(app)
    width = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "TERM": "dumb", "NO_COLOR": "1"}

    def describe(command: Any, path: list[str]) -> None:
        done = runner.invoke(app, [*path, "--help"], prog_name="gan-metrics", env=width)
        if done.exit_code:
            raise RuntimeError(f"{path}: {done.output}")
        said = "\n".join(line.rstrip() for line in done.output.strip("\n").splitlines())
        level = "#" * (2 + bool(path[1:]))
        text.extend([f"{level} {' '.join(['gan-metrics', *path])}", "", "```text", said, "```", ""])
        for name, below in getattr(command, "commands", {}).items():
            describe(below, [*path, name])

    describe(program, [])
    return "\n".join(text)
