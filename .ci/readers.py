"""Write the table of ``docs/sources.md`` from the table of readers.

``python .ci/readers.py`` writes the block between the two marks; a test compares it.
"""

from __future__ import annotations

from pathlib import Path

from gan_metrics.inputs.readers import READERS

PAGE = Path(__file__).parents[1] / "docs" / "sources.md"
BEGIN = "<!-- readers: made by `python .ci/readers.py` -->\n"
END = "<!-- end of readers -->\n"


def table() -> str:
    """Each kind of file or folder, an example, and the names of its images."""
    lines = ["| given | what it is | names of the images |", "|---|---|---|"]
    for reader in READERS.built_in().values():
        lines.append(f"| `{reader.example}` | {reader.name} | {reader.image_names} |")
    return f"{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}"


def page() -> str:
    """The page with the table in its place."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + table() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
