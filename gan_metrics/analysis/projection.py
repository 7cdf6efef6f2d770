"""A set of features in the plane: t-SNE or UMAP."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from gan_metrics.errors import ComputationError, UsageError, unknown_name
from gan_metrics.evaluation.compatibility import common_spec, declared_warnings
from gan_metrics.evaluation.extract import embed_all, settle
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.options import Options, check_options
from gan_metrics.inputs.sets import Input, Side, open_side
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning, unique

__all__ = ["COLORS", "METHODS", "FeatureMap", "feature_map", "lay_out"]

METHODS = ("tsne", "umap")
COLORS = ("set", "class")

_COMPONENTS = 50
"""Principal components that the methods are given; what they drop is mostly noise."""

_LEAST = 5


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Where each image lies in the plane. Distances between far points mean nothing.

    Attributes:
        points: ``float64``, ``n × 2``.
        names: Of the images.
        groups: What each is coloured by: ``"real"`` or ``"fake"``, or its class folder.
        sets: The set of each, as a position in :attr:`sources`.
        sources: The sets' images, where they are at hand.
        method: ``"tsne"`` or ``"umap"``.
        decoding: How the images are decoded.
        feature_spec: The feature space.
        seed: Of the method.
        warnings: Pairs of a code and a message.
    """

    points: npt.NDArray[np.float64]
    names: Sequence[str]
    groups: Sequence[str]
    sets: npt.NDArray[np.int64]
    sources: Sequence[ImageSource | None]
    method: str
    feature_spec: FeatureSpec
    seed: int = 0
    decoding: Decoding = field(default_factory=Decoding)
    warnings: Sequence[ResultWarning] = ()


def feature_map(
    real: Input,
    fake: Input | None = None,
    *,
    method: str = "tsne",
    color_by: str = "set",
    perplexity: float = 30.0,
    neighbors: int = 15,
    **options: Unpack[Options],
) -> FeatureMap:
    """Lay the features of one or two sets out in the plane.

    t-SNE is van der Maaten & Hinton (2008) as in scikit-learn (Barnes–Hut, from the principal
    components); UMAP is McInnes et al. (2018), arXiv 1802.03426, and needs the extra ``maps``.
    Both are given the first 50 principal components of the two sets together.

    Args:
        real: A folder of images, or saved features.
        fake: The same, or ``None``.
        method: ``"tsne"`` or ``"umap"``.
        color_by: ``"set"`` (real and fake), or ``"class"`` (the first folder of each name).
        perplexity: Of t-SNE, at least 1; at most a third of the images is used.
        neighbors: Of UMAP, at least 2.
        options: See :class:`Options`; ``seed`` is that of the method too.

    Raises:
        UsageError: For an unknown name, a number out of range, or a missing extra.
        MismatchError: When the sets are of different feature spaces.
        ComputationError: For fewer than 5 images.
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    check_options(options)
    for kind, value, known in (("method", method, METHODS), ("color-by", color_by, COLORS)):
        if value not in known:
            raise unknown_name(kind, value, known)
    if not (perplexity >= 1 and neighbors >= 2):
        raise UsageError(
            f"perplexity={perplexity!r}, neighbors={neighbors!r}: expected at least 1 and 2"
        )
    if method == "umap":
        require("umap", "maps")
    sides = [open_side(side, options) for side in (real, fake) if side is not None]
    choice = settle(sides, options)
    done = embed_all(sides, choice, options, moments=False)
    spec, declared = common_spec(done, choice, options)
    return lay_out(
        dict(zip(("real", "fake"), done, strict=False)),
        spec,
        Decoding() if choice is None else choice.decoding,
        method=method,
        color_by=color_by,
        perplexity=perplexity,
        neighbors=neighbors,
        seed=options.get("seed", 0),
        warnings=declared_warnings(declared),
    )


def lay_out(
    sides: Mapping[str, Side],
    spec: FeatureSpec,
    decoding: Decoding,
    *,
    method: str = "tsne",
    color_by: str = "set",
    perplexity: float = 30.0,
    neighbors: int = 15,
    seed: int = 0,
    most: int | None = None,
    warnings: Sequence[ResultWarning] = (),
) -> FeatureMap:
    """As :func:`feature_map`, for sets whose features are there already.

    Args:
        sides: Name of each set to it, embedded.
        spec: The feature space.
        decoding: How their images are decoded.
        method: As for :func:`feature_map`.
        color_by: The same.
        perplexity: The same.
        neighbors: The same.
        seed: Of the method.
        most: Images of each set that are taken at most, evenly over their order; ``None``: all.
        warnings: Of what has been done already.

    Raises:
        GanMetricsError: As for :func:`feature_map`.
    """
    done = list(sides.values())
    found = []
    for side in done:
        if side.features is None or side.features.array.ndim != 2:
            raise UsageError(f"{side.description}: a map needs images or features that are vectors")
        found.append(side.features)
    taken = [_evenly(len(f.array), most) for f in found]
    rows = np.concatenate(
        [np.asarray(f.array[part], np.float32) for f, part in zip(found, taken, strict=True)]
    )
    if len(rows) < _LEAST:
        raise ComputationError(f"a map of {len(rows)} images says nothing; give at least {_LEAST}")
    reduced = _leading_components(rows, seed)
    if method == "tsne":
        points = _tsne(reduced, perplexity, seed)
    else:
        points = _umap(reduced, neighbors, seed)
    names = [f.names[i] for f, part in zip(found, taken, strict=True) for i in part]
    labels = [label for label, part in zip(sides, taken, strict=True) for _ in part]
    if color_by == "class":
        labels = [name.partition("/")[0] if "/" in name else "no class" for name in names]
    return FeatureMap(
        points=points,
        names=names,
        groups=labels,
        sets=np.repeat(np.arange(len(found)), [len(part) for part in taken]),
        sources=[side.source for side in done],
        method=method,
        feature_spec=spec,
        seed=seed,
        decoding=decoding,
        warnings=unique([*(warning for side in done for warning in side.warnings), *warnings]),
    )


def _evenly(n: int, most: int | None) -> npt.NDArray[np.int64]:
    """At most so many of n places, evenly over them."""
    if most is None or n <= most:
        return np.arange(n)
    found: npt.NDArray[np.int64] = np.linspace(0, n - 1, most).round().astype(np.int64)
    return found


def _leading_components(rows: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    from sklearn.decomposition import PCA

    wide = rows.astype(np.float64)
    wide -= wide.mean(axis=0)
    largest = float(np.abs(wide).max(initial=0.0))
    if not largest > 1e-6 * float(np.abs(rows).max(initial=0.0)):
        raise ComputationError("all images have the same features; there is nothing to lay out")
    rows = (wide / largest).astype(np.float32)
    if rows.shape[1] < 2:
        return np.column_stack([rows, np.zeros_like(rows)])
    components = min(_COMPONENTS, *rows.shape)
    reduced: npt.NDArray[np.float32] = PCA(components, random_state=seed % 2**32).fit_transform(
        rows
    )
    return reduced


def _tsne(rows: npt.NDArray[np.float32], perplexity: float, seed: int) -> Any:
    from sklearn.manifold import TSNE

    method = TSNE(
        init="pca",
        learning_rate="auto",
        perplexity=min(perplexity, (len(rows) - 1) / 3),
        random_state=seed % 2**32,
        n_jobs=-1,
    )
    return method.fit_transform(rows).astype(np.float64)


def _umap(rows: npt.NDArray[np.float32], neighbors: int, seed: int) -> Any:
    umap = require("umap", "maps")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed costs its parallelism
        method = umap.UMAP(n_neighbors=min(neighbors, len(rows) - 1), random_state=seed % 2**32)
        return np.asarray(method.fit_transform(rows), np.float64)
