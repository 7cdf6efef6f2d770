from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops

import gan_metrics as gm
from gan_metrics.errors import ComputationError, InputError, MismatchError, UsageError
from gan_metrics.moments import Moments
from gan_metrics.specs import FeatureSpec
from gan_metrics.stats import Statistics
from gan_metrics.training import FID


def batch(n: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.stack(crops(n, seed, 48, 48))).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def metric() -> FID:
    return FID(backbone=LITE0, device="cpu")


def test_it_gives_what_the_features_give(metric: FID) -> None:
    metric.reset()
    real, fake = batch(10, 0), batch(8, 1)
    result = metric.update(real, real=True).update(fake[:3]).update(fake[3:]).compute()
    a, b = (metric.backbone(x).numpy() for x in (real, fake))
    assert float(result) == pytest.approx(gm.metrics.frechet_distance(a, b), rel=1e-4)
    assert (result.metric, result.n_real, result.n_fake) == ("fd", 10, 8)
    assert result.protocol == "imagenet"
    assert result.standard_error is not None
    metric.reset()
    with pytest.raises(ComputationError, match="no fake images yet"):
        metric.compute()


def test_against_a_reference(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    path = gm.compute_stats(folders[0], backbone=LITE0).save(tmp_path / "r.npz")
    metric = FID(reference=path, device="cpu")
    result = metric.update(batch(6, 1)).compute()
    assert result.n_real == 12
    assert result.feature_spec == gm.load_stats(path).spec
    assert "reference-fixed" in [code for code, _ in result.warnings]
    with pytest.raises(UsageError, match="takes fake images only"):
        metric.update(batch(2, 0), real=True)
    with pytest.raises(MismatchError, match="backbone"):
        FID(reference=path, backbone="inception", weights="random", device="cpu")


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_floats_in_a_declared_range(metric: FID, low: float) -> None:
    metric.reset()
    images = batch(4, 0)
    floats = FID(backbone=LITE0, device="cpu", value_range=(low, 1.0))
    floats.update(images / 255 * (1 - low) + low, real=True).update(
        batch(4, 1) / 255 * (1 - low) + low
    )
    exact = metric.update(images, real=True).update(batch(4, 1)).compute()
    assert float(floats.compute()) == pytest.approx(float(exact), rel=1e-6)
    with pytest.raises(InputError, match=r"and lie in -?\d"):
        floats.update(images.float())
    with pytest.raises(InputError, match="floating point"):
        floats.update(images)


def test_bad_input_is_named(metric: FID) -> None:
    with pytest.raises(InputError, match="value_range"):
        metric.update(batch(2, 0).float())
    with pytest.raises(InputError, match="uint8"):
        metric.update(batch(2, 0).int())
    with pytest.raises(UsageError, match="expected"):
        FID(backbone=LITE0, value_range=(0, 255))
    metric.reset()
    with pytest.raises(ComputationError, match="no real images yet"):
        metric.update(batch(2, 0)).compute()
    with pytest.raises(ComputationError, match="at least two"):
        metric.update(batch(1, 0), real=True).compute()
    with pytest.raises(TypeError):
        FID(backbone=LITE0, layre="192")
    with pytest.raises(TypeError):
        FID(backbone=LITE0, alpha="white")  # tensors have no decoding


def test_a_reference_never_chooses_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    moments = Moments.from_features(np.random.default_rng(0).normal(size=(9, 4)))
    path = Statistics(moments, FeatureSpec(backbone="evil_module:pwn")).save(tmp_path / "evil.npz")
    with pytest.raises(MismatchError, match="not built in"):
        FID(reference=path)
