"""What files were before they became arrays, and what a reader of the number should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.protocols.spec import Decoding

__all__ = ["ImageMetadata", "MetadataSummary"]


@dataclass(frozen=True)
class ImageMetadata:
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
    def from_json(cls, data: Iterable[Any]) -> ImageMetadata:
        """The inverse of :meth:`to_json`."""
        width, height, format_, mode, flags = data
        return cls(int(width), int(height), str(format_), str(mode), tuple(flags))


_MESSAGES = {
    "alpha": "{n} with transparent pixels, of which the stored colours were kept, as the "
    "protocol's tool does; --alpha white|black composites",
    "orientation": "{n} with an EXIF orientation that was ignored, as the protocol's tool does; "
    "--exif apply turns them upright",
    "exif-broken": "{n} with an EXIF block that cannot be read, taken as upright",
    "orientation-applied": "{n} TIFF with an orientation tag, which Pillow applies while decoding",
    "sixteen-bit": "{n} with more than 8 bits per channel, scaled to 8 (the highest ones)",
    "frames": "{n} with several frames or pages, of which the first was taken",
    "colour-space": "{n} in CMYK, YCbCr or HSV, converted without colour management",
    "icc": "{n} with a colour profile other than sRGB, which was not applied",
}
_CODES = {"alpha": "alpha-dropped", "orientation": "orientation-ignored", "frames": "first-frame"}


@dataclass
class MetadataSummary:
    """Counts of the metadata about a set of images.

    Attributes:
        flags: How many images each flag of :class:`ImageMetadata` holds for.
        formats: How many images there are of each format.
        sizes: How many images there are of each ``(width, height)``.
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
        """Pairs of a code and a message for all that a reader of the number should know."""
        settled = {"alpha": decoding.alpha != "drop", "orientation": decoding.exif == "apply"}
        return [
            (_CODES.get(flag, flag), text.format(n=_images(self.flags[flag])))
            for flag, text in _MESSAGES.items()
            if self.flags[flag] and not settled.get(flag, False)
        ]


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
