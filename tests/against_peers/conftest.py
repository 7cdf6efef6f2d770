"""Fixtures: each peer in turn, with a torch hub that holds the weights it looks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import TOOLS, VGG16, Tool, install_weights, random_vgg16_weights


@pytest.fixture(scope="session")
def peers_home(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Path:
    """A ``TORCH_HOME`` with the random Inception under both of its names."""
    home = tmp_path_factory.mktemp("peers")
    install_weights(home, inception_weights)
    return home


@pytest.fixture(scope="session")
def vgg16_weights(peers_home: Path) -> Iterator[Path]:
    """Random weights of VGG16 in the same place, taken away at the end: they are 528 MB."""
    path = random_vgg16_weights(peers_home / "hub" / "checkpoints" / VGG16)
    yield path
    path.unlink()


@pytest.fixture
def peers(peers_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any tool find the weights."""
    monkeypatch.setenv("TORCH_HOME", str(peers_home))


@pytest.fixture(params=TOOLS, ids=str)
def tool(request: pytest.FixtureRequest, peers: None) -> Tool:
    """Every tool that is installed, ready to run."""
    found: Tool = request.param
    if not found.installed:
        pytest.skip(f"{found.package} is not installed")
    return found
