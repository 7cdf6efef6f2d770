"""The entry of a metric in the registry. Does not import NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PIXEL_INPUTS", "Check", "Command", "Metric", "Option"]

PIXEL_INPUTS = ("images", "generator")
"""Needs of the metrics that take images or a generator, not features."""

Check = Callable[[str, Any], Any]
"""Checks an argument: takes its name and value, raises :class:`~gan_metrics.errors.UsageError`."""


@dataclass(frozen=True)
class Metric:
    """The entry of a metric.

    Attributes:
        name: As in ``--metrics`` and in results.
        summary: One line for the listing.
        function: The function, or ``"module:function"``, which is imported at its first use. It
            takes the sets (real before generated), ``seed``, ``error_bar`` and the arguments of
            the metric, and returns an :class:`~gan_metrics.metrics.estimate.Estimate` or a number.
            For :data:`PIXEL_INPUTS` it takes one
            :class:`~gan_metrics.evaluation.image_metrics.ImageMetricInput`.
        source: The paper.
        needs: The kind of features: ``"features"``, ``"logits"``, ``"spatial"``, ``"clip"`` or
            ``"dinov2"``; or one of :data:`PIXEL_INPUTS`.
        n_sets: 2: real and generated images; 1: generated images only.
        accepts_statistics: Which sets may be given as mean and covariance: ``""``, ``"real"`` or
            ``"both"``. The function also takes ``moments``, those of both sets.
        batched: Whether the function takes a list of names and computes all metrics that name it
            in one call.
        shares_bandwidth: Whether the function takes a bandwidth ``sigma``. If there are real
            images, theirs is used for all generators, so that the values can be compared.
        needs_held_out: Whether it takes a third set: real images that were not used in training.
        needs_covariance: Whether the function also takes the covariances of both sets.
        arguments: Keyword arguments of the function to their checks.
        bounds: The lowest and the highest possible value; ``None``: unbounded.
        better: ``"lower"``, ``"higher"``, or ``"zero"``: closer to 0.
        name_in_other_spaces: The name in other feature spaces than the one that gives the metric
            its name (``fd`` for ``fid``); empty: the same name.
        error_bar: How the standard error is computed, and how accurate it is.
        label: The short name in a sentence; by default the name with spaces.
        label_in_other_spaces: The short name of ``name_in_other_spaces``.
        long_name: The full name in a sentence; by default the label.
        long_name_in_other_spaces: The full name of ``name_in_other_spaces``.
        cite: What to cite: keys of ``results/citations.bib``, or BibTeX entries.
        settings: Names of details of the result that are settings of the metric.
        states_divisor: Whether the methods text states the divisor of the covariances.
        counts: Whether the value counts images, so that it changes in steps of 1/n.
        network: The kind of LPIPS that the metric takes by default; empty: it takes none.
    """

    name: str
    summary: str
    function: str | Callable[..., Any]
    source: str
    needs: str = "features"
    n_sets: int = 2
    accepts_statistics: str = ""
    arguments: Mapping[str, Check] = field(default_factory=dict, hash=False)
    bounds: tuple[float | None, float | None] = (None, None)
    better: str = "lower"
    name_in_other_spaces: str = ""
    error_bar: str = ""
    batched: bool = False
    shares_bandwidth: bool = False
    needs_held_out: bool = False
    needs_covariance: bool = False
    label: str = ""
    label_in_other_spaces: str = ""
    long_name: str = ""
    long_name_in_other_spaces: str = ""
    cite: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    states_divisor: bool = False
    counts: bool = False
    network: str = ""

    @property
    def covariances(self) -> bool:
        """Whether the metric uses covariances, which need more images than dimensions."""
        return bool(self.accepts_statistics) or self.needs_covariance

    def label_of(self, name: str) -> str:
        """The short name of a result in a sentence.

        Args:
            name: What the result is called: the metric's name, or ``name_in_other_spaces``.
        """
        label = self.label if name == self.name else self.label_in_other_spaces
        return label or name.replace("_", " ")

    def long_name_of(self, name: str) -> str:
        """The full name of a result in a sentence; see :meth:`label_of`."""
        long_name = self.long_name if name == self.name else self.long_name_in_other_spaces
        return long_name or self.label_of(name)


@dataclass(frozen=True)
class Option:
    """An argument of a metric as an option of its command.

    Attributes:
        name: Name of the argument.
        kind: The type of its value.
        help: One sentence.
        default: Default; ``None``: the default of the function.
        min: The lowest value.
        max: The highest value.
        metavar: Placeholder of the value in the help.
        show_default: Whether the help shows the default.
        always: Whether the argument is passed to the metric even if it has its default.
    """

    name: str
    kind: type
    help: str
    default: Any = None
    min: int | None = None
    max: int | None = None
    metavar: str | None = None
    show_default: bool = False
    always: bool = False


@dataclass(frozen=True)
class Command:
    """A command that computes one metric or one family of metrics.

    Attributes:
        metric: Name of the metric or of the family.
        help: The text of ``--help``; its first line is the summary.
        options: Those arguments that are options.
        missing: Error message if the other sets that the metrics need are missing.
    """

    metric: str
    help: str
    options: tuple[Option, ...] = ()
    missing: str = ""
