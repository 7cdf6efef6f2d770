"""Every source of images, on real files: the same pixels in the same order."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import h5py
import lmdb
import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import LITE0
from data import crops, same_features, write_folder
from PIL import Image
from pyarrow import parquet

import gan_metrics as gm
from gan_metrics.errors import ImageError, InputError, UsageError
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.images.decode import decode
from gan_metrics.images.sources import ImageSource
from gan_metrics.images.sources.video import VideoSource
from gan_metrics.inputs.opening import open_object, open_source
from gan_metrics.inputs.options import Options
from gan_metrics.protocols.spec import Decoding

pytestmark = pytest.mark.usefixtures("coarse_lite0")

IMAGES = crops(7, seed=5, low=24, high=24)
NAMES = [f"{i:04d}.png" for i in range(7)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images in folders by class, and the same images in every other form."""
    root = tmp_path_factory.mktemp("sources")
    write_folder(root / "flat", IMAGES)
    return root


def files(root: Path) -> list[bytes]:
    return [(root / "flat" / name).read_bytes() for name in NAMES]


def in_zip(root: Path) -> Path:
    path = root / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in reversed(list(zip(NAMES, files(root), strict=True))):
            archive.writestr(name, data)
        archive.writestr("readme.txt", "hello")
        archive.writestr("__MACOSX/0000.png", "no image")
        archive.writestr(".hidden/0000.png", "no image")
    return path


def in_tar(root: Path, mode: str = "w", names: list[str] = NAMES, name: str = "images.tar") -> Path:
    path = root / name
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in reversed(list(zip(NAMES, files(root), strict=True))):
            if name in names:
                info = tarfile.TarInfo("./" + name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("labels.cls")
        archive.addfile(info)
    return path


def in_shards(root: Path) -> str:
    in_tar(root, "w", NAMES[:3], "shard-000.tar")
    in_tar(root, "w", NAMES[3:], "shard-001.tar")
    return f"{root}/shard-{{000..001}}.tar"


def in_list(root: Path) -> Path:
    path = root / "images.txt"
    path.write_text("# ours\n\n" + "\r\n".join(f"flat/{name}" for name in NAMES) + "\n")
    return path


def in_table(root: Path) -> Path:
    path = root / "images.csv"
    path.write_text("label,file_name\n" + "".join(f'"a,b",flat/{name}\n' for name in NAMES))
    return path


def in_npy(root: Path) -> Path:
    np.save(root / "images.npy", np.stack(IMAGES))
    return root / "images.npy"


def in_hdf5(root: Path) -> str:
    with h5py.File(root / "pixels.h5", "w") as file:
        file["deep/images"] = np.stack(IMAGES)
        file["deep/labels"] = np.arange(7)
    return f"{root / 'pixels.h5'}:deep/images"


def in_hdf5_first(root: Path) -> Path:
    with h5py.File(root / "first.h5", "w") as file:
        file.create_dataset("x", data=np.stack(IMAGES).transpose(0, 3, 1, 2), compression="gzip")
    return root / "first.h5"


def in_hdf5_encoded(root: Path) -> Path:
    with h5py.File(root / "encoded.h5", "w") as file:
        data = file.create_dataset("files", 7, h5py.vlen_dtype(np.uint8))
        for i, one in enumerate(files(root)):
            data[i] = np.frombuffer(one, np.uint8)
    return root / "encoded.h5"


def in_lmdb(root: Path) -> Path:
    path = root / "images.lmdb"
    with lmdb.open(str(path), map_size=1 << 24) as database, database.begin(write=True) as write:
        for name, data in zip(NAMES, files(root), strict=True):
            write.put(name.encode(), data)
        write.put(b"length", b"7")
    return path


def in_parquet(root: Path) -> Path:
    rows = [{"bytes": data, "path": name} for name, data in zip(NAMES, files(root), strict=True)]
    table = pa.table({"image": rows, "label": list(range(7)), "other": [b"x"] * 7})
    parquet.write_table(table, root / "images.parquet", row_group_size=2)
    return root / "images.parquet"


def in_binary_parquet(root: Path) -> str:
    table = pa.table({"one": files(root), "two": [b"x"] * 7})
    parquet.write_table(table, root / "binary.parquet")
    return f"{root / 'binary.parquet'}:one"


def in_saved_dataset(root: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"picture": files(root), "label": list(range(7))})
    data = data.cast_column("picture", datasets.Image())
    data.save_to_disk(str(root / "saved"))
    return root / "saved"


def in_named_dataset(root: Path) -> str:
    return f"datasets:parquet?data_files={in_parquet(root)}&split=train&column=image"


def streamed(root: Path) -> str:
    rows = [{"bytes": data, "path": name} for name, data in zip(NAMES, files(root), strict=True)]
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"image": rows}).cast_column("image", datasets.Image())
    data.to_parquet(str(root / "streamed.parquet"))
    where = root / "streamed.parquet"
    return f"datasets:parquet?data_files={where}&split=train&streaming=true&take=7"


def in_torchvision(root: Path) -> str:
    for name, data in zip(NAMES, files(root), strict=True):
        (root / "classes" / "a").mkdir(parents=True, exist_ok=True)
        (root / "classes" / "a" / name).write_bytes(data)
    return f"torchvision:ImageFolder?root={root / 'classes'}"


def in_bucket(root: Path) -> str:
    system = fsspec.filesystem("memory")
    for name, data in zip(NAMES, files(root), strict=True):
        system.pipe_file(f"/bucket/flat/deep/{name}", data)
    system.pipe_file("/bucket/flat/notes.txt", b"hello")
    return "memory://bucket/flat"


def remote(make: Callable[[Path], Path]) -> Callable[[Path], str]:
    def put(root: Path) -> str:
        path = make(root)
        fsspec.filesystem("memory").pipe_file(f"/store/{path.name}", path.read_bytes())
        return f"memory://store/{path.name}"

    put.__name__ = f"remote {make.__name__}"
    return put


def remote_shards(root: Path) -> str:
    in_shards(root)
    for i in range(2):
        data = (root / f"shard-00{i}.tar").read_bytes()
        fsspec.filesystem("memory").pipe_file(f"/shards/{i}.tar", data)
    return "memory://shards/{0..1}.tar"


def remote_pattern(root: Path) -> str:
    remote_shards(root)
    return "memory://shards/*.tar"


FORMS: list[Callable[[Path], Any]] = [
    lambda root: root / "flat",
    lambda root: f"{root}/flat/*.png",
    lambda root: f"{root}/**/00*.png",
    in_zip, in_tar,
    lambda root: in_tar(root, "w:gz", name="images.tar.gz"),
    lambda root: in_tar(root, "w:bz2", name="images.tbz"),
    lambda root: in_tar(root, "w:xz", name="images.dat"),
    in_shards,
    lambda root: in_shards(root).replace("{000..001}", "*"),
    in_list, in_table, in_npy, in_hdf5, in_hdf5_first, in_hdf5_encoded, in_lmdb, in_parquet,
    in_binary_parquet, in_saved_dataset, in_named_dataset, streamed, in_torchvision, in_bucket,
    remote(in_zip), remote(in_tar), remote(in_npy), remote(in_parquet), remote_shards,
    remote_pattern,
]  # fmt: skip


def pixels(source: ImageSource) -> np.ndarray:
    return np.stack(
        [decode(source.read(i), Decoding())[0].transpose(1, 2, 0) for i in range(len(source.names))]
    )


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_the_same_images_in_every_form(form: int, root: Path) -> None:
    if form == 2 and (root / "classes").exists():
        pytest.skip("the pattern would find them twice")
    source = open_source(FORMS[form](root))
    assert len(source.names) == len(set(source.names)) == 7
    np.testing.assert_array_equal(pixels(source), np.stack(IMAGES))
    copy = pickle.loads(pickle.dumps(source))  # as for a process that decodes
    np.testing.assert_array_equal(pixels(copy), np.stack(IMAGES))
    with pytest.raises(IndexError):
        source.read(7)


@pytest.mark.parametrize("source", ["images.zip", "images.tar", "images.tar.gz", "shards"])
def test_archives_give_the_number_of_the_folder(source: str, root: Path) -> None:
    made = {
        "images.zip": in_zip, "images.tar": in_tar, "shards": in_shards,
        "images.tar.gz": lambda root: in_tar(root, "w:gz", name="images.tar.gz"),
    }[source](root)  # fmt: skip
    options: dict[str, Any] = {"backbone": LITE0, "cache": False}
    expected = gm.extract_features(root / "flat", **options)
    found = gm.extract_features(made, **options, workers=2 if source == "images.zip" else 0)
    assert found.digest == expected.digest
    assert found.spec == expected.spec
    same_features(found.array, expected.array)
    codes = [code for code, _ in found.warnings]
    assert "other-files" in codes
    if source == "images.zip":
        told = next(message for code, message in found.warnings if code == "other-files")
        assert "1 .txt" in told
        assert "1 __MACOSX" in told
        assert "1 hidden" in told


@pytest.mark.parametrize("kind", ["tar.gz", "npz", "remote"])
def test_a_machine_without_the_temporary_file_makes_its_own(kind: str, root: Path) -> None:
    if kind == "tar.gz":
        source: Any = open_source(in_tar(root, "w:gz", name="images.tar.gz"))
        place = source._unpacked.path
    elif kind == "npz":
        np.savez_compressed(root / "packed.npz", np.stack(IMAGES))
        source = open_source(root / "packed.npz")
        place = source.prepare()[0]
    else:
        source = open_source(remote(in_npy)(root))
        place = source._copy.path
    sent = pickle.dumps(source)
    place.unlink()
    np.testing.assert_array_equal(pixels(pickle.loads(sent)), np.stack(IMAGES))


def tensors() -> torch.Tensor:
    return torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2)


OBJECTS: list[Callable[[], Any]] = [
    lambda: np.stack(IMAGES),
    tensors,
    lambda: list(IMAGES),
    lambda: [Image.fromarray(one) for one in IMAGES],
    lambda: [(one, 3) for one in tensors()],
    lambda: [{"image": Image.fromarray(one), "label": 1} for one in IMAGES],
    lambda: [{"image": {"bytes": netpbm_of(one), "path": None}} for one in IMAGES],
    lambda: torch.utils.data.TensorDataset(tensors(), torch.arange(7)),
    lambda: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(tensors()), 3),
    lambda: iter(tensors().split(4)),
    lambda: (one for one in IMAGES),
]


def netpbm_of(one: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(one).save(file, "PPM")
    return file.getvalue()


@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_objects_of_every_kind(number: int, root: Path) -> None:
    source = open_object(OBJECTS[number](), Options())
    np.testing.assert_array_equal(pixels(source), np.stack(IMAGES))
    if number == 1:
        found = gm.extract_features(OBJECTS[number](), backbone=LITE0)
        expected = gm.extract_features(root / "flat", backbone=LITE0)
        same_features(found.array, expected.array)


def test_modes_of_pillow_are_kept() -> None:
    image = Image.fromarray(IMAGES[0]).convert("RGBA")
    image.putalpha(7)
    sixteen = Image.fromarray(np.full((5, 6), 40_000, np.uint16))
    source = open_object([image, Image.fromarray(IMAGES[0]).convert("L"), sixteen], Options())
    for index, expected in enumerate((255, None, 40_000 // 256)):
        found = decode(source.read(index), Decoding(alpha="white"))[0]
        if index == 2:
            assert found.max() == expected
    assert decode(source.read(0), Decoding(alpha="white"))[0].min() > 240


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "is empty"),
        (iter(()), "yields no image"),
        (np.zeros((3, 8, 8, 3), np.float32), r"float32, with values from 0 to 0; expected uint8"),
        (np.zeros((3, 8), np.float32), r"for features"),
        ([3], "of type int; expected Pillow images"),
        ([np.zeros((2, 8, 8, 5), np.uint8)], r"shape \(2, 8, 8, 5\)"),
        ([{"picture": IMAGES[0]}], "a mapping of picture; expected Pillow images"),
    ],
)
def test_objects_that_are_no_images(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        gm.extract_features(given, backbone=LITE0)


def test_a_dataset_that_fails_is_a_bad_image() -> None:
    class Data:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> np.ndarray:
            if index == 1:
                raise RuntimeError("no luck")
            return IMAGES[index]

    with pytest.raises(ImageError, match=r"000001.*no luck"):
        gm.extract_features(Data(), backbone=LITE0)
    found = gm.extract_features(Data(), backbone=LITE0, on_error="skip")
    assert [name for name, _ in found.skipped] == ["000001"]


def video(path: Path, frames: int = 12) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)  # without loss
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
        for i in range(frames):
            image = np.full((24, 32, 3), 10 * i % 256, np.uint8)
            image[:12, :, 0] = (255 - 10 * i) % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "video.mkv")
    every = open_source(path)
    assert len(every.names) == 12
    found = pixels(every)
    np.testing.assert_array_equal(found[:, 20, 5, 1], 10 * np.arange(12))
    np.testing.assert_array_equal(found[:, 2, 5, 0], 255 - 10 * np.arange(12))
    some = open_source(f"{path}?stride=5")
    assert some.names == ["000000", "000005", "000010"]
    np.testing.assert_array_equal(pixels(some), found[::5])
    monkeypatch.setattr("gan_metrics.images.sources.video._KEPT", 1)
    some = open_source(f"{path}?stride=5")
    for index in (2, 0, 1, 0):  # also backwards, where nothing is kept
        np.testing.assert_array_equal(
            decode(some.read(index), Decoding())[0], found[5 * index].transpose(2, 0, 1)
        )
    np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(some))), found[::5])
    with pytest.raises(UsageError, match="stride"):
        open_source(f"{path}?stride=0")
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError, match=r"not a video|no frames"):
        open_source(path)


def test_a_video_is_decoded_at_most_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    own = VideoSource._decoded
    monkeypatch.setattr(VideoSource, "_decoded", lambda self: opened.append(1) or own(self))
    found = gm.extract_features(
        video(tmp_path / "video.mkv", 300), backbone="timm:test_resnet", weights="random",
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert len(found.array) == 300
    assert len(opened) <= 2  # a second one for a thread that lags behind


def test_a_lock_that_is_held_at_a_fork_is_free_in_the_new_process() -> None:
    lock = ProcessLock()
    with lock:
        born = multiprocessing.get_context("fork").Process(target=_take, args=(lock,))
        born.start()
        born.join(20)
        code = born.exitcode
        born.kill()
    assert code == 0


def _take(lock: ProcessLock) -> None:
    with lock:
        pass


def refused(text: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        open_source(text)


def test_names_that_are_refused(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("pipe:cat images.tar", UsageError, "programs are not executed")
    refused("file:///etc/passwd", UsageError, "other URLs and chains")
    refused("simplecache::s3://bucket/x.zip", UsageError, "chains")
    refused("ssh://host/x", UsageError, "other URLs and chains")
    refused("s3://bucket/images", InputError, "GAN_METRICS_OFFLINE")
    refused("torchvision:Nothing?root=x", UsageError, "has no 'Nothing'")
    refused("torchvision:CIFAR10?rot=x", UsageError, "rot")
    refused(f"torchvision:CIFAR10?root={tmp_path}", InputError, "download=true")
    refused(f"torchvision:CIFAR10?root={tmp_path}&download=true", InputError, "OFFLINE")
    refused("datasets:../secret", UsageError, "expected NAME")
    refused("datasets:owner/a/b", UsageError, "expected NAME")
    refused("datasets:mnist", InputError, "OFFLINE")
    refused("datasets:mnist?spilt=test", UsageError, "unknown spilt")
    refused(f"{root}/*.none", InputError, "matches nothing")
    refused(f"{root}/{{a..b.tar", UsageError, "Unbalanced")
    refused(f"{root}/flat:x", InputError, "does not exist")
    in_zip(root)
    refused(f"{root}/images.zip:x", InputError, "HDF5 and Parquet")
    refused(root / "flat" / "0000.png", InputError, "is a single image; expected .*folder of")
    (tmp_path / "empty.zip").write_bytes(b"")
    refused(tmp_path / "empty.zip", InputError, "is of an unknown kind; expected ")


def test_lists_that_are_refused(tmp_path: Path) -> None:
    def listed(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    refused(listed("a.txt", "\n# nothing\n"), InputError, "contains no image")
    refused(listed("b.txt", "x.png\nx.png\n"), InputError, "'x.png' twice")
    refused(listed("c.csv", "label,score\n1,2\n"), InputError, "columns label, score")
    refused(listed("d.csv", "file,label\nx.png,1\n,2\n"), InputError, "line 3")
    refused(listed("e.csv", ""), InputError, "columns none")
    refused(listed("f.txt", "a\0b"), InputError, "not text")
    source = open_source(listed("g.txt", "none.png\n"))
    with pytest.raises(ImageError, match="cannot read"):
        source.read(0)


def test_what_leads_out_of_an_hdf5_file_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.stack(IMAGES)
    raw = tmp_path / "raw.bin"
    raw.write_bytes(np.stack(IMAGES).tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["outside"] = h5py.ExternalLink("other.h5", "secret")
        file["labels"] = np.arange(3)
        file["soft"] = h5py.SoftLink("/outside")
    refused(f"{tmp_path}/a.h5:outside", InputError, "not\\s+followed")
    refused(f"{tmp_path}/a.h5:soft", InputError, "not\\s+followed")
    refused(tmp_path / "a.h5", InputError, "name the dataset")
    refused(f"{tmp_path}/a.h5:labels", InputError, "have the shape")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        shape = np.stack(IMAGES).shape
        file.create_dataset("x", shape, np.uint8, external=[(str(raw), 0, raw.stat().st_size)])
    refused(tmp_path / "b.h5", InputError, "other files")
    layout = h5py.VirtualLayout(shape, np.uint8)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", shape)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    refused(tmp_path / "c.h5", InputError, "other files")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a"] = file["b"] = np.stack(IMAGES)
    refused(tmp_path / "d.h5", InputError, "name the dataset")


def test_tables_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), path)
    refused(path, InputError, "several columns")
    refused(f"{path}:c", InputError, "columns of\\s+bytes: a, b")
    parquet.write_table(pa.table({"a": [1, 2]}), path)
    refused(path, InputError, "no column of images")
    path.write_bytes(b"PAR1 but not really")
    refused(path, InputError, "broken")
    parquet.write_table(pa.table({"a": pa.array([], pa.binary())}), path)
    refused(path, InputError, "no rows")
    parquet.write_table(pa.table({"a": [None, b""]}, pa.schema([("a", pa.binary())])), path)
    with pytest.raises(ImageError, match="no bytes"):
        open_source(path).read(0)


def test_broken_archives(root: Path, tmp_path: Path) -> None:
    whole = in_tar(root).read_bytes()
    path = tmp_path / "x.tar"
    for length in (513, 700, 1024, 1700, len(whole) // 2, len(whole) - 10_240 + 100):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="broken or truncated"):
            open_source(path)
    flipped = bytearray(whole)
    second = len(whole) // 512 // 3 * 512
    for start in range(512, second, 512):  # some header in the middle
        if flipped[start + 257 : start + 262] == b"ustar":
            flipped[start + 150] ^= 0xFF
            break
    path.write_bytes(flipped)
    with pytest.raises(InputError, match="no end mark"):
        open_source(path)
    path.write_bytes(whole + whole)
    with pytest.raises(InputError, match="after its end"):
        open_source(path)
    zipped = in_zip(root).read_bytes()
    path = tmp_path / "x.zip"
    for length in (10, 100, len(zipped) - 5):
        path.write_bytes(zipped[:length])
        with pytest.raises(InputError):
            open_source(path)
    flipped = bytearray(zipped)
    flipped[200] ^= 0xFF  # in the first member's data
    path.write_bytes(flipped)
    source = open_source(path)
    with pytest.raises(ImageError, match="cannot unpack"):
        pixels(source)


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1 << 20))
    monkeypatch.setattr("gan_metrics.images.sources.archive._LARGEST", 1 << 16)
    with pytest.raises(ImageError, match="too many for an image"):
        open_source(path).read(0)
    monkeypatch.setattr("gan_metrics.images.sources.archive._FREE", 1 << 10)
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = 1 << 20
        tar.addfile(info, io.BytesIO(bytes(1 << 20)))
    with pytest.raises(InputError, match="100 times its size"):
        open_source(path)


def test_a_zip_whose_headers_have_another_name(tmp_path: Path) -> None:
    """What stands behind a NUL is no part of a name, and still in the member's own header."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png+.txt", b"first")
        archive.writestr("b.png", b"second")
    path.write_bytes(path.read_bytes().replace(b"a.png+.txt", b"a.png\0.txt"))
    source = open_source(path)
    assert source.names == ["a.png", "b.png"]
    assert [source.read(0), source.read(1)] == [b"first", b"second"]


def test_names_in_archives_are_names_only(tmp_path: Path) -> None:
    path = tmp_path / "slip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside.png", b"x")
        archive.writestr("/absolute.png", b"x")
    source = open_source(path)
    assert sorted(source.names) == ["../../outside.png", "/absolute.png"]
    assert source.read(0) == b"x"
    assert [one.name for one in tmp_path.iterdir()] == ["slip.zip"]
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    refused(path, InputError, "1 links and devices")
