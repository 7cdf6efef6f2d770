"""Project features to two dimensions with t-SNE or UMAP."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, UsageError, unknown_name
from gan_metrics.evaluation.compatibility import common_space, declared_warnings
from gan_metrics.evaluation.extract import choose_feature_space, embed_in_one_space
from gan_metrics.features.features import Features
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import EmbeddedSet, Input
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.array_types import AnyArray
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning, unique

__all__ = ["COLORS", "METHODS", "FeatureMap", "feature_map", "project_features"]

METHODS = ("tsne", "umap")
COLORS = ("set", "class")

_COMPONENTS = 50
"""Number of principal components that the methods receive; the rest is mostly noise."""

_LEAST = 5


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Two-dimensional coordinates of images. Large distances mean nothing.

    Attributes:
        points: ``float64``, ``n × 2``.
        names: Names of the images.
        groups: Group of each image for coloring: ``"real"`` or ``"fake"``, or its class folder.
        sets: Set of each image, as a position in :attr:`sources`.
        sources: The sets' images, if available.
        method: ``"tsne"`` or ``"umap"``.
        decoding: How the images are decoded.
        feature_spec: The feature space.
        seed: Seed of the method.
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


@takes_options
def feature_map(
    real: Input,
    fake: Input | None = None,
    *,
    method: str = "tsne",
    color_by: str = "set",
    perplexity: float = 30.0,
    neighbors: int = 15,
    options: Options,
) -> FeatureMap:
    """Project the features of one or two sets to two dimensions.

    t-SNE is van der Maaten & Hinton (2008) in scikit-learn's implementation (Barnes–Hut,
    initialized from principal components); UMAP is McInnes et al. (2018), arXiv 1802.03426, and
    needs the extra ``maps``. Both receive the first 50 principal components of the two sets
    together.

    Args:
        real: A folder of images, or saved features.
        fake: A second set in the same forms, or ``None``.
        method: ``"tsne"`` or ``"umap"``.
        color_by: ``"set"`` (real and generated), or ``"class"`` (the first folder of each name).
        perplexity: Perplexity of t-SNE, at least 1; limited to a third of the number of images.
        neighbors: Number of neighbors of UMAP, at least 2.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`; ``seed`` is also the
            method's seed.

    Raises:
        UsageError: For an unknown name, a number out of range, or a missing extra.
        MismatchError: If the sets have different feature spaces.
        ComputationError: For fewer than 5 images.
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    for kind, value, known in (("method", method, METHODS), ("color-by", color_by, COLORS)):
        if value not in known:
            raise unknown_name(kind, value, known)
    if not (perplexity >= 1 and neighbors >= 2):
        raise UsageError(
            f"perplexity={perplexity!r}, neighbors={neighbors!r}: expected at least 1 and 2"
        )
    if method == "umap":
        require("umap", "maps")
    sets = [open_set(one, options) for one in (real, fake) if one is not None]
    space = choose_feature_space(sets, options)
    embedded = embed_in_one_space(sets, space, options, moments=False)
    spec, declared = common_space(embedded, space, options)
    return project_features(
        dict(zip(("real", "fake"), embedded, strict=False)),
        spec,
        Decoding() if space is None else space.decoding,
        method=method,
        color_by=color_by,
        perplexity=perplexity,
        neighbors=neighbors,
        seed=options.seed_or_default,
        warnings=declared_warnings(declared),
    )


def project_features(
    sets: Mapping[str, EmbeddedSet],
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
    """Do the same as :func:`feature_map`, for sets that are embedded already.

    Args:
        sets: Features by name of the set.
        spec: The feature space.
        decoding: How their images are decoded.
        method: As for :func:`feature_map`.
        color_by: As for :func:`feature_map`.
        perplexity: As for :func:`feature_map`.
        neighbors: As for :func:`feature_map`.
        seed: Seed of the method.
        most: Largest number of images of each set, evenly over their order; ``None``: all.
        warnings: Earlier warnings.

    Raises:
        GanMetricsError: As for :func:`feature_map`.
    """
    found = []
    for one in sets.values():
        if not isinstance(one, Features) or one.array.ndim != 2:
            raise UsageError(f"{one.description}: a map needs images, or features that are vectors")
        found.append(one)
    taken = [_evenly(len(f.array), most) for f in found]
    rows = np.concatenate(
        [np.asarray(f.array[part], np.float32) for f, part in zip(found, taken, strict=True)]
    )
    if len(rows) < _LEAST:
        raise ComputationError(f"a map of {len(rows)} images is meaningless; use at least {_LEAST}")
    reduced = _leading_components(rows, seed)
    if method == "tsne":
        points = _tsne(reduced, perplexity, seed)
    else:
        points = _umap(reduced, neighbors, seed)
    names = [f.names[i] for f, part in zip(found, taken, strict=True) for i in part]
    labels = [label for label, part in zip(sets, taken, strict=True) for _ in part]
    if color_by == "class":
        labels = [name.partition("/")[0] if "/" in name else "no class" for name in names]
    return FeatureMap(
        points=points,
        names=names,
        groups=labels,
        sets=np.repeat(np.arange(len(found)), [len(part) for part in taken]),
        sources=[one.source for one in found],
        method=method,
        feature_spec=spec,
        seed=seed,
        decoding=decoding,
        warnings=unique([*(warning for one in found for warning in one.warnings), *warnings]),
    )


def _evenly(n: int, most: int | None) -> npt.NDArray[np.int64]:
    """Return at most ``most`` of n positions, evenly spaced."""
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
        raise ComputationError("all images have the same features, so a map cannot be drawn")
    rows = (wide / largest).astype(np.float32)
    if rows.shape[1] < 2:
        return np.column_stack([rows, np.zeros_like(rows)])
    components = min(_COMPONENTS, *rows.shape)
    reduced: npt.NDArray[np.float32] = PCA(components, random_state=seed % 2**32).fit_transform(
        rows
    )
    return reduced


def _tsne(rows: npt.NDArray[np.float32], perplexity: float, seed: int) -> AnyArray:
    from sklearn.manifold import TSNE

    method = TSNE(
        init="pca",
        learning_rate="auto",
        perplexity=min(perplexity, (len(rows) - 1) / 3),
        random_state=seed % 2**32,
        n_jobs=-1,
    )
    return method.fit_transform(rows).astype(np.float64)


def _umap(rows: npt.NDArray[np.float32], neighbors: int, seed: int) -> AnyArray:
    umap = require("umap", "maps")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed turns off its parallelism
        method = umap.UMAP(n_neighbors=min(neighbors, len(rows) - 1), random_state=seed % 2**32)
        return np.asarray(method.fit_transform(rows), np.float64)
