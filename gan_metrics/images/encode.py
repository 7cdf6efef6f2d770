"""From arrays to PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gan_metrics.downloads import atomic_path

__all__ = ["enlarge", "save_png", "save_rows"]


def save_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write an image.

    Args:
        path: Where to.
        pixels: ``uint8``, ``H × W`` or ``H × W × 3``.

    Raises:
        ResourceError: When it cannot be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def enlarge(pixels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """An image of ``H × W`` as one of ``factor·H × factor·W``, by Pillow's bicubic filter."""
    height, width = pixels.shape
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def save_rows(
    path: Path, rows: Sequence[tuple[str, Sequence[npt.NDArray[np.uint8]]]], *, gap: int = 4
) -> None:
    """Write a picture of labelled rows of images of one size.

    Args:
        path: Where to.
        rows: Pairs of a label and images, ``H × W``.
        gap: Pixels between images.

    Raises:
        ResourceError: When it cannot be written.
    """
    font = ImageFont.load_default(size=15)
    height, width = rows[0][1][0].shape
    most = max(len(images) for _, images in rows)
    margin = 12 + max(int(font.getlength(label)) for label, _ in rows) + 12
    canvas = Image.new(
        "L", (margin + most * (width + gap), gap + len(rows) * (height + gap)), color=255
    )
    draw = ImageDraw.Draw(canvas)
    for row, (label, images) in enumerate(rows):
        top = gap + row * (height + gap)
        draw.text((12, top + height / 2), label, fill=0, font=font, anchor="lm")
        for column, image in enumerate(images):
            canvas.paste(Image.fromarray(image), (margin + column * (width + gap), top))
    save_png(path, np.asarray(canvas))
