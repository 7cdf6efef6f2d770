"""What one look at a file finds, and what it costs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save_file

from gan_metrics.errors import InputError
from gan_metrics.files.probe import Probe, probe

MU, SIGMA = np.arange(4.0), np.eye(4)
IMAGES = np.arange(2 * 5 * 6 * 3, dtype=np.uint8).reshape(2, 5, 6, 3)


def shapes(found: Probe) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(one.dtype), one.shape) for name, one in found.arrays.items()}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo("a.png")
        info.size = len(png())
        archive.addfile(info, io.BytesIO(png()))
    return path


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_", "."), data)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".bin"])
def test_an_array(tmp_path: Path, suffix: str) -> None:
    with open(tmp_path / f"x{suffix}", "wb") as file:
        np.save(file, np.asfortranarray(SIGMA))
    found = probe(tmp_path / f"x{suffix}")
    assert (found.container, found.error, found.suffix) == ("npy", None, suffix)
    assert shapes(found) == {"": ("float64", (4, 4))}
    array = found.arrays[""]
    assert array.fortran
    assert array.offset is not None
    whole = (tmp_path / f"x{suffix}").read_bytes()
    np.testing.assert_array_equal(np.frombuffer(whole[array.offset :]).reshape(4, 4).T, SIGMA)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays(tmp_path: Path, save: object) -> None:
    save(tmp_path / "x.npz", mu=MU, sigma=SIGMA, arr_0=IMAGES)  # type: ignore[operator]
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("more.txt", "x")
    found = probe(tmp_path / "x.npz")
    assert (found.container, found.error) == ("npz", None)
    assert found.other_members == ("more.txt",)
    assert shapes(found) == {
        "mu": ("float64", (4,)),
        "sigma": ("float64", (4, 4)),
        "arr_0": ("uint8", (2, 5, 6, 3)),
    }
    offset = found.arrays["arr_0"].offset
    if save is np.savez_compressed:
        assert offset is None
    else:
        assert offset is not None
        assert (tmp_path / "x.npz").read_bytes()[offset:][: IMAGES.nbytes] == IMAGES.tobytes()


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"features": SIGMA.astype(np.float32), "names": IMAGES.reshape(-1), "b": MU}
    save_file(tensors, path, metadata={"k": "v"})
    found = probe(path)
    assert (found.container, found.error, found.metadata) == ("safetensors", None, {"k": "v"})
    assert shapes(found) == {k: (str(a.dtype), a.shape) for k, a in tensors.items()}
    for name, expected in tensors.items():
        offset = found.arrays[name].offset
        assert offset is not None
        assert path.read_bytes()[offset:][: expected.nbytes] == expected.tobytes()


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = {"id": [1], "raw": [b"x"], "image": [{"bytes": b"x", "path": "p"}], "s": [{"b": 1}]}
    parquet.write_table(pa.table(columns), path)
    found = probe(path)
    assert (found.container, found.error) == ("parquet", None)
    assert found.columns == {"id": False, "raw": True, "image": True, "s": False}


def test_torch_files(tmp_path: Path) -> None:
    torch.save(torch.zeros(3, 2), tmp_path / "one.pt")
    found = probe(tmp_path / "one.pt")
    assert (found.container, found.error) == ("torch", None)
    assert found.is_one_tensor
    assert shapes(found) == {"": ("float32", (3, 2))}
    torch.save({"mu": MU}, tmp_path / "stats.pth")
    torch.save({"mu": MU}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("stats.pth", "old.pt"):
        found = probe(tmp_path / name)
        assert (found.container, found.arrays, found.is_one_tensor) == ("torch", {}, False)


def test_every_other_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = IMAGES
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"mu": MU}))
    (tmp_path / "x.png").write_bytes(png())
    (tmp_path / "x.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    (tmp_path / "x.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    (tmp_path / "x.txt").write_text("a.png\nb.png\n")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no archive" * 1000))
    (tmp_path / "empty").write_bytes(b"")
    zipped(tmp_path / "x.zip", a_png=png())
    zipped(tmp_path / "none.zip")
    for name, mode in (("x.tar", "w"), ("a.tar.gz", "w:gz"), ("a.bz2", "w:bz2"), ("a.xz", "w:xz")):
        tar(tmp_path / name, mode)
    os.mkfifo(tmp_path / "pipe.npy")
    expected = {
        "x.h5": "hdf5",
        "x.pkl": "pickle",
        "x.png": "image",
        "x.webp": "image",
        "x.avi": "video",
        "x.txt": "unknown",
        "x.gz": "unknown",
        "empty": "unknown",
        "x.zip": "zip",
        "none.zip": "zip",
        "x.tar": "tar",
        "a.tar.gz": "tar",
        "a.bz2": "tar",
        "a.xz": "tar",
        "": "folder",
        "gone.npz": "missing",
        "x.png/below": "missing",
        "pipe.npy": "special",
        "\0": "unknown",
    }
    assert {name: probe(tmp_path / name).container for name in expected} == expected
    wrong = {name for name in expected if probe(tmp_path / name).error is not None}
    assert wrong == {"gone.npz", "x.png/below", "pipe.npy", "\0"}


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.npy", b"", "not an .npz archive or an .npy array; it starts with b''"),
        ("x.npz", b"text", "it starts with b'text'"),
        ("x.npz", b"PK\x03\x04", "is broken"),
        ("x.npy", b"\x93NUMPY\x01\x00", "is broken"),
        ("x.npy", b"\x93NUMPY\x03\x00" + bytes(9), "version"),
        ("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of the array has 4294967295"),
        ("x.safetensors", b"", "is broken"),
        ("x.safetensors", struct.pack("<Q", 1 << 60), "is broken"),
        ("x.parquet", b"PAR1", "is broken"),
        ("x.parquet", b"text", "not a Parquet file"),
        ("x.pt", b"PK\x03\x04", "is broken"),
        ("gone.npz", None, "does not exist"),
    ],
)
def test_what_is_broken_is_explained_and_not_raised(
    tmp_path: Path, name: str, data: bytes | None, says: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    found = probe(tmp_path / name)
    assert found.error is not None
    assert says in found.error
    assert str(tmp_path / name) in found.error
    assert found.arrays == {}
    with pytest.raises(InputError, match=name):
        found.check()


def test_a_compressed_archive_that_is_cut_off_is_still_one(tmp_path: Path) -> None:
    for name, compress in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (tmp_path / name).write_bytes(compress(tar(tmp_path / "x.tar").read_bytes())[:20])
        assert probe(tmp_path / name).container == "tar", name


def many(path: Path, extension: str, count: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            archive.writestr(f"{i:06d}{extension}", b"")


def test_an_archive_of_images_is_not_listed(tmp_path: Path) -> None:
    """30,000 members: 0.5 s and 20 MB to list."""
    many(tmp_path / "x.zip", ".png", 30_000)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.zip").read_bytes())
    (tmp_path / "x.pt").write_bytes((tmp_path / "x.zip").read_bytes())
    tracemalloc.start()
    for name, container in (("x.zip", "zip"), ("x.npz", "npz"), ("x.pt", "torch")):
        start = time.process_time()
        found = probe(tmp_path / name)
        assert time.process_time() - start < 0.1
        assert found.container == container
        assert (found.error is None) == (name == "x.zip")
    assert found.error is not None
    assert "too many members" in found.error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_a_directory_that_lies_about_its_length_is_not_read(tmp_path: Path) -> None:
    """The end record says 0 bytes, and that of zip64 the truth, which is what zipfile reads."""
    many(tmp_path / "x.npz", ".npy", 70_000)
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    at = whole.rfind(b"PK\x05\x06")
    assert whole[at - 20 : at - 16] == b"PK\x06\x07"
    whole[at + 12 : at + 16] = bytes(4)
    (tmp_path / "x.npz").write_bytes(whole)
    start = time.process_time()
    found = probe(tmp_path / "x.npz")
    assert time.process_time() - start < 0.1
    assert found.error is not None
    assert "too many members" in found.error


def test_a_header_that_unpacks_without_end_is_not_read(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("mu.npy", "w") as file,
    ):
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 200 << 20))
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    found = probe(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert found.error is not None
    assert "header of mu has" in found.error
