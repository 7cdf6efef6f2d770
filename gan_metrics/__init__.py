"""Evaluate image generators: FID and 27 other metrics, with error bars and provenance.

>>> import gan_metrics as gm
>>> list(gm.PROTOCOLS)[:3]
['pytorch-fid', 'tf1', 'stylegan3']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_metrics import metrics, training
    from gan_metrics.analysis.attribution import attribute
    from gan_metrics.analysis.comparison import Comparison, compare
    from gan_metrics.analysis.inspection import Inspection, inspect_images
    from gan_metrics.analysis.nearest_images import search
    from gan_metrics.analysis.projection import feature_map
    from gan_metrics.analysis.reproduction import Reproduction, reproduce
    from gan_metrics.api import (
        compute_stats,
        evaluate,
        extract_features,
        fid,
        merge_stats,
    )
    from gan_metrics.backbones.registry import BACKBONES, load_backbone
    from gan_metrics.errors import (
        ComputationError,
        GanMetricsError,
        ImageError,
        InputError,
        MismatchError,
        NotFoundError,
        ResourceError,
        UsageError,
        WeightsError,
    )
    from gan_metrics.features.features import Features
    from gan_metrics.features.files import load_features, save_features
    from gan_metrics.generators.generated import Generated
    from gan_metrics.metrics.moments import Moments
    from gan_metrics.metrics.registry import METRICS
    from gan_metrics.protocols.spec import FeatureSpec, Preprocess
    from gan_metrics.protocols.table import PROTOCOLS
    from gan_metrics.reports.data import Report, report
    from gan_metrics.reports.html_report import save_report
    from gan_metrics.results.result import EvaluationResult, MetricResult
    from gan_metrics.stats.files import load_stats
    from gan_metrics.stats.statistics import Statistics

__version__ = "0.1.0"

__all__ = [
    "BACKBONES",
    "METRICS",
    "PROTOCOLS",
    "Comparison",
    "ComputationError",
    "EvaluationResult",
    "FeatureSpec",
    "Features",
    "GanMetricsError",
    "Generated",
    "ImageError",
    "InputError",
    "Inspection",
    "MetricResult",
    "MismatchError",
    "Moments",
    "NotFoundError",
    "Preprocess",
    "Report",
    "Reproduction",
    "ResourceError",
    "Statistics",
    "UsageError",
    "WeightsError",
    "attribute",
    "compare",
    "compute_stats",
    "evaluate",
    "extract_features",
    "feature_map",
    "fid",
    "inspect_images",
    "load_backbone",
    "load_features",
    "load_stats",
    "merge_stats",
    "metrics",
    "report",
    "reproduce",
    "save_features",
    "save_report",
    "search",
    "training",
]

_HOMES = {
    "gan_metrics.analysis.attribution": ("attribute",),
    "gan_metrics.analysis.comparison": ("Comparison", "compare"),
    "gan_metrics.backbones.registry": ("BACKBONES", "load_backbone"),
    "gan_metrics.errors": (
        "ComputationError",
        "GanMetricsError",
        "ImageError",
        "InputError",
        "MismatchError",
        "NotFoundError",
        "ResourceError",
        "UsageError",
        "WeightsError",
    ),
    "gan_metrics.api": (
        "compute_stats",
        "evaluate",
        "extract_features",
        "fid",
        "merge_stats",
    ),
    "gan_metrics.features.files": ("load_features", "save_features"),
    "gan_metrics.features.features": ("Features",),
    "gan_metrics.reports.data": ("Report", "report"),
    "gan_metrics.generators.generated": ("Generated",),
    "gan_metrics.analysis.inspection": ("Inspection", "inspect_images"),
    "gan_metrics.analysis.projection": ("feature_map",),
    "gan_metrics.analysis.nearest_images": ("search",),
    "gan_metrics.metrics.moments": ("Moments",),
    "gan_metrics.protocols.table": ("PROTOCOLS",),
    "gan_metrics.metrics.registry": ("METRICS",),
    "gan_metrics.reports.html_report": ("save_report",),
    "gan_metrics.analysis.reproduction": ("Reproduction", "reproduce"),
    "gan_metrics.results.result": ("EvaluationResult", "MetricResult"),
    "gan_metrics.protocols.spec": ("FeatureSpec", "Preprocess"),
    "gan_metrics.stats.files": ("load_stats",),
    "gan_metrics.stats.statistics": ("Statistics",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that ``import gan_metrics`` costs nothing."""
    if name in ("metrics", "training"):
        return importlib.import_module(f"gan_metrics.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gan_metrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
