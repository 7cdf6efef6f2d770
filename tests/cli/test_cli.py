"""The contract at a shell: stdout, stderr, JSON, exit codes, faults."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call, refused
from conftest import LITE0, Run
from data import crops, write_folder

import gan_metrics as gm
from gan_metrics.distributed import ALONE
from gan_metrics.stats.statistics import Statistics

Folders = tuple[Path, Path]
pytestmark = pytest.mark.usefixtures("cached_features")
OFFLINE = ("--backbone", LITE0)


def test_the_main_job_in_a_process_of_its_own(folders: Folders, run: Run) -> None:
    """Without a cache at a terminal, which has a progress bar; and by it, where there is none."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "gan_metrics", "fid", *map(str, folders), *OFFLINE]
    terminal = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    done = subprocess.Popen([*command, "--no-cache"], stdout=subprocess.PIPE, stderr=follower,
                            text=True, env=terminal)  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert done.wait() == 0
    for part in (b"12/12", b"/s", b"few-images"):
        assert part in seen
    assert done.stdout is not None
    said = done.stdout.read()
    assert said.startswith("FD ")
    assert "±" in said
    assert "warning" not in said
    as_json = run("fid", *folders, *OFFLINE, "--json")
    assert as_json.returncode == 0
    assert "warning[few-images]" in as_json.stderr
    assert "12/12" not in as_json.stderr
    document = json.loads(as_json.stdout)
    assert document["metric"] == "fd"
    assert f"{document['value']:.3f}"[:6] == said.split()[1][:6]
    assert [w["code"] for w in document["warnings"]].count("few-images") == 2
    assert document["feature_spec"]["backbone"] == LITE0


def test_quiet_is_quiet_and_output_goes_to_files(folders: Folders, tmp_path: Path) -> None:
    done = call("fid", *folders, *OFFLINE, "--quiet", "-o", tmp_path / "r.json",
                "--append", tmp_path / "log.jsonl")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    call("fid", *folders, *OFFLINE, "--append", tmp_path / "log.jsonl")
    document = json.loads((tmp_path / "r.json").read_text())
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [document["value"]] * 2


def test_every_option_reaches_the_library(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: dict[str, object] = {}

    def spy(names: str, real: object, fake: object, **options: object) -> gm.EvaluationResult:
        taken.update(names=names, real=real, fake=fake, **options)
        result = gm.MetricResult("fd", 1.0, None, 2, 3, None, gm.FeatureSpec())
        return gm.EvaluationResult({names: result})

    monkeypatch.setattr("gan_metrics.evaluation.run.score", spy)
    given = {
        "backbone": "b", "layer": "l", "pool": "max", "protocol": "p", "weights": "w",
        "precision": "bf16", "alpha": "white", "exif": "apply", "max_images": 3, "seed": 4,
        "on_error": "skip", "device": "cpu", "batch_size": 5, "workers": 1, "layout": "NHW",
    }  # fmt: skip
    flags = [x for k, v in given.items() for x in (f"--{k.replace('_', '-')}", v)]
    flags.append("--value-range=-1,2.5")
    done = call("fid", "R", "F", *flags, "--no-recursive", "--no-cache", "--no-error-bars")
    assert done.code == 0, done.err
    expected = {**given, "recursive": False, "cache": False, "error_bars": False}
    expected |= {"comm": ALONE, "engine": "local", "value_range": (-1.0, 2.5)}
    assert {k: v for k, v in taken.items() if k != "progress"} == {
        **expected, "names": "fid", "real": "R", "fake": "F",
        "arguments": {"fid": {}},
    }  # fmt: skip
    call("fid", "R", "F", "--cache", tmp_path)
    assert taken["cache"] == str(tmp_path)
    assert taken["error_bars"] is True
    call("fid", "R", "F")
    assert taken["cache"] is True
    from gan_metrics.inputs.options import Options

    own = {"names", "real", "fake", "error_bars", "arguments"}
    assert set(taken) - own == set(Options.__annotations__)
    assert call("fid", "R", "F", "--cache", tmp_path, "--no-cache").code == 2


def test_stats_and_back(folders: Folders, tmp_path: Path) -> None:
    done = call("stats", folders[0], "-o", tmp_path / "r.npz", *OFFLINE)
    assert done.code == 0
    assert "12 images, 1280 dimensions" in done.out
    header = json.loads(call("stats", folders[0], "-o", tmp_path / "r", *OFFLINE, "--json").out)
    assert header["n"] == 12
    assert header["path"].endswith("r.npz")
    direct = json.loads(call("fid", *folders, *OFFLINE, "--json").out)
    by_file = json.loads(call("fid", tmp_path / "r.npz", folders[1], "--json").out)
    assert by_file["value"] == pytest.approx(direct["value"], rel=1e-6)
    assert by_file["feature_spec"] == direct["feature_spec"]


# Bad input, each with its exit code, naming the file and the remedy.


def test_a_missing_path(folders: Folders) -> None:
    refused(3, "fid", "/nowhere/at/all", folders[1], *OFFLINE,
            says=("/nowhere/at/all", "does not exist", "give a folder"))  # fmt: skip


def test_an_empty_folder(folders: Folders, tmp_path: Path) -> None:
    refused(3, "fid", folders[0], tmp_path, *OFFLINE, says=(str(tmp_path), "is empty"))


def test_a_folder_without_images(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    refused(3, "fid", folders[0], tmp_path, *OFFLINE, says=("1 .txt", ".png"))


def test_a_file_that_is_no_source(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "x.dat").write_text("x")
    refused(
        3,
        "fid",
        folders[0],
        tmp_path / "x.dat",
        *OFFLINE,
        says=("of an unknown kind", "a folder of images", ".npz"),
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "0 bytes"), (b"hello", "not an image of a known format"), ("cut", "truncated")],
)
def test_a_bad_image(tmp_path: Path, folders: Folders, content: bytes | str, says: str) -> None:
    bad = write_folder(tmp_path / "bad", crops(3, 0))
    whole = (bad / "0001.png").read_bytes()
    data = whole[: len(whole) // 2] if isinstance(content, str) else content
    (bad / "0001.png").write_bytes(data)
    refused(3, "fid", folders[0], bad, *OFFLINE, says=("0001.png", says, "--on-error skip"))
    done = call("fid", folders[0], bad, *OFFLINE, "--on-error", "skip", "--json")
    document = json.loads(done.out)
    assert (document["skipped"], document["n_fake"]) == (1, 2)
    assert document["skipped_files"][0]["name"] == "0001.png"
    assert "warning[skipped-images]" in done.err


def test_a_bomb(tmp_path: Path, folders: Folders) -> None:
    from test_decode import png

    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2, b"\0"))
    refused(
        3,
        "fid",
        folders[0],
        tmp_path,
        *OFFLINE,
        says=("bomb.png", "decompression bomb", "178,956,970"),
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_as_a_user(tmp_path: Path, folders: Folders) -> None:
    bad = write_folder(tmp_path / "bad", crops(2, 0))
    (bad / "0000.png").chmod(0)
    refused(3, "fid", folders[0], bad, *OFFLINE, says=("0000.png", "Permission denied"))


def test_an_unreadable_file(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = write_folder(tmp_path / "bad", crops(2, 0))
    real_open = os.open

    def denied(path: Any, *given: Any, **more: Any) -> int:
        if os.fspath(path).endswith("bad/0000.png"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *given, **more)

    monkeypatch.setattr(os, "open", denied)
    refused(3, "fid", folders[0], bad, *OFFLINE, says=("0000.png", "Permission denied"))


def test_one_image_only(tmp_path: Path, folders: Folders) -> None:
    one = write_folder(tmp_path / "one", crops(1, 0))
    refused(
        5,
        "fid",
        folders[0],
        one,
        *OFFLINE,
        says=("/one: a covariance needs at least two images, and there is 1",),
    )


@pytest.mark.parametrize(
    ("arrays", "code", "says"),
    [
        ({"mu": np.zeros(3), "sigma": np.array([object()] * 3)}, 3, "pickled"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, 3, "shape"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, 3, "NaN"),
        ({"x": np.zeros(3)}, 3, "no mu and no sigma"),
    ],
)
def test_a_bad_statistics_file(
    tmp_path: Path, folders: Folders, arrays: dict[str, np.ndarray], code: int, says: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    refused(code, "fid", tmp_path / "bad.npz", folders[1], *OFFLINE, says=("bad.npz", says))


def test_statistics_of_another_space(tmp_path: Path, folders: Folders) -> None:
    call("stats", folders[0], "-o", tmp_path / "r.npz", *OFFLINE)
    other = ("--backbone", "inception", "--weights", "random")
    says = ("backbone: efficientnet-lite0 — inception", "weights_sha256")
    refused(4, "fid", tmp_path / "r.npz", folders[1], *other, says=says)
    refused(4, "fid", tmp_path / "r.npz", folders[1], "--precision", "bf16", says=("precision",))


def test_no_weights(folders: Folders) -> None:
    refused(4, "fid", *folders, says=(
        "Searched:", "github.com/mseitzer", "github.com/toshas", "gan-metrics weights add",
        "--backbone efficientnet-lite0"))  # fmt: skip


def test_weights_with_the_wrong_hash(folders: Folders, narrow_inception: Path) -> None:
    hub = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    shutil.copy(narrow_inception, hub)
    refused(4, "fid", *folders, says=(str(hub), "must begin with 6726825d", "--weights"))


def test_weights_with_the_wrong_keys(tmp_path: Path, folders: Folders) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    refused(4, "fid", *folders, "--weights", tmp_path / "w.pth", says=("w.pth", "missing", "(a)"))
    refused(4, "fid", *folders, "--weights", tmp_path / "gone.pth", says=("gone.pth",))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--backbone", "inceptoin", "Did you mean inception"),
        ("--layer", "pool33", "Did you mean"),
        ("--protocol", "pytorchfid", "Did you mean pytorch-fid"),
        ("--pool", "mean", "unknown pool"),
        ("--precision", "fp64", "unknown precision"),
        ("--alpha", "pink", "unknown alpha"),
        ("--exif", "maybe", "unknown exif"),
        ("--on-error", "ignore", "raise or skip"),
        ("--device", "cuda:77", "CUDA devices"),
        ("--device", "toaster", "unknown device"),
        ("--batch-size", "0", "≥ 1"),
        ("--max-images", "0", "≥ 1"),
    ],
)
def test_wrong_usage(folders: Folders, option: str, value: str, says: str) -> None:
    refused(2, "fid", *folders, "--weights", "random", "--no-cache", option, value, says=(says,))


@pytest.mark.parametrize(
    "args", [("fid",), ("nonsense",), ("fid", "a", "b", "c"), ("fid", "a", "b", "--nope")]
)
def test_what_typer_refuses(args: tuple[str, ...]) -> None:
    outcome = call(*args)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Usage" in outcome.err


def test_a_full_disk(tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    outcome = refused(6, "stats", folders[0], "-o", tmp_path / "x.npz", *OFFLINE, "--no-cache",
                      says=("x.npz", "No space left"))  # fmt: skip
    assert outcome.code == 6
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("-o", "--append"):
        refused(2, "fid", *folders, *OFFLINE, option, tmp_path, says=("is a folder",))
        done = call("fid", *folders, *OFFLINE, option, tmp_path / "file" / "r.json")
        assert done.code == 6
        assert done.out.startswith("FD ")  # the number is not lost
        assert "cannot write" in done.err


def test_names_of_any_bytes_in_every_output(folders: Folders, tmp_path: Path, run: Run) -> None:
    odd = write_folder(tmp_path / "odd", crops(3, 0))
    bad = os.fsdecode(b"\xe9\n\xf0\x9f\x98\x80<b>.png")
    (odd / bad).write_bytes(b"")
    out, log = tmp_path / "r.json", tmp_path / "log.jsonl"
    command = ("fid", folders[0], odd, *OFFLINE, "--on-error", "skip", "--json", "-o", out,
               "--append", log)  # fmt: skip
    assert call(*command).code == 0  # and the cache has the features
    for env in ({}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}):
        done = run(*command, **env)
        assert done.returncode == 0, done.stderr
        for text in (done.stdout, out.read_text(), log.read_text().splitlines()[-1]):
            assert json.loads(text)["skipped_files"][0]["name"] == bad


def test_closed_streams(folders: Folders) -> None:
    call("fid", *folders, *OFFLINE)  # and the cache has the features
    command = f"{sys.executable} -m gan_metrics fid {folders[0]} {folders[1]} {' '.join(OFFLINE)}"
    done = subprocess.run(f"{command} --json 2>&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["metric"] == "fd"
    done = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("gan_metrics.evaluation.run.score", broken)
    refused(
        1,
        "fid",
        *folders,
        says=("internal error in gan-metrics (ZeroDivisionError: oops)", "--debug"),
    )
    debugged = call("fid", *folders, "--debug")
    assert debugged.code == 1
    assert "Traceback" in debugged.err


def test_out_of_memory(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA"), on_cpu):

        def starved(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("gan_metrics.evaluation.run.score", starved)
        refused(6, "fid", *folders, says=("out of memory", "--batch-size"))


# The other verbs.


def test_cache_info_and_clear(folders: Folders) -> None:
    call("fid", *folders, *OFFLINE)
    info = json.loads(call("cache", "info", "--json").out)
    assert info["chunks"] == 2
    assert info["bytes"] > 2 * 11 * 1280 * 4
    assert info["limit_bytes"] == 20 * 2**30
    assert "2 entries" in call("cache", "info").out
    assert "deleted 2 entries" in call("cache", "clear").out
    assert json.loads(call("cache", "info", "--json").out)["chunks"] == 0


def test_weights_verbs(tmp_path: Path, narrow_inception: Path) -> None:
    listed = json.loads(call("weights", "list", "--json").out)
    assert listed["inception"] is None
    assert listed[LITE0].endswith("57934424.pth")
    assert "missing" in call("weights", "list").out
    assert call("weights", "verify", LITE0).code == 0
    refused(4, "weights", "verify", says=("Searched",))
    refused(4, "weights", "pull", says=("GAN_METRICS_OFFLINE",))
    refused(4, "weights", "add", narrow_inception, says=("--weights",))
    refused(4, "weights", "add", tmp_path / "gone", says=("gone",))
    refused(2, "weights", "pull", "inceptoin", says=("Did you mean inception",))


def test_verify_holds_a_named_file_to_the_hash(
    narrow_inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_METRICS_INCEPTION", str(narrow_inception))
    refused(4, "weights", "verify", says=("not the published file",))


def test_doctor() -> None:
    report = json.loads(call("doctor", "--json").out)
    assert set(report) == {"Devices", "Weights", "Places", "Versions"}
    assert report["Weights"]["inception"].startswith("missing")
    assert report["Places"]["cache"].startswith(os.environ["GAN_METRICS_CACHE"])
    assert report["Versions"]["torch"] == torch.__version__.partition("+")[0]
    text = call("doctor").out
    assert "Devices" in text
    assert "cores" in text


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_metrics.demo.IMAGES", 24)
    done = call("demo", "-o", tmp_path / "demo")
    assert done.code == 0, done.err
    names = [line.split()[0] for line in done.out.splitlines()]
    assert names == [
        "generator",
        "independent-pixels",
        "pca-gaussian",
        "gaussian-mixture",
        "held-out",
    ]
    assert "samples.png" in done.err


def test_help_has_examples_and_fits_80_columns(run: Run) -> None:
    for args in (("--help",), ("fid", "--help"), ("stats", "--help"), ("cache", "--help")):
        done = run(*args, COLUMNS="80", TERM="dumb")
        assert done.returncode == 0
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "gan-metrics fid real/ fake/" in run("fid", "--help").stdout


def test_two_large_statistics_files(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for seed in (0, 1):
        some = rng.normal(size=(100, 2048)) * np.logspace(0, -1, 2048)
        cov = some.T @ some / 100 + np.diag(np.logspace(0, -2, 2048))
        moments = gm.Moments(2500, np.full(2048, float(seed)), cov)
        paths.append(Statistics(moments).save(tmp_path / f"{seed}.npz"))
    done = run("fid", *paths, "--json")
    document = json.loads(done.stdout)
    assert document["metric"] == "fid"
    assert document["standard_error"] is None
    assert document["n_real"] == 2500
    assert {w["code"] for w in document["warnings"]} == {
        "declared", "no-error-bar", "small-sample",
    }  # fmt: skip
