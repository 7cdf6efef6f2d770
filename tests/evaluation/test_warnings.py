"""Warnings that save a paper: each raised by what it is about, and by nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import LITE0
from data import crops, write_folder
from scipy import stats

import gan_metrics as gm
from gan_metrics.errors import ComputationError
from gan_metrics.evaluation.warnings import (
    feature_warnings,
    held_out_warnings,
    pair_warnings,
    set_warnings,
)
from gan_metrics.features.features import Features
from gan_metrics.images.metadata import ImageMetadata, MetadataSummary
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics

pytestmark = pytest.mark.usefixtures("coarse_lite0")


def side(array: np.ndarray, *facts: ImageMetadata, **more: object) -> Features:
    tally = MetadataSummary()
    for one in facts:
        tally.add(one)
    names = [str(i) for i in range(len(array))]
    return Features(names, array.astype(np.float32), FeatureSpec(), tally=tally, **more)


def random(n: int, seed: int = 0, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim))


def codes(found: list[tuple[str, str]]) -> list[str]:
    return [code for code, _ in found]


def test_two_good_sets_raise_nothing() -> None:
    a, b = side(random(10_000)), side(random(10_000, 1))
    assert set_warnings(a) == set_warnings(b) == feature_warnings(a) == feature_warnings(b) == []
    assert pair_warnings(a, b) == []


def test_few_images() -> None:
    big, small = side(random(10_000)), side(random(9_999, 1))
    assert set_warnings(big) == []
    ((code, message),) = set_warnings(small)
    assert code == "small-sample"
    assert "9999 images" in message
    unknown = Statistics(gm.Moments(None, np.zeros(3), np.eye(3)))
    assert set_warnings(unknown) == []


def test_copies_within_a_set_by_their_features() -> None:
    array = random(50)
    array[[7, 9]] = array[3]
    (code, message), _few = set_warnings(side(array))[::-1]
    assert code == "duplicates"
    assert "2 images" in message


def test_copies_within_a_set_by_their_files() -> None:
    """Equal files may have features that differ in the last bits, and the other way round."""
    digests = [bytes([i % 45]) * 32 for i in range(50)]
    _few, (code, message) = set_warnings(side(random(50), image_digests=digests))
    assert code == "duplicates"
    assert "5 images" in message
    array = random(50)
    array[1] = array[0]
    own = [bytes([i]) * 32 for i in range(50)]
    assert codes(set_warnings(side(array, image_digests=own))) == ["small-sample"]


def test_images_that_stand_in_both_sets() -> None:
    array, other = random(10_000), random(10_000, 1)
    other[5] = array[9]
    assert codes(pair_warnings(side(array), side(other))) == ["shared-images"]


def test_held_out_images_that_stand_in_another_set() -> None:
    real, fake, held_out = (side(random(20, seed)) for seed in range(3))
    assert held_out_warnings(held_out, real, fake) == []
    assert held_out_warnings(held_out, None, fake) == []
    for role, others in (("training", (0, 1)), ("generated", (1, 0))):
        mixed = np.concatenate([random(17, 3), random(20, others[0])[:3]])
        ((code, message),) = held_out_warnings(
            side(mixed), side(random(20, 0)), side(random(20, 1))
        )
        assert code == "held-out-overlap"
        assert f"3 of the 20 held-out images (the features) are also {role} images" in message
    for other in (real, fake):
        again = side(np.asarray(other.array)[::-1])  # in another order
        with pytest.raises(ComputationError, match="neither training nor generated images"):
            held_out_warnings(again, real, fake)


def test_a_held_out_set_that_is_another_set_gives_no_number() -> None:
    real, fake, held_out = (side(random(90, seed, dim=6)) for seed in range(3))
    options = {"arguments": {"ct": {"components": 4, "cells": 1}}}
    found = gm.evaluate(real, fake, metrics="ct,fld,fid", held_out=held_out, **options)
    assert set(found) == {"ct", "fld", "fid"}
    for twice in (real, fake):
        found = gm.evaluate(real, fake, metrics="ct,fld,fid", held_out=twice, **options)
        assert list(found) == ["fid"]
        for name in ("ct", "fld"):
            assert "neither training nor generated images" in found.not_computed[name]
    mixed = side(np.concatenate([np.asarray(held_out.array)[1:], np.asarray(real.array)[:1]]))
    found = gm.evaluate(real, fake, metrics="ct,fid", held_out=mixed, **options)
    assert "held-out-overlap" in codes(found["ct"].warnings)
    assert "held-out-overlap" not in codes(found["fid"].warnings)


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (("PNG",) * 9 + ("JPEG",), ("JPEG",) * 10, ["mixed-formats"]),
        (("JPEG",) * 10, ("PNG",) * 10, ["mixed-formats"]),
        (("PNG",) * 10, ("WEBP",) * 10, []),
        (("JPEG",) * 10, ("JPEG",) * 10, []),
    ],
)
def test_jpeg_against_png(
    real: tuple[str, ...], fake: tuple[str, ...], expected: list[str]
) -> None:
    sides = [
        side(random(10_000, i), *(ImageMetadata(64, 64, name, "RGB") for name in formats))
        for i, formats in enumerate((real, fake))
    ]
    assert codes(pair_warnings(*sides)) == expected


@pytest.mark.parametrize(("width", "expected"), [(64, []), (68, []), (80, ["source-sizes"]),
                                                 (48, ["source-sizes"])])  # fmt: skip
def test_sources_of_different_size(width: int, expected: list[str]) -> None:
    a = side(random(10_000), *(ImageMetadata(64, 64, "PNG", "RGB") for _ in range(9)))
    b = side(random(10_000, 1), *(ImageMetadata(width, width, "PNG", "RGB") for _ in range(5)),
             *(ImageMetadata(999, 999, "PNG", "RGB") for _ in range(4)))  # fmt: skip
    assert codes(pair_warnings(a, b)) == expected
    assert codes(pair_warnings(b, a)) == expected


def of_classes(counts: dict[str, int], seed: int) -> Features:
    names = [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)]
    return Features(names, random(len(names), seed).astype("f4"), FeatureSpec())


@pytest.mark.parametrize(
    ("real", "fake", "warned"),
    [
        ({"cat": 100, "dog": 100}, {"cat": 60, "dog": 60}, False),
        ({"cat": 100, "dog": 100}, {"cat": 60, "dog": 40}, False),  # p = 0.1
        ({"cat": 100, "dog": 100}, {"cat": 80, "dog": 20}, True),
        ({"cat": 100, "dog": 100}, {"cat": 50}, True),
        ({"cat": 100, "dog": 100}, {"fish": 50, "bird": 50}, False),  # other names: other folders
        ({"cat": 200}, {"cat": 100, "dog": 100}, False),  # one folder is no class
    ],
)
def test_classes_of_other_shares(real: dict[str, int], fake: dict[str, int], warned: bool) -> None:
    found = dict(pair_warnings(of_classes(real, 0), of_classes(fake, 1)))
    assert ("class-balance" in found) == warned
    counts = [[side.get(name, 0) for name in {**real, **fake}] for side in (real, fake)]
    if np.all(np.any(counts, axis=0)) and {*real} & {*fake} and len(real) > 1:
        assert warned == (stats.chi2_contingency(counts, correction=False).pvalue < 1e-3)


def test_a_class_that_is_absent_is_named() -> None:
    real, fake = of_classes({"cat": 90, "dog": 10}, 0), of_classes({"cat": 200}, 1)
    message = dict(pair_warnings(real, fake))["class-balance"]
    assert "1 classes are missing, first 'dog'" in message
    assert "10.0% of the real and 0.0% of the generated images" in message


def test_features_that_say_nothing() -> None:
    array = random(20)
    array[:, 1] = 5.0
    ((code, message),) = feature_warnings(side(array))
    assert (code, message.rpartition(": ")[2]) == (
        "constant-features",
        "1 of 3 features are equal for all images",
    )
    array[:] = [1.0, 2.0, 3.0]
    assert codes(feature_warnings(side(array))) == ["no-variance"]
    known = Statistics(gm.Moments(9, np.zeros(3), np.diag([1.0, 0.0, 1.0])))
    assert codes(feature_warnings(known)) == ["constant-features"]


def test_they_stand_in_the_results(tmp_path: Path) -> None:
    real = write_folder(tmp_path / "real", crops(8, 0, 64, 64))
    fake = write_folder(tmp_path / "fake", crops(8, 1, 90, 90), "jpg")
    shutil.copy(real / "0000.png", real / "again.png")
    shutil.copy(real / "0001.png", fake / "stolen.png")
    of_both = {"duplicates", "shared-images", "mixed-formats", "source-sizes", "small-sample"}
    for order in ("kid,vendi,is", "is,vendi,kid"):
        found = gm.evaluate(real, fake, metrics=order, backbone=LITE0,
                            arguments={"is": {"splits": 2}})  # fmt: skip
        raised = {name: {code for code, _ in r.warnings} for name, r in found.items()}
        assert raised["kid"] >= of_both, order
        for name in ("vendi", "is"):  # which see the fakes alone, and those have no copies
            assert "small-sample" in raised[name], order
            assert not raised[name] & (of_both - {"small-sample"}), order
        assert not any(str(real) in message for _, message in found["is"].warnings)
