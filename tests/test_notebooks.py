"""The notebooks as they are committed; `make notebooks` executes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SWITCH = 'FULL = os.environ.get("GAN_METRICS_FULL", "0") not in ("", "0")'


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_they_are_numbered_from_one() -> None:
    assert [int(path.stem[:2]) for path in NOTEBOOKS] == list(range(1, 9))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_a_run_is_kept(path: Path) -> None:
    document = read(path)
    assert document["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in document["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_path_of_a_machine(path: Path) -> None:
    assert not re.findall(
        r"""["'(\s](?:/(?:home|root|tmp|Users|work)/|[A-Z]:\\\\)""", path.read_text()
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_reads_like_a_tutorial(path: Path) -> None:
    cells = read(path)["cells"]
    assert 10 <= len(cells) <= 25
    assert cells[0]["cell_type"] == "markdown"
    assert source(cells[0]).startswith("# ")
    assert "GAN_METRICS_FULL=1" in source(cells[0])
    assert source(cells[-1]).startswith("## Summary\n")
    code = [source(cell) for cell in cells if cell["cell_type"] == "code"]
    assert SWITCH in code[0]
    assert sum(text.count(SWITCH) for text in code) == 1
    assert any(re.search(r"^if FULL:", text, re.MULTILINE) for text in code)
    assert any(re.search(r"^ *assert ", text, re.MULTILINE) for text in code)
    for text in code:
        compile(text, path.name, "exec")


def test_the_documentation_links_to_each() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text()
    assert re.findall(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", page) == [one.stem for one in NOTEBOOKS]
    assert "notebooks.md" in (ROOT / "mkdocs.yml").read_text()


def test_ci_executes_them() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines.index("make notebooks") > lines.index("make test")
    assert "--nbmake" in (ROOT / "Makefile").read_text()


def test_pictures_are_small() -> None:
    concepts = (ROOT / "docs" / "concepts.md").read_text()
    shown = re.findall(r"!\[([^\]]{40,})\]\(pictures/([\w-]+\.\w+)\)", concepts)
    assert len(shown) == 3
    for _, name in shown:
        assert (ROOT / "docs" / "pictures" / name).stat().st_size < 60_000
