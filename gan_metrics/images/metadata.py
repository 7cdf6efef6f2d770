"""Metadata of image files, and the warnings that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.protocols.spec import Decoding

__all__ = ["ImageMetadata", "MetadataSummary"]


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of an image file.

    Attributes:
        width: Stored width in pixels (before any rotation).
        height: Stored height in pixels.
        format: Format such as ``"PNG"``, determined from the content.
        mode: Pillow's mode, such as ``"RGB"``.
        flags: Keys of :data:`_MESSAGES` that apply.
    """

    width: int
    height: int
    format: str
    mode: str
    flags: tuple[str, ...] = ()

    def to_json(self) -> list[Any]:
        """Return a compact list of plain JSON values."""
        return [self.width, self.height, self.format, self.mode, list(self.flags)]

    @classmethod
    def from_json(cls, data: Iterable[Any]) -> ImageMetadata:
        """Return the metadata of the result of :meth:`to_json`."""
        width, height, format_, mode, flags = data
        return cls(int(width), int(height), str(format_), str(mode), tuple(flags))


_MESSAGES = {
    "alpha": "{n} with transparent pixels, whose stored colors were used, as in the protocol's "
    "tool; use --alpha white or black to composite",
    "orientation": "{n} with an EXIF orientation that was ignored, as in the protocol's tool; use "
    "--exif apply to rotate them upright",
    "exif-broken": "{n} with an unreadable EXIF block, treated as upright",
    "orientation-applied": "{n} TIFF with an orientation tag, which Pillow applies while decoding",
    "sixteen-bit": "{n} with more than 8 bits per channel, reduced to the highest 8 bits",
    "frames": "{n} with several frames or pages, of which only the first was used",
    "colour-space": "{n} in CMYK, YCbCr or HSV, converted without color management",
    "icc": "{n} with a color profile other than sRGB, which was not applied",
}
_CODES = {"alpha": "alpha-dropped", "orientation": "orientation-ignored", "frames": "first-frame"}


@dataclass
class MetadataSummary:
    """Counts of the metadata of a set of images.

    Attributes:
        flags: Number of images for each flag of :class:`ImageMetadata`.
        formats: Number of images for each format.
        sizes: Number of images for each ``(width, height)``.
    """

    flags: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, metadata: ImageMetadata) -> None:
        """Count one image."""
        self.flags.update(metadata.flags)
        self.formats[metadata.format] += 1
        self.sizes[metadata.width, metadata.height] += 1

    def warnings(self, decoding: Decoding) -> list[tuple[str, str]]:
        """Return warnings about images that were not decoded exactly as stored."""
        handled = {"alpha": decoding.alpha != "drop", "orientation": decoding.exif == "apply"}
        return [
            (_CODES.get(flag, flag), text.format(n=_images(self.flags[flag])))
            for flag, text in _MESSAGES.items()
            if self.flags[flag] and not handled.get(flag, False)
        ]


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
