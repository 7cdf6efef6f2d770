"""Protocols as data: which space and which arguments each metric gets, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.api import write_reference
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import (
    ComputationError,
    InputError,
    MismatchError,
    UsageError,
    WeightsError,
)
from gan_metrics.images.resize import RESAMPLERS
from gan_metrics.metrics.registry import METRICS, check_arguments
from gan_metrics.protocols.table import PROTOCOLS, protocol_for, split_names

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]


@pytest.fixture
def small(tmp_path: Path) -> Folders:
    """Images of one size, as ADM's files hold them."""
    return (
        write_folder(tmp_path / "real", crops(7, 1, 40, 40)),
        write_folder(tmp_path / "fake", crops(6, 2, 40, 40)),
    )


def batch(folder: Path) -> np.ndarray:
    """The images of a folder as one array."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_row_is_whole(name: str) -> None:
    row = PROTOCOLS[name]
    assert row.name == name
    assert row.source.startswith("https://")
    assert row.floats in ("round", "floor")
    for metric, its in row.metrics.items():
        assert metric in METRICS
        check_arguments({metric: its.arguments})  # which the metric takes
        pixels = its.template.preprocess
        if name != "imagenet":
            assert its.template.backbone is not None
            assert pixels is not None
            assert pixels.interpolation in RESAMPLERS or pixels.resize == "none"
        with pytest.raises(TypeError):
            its.arguments["k"] = 1  # type: ignore[index]
    assert json.loads(json.dumps(row.to_json()))["metrics"].keys() == row.metrics.keys()
    assert row.summary in row.to_text()


def test_the_published_definitions_stand_in_the_rows() -> None:
    """The table of the tools, as far as it is not the pixels' arithmetic."""
    arguments = {
        (name, metric): dict(row.arguments)
        for name, rules in PROTOCOLS.items()
        for metric, row in rules.metrics.items()
    }
    assert arguments["stylegan3", "fid"] == {"divisor": "n"}
    assert arguments["edm2", "fid"] == {}
    assert arguments["tf1", "is"] == {"draws": "numpy-legacy", "seed": 2020}
    assert arguments["adm", "is"] == {"shuffle": False, "split_size": 5000}
    assert arguments["adm", "precision"]["arithmetic"] == "float16-squared"
    assert arguments["stylegan3", "recall"]["arithmetic"] == "float16"
    assert arguments["stylegan3", "recall"]["most_real"] == 200_000
    assert arguments["dgm-eval", "coverage"] == {"k": 5, "most": 10_000}
    assert arguments["torchmetrics", "is"]["ddof"] == 1
    assert PROTOCOLS["torchmetrics"].floats == "floor"
    layers = {m: row.template.layer for m, row in PROTOCOLS["adm"].metrics.items()}
    assert layers == {
        "fid": "pool3", "sfid": "spatial", "is": "logits_unbiased", "precision": "pool3",
        "recall": "pool3",
    }  # fmt: skip
    assert PROTOCOLS["tf1"].metrics["recall"].template.backbone == "vgg16"
    assert PROTOCOLS["cmmd"].metrics["cmmd"].template.preprocess.resize == "square"  # type: ignore[union-attr]


def test_names() -> None:
    assert protocol_for("torch-fidelity").name == protocol_for("TTUR").name == "tf1"
    assert protocol_for("edm").name == "edm2"
    assert protocol_for(None).name == "pytorch-fid"
    assert protocol_for(None, LITE0).name == "imagenet"
    assert split_names("tf1, clean-fid,tf1") == ["tf1", "clean-fid"]
    assert split_names(["torch-fidelity", "tf1"]) == ["tf1"]
    for wrong in ("tf2", "", ",", 5, ["tf1", 5]):
        with pytest.raises(UsageError):
            split_names(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="only evaluate accepts several"):
        protocol_for("tf1,adm")


def test_a_protocol_chooses_its_network() -> None:
    for name, backbone in (("tf1", "inception"), ("dgm-eval", "dinov2-vitl14")):
        choice = choose_backbone(protocol=name, weights="random")
        assert (choice.recipe.name, choice.protocol.name) == (backbone, name)
    vgg = choose_backbone("vgg16", protocol="tf1", weights="random")
    assert vgg.spec.layer == "fc7_relu"
    assert choose_backbone(protocol="adm", metric="sfid", weights="random").spec.pool == "flatten"
    with pytest.raises(MismatchError, match=r"'tf1' is defined for inception and vgg16, not for"):
        choose_backbone(LITE0, protocol="tf1")


def test_each_metric_in_the_space_of_its_row(folders: Folders, narrow_inception: Path) -> None:
    found = gm.evaluate(
        *folders, metrics="fid,is,density", protocol="adm", weights=narrow_inception, layer="192"
    )
    spaces = {name: result.feature_spec.layer for name, result in found.items()}
    assert spaces == {"fid": "192", "is": "logits_unbiased", "density": "192"}
    codes = {name: [code for code, _ in result.warnings] for name, result in found.items()}
    assert "not-in-protocol" in codes["density"]  # which ADM's evaluator has not
    assert "not-in-protocol" not in codes["fid"]
    default = gm.evaluate(*folders, metrics="density", weights=narrow_inception)["density"]
    assert "not-in-protocol" not in [code for code, _ in default.warnings]


def test_what_the_caller_says_goes_before_the_row(folders: Folders, narrow_inception: Path) -> None:
    def kid(**options: object) -> gm.MetricResult:
        return gm.evaluate(*folders, metrics="kid", protocol="tf1", weights=narrow_inception,
                           arguments={"kid": {"subset_size": 6}}, **options)["kid"]  # type: ignore[arg-type]  # fmt: skip

    plain, seeded = kid(), kid(seed=3)
    assert plain.arguments == {
        "draws": "numpy-legacy", "draw_first": "fake", "seed": 2020, "subset_size": 6,
    }  # fmt: skip
    assert seeded.seed == 3
    assert "seed" not in seeded.arguments
    assert plain.value != seeded.value
    real, fake = (
        gm.extract_features(f, protocol="tf1", weights=narrow_inception).array for f in folders
    )
    rng = np.random.RandomState(3)
    expected = gm.metrics.kid(fake, real, subset_size=6, seed=rng)  # the fakes are drawn first
    # Kernel sums near 1 are subtracted; in the other order each is rounded to float32 anew.
    assert seeded.value == pytest.approx(expected, rel=0, abs=2**-24)


def test_saved_features_keep_their_protocol(
    folders: Folders, narrow_inception: Path, tmp_path: Path
) -> None:
    options = {"protocol": "stylegan3", "weights": narrow_inception}
    saved = [
        gm.save_features(gm.extract_features(f, **options), tmp_path / f"{f.name}.npz")
        for f in folders
    ]
    direct = gm.fid(*folders, **options)
    assert gm.fid(*saved).value == pytest.approx(direct.value, rel=1e-9)  # divided by n
    other = gm.extract_features(folders[1], protocol="edm2", weights=narrow_inception)
    with pytest.raises(MismatchError, match="name one of them with --protocol"):
        gm.fid(saved[0], other)  # the same features, another divisor
    assert gm.fid(saved[0], other, protocol="edm2").arguments == {}
    pool3 = gm.evaluate(*saved, metrics="precision")["precision"]  # there it is VGG16's
    assert pool3.arguments == {}
    assert "not-in-protocol" in [code for code, _ in pool3.warnings]


def test_weights_of_several_networks(folders: Folders, narrow_inception: Path) -> None:
    named = gm.fid(*folders, weights={"inception": narrow_inception})
    assert named.value == gm.fid(*folders, weights=narrow_inception).value
    with pytest.raises(WeightsError, match="vgg16 are unavailable"):
        gm.evaluate(*folders, metrics="precision", protocol="tf1", weights=narrow_inception)
    found = gm.evaluate(*folders, metrics="fid,recall", protocol="tf1", weights=narrow_inception)
    assert list(found) == ["fid"]
    assert "vgg16 are unavailable" in found.not_computed["recall"]
    for wrong, match in (
        ({"": narrow_inception, "rubbish": "x"}, "unknown backbone of weights"),
        ({"": narrow_inception, "vgg16": "x"}, "no metric here uses vgg16"),
    ):
        with pytest.raises(UsageError, match=match):
            gm.fid(*folders, weights=wrong)
    with pytest.raises(UsageError, match="weights=5"):
        gm.fid(*folders, weights=5)  # type: ignore[arg-type]
    one, other = f"inception={narrow_inception}", str(narrow_inception)
    assert call("fid", *folders, "--weights", one).code == 0
    twice = call("fid", *folders, "--weights", one, "--weights", one)
    assert (twice.code, twice.out) == (2, "")
    assert "twice" in twice.err
    refused(2, "fid", *folders, "--weights", other, "--weights", "rubbish=x", says=("rubbish",))
    refused(4, "fid", *folders, "--weights", "inception=nofile.pth", says=("nofile.pth",))


def test_several_protocols_are_one_table(folders: Folders, narrow_inception: Path) -> None:
    command = ("evaluate", *folders, "--metrics", "fid,kid", "--weights", narrow_inception)
    done = call(*command, "--protocol", "pytorch-fid,tf1,clean-fid")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["metric", "protocol"]
    assert "vs. pytorch-fid" in lines[0]
    assert [line.split()[:2] for line in lines[1:7]] == [
        [metric, name] for metric in ("fid", "kid") for name in ("pytorch-fid", "tf1", "clean-fid")
    ]
    assert lines[2].endswith("%")
    assert not lines[1].endswith("%")
    document = json.loads(call(*command, "--protocol", "pytorch-fid,tf1", "--json").out)
    assert [r["protocol"] for r in document["results"]] == ["pytorch-fid", "tf1"] * 2
    first, second = (r["value"] for r in document["results"][:2])
    difference = document["differences"][0]
    assert difference["difference"] == pytest.approx(second - first)
    assert difference["relative_difference"] == pytest.approx(second / first - 1)
    assert (difference["protocol"], difference["to"]) == ("tf1", "pytorch-fid")


def test_several_protocols_decode_once(
    folders: Folders, narrow_inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_metrics.images import pipeline

    decoded: list[object] = []
    original = pipeline.decode

    def counted(*given: object) -> object:
        decoded.append(given)
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "decode", counted)
    names = ["pytorch-fid", "tf1", "torchmetrics"]
    found = gm.evaluate(*folders, metrics="fid,is", protocol=names, weights=narrow_inception,
                        arguments={"is": {"splits": 2}}, cache=False)  # fmt: skip
    assert len(found) == 6
    assert len(decoded) == 12 + 11
    with pytest.raises(KeyError):
        found["fid"]  # of which protocol?


def test_several_protocols_and_their_faults(
    folders: Folders, narrow_inception: Path, tmp_path: Path
) -> None:
    both = {"metrics": "fid", "weights": {"inception": narrow_inception}}
    found = gm.evaluate(*folders, protocol="tf1,dgm-eval", **both)  # type: ignore[arg-type]
    assert list(found) == ["fid@tf1"]
    assert "dinov2-vitl14 are unavailable" in found.not_computed["fid@dgm-eval"]
    with pytest.raises(UsageError, match=r"name the network, for example --weights inception=FILE"):
        gm.evaluate(*folders, metrics="fid", protocol="tf1,imagenet,dgm-eval", weights="w.pth"
                    if Path("w.pth").exists() else narrow_inception)  # fmt: skip
    stats = gm.compute_stats(folders[0], weights=narrow_inception)
    with pytest.raises(UsageError, match="several protocols need images in both sets"):
        gm.evaluate(stats, folders[1], protocol="tf1,adm", **both)  # type: ignore[arg-type]
    for verb in (
        ("fid", *folders),
        ("compare", *folders, "x"),
        ("stats", folders[0], "-o", "x.npz"),
    ):
        refused(2, *verb, "--protocol", "tf1,adm", says=("only evaluate accepts several",))
    refused(2, "fid", *folders, "--protocol", "tf2", says=("unknown protocol 'tf2'", "tf1"))
    refused(4, "fid", *folders, "--protocol", "adm", "--backbone", LITE0, says=("not for",))


def test_statistics_of_another_protocol_or_resolution(
    small: Folders, folders: Folders, narrow_inception: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.npz"
    command = ("stats", small[0], "-o", path, "--protocol", "clean-fid")
    assert call(*command, "--weights", narrow_inception).code == 0
    weights = ("--weights", narrow_inception)
    assert call("fid", path, small[1], *weights).code == 0
    refused(4, "fid", path, small[1], *weights, "--protocol", "tf1", says=("preprocess",))
    header = gm.load_stats(path)
    assert (header.protocol, header.resolution) == ("clean-fid", (40, 40))
    larger = write_folder(tmp_path / "larger", crops(5, 3, 64, 64))
    refused(4, "fid", path, larger, *weights, says=("40×40", "64×64", "use statistics of"))
    refused(4, "fid", path, path.with_name("larger"), *weights, says=("40×40",))


def test_adm_s_reference_batch(small: Folders, narrow_inception: Path, tmp_path: Path) -> None:
    """FID and sFID by its moments, the rest by its images, which are another set."""
    path = tmp_path / "ref.npz"
    done = call("stats", small[0], "-o", path, "--format", "adm", "--weights", narrow_inception)
    assert done.code == 0, done.err
    assert "7 images, 2048 dimensions" in done.out
    with np.load(path) as archive:
        assert sorted(archive.files) == ["arr_0", "mu", "mu_s", "sigma", "sigma_s"]
        np.testing.assert_array_equal(archive["arr_0"], batch(small[0]))
        parts = dict(archive)
    parts["arr_0"] = parts["arr_0"][:5]
    parts["mu"] = parts["mu"] + 0.1
    np.savez(path, **parts)
    options = {"protocol": "adm", "weights": narrow_inception}
    found = gm.evaluate(path, small[1], metrics="fid,sfid,precision", weights=narrow_inception)
    assert {r.protocol for r in found.values()} == {"adm"}  # which such a file stands for
    images = gm.evaluate(*small, metrics="fid,sfid,precision", **options)
    assert found["sfid"].value == pytest.approx(images["sfid"].value, rel=1e-6)
    assert found["fid"].value != pytest.approx(images["fid"].value, rel=1e-3)
    assert (found["fid"].n_real, found["precision"].n_real) == (None, 5)
    assert set(found["fid"].declared) >= {"backbone", "preprocess", "weights_sha256"}
    assert found["fid"].fixed == {"real": str(path)}
    part = write_folder(tmp_path / "part", crops(7, 1, 40, 40)[:5])
    expected = gm.evaluate(part, small[1], metrics="precision", **options)["precision"]
    assert found["precision"].value == expected.value
    sample = tmp_path / "sample.npz"
    np.savez(sample, arr_0=batch(small[1]))  # what the generator's side is given as
    again = gm.evaluate(path, sample, metrics="fid,precision", weights=narrow_inception)
    assert again["fid"].value == found["fid"].value
    other = gm.fid(path, small[1], protocol="pytorch-fid", weights=narrow_inception)
    assert "stored-moments-unused" in [code for code, _ in other.warnings]
    assert other.n_real == 5
    alone = gm.fid(path, path)  # moments of one space: no network is asked for
    assert alone.value == pytest.approx(0, abs=1e-6)
    for fault, match in (({"max_images": 3}, "does not consist of images only"),):
        with pytest.raises(UsageError, match=match):
            gm.fid(path, small[1], weights=narrow_inception, **fault)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="several protocols"):
        gm.evaluate(path, small[1], protocol="adm,tf1", weights=narrow_inception)
    with pytest.raises(InputError, match="holds statistics already"):
        gm.compute_stats(path, weights=narrow_inception)


def test_batches_of_the_wrong_type(small: Folders, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for array, says in (
        (batch(small[0]) / 255.0, "float64"),
        (batch(small[0]).astype(np.int64), "int64"),
        (batch(small[0])[..., :2], "x.npz"),
    ):
        np.savez(path, arr_0=array)
        refused(3, "fid", path, small[1], "--backbone", LITE0, says=(says,))
    mu, sigma = np.zeros(2048), np.eye(2048)
    np.savez(path, arr_0=batch(small[0]) / 255.0, mu=mu, sigma=sigma)
    refused(3, "fid", path, small[1], "--backbone", LITE0, says=("float64",))
    np.save(tmp_path / "x.npy", batch(small[0]) / 255.0)
    refused(3, "fid", tmp_path / "x.npy", small[1], "--backbone", LITE0, says=("uint8",))


def test_each_tool_s_file_is_written_in_its_protocol(
    small: Folders, narrow_inception: Path, tmp_path: Path
) -> None:
    weights = {"weights": narrow_inception}
    for name, protocol in (("x.pt", "tf1"), ("x.pkl", "edm2"), ("x.npz", "pytorch-fid")):
        path, statistics = write_reference(small[0], tmp_path / name, **weights)
        assert statistics.protocol == protocol
        found = gm.fid(path, small[1], **weights)
        direct = gm.fid(*small, protocol=protocol, **weights)
        assert found.value == pytest.approx(direct.value, rel=1e-6), name
        assert found.protocol == protocol
    with pytest.raises(MismatchError, match="stands for protocol edm2"):
        write_reference(small[0], tmp_path / "y.pkl", protocol="stylegan3", **weights)
    with pytest.raises(MismatchError, match="stands for protocol tf1"):
        write_reference(small[0], tmp_path / "y.pt", protocol="torchmetrics", **weights)
    with pytest.raises(UsageError, match="unknown kind of statistics file"):
        write_reference(small[0], tmp_path / "y.npz", kind="tar", **weights)
    stats = gm.compute_stats(small[0], **weights)
    with pytest.raises(InputError, match="holds no images"):
        write_reference(stats, tmp_path / "y.npz", kind="adm", **weights)
    mixed = write_folder(tmp_path / "mixed", crops(4, 5, 30, 60))
    with pytest.raises(InputError, match="images of one size; resize them first"):
        write_reference(mixed, tmp_path / "y.npz", kind="adm", **weights)
    assert not (tmp_path / "y.npz").exists()


def test_the_divisor_needs_the_count(small: Folders, narrow_inception: Path) -> None:
    moments = gm.compute_stats(small[0], weights=narrow_inception, protocol="stylegan3").moments
    bare = gm.Statistics(gm.Moments(None, moments.mean, moments.cov), protocol="stylegan3")
    with pytest.raises(ComputationError, match="number of images"):
        gm.fid(bare, small[1], protocol="stylegan3", weights=narrow_inception)


def test_at_a_shell() -> None:
    listed = call("protocols")
    assert listed.code == 0
    assert all(name in listed.out for name in PROTOCOLS)
    assert "torch-fidelity is tf1" in listed.err
    whole = call("protocols", "guided-diffusion").out
    for part in ("adm:", "https://github.com/openai", "split_size=5000", "inception spatial"):
        assert part in whole
    document = json.loads(call("protocols", "tf1", "--json").out)
    assert document["metrics"]["kid"]["arguments"]["seed"] == 2020
    assert set(json.loads(call("protocols", "--json").out)) == set(PROTOCOLS)
    refused(2, "protocols", "nope", says=("unknown protocol 'nope'",))
    references = call("references")
    assert "cifar10-train" in references.out
    one = json.loads(call("references", "ref:cifar10-train").out)["cifar10-train"]
    assert one["urls"][0].startswith("https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/")
    refused(2, "references", "nope", says=("unknown reference 'nope'",))


def test_a_registered_reference_at_a_shell(tmp_path: Path) -> None:
    fake = write_folder(tmp_path / "fake", crops(9, 3, 32, 32))
    done = call("fid", "ref:digits", fake, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["n_real"], document["fixed"]) == (1797, {"real": "ref:digits"})
    assert document["feature_spec"]["layer"] == "blocks.6"
    missing = refused(4, "fid", "ref:cifar10-train", fake, says=("nvlabs-fi-cdn.nvidia.com",))
    assert "references/cifar10-train.npz" in missing.err
    refused(2, "fid", "ref:nope", fake, says=("unknown reference 'nope'",))
    larger = write_folder(tmp_path / "larger", crops(5, 3, 48, 48))
    refused(4, "fid", "ref:digits", larger, says=("32×32", "48×48"))
