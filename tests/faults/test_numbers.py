"""Features that carry no number, or hardly one: a reason, or a value with a coded warning."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data import crops, write_folder
from records import record
from toys import Colours

import gan_metrics as gm
from gan_metrics.errors import ComputationError
from gan_metrics.metrics.registry import METRICS
from gan_metrics.protocols.spec import FeatureSpec

SPEC = FeatureSpec("inception", "pool3", "avg", "ab" * 32)
PICTURES = ("is", "sfid", "fd_dinov2", "lpips_diversity", "ppl", "ct", "fld")
"""Metrics that features of one space are not enough for."""

NAMES = [name for name in METRICS if name not in PICTURES]
PLAIN = np.random.default_rng(0).normal(size=(300, 16))
OTHER = np.random.default_rng(1).normal(size=(300, 16)) + 0.1

Array = Any


def of(array: Array, tag: str) -> gm.Features:
    return gm.Features([f"{tag}{i}.png" for i in range(len(array))], np.float32(array), SPEC)


def with_value(value: float) -> Callable[[Array], Array]:
    def put(array: Array) -> Array:
        array = array.copy()
        array[3, 2] = value
        return array

    return put


def constant(array: Array) -> Array:
    array = array.copy()
    array[:, 5] = 1.0
    return array


UNSOUND = {"NaN": with_value(math.nan), "infinity": with_value(math.inf)}

# What is done to the fakes, and the warning that a value must bear. KID's subsets and CMMD's
# network have warnings of their own; those of few images stand by the metrics that mind them.
WEAK: dict[str, tuple[Callable[[Array], Array], str]] = {
    "a constant feature": (constant, "constant-features"),
    "constant features": (lambda a: np.full_like(a, 1.5), "no-variance"),
    "one image": (lambda a: a[:1], "small-sample"),
    "two images": (lambda a: a[:2], "small-sample"),
    "fewer images than dimensions": (lambda a: a[:10], "small-sample"),
    "hundreds of images": (lambda a: a[:200], "small-sample"),
    "duplicates only": (lambda a: np.repeat(a[:6], 50, 0), "duplicates"),
    "an offset of 1e6": (lambda a: a + 1e6, "small-sample"),
    "a scale of 1e15": (lambda a: a * 1e15, "small-sample"),
    "a scale of 1e-15": (lambda a: a * 1e-15, "small-sample"),
}


@pytest.mark.parametrize("fault", UNSOUND)
@pytest.mark.parametrize("side", ["real", "fake"])
def test_what_is_no_number(fault: str, side: str) -> None:
    spoil = UNSOUND[fault]
    real, fake = (spoil(PLAIN), OTHER) if side == "real" else (PLAIN, spoil(OTHER))
    refused = 0
    found = gm.evaluate(of(real, "r"), of(fake, "f"), metrics=NAMES)
    for name in NAMES:
        if name in found:  # of the other side alone
            assert side == "real"
            assert METRICS[name].n_sets == 1
            continue
        assert "3" in found.not_computed[name]
        refused += 1
    assert refused >= len(NAMES) - 3
    record(f"features: {fault}", refused, "a reason that names the row, no value")


@pytest.mark.parametrize("fault", WEAK)
@pytest.mark.parametrize("both", [False, True])
def test_what_carries_little(fault: str, both: bool) -> None:
    spoil, code = WEAK[fault]
    real, fake = of(spoil(PLAIN) if both else PLAIN, "r"), of(spoil(OTHER), "f")
    values = reasons = 0
    found = gm.evaluate(real, fake, metrics=NAMES)
    for name in NAMES:
        if name in found:
            assert math.isfinite(found[name].value)
            assert code in [told for told, _ in found[name].warnings]
            values += 1
        else:
            assert len(found.not_computed[name]) > 20
            reasons += 1
    assert values + reasons == len(NAMES)
    if fault == "fewer images than dimensions":
        assert "few-images" in [told for told, _ in gm.fid(real, fake).warnings]
    if fault == "one image":
        assert "fid" in gm.evaluate(real, fake, metrics=["fid"]).not_computed
    record(f"features: {fault}", len(NAMES), f"{values} with a warning, {reasons} with a reason")


class Hot(Colours):
    """Half precision holds no more than 65,504."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).half() * 60_000 * 60_000


def test_a_network_that_overflows(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", crops(8, seed=0, low=16, high=16))
    with pytest.raises(ComputationError, match=r"0000\.png"):
        gm.fid(folder, folder, backbone=Hot(), cache=False)
    with pytest.raises(ComputationError, match="NaN or infinity"):
        gm.compute_stats(folder, backbone=Hot(), cache=False)
    record("a network that overflows float16", 2, "an error that names the image")
