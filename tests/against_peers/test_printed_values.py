"""Each protocol beside the tool it is named after: the same images, the same weights file.

The features to 1e-5 of the largest; the FID to 1e-5 through one exact arithmetic, and to the value
that the tool itself gives: to 1e-5 with more images than dimensions, to 1e-3 with fewer, where the
peers' square root is that of a singular matrix. KID, Inception Score, precision and recall with the
tool's seed and order of draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from data import crops, write_folder
from oracles import frechet_nuclear
from tools import TOOLS, VGG16, Tool, install_weights, random_vgg16_weights

import gan_metrics as gm

Folders = tuple[Path, Path]
BY_NAME = {tool.name: tool for tool in TOOLS}


@pytest.fixture(scope="module")
def peers_home(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Path:
    """A ``TORCH_HOME`` with the random Inception under both of its names."""
    home = tmp_path_factory.mktemp("peers")
    install_weights(home, inception_weights)
    return home


@pytest.fixture(scope="module")
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


def noisy(images: list[np.ndarray], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.clip(i + rng.normal(0, 30, i.shape), 0, 255).astype(np.uint8) for i in images]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A dozen of every kind: smaller and larger than 299, odd, not square, grey."""
    root = tmp_path_factory.mktemp("mixed")
    real = [*crops(6, 1, 21, 77), *crops(3, 3, 310, 361), *crops(2, 4, 299, 299), crops(1, 5)[0]]
    real[1] = real[1][..., 0]  # grey
    real[2] = real[2][:, :13]  # narrow
    fake = noisy([*crops(7, 6, 25, 80), *crops(3, 7, 301, 340), *crops(1, 8, 64, 64)], 9)
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Fakes that crowd about two of the reals: precise, and of little recall."""
    root = tmp_path_factory.mktemp("clustered")
    real = crops(14, 1, 40, 60)
    rng = np.random.default_rng(0)
    fake = [
        np.clip(real[i % 2] + rng.normal(0, 3, real[i % 2].shape), 0, 255).astype(np.uint8)
        for i in range(16)
    ]
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """More images than the 64 dimensions of the first layer."""
    root = tmp_path_factory.mktemp("many")
    real, fake = crops(75, 1, 20, 50), noisy(crops(70, 2, 20, 50), 3)
    return write_folder(root / "real", real), write_folder(root / "fake", fake)


def ours(folder: Path, tool: Tool, weights: Path, layer: str = "2048") -> np.ndarray:
    return gm.extract_features(folder, protocol=tool.name, weights=weights, layer=layer).array


@pytest.mark.parametrize("layer", [pytest.param("64", marks=pytest.mark.slow), "2048"])
def test_features_and_the_fid_through_one_exact_arithmetic(
    tool: Tool, inception_weights: Path, mixed: Folders, layer: str
) -> None:
    if layer not in tool.layers:
        pytest.skip(f"{tool.package} gives no such layer")
    theirs = [tool.features(folder, layer) for folder in mixed]
    for folder, side in zip(mixed, theirs, strict=True):
        found = ours(folder, tool, inception_weights, layer)
        assert side.std(0).mean() > 1e-3 * np.abs(side).max()  # they tell images apart
        np.testing.assert_allclose(found, side, rtol=0, atol=1e-5 * np.abs(side).max())
    score = gm.fid(*mixed, protocol=tool.name, weights=inception_weights, layer=layer)
    assert score.metric == ("fid" if layer == "2048" else "fd")
    assert score.protocol == tool.name
    assert score.value == pytest.approx(frechet_nuclear(*theirs), rel=1e-5)


@pytest.mark.slow
def test_the_printed_fid_with_fewer_images_than_dimensions(
    tool: Tool, inception_weights: Path, mixed: Folders
) -> None:
    if tool.name == "piq":
        pytest.skip("its iteration for the square root takes minutes on 2048 dimensions")
    found = gm.fid(*mixed, protocol=tool.name, weights=inception_weights)
    assert found.value == pytest.approx(tool.fid(*mixed), rel=1e-3)


def test_fid_with_more_images_than_dimensions(
    tool: Tool, inception_weights: Path, many: Folders
) -> None:
    if "64" not in tool.layers:
        pytest.skip(f"{tool.package} gives 2048 dimensions only")
    found = gm.fid(*many, protocol=tool.name, weights=inception_weights, layer="64")
    theirs = tool.fid(*many, "64")
    if tool.name == "piq":
        # Its Newton-Schulz iteration stops far from the root, some per cent off; its moments agree.
        assert found.value == pytest.approx(theirs, rel=0.1)
        theirs = frechet_nuclear(*(tool.features(folder, "64") for folder in many))
    assert found.value == pytest.approx(theirs, rel=1e-5)


# The modes of clean-fid differ in their features alone.
@pytest.mark.parametrize(
    "tool",
    [pytest.param(t, marks=[pytest.mark.slow] if "legacy" in t.name else []) for t in TOOLS],
    ids=str,
    indirect=True,
)
def test_kid(tool: Tool, inception_weights: Path, mixed: Folders) -> None:
    sides, size = mixed, 8
    if tool.name == "piq":  # by default it takes all images at once, as many of each side
        sides, size = (write_part(mixed[0], 11), write_part(mixed[1], 11)), 11
    theirs = tool.kid(*sides, subset_size=size)
    if theirs is None:
        pytest.skip(f"{tool.package} has no KID")
    arguments = {} if tool.name == "piq" else {"kid": {"subset_size": size}}
    found = gm.evaluate(
        *sides, metrics="kid", protocol=tool.name, weights=inception_weights, arguments=arguments
    )["kid"]
    assert found.value == pytest.approx(theirs, rel=1e-5, abs=2e-6)
    assert "not-in-protocol" not in [code for code, _ in found.warnings]


def write_part(folder: Path, n: int) -> Path:
    """The first so many images of a folder, by links."""
    part = folder.with_name(f"{folder.name}-{n}")
    part.mkdir(exist_ok=True)
    for file in sorted(folder.iterdir())[:n]:
        (part / file.name).unlink(missing_ok=True)
        (part / file.name).symlink_to(file)
    return part


def test_inception_score(tool: Tool, inception_weights: Path, many: Folders) -> None:
    part = write_part(many[1], 23)
    theirs = tool.inception_score(part)
    if theirs is None:
        pytest.skip(f"{tool.package} has no Inception Score")
    found = gm.evaluate(None, part, metrics="is", protocol=tool.name, weights=inception_weights)[
        "is"
    ]
    assert found.value == pytest.approx(theirs[0], rel=1e-5)
    assert found.details["split_std"] == pytest.approx(theirs[1], rel=1e-3)
    assert found.feature_spec.layer == "logits_unbiased"


@pytest.mark.parametrize("name", [pytest.param("tf1", marks=pytest.mark.slow), "piq"])
def test_precision_and_recall(
    name: str,
    peers: None,
    vgg16_weights: Path,
    inception_weights: Path,
    clustered: Folders,
) -> None:
    tool = BY_NAME[name]
    if not tool.installed:
        pytest.skip(f"{tool.package} is not installed")
    theirs = tool.precision_recall(*clustered)
    weights = {"": inception_weights, **({"vgg16": vgg16_weights} if name == "tf1" else {})}
    found = gm.evaluate(*clustered, metrics="precision,recall", protocol=name, weights=weights)
    values = [found[m].value for m in ("precision", "recall")]
    assert theirs == pytest.approx(values, abs=1e-4)
    assert theirs[0] > theirs[1] + 0.1  # a swap of the sides would be seen
    if name == "tf1":
        spec = found["recall"].feature_spec
        assert (spec.backbone, spec.layer) == ("vgg16", "fc7_relu")


def test_the_protocols_differ(inception_weights: Path, mixed: Folders) -> None:
    """What the choice alone does: one table, from one decode."""
    names = ["pytorch-fid", "tf1", "clean-fid", "torchmetrics"]
    found = gm.evaluate(*mixed, metrics="fid", protocol=names, weights=inception_weights)
    assert list(found) == [f"fid@{name}" for name in names]
    values = [result.value for result in found.values()]
    assert len({round(value, 3) for value in values}) == 4
    for name, value in zip(names, values, strict=True):
        alone = gm.fid(*mixed, protocol=name, weights=inception_weights)
        assert value == pytest.approx(alone.value, rel=1e-6)
