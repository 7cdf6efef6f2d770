from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops, write_folder
from narrow import SHARE
from oracles import frechet_nuclear

import gan_metrics as gm
from gan_metrics.backbones import multi_space, network
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import (
    ComputationError,
    InputError,
    MismatchError,
    UsageError,
    WeightsError,
)
from gan_metrics.evaluation.extract import embed
from gan_metrics.evaluation.run import score
from gan_metrics.images import pipeline
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options
from gan_metrics.metrics.registry import METRICS
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics

Folders = tuple[Path, Path]
pytestmark = pytest.mark.usefixtures("cached_features")


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
    assert codes(result).count("few-images") == 2
    assert {"constant-features", "small-sample", "source-sizes"} >= set(codes(result)) - {
        "few-images"
    }
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


def test_the_directions_that_carry_the_distance(folders: Folders) -> None:
    shares = gm.fid(*folders, backbone=LITE0, directions=4).details["leading_directions"]
    assert len(shares) == 4
    assert 1 > sum(shares) > 0.3
    assert shares == sorted(shares, reverse=True)


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


def test_the_2015_inception_makes_it_an_fid(folders: Folders, narrow_inception: Path) -> None:
    result = gm.fid(*folders, weights=narrow_inception)
    assert result.metric == "fid"
    assert result.protocol == "pytorch-fid"
    assert "unpublished-weights" in codes(result)
    assert gm.fid(*folders, weights=narrow_inception, layer="192").metric == "fd"
    assert gm.fid(*folders, weights="random").metric == "fd"
    assert gm.fid(*folders, weights=narrow_inception, layer="2048").metric == "fid"


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
    assert set(result.declared) == {f.name for f in dataclasses.fields(FeatureSpec)} - {"plugins"}
    assert "declared" in codes(result)


def test_a_peer_s_file_takes_the_space_of_the_other_side(
    folders: Folders, tmp_path: Path, narrow_inception: Path
) -> None:
    dim = 192 // SHARE
    peer = peer_file(tmp_path / "a.npz", dim)
    result = gm.fid(peer, folders[1], layer="192", weights=narrow_inception)
    assert result.feature_spec.layer == "192"
    assert "layer" in result.declared
    with pytest.raises(MismatchError, match=rf"{dim} dimensions and .* 2048"):
        gm.fid(peer, folders[1], weights=narrow_inception)


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
    with pytest.raises(MismatchError, match="which is unknown"):
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
    folders: Folders, narrow_inception: Path
) -> None:
    real, fake = (gm.extract_features(f, weights=narrow_inception) for f in folders)
    by_features = gm.fid(real, fake)
    assert codes(by_features).count("unpublished-weights") == 1
    assert by_features.protocol == "pytorch-fid"
    direct = gm.fid(*folders, weights=narrow_inception)
    assert codes(direct).count("unpublished-weights") == 1
    stats = gm.compute_stats(folders[0], weights=narrow_inception)
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
    with pytest.raises(ComputationError, match=r"/one: .*at least two images, and there is 1"):
        gm.fid(one, folders[1], backbone=LITE0)
    with pytest.raises(InputError, match="does not exist"):
        gm.fid(tmp_path / "gone", folders[1], backbone=LITE0)
    with pytest.raises(InputError, match="empty string"):
        gm.fid("", folders[1])
    with pytest.raises(UsageError, match="expected a path"):
        gm.fid(3, folders[1])  # type: ignore[arg-type]
    stats = Statistics(gm.Moments(5, np.zeros(4), np.eye(4)))
    with pytest.raises(InputError, match="statistics already"):
        gm.compute_stats(stats)
    with pytest.raises(InputError, match="features need images"):
        gm.extract_features(peer_file(tmp_path / "a.npz", 4))


def test_blur_noise_and_the_distance(tmp_path: Path) -> None:
    """The features mean something: the distance rises with the disturbance."""
    from scipy.ndimage import gaussian_filter

    clean = crops(24, 0, 64, 64)
    real = write_folder(tmp_path / "real", crops(24, 1, 64, 64))
    values = []
    for sigma in (0.0, 1.0, 3.0):
        blurred = [gaussian_filter(c, (sigma, sigma, 0)) if sigma else c for c in clean]
        values.append(float(gm.fid(real, write_folder(tmp_path / f"{sigma}", blurred),
                                   backbone=LITE0, error_bars=False)))  # fmt: skip
    assert values == sorted(values)
    assert values[-1] > 1.5 * values[0]


def test_all_is_one_decode_and_one_pass(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    passed: list[tuple[int, list[str]]] = []
    real_decode, real_read = pipeline.decode, network.Backbone.read

    def decode(data: bytes, decoding: object) -> object:
        decoded.append(1)
        return real_decode(data, decoding)  # type: ignore[arg-type]

    def read(self: object, groups: list[object], spaces: list[object]) -> object:
        passed.append((sum(map(len, groups)), [s.spec.layer for s in spaces]))  # type: ignore[arg-type, attr-defined]
        return real_read(self, groups, spaces)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "decode", decode)
    monkeypatch.setattr(network.Backbone, "read", read)
    found = gm.evaluate(*folders, metrics="all", backbone=LITE0, arguments=SMALL, cache=False)
    assert len(decoded) == 12 + 11
    assert sum(n for n, _ in passed) == 12 + 11
    assert {tuple(layers) for _, layers in passed} == {
        ("global_pool",),  # the real side has no use for logits
        ("global_pool", "logits"),
    }
    assert len(found) >= 15
    assert all(result.standard_error is not None for result in found.values())
    assert list(found.not_computed) == ["sfid", "fd_dinov2", "ct", "fld", *OF_IMAGES]
    assert "--held-out" in found.not_computed["ct"]
    assert "request it by name" in found.not_computed["fd_dinov2"]
    assert "efficientnet-lite0 does not have" in found.not_computed["sfid"]


OF_IMAGES = ("lpips_diversity", "ppl")
SMALL = {"is": {"splits": 2}, "fd_infinity": {"sizes": 3}}


def test_each_value_is_that_of_its_function(folders: Folders) -> None:
    found = gm.evaluate(*folders, metrics=list(METRICS), backbone=LITE0, arguments=SMALL)
    real, fake = (gm.extract_features(f, backbone=LITE0).array for f in folders)
    logits = gm.extract_features(folders[1], backbone=LITE0, layer="logits").array
    expected = {
        "fid": gm.metrics.frechet_distance(real, fake),
        "fd_infinity": gm.metrics.fd_infinity(real, fake, sizes=3),
        "kid": gm.metrics.kid(real, fake),
        "cmmd": gm.metrics.cmmd(real, fake),
        "mind": gm.metrics.mind(real, fake),
        "swd": gm.metrics.swd(real, fake),
        "is": gm.metrics.inception_score(logits, splits=2),
        **gm.metrics.prdc(real, fake),
        "clipped_density": gm.metrics.clipped_density(real, fake),
        "clipped_coverage": gm.metrics.clipped_coverage(real, fake),
        "p_precision": gm.metrics.p_precision(real, fake),
        "p_recall": gm.metrics.p_recall(real, fake),
        "vendi": gm.metrics.vendi(fake),
        "rke": gm.metrics.rke(fake, sigma=gm.metrics.bandwidth(real)),
        "fkea": gm.metrics.fkea(fake, sigma=gm.metrics.bandwidth(real)),
        "realism": np.median(gm.metrics.realism(real, fake)),
        "rarity": np.nanmean(gm.metrics.rarity(real, fake)),
        "authpct": gm.metrics.authpct(real, fake),
        "mifid": gm.metrics.mifid(real, fake),
    }
    without = ("sfid", "fd_dinov2", "ct", "fld", *OF_IMAGES)
    assert list(found) == [name for name in METRICS if name not in without]
    assert "dinov2-vitl14 are unavailable" in found.not_computed["fd_dinov2"]
    assert "torchvision:alexnet are unavailable" in found.not_computed["lpips_diversity"]
    for name, result in found.items():
        assert result.value == pytest.approx(expected[name], rel=1e-5, abs=1e-9), name
        assert result.n_fake == 11
        assert result.n_real == (12 if METRICS[name].n_sets == 2 else None)
    assert found["is"].feature_spec.layer == "logits"
    assert found["fid"].feature_spec.layer == "global_pool"
    assert (found["fid"].metric, found["kid"].metric) == ("fd", "kd")
    assert "not-clip" in codes(found["cmmd"])
    assert "other-logits" in codes(found["is"])


def test_names_are_kept_as_they_were_asked_for(folders: Folders) -> None:
    found = gm.evaluate(*folders, metrics="kd, prdc,fid", backbone=LITE0)
    assert list(found) == ["kd", "precision", "recall", "density", "coverage", "fid"]
    document = found.to_json()
    assert [r["metric"] for r in document["results"]] == ["kd", *list(found)[1:-1], "fd"]
    assert document["not_computed"] == []
    with pytest.raises(UsageError, match="Did you mean prdc"):
        gm.evaluate(*folders, metrics=["prcd"])
    with pytest.raises(UsageError, match="no metric is named"):
        gm.evaluate(*folders, metrics=[])
    with pytest.raises(UsageError, match=r"kid has no argument 'subset'.*Did you mean subsets"):
        gm.evaluate(*folders, metrics="kid", arguments={"kid": {"subset": 3}})


def test_what_cannot_be_computed_says_why(folders: Folders, tmp_path: Path) -> None:
    stats = gm.compute_stats(folders[0], backbone=LITE0)
    found = gm.evaluate(stats, folders[1], metrics="all", arguments=SMALL)
    assert {"fid", "fd_infinity", "is", "vendi", "rke", "fkea"} == set(found)
    assert "only the moments" in found.not_computed["kid"]
    with pytest.raises(KeyError, match="only the moments"):
        found["kid"]
    both = gm.evaluate(stats, gm.compute_stats(folders[1], backbone=LITE0), metrics="fid,is,kid")
    assert list(both) == ["fid"]
    assert set(both.not_computed) == {"is", "kid"}
    features = gm.extract_features(folders[1], backbone=LITE0)
    only = gm.evaluate(folders[0], features, metrics="is,fid", backbone=LITE0)
    assert list(only) == ["fid"]
    assert "needs logits" in only.not_computed["is"]
    few = gm.evaluate(*folders, metrics="prdc,fid", backbone=LITE0,
                      arguments={"precision": {"k": 12}})  # fmt: skip
    assert "precision" in few.not_computed
    assert {"recall", "density", "coverage", "fid"} == set(few)
    with pytest.raises(InputError, match="is cannot be computed: it needs logits"):
        score("is", None, features)
    with pytest.raises(ComputationError, match="12"):
        score("precision", *folders, backbone=LITE0, arguments={"precision": {"k": 12}})


def test_metrics_of_one_set_take_one_set(folders: Folders) -> None:
    found = gm.evaluate(None, folders[1], metrics="all", backbone=LITE0, arguments=SMALL)
    assert set(found) == {"is", "vendi", "rke", "fkea"}
    assert "no real images" in found.not_computed["fid"]
    assert "bandwidth-from-data" in codes(found["rke"])
    shared = gm.evaluate(*folders, metrics="rke", backbone=LITE0)["rke"]
    assert "bandwidth-from-data" not in codes(shared)
    assert shared.details["sigma"] != found["rke"].details["sigma"]


def test_the_2015_inception_has_all_of_them_but_clip(
    folders: Folders, narrow_inception: Path
) -> None:
    found = gm.evaluate(*folders, metrics="all", weights=narrow_inception, arguments=SMALL)
    assert list(found.not_computed) == ["fd_dinov2", "cmmd", "ct", "fld", *OF_IMAGES]
    assert "clip:" in found.not_computed["cmmd"]
    assert (found["fid"].metric, found["kid"].metric) == ("fid", "kid")
    assert found["is"].feature_spec.layer == "logits_unbiased"
    assert "other-logits" not in codes(found["is"])
    assert found["sfid"].feature_spec.layer == "spatial"
    spatial = [gm.extract_features(f, weights=narrow_inception, layer="spatial") for f in folders]
    assert spatial[0].array.shape == (12, 2023)
    expected = frechet_nuclear(spatial[0].array, spatial[1].array)
    assert found["sfid"].value == pytest.approx(expected, rel=1e-9)


def test_the_spatial_features_are_laid_out_as_adm_s(narrow_inception: Path) -> None:
    """The first 7 channels of the 17 × 17 map, height, width, channel."""
    backbone = gm.load_backbone(weights=narrow_inception, layer="spatial", device="cpu")
    image = torch.from_numpy(crops(1, 3, 64, 64)[0].copy()).permute(2, 0, 1)[None]
    whole = gm.load_backbone(
        weights=narrow_inception, layer="Mixed_6d.branch1x1", pool="none", device="cpu"
    )(image)
    assert whole.shape == (1, 192 // SHARE, 17, 17)
    expected = whole.permute(0, 2, 3, 1)[..., :7].reshape(1, -1)
    torch.testing.assert_close(backbone(image), expected)
    assert float(expected.min()) >= 0  # after the ReLU


def test_logits_that_were_saved_give_an_inception_score(folders: Folders) -> None:
    logits = gm.extract_features(folders[1], backbone=LITE0, layer="logits")
    found = gm.evaluate(None, logits, metrics="is", arguments=SMALL)
    direct = gm.evaluate(None, folders[1], metrics="is", backbone=LITE0, arguments=SMALL)
    assert found["is"].value == pytest.approx(direct["is"].value, rel=1e-6)


def test_a_space_that_is_cached_is_not_passed_for_another(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    gm.fid(*folders, backbone=LITE0)
    passed: list[list[str]] = []
    real_read = network.Backbone.read

    def read(self: object, groups: list[object], spaces: list[object]) -> object:
        passed.append([s.spec.layer for s in spaces])  # type: ignore[attr-defined]
        return real_read(self, groups, spaces)  # type: ignore[arg-type]

    monkeypatch.setattr(network.Backbone, "read", read)
    first = gm.evaluate(*folders, metrics="fid,is", backbone=LITE0, arguments=SMALL)
    assert {tuple(layers) for layers in passed} == {("logits",)}
    passed.clear()
    again = gm.evaluate(*folders, metrics="fid,is", backbone=LITE0, arguments=SMALL)
    assert passed == []
    assert [r.value for r in again.values()] == [r.value for r in first.values()]


def test_sfid_takes_statistics_of_its_layer_and_no_other_features(
    folders: Folders, narrow_inception: Path
) -> None:
    space = {"weights": narrow_inception, "layer": "spatial"}
    direct = gm.evaluate(*folders, metrics="sfid", weights=narrow_inception)["sfid"]
    stats = gm.compute_stats(folders[0], **space)
    features = gm.extract_features(folders[1], **space)
    found = gm.evaluate(stats, features, metrics="sfid")["sfid"]
    assert found.metric == "sfid"
    assert found.value == pytest.approx(direct.value, rel=1e-5)
    pooled = [gm.extract_features(f, pool="avg", **space) for f in folders]
    assert pooled[0].array.shape == (12, 7)
    refused = gm.evaluate(*pooled, metrics="sfid,fid")
    assert list(refused) == ["fid"]
    assert "pool avg" in refused.not_computed["sfid"]


def test_only_the_networks_that_are_needed_are_built(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    real_init = network.Backbone.__init__

    def init(self: network.Backbone, choice: FeatureSpace, *given: Any) -> None:
        built.append(choice.recipe.name)
        real_init(self, choice, *given)

    lite, other = choose_backbone(LITE0), choose_backbone("timm:test_resnet", weights="random")
    sets = [open_set(folder, Options()) for folder in folders]
    embed(sets, [[lite]] * 2, Options())
    monkeypatch.setattr(network.Backbone, "__init__", init)
    monkeypatch.setattr(multi_space.Backbone, "__init__", init)
    embed(sets, [[lite, other]] * 2, Options())
    assert built == [other.recipe.name]


def test_int8_is_refused_for_a_cut_that_it_does_not_reach(folders: Folders) -> None:
    with pytest.raises(UsageError, match="this layer comes before all of them"):
        gm.evaluate(*folders, metrics="vendi", backbone=LITE0, precision="int8")
    with pytest.raises(UsageError, match="this layer comes before all of them"):
        gm.evaluate(*folders, metrics="is,vendi", backbone=LITE0, precision="int8")
