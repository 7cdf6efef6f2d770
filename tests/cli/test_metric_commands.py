"""The verbs kid, is, prdc, vendi, evaluate and metrics at a shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.metrics.registry import METRICS

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]
OFFLINE = ("--backbone", LITE0)


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("kid",), ["kd"]),
        (("kid", "--subsets", "7", "--subset-size", "5"), ["kd"]),
        (("prdc",), ["precision", "recall", "density", "coverage"]),
        (("prdc", "--k", "2", "--no-error-bars"), ["precision", "recall", "density", "coverage"]),
    ],
)
def test_a_verb_of_two_sets(folders: Folders, args: tuple[str, ...], names: list[str]) -> None:
    done = call(args[0], *folders, *args[1:], *OFFLINE, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    results = document["results"] if len(names) > 1 else [document]
    assert [r["metric"] for r in results] == names
    for r in results:
        assert (r["n_real"], r["n_fake"], r["feature_spec"]["backbone"]) == (12, 11, LITE0)
        assert (r["standard_error"] is None) == ("--no-error-bars" in args)
    if "--subsets" in args:
        assert (document["details"]["subsets"], document["details"]["subset_size"]) == (7, 5)
    if "--k" in args:
        real, fake = (gm.extract_features(f, backbone=LITE0).array for f in folders)
        expected = gm.metrics.prdc(real, fake, k=2)
        assert {r["metric"]: r["value"] for r in results} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("args", "metric", "detail"),
    [
        (("is", "--splits", "2"), "is", ("splits", 2)),
        (("vendi", "--q", "0.5"), "vendi", ("q", 0.5)),
    ],
)
def test_a_verb_of_one_set(
    folders: Folders, args: tuple[str, ...], metric: str, detail: tuple[str, float]
) -> None:
    done = call(args[0], folders[1], *args[1:], *OFFLINE, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["metric"], document["n_real"], document["n_fake"]) == (metric, None, 11)
    assert document["details"][detail[0]] == detail[1]
    assert document["value"] >= 1
    text = call(args[0], folders[1], *args[1:], *OFFLINE).out
    assert "  images          11 fake\n" in text


def test_evaluate_prints_everything_that_can_be_had(folders: Folders, tmp_path: Path) -> None:
    common = ("evaluate", *folders, *OFFLINE, "--set", "is.splits=2")
    done = call(*common, "--json", "-o", tmp_path / "out.json", "--append", tmp_path / "log.jsonl")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document == json.loads((tmp_path / "out.json").read_text())
    assert document == json.loads((tmp_path / "log.jsonl").read_text())
    assert len(document["results"]) >= 15
    assert all(r["standard_error"] is not None for r in document["results"])
    assert [m["metric"] for m in document["not_computed"]] == [
        "sfid", "fd_dinov2", "ct", "fld", "lpips_diversity", "ppl"
    ]  # fmt: skip
    text = call(*common).out
    for result in document["results"]:
        assert f"\n{result['metric']} " in text
    assert "sfid: not computed" in text


def test_evaluate_with_names_and_arguments(folders: Folders) -> None:
    done = call("evaluate", *folders, *OFFLINE, "--metrics", "prdc,fid", "--json",
                "--set", "precision.k=2", "--set", "fid.directions=3")  # fmt: skip
    document = json.loads(done.out)
    values = {r["metric"]: r for r in document["results"]}
    assert list(values) == ["precision", "recall", "density", "coverage", "fd"]
    assert values["precision"]["details"]["k"] == 2
    assert len(values["fd"]["details"]["leading_directions"]) == 3
    shown = call("fid", *folders, *OFFLINE, "--directions", "3").out
    assert "leading directions" in shown


def test_what_is_asked_for_wrongly(folders: Folders, tmp_path: Path) -> None:
    common = (*folders, *OFFLINE)
    refused(2, "evaluate", *common, "--metrics", "fdi", says=("unknown metric 'fdi'", "fid"))
    refused(2, "evaluate", *common, "--metrics", ",", says=("no metric is named",))
    refused(2, "evaluate", *common, "--set", "k=5", says=("expected METRIC.NAME=VALUE",))
    refused(2, "evaluate", *common, "--set", "kid.subsets=many", says=("must be a whole", "'many'"))
    refused(2, "evaluate", *common, "--set", "kid.k=5", says=("has no argument 'k'", "subsets"))
    refused(2, "evaluate", *common, "--set", "nope.k=5", says=("unknown metric 'nope'",))
    refused(2, "evaluate", *common, "--set", "is.splits=2.5", says=("is.splits", "2.5"))
    refused(2, "vendi", folders[0], *OFFLINE, "--q", "0", says=("q",))
    refused(5, "prdc", *common, "--k", "50", says=("50", "12"))
    refused(5, "is", folders[0], *OFFLINE, says=("splits",))
    stats = gm.compute_stats(folders[0], backbone=LITE0).save(tmp_path / "r.npz")
    refused(3, "kid", stats, folders[1], says=("kid cannot be computed", "only the moments of"))
    one = write_folder(tmp_path / "one", crops(1, 0))
    for verb in ("fid", "kid", "prdc"):
        refused(5, verb, one, folders[1], *OFFLINE, says=("one",))
    nan = tmp_path / "nan.npy"
    np.save(nan, np.full((20, 4), np.nan, np.float32))
    assert call("vendi", nan).code != 0


def test_nothing_at_all_is_a_failure_that_still_says_why(folders: Folders, tmp_path: Path) -> None:
    stats = gm.compute_stats(folders[0], backbone=LITE0).save(tmp_path / "r.npz")
    done = call("evaluate", stats, stats, "--metrics", "is,kid", "--json")
    assert done.code == 5
    document = json.loads(done.out)
    assert document["results"] == []
    assert [m["metric"] for m in document["not_computed"]] == ["is", "kid"]
    assert "no metric could be computed" in done.err


def test_the_list_of_metrics() -> None:
    text = call("metrics").out
    assert all(f"\n{name} " in text for name in METRICS)
    document = json.loads(call("metrics", "--json").out)
    assert list(document["metrics"]) == list(METRICS)
    for row in document["metrics"].values():
        assert row["summary"]
        assert row["source"]
        assert row["error_bar"]
    assert document["families"]["prdc"] == ["precision", "recall", "density", "coverage"]


def test_set_by_family_alias_and_with_blanks(folders: Folders) -> None:
    done = call("evaluate", *folders, *OFFLINE, "--metrics", "PRDC, kd,vendi", "--json",
                "--set", "prdc.k = 2", "--set", "kd.subsets=3", "--set", "vendi.q=inf")  # fmt: skip
    assert done.code == 0, done.err
    details = {r["metric"]: r["details"] for r in json.loads(done.out)["results"]}
    assert {details[name]["k"] for name in ("precision", "recall", "density", "coverage")} == {2}
    assert details["kd"]["subsets"] == 3
    assert details["vendi"]["q"] == "inf"
    common = ("evaluate", *folders, *OFFLINE, "--metrics", "fid")
    refused(2, *common, "--set", "precision.k=5", says=("precision", "does not include"))
    twice = ("--set", "fid.directions=1", "--set", "fid.directions=2")
    refused(2, *common, *twice, says=("given twice",))
    refused(2, "compare", *folders, "=x", *OFFLINE, says=("no name before",))


@pytest.mark.parametrize(
    "wrong", [None, 5, b"fid", {"metrics": "fid", "arguments": {"fid": 3}},
              {"metrics": "fid", "arguments": ["fid.directions=1"]},
              {"metrics": "kid", "arguments": {"kid": {"degree": 10**30}}},
              {"metrics": "cmmd", "arguments": {"cmmd": {"sigma": 1e200}}},
              {"metrics": "vendi", "arguments": {"vendi": {"q": 1e-300}}},
              {"metrics": "fkea", "arguments": {"fkea": {"features": 10**8}}}],
)  # fmt: skip
def test_what_python_gives_wrongly(folders: Folders, wrong: object) -> None:
    given = wrong if isinstance(wrong, dict) else {"metrics": wrong}
    with pytest.raises(gm.UsageError):
        gm.evaluate(*folders, backbone=LITE0, **given)


def test_logits_of_a_file_that_does_not_say_so_can_be_declared(tmp_path: Path) -> None:
    path = tmp_path / "logits.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 10)).astype(np.float32))
    refused(3, "is", path, "--splits", "2", says=("unstated layer", "--layer"))
    done = call("is", path, "--splits", "2", "--backbone", LITE0, "--layer", "logits", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["feature_spec"]["layer"] == "logits"
