"""Scores of single images: influence, realism, rarity, nearest real image, near copies."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import GanMetricsError, InputError, UsageError
from gan_metrics.evaluation.compute import FeatureSets, with_set_names
from gan_metrics.features.features import Features
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.metrics.frechet import frechet_terms
from gan_metrics.metrics.per_sample import Pointwise, pointwise
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning
from gan_metrics.utils.text import as_text, printable

__all__ = ["COLUMNS", "PerImage", "check_table", "measure_per_image"]

COLUMNS = (
    "name",
    "influence",
    "realism",
    "rarity",
    "nearest_real",
    "nearest_distance",
    "authentic",
)
"""Columns of the table."""

_TABLES = (".csv", ".parquet")
_ROWS = 1 << 16


@dataclass(frozen=True, eq=False)
class PerImage:
    """Scores of each generated image, and coverage of each real image.

    Attributes:
        names: Names of the generated images.
        real_names: Names of the real images; empty if they are given as mean and covariance.
        influence: Influence of each generated image on the Fréchet distance: without the image the
            distance is lower by about ``influence / n``.
        points: Distances to images of the other set; ``None`` if the real images are given as mean
            and covariance.
        feature_spec: The feature space.
        warnings: Pairs of a code and a message.
    """

    names: Sequence[str]
    real_names: Sequence[str]
    influence: npt.NDArray[np.float64]
    points: Pointwise | None
    feature_spec: FeatureSpec
    warnings: Sequence[ResultWarning] = ()

    def __len__(self) -> int:
        return len(self.names)

    def row(self, index: int) -> dict[str, Any]:
        """Return the values of one generated image by :data:`COLUMNS`; missing ones are ``None``.

        ``realism`` is infinite for a copy; ``rarity`` is ``None`` outside of all real balls.
        """
        found: dict[str, Any] = dict.fromkeys(COLUMNS)
        found["name"], found["influence"] = self.names[index], float(self.influence[index])
        if (points := self.points) is not None:
            rarity = float(points.rarity[index])
            found["realism"] = float(points.realism[index])
            found["rarity"] = None if math.isnan(rarity) else rarity
            found["nearest_real"] = self.real_names[int(points.nearest[index])]
            found["nearest_distance"] = float(points.distance[index])
            found["authentic"] = bool(points.authentic[index])
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the values of every generated image, in order."""
        return (self.row(i) for i in range(len(self)))

    def worst(self, count: int) -> list[dict[str, Any]]:
        """Return the generated images that raise the distance most, the worst first."""
        order = np.argsort(-self.influence, kind="stable")[:count]
        return [self.row(int(i)) for i in order]

    def best(self, count: int) -> list[dict[str, Any]]:
        """Return the generated images that lower the distance most."""
        order = np.argsort(self.influence, kind="stable")[:count]
        return [self.row(int(i)) for i in order]

    def uncovered(self) -> list[dict[str, Any]]:
        """Return the real images without a generated image in their ball (radius of k = 5).

        Returns:
            ``name``, ``reach``: distance of the nearest generated image divided by the radius of
            the ball, and ``nearest_fake``; the farthest first.
        """
        if (points := self.points) is None:
            return []
        lost = np.flatnonzero(points.reach >= 1)
        lost = lost[np.argsort(-points.reach[lost], kind="stable")]
        return [
            {
                "name": self.real_names[int(i)],
                "reach": float(points.reach[i]),
                "nearest_fake": self.names[int(points.nearest_fake[i])],
            }
            for i in lost
        ]

    def near_copies(self) -> list[dict[str, Any]]:
        """Return the generated images that are near copies, with their originals, closest first.

        A near copy is much closer to its nearest real image than that image is to its own nearest
        neighbor: below 0.5 to 0.8 of that distance, as :meth:`Pointwise.near_copies` decides.

        Returns:
            ``name``, ``original``, ``distance`` and ``closeness``, the ratio.
        """
        if (points := self.points) is None:
            return []
        return [
            {
                "name": self.names[int(i)],
                "original": self.real_names[int(points.nearest[i])],
                "distance": float(points.distance[i]),
                "closeness": float(points.closeness[i]),
            }
            for i in points.near_copies()
        ]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table.

        Args:
            path: ``….csv`` or ``….parquet``. In a CSV, missing values are empty, and infinite ones
                ``inf``.

        Raises:
            UsageError: For another extension, or without the extra ``formats``.
            ResourceError: If it cannot be written.
        """
        path = check_table(path)
        with atomic_path(path) as temporary:
            if path.suffix.lower() == ".csv":
                with open(temporary, "w", encoding="utf-8", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    writer.writeheader()
                    writer.writerows(map(_plain, self.rows()))
            else:
                self._save_parquet(temporary)
        return path

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return the best and the worst images as JSON values; infinite realism is ``"inf"``."""
        worst, best = self.worst(top), self.best(top)
        return {
            "raise_most": [_finite(row) for row in worst],
            "lower_most": [_finite(row) for row in best],
            "uncovered": [_finite(row) for row in self.uncovered()],
            "near_copies": [_finite(row) for row in self.near_copies()],
        }

    def to_text(self, top: int = 0) -> str:
        """Return the best, worst and uncovered images and the near copies as text."""
        lines = []
        for title, rows in (
            ("raise the distance most", self.worst(top)),
            ("lower the distance most", self.best(top)),
        ):
            lines += [f"generated images that {title}", *(f"  {_format_row(row)}" for row in rows)]
        if self.points is None:
            return "\n".join(lines)
        lost, copies = self.uncovered(), self.near_copies()
        lines.append(f"real images that are not covered: {len(lost)} of {len(self.real_names)}")
        lines += [
            f"  {printable(row['name'])}  nearest generated image {printable(row['nearest_fake'])} "
            f"at {row['reach']:.3g} times the radius"
            for row in lost[:top]
        ]
        lines.append(f"near copies: {len(copies)} of {len(self)}")
        lines += [
            f"  {printable(row['name'])}  of {printable(row['original'])}, closeness "
            f"{row['closeness']:.3g}"
            for row in copies[:top]
        ]
        return "\n".join(lines)

    def _save_parquet(self, path: Path) -> None:
        pa, parquet = require("pyarrow", "formats"), require("pyarrow.parquet", "formats")
        kinds = [pa.string(), *[pa.float64()] * 3, pa.string(), pa.float64(), pa.bool_()]
        schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        with parquet.ParquetWriter(os.fspath(path), schema) as writer:
            for start in range(0, len(self), _ROWS):
                rows = [self.row(i) for i in range(start, min(start + _ROWS, len(self)))]
                for row in rows:
                    row["name"] = as_text(row["name"])
                    row["nearest_real"] = row["nearest_real"] and as_text(row["nearest_real"])
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def measure_per_image(sets: FeatureSets, *, k: int = 3) -> PerImage:
    """Compute the scores of each image of two embedded sets.

    Args:
        sets: Real and generated images in one feature space; the generated ones as features.
        k: Number of the neighbor that gives the radius of realism and rarity.

    Raises:
        InputError: If there are no real images, or the generated ones are given as moments.
        ComputationError: If there are at most k real images, or fewer than two generated ones.
    """
    real, fake = sets.real, sets.fake
    if real is None:
        raise InputError("scores of single images need real images, but none are given")
    if not isinstance(fake, Features):
        raise InputError(
            f"only the moments of {fake.description} are known; give images or features"
        )
    reals = real.moments if real.array is None else real.array
    try:
        terms = frechet_terms(
            reals, fake.array, moments_a=real.moments, moments_b=fake.moments, error_bar=True
        )
        points = None if real.array is None else pointwise(real.array, fake.array, k=k)
    except GanMetricsError as error:
        raise with_set_names(error, sets.compared) from error
    assert terms.influence_b is not None  # noqa: S101
    warnings: list[ResultWarning] = []
    if points is None:
        warnings.append(
            (
                "reference-has-no-images",
                f"{real.description} is given as mean and covariance, so single images have only "
                "their influence, and no values that need neighbors",
            )
        )
    return PerImage(
        names=fake.names,
        real_names=real.names if isinstance(real, Features) else (),
        influence=terms.influence_b,
        points=points,
        feature_spec=fake.spec,
        warnings=warnings,
    )


def check_table(path: str | os.PathLike[str]) -> Path:
    """Refuse a path for the table that cannot be written, before any work starts.

    Raises:
        UsageError: For another extension, a folder, or a missing extra.
    """
    path = Path(path)
    if path.suffix.lower() not in _TABLES:
        raise UsageError(f"{path}: a table of images must end in {' or '.join(_TABLES)}")
    check_target(path)
    if path.suffix.lower() == ".parquet":
        require("pyarrow.parquet", "formats")
    return path


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with text values for a CSV."""
    texts = {key: as_text(value) for key, value in row.items() if isinstance(value, str)}
    flags = {k: "true" if value else "false" for k, value in row.items() if isinstance(value, bool)}
    return {**row, **texts, **flags}


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: "inf" if value == math.inf else value for key, value in row.items()}


def _format_row(row: dict[str, Any]) -> str:
    parts = [f"{printable(row['name'])}  influence {row['influence']:+.4g}"]
    if row["realism"] is not None:
        rarity = "outside" if row["rarity"] is None else f"{row['rarity']:.3g}"
        parts.append(f"realism {row['realism']:.3g}, rarity {rarity}")
        parts.append(f"nearest {printable(row['nearest_real'])} at {row['nearest_distance']:.4g}")
    return ", ".join(parts)
