"""What a report is made of: numbers that other functions give too, from one pass."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics import InputError, UsageError
from gan_metrics.backbones.network import Backbone
from gan_metrics.metrics.frechet import frechet_influence
from gan_metrics.reports.charts import Chart, charts_of, history_charts
from gan_metrics.reports.data import Report, report
from gan_metrics.reports.html_report import save_report
from gan_metrics.reports.matplotlib_charts import save_chart
from gan_metrics.reports.style import series_style
from gan_metrics.reports.training_log import read_history

pytestmark = pytest.mark.usefixtures("coarse_lite0")

OWN: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two classes; the first generator copies a real image, the second lacks variety."""
    root = tmp_path_factory.mktemp("sets")
    kinds = {"real": crops(40, 1), "near": crops(40, 2), "dull": crops(10, 3) * 4}
    kinds["near"][7] = kinds["real"][5]
    for name, images in kinds.items():
        for i, part in enumerate((images[:20], images[20:])):
            write_folder(root / name / "ab"[i], part)
    return {name: root / name for name in kinds}


@pytest.fixture(scope="module")
def found(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    line = {"metric": "fd", "value": 3.0, "standard_error": 0.2}
    log.write_text("\n".join(json.dumps({"step": s, **line}) for s in (1, 2)))
    return report(sets["real"], [sets["near"], sets["dull"]], history=log, shown=6, places=2, **OWN)


@pytest.fixture(scope="module")
def page(found: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_report(found, tmp_path_factory.mktemp("page") / "page.html").read_text()


def charts(found: Report) -> dict[str, Chart]:
    return {chart.key: chart for chart in charts_of(found)}


def test_the_scores_are_those_of_evaluate(found: Report, sets: dict[str, Path]) -> None:
    for one, name in zip(found.generators, ("near", "dull"), strict=True):
        alone = gm.evaluate(
            sets["real"],
            sets[name],
            metrics=["fid", "fd_infinity", "kid", "prdc", "authpct"],
            **OWN,
        )
        assert list(one.scores) == list(alone)
        for key, result in alone.items():
            assert one.scores[key].value == result.value
            assert one.scores[key].standard_error == result.standard_error
    ranked = gm.compare(sets["real"], [sets["near"], sets["dull"]], **OWN)
    assert found.comparison is not None
    assert [s.name for s in found.comparison.standings] == [s.name for s in ranked.standings]
    assert found.comparison.differences[0].p_value == ranked.differences[0].p_value


def test_one_pass(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    own = Backbone._raw
    monkeypatch.setattr(
        Backbone, "_raw", lambda self, x, paths: seen.append(len(x)) or own(self, x, paths)
    )
    report(sets["real"], [sets["near"]], places=0, cache=False, **OWN)
    assert sum(seen) == 80


def test_galleries(found: Report, sets: dict[str, Path]) -> None:
    near = found.generators[0]
    galleries = {one.key: one for one in near.galleries}
    fake = gm.extract_features(sets["near"], **OWN)
    real = gm.extract_features(sets["real"], **OWN)
    influence = frechet_influence(fake.array, real.array)
    order = [fake.names[i] for i in np.argsort(-influence, kind="stable")]
    assert galleries["raise"].names == order[:6]
    assert galleries["lower"].names == order[::-1][:6]
    assert galleries["copies"].names[0] == "a/0007.png"
    assert near.near["a/0007.png"][0] == ("a/0005.png", pytest.approx(0, abs=1e-6))
    assert all(len(one.names) <= 6 for one in near.galleries)
    distances = np.linalg.norm(real.array - fake.array[fake.names.index(order[0])], axis=1)
    nearest = np.argsort(distances, kind="stable")[:5]
    assert [name for name, _ in near.near[order[0]]] == [real.names[i] for i in nearest]
    dull = {one.key: one for one in found.generators[1].galleries}
    assert "uncovered" not in galleries or galleries["uncovered"].total < dull["uncovered"].total
    assert dull["uncovered"].real
    assert found.generators[1].near_real[dull["uncovered"].names[0]]


def test_places(found: Report) -> None:
    for one in found.generators:
        assert one.places is not None
        raising = next(g for g in one.galleries if g.key == "raise")
        assert [image.name for image in one.places] == list(raising.names[:2])


def test_charts(found: Report, sets: dict[str, Path]) -> None:
    drawn = charts(found)
    assert list(drawn) == [
        "comparison", "terms", "spectrum", "growth", "prdc", "classes", "history"
    ]  # fmt: skip
    values = [one.scores["fid"].value for one in found.generators]
    parts = [series.x for series in drawn["terms"].series]
    np.testing.assert_allclose(np.sum(parts, axis=0), values, rtol=1e-9)
    real = gm.extract_features(sets["real"], **OWN).array.astype(np.float64)
    expected = np.linalg.eigvalsh(np.cov(real, rowvar=False))[::-1][:30]
    spectrum = drawn["spectrum"].series[0]
    np.testing.assert_allclose(spectrum.y[:30], expected, rtol=1e-6)
    assert spectrum.x[:3] == [1, 2, 3]
    assert len(spectrum.y) == 39  # of 40 images; the rest is rounding
    growth = drawn["growth"].series
    result = found.generators[0].scores["fd_infinity"]
    assert growth[0].y[-1] == pytest.approx(values[0])
    assert growth[0].x[-1] == 1 / 40
    assert (growth[2].x, growth[2].y) == ([0.0], [result.value])
    assert growth[1].y[1] - growth[1].y[0] == pytest.approx(
        result.details["slope"] * growth[1].x[1]
    )
    assert drawn["growth"].ticks[0] == (0.0, "∞")
    by_class = found.generators[0].scores.per_class.values["fd"]
    chart = drawn["classes"]
    assert chart.series[0].x == [by_class[name].value for name in chart.categories]
    assert sorted(chart.categories) == ["a", "b"]
    ranked = drawn["comparison"]
    assert ranked.categories == [s.name for s in found.comparison.standings]
    assert ranked.series[0].x == sorted(values)


@pytest.mark.parametrize(
    ("suffix", "kinds"),
    [
        ("svg", 7),
        ("png", 1),
        ("pdf", 1),
        pytest.param("png", 7, marks=pytest.mark.slow),
        pytest.param("pdf", 7, marks=pytest.mark.slow),
    ],
)
def test_every_chart_as_a_picture(found: Report, tmp_path: Path, suffix: str, kinds: int) -> None:
    drawn = charts(found)
    assert len(drawn) == 7
    for key, chart in list(drawn.items())[:kinds]:
        path = tmp_path / f"{key}.{suffix}"
        save_chart(chart, path)
        assert path.stat().st_size > 2000
        if suffix == "svg":
            assert chart.x_label in path.read_text() or not chart.x_label


def test_reals_known_by_their_moments(sets: dict[str, Path], tmp_path: Path) -> None:
    gm.compute_stats(sets["real"], **OWN).save(tmp_path / "real.npz")
    found = report(tmp_path / "real.npz", [sets["near"]], shown=3, places=1, **OWN)
    one = found.generators[0]
    assert set(one.scores) == {"fid", "fd_infinity"}
    assert "precision" in one.scores.not_computed
    assert {g.key for g in one.galleries} == {"random-fake", "raise", "lower"}
    assert not one.near
    assert found.feature_spec.backbone == LITE0
    assert found.map is not None
    assert set(found.map.groups) == {"fake"}
    page = save_report(found, tmp_path / "page.html").read_text()
    assert "reference-has-no-images" in page
    assert "prdc was" not in page
    assert "influence +" in page
    assert "precision was not computed" in page


def test_features_alone(sets: dict[str, Path], tmp_path: Path) -> None:
    for name in ("real", "near"):
        gm.save_features(gm.extract_features(sets[name], **OWN), tmp_path / f"{name}.npy")
    found = report(tmp_path / "real.npy", [tmp_path / "near.npy"], shown=3)
    one = found.generators[0]
    assert "need the generated images" in one.missing["places"]
    assert one.galleries
    page = save_report(found, tmp_path / "page.html").read_text()
    assert "no image available" in page


def test_no_galleries_are_as_few_as_can_be_shown(sets: dict[str, Path]) -> None:
    found = report(
        sets["real"], [sets["near"]], metrics="fid", shown=0, places=0, map_method=None, **OWN
    )
    assert found.generators[0].galleries == []


def test_the_table_of_classes_counts_each_generator_once(
    found: Report, sets: dict[str, Path]
) -> None:
    """Several generators may have drawn different numbers of a class."""
    assert charts(found)["classes"].heads == ["class", "real images", "near", "dull"]
    alone = report(sets["real"], [sets["near"]], metrics="fid", places=0, map_method=None, **OWN)
    table = charts(alone)["classes"]
    assert table.heads == ["class", "real images", "generated images", "near"]
    assert sorted(row[:3] for row in table.rows) == [["a", "20", "20"], ["b", "20", "20"]]


def test_a_real_image_is_told_beside_each_generator(found: Report, page: str) -> None:
    known = json.loads(re.findall(r'id="known">(.*?)</script>', page, re.DOTALL)[0])["details"]
    seen = []
    for number, one in enumerate(found.generators):
        section = page.split(f'<section id="images-{number}"')[1].split("<section")[0]
        reals = section.split("<h3>Real images at random")[1].split("<h3>")[0]
        for key, name in re.findall(r'data-key="(\w+)" title="([^"]*)"', reals):
            near = [f"{distance:.4g}" for _, distance in one.near_real[name]]
            assert [distance for _, distance in known[key]["near"]] == near
            seen.append((name, near))
    assert len(seen) == 12
    assert len({name for name, _ in seen}) == 6
    assert len({str(pair) for pair in seen}) == 12


def test_a_metric_of_other_features_is_told_apart(found: Report, page: str, tmp_path: Path) -> None:
    assert "do not explain" not in page
    elsewhere = dataclasses.replace(found, feature_spec=gm.FeatureSpec(backbone="another"))
    told = save_report(elsewhere, tmp_path / "page.html").read_text()
    assert "are computed in another ?. They do not explain" in told
    assert f"fd in {LITE0} global_pool" in told


def test_one_set_needs_no_list(sets: dict[str, Path]) -> None:
    few: dict[str, Any] = {"metrics": "fid", "places": 0, "map_method": None, **OWN}
    one = report(sets["real"], sets["near"], **few)
    assert [g.name for g in one.generators] == ["near"]
    assert report(sets["real"], str(sets["near"]), **few).generators[0].name == "near"
    with pytest.raises(UsageError, match="at least one set"):
        report(sets["real"], [], **few)


def test_a_generator_that_fails_takes_nothing_from_the_others(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    write_folder(tmp_path / "lone" / "a", crops(1, 9))
    found = report(
        sets["real"], [tmp_path / "lone", sets["dull"], sets["near"]], metrics=["fid", "authpct"],
        shown=4, places=0, **OWN,
    )  # fmt: skip
    assert found.comparison is not None
    assert [s.name for s in found.comparison.standings] == ["near", "dull"]
    assert "without lone" in found.missing["ranking"]
    page = save_report(found, tmp_path / "page.html").read_text()
    assert "without lone" in page


def test_a_set_known_by_its_moments_leaves_the_map_to_the_others(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    gm.compute_stats(sets["dull"], **OWN).save(tmp_path / "dull.npz")
    found = report(
        sets["real"], [sets["near"], tmp_path / "dull.npz"], metrics="fid", places=0, **OWN
    )
    assert found.map is not None
    assert set(found.map.groups) == {"real", "fake: near"}
    assert "fake: dull.npz" in found.missing["map"]


def test_labels_that_cannot_be_read_are_refused_before_any_work(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backbone, "_raw", lambda *_: pytest.fail("there was a pass"))
    with pytest.raises(InputError, match=r"none\.csv"):
        report(sets["real"], sets["near"], labels=tmp_path / "none.csv", cache=False, **OWN)


def test_classes_that_one_generator_lacks(sets: dict[str, Path], tmp_path: Path) -> None:
    write_folder(tmp_path / "half" / "a", crops(20, 4))
    found = report(sets["real"], tmp_path / "half", metrics="fid", places=0, map_method=None, **OWN)
    by_class = found.generators[0].scores.per_class
    assert by_class is not None
    assert by_class.missing == ["b"]
    assert charts(found)["classes"].categories == ["a"]


def test_classes_are_looked_at_by_the_leading_metric_alone(found: Report) -> None:
    assert list(found.generators[0].scores.per_class.values) == ["fd"]


@pytest.mark.parametrize(("metrics", "worst_is"), [("fid", max), ("precision", min)])
def test_the_worst_class_is_on_top(
    sets: dict[str, Path], metrics: str, worst_is: Callable[..., float]
) -> None:
    found = report(sets["real"], sets["near"], metrics=metrics, places=0, map_method=None, **OWN)
    values = charts(found)["classes"].series[0].x
    assert values[0] == worst_is(values)


def test_terms_are_shown_by_whatever_name_the_distance_was_asked_for(
    sets: dict[str, Path],
) -> None:
    found = report(
        sets["real"], sets["near"], metrics=["fd"], places=0, shown=0, map_method=None, **OWN
    )
    assert "terms" in charts(found)


def test_sizes_of_all_generators_stand_on_the_axis(sets: dict[str, Path], tmp_path: Path) -> None:
    write_folder(tmp_path / "few", crops(12, 5))
    for order in ([sets["near"], tmp_path / "few"], [tmp_path / "few", sets["near"]]):
        found = report(
            sets["real"], order, metrics=["fd_infinity"], places=0, map_method=None, **OWN
        )
        sizes = [n for g in found.generators for n in g.scores["fd_infinity"].details["sizes"]]
        ticks = [place for place, _ in charts(found)["growth"].ticks]
        assert max(ticks) > 0.6 / min(sizes)


def test_a_generator_called_real_is_another_than_the_reals(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    write_folder(tmp_path / "real", crops(20, 6))
    found = report(
        sets["real"], tmp_path / "real", metrics="fid", places=0, shown=0, map_method=None, **OWN
    )
    labels = [series.label for series in charts(found)["spectrum"].series]
    assert labels == ["real images", "real"]


def test_all_curves_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [
        {"step": s, "results": [{"metric": "fid", "value": 9.0 - s, "standard_error": None},
                                {"metric": "kid", "value": 0.5, "standard_error": 0.1}]}
        for s in (1, 2)
    ]  # fmt: skip
    log.write_text("\n".join(map(json.dumps, lines)))
    fid, kid = history_charts(read_history(log))
    assert (fid.key, kid.key) == ("history", "history-2")
    assert fid.series[0].y == [8.0, 7.0]
    assert "95 %" not in fid.about
    assert "95 %" in kid.about
    call_ = call("plot", "history", log, "-o", tmp_path / "kid.png", "--metric", "kid")
    assert call_.code == 0, call_.err
    refused(2, "plot", "history", log, "-o", tmp_path / "a.png", "--metric", "is",
            says=("'is'", "fid, kid"))  # fmt: skip


def test_no_two_of_many_sets_look_alike() -> None:
    looks = [series_style(number) for number in range(40)]
    assert len({(color, marker) for color, marker, _ in looks}) == 40
    assert all(color != looks[0][0] for color, _, _ in looks[1:])


def test_a_report_without_a_score(sets: dict[str, Path], tmp_path: Path) -> None:
    gm.compute_stats(sets["real"], **OWN).save(tmp_path / "real.npz")
    with pytest.raises(InputError, match=r"kid cannot be computed: .*features"):
        report(tmp_path / "real.npz", [sets["near"]], metrics="kid", **OWN)


def test_a_map_whose_extra_is_missing_is_told_of_before_any_work(
    sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(Backbone, "_raw", lambda *_: pytest.fail("there was a pass"))
    with pytest.raises(UsageError, match=r"gan-metrics\[maps\]"):
        report(sets["real"], [sets["near"]], map_method="umap", cache=False, **OWN)


def test_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shown must be a whole number"):
        report(sets["real"], [sets["near"]], shown=-1, **OWN)
    with pytest.raises(UsageError, match="expected one protocol; only evaluate accepts several"):
        report(sets["real"], [sets["near"]], protocol=["adm", "imagenet"])
    folders = sets["real"], sets["near"]
    refused(2, "report", *folders, "-o", tmp_path / "a.pdf", says=("ending in .html",))
    refused(2, "plot", "terms", *folders, "-o", tmp_path / "a.gif", says=(".png, .svg, .pdf",))
    refused(
        2, "plot", "comparison", *folders, "-o", tmp_path / "a.png", "--backbone", LITE0,
        says=("at least two generators",),
    )  # fmt: skip
    refused(
        3, "plot", "history", tmp_path / "no.jsonl", "-o", tmp_path / "a.png", says=("no.jsonl",)
    )
    refused(
        2, "report", *folders, "-o", tmp_path / "a.html", "--map", "pca", "--backbone", LITE0,
        says=("unknown method 'pca'",),
    )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_verbs(sets: dict[str, Path], tmp_path: Path) -> None:
    folders = sets["real"], sets["near"]
    done = call("report", *folders, "-o", tmp_path / "r.html", "--backbone", LITE0, "--shown", 2)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / 'r.html'}: ")
    assert "warning[few-images]" in done.err
    for kind in ("terms", "spectrum", "growth", "prdc", "classes"):
        done = call("plot", kind, *folders, "-o", tmp_path / f"{kind}.png", "--backbone", LITE0)
        assert done.code == 0, done.err
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
