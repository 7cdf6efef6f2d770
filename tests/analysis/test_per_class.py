"""Values class by class, from class folders or labels, and their mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.errors import InputError, UsageError
from gan_metrics.images.labels import classes_of, folder_classes, labels_of_both, read_labels

pytestmark = pytest.mark.usefixtures("coarse_lite0")

RNG = np.random.default_rng(0)


def features(counts: dict[str, int], shift: float = 0.0, dim: int = 4) -> gm.Features:
    rng = np.random.default_rng(int(100 * shift) + 1)
    names, rows = [], []
    for i, (name, count) in enumerate(counts.items()):
        names += [f"{name}/{j:04d}.png" for j in range(count)]
        rows.append(rng.normal(size=(count, dim)) + 5 * i + shift)
    order = np.random.default_rng(9).permutation(len(names))
    array = np.concatenate(rows).astype(np.float32)[order]
    return gm.Features([names[i] for i in order], array, gm.FeatureSpec())


def part(of: gm.Features, name: str) -> np.ndarray:
    return of.array[[n.startswith(f"{name}/") for n in of.names]]


def test_each_class_is_that_class_alone() -> None:
    real, fake = (
        features({"a": 200, "b": 150, "c": 120}),
        features({"a": 130, "b": 180, "c": 110}, 0.3),
    )
    found = gm.evaluate(real, fake, metrics="fid,precision,vendi", per_class=True).per_class
    for name in "abc":
        x, y = part(real, name), part(fake, name)
        assert found.counts[name] == (len(x), len(y))
        assert found.values["fd"][name].value == pytest.approx(
            gm.metrics.frechet_distance(x, y), rel=1e-6
        )
        assert found.values["precision"][name].value == gm.metrics.precision(x, y)
        assert found.values["vendi"][name].value == pytest.approx(gm.metrics.vendi(y))
        error = gm.metrics.frechet_standard_error(x, y)
        assert found.values["fd"][name].standard_error == pytest.approx(error, rel=1e-6)
    mean = found.means["fd"]
    values = found.values["fd"].values()
    assert mean.value == pytest.approx(np.mean([v.value for v in values]))
    assert mean.standard_error == pytest.approx(
        np.sqrt(sum(v.standard_error**2 for v in values)) / 3
    )
    assert mean.classes == 3
    assert (found.missing, found.small, list(found.warnings)) == ([], [], [])


def test_the_whole_is_not_changed() -> None:
    real, fake = features({"a": 120, "b": 130}), features({"a": 110, "b": 140}, 0.2)
    alone = gm.evaluate(real, fake, metrics="fid,kid")
    found = gm.evaluate(real, fake, metrics="fid,kid", per_class=True)
    assert [r.to_json() for r in found.values()] == [r.to_json() for r in alone.values()]


def test_missing_and_small_and_strange_classes() -> None:
    real = features({"a": 200, "b": 150, "dog": 30, "few": 2})
    fake = features({"a": 130, "b": 50, "few": 1, "new": 40}, 0.3)
    found = gm.evaluate(real, fake, metrics="fid,recall", per_class=True)
    by_class = found.per_class
    assert by_class.missing == ["dog"]
    assert by_class.small == ["b", "dog", "few", "new"]
    assert by_class.values["fd"]["dog"].value is None
    assert "no fake image" in by_class.values["fd"]["dog"].reason
    assert "no real image" in by_class.values["fd"]["new"].reason
    assert by_class.values["fd"]["few"].value is None
    assert by_class.means["fd"].classes == 2
    warnings = dict(by_class.warnings)
    assert warnings["class-missing"].endswith("dog")
    assert warnings["class-unknown"].endswith("new")
    assert warnings["class-small"].endswith("b, few")
    assert "few" in warnings["class-without-value"]
    text = str(found)
    assert "mean over classes" in text
    assert "b *" in text
    document = json.loads(found.dumps())["classes"]
    assert document["counts"]["b"] == {"n_real": 150, "n_fake": 50, "small": True}
    assert document["missing"] == ["dog"]
    assert document["mean"]["fd"]["classes"] == 2
    assert {w["code"] for w in json.loads(found.dumps())["warnings"]} >= {"class-missing"}


def test_one_class_alone_is_said() -> None:
    real, fake = features({"only": 120}), features({"only": 110}, 0.3)
    found = gm.evaluate(real, fake, metrics="fid", per_class=True)
    assert found.per_class.values["fd"]["only"].value == pytest.approx(float(found["fid"]))
    assert list(dict(found.per_class.warnings)) == ["one-class"]


def test_metrics_of_the_fakes_alone() -> None:
    found = gm.evaluate(None, features({"a": 120, "b": 130}), metrics="vendi", per_class=True)
    assert found.per_class.counts == {"a": (None, 120), "b": (None, 130)}
    assert not found.per_class.missing
    assert not found.per_class.warnings
    json.loads(found.dumps())
    assert "–" in str(found)


def test_held_out_images_have_no_classes() -> None:
    real, fake = features({"a": 120, "b": 130}), features({"a": 110, "b": 140}, 0.2)
    found = gm.evaluate(real, fake, metrics="fid,ct", held_out=features({"a": 90, "b": 90}, 0.1),
                        arguments={"ct": {"cells": 1}}, per_class=True)  # fmt: skip
    assert list(found.per_class.values) == ["fd"]
    assert "ct" in found.per_class.not_computed


def test_labels_from_files(tmp_path: Path) -> None:
    plain = {"cat/1.png": "cat", "2.png": "dog"}
    (tmp_path / "a.csv").write_text("cat/1.png,cat\n2.png,dog\n")
    (tmp_path / "b.csv").write_text("id,label,filename\n0,cat,cat/1.png\n1,dog,2.png\n")
    (tmp_path / "c.tsv").write_text("name\tclass\n./cat/1.png\tcat\n2.png\tdog\n")
    (tmp_path / "d.json").write_text(json.dumps(plain))
    (tmp_path / "e.json").write_text(
        json.dumps({"labels": [["cat/1.png", "cat"], ["2.png", "dog"]]})
    )
    for name in ("a.csv", "b.csv", "c.tsv", "d.json", "e.json"):
        assert read_labels(tmp_path / name) == plain, name
    (tmp_path / "f.json").write_text(json.dumps({"labels": [["cat/1.png", 6], ["2.png", 7]]}))
    assert read_labels(tmp_path / "f.json") == {"cat/1.png": "6", "2.png": "7"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "only\n", "row 1: expected a name and a class"),
        ("a.csv", "a.png,cat\na.png,dog\n", "gives a.png two classes, cat and dog"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1, 2]", "expected an object"),
        ("a.json", '{"a": [1]}', "expected an object"),
        ("a.json", "{}", "contains no labels"),
        ("a.csv", "a.png,\xff", None),
    ],
)
def test_label_files_that_are_wrong(tmp_path: Path, name: str, text: str, says: str | None) -> None:
    (tmp_path / name).write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=says or "cannot read"):
        read_labels(tmp_path / name)
    with pytest.raises(InputError, match="cannot read"):
        read_labels(tmp_path / "nothing.csv")


def test_which_label_an_image_has() -> None:
    labels = {"x/1.png": "cat", "2.png": "dog", "y/3.png": "a", "z/3.png": "b"}
    assert classes_of(["x/1.png", "q/2.png", "y/3.png"], labels, "here") == ["cat", "dog", "a"]
    with pytest.raises(InputError, match="not unique: 3"):
        classes_of(["3.png"], labels, "here")
    with pytest.raises(InputError, match=r"here: 2 of 3 images .* first: 8.png"):
        classes_of(["2.png", "8.png", "9.png"], labels, "here")
    with pytest.raises(InputError, match="2 of 2"):
        classes_of(["a/2.png", "b/2.png"], labels, "here")  # which of them is meant?
    with pytest.raises(UsageError, match="mapping"):
        labels_of_both(3)
    assert folder_classes(["a/b/1.png", "c/2.png"]) == ["a", "c"]
    assert folder_classes(["a/1.png", "2.png"]) is None
    with pytest.raises(InputError, match=r"2.png is not in a class folder"):
        classes_of(["a/1.png", "2.png"], None, "here")


def test_labels_are_looked_at_before_any_work(tmp_path: Path) -> None:
    """The folders do not exist: whoever looked at them first would say so."""
    for labels, says in (
        (tmp_path / "none.csv", "cannot read .*none.csv"),
        ([tmp_path / "none.csv", None], "cannot read .*none.csv"),
        (({}, {}, {}), "expected one for both sets or two, not 3"),
        (3, "labels must be a file or a mapping"),
    ):
        with pytest.raises(gm.GanMetricsError, match=says):
            gm.evaluate("no real", "no fake", metrics="fid", labels=labels)


def test_at_the_shell(tmp_path: Path) -> None:
    for side, seed in (("real", 1), ("fake", 2)):
        for i, name in enumerate(("cat", "dog", "owl")):
            if (side, name) != ("fake", "owl"):
                write_folder(tmp_path / side / name, crops(6, seed + i, 48, 48))
    common = ("evaluate", tmp_path / "real", tmp_path / "fake", "--metrics", "fid,kid",
              "--backbone", LITE0)  # fmt: skip
    done = call(*common, "--per-class", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)["classes"]
    assert document["missing"] == ["owl"]
    assert list(document["values"]) == ["fd", "kd"]
    assert "warning[class-missing]" in done.err
    names = sorted(
        str(p.relative_to(tmp_path / "real")) for p in (tmp_path / "real").rglob("*.png")
    )
    (tmp_path / "l.csv").write_text(
        "".join(f"{n},{'a' if i % 2 else 'b'}\n" for i, n in enumerate(names))
    )
    done = call(*common, "--labels", tmp_path / "l.csv", "--json")
    assert list(json.loads(done.out)["classes"]["counts"]) == ["a", "b"]
    done = call(*common, "--labels", tmp_path / "nothing.csv")
    assert done.code == 3
    done = call("evaluate", tmp_path / "real" / "cat", tmp_path / "fake", "--metrics", "fid",
                "--backbone", LITE0, "--per-class")  # fmt: skip
    assert done.code == 3
    assert "is not in a class folder" in done.err
