"""The demo: the Fréchet distance of three models of increasing quality, on real images, offline.

The images are scikit-learn's handwritten digits (1797 of 8×8 pixels; Alpaydin & Kaynak 1998, UCI),
enlarged to 32×32. The models are fitted to one half, which is also the real set; the other half is
the output of a perfect model, so its distance is the floor at this number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_metrics.api import fid
from gan_metrics.errors import UsageError
from gan_metrics.images.encode import enlarge, save_png, save_sheet
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.results.result import MetricResult

__all__ = ["MODELS", "DemoRow", "run_demo"]

Array = npt.NDArray[np.float64]

IMAGES = 600
"""Images per set."""

_MARK = ".gan-metrics-demo"
_ENLARGE = 4


def _independent_pixels(data: Array, n: int, rng: np.random.Generator) -> Array:
    """Draw every pixel from its own values, independently of its neighbors."""
    return np.stack([rng.choice(column, n) for column in data.T], axis=1)


def _pca_gaussian(data: Array, n: int, rng: np.random.Generator) -> Array:
    """Draw from one Gaussian in the span of the first 20 principal components."""
    from sklearn.decomposition import PCA

    pca = PCA(20, random_state=0).fit(data)
    codes = rng.standard_normal((n, 20)) * np.sqrt(pca.explained_variance_)
    drawn: Array = pca.inverse_transform(codes)
    return drawn


def _gaussian_mixture(data: Array, n: int, rng: np.random.Generator) -> Array:
    """Draw from thirty Gaussians in the span of the first 40 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    pca = PCA(40, random_state=0).fit(data)
    mixture = GaussianMixture(30, covariance_type="full", reg_covar=0.05, random_state=0)
    mixture.fit(pca.transform(data))
    drawn: Array = pca.inverse_transform(mixture.sample(n)[0])
    return drawn[rng.permutation(n)]


MODELS: dict[str, Callable[[Array, int, np.random.Generator], Array]] = {
    "independent-pixels": _independent_pixels,
    "pca-gaussian": _pca_gaussian,
    "gaussian-mixture": _gaussian_mixture,
}
"""Functions of (data ``N × 64`` in 0–16, count, generator) by folder name."""


@dataclass(frozen=True)
class DemoRow:
    """One line of the demo's table: a folder of images and its distance to the real ones."""

    name: str
    folder: Path
    result: MetricResult


@takes_options
def run_demo(folder: Path, *, options: Options) -> Iterator[DemoRow]:
    """Write the sets and the picture, then compare each set with the real one.

    Args:
        folder: Folder for the sets, one subfolder each, and ``samples.png``.
        options: As for :func:`gan_metrics.fid`; the backbone is the embedded one.

    Yields:
        A row for each set, the worst model first, the held-out real images last.

    Raises:
        UsageError: If the folder contains other files.
        ResourceError: If it cannot be written.
    """
    options = replace(options, backbone="efficientnet-lite0")
    sets = _draw_sets()
    if folder.exists() and (not folder.is_dir() or _holds_other_things(folder, set(sets))):
        raise UsageError(
            f"{folder} exists and contains other files; choose another folder with --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    for name, images in sets.items():
        for i, image in enumerate(images):
            save_png(folder / name / f"{i:04d}.png", image)
    rows = [(name, [(image, "") for image in images[:14]]) for name, images in sets.items()]
    save_sheet(folder / "samples.png", rows)
    for name in list(sets)[1:]:
        result = fid(folder / "real", folder / name, options=options)
        yield DemoRow(name, folder / name, result)


def _draw_sets() -> dict[str, list[npt.NDArray[np.uint8]]]:
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    digits = load_digits().data
    order = rng.permutation(len(digits))
    half = len(digits) // 2
    real, held_out = digits[order[:half]], digits[order[half:]]
    sets = {"real": real[:IMAGES]}
    for name, model in MODELS.items():
        sets[name] = model(real, IMAGES, rng)
    sets["held-out"] = held_out[:IMAGES]
    return {name: [_to_image(row) for row in rows] for name, rows in sets.items()}


def _to_image(row: Array) -> npt.NDArray[np.uint8]:
    """Convert 64 values to an image: rounded to 0–16 like the digits, then 32×32 pixels."""
    levels = np.clip(np.rint(row), 0, 16) * (255 / 16)
    return enlarge(np.rint(levels).astype(np.uint8).reshape(8, 8), _ENLARGE)


def _holds_other_things(folder: Path, names: set[str]) -> bool:
    if (folder / _MARK).exists():
        return any(
            len(list((folder / name).glob("[!.]*"))) > IMAGES
            for name in names
            if (folder / name).is_dir()
        )
    return any(folder.iterdir())
