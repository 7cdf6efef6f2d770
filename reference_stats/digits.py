"""Write the images that ``digits.npz`` is of: ``python reference_stats/digits.py FOLDER``.

They are scikit-learn's 1,797 handwritten digits (8 × 8 pixels, 0–16; Alpaydin and Kaynak, 1998),
spread over 0–255 and enlarged to 32 × 32 by Pillow's bicubic filter, as ``gan-metrics demo`` does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from gan_metrics.images.encode import enlarge, save_png


def write(folder: Path) -> None:
    """Write ``0000.png`` to ``1796.png``.

    Args:
        folder: Where to; made if it is not there.
    """
    for i, image in enumerate(load_digits().images):
        pixels = np.rint(image * (255 / 16)).astype(np.uint8)
        save_png(folder / f"{i:04d}.png", enlarge(pixels, 4))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python reference_stats/digits.py FOLDER")
    write(Path(sys.argv[1]))
