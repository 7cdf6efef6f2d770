"""The methods sentence and what to cite: every figure in it is one of the result's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import call
from conftest import LITE0
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.backbones.registry import BACKBONES, LIBRARIES, cited_by
from gan_metrics.metrics.registry import METRICS
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.results.citations import bibtex, entries

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]


def test_the_paragraph_of_one_result(folders: Folders) -> None:
    result = gm.fid(*folders, backbone=LITE0)
    text = result.methods()
    assert "\n" not in text
    assert text.startswith("Between 12 real and 11 generated images: Fréchet distance (FD) ")
    for fact in (
        result.value_text(),
        "network efficientnet-lite0",
        f"SHA-256 {str(result.feature_spec.weights_sha256)[:16]}",
        "computed in fp32",
        "alpha dropped, EXIF orientation ignored",
        "pil-bicubic-uint8, shorter side to 256, center crop 224",
        result.feature_spec.fingerprint(),
        "covariances divided by n − 1",
        "seed 0",
        "standard error for redrawing the images",
        f"gan-metrics {gm.__version__}",
        f"PyTorch {result.versions['torch']}",
    ):
        assert fact in text, fact
    assert "assumed" not in text
    assert "eft out" not in text
    assert "fixed" not in text
    assert "drawn" not in text


def test_what_is_not_the_default_is_said(folders: Folders) -> None:
    found = gm.evaluate(
        *folders,
        metrics="kid,precision,vendi",
        backbone=LITE0,
        alpha="white",
        seed=3,
        arguments={"kid": {"subsets": 7}, "precision": {"k": 2}},
    )
    text = found.methods()
    assert "(12 real and 11 generated images)" in text
    assert "(11 generated images)" in text
    assert "alpha composited over white" in text
    assert re.search(r"KD: .*subsets = 7", text)
    assert "precision: k = 2" in text
    assert "seed 3" in text
    moments = gm.compute_stats(folders[0], backbone=LITE0).moments
    bare = gm.Statistics(moments)
    told = gm.fid(bare, folders[1], backbone=LITE0).methods()
    assert "Not stated by a file and assumed: backbone, departures" in told


@pytest.mark.usefixtures("narrow_inception")
def test_a_protocol_s_settings_are_said(folders: Folders) -> None:
    found = gm.evaluate(*folders, metrics="fid", protocol="stylegan3", weights="random")
    text = found.methods()
    assert "by protocol stylegan3" in text
    assert "FD: covariances divided by n;" in text
    assert "karras2021alias" in found.bibtex()


def test_stored_moments_and_draws_are_said(folders: Folders) -> None:
    moments = gm.compute_stats(folders[0], backbone=LITE0)
    told = gm.fid(moments, folders[1]).methods()
    assert "The real images are given as stored moments (the statistics), held fixed." in told
    assert "at these sample sizes, moments held fixed" in told
    drawn = gm.fid(*folders, backbone=LITE0, max_images=9).methods()
    assert "Between 9 real and 9 generated images" in drawn
    assert "From larger sets, 9 images were drawn at random." in drawn


@pytest.mark.usefixtures("narrow_inception")
def test_of_several_protocols_each_value_says_its_own(folders: Folders) -> None:
    names = ["pytorch-fid", "stylegan3"]
    text = gm.evaluate(*folders, metrics="fid,kid", protocol=names, weights="random").methods()
    for name in names:
        assert f"Fréchet distance (FD) by {name} " in text
        assert f"Features for FD by {name}, KD by {name} are" in text
    assert "FD by pytorch-fid: covariances divided by n − 1" in text
    assert "FD by stylegan3: covariances divided by n;" in text


def test_files_left_out_are_counted(folders: Folders, tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    for file in folders[1].iterdir():
        (fake / file.name).write_bytes(file.read_bytes())
    (fake / "broken.png").write_bytes(b"nothing")
    text = gm.fid(folders[0], fake, backbone=LITE0, on_error="skip").methods()
    assert "because they cannot be decoded: 1 file." in text


def test_every_metric_protocol_and_built_in_network_has_its_entries() -> None:
    assert {name for name, row in PROTOCOLS.items() if not row.cite} == {"imagenet"}
    assert all(row.cite for row in METRICS.values())
    assert all(cited_by(name) for name in (*BACKBONES, "lpips-alex", "clip:ViT-B-32/openai"))
    assert cited_by("timm:vit_base_patch16_224") == cited_by(None) == ()
    rows = (*METRICS.values(), *PROTOCOLS.values(), *BACKBONES.values(), *LIBRARIES.values())
    used = {key for row in rows for key in row.cite} | {*cited_by("lpips-alex")}
    assert used == set(entries())


@pytest.mark.parametrize("key", entries())
def test_an_entry_is_bibtex(key: str) -> None:
    entry = entries()[key]
    head = re.match(r"@(\w+)\{([\w.]+),\n", entry)
    assert head is not None
    assert head[2] == key
    assert head[1] in ("inproceedings", "article", "misc")
    assert entry.count("{") == entry.count("}")
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.M))
    assert {"author", "title", "year"} <= set(fields)
    assert fields["year"].isdigit()
    if "eprint" in fields:
        assert re.fullmatch(r"\d{4}\.\d{5}|\d{4}\.\d{4}", fields["eprint"])
        assert fields["archivePrefix"] == "arXiv"
    needed = {"inproceedings": "booktitle", "article": "journal"}.get(head[1])
    assert needed is None or needed in fields


def test_entries_come_once(folders: Folders) -> None:
    found = gm.evaluate(*folders, metrics="fid,kid,prdc", backbone=LITE0).bibtex()
    keys = re.findall(r"^@\w+\{([^,]+),", found, re.M)
    assert keys == [
        "heusel2017gans",
        "tan2019efficientnet",
        "binkowski2018demystifying",
        "kynkaanniemi2019improved",
        "naeem2020reliable",
        "ganmetrics",
    ]
    assert f"note = {{Version {gm.__version__}}}" in found
    assert found.count("{") == found.count("}")
    assert bibtex(["heusel2017gans"] * 2) == entries()["heusel2017gans"]


def test_at_a_shell(folders: Folders, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", crops(5, 9))
    plain = call("fid", *folders, "--backbone", LITE0)
    said = call("fid", *folders, "--backbone", LITE0, "--methods")
    assert said.out.startswith(plain.out)
    assert "Between 12 real and 11 generated images" in said.out
    assert "@inproceedings{heusel2017gans," in said.out
    as_json = call("fid", *folders, "--backbone", LITE0, "--methods", "--json")
    document = json.loads(as_json.out)
    assert document["methods"]["text"] in said.out
    assert document["methods"]["bibtex"] in said.out
    assert "methods" not in json.loads(call("fid", *folders, "--backbone", LITE0, "--json").out)
    for verb in (("evaluate", *folders, "--metrics", "fid,vendi"), ("compare", *folders, other)):
        done = call(*verb, "--backbone", LITE0, "--methods")
        assert done.code == 0, done.err
        assert "@inproceedings{heusel2017gans," in done.out
