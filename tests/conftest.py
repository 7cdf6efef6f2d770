"""Fixtures. Every test has a home, a cache and a torch hub of its own, and no network."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import coarse
import narrow
import numpy as np
import pytest
import timm
import torch
import typer.main
import typer.testing
from data import crops, random_inception_weights, write_folder
from filelock import FileLock
from hypothesis import settings

import gan_metrics as gm
from gan_metrics.backbones import inception, network

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

LITE0 = "efficientnet-lite0"
TINY = "timm:test_resnet"


# A tree of all commands is built once, and not for each call of one.
typer.testing._get_command = functools.cache(typer.main.get_command)


_SLOW = Path(__file__).with_name("slow.txt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that slow.txt lists; ``make slow`` runs them, ``make test`` does not."""
    lines = _SLOW.read_text(encoding="utf-8").splitlines()
    listed = {line.rstrip() for line in lines if line and not line.startswith("#")}
    for item in items:
        if {item.nodeid, item.nodeid.partition("[")[0]} & listed:
            item.add_marker("slow")


def _settle(place: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("GAN_METRICS_CACHE", str(place / "cache"))
    patch.setenv("GAN_METRICS_HOME", str(place / "home"))
    patch.setenv("TORCH_HOME", str(place / "torch"))
    patch.setenv("GAN_METRICS_OFFLINE", "1")
    patch.delenv("GAN_METRICS_INCEPTION", raising=False)
    patch.delenv("GAN_METRICS_CACHE_SIZE", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _no_places_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what fixtures of a module or of the session run, which come before those of a test."""
    with pytest.MonkeyPatch.context() as patch:
        _settle(tmp_path_factory.mktemp("session"), patch)
        yield


@pytest.fixture(autouse=True)
def _own_places(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    place = tmp_path_factory.mktemp("places")
    _settle(place, monkeypatch)
    yield
    shutil.rmtree(place, ignore_errors=True)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one process of the session makes for all of them; nobody changes it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of seeded random weights under the published file's name."""

    def make(folder: Path) -> None:
        random_inception_weights(folder / PUBLISHED)

    return made_once(tmp_path_factory, "inception", make) / PUBLISHED


@pytest.fixture(scope="session")
def _narrow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inception, "build", narrow.build)
            random_inception_weights(folder / PUBLISHED)

    return made_once(tmp_path_factory, "narrow-inception", make) / PUBLISHED


@pytest.fixture
def narrow_inception(_narrow_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In this process the 2015 Inception is a narrow one; a file of weights for it."""
    monkeypatch.setattr(inception, "build", narrow.build)
    return _narrow_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of seeded random weights for `TINY`, whose pass takes a millisecond."""

    def make(folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = timm.create_model(TINY.removeprefix("timm:"))
        torch.save(net.state_dict(), folder / "tiny.pth")

    return made_once(tmp_path_factory, "tiny", make) / "tiny.pth"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small folders of crops of mixed sizes, the second one noisy."""
    root = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(c + rng.normal(0, 25, c.shape), 0, 255).astype(np.uint8) for c in crops(11, seed=2)
    ]
    return write_folder(root / "real", crops(12, seed=1)), write_folder(root / "fake", noisy)


@pytest.fixture(scope="session", autouse=True)
def _one_lite0() -> Iterator[None]:
    """Build efficientnet-lite0 once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "build_network", coarse.build_once)
        patch.setattr(network.Backbone, "_built", coarse.prepare_once)
        yield


@pytest.fixture(scope="module")
def coarse_lite0() -> Iterator[None]:
    """In this process efficientnet-lite0 sees its images at a quarter of their height and width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "build_network", coarse.build_coarse)
        yield


@pytest.fixture(scope="session")
def _features_of_folders(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    def make(cache: Path) -> None:
        for folder in folders:
            gm.extract_features(folder, backbone=LITE0, cache=cache)

    return made_once(tmp_path_factory, "features", make)


@pytest.fixture
def cached_features(_features_of_folders: Path, _own_places: None) -> None:
    """The cache has the embedded network's features of `folders`, as after an earlier run."""
    shutil.copytree(_features_of_folders, os.environ["GAN_METRICS_CACHE"])


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    """Run the command line in a process of its own."""

    def call(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gan_metrics", *map(str, args)],
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call
