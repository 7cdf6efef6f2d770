"""A loader of a training as the real side: one pass, and each image counted once."""

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
"""The real side: a set of images or what is known of one, or a loader of batches of images."""


def is_loader(given: object) -> bool:
    """Whether something gives batches of images, and is no set of images by itself."""
    sets = (str, os.PathLike, Statistics, Features, Generated, np.ndarray, torch.Tensor)
    if not isinstance(given, Iterable) or isinstance(given, sets):
        return False
    paths = isinstance(given, list | tuple) and given and isinstance(given[0], str | os.PathLike)
    return not paths


def batches_of(loader: Iterable[Any], comm: Comm, reader: SampleReader) -> Iterator[AnyArray]:
    """The images of a loader, batch by batch, on this rank.

    A ``DistributedSampler`` repeats some images so that every rank has as many; these are left out.

    Args:
        loader: Gives batches; see :mod:`gan_metrics.images.sources.samples`.
        comm: The ranks that share the work.
        reader: Finds the images in them.

    Yields:
        Arrays or tensors, N × C × H × W, their values as they are.

    Raises:
        UsageError: When several ranks work together, and nothing shares the images among them.
        InputError: When a batch has no images, or there is none.
    """
    sampler = getattr(loader, "sampler", None)
    left = None
    if isinstance(sampler, DistributedSampler):
        if comm.size == 1 and sampler.num_replicas > 1:
            raise UsageError(
                f"the loader gives rank {sampler.rank} of {sampler.num_replicas} its share, and "
                "this process works alone: give it a loader of all images"
            )
        left = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
    elif comm.size > 1:
        raise UsageError(
            f"{comm.size} ranks are given a loader each, and it does not say how they share the "
            "images: give it a DistributedSampler, or feed update(images, real=True) yourself"
        )
    there = False
    for batch in loader:
        images = reader.batch(batch)
        there = True
        yield images if left is None else images[:left]
        left = None if left is None else max(0, left - len(images))
    if not there and comm.size == 1:
        raise InputError("the loader gives no batch; a second pass needs one that begins anew")
