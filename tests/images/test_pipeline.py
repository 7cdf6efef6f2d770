"""One image read, hashed and decoded; many of them ahead, in order and within bounds."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data import crops, write_folder
from PIL import Image

from gan_metrics.errors import ImageError, ResourceError
from gan_metrics.images import pipeline
from gan_metrics.images.by_name import images_by_name
from gan_metrics.images.decode import decode
from gan_metrics.images.pipeline import (
    DecodedImage,
    EncodedImage,
    HashedImages,
    load_image,
    read_image,
    work_ahead,
)
from gan_metrics.inputs.opening import open_source
from gan_metrics.protocols.spec import Decoding


class Files:
    """Encoded images in memory: ``None`` cannot be read."""

    description, warnings = "files", ()

    def __init__(self, *files: bytes | None) -> None:
        self.files, self.reads = files, list[int]()
        self.names = [str(i) for i in range(len(files))]

    def read(self, index: int) -> bytes:
        self.reads.append(index)
        data = self.files[index]
        if data is None:
            raise ImageError("gone")
        return data


def png(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(crops(1, 0, side, side)[0]).save(file, "PNG")
    return file.getvalue()


def test_one_image_is_read_hashed_and_decoded() -> None:
    source = Files(png())
    image = load_image(source, 0, Decoding())
    pixels, metadata = decode(png(), Decoding())
    assert (image.index, image.size, image.failure) == (0, len(png()), None)
    assert image.digest == hashlib.sha256(png()).digest()
    assert image.metadata == metadata
    assert image.pixels is not None
    np.testing.assert_array_equal(image.pixels, pixels)
    assert source.reads == [0]


def test_what_was_read_is_not_read_again() -> None:
    source = Files(png(), None)
    good, gone = read_image(source, 0), read_image(source, 1)
    assert (good.data, good.failure) == (png(), None)
    assert gone == EncodedImage(1, None, None, "gone")
    assert load_image(source, good, Decoding()).pixels is not None
    assert load_image(source, gone, Decoding()) == DecodedImage(1, 0, None, None, None, "gone")
    assert source.reads == [0, 1]
    assert load_image(source, replace(good, data=None), Decoding()).digest == good.digest
    assert source.reads == [0, 1, 0]


def test_an_image_that_cannot_be_decoded_has_a_hash() -> None:
    image = load_image(Files(b"text"), 0, Decoding())
    assert image.pixels is None
    assert image.metadata is None
    assert (image.size, image.digest) == (4, hashlib.sha256(b"text").digest())
    assert "not an image of a known format" in str(image.failure)


def test_images_by_name(tmp_path: Path) -> None:
    source = open_source(write_folder(tmp_path, crops(3, 0)))
    found = list(images_by_name(source, ["0002.png", "0000.png"], Decoding()))
    for pixels, i in zip(found, (2, 0), strict=True):
        np.testing.assert_array_equal(pixels, decode(source.read(i), Decoding())[0])
    with pytest.raises(ImageError, match="gone"):
        next(images_by_name(Files(None), ["0"], Decoding()))


@pytest.mark.parametrize("n", [0, 1, 5, 40])
@pytest.mark.parametrize("ahead", [0, 1, 7])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_no_more_is_begun(n: int, ahead: int, threads: int) -> None:
    begun = 0

    def items() -> object:
        nonlocal begun
        for i in range(n):
            begun += 1
            yield i

    def work(i: int) -> int:
        time.sleep(0.001 * (i % 3))
        return i * i

    results = work_ahead(Files(), work, items(), ahead=lambda: ahead, threads=threads)  # type: ignore[arg-type, var-annotated]
    for i in range(n):
        assert next(results) == i * i
        assert begun == min(n, i + 1 + ahead)
    assert list(results) == []


def test_an_exception_is_raised_in_its_place_and_ends_the_work() -> None:
    done = []

    def work(i: int) -> int:
        if i == 3:
            raise ResourceError("no")
        done.append(i)
        return i

    results = work_ahead(Files(), work, range(1000), ahead=lambda: 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ResourceError, match="no"):
        next(results)
    assert len(done) < 8
    assert list(results) == []


@pytest.mark.parametrize("draws", [True, False])
def test_the_end_waits_only_for_a_generator(draws: bool) -> None:
    source = Files()
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()
    source.draws = draws  # type: ignore[attr-defined]

    def work(i: int) -> int:
        if i:
            begun.set()
            go.wait(60)
            ended.set()
        return i

    results = work_ahead(source, work, range(2), ahead=lambda: 1, threads=1)
    assert next(results) == 0
    assert begun.wait(60)
    if draws:
        threading.Timer(0.05, go.set).start()
    results.close()
    assert ended.is_set() == draws
    go.set()


def test_bytes_are_held_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_HELD_BYTES", 250)
    source = Files(*[bytes([i]) * 100 for i in range(9)])
    images = HashedImages(source, range(9))
    digests = [hashlib.sha256(data or b"").digest() for data in source.files]
    first = images.take(3)
    assert [image.data for image in first] == [source.files[0], source.files[1], None]
    images.release(0)
    images.release(0)
    images.release(2)
    second = images.take(3)
    assert [image.data is not None for image in second] == [True, False, False]
    for image in (*first, *second):
        images.release(image.index)
    third = images.take(9)
    assert [image.data is not None for image in third] == [True, True, False]
    assert [image.digest for image in (*first, *second, *third)] == digests
    assert images.take(1) == []


@pytest.mark.parametrize(("size", "ahead"), [(1, 128), (10, 100), (100, 10), (10_000, 2)])
def test_fewer_large_images_are_read_ahead(
    size: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_HELD_BYTES", 1000)
    images = HashedImages(Files(*[bytes(size)] * 400), range(400))
    assert images._room() == 8
    images.take(1)
    images.release(0)
    assert images._room() == ahead
    assert len(images.take(400)) == 399
    held = min(399 * size, 1000 // size * size)
    assert images._room() == max(2, min(128, (1000 - held) // size))
