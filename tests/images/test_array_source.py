from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_metrics.errors import ImageError, InputError, ResourceError
from gan_metrics.files.probe import probe
from gan_metrics.images.decode import decode
from gan_metrics.images.sources import ArraySource, is_image_batch
from gan_metrics.images.sources.array_file import image_size
from gan_metrics.inputs.opening import open_source
from gan_metrics.protocols.spec import Decoding

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 7, 5, 3), np.uint8)
"""Higher than wide, of more images than colours: no two axes can be taken for one another."""
GREY = IMAGES[..., :1].copy()


def decoded(source: ArraySource) -> np.ndarray:
    """Every image as it goes into a network, N × H × W × 3."""
    found = [decode(source.read(i), Decoding())[0] for i in range(len(source.names))]
    return np.stack(found).transpose(0, 2, 3, 1)


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def npz(path: Path, compressed: bool = False, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (IMAGES, IMAGES),
        (GREY, np.repeat(GREY, 3, 3)),
        (GREY[..., 0], np.repeat(GREY, 3, 3)),
        (IMAGES.transpose(0, 3, 1, 2).copy(), IMAGES),
        (GREY.transpose(0, 3, 1, 2).copy(), np.repeat(GREY, 3, 3)),
        (IMAGES.transpose(0, 2, 1, 3), IMAGES.transpose(0, 2, 1, 3)),
    ],
)
def test_every_layout_in_every_file(
    tmp_path: Path, array: np.ndarray, expected: np.ndarray
) -> None:
    paths = (
        npy(tmp_path / "x.npy", array),
        npz(tmp_path / "stored.npz", arr_0=array, arr_1=np.arange(12)),
        npz(tmp_path / "packed.npz", True, labels=np.arange(12), samples=array),
    )
    for path in paths:
        assert is_image_batch(probe(path))
        source = open_source(path)
        assert isinstance(source, ArraySource)
        np.testing.assert_array_equal(decoded(source), expected)
        assert source.size == image_size(probe(path)) == (expected.shape[2], expected.shape[1])
        assert source.description == str(path)
        assert not source.warnings


def test_the_bytes_are_those_that_pillow_reads(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    source = ArraySource(npy(tmp_path / "x.npy", every))
    with Image.open(io.BytesIO(source.read(0))) as image:
        assert (image.format, image.mode) == ("PPM", "L")
        np.testing.assert_array_equal(np.asarray(image), every[0])
    source = ArraySource(npy(tmp_path / "y.npy", IMAGES))
    with Image.open(io.BytesIO(source.read(3))) as image:
        assert (image.format, image.mode, image.size) == ("PPM", "RGB", (5, 7))
        np.testing.assert_array_equal(np.asarray(image), IMAGES[3])


def test_the_names_keep_the_order(tmp_path: Path) -> None:
    source = ArraySource(npy(tmp_path / "x.npy", np.zeros((1_000_001, 1, 5), np.uint8)))
    assert source.names[:2] == ["0000000", "0000001"]
    assert source.names == sorted(source.names)
    assert ArraySource(npy(tmp_path / "y.npy", IMAGES)).names[-1] == "000011"


def test_the_first_array_is_meant_where_there_are_several(tmp_path: Path) -> None:
    path = npz(tmp_path / "x.npz", other=255 - IMAGES, arr_0=IMAGES, arr_1=GREY)
    np.testing.assert_array_equal(decoded(ArraySource(path)), IMAGES)
    path = npz(tmp_path / "z.npz", arr_0=np.arange(12), arr_1=IMAGES, masks=GREY[..., 0])
    np.testing.assert_array_equal(decoded(ArraySource(path)), IMAGES)
    path = npz(tmp_path / "y.npz", one=IMAGES, two=255 - IMAGES)
    assert is_image_batch(probe(path))
    assert image_size(probe(path)) is None
    with pytest.raises(InputError, match=r"several batches of images \(one, two\)"):
        ArraySource(path)


def test_what_is_no_batch_is_told_by_the_headers(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "x.npy").write_bytes(b"")
    (tmp_path / "x.png").write_bytes(b"x")
    for path in (
        *(tmp_path / name for name in ("folder.npz", "x.npz", "x.npy", "x.png", "gone.npy")),
        npy(tmp_path / "features.npy", np.zeros((4, 8), np.float32)),
        npy(tmp_path / "maps.npy", np.zeros((4, 3, 2, 2), np.float32)),
        npy(tmp_path / "labels.npy", np.zeros(4, np.uint8)),
        npz(tmp_path / "stats.npz", mu=np.zeros(4), sigma=np.eye(4)),
    ):
        assert not is_image_batch(probe(path)), path
        assert image_size(probe(path)) is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES / 255, r"float64, with values from 0 to 1; .*value_range=\(0, 1\)"),
        (IMAGES / 127.5 - 1, r"from -1 to 1; .*value_range=\(-1, 1\)"),
        (
            IMAGES.astype(np.float32),
            r"float32, .* to 255; .*value_range=\(0, 255\)",
        ),
        (IMAGES.astype(np.int64), "int64, with values from 0 to 255; .*BLACK, WHITE"),
        (IMAGES > 9, "type bool; expected uint8"),
        (IMAGES[:0], "expected N × H × W × 3"),
        (IMAGES[:, :0], "expected N × H × W × 3"),
        (IMAGES[0], "may be one image"),
        (IMAGES[0, :, :, 0], "expected (uint8, )?N × H × W × 3"),
        (IMAGES[None], "expected (uint8, )?N × H × W × 3"),
        (np.zeros((4, 8, 8, 5), np.uint8), "expected N × H × W × 3"),
        (np.asfortranarray(IMAGES), "ascontiguousarray"),
        (np.array([[[{}]]], object), "pickled objects, which are never loaded"),
    ],
)
def test_wrong_arrays_are_explained(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        np.save(file, array, allow_pickle=True)
    for path in (tmp_path / "x.npy", npz(tmp_path / "x.npz", arr_0=array)):
        with pytest.raises(InputError, match=rf"x\.np.*({message})"):
            ArraySource(path)


def test_an_archive_without_images_says_what_it_holds(tmp_path: Path) -> None:
    path = npz(tmp_path / "x.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(InputError, match=r"contains mu \(float64.*but no batch of images"):
        ArraySource(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_is_cut_off_or_changed_is_refused(tmp_path: Path, compressed: bool) -> None:
    images = RNG.integers(0, 256, (20, 64, 32, 3), np.uint8)  # more than is read ahead
    path = npz(tmp_path / "x.npz", compressed, arr_0=images)
    whole = path.read_bytes()
    for length in (0, 3, 50, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"x\.npz"):
            ArraySource(path).prepare()
    for at in (*range(300, 600, 7), *range(20_000, 100_000, 1999)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            source = ArraySource(path)
            source.prepare()
        except InputError:
            continue
        np.testing.assert_array_equal(decoded(source), images)


def test_an_npy_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = npy(tmp_path / "x.npy", IMAGES)
    whole = path.read_bytes()
    for length in (5, 60, 200, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"x\.npy is"):
            open_source(path)


def test_a_claim_beyond_the_file_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with open(path, "wb") as file:
        shape = (10**15, 7, 5, 3)
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        file.write(bytes(100))
    with pytest.raises(InputError, match="has 100 bytes of values"):
        open_source(path)


def test_a_file_that_shrinks_later_fails_by_the_image(tmp_path: Path) -> None:
    path = npy(tmp_path / "x.npy", IMAGES)
    source = ArraySource(path)
    os.truncate(path, path.stat().st_size - 10)
    assert len(source.read(10)) > 100
    with pytest.raises(ImageError, match="truncated: 95 of 105"):
        source.read(11)
    sent = pickle.loads(pickle.dumps(source))
    path.unlink()
    assert len(source.read(0)) > 100  # the file stays open
    with pytest.raises(ImageError, match="cannot read"):
        sent.read(0)
    with pytest.raises(IndexError):
        source.read(12)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_a_compressed_member_goes_through_a_file_that_is_removed(
    tmp_path: Path, temporary: Path
) -> None:
    source = ArraySource(npz(tmp_path / "x.npz", True, arr_0=IMAGES))
    assert not list(temporary.iterdir())  # not before it is needed
    source.prepare()
    assert len(list(temporary.iterdir())) == 1
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(decoded(copy), IMAGES)
    del copy
    gc.collect()
    assert len(list(temporary.iterdir())) == 1
    del source
    gc.collect()
    assert not list(temporary.iterdir())
    ArraySource(npz(tmp_path / "y.npz", arr_0=IMAGES))
    assert not list(temporary.iterdir())


def test_a_process_that_was_forked_off_removes_nothing(tmp_path: Path, temporary: Path) -> None:
    source = ArraySource(npz(tmp_path / "x.npz", True, arr_0=IMAGES))
    source.prepare()
    child = os.fork()
    if child == 0:
        del source
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(temporary.iterdir())) == 1
    np.testing.assert_array_equal(decoded(source), IMAGES)


def test_a_broken_compressed_member_leaves_no_file(tmp_path: Path, temporary: Path) -> None:
    path = npz(tmp_path / "x.npz", True, arr_0=IMAGES)
    whole = bytearray(path.read_bytes())
    whole[600] ^= 0x55
    path.write_bytes(whole)
    with pytest.raises(InputError, match="is broken"):
        ArraySource(path).prepare()
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "x.npz", True, arr_0=IMAGES)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ResourceError, match=r"cannot store the images in .*gone"):
        ArraySource(path).prepare()


def test_spawned_processes_read_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for compressed in (False, True):
        source = ArraySource(npz(tmp_path / f"{compressed}.npz", compressed, arr_0=IMAGES))
        with context.Pool(1) as pool:
            found = pool.map(source.read, range(12))
        assert found == [source.read(i) for i in range(12)]


def test_threads_read_the_same(tmp_path: Path) -> None:
    source = ArraySource(npz(tmp_path / "x.npz", arr_0=IMAGES))
    expected = [source.read(i) for i in range(12)]
    wrong = []

    def look(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, 12, 300):
            if source.read(int(i)) != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_batch_gives_the_features_of_the_folder(tmp_path: Path) -> None:
    from data import crops, write_folder

    import gan_metrics as gm
    from gan_metrics.backbones.multi_space import Embedder
    from gan_metrics.backbones.registry import choose_backbone
    from gan_metrics.features.chunks import ExtractionOptions
    from gan_metrics.features.extraction import extract

    images = crops(9, seed=3, low=40, high=40)
    how = {"backbone": "efficientnet-lite0", "cache": False, "device": "cpu"}
    folder = gm.extract_features(write_folder(tmp_path / "folder", images), **how)
    choice = choose_backbone("efficientnet-lite0")
    for workers in (0, 2):
        source = open_source(npz(tmp_path / "x.npz", True, arr_0=np.stack(images)))
        (batch,) = extract(
            source,
            [choice],
            lambda: Embedder("cpu"),
            ExtractionOptions(workers=workers, cache=None),
        )
        np.testing.assert_array_equal(batch.array, folder.array)
        assert list(batch.names)[:2] == ["000000", "000001"]


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "x.npz"
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("arr_0.npy", "w") as file:
        about = {"descr": "|u1", "fortran_order": False, "shape": (1500, 256, 256, 3)}
        np.lib.format.write_array_header_1_0(file, about)
        for _ in range(1500):
            file.write(bytes(256 * 256 * 3))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from gan_metrics.inputs.opening import open_source\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); source = open_source(Path(sys.argv[1]))\n"
        "total = sum(len(source.read(i)) for i in range(len(source.names)))\n"
        "print(total, peak() - before)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    total, grown = map(int, out.split())
    assert total > 290e6
    assert grown < 20_000, f"{grown} KiB"
