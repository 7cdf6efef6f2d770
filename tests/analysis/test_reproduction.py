"""A saved result, computed again from its own record."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.analysis.reproduction import Reproduced
from gan_metrics.backbones.network import Backbone
from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.evaluation import run
from gan_metrics.images.sources.folder import FolderSource

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]
OFFLINE = ("--backbone", LITE0)


def saved(path: Path, *args: object) -> dict[str, object]:
    done = call(*args, "-o", path)
    assert done.code == 0, done.err
    return dict(json.loads(path.read_text()))


def test_a_result_agrees_with_itself(folders: Folders, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    saved(record, "fid", *folders, *OFFLINE)
    done = call("reproduce", record, *folders)
    assert done.code == 0, done.err
    assert "agrees" in done.out
    document = json.loads(call("reproduce", record, *folders, "--json").out)
    assert document["agrees"] is True
    (value,) = document["results"]
    assert value["recorded"] == value["recomputed"]
    assert value["changed"] == {}


def test_everything_that_a_record_says_is_repeated(folders: Folders, tmp_path: Path) -> None:
    """Layer, pool, protocol, precision, alpha, arguments, seed and draw: each moves the number."""
    record = tmp_path / "r.json"
    saved(
        record, "evaluate", *folders, *OFFLINE, "--metrics", "fid,kid,precision,vendi,is",
        "--precision", "bf16", "--alpha", "white", "--max-images", "10", "--seed", "5",
        "--set", "kid.subsets=3", "--set", "kid.subset_size=4", "--set", "precision.k=1",
        "--set", "vendi.q=inf", "--set", "is.splits=2",
    )  # fmt: skip
    found = gm.reproduce(record, *folders)
    assert found.agrees
    assert [v.difference for v in found.values] == [0.0] * 5
    assert all(not v.changed for v in found.values)
    plain = gm.evaluate(*folders, metrics="fid,kid,precision,vendi,is", backbone=LITE0,
                        arguments={"is": {"splits": 2}})  # fmt: skip
    for value in found.values:
        assert value.recorded != plain[value.result.metric].value


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Sets opened, files read and images embedded."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str, size: Any = None) -> None:
        own = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[what] += 1 if size is None else size(*args)
            return own(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(run, "open_set", "opened")
    count(FolderSource, "read", "read")
    count(Backbone, "_raw", "embedded", lambda _, inputs, __: len(inputs))
    return counts


def test_results_of_one_space_are_one_run(folders: Folders, counted: Counter[str]) -> None:
    """As many sets opened, files read and images embedded as for the record."""
    names = ["fid", "kid", "precision", "recall", "density", "coverage", "vendi", "realism", "rke"]
    how: dict[str, Any] = {"backbone": LITE0, "cache": False}
    record = gm.evaluate(*folders, metrics=names, arguments={"precision": {"k": 2}}, **how)
    once = counted.copy()
    assert once == {"opened": 2, "read": 23, "embedded": 23}
    counted.clear()
    found = gm.reproduce(record, *folders, cache=False)
    assert counted == once
    assert found.agrees
    assert [v.result.metric for v in found.values] == [r.metric for r in record.values()]
    assert [value.difference for value in found.values] == [0.0] * len(names)
    assert not any(value.changed for value in found.values)


def test_results_of_other_spaces_and_draws_are_other_runs(
    folders: Folders, counted: Counter[str]
) -> None:
    how: dict[str, Any] = {"backbone": LITE0, "cache": False}
    fid = gm.fid(*folders, **how)
    fewer = gm.fid(*folders, max_images=6, **how)
    seeds = [gm.evaluate(*folders, metrics="kid", seed=seed, **how)["kid"] for seed in (1, 2)]
    twice = gm.evaluate(*folders, metrics="fid,is", arguments={"is": {"splits": 2}}, **how)
    entries = [one.to_json() for one in (fid, fewer, *seeds, *twice.values(), fid)]
    counted.clear()
    found = gm.reproduce({"results": entries}, *folders, cache=False)
    assert found.agrees
    assert [v.recorded for v in found.values] == [entry["value"] for entry in entries]
    # fid three times, once of 6 images, kid with two seeds; is takes the generated images alone
    assert counted["opened"] == 2 * 6 + 1
    assert counted["read"] == 23 * 5 + 12 + 11


def test_other_images_do_not_agree(folders: Folders, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    saved(record, "fid", *folders, *OFFLINE)
    other = tmp_path / "other"
    shutil.copytree(folders[1], other)
    write_folder(other, crops(1, 77))  # instead of the first one
    done = call("reproduce", record, folders[0], other)
    assert done.code == 4
    assert "DOES NOT AGREE" in done.out
    assert "images (fake)" in done.out
    assert "images (real)" not in done.out
    assert "the recorded result was not reproduced" in done.err
    swapped = gm.reproduce(record, folders[1], folders[0])
    assert set(swapped.values[0].changed) >= {"n_real", "n_fake", "images (real)", "images (fake)"}


def test_a_value_that_was_tampered_with(folders: Folders, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    document = saved(record, "fid", *folders, *OFFLINE)
    for factor, agrees in ((1 + 1e-7, True), (1.01, False), (2.0, False)):
        changed = {**document, "value": float(str(document["value"])) * factor}
        assert gm.reproduce(changed, *folders).agrees is agrees
    for fact, value in (("n_real", 7), ("skipped", 1), ("digests", ["ab", None])):
        found = gm.reproduce({**document, fact: value}, *folders)
        assert not found.agrees
        assert "the same value FROM OTHER INPUTS" in found.to_text()
    spec = {**gm.fid(*folders, backbone=LITE0).feature_spec.to_json()}
    spec.pop("fingerprint")
    spec["preprocess"]["crop"] = 64
    found = gm.reproduce({**document, "feature_spec": spec}, *folders)
    assert not found.agrees
    assert "feature_spec.preprocess" in found.to_text()
    assert str(found) == found.to_text()


def test_the_bound_of_agreement(folders: Folders) -> None:
    result = gm.fid(*folders, backbone=LITE0)
    error = float(result.standard_error or 0)
    assert error > 0.1 * result.value  # so it is the wider of the two bounds
    assert Reproduced(result.value + 0.9e-3 * error, result, {}).agrees
    assert not Reproduced(result.value + 1.1e-3 * error, result, {}).agrees
    bare = gm.fid(*folders, backbone=LITE0, error_bars=False)
    assert Reproduced(bare.value * (1 + 0.9e-5), bare, {}).agrees
    assert not Reproduced(bare.value * (1 + 1.2e-5), bare, {}).agrees
    count = gm.evaluate(*folders, metrics="precision", backbone=LITE0)["precision"]
    assert Reproduced(count.value + 1.9 / 11, count, {}).agrees
    assert not Reproduced(count.value + 2.1 / 11, count, {}).agrees
    assert Reproduced(bare.value, bare, {"torch": ("1", "2")}).agrees
    assert not Reproduced(bare.value, bare, {"images (real)": ("a", "b")}).agrees


def test_results_of_one_set_logs_and_documents(folders: Folders, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    call("fid", *folders, *OFFLINE, "--append", log)
    call("vendi", folders[1], *OFFLINE, "--append", log)
    found = gm.reproduce(log, None, folders[1])  # the last line
    assert [v.result.metric for v in found.values] == ["vendi"]
    assert call("reproduce", log, folders[1]).code == 0
    assert gm.reproduce(log, folders[1]).agrees
    both = gm.evaluate(*folders, metrics="rke,fid", backbone=LITE0)  # σ is that of the reals
    assert gm.reproduce(both, *folders).agrees
    assert gm.reproduce(gm.fid(*folders, backbone=LITE0).to_json(), *folders).agrees


def test_random_weights_are_drawn_again(folders: Folders) -> None:
    result = gm.fid(*folders, backbone=LITE0, weights="random", seed=4)
    found = gm.reproduce(result.to_json(), *folders)
    assert found.agrees
    assert found.values[0].result.feature_spec == result.feature_spec


def test_several_networks_and_protocols(folders: Folders, narrow_inception: Path) -> None:
    weights = {"": narrow_inception}
    result = gm.evaluate(*folders, metrics="fid,is", protocol="tf1", weights=weights,
                         arguments={"is": {"splits": 2}})  # fmt: skip
    assert gm.reproduce(result.to_json(), *folders, weights=narrow_inception).agrees
    with pytest.raises(MismatchError, match="give the record's file with --weights"):
        gm.reproduce(result.to_json(), *folders, weights="random")
    drawn = gm.evaluate(*folders, metrics="kid", protocol="tf1", weights="random")
    assert drawn["kid"].seed == 0
    assert drawn["kid"].arguments["seed"] == 2020
    assert gm.reproduce(drawn, *folders).agrees
    own = gm.evaluate(*folders, metrics="kid", protocol="tf1", weights="random", seed=3,
                      arguments={"kid": {"subset_size": 5}})  # fmt: skip
    assert "seed" not in own["kid"].arguments  # the caller's goes before the tool's
    both = gm.evaluate(*folders, metrics="fid", protocol="pytorch-fid,tf1", weights=weights)
    again = gm.reproduce(both.to_json(), *folders, weights=narrow_inception)
    assert again.agrees
    assert [v.result.protocol for v in again.values] == ["pytorch-fid", "tf1"]


def test_a_record_chooses_nothing_to_import(folders: Folders) -> None:
    document = gm.fid(*folders, backbone=LITE0).to_json()
    spec = gm.FeatureSpec(backbone="os:getcwd", layer="x", pool="avg")
    for name in ("os:getcwd", "timm:resnet18", "somewhere.else:factory"):
        evil = {**document, "feature_spec": gm.FeatureSpec(backbone=name).to_json()}
        with pytest.raises(MismatchError, match=r"not built in.*repeat it with --backbone"):
            gm.reproduce(evil, *folders)
    assert spec.backbone == "os:getcwd"
    with pytest.raises(MismatchError, match="protocol 'secret' is unknown"):
        gm.reproduce({**document, "protocol": "secret"}, *folders)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '"text"', "{}", '{"results": []}', '{"results": [1]}', '{"value": 1}',
     '{"value": "x", "feature_spec": {}, "metric": "fid"}',
     '{"value": 1, "feature_spec": 4, "metric": "fid"}',
     '{"value": 1, "feature_spec": {}, "metric": "nope"}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "arguments": {"rm": 1}}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "arguments": [1]}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "drawn": 7}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "protocol": ["x"]}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "digests": [1, 2]}',
     '{"value": 1, "feature_spec": {}, "metric": "fid", "versions": [1]}'],
)  # fmt: skip
def test_what_is_no_record(folders: Folders, tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    refused(3, "reproduce", path, *folders, says=("r.json" if len(content) < 20 else "record",))


def test_other_faults(folders: Folders, tmp_path: Path) -> None:
    refused(3, "reproduce", tmp_path / "none.json", *folders, says=("none.json", "cannot read"))
    path = tmp_path / "r.json"
    saved(path, "fid", *folders, *OFFLINE)
    said = {"layer": "conv_head", "precision": "bf16", "alpha": "white", "max-images": "3",
            "protocol": "imagenet", "seed": "4"}  # fmt: skip
    for name, value in said.items():
        option = f"--{name}"
        refused(2, "reproduce", path, *folders, option, value, says=("comes from the record",))
    refused(3, "reproduce", path, folders[0], tmp_path / "no", says=("does not exist",))
    refused(2, "reproduce", path, folders[0], says=("give REAL and FAKE",))
    refused(2, "reproduce", path, *folders, "--backbone", "resnet50", says=("has the backbone",))
    with pytest.raises(UsageError, match="a document or a result as the record"):
        gm.reproduce(7, *folders)  # type: ignore[arg-type]
    compared = gm.compare(folders[0], {"a": folders[1], "b": folders[0]}, backbone=LITE0)
    with pytest.raises(InputError, match="is a comparison"):
        gm.reproduce(compared.to_json(), *folders)
    with pytest.raises(InputError):
        gm.reproduce({}, *folders)
    with pytest.raises(UsageError):
        gm.reproduce(path, *folders, colour="red")  # type: ignore[call-arg]
    nan = {**json.loads(path.read_text()), "value": np.nan}
    with pytest.raises(InputError, match="nan"):
        gm.reproduce(nan, *folders)
