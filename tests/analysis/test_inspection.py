"""What a set is made of, said without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder
from PIL import Image

import gan_metrics as gm
from gan_metrics.errors import InputError

pytestmark = pytest.mark.usefixtures("coarse_lite0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: mixed formats, modes and sizes, a copy, a broken file, a text."""
    folder = tmp_path / "set"
    write_folder(folder / "cats", crops(4, seed=0, low=40, high=40))
    write_folder(folder / "dogs", crops(2, seed=1, low=60, high=60), "jpg")
    Image.fromarray(crops(1, seed=2)[0][:30, :20]).convert("L").save(folder / "dogs" / "grey.png")
    (folder / "cats" / "zcopy.png").write_bytes((folder / "cats" / "0001.png").read_bytes())
    (folder / "dogs" / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("hello")
    return folder


def test_it_counts_what_is_there(folder: Path, tmp_path: Path) -> None:
    found = json.loads(call("inspect", folder, "--json").out)
    assert (found["count"], found["decoded"]) == (9, 8)
    assert found["sizes"] == [[40, 40, 5], [60, 60, 2], [20, 30, 1]]
    assert found["formats"] == {"PNG": 6, "JPEG": 2}
    assert found["modes"] == {"RGB": 7, "L": 1}
    assert list(found["broken"]) == ["dogs/broken.png"]
    assert found["duplicates"] == [["cats/0001.png", "cats/zcopy.png"]]
    assert found["classes"] == {"cats": 5, "dogs": 4}
    assert found["bytes"] == sum(
        file.stat().st_size for file in folder.rglob("*") if file.suffix in (".png", ".jpg")
    )
    features = gm.extract_features(folder, backbone=LITE0, on_error="skip")
    assert found["digest"] == features.digest
    codes = [warning["code"] for warning in found["warnings"]]
    assert "other-files" in codes


def test_the_text_says_it_too(folder: Path) -> None:
    done = call("inspect", folder)
    for part in ("9 images", "40×40 (5)", "PNG (6)", "cats (5), dogs (4)",
                 "1 files are identical to another file", "cats/0001.png, cats/zcopy.png",
                 "dogs/broken.png:", "broken      1"):  # fmt: skip
        assert part in done.out, done.out
    assert "warning[other-files]" in done.err
    assert str(gm.inspect_images(folder)) in done.out


def test_it_says_what_something_is(folder: Path, tmp_path: Path) -> None:
    """By the names of the table of readers."""
    images = np.stack(crops(3, seed=0, low=40, high=40))
    features = gm.extract_features(images, backbone=LITE0, cache=False)
    gm.save_features(features, tmp_path / "features.npz")
    gm.compute_stats(images, backbone=LITE0, cache=False).save(tmp_path / "statistics.npz")
    np.savez(tmp_path / "batch.npz", images)
    (tmp_path / "list.txt").write_text(f"{folder}/dogs/grey.png\n")
    for name, kind in {
        "set": "a folder of images",
        "set/dogs/grey.png": "one image file",
        "batch.npz": "a batch of images (.npz, .npy)",
        "list.txt": "a list of image files (.txt, .csv)",
        "features.npz": "saved features (.npz, .npy, .safetensors, .parquet, .pt)",
        "statistics.npz": "reference statistics (.npz, .pkl, .pt)",
    }.items():
        found = json.loads(call("inspect", tmp_path / name, "--json").out)
        assert found["kind"] == kind
        assert re.search(rf"kind +{re.escape(kind)}", call("inspect", tmp_path / name).out)
    for name in ("features.npz", "statistics.npz"):
        found = json.loads(call("inspect", tmp_path / name, "--json").out)
        assert (found["count"], found["dimensions"]) == (3, features.array.shape[1])
        assert found["feature_spec"]["fingerprint"] == features.spec.fingerprint()
        assert found["protocol"] == "imagenet"
        refused(
            2,
            "inspect",
            tmp_path / name,
            "-o",
            tmp_path / "sheet.png",
            says=("does not contain images",),
        )


def test_a_sheet_shows_some_of_them(folder: Path, tmp_path: Path) -> None:
    call("inspect", folder, "-o", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (4 + 116, 24 + 8 * 100, 3)  # one row: eight can be decoded
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


def test_what_holds_no_images(folder: Path, tmp_path: Path) -> None:
    stats = gm.compute_stats(folder / "cats", backbone=LITE0).save(tmp_path / "stats.npz")
    with pytest.raises(InputError, match="holds statistics or features, not images"):
        gm.inspect_images(stats)
    refused(3, "inspect", tmp_path / "none", says=("does not exist",))
    assert "1 images" in call("inspect", folder / "dogs" / "grey.png").out
