"""Ranking: who is better, who cannot be told apart, and how it is written down."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.analysis.comparison import rank
from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.evaluation.compute import Evaluation
from gan_metrics.features.features import Features
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.registry import expand
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics

pytestmark = pytest.mark.usefixtures("coarse_lite0")

DIM = 6
SCALES = np.linspace(1, 0.3, DIM)


def sample(n: int, rng: np.random.Generator, shift: float = 0.0) -> Features:
    """A set as a generator would make it: Gaussian, moved by ``shift`` in every direction."""
    array = (rng.normal(size=(n, DIM)) + shift) * SCALES
    return Features([str(i) for i in range(n)], array.astype(np.float32), FeatureSpec("own"))


def test_the_ranking_and_who_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    real = sample(800, rng)
    found = gm.compare(
        real,
        {"bad": sample(800, rng, 2.0), "good": sample(800, rng, 0.4),
         "as good": sample(800, rng, 0.4)},
        metrics=["fid", "kid"],
    )  # fmt: skip
    assert found.standings[2].name == "bad"
    assert [s.value for s in found.standings] == sorted(s.value for s in found.standings)
    tie, clear = found.differences
    assert not tie.distinct
    assert tie.p_value > 0.05
    assert clear.distinct
    assert clear.p_value < 1e-6
    assert clear.difference == pytest.approx(found.standings[2].value - found.standings[1].value)
    assert found.metrics == ["fid", "kid"]
    text = str(found)
    assert "not significantly different from the next" in text
    assert "significantly better than the next" in text


def test_higher_is_better_where_it_is() -> None:
    rng = np.random.default_rng(0)
    real = sample(300, rng)
    models = {"bad": sample(300, rng, 3.0), "good": sample(300, rng, 0.2)}
    for metric in ("recall", "coverage", "fid"):
        found = gm.compare(real, models, metrics=metric)
        assert [s.name for s in found.standings] == ["good", "bad"], metric
        assert found.differences[0].distinct


@pytest.mark.parametrize("metric", ["fid", pytest.param("kid", marks=pytest.mark.slow)])
def test_equal_generators_are_told_apart_in_about_5_percent_of_draws(metric: str) -> None:
    """The promise itself. Of 400 draws of 5 %, 2.3 to 7.8 % come out with 99 %.

    In 600 draws each: 3.5 to 4.3 % for n = 200, 5.7 % for n = 1000.
    """
    apart = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = gm.compare(
            sample(300, rng), {"a": sample(300, rng, 1.5), "b": sample(300, rng, 1.5)},
            metrics=metric, arguments={"kid": {"subsets": 10}} if metric == "kid" else None,
        )  # fmt: skip
        apart.append(found.differences[0].distinct)
    assert 0.023 <= np.mean(apart) <= 0.078


def test_what_both_share_is_taken_out_of_the_error_of_the_difference() -> None:
    """Few real images and many fakes: each distance is uncertain, their difference is not."""
    rng = np.random.default_rng(0)
    real = sample(60, rng)
    near, far = sample(4000, rng, 1.0), sample(4000, rng, 1.05)
    found = gm.compare(real, {"near": near, "far": far})
    single = [s.standard_error for s in found.standings]
    assert found.differences[0].standard_error < 0.4 * np.hypot(*single)
    # The truth, by drawing again.
    gaps = []
    for _ in range(200):
        moments = [gm.Moments.from_features(sample(n, rng, shift).array)
                   for n, shift in ((60, 0.0), (4000, 1.0), (4000, 1.05))]  # fmt: skip
        gaps.append(
            gm.metrics.frechet_distance(moments[0], moments[2])
            - gm.metrics.frechet_distance(moments[0], moments[1])
        )
    assert found.differences[0].standard_error == pytest.approx(np.std(gaps), rel=0.25)


def test_neighbour_metrics_share_their_draws() -> None:
    rng = np.random.default_rng(0)
    real = sample(200, rng)
    same = sample(200, rng, 0.3)
    twin = Features(same.names, same.array.copy(), same.spec)
    found = gm.compare(real, {"a": same, "b": twin}, metrics="coverage")
    assert found.differences[0].standard_error == pytest.approx(0, abs=1e-12)
    assert found.differences[0].p_value == 1.0


def test_where_zero_is_best_distances_from_it_are_compared() -> None:
    """Below and above zero by the same is a tie, and runs on both sides are no good mean."""
    rng = np.random.default_rng(0)
    n = 400
    shared = rng.normal(size=n)

    def run(value: float) -> Evaluation:
        own = [rng.normal(size=n), rng.normal(size=n)]
        estimate = Estimate(value, 0.5, own[0] + shared, own[1])
        result = gm.MetricResult("ct", value, 0.5, n, n, None, FeatureSpec("own"))
        return Evaluation({"ct": result}, {"ct": estimate}, {}, {})

    below, above, far = run(-2.84), run(3.10), run(-9.0)
    found = rank({"far": [far], "above": [above], "below": [below]}, expand("ct"))
    assert [one.name for one in found.standings] == ["below", "above", "far"]
    assert [one.value for one in found.standings] == [-2.84, 3.10, -9.0]
    first, second = found.differences
    assert first.difference == pytest.approx(0.26)
    assert second.difference == pytest.approx(5.9)
    a, b = below.estimates["ct"], above.estimates["ct"]
    parts = (a.real_influence + b.real_influence, a.fake_influence, b.fake_influence)
    expected = np.sqrt(sum(np.var(part, ddof=1) / n for part in parts))
    assert first.standard_error == pytest.approx(expected)
    runs = {"split": [run(-3.0), run(3.0)], "near": [run(-1.0), run(1.5)]}
    found = rank(runs, expand("ct"))
    assert [one.name for one in found.standings] == ["near", "split"]
    assert [one.value for one in found.standings] == [1.25, 3.0]
    assert [one.mean("ct") for one in found.standings] == [1.25, 3.0]
    assert found.standings[1].spread == 0.0


def test_several_runs_give_their_spread() -> None:
    rng = np.random.default_rng(0)
    real = sample(500, rng)
    runs = {
        "a": [sample(500, rng, 0.5 + d) for d in (-0.1, 0.0, 0.1)],
        "b": [sample(500, rng, 0.55 + d) for d in (-0.1, 0.0, 0.1)],
        "c": [sample(500, rng, 3.0 + d) for d in (-0.1, 0.0, 0.1)],
    }
    found = gm.compare(real, runs)
    for standing in found.standings:
        values = [run["fid"].value for run in standing.results]
        assert len(values) == 3
        assert standing.value == pytest.approx(np.mean(values))
        assert standing.spread == pytest.approx(np.std(values, ddof=1))
        assert standing.standard_error == pytest.approx(standing.spread / np.sqrt(3))
    from scipy.stats import ttest_ind

    a, b = ([run["fid"].value for run in s.results] for s in found.standings[:2])
    expected = ttest_ind(a, b, equal_var=False).pvalue
    assert found.differences[0].p_value == pytest.approx(expected)
    assert not found.differences[0].distinct  # one run of each would be told apart
    assert found.differences[1].distinct
    assert "(3 runs)" in str(found)


def test_a_single_run_beside_several_is_taken_to_have_their_spread() -> None:
    """Equal models with a lottery of training: told apart in about 5 % of draws, no more."""
    apart = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shifts = 0.8 + 0.1 * rng.normal(size=4)
        runs = [sample(200, rng, shift) for shift in shifts]
        found = gm.compare(sample(200, rng), {"a": runs[0], "b": runs[1:]})
        apart.append(found.differences[0].distinct)
    assert np.mean(apart) <= 0.1


def test_a_metric_that_one_of_them_lacks_is_left_out_there() -> None:
    rng = np.random.default_rng(0)
    few = sample(3, rng)
    found = gm.compare(sample(99, rng), {"a": sample(99, rng), "few": few}, metrics="fid,recall")
    by_name = {s.name: s for s in found.standings}
    assert by_name["few"].mean("recall") is by_name["few"].error("recall") is None
    assert "–" in str(found)
    row = next(r for r in csv.DictReader(io.StringIO(found.to_csv())) if r["generator"] == "few")
    assert (row["recall"], row["recall_standard_error"]) == ("", "")
    assert "recall" in found.not_computed


def test_generators_of_different_spaces_are_not_ranked() -> None:
    """Even where the reference does not say what it is of."""
    rng = np.random.default_rng(0)
    real, a, b = sample(50, rng), sample(50, rng), sample(50, rng)
    silent = Features(real.names, real.array, FeatureSpec())
    other = Features(b.names, b.array, FeatureSpec("another"))
    with pytest.raises(MismatchError, match=r"(?s)backbone: own — another"):
        gm.compare(silent, {"a": a, "b": other})


def test_all_of_them_can_be_compared() -> None:
    rng = np.random.default_rng(0)
    found = gm.compare(sample(60, rng), {"a": sample(60, rng), "b": sample(60, rng)}, metrics="all")
    assert found.metric == "fid"
    assert {"is", "sfid", "fd_dinov2", "ct", "fld", "lpips_diversity", "ppl"} == set(
        found.not_computed
    )


def test_without_error_bars_nothing_is_claimed() -> None:
    moments = [gm.Moments(100, np.full(3, shift), np.eye(3)) for shift in (0.0, 1.0, 2.0)]
    real, a, b = (Statistics(m) for m in moments)
    found = gm.compare(real, {"a": a, "b": b})
    assert found.differences[0].distinct is None
    assert "unknown (the difference has no error bar)" in str(found)
    assert found.to_json()["differences"][0]["distinct"] is None


def test_the_ways_it_is_written_down() -> None:
    rng = np.random.default_rng(0)
    found = gm.compare(
        sample(300, rng), {"a|b_%": sample(300, rng, 1.0), "c": sample(250, rng, 0.3)},
        metrics="fid,prdc",
    )  # fmt: skip
    document = json.loads(found.dumps())
    assert [row["name"] for row in document["ranking"]] == ["c", "a|b_%"]
    assert document["ranking"][0]["results"][0][0]["metric"] == "fd"
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["generator"] for row in rows] == ["c", "a|b_%"]
    assert float(rows[0]["fd"]) == found.standings[0].value
    assert float(rows[0]["fd_standard_error"]) == found.standings[0].standard_error
    assert document["metric"] == "fd"
    assert float(rows[0]["p_value_to_next"]) == found.differences[0].p_value
    assert rows[1]["p_value_to_next"] == ""
    markdown = found.to_markdown().splitlines()
    assert len(markdown) == 4
    assert r"a\|b_%" in markdown[3]
    assert len({line.replace(r"\|", "").count("|") for line in markdown}) == 1
    assert (
        "These values are those of c; those of a|b_% were computed in the same way."
        in found.methods()
    )
    latex = found.to_latex()
    assert r"\toprule" in latex
    assert r"a|b\_\%" in latex
    assert "unequal-counts" in [code for code, _ in found.warnings]
    lines = str(found).splitlines()
    assert lines[0].split()[:3] == ["rank", "generator", "images"]
    assert [line.split()[2] for line in lines[1:3]] == ["250", "300"]


def test_bad_usage() -> None:
    rng = np.random.default_rng(0)
    real, fake = sample(50, rng), sample(50, rng)
    with pytest.raises(UsageError, match="at least two generators, not 1"):
        gm.compare(real, [fake])
    with pytest.raises(UsageError, match="two generators, not 1"):
        gm.compare(real, "ab")
    with pytest.raises(UsageError, match="generator 'b' has no images"):
        gm.compare(real, {"a": fake, "b": []})
    with pytest.raises(UsageError, match="given twice"):
        gm.compare(real, ["a/b", "a/b"])
    stats = Statistics(gm.Moments.from_features(fake.array), FeatureSpec("own"))
    with pytest.raises(InputError, match=r"kid cannot be computed.*only the moments"):
        gm.compare(real, {"a": fake, "b": stats}, metrics="kid")


def test_at_a_shell(folders: tuple[Path, Path], tmp_path: Path) -> None:
    real, noisy = folders
    other = write_folder(tmp_path / "other", crops(11, 5))
    command = ("compare", real, noisy, other, "--backbone", LITE0)
    done = call(*command, "-o", tmp_path / "table.tex")
    assert done.code == 0, done.err
    lines = done.out.splitlines()[1:3]
    assert {line.split()[1] for line in lines} == {"other", noisy.name}
    assert sum("next (p" in line for line in lines) == 1
    assert r"\toprule" in (tmp_path / "table.tex").read_text()
    done = call(*command, "--json", "-o", tmp_path / "table.json")
    assert json.loads(done.out) == json.loads((tmp_path / "table.json").read_text())
    done = call("compare", real, f"a={noisy},{other}", f"b={other}", "--backbone", LITE0,
                "--format", "csv")  # fmt: skip
    assert done.code == 0, done.err
    runs = {row["generator"]: row["runs"] for row in csv.DictReader(io.StringIO(done.out))}
    assert runs == {"a": "2", "b": "1"}
    for wrong, says in ((["--format", "html"], "html"), (["-o", tmp_path / "x.html"], ".tex")):
        refused(2, *command, *wrong, says=(says,))
    refused(2, "compare", real, noisy, "--backbone", LITE0, says=("at least two generators",))


def test_a_run_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    """Its spread would be zero, and everything told apart."""
    rng = np.random.default_rng(0)
    real, a, b = sample(60, rng), sample(60, rng), sample(60, rng, 0.1)
    copy = Features(a.names, a.array.copy(), a.spec)
    with pytest.raises(InputError, match="two runs of 'a' have the same images"):
        gm.compare(real, {"a": [a, copy], "b": b})
    found = gm.compare(real, {"a": a, "b": copy, "c": b})
    assert "same-images" in [code for code, _ in found.warnings]
    assert "same-images" not in [c for c, _ in gm.compare(real, {"a": a, "b": b}).warnings]


def test_one_bandwidth_for_all_where_the_reference_gives_none() -> None:
    rng = np.random.default_rng(0)
    moments = Statistics(gm.Moments.from_features(sample(99, rng).array), FeatureSpec("own"))
    found = gm.compare(moments, {"a": sample(60, rng), "b": sample(60, rng, 3.0)}, metrics="rke")
    assert len({run["rke"].details["sigma"] for s in found.standings for run in s.results}) == 1
