"""Search: for each image of one set, the images of another set with the nearest features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.text import as_text
from gan_metrics.utils.validation import whole_number
from gan_metrics.utils.versions import versions

__all__ = ["DISTANCES", "INDEXES", "SearchResult", "search"]

DISTANCES = ("cosine", "euclidean")
INDEXES = ("exact", "ivf", "hnsw")

_BLOCK = 2048
"""Queries that are searched at a time."""

_AT_ONCE = 64
"""Queries whose exact distances are computed at a time."""

_SPARE = 8
"""Additional neighbors from the index, so that exact distances can order them."""

_RECALL_QUERIES = 256

_Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """For each query, its nearest images in the gallery, nearest first.

    Attributes:
        query: Names of the queries.
        gallery: Names of the gallery's images.
        indices: ``int64``, ``n × k``: positions in ``gallery``; −1 if there are fewer than k.
        distances: ``float64``, ``n × k``, rising along each row; infinite if there are fewer.
        distance: ``"cosine"`` (1 − cos, 0 … 2) or ``"euclidean"``.
        index: ``"exact"``, ``"ivf"`` or ``"hnsw"``.
        recall: Share of the exact neighbors that the index found, for up to 256 queries; ``None``
            for the exact index.
        feature_spec: The feature space.
        same: Whether queries and gallery are one set; then an image is not its own neighbor.
        flag_below: Pairs closer than this are suspicious; ``None``: none.
        query_source: The queries' images, if available.
        gallery_source: The gallery's images, if available.
        decoding: How they are decoded.
        warnings: Pairs of a code and a message.
    """

    query: Sequence[str]
    gallery: Sequence[str]
    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    distance: str
    index: str
    recall: float | None
    feature_spec: FeatureSpec
    same: bool = False
    flag_below: float | None = None
    query_source: ImageSource | None = None
    gallery_source: ImageSource | None = None
    decoding: Decoding = field(default_factory=Decoding)
    warnings: Sequence[ResultWarning] = ()

    def of(self, query: int) -> list[tuple[str, float]]:
        """Return names and distances of the matches of one query."""
        row = zip(self.indices[query], self.distances[query], strict=True)
        return [(self.gallery[i], float(d)) for i, d in row if i >= 0]

    def flagged(self) -> list[tuple[str, str, float]]:
        """Return matches closer than :attr:`flag_below`: query, match, distance.

        Closest first; a pair of one set is listed once.
        """
        if self.flag_below is None:
            return []
        rows, columns = np.nonzero(self.distances < self.flag_below)
        found = {}
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            other = int(self.indices[row, column])
            pair = (other, row) if self.same and other < row else (row, other)
            found[pair] = float(self.distances[row, column])
        pairs = [(self.query[row], self.gallery[other], d) for (row, other), d in found.items()]
        return sorted(pairs, key=lambda pair: pair[2])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as printed by ``--json``."""
        return {
            "matches": [
                {
                    "query": name,
                    "nearest": [{"name": n, "distance": d} for n, d in self.of(i)],
                }
                for i, name in enumerate(self.query)
            ],
            "flagged": [{"query": q, "match": m, "distance": d} for q, m, d in self.flagged()],
            "flag_below": self.flag_below,
            "distance": self.distance,
            "index": self.index,
            "recall": self.recall,
            "n_query": len(self.query),
            "n_gallery": len(self.gallery),
            "feature_spec": self.feature_spec.to_json(),
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
            "versions": versions(),
        }


@takes_options
def search(
    query: Input,
    gallery: Input,
    *,
    top_k: int = 5,
    distance: str = "cosine",
    index: str = "exact",
    flag_below: float | None = None,
    options: Options,
) -> SearchResult:
    """Find the nearest images of another set for each image of a set.

    If both are the same set, an image is not its own neighbor. Needs FAISS, from the extra
    ``search``. Distances are computed again from the features in float64, so those of near copies
    are exact.

    Args:
        query: An image file, a folder of images, or saved features.
        gallery: A folder of images, or saved features.
        top_k: Number of matches for each query.
        distance: ``"cosine"`` (1 − cos, 0 … 2) or ``"euclidean"``.
        index: ``"exact"``; ``"ivf"`` (cells) or ``"hnsw"`` (a graph), which are faster on large
            galleries but miss some neighbors; their recall is measured.
        flag_below: Matches closer than this are listed as suspicious.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Raises:
        UsageError: For an unknown name, a number out of range, or a missing extra.
        MismatchError: If the two have different feature spaces.
        ComputationError: If the gallery contains only the query itself.
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    for kind, value, known in (("distance", distance, DISTANCES), ("index", index, INDEXES)):
        if value not in known:
            raise unknown_name(kind, value, known)
    top_k = whole_number("top_k", top_k, least=1)
    if flag_below is not None and not 0 < flag_below < math.inf:
        raise UsageError(f"flag_below={flag_below!r}: expected a finite distance above 0")
    require("faiss", "search")
    sets = [open_set(one, options, single=True) for one in (query, gallery)]
    space = choose_feature_space(sets, options)
    embedded = embed_in_one_space(sets, space, options, moments=False)
    spec, declared = common_space(embedded, space, options)
    asked, given = map(_vectors, embedded)
    same = _same_set(asked, given)
    if len(given.array) <= same:
        raise ComputationError(f"{given.description} contains only the query itself")
    k = min(top_k, len(given.array) - same)
    found = _Finder(given.array, distance, index)
    indices, distances = found.nearest(
        asked.array, k, np.arange(len(asked.array)) if same else None
    )
    recall = None
    if index != "exact":
        some = np.linspace(0, len(asked.array) - 1, min(len(asked.array), _RECALL_QUERIES))
        rows = np.unique(some.astype(int))
        exact, _ = _Finder(given.array, distance, "exact").nearest(
            asked.array[rows], k, rows if same else None
        )
        hits = [np.isin(e, i).mean() for e, i in zip(exact, indices[rows], strict=True)]
        recall = float(np.mean(hits))
    return SearchResult(
        query=asked.names,
        gallery=given.names,
        indices=indices,
        distances=distances,
        distance=distance,
        index=index,
        recall=recall,
        feature_spec=spec,
        same=same,
        flag_below=flag_below,
        query_source=asked.source,
        gallery_source=given.source,
        decoding=Decoding() if space is None else space.decoding,
        warnings=unique(
            [
                *(warning for one in embedded for warning in one.warnings),
                *declared_warnings(declared),
                *_more_below(distances, k, flag_below),
            ]
        ),
    )


def _more_below(distances: _Array, k: int, limit: float | None) -> list[ResultWarning]:
    """Return a warning if all matches of a query are suspicious, so that there may be more."""
    crowded = 0 if limit is None else int((distances[:, -1] < limit).sum())
    if not crowded:
        return []
    return [
        (
            "more-below",
            f"all {k} matches of {crowded} queries are closer than {limit:g}; there may be more: "
            "raise --top-k",
        )
    ]


def _vectors(given: EmbeddedSet) -> Features:
    if not isinstance(given, Features):
        raise UsageError(f"{given.description} holds statistics; a search needs features or images")
    if given.array.ndim != 2:
        raise UsageError(
            f"{given.description} has feature maps of shape {given.array.shape[1:]}, but a search "
            "needs vectors: choose another --pool"
        )
    return given


def _same_set(first: Features, second: Features) -> bool:
    if first is second:
        return True
    # Parquet stores names as valid text, so invalid names are compared in that form.
    if [*map(as_text, first.names)] != [*map(as_text, second.names)]:
        return False
    if first.digest and second.digest:
        return first.digest == second.digest
    return np.array_equal(first.array, second.array)


class _Finder:
    """An index over the rows of an array."""

    def __init__(self, rows: _Array, distance: str, index: str) -> None:
        faiss: Any = require("faiss", "search")
        self._rows, self._distance = rows, distance
        n, dim = rows.shape
        self._centre, self._scale = np.zeros(dim), 1.0
        if distance == "euclidean":  # so that float32 represents differences well
            self._centre = sum(
                rows[i : i + _BLOCK].sum(axis=0, dtype=np.float64) for i in range(0, n, _BLOCK)
            ) / n  # fmt: skip
            self._scale = max(
                float(np.abs(rows[i : i + _BLOCK] - self._centre).max())
                for i in range(0, n, _BLOCK)
            ) or 1.0  # fmt: skip
        if index == "exact":
            self._index = faiss.IndexFlatL2(dim)
        elif index == "hnsw":
            self._index = faiss.IndexHNSWFlat(dim, 32)
            self._index.hnsw.efSearch = 128
        else:
            cells = max(1, min(round(4 * math.sqrt(n)), n // 39 or 1))
            self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, cells)
            self._index.cp.min_points_per_centroid = 1  # no warning on stderr
            self._index.nprobe = max(1, cells // 16)
            chosen = np.random.default_rng(0).choice(n, min(n, 256 * cells), replace=False)
            self._index.train(self._coarse(rows[np.sort(chosen)]))
        for start in range(0, n, _BLOCK):
            self._index.add(self._coarse(rows[start : start + _BLOCK]))

    def nearest(
        self, queries: _Array, k: int, own: npt.NDArray[np.int64] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the ``k`` nearest rows of each query; ``own``: the queries' own rows."""
        parts = list(self._blocks(queries, k, own))
        return (
            np.concatenate([indices for indices, _ in parts]),
            np.concatenate([distances for _, distances in parts]),
        )

    def _blocks(
        self, queries: _Array, k: int, own: npt.NDArray[np.int64] | None
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        wanted = min(k + _SPARE + (own is not None), len(self._rows))
        for start in range(0, len(queries), _BLOCK):
            block = queries[start : start + _BLOCK]
            _, found = self._index.search(self._coarse(block), wanted)
            distances = self._exact(block, found)
            if own is not None:
                distances[found == own[start : start + len(block), None]] = np.inf
            order = np.argsort(distances, axis=1, kind="stable")[:, :k]
            distances = np.take_along_axis(distances, order, axis=1)
            indices = np.take_along_axis(found, order, axis=1)
            yield np.where(np.isinf(distances), -1, indices), distances

    def _exact(self, queries: _Array, found: _Array) -> npt.NDArray[np.float64]:
        """Return distances to the found rows, in float64; infinite for missing ones."""
        out = np.empty(found.shape)
        for start in range(0, len(queries), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            others = self._scaled(self._rows[np.maximum(found[some], 0)])
            differences = others - self._scaled(queries[some])[:, None]
            squared = np.einsum("nkd,nkd->nk", differences, differences)
            # Of unit vectors, |a − b|² = 2 (1 − cos).
            out[some] = squared / 2 if self._distance == "cosine" else np.sqrt(squared)
        return np.where(found < 0, np.inf, out)

    def _coarse(self, rows: _Array) -> npt.NDArray[np.float32]:
        """Return the rows for the index."""
        return np.ascontiguousarray((self._scaled(rows) - self._centre) / self._scale, np.float32)

    def _scaled(self, rows: _Array) -> npt.NDArray[np.float64]:
        """Return the rows in float64; normalized to length one for cosine."""
        wide = np.asarray(rows, np.float64)
        if self._distance == "euclidean":
            return wide
        norms = np.linalg.norm(wide, axis=-1, keepdims=True)
        if not norms.all():
            raise ComputationError("a feature vector is zero, so it has no cosine; use euclidean")
        unit: npt.NDArray[np.float64] = wide / norms
        return unit
