"""Embed images in several feature spaces with one pass of each network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gan_metrics.backbones.network import Backbone, pick_device

if TYPE_CHECKING:
    import torch

    from gan_metrics.backbones.recipe import FeatureSpace
    from gan_metrics.protocols.spec import FeatureSpec

__all__ = ["Embedder"]


class Embedder:
    """Embeds images in several spaces; spaces of one network share its pass.

    A network is built when it is first needed.

    Args:
        device: Device, as for :class:`~gan_metrics.backbones.network.Backbone`.
        engine: Engine, as for :class:`~gan_metrics.backbones.network.Backbone`.

    Raises:
        GanMetricsError: As for :class:`~gan_metrics.backbones.network.Backbone`.
    """

    def __init__(self, device: str | torch.device = "auto", engine: str = "local") -> None:
        self._wanted, self._engine = device, engine
        self.device = pick_device(device)
        self._networks: dict[FeatureSpec, Backbone] = {}
        self._most: int | None = None

    @property
    def most(self) -> int | None:
        """Largest batch that fits into the device's memory, once a batch did not fit."""
        return self._most

    def embed(
        self, groups: Sequence[torch.Tensor], wanted: Sequence[FeatureSpace]
    ) -> list[torch.Tensor]:
        """Return the features of images of several sizes.

        If the device lacks memory for a batch, its halves are computed one after the other, and so
        are all later batches.

        Args:
            groups: ``uint8``, ``N × 3 × H × W``, one tensor for each size.
            wanted: The feature spaces.

        Returns:
            For each space, ``float32`` features, ``N × D``, on the device.

        Raises:
            torch.OutOfMemoryError: If a single image does not fit.
        """
        import torch

        n = sum(map(len, groups))
        if self._most is None or n <= self._most:
            try:
                return self._pass(groups, wanted)
            except torch.OutOfMemoryError:
                if n < 2:
                    raise
                self._most = n // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        halves = [self.embed(half, wanted) for half in _halves(groups, n - n // 2)]
        return [torch.cat(parts) for parts in zip(*halves, strict=True)]

    def _pass(
        self, groups: Sequence[torch.Tensor], wanted: Sequence[FeatureSpace]
    ) -> list[torch.Tensor]:
        together: dict[FeatureSpec, list[int]] = {}
        for i, space in enumerate(wanted):
            together.setdefault(_network_of(space), []).append(i)
        found: dict[int, torch.Tensor] = {}
        for mine in together.values():
            network = self.network(wanted[mine[0]])
            features = network.read(groups, [wanted[i] for i in mine])
            found.update(zip(mine, features, strict=True))
        return [found[i] for i in range(len(wanted))]

    def network(self, space: FeatureSpace) -> Backbone:
        """Return the network of a space, built when it is first needed."""
        key = _network_of(space)
        if key not in self._networks:
            self._networks[key] = Backbone(space, self._wanted, self._engine)
        return self._networks[key]


def _network_of(space: FeatureSpace) -> FeatureSpec:
    """Return the part of a spec that is equal for all spaces of one network and preprocessing."""
    return replace(space.spec, layer=None, pool=None)


def _halves(groups: Sequence[torch.Tensor], first: int) -> list[list[torch.Tensor]]:
    """Split the images after the first ``first`` ones."""
    found: list[list[torch.Tensor]] = [[], []]
    for group in groups:
        for half, part in zip(found, (group[:first], group[first:]), strict=True):
            if len(part):
                half.append(part)
        first = max(0, first - len(group))
    return found
