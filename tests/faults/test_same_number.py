"""The same images give the same number, whoever reads them, and in whatever portions."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import LITE0
from records import record

import gan_metrics as gm

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def forms(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The fake images as a folder, in other orders of creation, in a zip and in a tar."""
    root = tmp_path_factory.mktemp("forms")
    files = sorted(folders[1].iterdir())
    reversed_ = root / "reversed"
    reversed_.mkdir()
    with zipfile.ZipFile(root / "x.zip", "w") as zipped, tarfile.open(root / "x.tar", "w") as tar:
        for file in reversed(files):
            os.link(file, reversed_ / file.name)
            zipped.write(file, file.name)
            tar.add(file, file.name)
    return {
        "folder": folders[1], "reversed": reversed_, "zip": root / "x.zip", "tar": root / "x.tar"
    }  # fmt: skip


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (0, 7), (0, 64), (1, 7), (4, 64)])
def test_whoever_reads_them(
    workers: int, batch_size: int, folders: Folders, forms: dict[str, Path]
) -> None:
    kinds = list(forms) if (workers, batch_size) == (0, 7) else [list(forms)[workers // 2 + 1]]
    expected = gm.fid(*folders, backbone=LITE0, cache=False)
    for kind in kinds:
        found = gm.fid(
            folders[0], forms[kind], backbone=LITE0, cache=False, workers=workers,
            batch_size=batch_size,
        )  # fmt: skip
        assert found.value == pytest.approx(expected.value, rel=1e-6)
        assert found.feature_spec == expected.feature_spec
        assert found.digests == expected.digests
        record(f"{kind}, {workers} workers, batches of {batch_size}", 1, "the same to 1e-6")
