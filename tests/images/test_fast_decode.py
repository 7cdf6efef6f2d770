"""The short way to the pixels leads to Pillow's, and is taken by whole and plain files alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from data import crops
from PIL import Image, PngImagePlugin
from test_decode import encoded

from gan_metrics.errors import ImageError
from gan_metrics.images import decode as module
from gan_metrics.images.decode import decode
from gan_metrics.images.fast_decode import read_plain
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding

SMALL, LARGE = crops(1, 3, 45, 47)[0], crops(1, 4, 130, 140)[0]


def picture(gray: bool, large: bool) -> Image.Image:
    pixels = LARGE if large else SMALL
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if gray else pixels)


def long_way(data: bytes) -> tuple[np.ndarray, ImageMetadata]:
    """As for a file that is not plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_plain", lambda _: None)
        return decode(data, Decoding())


def short_way(data: bytes) -> np.ndarray | None:
    plain = read_plain(data)
    return None if plain is None else module._plain_pixels(plain)


def judged(data: bytes) -> str:
    """``"left"`` or ``"same"``; fails where the short way leads elsewhere."""
    pixels = short_way(data)
    if pixels is None:
        return "left"
    expected, facts = long_way(data)
    np.testing.assert_array_equal(pixels, expected)
    plain = read_plain(data)
    assert plain is not None
    assert plain.metadata == facts
    return "same"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    ("format_", "how"),
    [
        ("PNG", {}),
        ("PNG", {"compress_level": 0}),
        ("PNG", {"dpi": (72, 72)}),
        ("JPEG", {"subsampling": 0}),
        ("JPEG", {"subsampling": 1}),
        ("JPEG", {"subsampling": 2, "progressive": True}),
        ("JPEG", {"optimize": True, "comment": b"by hand", "restart_marker_rows": 1}),
    ],
)
def test_plain_files(format_: str, how: dict[str, Any], gray: bool, large: bool) -> None:
    data = encoded(picture(gray, large), format_, **how)
    assert judged(data) == "same"
    pixels, facts = decode(data, Decoding())
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert facts == ImageMetadata(
        pixels.shape[2], pixels.shape[1], format_, "L" if gray else "RGB"
    )  # fmt: skip


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(picture(False, False), "JPEG", exif=exif)


def adobe(transform: int) -> bytes:
    """A JPEG whose three channels are said to be RGB (0) or YCbCr (1)."""
    data = encoded(picture(False, False), "JPEG")
    mark = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform])
    return data[:2] + mark + data[2 + 18 :]  # in place of JFIF's


@pytest.mark.parametrize("transform", [0, 1])
def test_adobes_mark(transform: int) -> None:
    assert judged(adobe(transform)) == "same"


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture(False, False), "PNG", icc_profile=b"x"),
        encoded(picture(False, False), "JPEG", icc_profile=b"x"),
        with_exif(),
        encoded(picture(False, False).convert("P"), "PNG"),
        encoded(picture(False, False).convert("RGBA"), "PNG"),
        encoded(picture(False, False), "PNG", transparency=(1, 2, 3)),
        encoded(picture(False, False).convert("1"), "PNG"),
        encoded(picture(False, False).convert("CMYK"), "JPEG"),
        encoded(Image.fromarray(np.zeros((4, 5), np.uint16)), "PNG"),
        encoded(picture(False, False), "BMP"),
        encoded(picture(False, False), "GIF"),
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
    ],
)
def test_others(data: bytes) -> None:
    assert read_plain(data) is None


def test_words_in_a_png_may_be_exif() -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Raw profile type exif", "\nexif\n       4\n00000000")
    assert read_plain(encoded(picture(False, False), "PNG", pnginfo=words)) is None


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(body: bytes, height: int, width: int, parts: int = 1, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    step = -(-len(body) // parts)
    pieces = [chunk(b"IDAT", body[i : i + step]) for i in range(0, len(body), step)]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(pieces) + chunk(b"IEND", b"")


def rows(filters: list[int]) -> bytearray:
    """Rows of pixels, each after the number of its filter."""
    raw = bytearray()
    for number, row in zip(filters, SMALL.reshape(len(SMALL), -1), strict=True):
        raw += bytes([number]) + bytes(row)
    return raw


def test_every_filter_and_several_chunks() -> None:
    rng = np.random.default_rng(0)
    for parts in (1, 3):
        body = zlib.compress(bytes(rows(rng.integers(0, 5, len(SMALL)).tolist())))
        assert judged(png(body, *SMALL.shape[:2], parts=parts)) == "same"
    assert read_plain(png(body, *SMALL.shape[:2], interlaced=1)) is None


def test_wrong_check_values() -> None:
    whole = encoded(picture(False, False))
    for place in (30, whole.index(b"IDAT") + 9, len(whole) - 14):  # header, pixels, their check
        broken = bytearray(whole)
        broken[place] ^= 1
        assert read_plain(bytes(broken)) is None


def test_pngs_that_break_off_or_go_on() -> None:
    height, width = SMALL.shape[:2]
    raw = bytes(rows([1] * height))
    seen: Counter[str] = Counter()
    rng = np.random.default_rng(0)
    for _ in range(150):
        cut, more = int(rng.integers(1, 90)), bytes(rng.integers(0, 256, 20, dtype=np.uint8))
        body = bytearray(zlib.compress(raw))
        body[-int(rng.integers(1, 5))] ^= 1 + int(rng.integers(255))
        wrong_filter = bytearray(raw)
        wrong_filter[int(rng.integers(height)) * (3 * width + 1)] = 5 + int(rng.integers(250))
        for variant in (
            bytes(body),
            zlib.compress(raw[:-cut]),
            zlib.compress(raw + more),
            zlib.compress(raw)[:-cut],
            zlib.compress(raw) + more,
            zlib.compress(bytes(wrong_filter)),
        ):
            seen[judged(png(variant, height, width))] += 1
    assert seen["left"] > 300
    assert seen["same"] > 100


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_random_changes(format_: str) -> None:
    rng = np.random.default_rng(0)
    whole = encoded(picture(False, False), format_)
    seen: Counter[str] = Counter()
    for _ in range(1000):
        broken = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(2, len(broken)))
            how = rng.integers(3)
            if how == 0:
                broken[place] ^= int(rng.integers(1, 256))
            elif how == 1:
                del broken[place : place + int(rng.integers(1, 20))]
            else:
                broken[place:place] = bytes(rng.integers(0, 256, 9, dtype=np.uint8))
        seen[judged(bytes(broken))] += 1
    assert seen["left"] > 300
    assert format_ == "PNG" or seen["same"] > 100


def test_a_bomb_is_left_to_the_long_way() -> None:
    body = zlib.compress(b"\0" * 100)
    with pytest.raises(ImageError, match="decompression bomb"):
        decode(png(body, 60_000, 60_000), Decoding())


def test_it_is_the_way_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow's own reader."""
    data = encoded(picture(False, False), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", fail)
    np.testing.assert_array_equal(decode(data, Decoding())[0], expected)
