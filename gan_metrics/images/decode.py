"""Decode the bytes of a file to ``uint8`` RGB and its metadata, with Pillow.

How everything else than 8-bit RGB is handled (see ``docs/decoding.md``):

=================== =========================================================================
grayscale, bilevel  the value is repeated in three channels
palette             converted to RGB
alpha               see :class:`~gan_metrics.protocols.spec.Decoding`; ``drop`` uses stored colors
CMYK, YCbCr, HSV    converted by Pillow, without color management
12 or 16 bits       the highest 8 bits, so that 0–65535 becomes 0–255; nothing is clipped
32 bits, float      an error: the range is unknown
several frames      the first one
EXIF orientation    see :class:`~gan_metrics.protocols.spec.Decoding`
ICC profile         not applied, as in all compared tools
=================== =========================================================================
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import PIL
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from gan_metrics.errors import ImageError, UsageError
from gan_metrics.images.fast_decode import Plain, read_plain
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.protocols.spec import Decoding

__all__ = ["DECODER", "EXTENSIONS", "MAX_PIXELS", "decode"]

EXTENSIONS = frozenset(
    (
        *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
"""Lower-case extensions of image files."""

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused as decompression bombs."""

DECODER = " ".join(
    [f"pillow={PIL.__version__}"]
    + [f"{name}={features.version(name)}" for name in ("jpg", "libjpeg_turbo", "webp", "libtiff")]
)
"""The decoders and their versions; another version may give other pixels."""

_FEW_PIXELS = 1 << 13

# Formats that Pillow may use; EPS, for one, would start Ghostscript. JPEG includes MPO.
_FORMATS = tuple(
    plugin.format
    for plugin in (
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        PpmImagePlugin.PpmImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)

_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_PLAIN_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"} | _ALPHA_MODES


def decode(data: bytes, decoding: Decoding) -> tuple[npt.NDArray[np.uint8], ImageMetadata]:
    """Decode one image.

    Args:
        data: The bytes of the file.
        decoding: Handling of alpha and orientation.

    Returns:
        The pixels, ``uint8`` of shape ``3 × H × W``, RGB, 0–255, C-contiguous; and the metadata.

    Raises:
        ImageError: If the bytes are not an image of a known format, are truncated or broken, claim
            more than :data:`MAX_PIXELS` pixels, or have values of unknown range.
        UsageError: If this process has set Pillow to accept truncated images.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process, so broken images would be "
            "accepted; unset it"
        )
    plain = read_plain(data)
    if plain is not None and plain.metadata.width * plain.metadata.height <= MAX_PIXELS:
        pixels = _plain_pixels(plain)
        if pixels is not None:
            return pixels, plain.metadata
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(_bomb(f"{image.width}×{image.height} pixels, more than"))
            return _to_rgb(image, decoding)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"its bytes are not an image of a known format ({', '.join(_FORMATS)}); "
            f"they start with {data[:8]!r}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(_bomb("more than")) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on broken bytes
        raise ImageError(f"it cannot be decoded: {error or type(error).__name__}") from error


def _plain_pixels(plain: Plain) -> npt.NDArray[np.uint8] | None:
    """Return the pixels from the same C decoder, without parsing the file by Pillow."""
    metadata = plain.metadata
    size = metadata.width, metadata.height
    try:
        image = Image.frombytes(metadata.mode, size, plain.data, plain.decoder, *plain.arguments)
    except (ValueError, OSError):
        return None
    if metadata.width * metadata.height < _FEW_PIXELS:
        return _channels_first(image)
    bands = [image.tobytes("raw", band) for band in metadata.mode]  # three times as fast as NumPy
    planes = bytearray().join(bands if len(bands) == 3 else 3 * bands)
    return np.frombuffer(planes, np.uint8).reshape(3, metadata.height, metadata.width)


def _channels_first(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _bomb(claim: str) -> str:
    return f"it claims {claim} the allowed {MAX_PIXELS:,}; it may be a decompression bomb"


def _to_rgb(image: Image.Image, decoding: Decoding) -> tuple[npt.NDArray[np.uint8], ImageMetadata]:
    flags = []
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        flags.append("frames")
    depth = _depth(image)
    # Pillow rotates a TIFF while loading it. For a PNG it loads the pixels to find the EXIF block,
    # so errors in the pixels would be mistaken for a broken block.
    orientation = _orientation(image) if image.format == "TIFF" else None
    icc = image.info.get("icc_profile") or b""
    keyed = "transparency" in image.info
    width, height, mode, format_ = image.width, image.height, image.mode, image.format or "?"
    white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    image.load()
    if format_ != "TIFF":
        orientation = _orientation(image)
    if depth > 8:
        flags.append("sixteen-bit")
    if depth > 8 and image.mode.startswith("I"):  # in other modes Pillow keeps the high byte
        image = _high_byte(image, depth, white_is_zero=white_is_zero)
    elif image.mode not in _PLAIN_MODES:
        raise ImageError(
            f"its values are of mode {image.mode}, whose range is unknown; "
            "save it with 8 or 16 bits per channel"
        )
    if mode in ("CMYK", "YCbCr", "HSV"):
        flags.append("colour-space")
    if icc and b"sRGB" not in icc.replace(b"\0", b""):
        flags.append("icc")
    if depth > 8 and keyed:  # the color has 16 bits, the pixels 8
        if decoding.alpha != "drop":
            raise ImageError(
                "it marks one 16-bit color as transparent, which cannot be composited; "
                "save it with an alpha channel, or use --alpha drop"
            )
        flags.append("alpha")
    elif keyed or image.mode in _ALPHA_MODES:
        rgba = image.convert("RGBA")
        if np.asarray(rgba.getchannel("A")).min() < 255:
            flags.append("alpha")
            if decoding.alpha != "drop":
                image = Image.alpha_composite(Image.new("RGBA", rgba.size, decoding.alpha), rgba)
    if orientation is None:
        if decoding.exif == "apply":
            raise ImageError("its EXIF block is unreadable, so its orientation is unknown")
        flags.append("exif-broken")
    elif orientation in _UPRIGHT and format_ == "TIFF":  # Pillow rotated it while loading
        flags.append("orientation-applied")
    elif orientation in _UPRIGHT:
        flags.append("orientation")
        if decoding.exif == "apply":
            image = image.transpose(_UPRIGHT[orientation])
    return _channels_first(image), ImageMetadata(width, height, format_, mode, tuple(flags))


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that makes the stored pixels upright, by EXIF orientation; 1 is upright already."""


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; 1 if there is none, ``None`` if the block is broken."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels may still be good
        return None


def _depth(image: Image.Image) -> int:
    """Return the stored bits per channel, 8, 12 or 16, even if Pillow's mode is ``RGB``."""
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        if _SIGNED in np.atleast_1d(tags.get(_SAMPLE_FORMAT, 1)):
            raise ImageError("its values are signed, with unknown range; save it unsigned")
    for codec, *_, arguments in getattr(image, "tile", ()):
        first = arguments if isinstance(arguments, str | int) else (arguments or ("",))[0]
        if image.format == "PPM":
            if codec in ("ppm", "ppm_plain") and isinstance(arguments, tuple | int):
                largest = arguments if isinstance(arguments, int) else arguments[-1]
                if isinstance(largest, int) and largest > 255:
                    return 16
        elif image.format in ("PNG", "TIFF"):
            for depth in (12, 16):
                if f";{depth}" in str(first):
                    return depth
    return 16 if image.mode.startswith("I;16") or _is_pgm_beyond_8_bits(image) else 8


_SAMPLE_FORMAT, _SIGNED, _PHOTOMETRIC = 339, 2, 262


def _is_pgm_beyond_8_bits(image: Image.Image) -> bool:
    """Whether Pillow uses mode ``I`` for a PGM; before Pillow 11 also for a 16-bit PNG."""
    return image.mode == "I" and image.format in ("PNG", "PPM")


def _high_byte(image: Image.Image, depth: int, *, white_is_zero: bool) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << depth:
        raise ImageError(f"its values exceed the range of {depth} bits")
    if white_is_zero:  # Pillow inverts this only for 8 bits
        values = (1 << depth) - 1 - values
    return Image.fromarray((values >> (depth - 8)).astype(np.uint8))
