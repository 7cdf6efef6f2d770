from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import LITE0
from data import crops, write_folder
from oracles import frechet_nuclear

import gan_metrics as gm
from gan_metrics.errors import (
    ComputationError,
    InputError,
    MismatchError,
    UsageError,
    WeightsError,
)
from gan_metrics.specs import FeatureSpec
from gan_metrics.stats import Statistics

Folders = tuple[Path, Path]


def codes(result: gm.MetricResult) -> list[str]:
    return [code for code, _ in result.warnings]


def test_the_result_and_its_provenance(folders: Folders) -> None:
    result = gm.fid(*folders, backbone=LITE0)
    real, fake = (gm.extract_features(f, backbone=LITE0).array for f in folders)
    assert float(result) == pytest.approx(frechet_nuclear(real, fake), rel=1e-9)
    assert (result.metric, result.n_real, result.n_fake) == ("fd", 12, 11)
    assert result.protocol == "imagenet"
    assert result.feature_spec.backbone == LITE0
    assert str(result.feature_spec.weights_sha256).startswith("57934424")
    assert sum(result.terms.values()) == pytest.approx(result.value)
    assert result.standard_error is not None
    assert result.standard_error > 0
    assert codes(result) == ["few-images", "few-images"]
    assert result.versions["gan-metrics"] == gm.__version__


def test_real_and_fake_are_not_swapped(tmp_path: Path) -> None:
    real = write_folder(tmp_path / "real", crops(5, 0))
    fake = write_folder(tmp_path / "fake", crops(7, 1))
    (fake / "bad.png").write_bytes(b"")
    result = gm.fid(real, fake, backbone=LITE0, on_error="skip")
    assert (result.n_real, result.n_fake) == (5, 7)
    assert [name for name, _ in result.skipped_files] == ["bad.png"]


def test_statistics_stand_for_their_images(folders: Folders, tmp_path: Path) -> None:
    direct = gm.fid(*folders, backbone=LITE0)
    path = gm.compute_stats(folders[0], backbone=LITE0).save(tmp_path / "real.npz")
    by_file = gm.fid(path, folders[1])  # the header chooses backbone and protocol
    assert by_file.value == pytest.approx(direct.value, rel=1e-6)
    assert by_file.feature_spec == direct.feature_spec
    assert by_file.protocol == "imagenet"
    assert "reference-fixed" in codes(by_file)
    assert by_file.standard_error < direct.standard_error
    assert by_file.n_real == 12
    both = gm.fid(path, gm.compute_stats(folders[1], backbone=LITE0))
    assert both.value == pytest.approx(direct.value, rel=1e-6)
    assert both.standard_error is None
    assert "no-error-bar" in codes(both)


def test_features_stand_for_their_images(folders: Folders) -> None:
    direct = gm.fid(*folders, backbone=LITE0)
    real, fake = (gm.extract_features(f, backbone=LITE0) for f in folders)
    assert gm.fid(real, fake).value == direct.value
    assert gm.compute_stats(folders[0], backbone=LITE0).moments.n == 12


def test_without_error_bars(folders: Folders) -> None:
    result = gm.fid(*folders, backbone=LITE0, error_bars=False)
    assert result.standard_error is None
    assert result.value == pytest.approx(gm.fid(*folders, backbone=LITE0).value, rel=1e-9)


def test_skipped_images_of_a_reference_are_still_said(tmp_path: Path) -> None:
    real = write_folder(tmp_path / "real", crops(4, 0))
    (real / "bad.png").write_bytes(b"")
    path = gm.compute_stats(real, backbone=LITE0, on_error="skip").save(tmp_path / "r.npz")
    result = gm.fid(path, write_folder(tmp_path / "fake", crops(4, 1)))
    assert [name for name, _ in result.skipped_files] == ["bad.png"]
    assert "skipped-images" in codes(result)


def test_the_2015_inception_makes_it_an_fid(folders: Folders, inception_weights: Path) -> None:
    result = gm.fid(*folders, weights=inception_weights)
    assert result.metric == "fid"
    assert result.protocol == "pytorch-fid"
    assert "unpublished-weights" in codes(result)
    assert gm.fid(*folders, weights=inception_weights, layer="192").metric == "fd"
    assert gm.fid(*folders, weights="random").metric == "fd"
    assert gm.fid(*folders, weights=inception_weights, layer="2048").metric == "fid"


def test_different_spaces_are_not_compared(folders: Folders, tmp_path: Path) -> None:
    lite = gm.compute_stats(folders[0], backbone=LITE0).save(tmp_path / "lite.npz")
    with pytest.raises(MismatchError, match=r"(?s)backbone: efficientnet-lite0 — inception"):
        gm.fid(lite, folders[1], backbone="inception", weights="random")
    white = gm.compute_stats(folders[0], backbone=LITE0, alpha="white").save(tmp_path / "w.npz")
    with pytest.raises(MismatchError, match=r"departures: none — alpha=white"):
        gm.fid(lite, white)
    assert gm.fid(white, folders[1]).feature_spec.departures == (("alpha", "white"),)
    with pytest.raises(MismatchError, match=r"precision: fp32 — bf16"):
        gm.fid(lite, folders[1], precision="bf16")
    with pytest.raises(MismatchError, match="weights_sha256"):
        gm.fid(lite, folders[1], weights="random")


def peer_file(path: Path, dim: int, seed: int = 0) -> Path:
    x = np.random.default_rng(seed).normal(size=(3 * dim, dim))
    np.savez(path, mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    return path


def test_what_a_peer_s_file_does_not_say_is_declared(tmp_path: Path) -> None:
    a, b = peer_file(tmp_path / "a.npz", 16), peer_file(tmp_path / "b.npz", 16, 1)
    result = gm.fid(a, b)
    assert result.metric == "fd"  # 16 dimensions are not pool3
    assert (result.n_real, result.n_fake) == (None, None)
    assert set(result.declared) == {f.name for f in dataclasses.fields(FeatureSpec)}
    assert "declared" in codes(result)


def test_a_peer_s_file_takes_the_space_of_the_other_side(
    folders: Folders, tmp_path: Path, inception_weights: Path
) -> None:
    peer = peer_file(tmp_path / "a.npz", 192)
    result = gm.fid(peer, folders[1], layer="192", weights=inception_weights)
    assert result.feature_spec.layer == "192"
    assert "layer" in result.declared
    with pytest.raises(MismatchError, match=r"192 dimensions and .* 2048"):
        gm.fid(peer, folders[1], weights=inception_weights)


def test_2048_dimensions_of_a_peer_are_taken_for_pool3(tmp_path: Path) -> None:
    moments = gm.Moments(None, np.zeros(2048), np.eye(2048))
    other = gm.Moments(None, np.ones(2048), np.eye(2048))
    result = gm.fid(Statistics(moments), Statistics(other))
    assert result.metric == "fid"
    assert result.value == pytest.approx(2048)
    assert (result.feature_spec.backbone, result.feature_spec.layer) == ("inception", "pool3")
    assert "backbone" in result.declared


def test_a_header_never_names_code(tmp_path: Path, folders: Folders) -> None:
    moments = gm.Moments(5, np.zeros(4), np.eye(4))
    spec = FeatureSpec("os:system", "x")
    with pytest.raises(MismatchError, match="repeat it with --backbone"):
        gm.fid(Statistics(moments, spec), folders[0])
    spec = FeatureSpec(LITE0)
    with pytest.raises(MismatchError, match="unknown here"):
        gm.fid(Statistics(moments, spec, protocol="evil"), folders[0])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backbone": "nonsense"}, UsageError), ({"layer": "foo"}, UsageError),
        ({"alpha": "purple"}, UsageError), ({"precision": "zz"}, UsageError),
        ({"protocol": "zzz"}, UsageError), ({"on_error": "maybe"}, UsageError),
        ({"device": "banana"}, UsageError), ({"device": "cpu:5"}, UsageError),
        ({"batch_size": -1}, UsageError), ({"max_images": 3}, UsageError),
        ({"seed": -1}, UsageError), ({"seed": 10**30}, UsageError), ({"workers": "x"}, UsageError),
        ({"weights": "/nope"}, WeightsError), ({"backbone": "inception"}, MismatchError),
        ({"alpha": "white"}, MismatchError), ({"precision": "bf16"}, MismatchError),
        ({"weights": "random"}, MismatchError), ({"layer": "logits"}, MismatchError),
    ],
)  # fmt: skip
def test_options_hold_for_statistics_too(
    folders: Folders, options: dict[str, object], error: type[Exception]
) -> None:
    stats = gm.compute_stats(folders[0], backbone=LITE0)
    with pytest.raises(error):
        gm.fid(stats, stats, **options)
    agreeing = gm.fid(stats, stats, backbone=LITE0, layer="global_pool", alpha="drop")
    assert agreeing.value == pytest.approx(0, abs=1e-6)


def test_the_command_says_what_two_peer_files_do_not(tmp_path: Path) -> None:
    a, b = peer_file(tmp_path / "a.npz", 192), peer_file(tmp_path / "b.npz", 192, 1)
    result = gm.fid(a, b, layer="192")
    assert (result.metric, result.feature_spec.layer) == ("fd", "192")
    assert result.feature_spec.backbone == "inception"
    assert "layer" in result.declared


def test_what_is_known_of_the_weights_is_not_lost_on_the_way(
    folders: Folders, inception_weights: Path
) -> None:
    real, fake = (gm.extract_features(f, weights=inception_weights) for f in folders)
    by_features = gm.fid(real, fake)
    assert codes(by_features).count("unpublished-weights") == 1
    assert by_features.protocol == "pytorch-fid"
    direct = gm.fid(*folders, weights=inception_weights)
    assert codes(direct).count("unpublished-weights") == 1
    stats = gm.compute_stats(folders[0], weights=inception_weights)
    assert "unpublished-weights" in [code for code, _ in stats.warnings]
    assert stats.protocol == "pytorch-fid"


def test_protocols_with_one_preprocessing_decode_in_one_way() -> None:
    """A fingerprint holds departures from the protocol's own way; so that way must be one."""
    ways: dict[object, object] = {}
    for protocol in gm.PROTOCOLS.values():
        for row in protocol.metrics.values():
            key = (row.template.backbone, row.template.preprocess)
            assert ways.setdefault(key, protocol.decoding) == protocol.decoding


def test_impossible_inputs_are_named(tmp_path: Path, folders: Folders) -> None:
    one = write_folder(tmp_path / "one", crops(1, 0))
    with pytest.raises(ComputationError, match=r"one has 1 image.*at least two images"):
        gm.fid(one, folders[1], backbone=LITE0)
    with pytest.raises(InputError, match="does not exist"):
        gm.fid(tmp_path / "gone", folders[1], backbone=LITE0)
    with pytest.raises(InputError, match="empty text"):
        gm.fid("", folders[1])
    with pytest.raises(UsageError, match="expected a path"):
        gm.fid(3, folders[1])  # type: ignore[arg-type]
    stats = Statistics(gm.Moments(5, np.zeros(4), np.eye(4)))
    with pytest.raises(InputError, match="statistics already"):
        gm.compute_stats(stats)
    with pytest.raises(InputError, match="features come from images"):
        gm.extract_features(peer_file(tmp_path / "a.npz", 4))


def test_blur_noise_and_the_distance(tmp_path: Path) -> None:
    """The features mean something: the distance rises with the disturbance."""
    from scipy.ndimage import gaussian_filter

    clean = crops(40, 0, 64, 64)
    real = write_folder(tmp_path / "real", crops(40, 1, 64, 64))
    values = []
    for sigma in (0.0, 0.7, 1.5, 3.0):
        blurred = [gaussian_filter(c, (sigma, sigma, 0)) if sigma else c for c in clean]
        values.append(float(gm.fid(real, write_folder(tmp_path / f"{sigma}", blurred),
                                   backbone=LITE0, error_bars=False)))  # fmt: skip
    assert values == sorted(values)
    assert values[-1] > 1.5 * values[0]
