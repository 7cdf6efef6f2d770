"""The table of single images: influence, neighbours, copies, and what no fake covers."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import call
from conftest import LITE0
from data import digits, scenes, write_folder
from PIL import Image, ImageFilter

import gan_metrics as gm
from gan_metrics.analysis.per_image import COLUMNS, measure_per_image
from gan_metrics.backbones import network
from gan_metrics.backbones.build import build_network
from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.evaluation.compute import FeatureSets
from gan_metrics.metrics import frechet_distance, frechet_influence, pointwise

pytestmark = pytest.mark.usefixtures("coarse_lite0")

OFFLINE = ("--backbone", LITE0)


def features(array: np.ndarray, prefix: str = "i") -> gm.Features:
    names = [f"{prefix}{i:04d}.png" for i in range(len(array))]
    return gm.Features(names, array.astype(np.float32), gm.FeatureSpec(), description=prefix)


def pair(n: int = 600, m: int = 500, dim: int = 8) -> tuple[gm.Features, gm.Features]:
    rng = np.random.default_rng(0)
    return (
        features(rng.normal(size=(n, dim)), "real"),
        features(rng.normal(size=(m, dim)) * 0.9 + 0.2, "fake"),
    )


def test_columns_are_those_of_the_functions() -> None:
    real, fake = pair()
    found = gm.evaluate(real, fake, metrics="fid", per_image=True).per_image
    points, influence = pointwise(real.array, fake.array), frechet_influence(fake.array, real.array)
    for i, row in enumerate(found.rows()):
        assert tuple(row) == COLUMNS
        assert row["name"] == fake.names[i]
        assert row["influence"] == pytest.approx(influence[i], rel=1e-5, abs=1e-7)
        assert row["realism"] == points.realism[i]
        assert row["rarity"] == (None if np.isnan(points.rarity[i]) else points.rarity[i])
        assert row["nearest_real"] == real.names[points.nearest[i]]
        assert row["nearest_distance"] == points.distance[i]
        assert row["authentic"] == points.authentic[i]
    order = np.argsort(-influence)[:5]
    assert [row["name"] for row in found.worst(5)] == [fake.names[i] for i in order]
    assert found.best(1)[0]["influence"] == pytest.approx(influence.min(), rel=1e-5)


@pytest.mark.parametrize(("n", "m", "dim"), [(3000, 2000, 16), (300, 400, 64)])
def test_leaving_out_the_worst_lowers_the_distance_as_predicted(n: int, m: int, dim: int) -> None:
    """To first order: Σ influence / m, over the 5 % that are left out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dim))
    y = rng.normal(size=(m, dim)) * rng.uniform(0.8, 1.3, dim) + 0.3
    influence = frechet_influence(y, x)
    worst = np.argsort(-influence)[: m // 20]
    before, after = (frechet_distance(x, z) for z in (y, np.delete(y, worst, axis=0)))
    predicted = influence[worst].sum() / m
    assert before - after > 0
    # The second order is a share of about the share left out, times how heavy they weigh.
    assert before - after == pytest.approx(predicted, rel=0.25)
    few = worst[: m // 200]
    after = frechet_distance(x, np.delete(y, few, axis=0))
    assert before - after == pytest.approx(influence[few].sum() / m, rel=0.05 if n > 2000 else 0.25)
    best = np.argsort(influence)[: m // 200]
    assert frechet_distance(x, np.delete(y, best, axis=0)) > before


def test_planted_images_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blurred photographs raise the distance most; copies are named with their originals."""
    monkeypatch.setattr(network, "build_network", build_network)  # at the images' full resolution
    rng = np.random.default_rng(0)
    real = write_folder(tmp_path / "real", scenes(90, 1))
    fake = write_folder(tmp_path / "fake", scenes(80, 2))
    blurred, copied = [], {}
    for i, path in enumerate(sorted(fake.iterdir())):
        image = Image.open(path).convert("RGB")
        if i % 10 == 3:
            noise = rng.integers(0, 256, (96, 96, 3), np.uint8)
            Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)).save(path)
            blurred.append(path.name)
        elif i % 10 == 7:
            original = sorted(real.iterdir())[i]
            grain = rng.normal(0, 1, (96, 96, 3))
            image = np.clip(np.asarray(Image.open(original)) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(path)
            copied[path.name] = original.name
    found = gm.evaluate(real, fake, metrics="fid", backbone=LITE0, top=8)
    images = found.per_image
    assert {row["name"] for row in images.worst(8)} == set(blurred)
    assert {row["name"]: row["original"] for row in images.near_copies()} == copied
    text = str(found)
    assert all(name in text for name in [*blurred, *copied])
    document = found.to_json()["images"]
    assert {row["name"] for row in document["raise_most"]} == set(blurred)
    assert {row["original"] for row in document["near_copies"]} == set(copied.values())


def test_a_generator_that_copies_is_noticed_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    """Scanned digits in the features of a real network: 10 % of the training images are copied."""
    every = digits(500, 0)
    train = write_folder(tmp_path / "train", every[:200])
    honest = write_folder(tmp_path / "honest", every[200:350])
    test = write_folder(tmp_path / "test", every[350:])
    smaller = [Image.fromarray(one).resize((46, 46)) for one in every[:20]]
    copies = [np.asarray(one.resize((48, 48))) for one in smaller]
    copying = write_folder(tmp_path / "copying", [*copies, *every[200:330]])
    found = {}
    for name, fake in (("honest", honest), ("copying", copying)):
        found[name] = gm.evaluate(
            train,
            fake,
            metrics="memorization",
            held_out=test,
            backbone=LITE0,
            per_image=True,
            arguments={"ct": {"cells": 1}},
        )
    warned = {name: [code for code, _ in one.warnings] for name, one in found.items()}
    assert "near-copies" in warned["copying"]
    assert "near-copies" not in warned["honest"]
    one, other = found["honest"], found["copying"]
    assert one["authpct"].value > other["authpct"].value + 5
    assert other["ct"].value < one["ct"].value - 1
    assert other["fld"].value > one["fld"].value
    named = {row["name"]: row["original"] for row in other.per_image.near_copies()}
    assert named.items() >= {f"{i:04d}.png": f"{i:04d}.png" for i in range(20)}.items()


def test_reals_that_no_fake_covers() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(80, 4)), rng.normal(size=(20, 4)) + 30])
    y = rng.normal(size=(300, 4))
    found = gm.evaluate(features(x, "real"), features(y, "fake"), metrics="fid", per_image=True)
    lost = found.per_image.uncovered()
    names = {row["name"] for row in lost}
    assert {f"real{i:04d}.png" for i in range(80, 100)} <= names
    assert len(lost) == round((1 - gm.metrics.coverage(x, y)) * 100)
    reaches = [row["reach"] for row in lost]
    assert reaches == sorted(reaches, reverse=True)
    assert min(reaches) >= 1


def test_tables(tmp_path: Path) -> None:
    real, fake = pair(60, 40)
    array = fake.array.copy()
    array[3], array[4] = real.array[5], 99.0
    fake = features(array, "fake")
    found = gm.evaluate(real, fake, metrics="fid", per_image=True).per_image
    found.save(tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["name"] for row in rows] == list(fake.names)
    assert rows[3]["realism"] == "inf" or float(rows[3]["nearest_distance"]) == 0
    assert (rows[4]["rarity"], rows[4]["authentic"]) == ("", "true")
    assert float(rows[7]["influence"]) == found.row(7)["influence"]
    parquet = pytest.importorskip("pyarrow.parquet")
    found.save(tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == list(found.rows())


def test_names_of_any_bytes(tmp_path: Path) -> None:
    real, fake = pair(30, 3)
    names = ["a\udcff.png", 'b,\n"c".png', "=1+1.png"]
    fake = gm.Features(names, fake.array, fake.spec)
    found = gm.evaluate(real, fake, metrics="fid", top=3)
    found.per_image.save(tmp_path / "t.csv")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)][1:] == names[1:]
    found.per_image.save(tmp_path / "t.parquet")
    json.loads(found.dumps())


def test_a_reference_of_moments_gives_influences_alone(tmp_path: Path) -> None:
    real, fake = pair()
    stats = gm.compute_stats(real)
    found = gm.evaluate(stats, fake, metrics="fid", top=2)
    rows = list(found.per_image.rows())
    whole = gm.evaluate(real, fake, metrics="fid", per_image=True).per_image
    np.testing.assert_allclose(
        [row["influence"] for row in rows], whole.influence, rtol=1e-6, atol=1e-9
    )
    assert {row[name] for row in rows for name in COLUMNS[2:]} == {None}
    assert "reference-has-no-images" in [code for code, _ in found.warnings]
    assert found.per_image.uncovered() == found.per_image.near_copies() == []
    found.per_image.save(tmp_path / "t.csv")
    assert found.to_json()["warnings"][0]["code"] == "reference-has-no-images"


def test_what_cannot_be() -> None:
    real, fake = pair()
    stats = gm.compute_stats(fake)
    with pytest.raises(InputError, match="only the moments"):
        gm.evaluate(real, stats, metrics="fid", per_image=True)
    with pytest.raises(InputError, match="none are given"):
        gm.evaluate(None, fake, metrics="vendi", per_image=True)
    with pytest.raises(ComputationError, match="at least 4 real images"):
        gm.evaluate(features(real.array[:3]), fake, metrics="fid", per_image=True)
    with pytest.raises(UsageError, match="top"):
        gm.evaluate(real, fake, metrics="fid", top=-1)
    with pytest.raises(ComputationError, match="at least two"):
        measure_per_image(FeatureSets(features(fake.array[:1]), real))


def test_at_the_shell(tmp_path: Path) -> None:
    real = write_folder(tmp_path / "real", scenes(12, 1))
    fake = write_folder(tmp_path / "fake", scenes(9, 2))
    shutil.copy(next(iter(sorted(real.iterdir()))), fake / "zz_copy.png")
    common = ("evaluate", real, fake, "--metrics", "fid,vendi", *OFFLINE)
    done = call(*common, "--per-image", tmp_path / "t.csv", "--top", "2")
    assert done.code == 0, done.err
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 11
    assert "generated images that raise the distance most" in done.out
    assert "near copies: 1 of 10" in done.out
    done = call(*common, "--top", "2", "--json")
    document = json.loads(done.out)
    assert [row["name"] for row in document["images"]["near_copies"]] == ["zz_copy.png"]
    assert document["images"]["near_copies"][0]["closeness"] == 0
    for wrong in ("t.txt", "."):
        done = call(*common, "--per-image", tmp_path / wrong)
        assert done.code == 2, done.err
    done = call(*common, "--top", "2", "--protocol", "imagenet,pytorch-fid")
    assert done.code == 2
