"""The structure of the package: layers, circles, and who imports Pillow."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gan_metrics

ROOT = Path(gan_metrics.__file__).parent
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(package: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of a configuration file for the package in a folder."""
    return subprocess.run(
        [LINTER, "--no-cache", "--config", config], cwd=package, capture_output=True, text=True
    )


def test_imports_keep_to_the_contracts() -> None:
    done = lint(ROOT.parent, ROOT.parent / "pyproject.toml")
    assert done.returncode == 0, done.stdout


def test_an_import_that_points_upwards_breaks_a_contract(tmp_path: Path) -> None:
    package = tmp_path / "gan_metrics"
    for name in ("", "utils", "cli"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").write_text("")
    (package / "errors.py").write_text("from gan_metrics import utils\n")
    config = tmp_path / "pyproject.toml"
    text = (ROOT.parent / "pyproject.toml").read_text()
    layers = text.partition("layers = [")[2].partition("]")[0]
    names = [line.strip(' ",') for line in layers.splitlines() if line.strip()]
    for name in set(names) - {"errors", "utils", "cli"}:
        (package / f"{name}.py").write_text("")
    config.write_text(text)
    done = lint(tmp_path, config)
    assert done.returncode == 1
    assert "gan_metrics.errors is not allowed to import gan_metrics.utils" in done.stdout


@pytest.mark.parametrize("script", ["layers", "readers"])
def test_generated_parts_of_pages_are_up_to_date(script: str) -> None:
    """``python .ci/SCRIPT.py`` writes them anew."""
    path = ROOT.parent / ".ci" / f"{script}.py"
    spec = importlib.util.spec_from_file_location(script, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page()


def test_every_package_is_a_layer_and_the_root_is_small() -> None:
    text = (ROOT.parent / "pyproject.toml").read_text()
    named = set(
        re.findall(r'^    "(\w+)",$', text.partition("layers = [")[2].partition("]")[0], re.M)
    )
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert named == packages | modules
    assert len(list(ROOT.glob("*.py"))) <= 10


def test_no_module_is_named_like_a_public_object_of_its_package() -> None:
    for package in ("gan_metrics", "gan_metrics.metrics", "gan_metrics.training"):
        public = importlib.import_module(package)
        for name in public.__all__:
            known = ("metrics", "training") if package == "gan_metrics" else ()
            hidden = importlib.util.find_spec(f"{package}.{name}")
            assert hidden is None or name in known, f"{package}.{name}"


def test_imports_are_absolute() -> None:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_only_decoding_and_encoding_import_pillow() -> None:
    users = [path for path in ROOT.rglob("*.py") if "from PIL" in path.read_text()]
    assert {path.relative_to(ROOT).as_posix() for path in users} == {
        "images/decode.py",
        "images/encode.py",
    }


def test_every_line_of_the_list_of_slow_tests_is_a_test() -> None:
    tests = ROOT.parent / "tests"
    for line in (tests / "slow.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            file, _, test = line.partition("::")
            text = (ROOT.parent / file).read_text(encoding="utf-8")
            assert f"def {test.partition('[')[0]}(" in text, line
