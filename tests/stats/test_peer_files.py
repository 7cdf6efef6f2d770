from __future__ import annotations

import io
import os
import pickle
import pickletools
import random
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gan_metrics as gm
from gan_metrics.backbones.registry import BACKBONES
from gan_metrics.errors import InputError, MismatchError, ResourceError, UsageError
from gan_metrics.features.files import load_features
from gan_metrics.files.probe import probe
from gan_metrics.files.restricted_pickle import PickledArray, read_pickle
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.stats.adm_batch import write_adm
from gan_metrics.stats.files import claims_statistics, load_stats, read_reference, write_statistics
from gan_metrics.stats.formats import FORMATS
from gan_metrics.stats.statistics import Statistics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)) + np.arange(4)
MU, SIGMA = X.mean(0), np.cov(X, rowvar=False)
STATS = Statistics(Moments.from_features(X))
IMAGES = RNG.integers(0, 256, (6, 7, 5, 3), np.uint8)
STATED = ("backbone", "layer", "pool", "preprocess", "departures")


def wide(dim: int, seed: int = 0, n: int | None = 9) -> Statistics:
    """Statistics of many dimensions that cost little: a low-rank covariance and a diagonal."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dim, 2))
    cov = root @ root.T + np.diag(rng.uniform(1, 2, dim))
    return Statistics(Moments(n, rng.normal(size=dim), cov))


def dump(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def same(statistics: Statistics, mu: np.ndarray = MU, sigma: np.ndarray = SIGMA) -> None:
    np.testing.assert_allclose(statistics.moments.mean, mu, rtol=0, atol=0)
    np.testing.assert_allclose(statistics.moments.cov, sigma, rtol=1e-15, atol=1e-15)


# What they write, we read.


def test_pytorch_fid_s_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", mu=MU, sigma=SIGMA)
    found = read_reference(tmp_path / "x.npz")
    assert list(found.statistics.kinds) == ["features"]
    same(found.statistics.kinds["features"])
    statistics = found.statistics.kinds["features"]
    assert (statistics.spec, statistics.declared) == (FeatureSpec(), ())
    assert (statistics.protocol, statistics.resolution) == (None, None)
    assert (found.images, found.statistics.description) == (None, str(tmp_path / "x.npz"))


def test_our_own_file(tmp_path: Path) -> None:
    spec = FeatureSpec("inception", "pool3", "avg", precision="fp32")
    path = Statistics(STATS.moments, spec, declared=("layer",), resolution=(5, 7)).save(
        tmp_path / "x.npz"
    )
    (found,) = read_reference(path).statistics.kinds.values()
    assert (found.spec, found.declared, found.resolution) == (spec, ("layer",), (5, 7))
    assert found.moments.n == 40


@pytest.fixture(scope="module")
def adm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all that ADM's have, by NumPy itself."""
    path = tmp_path_factory.mktemp("adm") / "VIRTUAL_x.npz"
    pool3, spatial = wide(2048, 1).moments, wide(2023, 2).moments
    np.savez(
        path,
        arr_0=IMAGES,
        mu=pool3.mean,
        sigma=pool3.cov,
        mu_s=spatial.mean,
        sigma_s=spatial.cov,
    )
    return path


def test_adm_s_file(adm: Path) -> None:
    found = read_reference(adm)
    assert list(found.statistics.kinds) == ["features", "spatial"]
    for kind, metric, layer, pool, seed in (
        ("features", "fid", "pool3", "avg", 1),
        ("spatial", "sfid", "spatial", "flatten", 2),
    ):
        statistics = found.statistics.kinds[kind]
        expected = wide(2048 if kind == "features" else 2023, seed).moments
        same(statistics, expected.mean, expected.cov)
        spec = statistics.spec
        assert (spec.backbone, spec.layer, spec.pool) == ("inception", layer, pool)
        assert spec.preprocess == PROTOCOLS["adm"].metrics[metric].template.preprocess
        assert (spec.departures, spec.weights_sha256, spec.precision) == ((), None, None)
        assert set(statistics.declared) == set(STATED)
        assert (statistics.protocol, statistics.resolution) == ("adm", (5, 7))
        assert statistics.moments.n is None  # the images beside it are not those it is of
        recipe = BACKBONES["inception"]
        assert recipe.layers[layer].pool == pool
    assert found.images is not None
    np.testing.assert_array_equal([found.images.pixels(i) for i in range(6)], IMAGES)
    main = gm.load_stats(adm)
    np.testing.assert_array_equal(
        main.moments.mean, found.statistics.kinds["features"].moments.mean
    )
    assert main.protocol == "adm"


def test_a_convention_is_claimed_only_where_the_dimension_fits(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", mu=MU, sigma=SIGMA, arr_0=IMAGES)
    found = read_reference(tmp_path / "x.npz")
    (statistics,) = found.statistics.kinds.values()
    assert (statistics.spec, statistics.protocol) == (FeatureSpec(), None)
    assert (statistics.declared, statistics.resolution) == ((), (5, 7))
    assert found.images is not None


def test_what_lies_beside_our_own_header_claims_nothing(tmp_path: Path) -> None:
    with np.load(STATS.save(tmp_path / "x.npz")) as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "y.npz", **arrays, mu_s=MU, sigma_s=SIGMA)
    assert list(read_reference(tmp_path / "y.npz").statistics.kinds) == ["features"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_edm2_s_file(tmp_path: Path, protocol: int) -> None:
    one, other = wide(2048, 3).moments, wide(1024, 4).moments
    held = {
        "num_images": 50_000,
        "fid": {"mu": one.mean, "sigma": one.cov},
        "fd_dinov2": {"mu": other.mean, "sigma": other.cov},
    }
    path = dump(tmp_path / "img512.pkl", held, protocol)
    found = read_reference(path)
    assert list(found.statistics.kinds) == ["features", "dinov2"]
    same(found.statistics.kinds["features"], one.mean, one.cov)
    same(found.statistics.kinds["dinov2"], other.mean, other.cov)
    for kind, metric in (("features", "fid"), ("dinov2", "fd_dinov2")):
        statistics = found.statistics.kinds[kind]
        template = PROTOCOLS["edm2"].metrics[metric].template
        assert statistics.spec.backbone == template.backbone
        assert statistics.spec.preprocess == template.preprocess
        recipe = BACKBONES[str(template.backbone)]
        assert recipe.layers[str(statistics.spec.layer)].pool == statistics.spec.pool
        assert statistics.spec.layer == recipe.default_layer
        assert set(statistics.declared) == set(STATED)
        assert (statistics.moments.n, statistics.protocol) == (50_000, "edm2")
    same(load_stats(path), one.mean, one.cov)
    del held["fid"], held["num_images"]
    alone = load_stats(dump(tmp_path / "dino.pkl", held, protocol))
    same(alone, other.mean, other.cov)
    assert (alone.spec.backbone, alone.moments.n) == ("dinov2-vitl14", None)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(np.float32),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(">f4"),
        lambda a: np.round(a).astype(np.int32),
        lambda a: np.repeat(np.repeat(a, 2, 0), 2, a.ndim - 1)[tuple([slice(0, None, 2)] * a.ndim)],
    ],
)
def test_every_way_numpy_pickles_an_array(
    tmp_path: Path, protocol: int, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    array = np.arange(24, dtype=np.float64).reshape(4, 6) - 7.25
    cube = np.arange(24, dtype=np.float64).reshape(2, 3, 4).transpose(2, 0, 1)
    for value in (array, array[0], cube, np.zeros(0), np.float64(3.5)):
        expected = change(np.asarray(value)) if np.ndim(value) else value
        held = read_pickle(dump(tmp_path / "x.pkl", {"a": expected}, protocol))["a"]
        if isinstance(held, PickledArray):
            held = held.array()
            assert held.dtype.isnative
        np.testing.assert_array_equal(held, expected)
        assert np.shape(held) == np.shape(expected)


def test_pickles_of_the_older_numpy_and_python(tmp_path: Path) -> None:
    new = pickle.dumps({"mu": MU, "sigma": SIGMA, "n": np.int64(3)}, protocol=2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "x.pkl").write_bytes(old)
    same(load_stats(tmp_path / "x.pkl"))
    raw = SIGMA.tobytes()  # as Python 2 wrote bytes: by the instruction of its str
    text = b"T" + len(raw).to_bytes(4, "little") + raw
    parts = (
        b"\x80\x02}(X\x02\0\0\0mu" + _array_program(b"T \0\0\0" + MU.tobytes(), b"K\x04\x85"),
        b"X\x05\0\0\0sigma" + _array_program(text, b"K\x04K\x04\x86"),
        b"u.",
    )
    (tmp_path / "y.pkl").write_bytes(b"".join(parts))
    assert pickle.loads(b"".join(parts), encoding="latin1")["sigma"].shape == (4, 4)
    same(load_stats(tmp_path / "y.pkl"))


def _array_program(data: bytes, shape: bytes, dtype: bytes = b"f8", state: bytes = b"NNN") -> bytes:
    """The instructions that make an array, by hand."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nX"
        + len(dtype).to_bytes(4, "little")
        + dtype
        + b"K\x00K\x01\x87R(K\x03U\x01<"
        + state
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data
        + b"tb"
    )


@pytest.mark.parametrize("kind", ["numpy", "tensor", "view"])
def test_torch_fidelity_s_cache(tmp_path: Path, kind: str) -> None:
    from torch_fidelity.utils_torch import torch_atomic_save

    mu, sigma = MU.astype(np.float32), SIGMA
    values: dict[str, Any] = {"mu": mu, "sigma": sigma}
    if kind == "tensor":
        values = {"mu": torch.from_numpy(mu), "sigma": torch.from_numpy(sigma)}
    if kind == "view":
        padded = torch.zeros(5, 9, dtype=torch.float64)
        padded[1:, 2:6] = torch.from_numpy(sigma.T.copy())
        values = OrderedDict(mu=torch.from_numpy(mu).half(), sigma=padded[1:, 2:6].T)
        mu = mu.astype(np.float16)
    path = tmp_path / "x-inception-v3-compat-stat-fid-2048.pt"
    torch_atomic_save(values, str(path))
    found = read_reference(path)
    (statistics,) = found.statistics.kinds.values()
    same(statistics, mu.astype(np.float64), sigma)
    assert statistics.spec == FeatureSpec()  # four dimensions are not 2048
    assert claims_statistics(probe(path))
    assert not probe(path).is_one_tensor


@pytest.mark.parametrize(
    ("name", "dim", "layer"),
    [
        ("cifar10-train-inception-v3-compat-stat-fid-2048.pt", 2048, "pool3"),
        ("x-inception-v3-compat-stat-fid-192.pt", 192, "192"),
        ("x-inception-v3-compat-stat-fid-64.PT", 64, "64"),
        ("x-inception-v3-compat-stat-fid-768.pt", 192, None),
        ("x-inception-v3-compat-stat-fid-192-copy.pt", 192, None),
        ("x-inception-v3-compat-stat-fid-192.pt.pt", 192, None),
        ("x-inception-v3-compat-stat-fid-193.pt", 193, None),
        ("x-dinov2-vit-b-14-stat-fid-768.pt", 768, None),
        ("stat-fid-192.pt", 192, "192"),  # no other network is named
        ("real.pt", 2048, "pool3"),
        ("real.pt", 100, None),
    ],
)
def test_the_name_tells_only_what_is_unambiguous(
    tmp_path: Path, name: str, dim: int, layer: str | None
) -> None:
    moments = wide(dim).moments
    torch.save({"mu": moments.mean.astype(np.float32), "sigma": moments.cov}, tmp_path / name)
    (statistics,) = read_reference(tmp_path / name).statistics.kinds.values()
    if layer is None:
        assert (statistics.spec, statistics.protocol) == (FeatureSpec(), None)
        assert statistics.declared == ()
    else:
        template = PROTOCOLS["tf1"].metrics["fid"].template
        assert (statistics.spec.backbone, statistics.spec.layer) == ("inception", layer)
        assert statistics.spec.preprocess == template.preprocess
        assert set(statistics.declared) == set(STATED)
        assert statistics.protocol == "tf1"


def test_features_that_torch_fidelity_keeps(tmp_path: Path) -> None:
    features = X.astype(np.float32)
    path = tmp_path / "x-inception-v3-compat-features-2048.pt"
    torch.save(torch.from_numpy(features), path)
    found = load_features(path).array
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, features)
    assert probe(path).is_one_tensor
    assert not claims_statistics(probe(path))
    with pytest.raises(InputError, match="features, not statistics"):
        load_stats(path)
    for name, value, message in (
        ("dict.pt", {"mu": MU}, "contains a dict"),
        ("one.pt", torch.zeros(3), "expected floats, N × D"),
        ("int.pt", torch.zeros(3, 2, dtype=torch.int64), "expected floats, N × D"),
        ("none.pt", torch.zeros(0, 2), "expected floats, N × D"),
        ("nan.pt", torch.tensor([[1.0, 2.0], [3.0, float("nan")]]), "features of '1'"),
        ("big.pt", torch.tensor([[1e300]], dtype=torch.float64), "too large or small for float32"),
    ):
        torch.save(value, tmp_path / name)
        with pytest.raises(InputError, match=message):
            load_features(tmp_path / name)


def test_what_is_a_reference_is_told_by_name_and_content(tmp_path: Path, adm: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    np.savez(tmp_path / "images.npz", IMAGES)
    np.savez(tmp_path / "stats.npz", mu=MU, sigma=SIGMA)
    gm.save_features(gm.Features(["a"], np.ones((1, 4), np.float32), FeatureSpec()),
                     tmp_path / "features.npz")  # fmt: skip
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04")
    for name in ("folder.npz", "images.npz", "features.npz", "x.npy", "x.png", ""):
        assert not claims_statistics(probe(tmp_path / name)), name
    for path in ("stats.npz", "gone.npz", "broken.npz", "broken.pt", "x.pkl", "x.PT", "x.pth", adm):
        assert claims_statistics(probe(tmp_path / path)), path


# What we write, they read.


class NoNetwork:
    """In the place of pytorch-fid's network, which it builds even where no image needs it."""

    BLOCK_INDEX_BY_DIM = {64: 0}  # noqa: RUF012

    def __init__(self, blocks: list[int]) -> None:
        assert blocks == [0]

    def to(self, device: str) -> None:
        assert device == "cpu"


def test_pytorch_fid_reads_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_fid import fid_score

    paths = [str(write_statistics(wide(64, seed), tmp_path / f"{seed}", "npz")) for seed in (0, 1)]
    monkeypatch.setattr(fid_score, "InceptionV3", NoNetwork)
    theirs = fid_score.calculate_fid_given_paths(paths, 1, "cpu", 64)
    assert theirs == pytest.approx(gm.fid(*paths).value, rel=1e-9)


def test_clean_fid_reads_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleanfid = pytest.importorskip("cleanfid", reason="clean-fid is not installed")
    features = pytest.importorskip("cleanfid.features")
    (tmp_path / "stats").mkdir()
    write_statistics(STATS, tmp_path / "stats" / "mine_clean_custom_na.npz", "npz")
    monkeypatch.setattr(cleanfid, "__file__", str(tmp_path / "__init__.py"))
    mu, sigma = features.get_reference_statistics("mine", 0, split="custom")
    np.testing.assert_array_equal(mu, STATS.moments.mean)
    np.testing.assert_array_equal(sigma, STATS.moments.cov)


def test_torch_fidelity_reads_ours(tmp_path: Path) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.utils import cache_lookup_one_recompute_on_miss

    name = "mine-inception-v3-compat-stat-fid-4"
    assert write_statistics(STATS, tmp_path / name, "torch-fidelity") == tmp_path / f"{name}.pt"

    def missed() -> None:
        raise AssertionError("it was not found")

    found = cache_lookup_one_recompute_on_miss(
        name, missed, cache=True, cache_root=str(tmp_path), verbose=False
    )
    own = fid_features_to_statistics(torch.from_numpy((2 * X + 1).astype(np.float32)))
    theirs = fid_statistics_to_metric(found, own, False)["frechet_inception_distance"]
    moments = Moments.from_features((2 * X + 1).astype(np.float32))
    ours = gm.metrics.frechet_distance(STATS.moments, moments)
    assert theirs == pytest.approx(ours, rel=1e-5)
    same(load_stats(tmp_path / f"{name}.pt"), STATS.moments.mean.astype(np.float32))


def test_edm2_reads_ours(tmp_path: Path) -> None:
    for key, statistics in (
        ("fid", wide(2048)),
        ("fid", Statistics(wide(2048, n=None).moments, FeatureSpec("inception", "pool3"))),
        ("fd_dinov2", Statistics(wide(1024).moments, FeatureSpec("dinov2-vitl14", "cls"))),
    ):
        path = write_statistics(statistics, tmp_path / "x", "edm2")
        assert path == tmp_path / "x.pkl"
        with open(path, "rb") as file:
            protocols = {op.proto for op, _, _ in pickletools.genops(file.read())}
            assert max(protocols) <= 4
            file.seek(0)
            held = pickle.load(file)
        assert held.get("num_images", 0) == (statistics.moments.n or 0)
        assert set(held) - {"num_images"} == {key}
        np.testing.assert_array_equal(held[key]["mu"], statistics.moments.mean)
        np.testing.assert_array_equal(held[key]["sigma"], statistics.moments.cov)
        back = load_stats(path)
        assert back.moments.n == statistics.moments.n
        same(back, statistics.moments.mean, statistics.moments.cov)


def test_adm_reads_ours(tmp_path: Path) -> None:
    pool3, spatial = wide(2048, 1), wide(2023, 2)
    path = write_adm(tmp_path / "deep" / "x", pool3, spatial, iter(IMAGES))
    assert path == tmp_path / "deep" / "x.npz"
    with np.load(path) as archive:
        assert sorted(archive.files) == ["arr_0", "mu", "mu_s", "sigma", "sigma_s"]
        np.testing.assert_array_equal(archive["arr_0"], IMAGES)
        np.testing.assert_array_equal(archive["mu"], pool3.moments.mean)
        np.testing.assert_array_equal(archive["sigma"], pool3.moments.cov)
        np.testing.assert_array_equal(archive["mu_s"], spatial.moments.mean)
        np.testing.assert_array_equal(archive["sigma_s"], spatial.moments.cov)
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]
    found = read_reference(path)
    assert found.images is not None
    again = write_adm(
        tmp_path / "y.npz",
        found.statistics.kinds["features"],
        found.statistics.kinds["spatial"],
        map(found.images.pixels, range(6)),
    )
    assert again.read_bytes() == path.read_bytes()


def test_what_a_kind_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(UsageError, match=r"others=\{'spatial'"):
        write_statistics(STATS, path, "adm")
    with pytest.raises(UsageError, match="edm2"):
        write_statistics(STATS, path, "edm")
    with pytest.raises(MismatchError, match=r"unknown network.* 4 dimensions.*2048 dimensions"):
        write_statistics(STATS, path, "edm2")
    moments = wide(2048).moments
    with pytest.raises(MismatchError, match="of resnet50"):
        write_statistics(Statistics(moments, FeatureSpec("resnet50")), path, "edm2")
    with pytest.raises(MismatchError, match="layer logits"):
        write_statistics(Statistics(moments, FeatureSpec("inception", "logits")), path, "edm2")
    pool3, spatial = Statistics(moments), wide(2023)
    with pytest.raises(MismatchError, match="2023 dimensions"):
        write_adm(path, spatial, pool3, IMAGES)
    for images, message in (
        ([], "no images"),
        (IMAGES / 255, "image 0 is float64"),
        ([IMAGES[0], IMAGES[1][1:]], r"image 1 .*has the shape \(6, 5, 3\)"),
        (IMAGES[..., :1], "expected uint8, H × W × 3"),
        ((IMAGES[0] for _ in range(10_001)), "more than 10,000"),
    ):
        with pytest.raises(InputError, match=message):
            write_adm(path, pool3, spatial, images)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for kind in ("npz", "edm2", "torch-fidelity"):
        with pytest.raises(ResourceError, match="cannot write"):
            write_statistics(pool3, tmp_path / "file" / "x", kind)


# What could do harm does none.


class Reduced:
    """Leaves a mark where it is unpickled, by calling a function."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.mark,))


class Built(OrderedDict):  # type: ignore[type-arg]
    """The same, by taking in a state."""

    def __setstate__(self, state: dict[str, str]) -> None:
        os.mkdir(state["mark"])

    def __reduce__(self) -> tuple[Any, ...]:
        return (Built, (), {"mark": self.mark})


def bombs(mark: Path) -> dict[str, bytes]:
    """Pickles that would leave a mark, each in another way."""
    reduced, built = Reduced(mark), Built()
    built.mark = str(mark)
    text = b"X" + len(str(mark)).to_bytes(4, "little") + str(mark).encode()
    os_name = os.mkdir.__module__.encode()
    array = _array_program(b"C\x20" + MU.tobytes(), b"K\x04\x85")
    return {
        "reduce": pickle.dumps({"mu": reduced, "sigma": SIGMA}),
        "reduce, protocol 2": pickle.dumps({"mu": MU, "sigma": reduced}, protocol=2),
        "reduce, protocol 0": pickle.dumps({"mu": MU, "sigma": reduced}, protocol=0),
        "build": pickle.dumps({"fid": {"mu": built, "sigma": SIGMA}}),
        "an array of objects": pickle.dumps({"mu": np.array([reduced], object), "sigma": SIGMA}),
        "records": pickle.dumps(
            {"mu": np.zeros(2, [("a", "f8"), ("b", "O")]), "sigma": reduced}
        ),
        "in the state of a dtype": b"\x80\x02" + _array_program(
            b"C\x20" + MU.tobytes(), b"K\x04\x85",
            state=b"c" + os_name + b"\nmkdir\n" + text + b"\x85RNN",
        ) + b".",
        "in the state of an array": b"\x80\x02" + _array_program(
            b"c" + os_name + b"\nmkdir\n" + text + b"\x85R", b"K\x04\x85"
        ) + b".",
        "in what is thrown away": b"\x80\x02c" + os_name + b"\nmkdir\n" + text + b"\x85R0"
        + array + b".",
        "instance": b"\x80\x02(" + text + b"i" + os_name + b"\nmkdir\n.",
        "object": b"\x80\x02(c" + os_name + b"\nmkdir\n" + text + b"o.",
        "a dotted name": b"\x80\x04X\x05\0\0\0numpyX\x09\0\0\0os.system\x93" + text + b"\x85R.",
        "a new object": b"\x80\x02cgan_metrics.stats\nStatistics\n)\x81.",
        "an extension": b"\x80\x02\x82\x01" + text + b"\x85R.",
    }  # fmt: skip


NAMES = list(bombs(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_no_pickle_is_run(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "x.pkl").write_bytes(bombs(mark)[name])
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", bombs(mark)[name])
    for path in (tmp_path / "x.pkl", tmp_path / "x.pt"):
        for read in (load_stats, read_reference, load_features):
            if path.suffix == ".pkl" and read is load_features:
                continue
            with pytest.raises(InputError, match=r"x\.p") as error:
                read(path)
            assert "np.savez(" in str(error.value) or "one tensor" in str(error.value)
    assert not mark.exists()


def test_the_bombs_would_go_off(tmp_path: Path) -> None:
    for name, program in bombs(tmp_path / "mark").items():
        if name in ("a dotted name", "a new object", "an extension", "records"):
            continue
        try:
            pickle.loads(program)
        except Exception as error:  # after it went off
            print(name, error)
        assert (tmp_path / "mark").exists(), name
        (tmp_path / "mark").rmdir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("reduce", r"names posix\.mkdir\. Pickles are never executed"),
        ("build", r"names test_peer_files\.Built"),
        ("a dotted name", r"names numpy\.os\.system"),
        ("an extension", "instruction EXT1"),
        ("a new object", r"names gan_metrics\.stats\.Statistics"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "x.pkl").write_bytes(bombs(tmp_path / "mark")[name])
    with pytest.raises(InputError, match=says):
        load_stats(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.array([{}], object), "type 'O8'"),
        (np.array(["a"]), "type 'U1'"),
        (np.zeros(2, [("a", "f8")]), "type 'V8'"),
        (np.zeros(2, complex), "type 'c16'"),
        (np.zeros(2, "M8[s]"), "type 'M8'"),
        ({1, 2}, "instruction EMPTY_SET"),
        (Path("x"), "names pathlib"),
        (X, "no fid|expected a dict"),
        ({"fid": 5}, "fid holds a int"),
        ({"fid": {"mu": MU}}, "fid holds mu, but no sigma"),
        ({"fid": {"mu": MU, "sigma": [1.0]}}, "fid sigma is a list, not an array"),
        ({"other": MU}, "contains other, but neither fid nor fd_dinov2"),
        ({}, "contains nothing"),
        ({"num_images": "12", "fid": {"mu": MU, "sigma": SIGMA}}, "whole number"),
        ({"num_images": True, "fid": {"mu": MU, "sigma": SIGMA}}, "whole number"),
        ({"num_images": (1,), "fid": {"mu": MU, "sigma": SIGMA}}, "a tuple"),
        ({"fid": {"mu": MU, "sigma": SIGMA[:3]}}, r"mu of fid has the shape \(4,\)"),
        ({"fid": {"mu": MU, "sigma": SIGMA - np.eye(4)}}, "sigma of fid is"),
        ({"fid": {"mu": MU * np.nan, "sigma": SIGMA}}, "mu of fid contains 4 values that are NaN"),
        ({"mu": MU, "sigma": np.triu(SIGMA)}, "not symmetric"),
    ],
)
def test_other_contents_of_a_pickle_are_explained(tmp_path: Path, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        load_stats(dump(tmp_path / "x.pkl", value))
    assert "x.pkl" in str(error.value)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02}",
        b"\x80\x02R.",
        b"\x80\x02}K\x01R.",
        b"\x80\x02h\x07.",
        b"\x80\x02(tt.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}}K\x01s.",
        b"\x80\x02}K\x01b.",
        b"\x80\x02K\x01K\x02\x93.",
        b"\x80\x02K\x01Q.",
        b"\x80\x05\x97.",
        b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x.",
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02cnumpy\nndarray\n}b.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\n\x85R.",
        b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0zip\x86R.",
        _array_program(b"C\x20" + MU.tobytes(), b"K\x05\x85") + b".",
        _array_program(b"C\x20" + MU.tobytes(), b"J\xff\xff\xff\xff\x85") + b".",
        _array_program(b"]", b"K\x04\x85") + b".",
        _array_program(b"N", b"K\x04\x85") + b".",
        _array_program(b"C\x20" + MU.tobytes(), b"X\x01\0\0\0a\x85") + b".",
    ],
)
def test_broken_programs_are_refused(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02}X\x02\0\0\0mu" + program[:-1].removeprefix(b"\x80\x02") + b"s.")
    for data in (program, path.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"x\.pkl"):
            load_stats(path)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (_array_program(b"C\x20" + MU.tobytes(), b"K\x05\x85"), "shape .5,. and float64 has 32"),
        (_array_program(b"C\x20" + MU.tobytes(), b"K\x04\x85", state=b"N)N"), "records"),
        (_array_program(b"]", b"K\x04\x85"), "an array of objects"),
    ],
)
def test_arrays_that_do_not_add_up_are_told(tmp_path: Path, program: bytes, says: str) -> None:
    sigma = _array_program(b"T\x80\0\0\0" + SIGMA.tobytes(), b"K\x04K\x04\x86")
    parts = (b"\x80\x02}(X\x05\0\0\0sigma" + sigma, b"X\x02\0\0\0mu" + program, b"u.")
    (tmp_path / "x.pkl").write_bytes(b"".join(parts))
    with pytest.raises(InputError, match=says):
        load_stats(tmp_path / "x.pkl")


def test_what_holds_itself_many_times_over_takes_no_time(tmp_path: Path) -> None:
    tower: Any = ()
    for _ in range(200):
        tower = (tower, tower)
    for value in (
        {"fid": tower},
        {"num_images": tower, "fid": {"mu": MU, "sigma": SIGMA}},
        {"fid": {"mu": tower, "sigma": SIGMA}},
        tower,
    ):
        with pytest.raises(InputError):
            load_stats(dump(tmp_path / "x.pkl", value))
    program = pickle.dumps(tower, protocol=4)[:-1]
    for end in (b"h\x00\x93.", b"}\x94" + program[2:] + b"K\x01s.", b"cnumpy\ndtype\nh\x01\x85R."):
        (tmp_path / "x.pkl").write_bytes(program + end)
        with pytest.raises(InputError):
            load_stats(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: z | {"archive/byteorder": b"big"}, "big-endian"),
        (lambda z: {k: v for k, v in z.items() if "data.pkl" not in k}, "without data.pkl"),
        (lambda z: z | {"other/data.pkl": b"."}, "without data.pkl"),
        (lambda z: {k: v for k, v in z.items() if not k.endswith("data/0")}, "broken"),
        (lambda z: z | {"archive/data/0": b"\0" * 15}, "leaves its storage"),
        (lambda z: z | {"archive/data/0": b"\0" * 13}, "strides"),
        (lambda z: z | {"archive/data.pkl": z["archive/data.pkl"].replace(b"Float", b"BFlot")},
         r"names torch\.BFlotStorage"),
    ],
)  # fmt: skip
def test_torch_files_that_do_not_add_up(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], says: str
) -> None:
    buffer = io.BytesIO()
    torch.save({"mu": torch.zeros(4), "sigma": torch.eye(4)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if says == "leaves its storage":
        members["archive/data/0"] = b"\0" * 12
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name, data in change(members).items():
            data = b"\0" * 12 if says == "leaves its storage" and name.endswith("/0") else data
            archive.writestr(name, data)
    with pytest.raises(InputError, match=says):
        load_stats(tmp_path / "x.pt")


def test_other_torch_files_are_explained(tmp_path: Path) -> None:
    torch.save({"mu": MU}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"not a zip, the format of torch\.save since 1\.6"):
        load_stats(tmp_path / "old.pt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"holds weight, bias, but no mu and no sigma"):
        load_stats(tmp_path / "weights.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(InputError, match=r"names torch\.nn"):
        load_stats(tmp_path / "module.pt")
    with pytest.raises(InputError, match="does not exist"):
        load_stats(tmp_path / "gone.pt")
    with pytest.raises(InputError, match="does not exist"):
        load_stats(tmp_path / "gone.pkl")
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"mu": MU, "sigma": SIGMA}, 2))
    with pytest.raises(InputError, match="compressed"):
        load_stats(tmp_path / "packed.pt")


def test_other_contents_of_an_adm_file_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for arrays, says in (
        ({"mu": MU, "sigma": SIGMA, "mu_s": MU}, "but no sigma_s"),
        ({"arr_0": IMAGES}, "no mu and no sigma; .*a batch of images"),
        ({"mu": MU, "sigma": SIGMA, "mu_s": MU, "sigma_s": -SIGMA}, "sigma_s is not a covariance"),
        ({"mu": MU, "sigma": SIGMA, "mu_s": MU[:3], "sigma_s": SIGMA}, "mu_s has the shape"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=says):
            read_reference(path)
    np.savez(path, mu=MU, sigma=SIGMA, mu_s=MU, sigma_s=SIGMA)
    with pytest.raises(InputError, match="mu_s has 4 dimensions"):
        read_reference(path)
    np.savez(path, mu=MU, sigma=SIGMA, arr_0=IMAGES / 255)
    with pytest.raises(InputError, match="float64"):  # floats are not taken for images
        read_reference(path)
    np.savez(path, mu=MU, sigma=SIGMA, arr_0=IMAGES[0])
    with pytest.raises(InputError, match="may be one image"):
        read_reference(path)


def test_reading_a_torch_file_needs_no_torch(tmp_path: Path) -> None:
    path = write_statistics(STATS, tmp_path / "x", "torch-fidelity")
    code = (
        "import sys, gan_metrics as gm; gm.load_stats(sys.argv[1]); print('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


def files() -> dict[str, bytes]:
    """A small file of every kind."""
    found = {}
    for name, save in (("npz", np.savez), ("packed.npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, mu=MU, sigma=SIGMA, mu_s=MU, sigma_s=SIGMA, arr_0=IMAGES)
        found[name] = buffer.getvalue()
    for protocol in (2, 4, 5):
        held = {"num_images": 3, "fid": {"mu": MU, "sigma": SIGMA.astype(np.float32)}}
        found[f"{protocol}.pkl"] = pickle.dumps(held, protocol=protocol)
    for name, values in (
        ("numpy.pt", {"mu": MU, "sigma": SIGMA}),
        ("tensor.pt", {"mu": torch.from_numpy(MU), "sigma": torch.from_numpy(SIGMA)}),
    ):
        buffer = io.BytesIO()
        torch.save(values, buffer)
        found[name] = buffer.getvalue()
    return found


FILES = files()


@pytest.mark.parametrize("name", list(FILES))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_a_damaged_file_gives_an_error_or_the_right_values(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    whole = FILES[name]
    bits = data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), max_size=3))
    damaged = bytearray(whole)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    end = data.draw(st.integers(0, len(whole)) if not bits else st.just(len(whole)))
    path = tmp_path / f"x.{name.rpartition('.')[2]}"
    path.write_bytes(damaged[:end])
    claims_statistics(probe(path))  # raises nothing
    try:
        found = read_reference(path)
    except InputError:
        return
    statistics = found.statistics
    if path.suffix == ".pkl":  # it has no checksum: a bit of a number is not to be noticed
        return
    same(statistics)


def test_damage_of_the_instructions_alone_is_noticed(tmp_path: Path) -> None:
    """Every single byte of every pickle, changed at random."""
    rng = random.Random(0)
    path = tmp_path / "x.pkl"
    for name, whole in FILES.items():
        if not name.endswith("pkl"):
            continue
        for at in range(len(whole)) if name == "4.pkl" else rng.sample(range(len(whole)), 100):
            path.write_bytes(whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
            try:
                found = load_stats(path)
            except InputError:
                continue
            assert found.moments.dim in (1, 2, 4)


def test_a_table_of_conventions_states_real_layers() -> None:
    assert {len(one.conventions) for one in FORMATS.values()} == {0, 2, 4}
    for format_ in FORMATS.values():
        for row in format_.conventions.values():
            spec = row.spec()
            recipe = BACKBONES[str(spec.backbone)]
            assert recipe.layers[row.layer].pool == row.pool
            assert spec.unstated() == ("weights_sha256", "precision")
