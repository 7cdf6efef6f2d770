"""Read real images from a loader of a training: one pass, each image once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data.distributed import DistributedSampler

from gan_metrics.distributed import Comm
from gan_metrics.errors import InputError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources.samples import SampleReader
from gan_metrics.inputs.sets import Input
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.array_types import AnyArray

__all__ = ["Reference", "batches_of", "is_loader"]

Reference = Input | Iterable[Any]
"""Real images: a set in any form, or a loader of batches of images."""


def is_loader(given: object) -> bool:
    """Whether an object yields batches of images and is not itself a set of images."""
    sets = (str, os.PathLike, Statistics, Features, Generated, np.ndarray, torch.Tensor)
    if not isinstance(given, Iterable) or isinstance(given, sets):
        return False
    paths = isinstance(given, list | tuple) and given and isinstance(given[0], str | os.PathLike)
    return not paths


def batches_of(loader: Iterable[Any], comm: Comm, reader: SampleReader) -> Iterator[AnyArray]:
    """Yield the images of a loader on this rank, batch by batch.

    A ``DistributedSampler`` repeats some images so that every rank has equally many; repeated ones
    are left out.

    Args:
        loader: Yields batches; see :mod:`gan_metrics.images.sources.samples`.
        comm: The ranks that share the work.
        reader: Finds the images in a batch.

    Yields:
        Arrays or tensors, N × C × H × W, with unchanged values.

    Raises:
        UsageError: If several ranks work together, and the loader does not share the images.
        InputError: If a batch has no images, or there is no batch.
    """
    sampler = getattr(loader, "sampler", None)
    left = None
    if isinstance(sampler, DistributedSampler):
        if comm.size == 1 and sampler.num_replicas > 1:
            raise UsageError(
                f"the loader is for rank {sampler.rank} of {sampler.num_replicas}, but this "
                "process works alone: use a loader of all images"
            )
        left = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
    elif comm.size > 1:
        raise UsageError(
            f"{comm.size} ranks have one loader each, without a sampler that shares the images: "
            "use a DistributedSampler, or call update(images, real=True) yourself"
        )
    there = False
    for batch in loader:
        images = reader.batch(batch)
        there = True
        yield images if left is None else images[:left]
        left = None if left is None else max(0, left - len(images))
    if not there and comm.size == 1:
        raise InputError("the loader yields no batch; a second pass needs a loader that restarts")
