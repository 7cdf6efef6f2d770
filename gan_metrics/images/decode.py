"""From the bytes of a file to ``uint8`` RGB, and the facts about it. Only here is Pillow touched.

What is done, on purpose, with what does not fit into 8-bit RGB (see ``docs/decoding.md``):

=================== =========================================================================
grayscale, bilevel  the value three times
palette             looked up
alpha               as :class:`~gan_metrics.specs.Decoding` says; ``drop`` keeps the colours
CMYK, YCbCr, HSV    converted by Pillow, without colour management
12 or 16 bits       the highest 8, so that 0–65535 becomes 0–255; nothing is clipped
32 bits, float      refused: the range is unknown
several frames      the first one
EXIF orientation    as :class:`~gan_metrics.specs.Decoding` says
ICC profile         not applied, as in every peer
=================== =========================================================================
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from gan_metrics.errors import ImageError
from gan_metrics.specs import Decoding

__all__ = ["EXTENSIONS", "MAX_PIXELS", "Facts", "Tally", "decode"]

EXTENSIONS = frozenset(
    (
        *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
"""Lower-case file name extensions that are taken for images."""

MAX_PIXELS = 178_956_970
"""An image that claims more than this is refused as a decompression bomb."""

# What Pillow may choose among; EPS, for one, would start Ghostscript. JPEG brings MPO with it.
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


@dataclass(frozen=True)
class Facts:
    """What a file was before it became an array.

    Attributes:
        width: In pixels, as stored (before any turning).
        height: In pixels, as stored.
        format: Such as ``"PNG"``, from the content and not from the name.
        mode: Pillow's mode, such as ``"RGB"``.
        flags: Keys of :data:`_MESSAGES` that hold.
    """

    width: int
    height: int
    format: str
    mode: str
    flags: tuple[str, ...] = ()

    def to_json(self) -> list[Any]:
        """A compact list of plain JSON values."""
        return [self.width, self.height, self.format, self.mode, list(self.flags)]

    @classmethod
    def from_json(cls, data: Iterable[Any]) -> Facts:
        """The inverse of :meth:`to_json`."""
        width, height, format_, mode, flags = data
        return cls(int(width), int(height), str(format_), str(mode), tuple(flags))


def decode(data: bytes, decoding: Decoding) -> tuple[npt.NDArray[np.uint8], Facts]:
    """Decode one image.

    Args:
        data: The bytes of the file.
        decoding: What to do with alpha and orientation.

    Returns:
        The pixels, ``uint8`` of shape ``3 × H × W``, RGB, 0–255, C-contiguous; and the facts.

    Raises:
        ImageError: When the bytes are no image of a known format, are truncated or broken, claim
            more than :data:`MAX_PIXELS` pixels, or hold values of unknown range.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process, so a broken image would "
            "pass for a whole one; unset it"
        )
    try:
        with warnings.catch_warnings():
            # The bound is checked below; Pillow's other warnings are about metadata.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"it claims {image.width}×{image.height} pixels, more than the "
                        f"{MAX_PIXELS:,} that are accepted: a decompression bomb?"
                    )
                return _to_rgb(image, decoding)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"its bytes are no image of a known format ({', '.join(_FORMATS)}); "
            f"they start with {data[:8]!r}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"it claims more than the {MAX_PIXELS:,} pixels that are accepted: "
            "a decompression bomb?"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on broken bytes
        raise ImageError(f"it cannot be decoded: {error or type(error).__name__}") from error


def _to_rgb(image: Image.Image, decoding: Decoding) -> tuple[npt.NDArray[np.uint8], Facts]:
    flags = []
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        flags.append("frames")
    depth = _depth(image)
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    icc = image.info.get("icc_profile") or b""
    width, height, mode, format_ = image.width, image.height, image.mode, image.format or "?"
    image.load()
    # Pillow turns a TIFF upright while it loads; what was stored cannot be had then.
    turned_by_pillow = image.format == "TIFF" and orientation not in (0, 1)
    if depth > 8:
        flags.append("sixteen-bit")
    if depth > 8 and image.mode.startswith("I"):  # elsewhere Pillow keeps the high byte by itself
        image = _high_byte(image, depth)
    elif image.mode not in _PLAIN_MODES:
        raise ImageError(
            f"its values are of mode {image.mode}, whose range is unknown; "
            "save it with 8 or 16 bits per channel"
        )
    if mode in ("CMYK", "YCbCr", "HSV"):
        flags.append("colour-space")
    if icc and b"sRGB" not in icc.replace(b"\0", b""):
        flags.append("icc")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if np.asarray(rgba.getchannel("A")).min() < 255:
            flags.append("alpha")
            if decoding.alpha != "drop":
                image = Image.alpha_composite(Image.new("RGBA", rgba.size, decoding.alpha), rgba)
    if turned_by_pillow:
        flags.append("orientation-applied")
    elif orientation in range(2, 9):
        flags.append("orientation")
        if decoding.exif == "apply":
            ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    facts = Facts(width, height, format_, mode, tuple(flags))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), facts


def _depth(image: Image.Image) -> int:
    """Bits per channel as stored, also where Pillow calls the image ``RGB``: 8, 12 or 16."""
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 16  # Pillow's mode for PGM beyond 8 bits, and for 16-bit PNG before Pillow 11
    for *_, arguments in getattr(image, "tile", ()):
        rawmode = str(arguments if isinstance(arguments, str) else (arguments or ("",))[0])
        for depth in (12, 16):
            if f";{depth}" in rawmode:
                return depth
    return 16 if image.mode.startswith("I;16") else 8


def _high_byte(image: Image.Image, depth: int) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << depth:
        raise ImageError(f"its values leave the range of {depth} bits")
    return Image.fromarray((values >> (depth - 8)).astype(np.uint8))


_MESSAGES = {
    "alpha": "{n} with transparent pixels, of which the stored colours were kept, as the "
    "protocol's tool does; --alpha white|black composites",
    "orientation": "{n} with an EXIF orientation that was ignored, as the protocol's tool does; "
    "--exif apply turns them upright",
    "orientation-applied": "{n} TIFF with an orientation tag, which Pillow applies while decoding",
    "sixteen-bit": "{n} with more than 8 bits per channel, scaled to 8 (the highest ones)",
    "frames": "{n} with several frames or pages, of which the first was taken",
    "colour-space": "{n} in CMYK, YCbCr or HSV, converted without colour management",
    "icc": "{n} with a colour profile other than sRGB, which was not applied",
}
_CODES = {"alpha": "alpha-dropped", "orientation": "orientation-ignored", "frames": "first-frame"}


@dataclass
class Tally:
    """Counts of the facts about a set of images.

    Attributes:
        flags: How many images each flag of :class:`Facts` holds for.
        formats: How many images there are of each format.
        sizes: How many images there are of each ``(width, height)``.
    """

    flags: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, facts: Facts) -> None:
        """Count one image."""
        self.flags.update(facts.flags)
        self.formats[facts.format] += 1
        self.sizes[facts.width, facts.height] += 1

    def warnings(self, decoding: Decoding) -> list[tuple[str, str]]:
        """Pairs of a code and a message for all that a reader of the number should know."""
        settled = {"alpha": decoding.alpha != "drop", "orientation": decoding.exif == "apply"}
        return [
            (_CODES.get(flag, flag), text.format(n=_images(self.flags[flag])))
            for flag, text in _MESSAGES.items()
            if self.flags[flag] and not settled.get(flag, False)
        ]


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
