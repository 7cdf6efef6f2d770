"""The rows of the metric registry hold what they promise."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gan_metrics import metrics
from gan_metrics.errors import ComputationError, UsageError
from gan_metrics.metrics import frechet
from gan_metrics.metrics.estimate import (
    Estimate,
    difference_error,
    half_samples,
    influence_error,
)
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.registry import (
    FAMILIES,
    METRICS,
    PIXEL_INPUTS,
    Metric,
    check_arguments,
    compute,
    expand,
)
from gan_metrics.utils.imports import import_object

ROWS = list(METRICS.values())
OF_FEATURES = [row for row in ROWS if row.needs not in PIXEL_INPUTS]


@dataclass(frozen=True)
class Drawn:
    array: np.ndarray | None
    known: Moments | None = None

    @property
    def moments(self) -> Moments:
        return self.known or Moments.from_features(self.array)


def pair(n: int = 60, m: int = 50) -> tuple[Drawn, Drawn]:
    rng = np.random.default_rng(0)
    return Drawn(rng.normal(size=(n, 6))), Drawn(rng.normal(size=(m, 6)) * 1.3 + 0.5)


PURE = {
    "lpips_diversity": "gan_metrics.image_metrics.pairs:lpips_diversity",
    "ppl": "gan_metrics.image_metrics.path_length:ppl",
}
"""What the functions of the metrics of images call with the arguments."""

ARGUMENTS = {"is": {"splits": 5}, "ct": {"cells": 1}}


@pytest.mark.parametrize("row", OF_FEATURES, ids=lambda row: row.name)
def test_every_row_gives_a_value_with_an_error_bar_within_its_bounds(row: Metric) -> None:
    real, fake = pair()
    third = {"held_out": Drawn(np.random.default_rng(1).normal(size=(40, 6)))}
    estimate = compute([row], real, fake, arguments=ARGUMENTS, **third)[row.name]
    assert isinstance(estimate, Estimate)
    assert estimate.standard_error is not None
    assert estimate.standard_error > 0
    low, high = row.bounds
    assert low is None or estimate.value >= low
    assert high is None or estimate.value <= high
    bare = compute([row], real, fake, error_bar=False, arguments=ARGUMENTS, **third)[row.name]
    assert isinstance(bare, Estimate)
    assert bare.standard_error is None
    assert bare.value == pytest.approx(estimate.value, rel=1e-9)
    # What tells two generators apart must be there too.
    known = estimate.fake_influence is not None or estimate.draws is not None
    assert known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_argument_of_a_row_is_one_of_its_function(row: Metric) -> None:
    function = import_object(PURE.get(row.name, row.function))
    taken = set(inspect.signature(function).parameters)
    assert {"seed", "error_bar"} <= taken
    if not row.batched:
        assert set(row.arguments) - ({"net"} if row.needs in PIXEL_INPUTS else set()) <= taken
    assert all(callable(check) for check in row.arguments.values())
    assert ("moments" in taken) == row.covariances
    assert row.better in ("lower", "higher", "zero")
    assert row.needs in ("features", "logits", "spatial", "clip", "dinov2", *PIXEL_INPUTS)


def test_every_row_stands_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for name in METRICS:
        assert f"`{name}`" in page, name


def test_names() -> None:
    assert list(expand("all")) == list(METRICS)
    assert list(expand(["prdc", "fid"])) == [*FAMILIES["prdc"], "fid"]
    assert list(expand("fid,fid")) == ["fid"]
    assert expand("fd")["fd"] is METRICS["fid"]
    assert {member for members in FAMILIES.values() for member in members} <= set(METRICS)
    for wrong in ("nope", "", " , ", []):
        with pytest.raises(UsageError):
            expand(wrong)


def test_one_that_is_impossible_does_not_take_the_others_with_it() -> None:
    real, fake = pair()
    rows = [METRICS[name] for name in ("precision", "coverage", "fid")]
    found = compute(rows, real, fake, arguments={"precision": {"k": 60}})
    assert isinstance(found["precision"], ComputationError)
    assert isinstance(found["coverage"], Estimate)
    assert isinstance(found["fid"], Estimate)


def test_the_bandwidth_is_that_of_the_real_images_where_there_are_any() -> None:
    real, fake = pair()
    row = METRICS["rke"]
    with_real, without = (compute([row], r, fake)["rke"] for r in (real, None))
    again = compute([row], real, Drawn(fake.array * 2))["rke"]
    assert isinstance(with_real, Estimate)
    assert isinstance(without, Estimate)
    assert isinstance(again, Estimate)
    assert with_real.details["sigma"] == again.details["sigma"] != without.details["sigma"]
    named = compute([row], real, fake, arguments={"rke": {"sigma": 9.0}})["rke"]
    assert isinstance(named, Estimate)
    assert named.details["sigma"] == 9.0


def test_real_and_fake_are_not_swapped_on_the_way() -> None:
    real, fake = pair()
    for name in ("precision", "recall", "density", "coverage", "p_recall", "fd_infinity"):
        found = compute([METRICS[name]], real, fake)[name]
        assert isinstance(found, Estimate)
        function = getattr(metrics, name)
        assert found.value == pytest.approx(function(real.array, fake.array), rel=1e-9)
        assert found.value != pytest.approx(function(fake.array, real.array), rel=1e-3), name


def test_the_error_of_a_difference_by_influences() -> None:
    rng = np.random.default_rng(0)
    shared, a, b = rng.normal(size=(3, 400))
    one = Estimate(1.0, None, shared, a)
    other = Estimate(2.0, None, shared, b)
    expected = np.sqrt(a.var(ddof=1) / 400 + b.var(ddof=1) / 400)
    assert difference_error(one, other) == pytest.approx(expected)
    independent = Estimate(2.0, None, rng.normal(size=400), b)
    assert difference_error(one, independent) > 1.3 * expected
    noisy = Estimate(2.0, None, shared, b, noise=expected**2)
    assert difference_error(one, noisy) == pytest.approx(np.sqrt(2) * expected)
    assert difference_error(one, Estimate(1.0)) is None
    assert influence_error(None, None) is None


def test_the_error_of_a_difference_by_draws() -> None:
    rng = np.random.default_rng(0)
    shared, a, b = rng.normal(size=(3, 100))
    one = Estimate(1.0, 3.0, draws=shared + a, draws_scale=4.0, draws_of=(9, 0))
    other = Estimate(2.0, 4.0, draws=shared + b, draws_scale=4.0, draws_of=(9, 0))
    assert difference_error(one, other) == pytest.approx(2 * np.std(a - b, ddof=1))
    assert difference_error(one, one) == 0
    apart = Estimate(2.0, 4.0, draws=shared + b, draws_scale=4.0, draws_of=(8, 0))
    assert difference_error(one, apart) == 5.0  # other reals were drawn: nothing in common


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("is.splits", 2.5), ("is.splits", True), ("is.shuffle", 3), ("swd.directions", "x"),
        ("swd.directions", None), ("vendi.q", None), ("vendi.q", True), ("rke.sigma", "x"),
        ("rke.sigma", 0), ("kid.subsets", True), ("kid.gamma", -1), ("kid.coef0", "x"),
        ("precision.k", 0), ("p_recall.a", 0.0), ("fd_infinity.sizes", 1), ("fkea.features", 0),
        ("cmmd.scale", float("inf")), ("fid.directions", -1),
    ],
)  # fmt: skip
def test_arguments_are_looked_at_before_any_work(argument: str, value: object) -> None:
    metric, _, name = argument.partition(".")
    with pytest.raises(UsageError, match=name):
        check_arguments({metric: {name: value}})


def test_arguments_that_are_fine_go_to_the_row() -> None:
    given = {"kd": {"subsets": 5}, "rke": {"sigma": None}, "vendi": {"q": math.inf}}
    assert check_arguments(given) == {
        "kid": {"subsets": 5}, "rke": {"sigma": None}, "vendi": {"q": math.inf},
    }  # fmt: skip
    assert check_arguments(None) == {}


def test_what_was_asked_for_by_its_name() -> None:
    assert expand("all").named == set()
    assert expand("all,fid").named == {"fid"}
    assert expand(iter(["prdc", "all"])).named == set(FAMILIES["prdc"])
    assert list(expand("all,fid")) == list(METRICS)


def test_one_value_for_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real_function = frechet.frechet_estimate

    def counted(*args: object, **kwargs: object) -> Estimate:
        calls.append(1)
        return real_function(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(frechet, "frechet_estimate", counted)
    compute(expand("fid,fd").values(), *pair())
    assert calls == [1]


def test_half_samples_give_the_error_of_a_mean() -> None:
    """Whose standard error is known: that of half-samples is the same, by theory."""
    values = np.random.default_rng(0).normal(size=300)
    draws = [values[rows].mean() for _, rows in half_samples(None, 300, draws=2000)]
    assert np.std(draws, ddof=1) == pytest.approx(values.std(ddof=1) / np.sqrt(300), rel=0.05)


def test_half_samples_of_the_reals_do_not_depend_on_the_fakes() -> None:
    one = [rows for rows, _ in half_samples(9, 7, draws=5)]
    other = [rows for rows, _ in half_samples(9, 20, draws=5)]
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(one[0]) == 4
    assert any(not np.array_equal(one[0], rows) for rows in one[1:])
