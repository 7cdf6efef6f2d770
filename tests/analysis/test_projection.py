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
from test_nearest_images import features

from gan_metrics.analysis.projection import METHODS, FeatureMap, feature_map
from gan_metrics.errors import ComputationError, MismatchError, UsageError
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.reports.maps import save_map

pytestmark = pytest.mark.usefixtures("coarse_lite0")


def two_clouds(n: int = 40, gap: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 20)), rng.normal(size=(n, 20)) + gap / np.sqrt(20)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_apart_stays_apart(method: str) -> None:
    x, y = two_clouds()
    drawn = feature_map(features(x), features(y, "y"), method=method)
    assert drawn.points.shape == (80, 2)
    assert drawn.names[:2] == ["x0", "x1"]
    assert drawn.groups == ["real"] * 40 + ["fake"] * 40
    assert drawn.sets.tolist() == [0] * 40 + [1] * 40
    distances = ((drawn.points[:, None] - drawn.points) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    assert (drawn.sets[nearest] == drawn.sets).mean() > 0.97


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_makes_it_the_same_again(method: str) -> None:
    x, y = two_clouds(25)
    one, two, other = (
        feature_map(features(x), features(y, "y"), method=method, seed=s) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.points, two.points)
    if method == "umap":  # t-SNE begins at the principal components, whatever the seed
        assert not np.allclose(one.points, other.points)


def test_one_set_and_its_classes(tmp_path: Path) -> None:
    for name, seed in (("cats", 1), ("dogs", 2)):
        write_folder(tmp_path / "set" / name, crops(5, seed))
    drawn = feature_map(tmp_path / "set", color_by="class", backbone=LITE0)
    assert drawn.groups == ["cats"] * 5 + ["dogs"] * 5
    assert drawn.sets.tolist() == [0] * 10


def test_what_cannot_be_drawn() -> None:
    x, y = two_clouds(20)
    with pytest.raises(ComputationError, match="at least 5"):
        feature_map(features(x[:3]))
    with pytest.raises(MismatchError, match="layer"):
        feature_map(features(x), features(y, "y", FeatureSpec("resnet50", "layer4")))
    with pytest.raises(UsageError, match="Did you mean tsne"):
        feature_map(features(x), method="t-sne")
    with pytest.raises(UsageError, match=r"perplexity=0\.5"):
        feature_map(features(x), perplexity=0.5)
    with pytest.raises(UsageError, match="vectors"):
        feature_map(features(x.reshape(20, 5, 2, 2)))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_the_verb(folders: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"map{suffix}"
    done = call("map", *folders, "-o", out, "--backbone", LITE0)
    assert done.code == 0, done.err
    assert "23 images" in done.out
    if suffix == ".png":
        assert np.asarray(Image.open(out)).std() > 5
    else:
        assert out.stat().st_size > 2000


def test_wrong_usage(folders: tuple[Path, Path], tmp_path: Path) -> None:
    refused(2, "map", *folders, "-o", tmp_path / "m.gif", says=(".html, .png",))
    refused(2, "map", *folders, "-o", tmp_path / "m.png", "--color-by", "classes",
            says=("Did you mean class",))  # fmt: skip
    refused(3, "map", tmp_path / "none", "-o", tmp_path / "m.png", says=("does not exist",))


def test_the_page_holds_the_images_and_no_address(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    drawn = feature_map(*folders, backbone=LITE0)
    assert isinstance(drawn, FeatureMap)
    save_map(drawn, tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text()
    documents = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(documents) == 1
    assert json.dumps(json.loads(documents[0].replace("&lt;", "<"))).count("data:image/jpeg") == 23
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', page)


def test_names_that_are_no_mathematics(tmp_path: Path) -> None:
    for name in ("$\\frac$", "_hidden", "a<b>"):
        write_folder(tmp_path / "set" / name, crops(3, 1))
    drawn = feature_map(tmp_path / "set", color_by="class", backbone=LITE0)
    for suffix in (".png", ".svg", ".html"):
        save_map(drawn, tmp_path / f"m{suffix}")
    drawing = (tmp_path / "m.svg").read_text()
    assert drawing.count("<!--") >= 4  # the title and the three names, beside their outlines


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_features(method: str) -> None:
    x, _ = two_clouds(20)
    for scale in (1e-25, 1e30):
        drawn = feature_map(features(x * scale), method=method)
        assert np.isfinite(drawn.points).all()
        assert drawn.points.std() > 0
    assert feature_map(features(x[:, :1]), method=method).points.shape == (20, 2)
    with pytest.raises(ComputationError, match="the same features"):
        feature_map(features(np.ones((20, 4)) * 7), method=method)
