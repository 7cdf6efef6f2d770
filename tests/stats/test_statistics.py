from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gan_metrics.errors import InputError, MismatchError, ResourceError
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.files import load_stats
from gan_metrics.stats.statistics import Statistics

X = np.random.default_rng(0).normal(size=(50, 4))
MOMENTS = Moments.from_features(X)
SPEC = FeatureSpec("inception", "pool3", "avg", "ab" * 32, None, "fp32", (("alpha", "white"),))
STATS = Statistics(
    MOMENTS,
    SPEC,
    "pytorch-fid",
    source={"digest": "d", "skipped": 1, "skipped_files": [["a.png", "broken"]]},
    warnings=(("alpha-dropped", "3 images"),),
)


def test_round_trip(tmp_path: Path) -> None:
    path = STATS.save(tmp_path / "x.npz")
    back = load_stats(path)
    np.testing.assert_array_equal(back.moments.mean, MOMENTS.mean)
    np.testing.assert_array_equal(back.moments.cov, MOMENTS.cov)
    assert back.moments.n == 50
    assert (back.spec, back.protocol, back.warnings) == (SPEC, STATS.protocol, STATS.warnings)
    assert back.source == STATS.source
    assert back.versions == STATS.versions


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    with np.load(STATS.save(tmp_path / "x")) as archive:  # the extension is appended
        assert sorted(archive.files) == ["header", "mu", "n", "sigma"]
        assert archive["mu"].dtype == archive["sigma"].dtype == np.float64
        header = json.loads(str(archive["header"]))
    assert header["feature_spec"]["fingerprint"] == SPEC.fingerprint()
    assert header["divisor"] == "n-1"
    assert header["n"] == 50


def test_the_same_statistics_make_the_same_bytes(tmp_path: Path) -> None:
    assert (
        STATS.save(tmp_path / "a.npz").read_bytes() == STATS.save(tmp_path / "b.npz").read_bytes()
    )


def test_a_peer_s_file_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peer.npz"
    np.savez(path, mu=MOMENTS.mean.astype(np.float32), sigma=MOMENTS.cov)
    back = load_stats(path)
    assert back.moments.n is None
    assert back.spec == FeatureSpec()
    assert back.moments.mean.dtype == np.float64


def test_the_divisor_is_converted(tmp_path: Path) -> None:
    header = {**STATS.header(), "divisor": "n"}
    path = tmp_path / "x.npz"
    np.savez(path, mu=MOMENTS.mean, sigma=np.cov(X, rowvar=False, ddof=0), n=50,
             header=json.dumps(header))  # fmt: skip
    np.testing.assert_allclose(load_stats(path).moments.cov, MOMENTS.cov, rtol=1e-12)


class Bomb:
    """Pickled, it would leave a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.mark),))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name in ("mu", "header"):
        arrays = {"mu": MOMENTS.mean, "sigma": MOMENTS.cov, name: np.array([Bomb(mark)], object)}
        path = tmp_path / "bomb.npz"
        np.savez(path, **arrays)
        with pytest.raises(InputError, match="pickled objects"):
            load_stats(path)
    assert not mark.exists()
    np.load(path, allow_pickle=True)["header"]
    assert mark.exists()  # it would have gone off


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_header_that_holds_no_number(tmp_path: Path, number: str) -> None:
    header = json.dumps({**STATS.header(), "source": {"digest": "d", "seen": 7.5}})
    path = tmp_path / "x.npz"
    for text, good in ((header, True), (header.replace("7.5", number), False)):
        np.savez(path, mu=MOMENTS.mean, sigma=MOMENTS.cov, n=50, header=text)
        if good:
            assert load_stats(path).source["seen"] == 7.5
        else:
            with pytest.raises(InputError, match="its header is broken"):
                load_stats(path)


INDEFINITE = 10 * (np.full((4, 4), -0.9) + 1.9 * np.eye(4))
NAN = MOMENTS.cov.copy()
NAN[1, 2] = np.nan
SKEW = MOMENTS.cov.copy()
SKEW[0, 1] += 0.5
WILD = np.eye(4)
WILD[0, 1] = WILD[1, 0] = 3.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": MOMENTS.mean}, "no sigma"),
        ({"arr_0": X}, "no mu and no sigma"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov[:3]}, "shape"),
        ({"mu": X, "sigma": MOMENTS.cov}, "shape"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "shape"),
        ({"mu": MOMENTS.mean, "sigma": NAN}, "NaN"),
        ({"mu": np.array(["a"] * 4), "sigma": MOMENTS.cov}, "the type"),
        ({"mu": MOMENTS.mean, "sigma": SKEW}, "not symmetric"),
        ({"mu": MOMENTS.mean, "sigma": WILD}, "not a covariance"),
        ({"mu": MOMENTS.mean, "sigma": -np.eye(4)}, "not a covariance"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "header": "{not json"}, "header is broken"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "header": "[]"}, "header is broken"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "n": -3}, "header is broken"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "n": 2.7}, "whole number"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "n": True}, "whole number"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov * 1e200}, "too large for features"),
        ({"mu": MOMENTS.mean, "sigma": MOMENTS.cov, "header": "[" * 100_000}, "header is broken"),
        *(
            (
                {
                    "mu": MOMENTS.mean,
                    "sigma": MOMENTS.cov,
                    "header": json.dumps({**STATS.header(), **change}),
                },
                "header is broken",
            )
            for change in (
                {"n": float("inf")},
                {"n": "12"},
                {"n": None, "divisor": "n"},
                {"protocol": {}},
                {"divisor": "m"},
                {"source": {"skipped_files": 5}},
                {"warnings": ["x"]},
                {"source": {"skipped_files": ["a"]}},
            )
        ),
        (
            {
                "mu": MOMENTS.mean,
                "sigma": MOMENTS.cov,
                "n": 51,
                "header": json.dumps(STATS.header()),
            },
            "n is 50 in the header and 51 in its own array",
        ),
        (
            {
                "mu": MOMENTS.mean,
                "sigma": MOMENTS.cov,
                "header": json.dumps(
                    {**STATS.header(), "feature_spec": {**SPEC.to_json(), "layer": "192"}}
                ),
            },
            "fingerprint does not match",
        ),
    ],
)
def test_bad_arrays_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray | str | int], message: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as error:
        load_stats(path)
    assert "bad.npz" in str(error.value)


def test_another_version_of_the_format_is_a_mismatch(tmp_path: Path) -> None:
    path = tmp_path / "future.npz"
    header = json.dumps({**STATS.header(), "format": "gan-metrics statistics 9"})
    np.savez(path, mu=MOMENTS.mean, sigma=MOMENTS.cov, header=header)
    with pytest.raises(MismatchError, match="statistics 9"):
        load_stats(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mu", b"text")
        archive.writestr("sigma.npy", b"text")
    with pytest.raises(InputError, match="is broken"):
        load_stats(path)


def test_an_indefinite_sigma_gives_no_number(tmp_path: Path) -> None:
    from gan_metrics import fid

    path = tmp_path / "indefinite.npz"
    np.savez(path, mu=np.zeros(4), sigma=INDEFINITE)
    np.savez(tmp_path / "unit.npz", mu=np.zeros(4), sigma=np.eye(4))
    for sides in ((path, tmp_path / "unit.npz"), (tmp_path / "unit.npz", path)):
        with pytest.raises(InputError, match=r"indefinite\.npz.*not positive semidefinite"):
            fid(*sides)


def test_a_singular_sigma_in_float32_is_a_covariance(tmp_path: Path) -> None:
    from gan_metrics import fid

    x = np.random.default_rng(0).normal(size=(60, 200))
    np.savez(tmp_path / "a.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False).astype(np.float32))
    assert fid(tmp_path / "a.npz", tmp_path / "a.npz").value < 1e-3 * 200


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_no_archive_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz"):
        load_stats(path)


def test_a_lone_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with open(path, "wb") as file:
        np.save(file, X)
    with pytest.raises(InputError, match="single array"):
        load_stats(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_stats(tmp_path / "gone.npz")


def test_every_flipped_byte_of_the_data_is_noticed(tmp_path: Path) -> None:
    path = STATS.save(tmp_path / "x.npz")
    whole = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        offsets = [info.header_offset for info in archive.infolist()]
    rng = np.random.default_rng(0)
    for at in rng.integers(offsets[0], len(whole), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            back = load_stats(path)
        except (InputError, MismatchError):
            continue
        np.testing.assert_array_equal(back.moments.cov, MOMENTS.cov)
        np.testing.assert_array_equal(back.moments.mean, MOMENTS.mean)


def test_what_cannot_be_written_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        STATS.save(tmp_path / "file" / "x.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_declared_and_the_resolution_are_kept(tmp_path: Path) -> None:
    statistics = Statistics(
        MOMENTS, SPEC, "adm", declared=("backbone", "layer"), resolution=(640, 480)
    )
    path = statistics.save(tmp_path / "x.npz")
    back = load_stats(path)
    assert (back.declared, back.resolution) == (("backbone", "layer"), (640, 480))
    with np.load(path) as archive:
        header = json.loads(str(archive["header"]))
    assert (header["declared"], header["resolution"]) == (["backbone", "layer"], [640, 480])


def test_a_header_of_before_has_neither(tmp_path: Path) -> None:
    assert {"declared", "resolution"}.isdisjoint(STATS.header())
    back = load_stats(STATS.save(tmp_path / "x.npz"))
    assert (back.declared, back.resolution) == ((), None)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": [640]},
        {"resolution": [640, 480, 3]},
        {"resolution": [640, 0]},
        {"resolution": [640, -480]},
        {"resolution": [640.5, 480]},
        {"resolution": [True, 480]},
        {"resolution": ["640", 480]},
        {"resolution": "12"},
        {"resolution": 640},
        {"declared": ["weights"]},
        {"declared": "layer"},
        {"declared": [["layer"]]},
        {"declared": None},
    ],
)
def test_a_wrong_resolution_or_declaration_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    header = json.dumps({**STATS.header(), **change})
    np.savez(tmp_path / "x.npz", mu=MOMENTS.mean, sigma=MOMENTS.cov, header=header)
    with pytest.raises(InputError, match=f"header is broken.*{next(iter(change))} is"):
        load_stats(tmp_path / "x.npz")


def covariance(d: int, least: float, seed: int) -> np.ndarray:
    """Of largest eigenvalue 1, smallest ``least``, the others of many magnitudes in between."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = np.concatenate([[1.0, least], 10.0 ** rng.uniform(-4, -1, d - 2)])
    return (turn * values) @ turn.T


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_negative_eigenvalue_is_found(tmp_path: Path, scale: float, seed: int) -> None:
    for least, bad in ((-1e-2, True), (-1e-3, True), (-1e-6, False), (0.0, False), (1e-9, False)):
        sigma = scale * covariance(60, least, seed)
        correlation = np.abs(sigma) / np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
        assert np.diag(sigma).min() > 0
        assert correlation.max() < 1 + 1e-12  # nothing else gives it away
        np.savez(tmp_path / "x.npz", mu=np.zeros(60), sigma=sigma)
        if bad:
            says = rf"sigma is not positive semidefinite.*-{-least * scale:.1g}.*{scale:g}"
            with pytest.raises(InputError, match=says.replace("+", r"\+")):
                load_stats(tmp_path / "x.npz")
        else:
            np.testing.assert_array_equal(
                load_stats(tmp_path / "x.npz").moments.cov, (sigma + sigma.T) / 2
            )


@pytest.mark.parametrize("n", [2, 20, 150])
def test_covariances_of_few_images_in_float32_pass(tmp_path: Path, n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.maximum(rng.normal(size=(n, 200)) @ rng.normal(size=(200, 200)) + 5, 0)
    x = x.astype(np.float32)
    with_mean = x.T @ x / np.float32(n) - np.outer(x.mean(0), x.mean(0))
    for sigma in (np.cov(x, rowvar=False, dtype=np.float32), with_mean, np.zeros((200, 200))):
        np.savez(tmp_path / "x.npz", mu=x.mean(0), sigma=sigma)
        load_stats(tmp_path / "x.npz")


def test_one_dimension_and_one_that_is_constant(tmp_path: Path) -> None:
    for sigma in ([[2.0]], [[0.0]], [[4.0, 0.0], [0.0, 0.0]]):
        np.savez(tmp_path / "x.npz", mu=np.zeros(len(sigma)), sigma=sigma)
        np.testing.assert_array_equal(load_stats(tmp_path / "x.npz").moments.cov, sigma)
    np.savez(tmp_path / "x.npz", mu=[0.0], sigma=[[-2.0]])
    with pytest.raises(InputError, match="not a covariance"):
        load_stats(tmp_path / "x.npz")


def test_all_the_statistics_of_a_file(tmp_path: Path) -> None:
    spatial = {"mu_s": np.zeros(2023), "sigma_s": np.eye(2023)}
    np.savez(tmp_path / "x.npz", mu=MOMENTS.mean, sigma=MOMENTS.cov, **spatial)
    found = load_stats(tmp_path / "x.npz")
    dims = [(kind, one.moments.dim) for kind, one in found.kinds.items()]
    assert dims == [("features", 4), ("spatial", 2023)]
    assert found.for_kind("spatial") is found.others["spatial"]
    assert found.for_kind("features") is found.for_kind("dinov2") is found
    assert "others" not in found.header()
    assert load_stats(found.save(tmp_path / "y.npz")).others == {}
