from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, photographs, write_folder
from PIL import Image

import gan_metrics as gm
from gan_metrics.analysis.nearest_images import DISTANCES, search
from gan_metrics.errors import ComputationError, MismatchError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.reports.nearest_images import save_search_result

pytestmark = pytest.mark.usefixtures("coarse_lite0")


def features(array: np.ndarray, name: str = "x", spec: FeatureSpec | None = None) -> Features:
    names = [f"{name}{i}" for i in range(len(array))]
    spec = spec or FeatureSpec("resnet50", "avgpool")
    return Features(names, array.astype(np.float32), spec, description=name)


def naive(x: np.ndarray, y: np.ndarray, distance: str) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    if distance == "cosine":
        norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
        return 1 - x @ y.T / norms
    return np.sqrt(((x[:, None] - y) ** 2).sum(-1))


@pytest.mark.parametrize("distance", DISTANCES)
def test_matches_are_those_of_the_definition(distance: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 16)) + 1, rng.normal(size=(200, 16)) + 1
    found = search(features(x), features(y, "y"), top_k=7, distance=distance)
    expected = naive(x.astype(np.float32), y.astype(np.float32), distance)
    np.testing.assert_array_equal(found.indices, np.argsort(expected, axis=1)[:, :7])
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :7], atol=1e-12)
    assert found.recall is None
    assert found.of(3)[0] == (f"y{found.indices[3, 0]}", found.distances[3, 0])


@pytest.mark.parametrize("distance", DISTANCES)
def test_near_copies_far_from_the_origin_are_told_apart(distance: str) -> None:
    """Where |x|² − 2xy + |y|² in float32 would only give noise."""
    base = np.random.default_rng(0).normal(size=(1, 64)) + 1000
    steps = np.arange(1, 21)[::-1, None] * 2.0**-8
    ripple = np.random.default_rng(1).choice([-1.0, 1.0], 64)
    found = search(features(base), features(base + steps * ripple, "y"), top_k=20,
                   distance=distance)  # fmt: skip
    assert found.indices[0].tolist() == list(range(19, -1, -1))
    exact = naive(base.astype(np.float32), (base + steps * ripple).astype(np.float32), "euclidean")
    if distance == "euclidean":
        np.testing.assert_allclose(found.distances[0], np.sort(exact[0]), rtol=1e-12)


def test_an_image_is_not_its_own_neighbour() -> None:
    x = np.random.default_rng(0).normal(size=(40, 8))
    one = features(x)
    found = search(one, one, top_k=50, flag_below=2.1)
    assert found.indices.shape == (40, 39)
    assert all(i not in row for i, row in enumerate(found.indices))
    assert (np.diff(found.distances, axis=1) >= 0).all()
    pairs = {frozenset(pair[:2]) for pair in found.flagged()}
    assert len(found.flagged()) == len(pairs) == 40 * 39 / 2
    other = search(features(x, "a"), features(x, "b"), top_k=1)
    assert other.indices[:, 0].tolist() == list(range(40))
    assert not other.distances.any()


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_the_recall_of_an_index_is_measured(index: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 24)), rng.normal(size=(4000, 24))
    exact = search(features(x), features(y, "y"), top_k=10)
    found = search(features(x), features(y, "y"), top_k=10, index=index)
    hits = [len(set(a) & set(b)) / 10 for a, b in zip(exact.indices, found.indices, strict=True)]
    assert found.recall == pytest.approx(np.mean(hits))
    assert 0.2 < found.recall <= 1
    same = exact.indices == found.indices
    np.testing.assert_allclose(found.distances[same], exact.distances[same], atol=1e-12)
    if index == "ivf":
        assert found.recall < 1  # uniform noise in 24 dimensions has no cells


def test_copies_are_found(tmp_path: Path) -> None:
    training = write_folder(tmp_path / "training", crops(30, seed=1, low=100, high=150))
    others = [255 - c[::-1] for c in crops(6, seed=50, low=100, high=150)]
    fakes = write_folder(tmp_path / "fakes", others)
    for i in (4, 17):  # copied, and saved again as JPEG
        Image.open(training / f"{i:04d}.png").save(fakes / f"copy{i}.jpg", quality=90)
    found = search(fakes, training, backbone=LITE0, top_k=1, flag_below=0.12)
    flagged = {(q, m) for q, m, _ in found.flagged()}
    assert {("copy4.jpg", "0004.png"), ("copy17.jpg", "0017.png")} == flagged


def test_crops_find_crops_of_their_own_photograph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cut, of = [], []
    for i, photo in enumerate(photographs()):
        for _ in range(8):
            top, left = rng.integers(0, 427 - 300), rng.integers(0, 640 - 300)
            cut.append(photo[top : top + 300, left : left + 300])
            of.append(i)
    folder = write_folder(tmp_path / "crops", cut)
    found = search(folder, folder, backbone=LITE0, top_k=3)
    assert (np.array(of)[found.indices] == np.array(of)[:, None]).all()
    assert (found.indices != np.arange(16)[:, None]).all()


def test_one_image_as_the_query(folders: tuple[Path, Path]) -> None:
    found = search(folders[0] / "0003.png", folders[0], backbone=LITE0, top_k=2)
    assert found.query == ["0003.png"]
    assert found.of(0)[0][0] == "0003.png"
    assert found.of(0)[0][1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"distance": "cosin"}, "Did you mean cosine"), ({"index": "exakt"}, "Did you mean exact"),
        ({"top_k": 0}, "top_k must be"), ({"flag_below": -1.0}, "flag_below=-1.0"),
        ({"topk": 3}, "unknown option"),
    ],
)  # fmt: skip
def test_wrong_usage(how: dict[str, object], message: str) -> None:
    x = features(np.ones((3, 2)))
    with pytest.raises(UsageError, match=message):
        search(x, x, **how)


def test_what_cannot_be_searched(folders: tuple[Path, Path], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    with pytest.raises(MismatchError, match="layer"):
        search(features(x), features(x, spec=FeatureSpec("resnet50", "layer4")))
    with pytest.raises(MismatchError, match="4 dimensions"):
        search(features(x), features(x[:, :3], "y"))
    with pytest.raises(UsageError, match="maps of shape"):
        search(features(x.reshape(5, 1, 2, 2)), features(x, "y"))
    with pytest.raises(ComputationError, match="zero"):
        search(features(x), features(x * 0, "y"))
    assert search(features(x), features(x * 0, "y"), distance="euclidean").distances.all()
    with pytest.raises(ComputationError, match="only the query itself"):
        search(features(x[:1]), features(x[:1]))
    stats = gm.compute_stats(folders[0], backbone=LITE0)
    with pytest.raises(UsageError, match="needs features or images"):
        search(folders[0], stats)


def test_the_verb(folders: tuple[Path, Path], tmp_path: Path) -> None:
    saved = tmp_path / "gallery.npy"
    assert call("features", folders[0], "-o", saved, "--backbone", LITE0).code == 0
    done = call("search", folders[1], saved, "--top-k", 2, "--flag-below", 0.9, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert len(document["matches"]) == 11
    assert [len(m["nearest"]) for m in document["matches"]] == [2] * 11
    assert document["matches"][0]["query"] == "0000.png"
    assert all(pair["distance"] < 0.9 for pair in document["flagged"])
    text = call("search", folders[1] / "0001.png", saved, "--top-k", 1, "--flag-below", 0.0001)
    assert text.out.splitlines()[0].split() == ["query", "rank", "cosine", "match"]
    assert text.out.splitlines()[1].startswith("0001.png")
    assert "0 suspicious pairs, closer than 0.0001" in text.out
    noted = call("search", saved, saved, "--index", "hnsw")
    assert "recall of the hnsw index: 1.000" in noted.err
    refused(2, "search", saved, saved, "-o", tmp_path / "m.gif", says=(".html or .png",))
    refused(3, "search", tmp_path / "no.png", saved, says=("no.png does not exist",))
    refused(4, "search", saved, folders[0], "--backbone", "vgg19", says=("backbone",))


def test_a_picture_and_a_page(tmp_path: Path) -> None:
    training = write_folder(tmp_path / "training", crops(5, seed=1))
    fakes = write_folder(tmp_path / "fakes", crops(3, seed=1))
    hostile = "<script>alert(1)</script>&\"'.png"
    hostile = hostile.replace("/", "∕")
    (fakes / "0001.png").rename(fakes / hostile)
    found = search(fakes, training, backbone=LITE0, top_k=3, flag_below=0.01)
    assert len(found.flagged()) == 3
    assert save_search_result(found, tmp_path / "m.png") == 3
    picture = np.asarray(Image.open(tmp_path / "m.png"))
    assert picture.shape[0] > 3 * 112
    assert picture.std() > 30
    assert save_search_result(found, tmp_path / "m.html") == 3
    page = (tmp_path / "m.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3 * 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert page.count('class="flagged"') == 3
    saved = gm.extract_features(training, backbone=LITE0)
    bare = search(saved, saved, top_k=1)
    save_search_result(bare, tmp_path / "bare.html")
    assert "no image available" in (tmp_path / "bare.html").read_text()


def test_the_same_set_is_known_by_its_content(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "x.npy"
    assert call("features", folders[0], "-o", saved, "--backbone", LITE0).code == 0
    monkeypatch.chdir(folders[0].parent)
    for one, other in ((folders[0], saved), (Path(folders[0].name), folders[0])):
        found = search(one, other, backbone=LITE0, top_k=1)
        assert found.same
        assert (found.indices[:, 0] != np.arange(12)).all()
    x = np.random.default_rng(0).normal(size=(9, 4))
    one, other = features(x, "x"), features(x + 1, "x")
    assert not search(one, other, top_k=1).same


def test_a_search_needs_no_covariances(monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(*_: object) -> None:
        raise AssertionError("moments were computed")

    monkeypatch.setattr("gan_metrics.features.features.MomentsStream", costly)
    x = features(np.random.default_rng(0).normal(size=(9, 4)))
    assert search(x, x, top_k=1).same


def test_a_bad_query_is_named_once(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    (tmp_path / "bad.png").write_bytes(b"text")
    done = refused(3, "search", tmp_path / "bad.png", folders[0], "--backbone", LITE0,
                   says=("bad.png",))  # fmt: skip
    assert "bad.png/bad.png" not in done.err


@pytest.mark.parametrize("scale", [1e-25, 1e20, 1e30])
def test_the_scale_of_the_features_changes_nothing(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 8)), rng.normal(size=(100, 8))
    plain = search(features(x), features(y, "y"), distance="euclidean")
    scaled = search(features(x * scale), features(y * scale, "y"), distance="euclidean")
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    np.testing.assert_allclose(scaled.distances, plain.distances * scale, rtol=1e-5)


def test_more_copies_than_matches_are_said() -> None:
    x = np.random.default_rng(0).normal(size=(1, 8))
    found = search(features(x), features(np.repeat(x, 20, 0), "y"), top_k=5, flag_below=0.01)
    assert len(found.flagged()) == 5
    assert [code for code, _ in found.warnings] == ["declared", "more-below"]
    enough = search(features(x), features(np.repeat(x, 4, 0), "y"), top_k=4, flag_below=0.01)
    assert len(enough.flagged()) == 4


def test_matches_are_not_lost_when_the_page_cannot_be_written(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "full.html").symlink_to("/dev/full")
    (tmp_path / "full.pdf").symlink_to("/dev/full")
    done = call("search", *folders, "--backbone", LITE0, "--json", "-o", tmp_path / "full.html")
    assert done.code == 6
    assert "full.html: No space" in done.err
    assert len(json.loads(done.out)["matches"]) == 12
    refused(6, "map", *folders, "--backbone", LITE0, "-o", tmp_path / "full.pdf", says=("full",))
