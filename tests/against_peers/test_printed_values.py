"""Each protocol beside the tool that it is named after: the same images, the same weights file.

The tools' answers are records (``recorded.py``). Features agree within the rounding of float32
(``tolerances.py``), the FID within the error that these leave it, through one exact arithmetic. The
FID that the tool itself reports agrees as well with more images than dimensions; with fewer, its
square root is that of a singular matrix, and 1e-3 is left. KID, Inception Score, precision and
recall are those of the tool's seed and order of draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from recorded import (
    IS_IMAGES,
    RECORDERS,
    SUBSET_SIZE,
    Answers,
    Inputs,
    columns,
    equal_sides,
    part,
)
from tolerances import FEATURES, frechet_error
from tools import TOOLS, VGG16, Tool, install_weights, random_vgg16_weights

import gan_metrics as gm

TF1 = next(tool for tool in TOOLS if tool.name == "tf1")
ANSWERS: dict[str, Answers] = {t.name: RECORDERS[t.name].read()["answers"] for t in TOOLS}


def having(answer: str) -> list[Tool]:
    """The tools that give an answer."""
    return [tool for tool in TOOLS if answer in ANSWERS[tool.name]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), inception_weights)


@pytest.mark.parametrize("layer", ["64", "192", "768", "2048"])
def test_every_tool_is_recorded(layer: str) -> None:
    expected = {
        "64": {"pytorch-fid", "tf1", "torchmetrics", "piq"},
        "2048": {tool.name for tool in TOOLS},
    }.get(layer, {"pytorch-fid"})
    assert {tool.name for tool in having(f"fid-{layer}")} == expected


@pytest.mark.parametrize(
    ("tool", "layer"),
    [(tool, layer) for layer in ("64", "192", "768") for tool in having(f"fid-{layer}")],
    ids=str,
)
def test_features_and_the_fid_through_one_exact_arithmetic(
    tool: Tool, layer: str, inputs: Inputs, tmp_path: Path
) -> None:
    check_features_and_fid(tool, layer, inputs, tmp_path)


@pytest.mark.parametrize("tool", TOOLS, ids=str)
def test_features_fid_and_kid_of_the_last_layer(tool: Tool, inputs: Inputs, tmp_path: Path) -> None:
    """In one test, since the features are in the cache."""
    check_features_and_fid(tool, "2048", inputs, tmp_path)
    theirs = ANSWERS[tool.name]
    options = {"protocol": tool.name, "weights": inputs.inception, "cache": tmp_path}
    if "printed-2048" in theirs:
        found = gm.fid(*inputs.mixed, **options)
        assert found.value == pytest.approx(theirs["printed-2048"], rel=1e-3)
    if "kid" in theirs:
        sides = equal_sides(inputs.mixed) if tool.name == "piq" else inputs.mixed
        arguments = {} if tool.name == "piq" else {"kid": {"subset_size": SUBSET_SIZE}}
        found = gm.evaluate(*sides, metrics="kid", arguments=arguments, **options)["kid"]
        assert found.value == pytest.approx(theirs["kid"], rel=1e-5, abs=2e-6)
        assert "not-in-protocol" not in [code for code, _ in found.warnings]


def check_features_and_fid(tool: Tool, layer: str, inputs: Inputs, cache: Path) -> None:
    theirs = ANSWERS[tool.name]
    options = {
        "protocol": tool.name, "weights": inputs.inception, "cache": cache, "layer": layer,
    }  # fmt: skip
    largest = theirs[f"largest-{layer}"]
    for folder, side in zip(inputs.mixed, theirs[f"features-{layer}"], strict=True):
        found = gm.extract_features(folder, **options).array
        assert found.std(0).mean() > 1e-3 * largest  # they tell images apart
        np.testing.assert_allclose(columns(found), side, rtol=0, atol=FEATURES * largest)
    score = gm.fid(*inputs.mixed, **options)
    assert score.metric == ("fid" if layer == "2048" else "fd")
    assert score.protocol == tool.name
    expected = theirs[f"fid-{layer}"]
    assert score.value == pytest.approx(expected, abs=frechet_error(expected, largest))


@pytest.mark.parametrize("tool", having("printed-many-64"), ids=str)
def test_fid_with_more_images_than_dimensions(tool: Tool, inputs: Inputs) -> None:
    theirs = ANSWERS[tool.name]
    found = gm.fid(*inputs.many, layer="64", protocol=tool.name, weights=inputs.inception)
    assert (found.n_real, found.n_fake) == (75, 70)
    expected = theirs["printed-many-64"]
    if tool.name == "piq":
        # Its Newton-Schulz iteration stops far from the root, some per cent off; its moments agree.
        assert found.value == pytest.approx(expected, rel=0.1)
        expected = theirs["fid-many-64"]
    error = frechet_error(expected, theirs["largest-64"])
    assert found.value == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("tool", having("is"), ids=str)
def test_inception_score(tool: Tool, inputs: Inputs) -> None:
    images = part(inputs.many[1], IS_IMAGES)
    found = gm.evaluate(None, images, metrics="is", protocol=tool.name, weights=inputs.inception)[
        "is"
    ]
    mean, deviation = ANSWERS[tool.name]["is"]
    assert found.value == pytest.approx(mean, rel=1e-5)
    assert found.details["split_std"] == pytest.approx(deviation, rel=1e-3)
    assert found.feature_spec.layer == "logits_unbiased"


def check_precision_and_recall(
    found: Mapping[str, gm.MetricResult], theirs: Sequence[float]
) -> None:
    values = [found[m].value for m in ("precision", "recall")]
    assert values == pytest.approx(theirs, abs=1e-4)
    assert theirs[0] > theirs[1] + 0.1  # a swap of the sides would be seen


def test_precision_and_recall(inputs: Inputs) -> None:
    theirs = ANSWERS["piq"]["precision-recall"]
    found = gm.evaluate(
        *inputs.clustered, metrics="precision,recall", protocol="piq", weights=inputs.inception
    )
    check_precision_and_recall(found, theirs)


@pytest.mark.slow
def test_precision_and_recall_of_torch_fidelity(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live: its network is VGG16, whose weights file of 528 MB takes as long as the tool."""
    if not TF1.installed:
        pytest.skip(f"{TF1.package} is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    install_weights(tmp_path, inputs.inception)
    vgg16 = random_vgg16_weights(tmp_path / "hub" / "checkpoints" / VGG16)
    theirs = TF1.precision_recall(*inputs.clustered)
    assert theirs is not None
    weights = {"": inputs.inception, "vgg16": vgg16}
    found = gm.evaluate(
        *inputs.clustered, metrics="precision,recall", protocol="tf1", weights=weights
    )
    vgg16.unlink()
    check_precision_and_recall(found, theirs)
    spec = found["recall"].feature_spec
    assert (spec.backbone, spec.layer) == ("vgg16", "fc7_relu")


def test_the_protocols_differ(inputs: Inputs) -> None:
    """What the choice alone does: one table, from one decode."""
    names = ["pytorch-fid", "tf1", "clean-fid", "torchmetrics"]
    found = gm.evaluate(
        *inputs.mixed, metrics="fid", protocol=names, weights=inputs.inception, layer="64"
    )
    assert list(found) == [f"fid@{name}" for name in names]
    values = [result.value for result in found.values()]
    assert len({round(value, 3) for value in values}) == 4
    for name, value in zip(names, values, strict=True):
        alone = gm.fid(*inputs.mixed, protocol=name, weights=inputs.inception, layer="64")
        assert value == pytest.approx(alone.value, rel=1e-6)
