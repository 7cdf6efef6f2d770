"""The exceptions: built-in bases, pickling, and no handler that takes one for something else."""

from __future__ import annotations

import errno
import os
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import gan_metrics as gm
from gan_metrics.analysis.reproduction import reproduce
from gan_metrics.errors import failed_device, unreadable
from gan_metrics.features.files import load_features
from gan_metrics.files.download import DownloadError, atomic_path
from gan_metrics.generators.generated import Generated
from gan_metrics.images.labels import read_labels
from gan_metrics.images.sources import Location, archive
from gan_metrics.inputs.opening import open_source
from gan_metrics.reports.training_log import read_history
from gan_metrics.stats.files import load_stats

BASES: dict[type[gm.GanMetricsError], tuple[type[Exception], ...]] = {
    gm.UsageError: (ValueError,),
    gm.InputError: (ValueError,),
    gm.NotFoundError: (ValueError, FileNotFoundError),
    gm.ImageError: (ValueError,),
    gm.WeightsError: (RuntimeError,),
    gm.MismatchError: (ValueError,),
    gm.ComputationError: (ValueError,),
    gm.ResourceError: (RuntimeError,),
}
BUILT_IN = (ValueError, RuntimeError, OSError, FileNotFoundError)


@pytest.mark.parametrize("kind", BASES)
def test_the_built_in_bases_and_no_others(kind: type[gm.GanMetricsError]) -> None:
    meant = {base for base in BUILT_IN if issubclass(kind, base)}
    assert meant == {*BASES[kind], *([OSError] if FileNotFoundError in BASES[kind] else [])}


@pytest.mark.parametrize("kind", [gm.GanMetricsError, *BASES, DownloadError])
def test_text_and_pickle(kind: type[gm.GanMetricsError]) -> None:
    error = kind("a/b does not exist")
    error.add_note("a note")
    for one in (error, pickle.loads(pickle.dumps(error)), type(error)(str(error))):
        assert type(one) is kind
        assert str(one) == "a/b does not exist"
        assert repr(one) == f"{kind.__name__}('a/b does not exist')"
        assert one.args == ("a/b does not exist",)
        assert one.exit_code == kind.exit_code
        assert getattr(one, "errno", None) is None
        assert getattr(one, "filename", None) is None


def _raise(kind: type[Exception]) -> NoReturn:
    raise kind("from another process")


@pytest.mark.parametrize("kind", BASES)
def test_between_processes(kind: type[gm.GanMetricsError]) -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(kind, match=r"^from another process$"):
        pool.submit(_raise, kind).result()


NOT_THERE: dict[str, Callable[[Path], Any]] = {
    "set.png": lambda path: open_source(path),
    "*.png": lambda path: open_source(path),
    "memory://nothing/here.zip": open_source,
    "f.npz": load_stats,
    "f.npy": load_features,
    "f.safetensors": load_features,
    "labels.csv": read_labels,
    "list.txt": lambda path: Location(str(path)).read(),
    "record.json": lambda path: reproduce(path, None, path),
    "log.jsonl": read_history,
    "g.pt": lambda path: Generated(path, 2, z_size=2),
    "g.onnx": lambda path: Generated(path, 2, z_size=2),
}


@pytest.mark.parametrize("name", NOT_THERE)
def test_what_is_not_there_is_a_file_not_found(name: str, tmp_path: Path) -> None:
    path: Any = name if "://" in name else tmp_path / name
    with pytest.raises(FileNotFoundError) as caught:
        NOT_THERE[name](path)
    assert isinstance(caught.value, gm.NotFoundError)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    for fails in (gm.fid, gm.evaluate):
        with pytest.raises(FileNotFoundError, match="nowhere does not exist; give a folder"):
            fails(tmp_path / "nowhere", tmp_path / "elsewhere")


def test_what_is_there_and_unreadable_is_no_file_not_found(tmp_path: Path) -> None:
    error = unreadable(tmp_path, IsADirectoryError(errno.EISDIR, "Is a directory"))
    assert type(error) is gm.InputError
    assert str(error) == f"cannot read {tmp_path}: Is a directory"
    missing = unreadable("x", FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert type(missing) is gm.NotFoundError
    assert str(missing) == "cannot read x: No such file or directory"


def test_wrong_values_are_value_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown backbone"):
        gm.load_backbone("inceptoin")
    with pytest.raises(ValueError, match="shape"):
        gm.metrics.frechet_distance(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))
    with pytest.raises(RuntimeError, match="cannot read the weights file"):
        gm.load_backbone("inception", weights=tmp_path / "none.pth")


def test_a_failed_device_is_reported_once() -> None:
    lost = failed_device(RuntimeError("CUDA error: an illegal memory access"))
    assert isinstance(lost, gm.ResourceError)
    assert failed_device(lost) is None
    assert failed_device(ValueError("CUDA error")) is None


@pytest.mark.parametrize("kind", BASES)
def test_an_error_in_the_block_of_an_atomic_file_stays_what_it_is(
    kind: type[gm.GanMetricsError], tmp_path: Path
) -> None:
    def write(path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise kind("inside")

    for path in (tmp_path / "out.json", Path(os.devnull)):
        with pytest.raises(kind, match=r"^inside$"):
            write(path)
    assert list(tmp_path.iterdir()) == []


def test_a_lack_of_open_files_is_no_broken_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"no image")
    source = open_source(path)

    def no_files_left(self: Location) -> NoReturn:
        raise gm.ResourceError("Too many open files")

    monkeypatch.setattr(Location, "open", no_files_left)
    for fails in (
        lambda: source.read(0),
        lambda: archive.ZipSource(Location(str(path))),
        lambda: archive.TarSource(Location(str(path))),
    ):
        with pytest.raises(gm.ResourceError, match=r"^Too many open files$"):
            fails()
    packed = tmp_path / "set.tar.gz"
    packed.write_bytes(b"\x1f\x8b and more")
    with pytest.raises(gm.ResourceError, match=r"^Too many open files$"):
        archive.archive_kind(Location(str(packed)))


def test_a_folder_that_is_gone_keeps_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_metrics.inputs import readers

    def fails(path: Path, *, recursive: bool) -> NoReturn:
        raise gm.NotFoundError("gone meanwhile")

    monkeypatch.setattr(readers, "FolderSource", fails)
    with pytest.raises(gm.NotFoundError, match=r"^gone meanwhile$"):
        open_source(tmp_path)
