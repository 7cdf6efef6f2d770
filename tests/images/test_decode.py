from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from gan_metrics.errors import ImageError, UsageError
from gan_metrics.images import decode as module
from gan_metrics.images.decode import EXTENSIONS, decode
from gan_metrics.images.metadata import ImageMetadata, MetadataSummary
from gan_metrics.protocols.spec import Decoding

DROP = Decoding()
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (7, 5), dtype=np.uint8)


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG by hand, for what Pillow does not write."""

    def piece(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + piece(b"IHDR", header)
        + piece(b"IDAT", zlib.compress(rows))
        + piece(b"IEND", b"")
    )


def as_hwc(data: bytes, decoding: Decoding = DROP) -> np.ndarray:
    pixels, _ = decode(data, decoding)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels.transpose(1, 2, 0)


def flags(data: bytes, decoding: Decoding = DROP) -> tuple[str, ...]:
    return decode(data, decoding)[1].flags


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_bit_for_bit(format_: str) -> None:
    np.testing.assert_array_equal(as_hwc(encoded(Image.fromarray(RGB), format_)), RGB)


def test_lossless_webp_comes_back_bit_for_bit() -> None:
    data = encoded(Image.fromarray(RGB), "WEBP", lossless=True)
    np.testing.assert_array_equal(as_hwc(data), RGB)


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_agree_with_pillow(format_: str) -> None:
    data = encoded(Image.fromarray(RGB), format_)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(as_hwc(data), expected)


def test_the_format_is_that_of_the_bytes() -> None:
    assert decode(encoded(Image.fromarray(RGB), "JPEG"), DROP)[1].format == "JPEG"


def test_grey_is_three_times_the_value() -> None:
    np.testing.assert_array_equal(
        as_hwc(encoded(Image.fromarray(GREY))), np.repeat(GREY[..., None], 3, axis=2)
    )


def test_bilevel_is_black_and_white() -> None:
    image = Image.fromarray(GREY).convert("1")
    expected = np.repeat((np.asarray(image) * 255).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(as_hwc(encoded(image)), expected)


def test_a_palette_is_looked_up() -> None:
    image = Image.fromarray(RGB).quantize(8)
    np.testing.assert_array_equal(as_hwc(encoded(image)), np.asarray(image.convert("RGB")))


def rgba() -> np.ndarray:
    return np.concatenate([RGB, GREY[..., None]], axis=2)


def test_alpha_is_dropped_and_said() -> None:
    data = encoded(Image.fromarray(rgba()))
    np.testing.assert_array_equal(as_hwc(data), RGB)
    assert flags(data) == ("alpha",)


@pytest.mark.parametrize(("colour", "value"), [("white", 255), ("black", 0)])
def test_alpha_is_composited_over_a_colour(colour: str, value: int) -> None:
    weight = GREY[..., None] / 255
    expected = RGB * weight + value * (1 - weight)
    np.testing.assert_allclose(
        as_hwc(encoded(Image.fromarray(rgba())), Decoding(alpha=colour)), expected, atol=1
    )


def test_opaque_alpha_is_nothing_to_say() -> None:
    opaque = np.concatenate([RGB, np.full((7, 5, 1), 255, np.uint8)], axis=2)
    data = encoded(Image.fromarray(opaque))
    assert flags(data) == ()
    np.testing.assert_array_equal(as_hwc(data, Decoding(alpha="white")), RGB)


def test_a_transparent_colour_of_a_palette_counts_as_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    data = encoded(image, transparency=1)
    assert flags(data) == ("alpha",)
    np.testing.assert_array_equal(as_hwc(data), [[[10, 20, 30], [40, 50, 60]]])
    np.testing.assert_array_equal(
        as_hwc(data, Decoding(alpha="white")), [[[10, 20, 30], [255, 255, 255]]]
    )


def test_grey_with_alpha() -> None:
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)])
    data = encoded(image)
    np.testing.assert_array_equal(as_hwc(data), np.repeat(GREY[..., None], 3, axis=2))
    assert flags(data) == ("alpha",)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(format_: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    data = encoded(Image.fromarray(values), format_)
    np.testing.assert_array_equal(as_hwc(data)[0, :, 0], [0, 0, 1, 128, 255])
    assert flags(data) == ("sixteen-bit",)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colour_keeps_the_high_byte(colour: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (3, 4, channels)).astype(">u2")
    if channels != 3:
        values[..., -1] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    data = png(4, 3, 16, colour, rows)
    expected = (values[..., :3] if channels > 2 else values[..., :1].repeat(3, 2)) >> 8
    np.testing.assert_array_equal(as_hwc(data), expected)
    assert flags(data) == ("sixteen-bit",)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_of_unknown_range_are_refused(mode: str) -> None:
    data = encoded(Image.fromarray(RGB[..., 0]).convert(mode), "TIFF")
    with pytest.raises(ImageError, match=r"unknown range|range is unknown"):
        decode(data, DROP)


def test_cmyk_is_converted_and_said() -> None:
    image = Image.fromarray(np.full((8, 8, 3), 120, np.uint8)).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    np.testing.assert_allclose(as_hwc(data), 120, atol=3)
    assert flags(data) == ("colour-space",)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = (
        {"lossless": True} if format_ == "WEBP" else {"quality": 100} if format_ == "JPEG" else {}
    )
    data = encoded(Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))), format_, exif=exif,
                   **options)  # fmt: skip
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.transpose(1, 0, 2), 6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    np.testing.assert_array_equal(as_hwc(data), stored)
    np.testing.assert_array_equal(as_hwc(data, Decoding(exif="apply")), upright)
    assert flags(data) == (("orientation",) if orientation > 1 else ())


def with_orientation(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(image, exif=exif)


@pytest.mark.parametrize("alpha", ["drop", "white", "black"])
@pytest.mark.parametrize("kind", ["rgba", "sixteen", "palette"])
def test_orientation_is_applied_whatever_else_is_done(kind: str, alpha: str) -> None:
    image = {
        "rgba": Image.fromarray(rgba()),
        "sixteen": Image.fromarray(GREY.astype(np.uint16) * 256),
        "palette": Image.fromarray(RGB).quantize(8),
    }[kind]
    data = with_orientation(image, 6)
    stored = as_hwc(data, Decoding(alpha=alpha))
    turned = as_hwc(data, Decoding(alpha=alpha, exif="apply"))
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"Exif\0\0garbage!!", b"Exif\0\0II*"])
def test_a_broken_exif_block_does_not_cost_the_pixels(format_: str, block: bytes) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(Image.fromarray(RGB), format_, exif=block, **options)
    np.testing.assert_array_equal(as_hwc(data), RGB)
    assert flags(data) == ("exif-broken",)
    with pytest.raises(ImageError, match="orientation is unknown"):
        decode(data, Decoding(exif="apply"))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_a_transparent_colour_of_sixteen_bits(colour: int, channels: int) -> None:
    values = np.full((2, 2, channels), 0x1234, ">u2")
    key = values[0, 0].tobytes()
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    plain = png(2, 2, 16, colour, rows)
    piece = struct.pack(">I", len(key)) + b"tRNS" + key
    piece += struct.pack(">I", zlib.crc32(b"tRNS" + key))
    at = plain.index(b"IDAT") - 4
    data = plain[:at] + piece + plain[at:]
    assert flags(data) == ("sixteen-bit", "alpha")
    with pytest.raises(ImageError, match="16-bit color as transparent"):
        decode(data, Decoding(alpha="white"))


@pytest.mark.parametrize("kind", [b"P6\n2 1\n1023\n", b"P3\n2 1\n1023\n"])
def test_a_ppm_beyond_8_bits_is_said(kind: bytes) -> None:
    values = [0, 0, 0, 1023, 512, 0]
    plain = b" ".join(str(v).encode() for v in values)
    binary = np.array(values, ">u2").tobytes()
    data = kind + (plain if kind.startswith(b"P3") else binary)
    assert flags(data) == ("sixteen-bit",)
    np.testing.assert_allclose(as_hwc(data)[0], [[0, 0, 0], [255, 128, 0]], atol=1)
    assert flags(encoded(Image.fromarray(RGB), "PPM")) == ()


def test_a_sixteen_bit_tiff_in_which_white_is_zero() -> None:
    values = np.array([[0, 65535, 256]], np.uint16)
    data = encoded(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(as_hwc(data)[0, :, 0], [255, 0, 254])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_signed_tiff_is_refused(dtype: type) -> None:
    data = encoded(Image.fromarray(GREY.astype(dtype)), "TIFF", tiffinfo={339: 2})
    with pytest.raises(ImageError, match="signed"):
        decode(data, DROP)


def test_decoding_leaves_the_warnings_of_the_process_alone() -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    before = list(warnings.filters)
    data = [encoded(Image.fromarray(RGB), f) for f in ("PNG", "JPEG", "GIF")] * 30
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda d: decode(d, DROP), data))
    assert warnings.filters == before


def test_a_tiff_that_pillow_turns_is_said() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(Image.fromarray(RGB), "TIFF", exif=exif)
    assert flags(data) == ("orientation-applied",)
    np.testing.assert_array_equal(as_hwc(data), np.rot90(RGB, -1))


@pytest.mark.parametrize("format_", ["GIF", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_taken(format_: str) -> None:
    first, second = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(Image.fromarray(first), format_, save_all=True,
                   append_images=[Image.fromarray(second)], **options)  # fmt: skip
    np.testing.assert_array_equal(as_hwc(data), first)
    assert flags(data) == ("frames",)


def test_a_foreign_colour_profile_is_said() -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert flags(encoded(Image.fromarray(RGB), icc_profile=srgb)) == ()
    assert flags(encoded(Image.fromarray(RGB), icc_profile=lab)) == ("icc",)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_a_truncated_file_is_an_error(format_: str) -> None:
    big = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(big), format_)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(ImageError):
            decode(data[: int(len(data) * share)], DROP)


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_an_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data, DROP)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(ImageError, match="bomb"):
        decode(png(60_000, 60_000, 8, 2, b"\0"), DROP)


def test_a_big_image_under_the_bound_is_no_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow would warn from here on
    np.testing.assert_array_equal(as_hwc(encoded(Image.fromarray(RGB))), RGB)
    monkeypatch.setattr(module, "MAX_PIXELS", 34)
    with pytest.raises(ImageError, match="bomb"):
        decode(encoded(Image.fromarray(RGB)), DROP)


def test_a_process_that_tolerates_truncated_images_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="LOAD_TRUNCATED_IMAGES"):
        decode(encoded(Image.fromarray(RGB)), DROP)


def test_facts_survive_json() -> None:
    facts = ImageMetadata(3, 4, "PNG", "RGBA", ("alpha", "icc"))
    assert ImageMetadata.from_json(facts.to_json()) == facts


def test_the_tally_warns_only_of_what_is_not_settled() -> None:
    tally = MetadataSummary()
    for mark in (("alpha",), ("alpha", "orientation"), ()):
        tally.add(ImageMetadata(3, 4, "PNG", "RGBA", mark))
    assert [code for code, _ in tally.warnings(DROP)] == ["alpha-dropped", "orientation-ignored"]
    assert "2 images" in tally.warnings(DROP)[0][1]
    assert "1 image with" in tally.warnings(DROP)[1][1]
    assert tally.warnings(Decoding(alpha="white", exif="apply")) == []
    assert tally.sizes == {(3, 4): 3}
    assert tally.formats == {"PNG": 3}


def test_every_extension_is_lower_case_and_documented() -> None:
    assert all(e == e.lower() and e.startswith(".") for e in EXTENSIONS)
    page = (Path(__file__).parents[2] / "docs" / "decoding.md").read_text()
    for extension in EXTENSIONS:
        assert f"`{extension}`" in page
