"""From a source to batches: each image once and in order, however many threads decode."""

from __future__ import annotations

import io
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from data import crops
from PIL import Image

from gan_metrics.errors import ImageError
from gan_metrics.images import pipeline
from gan_metrics.images.decode import decode
from gan_metrics.images.loader import Batch, load
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding


@dataclass
class Encoded:
    """Images in memory; who reads which is written down."""

    files: list[bytes]
    wait: float = 0.0
    read_by: list[tuple[str, int]] = field(default_factory=list)
    description: str = "encoded"
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        return [str(i) for i in range(len(self.files))]

    def read(self, index: int) -> bytes:
        self.read_by.append((threading.current_thread().name, index))
        time.sleep(self.wait)
        if not self.files[index]:
            raise ImageError("nothing there")
        return self.files[index]

    @property
    def threads(self) -> set[str]:
        return {name for name, _ in self.read_by if name.startswith("decode")}


def encoded(n: int, side: int) -> list[bytes]:
    files = []
    for crop in crops(n, 0, side, side):
        file = io.BytesIO()
        Image.fromarray(crop).save(file, "PNG")
        files.append(file.getvalue())
    return files


def batches(source: Encoded, size: int, workers: int = 0) -> Iterator[Batch]:
    return load(source, range(len(source.files)), Decoding(), batch_size=size, workers=workers)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64, 75])
@pytest.mark.parametrize("size", [1, 5, 8, 64])
@pytest.mark.parametrize("side", [8, 64])
def test_every_image_once_and_in_order(n: int, size: int, side: int) -> None:
    source = Encoded(encoded(n, side))
    found = list(batches(source, size))
    assert [len(one.indices) for one in found] == [
        min(size, n - start) for start in range(0, n, size)
    ]
    assert [i for one in found for i in one.indices] == list(range(n))
    assert sorted(i for _, i in source.read_by) == list(range(n))
    for one in found:
        pixels = one._buffer.reshape(len(one.indices), 3, side, side).numpy()
        for index, image in zip(one.indices, pixels, strict=True):
            np.testing.assert_array_equal(image, decode(source.files[index], Decoding())[0])


def test_what_fails_is_told_wherever_it_stands() -> None:
    files = encoded(40, 8)
    for gap in (0, 7, 8, 39):
        files[gap] = b""
    found = list(batches(Encoded(files), 16))
    assert {i: why for one in found for i, why in one.failures.items()} == dict.fromkeys(
        (0, 7, 8, 39), "nothing there"
    )
    assert sum(len(one.indices) for one in found) == 36


def test_tiny_images_are_left_to_one_thread() -> None:
    source = Encoded(encoded(200, 16))
    assert len(list(batches(source, 32))) == 7
    assert len(source.threads) == 1


def test_others_and_those_that_wait_are_shared_by_two() -> None:
    for source in (Encoded(encoded(64, 64), wait=2e-3), Encoded(encoded(64, 16), wait=2e-3)):
        assert len(list(batches(source, 32))) == 2
        assert len(source.threads) == 2


def test_pixels_are_given_back_with_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the batch that was given out, only those ahead of it are in memory."""
    decoded: list[weakref.ref[np.ndarray]] = []
    own = pipeline.decode

    def decode_and_note(data: bytes, decoding: Decoding) -> tuple[np.ndarray, ImageMetadata]:
        pixels, facts = own(data, decoding)
        copy = pixels.copy()
        decoded.append(weakref.ref(copy))
        return copy, facts

    monkeypatch.setattr(pipeline, "decode", decode_and_note)
    most = 0
    for _ in batches(Encoded(encoded(96, 64)), 8):
        time.sleep(0.01)
        most = max(most, sum(image() is not None for image in decoded))
    assert 0 < most <= 2 * 8
    assert len(decoded) == 96
    assert all(image() is None for image in decoded)
