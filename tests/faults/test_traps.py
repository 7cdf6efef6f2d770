"""Files and names that are made to do harm: refused in a sentence, and nothing has happened."""

from __future__ import annotations

import io
import os
import pickle
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder
from PIL import Image
from records import record

pytestmark = pytest.mark.usefixtures("coarse_lite0")

FAKE = "--backbone", LITE0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", crops(4, seed=2, low=16, high=16))


# Bombs: little on the disk, more than the memory once it is unpacked.


def png_bomb(path: Path) -> None:
    """A sound PNG of 60,000 × 60,000 pixels of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = 60_000
    row = zlib.compressobj(9)
    pixels = b"".join(row.compress(bytes(1 + side // 8)) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.mkdir()
    (path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.png", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(1 << 20))


def tar_bomb(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=9) as archive:
        info = tarfile.TarInfo("a.png")
        info.size = 3 << 29
        archive.addfile(info, Zeros(info.size))  # type: ignore[arg-type]


class Zeros:
    def __init__(self, left: int) -> None:
        self.left = left

    def read(self, size: int) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


def npz_bomb(path: Path) -> None:
    """An array of a tebibyte by its header, with nothing behind it."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1048576, 1024, 1024, 3), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        archive.writestr("arr_0.npy", data)


BOMBS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a PNG of 3.6 Gpixel": ("png", png_bomb, "a.png"),
    "a zip member of 1.1 GB": ("bomb.zip", zip_bomb, "a.png"),
    "a tar.gz of 1.6 GB": ("bomb.tar.gz", tar_bomb, "bomb.tar.gz"),
    "an npz of a tebibyte": ("bomb.npz", npz_bomb, "bomb.npz"),
}


@pytest.mark.parametrize(
    "bomb", [pytest.param(b, marks=[pytest.mark.slow] if "tar" in b else []) for b in BOMBS]
)
def test_a_bomb(bomb: str, tmp_path: Path, folder: Path) -> None:
    name, make, says = BOMBS[bomb]
    make(tmp_path / name)
    size = sum(f.stat().st_size for f in tmp_path.glob("bomb*")) or 1
    assert size < 4 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(3, "fid", folder, tmp_path / name, *FAKE, says=(says,))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 512 << 20
    record(f"bomb: {bomb}", 1, "refused, memory as before")


# Pickles, in every file that has ever held one.


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def in_npy(path: Path, bomb: Bomb) -> None:
    np.save(path, np.array([bomb], object), allow_pickle=True)


def in_npz(path: Path, bomb: Bomb) -> None:
    np.savez(path, arr_0=np.array([bomb], object))


def in_statistics(path: Path, bomb: Bomb) -> None:
    np.savez(path, mu=np.zeros(4), sigma=np.eye(4), header=np.array([bomb], object))


def in_features(path: Path, bomb: Bomb) -> None:
    np.savez(path, features=np.array([[bomb]], object))


def in_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps({"fid": bomb}))


def in_torch(path: Path, bomb: Bomb) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
        archive.writestr("archive/version", "3\n")


PICKLES: dict[str, tuple[str, Callable[[Path, Bomb], None]]] = {
    "a batch, .npy": ("x.npy", in_npy),
    "a batch, .npz": ("x.npz", in_npz),
    "statistics, .npz": ("x.npz", in_statistics),
    "features, .npz": ("x.npz", in_features),
    "statistics, .pkl": ("x.pkl", in_pickle),
    "statistics, .pt": ("x.pt", in_torch),
    "statistics, .pth": ("x.pth", in_torch),
}


@pytest.mark.parametrize("where", PICKLES)
def test_a_pickle_is_not_run(where: str, tmp_path: Path, folder: Path) -> None:
    name, make = PICKLES[where]
    mark = tmp_path / "mark"
    make(tmp_path / name, Bomb(mark))
    refused(3, "fid", folder, tmp_path / name, *FAKE, says=(name,))
    refused(3, "inspect", tmp_path / name, says=(name,))
    assert not mark.exists()
    record(f"pickle in {where}", 2, "refused, not run")


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin"])
def test_a_pickle_in_weights_is_not_run(name: str, tmp_path: Path, folder: Path) -> None:
    mark = tmp_path / "mark"
    in_torch(tmp_path / name, Bomb(mark))
    refused(4, "fid", folder, folder, "--backbone", "resnet18", "--weights", tmp_path / name,
            says=(name,))  # fmt: skip
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    refused(4, "fid", folder, folder, "--backbone", "resnet18", "--weights", tmp_path / name,
            says=(name,))  # fmt: skip
    assert not mark.exists()
    record(f"pickle in weights, {name}", 2, "refused, not run")


def test_the_pickle_would_go_off(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


# Names and links that lead elsewhere.


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crops(1, seed=5, low=16, high=16)[0]).save(buffer, "PNG")
    return buffer.getvalue()


SLIPS = ("../../outside.png", "/absolute.png", "..\\outside.png", "a/../../b.png", "C:\\x.png")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_climb_out(kind: str, tmp_path: Path, folder: Path) -> None:
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    path = inner / f"slip.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in SLIPS:
                archive.writestr(name, png())
    else:
        with tarfile.open(path, "w") as tar:
            for name in SLIPS:
                info = tarfile.TarInfo(name)
                info.size = len(png())
                tar.addfile(info, io.BytesIO(png()))
    before = sorted(tmp_path.rglob("*"))
    done = call("stats", path, "-o", tmp_path / "out.npz", *FAKE)
    assert done.code == 0, done.err
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "out.npz"])
    assert not Path("/absolute.png").exists()
    record(f"names that climb out of a {kind}", len(SLIPS), "names only, nothing written")


def test_links_out_of_an_hdf5_file(tmp_path: Path, folder: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["images"] = np.stack(crops(4, seed=2, low=16, high=16))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(secret), "images")
    refused(3, "fid", folder, f"{tmp_path}/x.h5:images", *FAKE, says=("x.h5",))
    refused(3, "fid", folder, tmp_path / "x.h5", *FAKE, says=("x.h5",))
    record("a link out of an HDF5 file", 2, "refused")


def test_links_in_a_tar(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("a.png")
            info.type, info.linkname = kind, str(folder / "0000.png")
            tar.addfile(info)
    refused(3, "fid", folder, path, *FAKE, says=("x.tar",))
    record("links and devices in a tar", 4, "not taken")


HARMFUL = (
    "datasets:../../secret",
    "datasets:/etc/passwd",
    "datasets:owner/../../secret",
    "datasets:a/b/c",
    "torchvision:../CIFAR10",
    "ref:../../secret",
    "pipe:touch mark",
    "pipe:touch mark|",
    "local:///etc/passwd",
    "file:///etc/passwd",
    "zip://x::http://127.0.0.1:9/a.zip",
    "simplecache::file:///etc/passwd",
)


@pytest.mark.parametrize("name", HARMFUL)
def test_names_that_would_do_harm(
    name: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(2, "fid", folder, name, *FAKE, says=(name.partition(":")[2][:6].strip("/"),))
    assert not (tmp_path / "mark").exists()
    record("names that would do harm", 1, "refused")


@pytest.mark.parametrize(
    "name",
    ["timm:../../secret", "timm:resnet18/../../x", "timm:hf_hub:a/b", "clip:ViT-B-32/../../x",
     "clip:../x/openai", "torchvision:../resnet18", "../resnet18", "timm:/etc/passwd"],
)  # fmt: skip
def test_networks_with_parts_of_paths(name: str, folder: Path) -> None:
    refused(2, "fid", folder, folder, "--backbone", name, says=(name.rpartition(":")[2],))
    record("network names with parts of paths", 1, "refused")
