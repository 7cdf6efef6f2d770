"""What imports torch, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import call
from conftest import LITE0

from gan_metrics.metrics.moments import Moments
from gan_metrics.stats.statistics import Statistics

pytestmark = pytest.mark.usefixtures("coarse_lite0")


def imported(code: str, *names: str) -> set[str]:
    """Which of the modules some code has imported at its end, in a fresh process."""
    script = f"{code}\nimport sys; print('@', *[n for n in {names!r} if n in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return set(out.rpartition("@")[2].split())


def cli(*args: object) -> str:
    return (
        f"import sys; sys.argv = ['gan-metrics', *{[str(a) for a in args]!r}]\n"
        "from gan_metrics.cli import main\n"
        "try: main()\n"
        "except SystemExit as leave: assert not leave.code, leave.code\n"
    )


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported("import gan_metrics", "torch", "numpy", "scipy", "PIL", "typer") == set()


def test_help_imports_nothing_heavy() -> None:
    both = cli("--help") + cli("fid", "--help")
    assert imported(both, "torch", "numpy", "scipy", "PIL") == set()


def test_metrics_and_moments_need_no_torch() -> None:
    code = (
        "import numpy as np, gan_metrics as gm\n"
        "x = np.random.default_rng(0).normal(size=(50, 4))\n"
        "m = gm.Moments.from_features(x)\n"
        "gm.metrics.frechet_distance(m, m), gm.metrics.frechet_standard_error(x, x + 1)\n"
    )
    assert imported(code, "torch", "numpy") == {"numpy"}


def test_two_statistics_files_need_no_torch(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    path = Statistics(Moments.from_features(x)).save(tmp_path / "a.npz")
    assert imported(cli("fid", path, path), "torch", "numpy") == {"numpy"}


def test_a_cache_hit_needs_no_torch(folders: tuple[Path, Path], tmp_path: Path) -> None:
    command = ("fid", *folders, "--backbone", LITE0)
    first = call(*command)
    assert first.code == 0, first.err
    statistics = ("stats", folders[0], "-o", tmp_path / "x.npz", "--backbone", LITE0)
    unused = ("requests", "matplotlib", "sklearn", "pandas")
    found = imported(cli(*command) + cli(*statistics), "torch", "numpy", *unused)
    assert found == {"numpy"}
    assert (tmp_path / "x.npz").exists()


@pytest.mark.parametrize(
    "space",
    [
        ("--backbone", LITE0, "--layer", "blocks.3"),
        ("--backbone", "timm:test_resnet", "--weights", "random"),
    ],
)
def test_nor_does_one_of_a_network_that_had_to_be_looked_at(
    folders: tuple[Path, Path], space: tuple[str, ...]
) -> None:
    command = ("fid", *folders, *space)
    first = call(*command)
    assert first.code == 0, first.err
    assert imported(cli(*command), "torch", "timm", "numpy") == {"numpy"}


def test_nor_do_listings_search_and_saved_features(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    saved = tmp_path / "x.npy"
    assert call("features", folders[0], "-o", saved, "--backbone", LITE0).code == 0
    commands = (
        ("backbones",),
        ("fid", saved, saved),
        ("search", saved, saved),
        ("map", saved, "-o", tmp_path / "map.png"),
    )
    assert imported("".join(cli(*command) for command in commands), "torch") == set()


def test_nor_does_a_second_evaluation_of_everything(folders: tuple[Path, Path]) -> None:
    command = ("evaluate", *folders, "--backbone", LITE0, "--set", "is.splits=2")
    assert call(*command).code == 0
    assert imported(cli(*command), "torch", "numpy") == {"numpy"}
    assert imported(cli("metrics"), "torch", "numpy", "scipy") == set()


def test_the_network_needs_torch_and_no_more(folders: tuple[Path, Path]) -> None:
    command = ("fid", *folders, "--backbone", LITE0, "--no-cache")
    unused = ("requests", "matplotlib", "sklearn", "pandas")
    assert imported(cli(*command), "torch", *unused) == {"torch"}
