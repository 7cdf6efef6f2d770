"""The README does what it says: its snippets run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import call
from conftest import LITE0
from data import crops, write_folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def demo_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("real", "gaussian-mixture", "pca-gaussian", "held-out")):
        write_folder(tmp_path / "demo" / name, crops(72, seed, 32, 32))


@pytest.mark.usefixtures("coarse_lite0", "demo_folders")
def test_the_snippets_run(capsys: pytest.CaptureFixture[str]) -> None:
    shell = [block for block in blocks("sh") if "gan-metrics" in block]
    assert len(shell) == 5
    for line in "".join(shell).strip().splitlines():
        program, *args = shlex.split(line)
        assert program == "gan-metrics"
        done = call(*args)
        assert done.code == 0, done.err
    library, drawn, loop = blocks("python")
    exec(library, {})
    exec(drawn, {})
    assert LITE0 in library
    exec(loop, {})
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0


def test_the_two_commands_are_those_of_the_makefile() -> None:
    commands = [b.strip() for b in blocks("sh") if b.startswith("make")]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    for command in commands:
        assert f"\n{command.removeprefix('make ')}:" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), (page, target)
