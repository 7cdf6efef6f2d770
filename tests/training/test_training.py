from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import crops, write_folder
from toys import Colours, Painter, of_colours

import gan_metrics as gm
from gan_metrics.errors import ComputationError, InputError, MismatchError, UsageError
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics
from gan_metrics.training import FID, KID, FrechetLoss, InceptionScore, Metrics, PrecisionRecall

pytestmark = pytest.mark.usefixtures("coarse_lite0")


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
    with pytest.raises(UsageError, match="update only generated images"):
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
    with pytest.raises(InputError, match=r"use value_range=\(0, 255\)"):
        floats.update(images.float())
    mixed = floats.reset().update(images, real=True)  # uint8 is 0–255 whatever is declared
    assert float(mixed.update(batch(4, 1)).compute()) == float(exact)


def test_bad_input_is_named(metric: FID) -> None:
    with pytest.raises(InputError, match="value_range"):
        metric.update(batch(2, 0).float())
    with pytest.raises(InputError, match="uint8"):
        metric.update(batch(2, 0).int())
    with pytest.raises(UsageError, match="expected"):
        FID(backbone=LITE0, value_range=(255, 0))
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


def scored(real: torch.Tensor, fake: torch.Tensor, tmp_path: Path, metrics: list[str]) -> Any:
    """The same images as batches in files."""
    paths = []
    for name, images in (("real", real), ("fake", fake)):
        paths.append(tmp_path / f"{name}.npy")
        np.save(paths[-1], images.permute(0, 2, 3, 1).numpy())
    return gm.evaluate(*paths, metrics=metrics, backbone=LITE0, arguments=SPLITS)


SPLITS = {"is": {"splits": 2}}
SEVERAL = ["fid", "kid", "is", "prdc", "vendi"]


def test_several_metrics_share_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_metrics.backbones.network import Backbone

    passes = []
    read = Backbone.read
    monkeypatch.setattr(
        Backbone, "read", lambda self, *a: passes.append(len(a[1])) or read(self, *a)
    )
    metrics = Metrics(SEVERAL, backbone=LITE0, device="cpu", arguments=SPLITS)
    real, fake = batch(14, 0), batch(12, 1)
    for part in real.split(5):
        metrics.update(part, real=True)
    for part in fake.split(7):
        metrics.update(part)
    assert passes == [2] * 5  # pool and logits from one pass of each batch
    found, expected = metrics.compute(), scored(real, fake, tmp_path, SEVERAL)
    assert list(found) == list(expected)
    for name, result in found.items():
        assert float(result) == pytest.approx(float(expected[name]), rel=1e-5, abs=1e-7), name
        assert result.standard_error == pytest.approx(expected[name].standard_error, rel=1e-3)
        assert result.metric == expected[name].metric
        assert result.feature_spec == expected[name].feature_spec


@pytest.mark.parametrize(
    ("kind", "name"), [(KID, "kid"), (InceptionScore, "is"), (PrecisionRecall, "recall")]
)
def test_each_kind(kind: Any, name: str, tmp_path: Path) -> None:
    metric = kind(backbone=LITE0, device="cpu", **({"arguments": SPLITS} if name == "is" else {}))
    real, fake = batch(14, 0), batch(12, 1)
    if name != "is":
        metric.update(real, real=True)
    found = metric.update(fake).compute()
    expected = scored(real, fake, tmp_path, [name])[name]
    result = found[name] if name == "recall" else found
    assert float(result) == pytest.approx(float(expected), rel=1e-5, abs=1e-7)
    assert set(found) == {"precision", "recall"} if name == "recall" else True


def test_merged_saved_and_moved() -> None:
    real, fake = batch(10, 0), batch(9, 1)
    whole = Metrics(["fid", "is"], backbone=LITE0, device="cpu", arguments=SPLITS)
    parts = [Metrics(["fid", "is"], backbone=LITE0, device="cpu", arguments=SPLITS) for _ in "ab"]
    whole.update(real, real=True).update(fake)
    parts[0].update(real[:4], real=True).update(fake[:2])
    parts[1].update(real[4:], real=True).update(fake[2:])
    expected = {name: float(result) for name, result in whole.compute().items()}
    merged = parts[0].merge(parts[1]).compute()
    assert {n: pytest.approx(float(r), rel=1e-6) for n, r in merged.items()} == expected
    state = whole.state_dict()
    again = Metrics(["fid", "is"], backbone=LITE0, device="cpu", arguments=SPLITS)
    again.update(batch(3, 5))  # which the state takes the place of
    assert {n: float(r) for n, r in again.load_state_dict(state).compute().items()} == expected
    assert again.to("cpu").update(fake[:1]).compute()["fid"].n_fake == 10
    empty = FID(backbone=LITE0, device="cpu")
    assert empty.load_state_dict(FID(backbone=LITE0, device="cpu").state_dict()).reset() is empty
    with pytest.raises(MismatchError, match="has the spaces"):
        empty.merge(whole)
    with pytest.raises(InputError, match="result of state_dict"):
        empty.load_state_dict({"real": 3})
    with pytest.raises(UsageError, match="device"):
        empty.to("cuda:7")


def test_the_real_side_is_kept_if_so_wished() -> None:
    metric = FID(backbone=LITE0, device="cpu")
    one = metric.update(batch(9, 0), real=True).update(batch(8, 1)).compute()
    again = metric.reset(keep_real=True).update(batch(8, 1)).compute()
    assert float(again) == pytest.approx(float(one), rel=1e-6)
    other = metric.reset(keep_real=True).update(batch(8, 2)).compute()
    assert float(other) != pytest.approx(float(one), rel=1e-3)
    assert metric.reset().update(batch(8, 1)) is metric
    with pytest.raises(ComputationError, match="no real images yet"):
        metric.compute()


def test_references_of_every_kind(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    folder, fake = folders[0], batch(9, 3)
    features = gm.extract_features(folder, backbone=LITE0)
    asked: dict[str, Any] = {"backbone": LITE0, "device": "cpu"}
    values = [
        float(Metrics(["fid", "kid"], reference, **asked).update(fake).compute()["kid"])
        for reference in (folder, features)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert FID("ref:digits", device="cpu").update(fake).compute().n_real == 1797
    with pytest.raises(InputError, match=r"kid cannot be computed.*only the moments"):
        KID(gm.compute_stats(folder, backbone=LITE0), **asked)
    with pytest.raises(InputError, match="does not exist"):
        FID(tmp_path / "none.npz", **asked)


def test_what_is_not_fed_batch_by_batch() -> None:
    for name in ("ppl", "lpips_diversity", "ct", "fld"):
        with pytest.raises(UsageError, match=f"{name} cannot be updated in batches"):
            Metrics([name], backbone=LITE0, device="cpu")
    with pytest.raises(UsageError, match="unknown metric"):
        Metrics(["fyd"], backbone=LITE0, device="cpu")
    with pytest.raises(UsageError, match="maps of shape"):
        FID(backbone=LITE0, layer="conv_head", pool="none", device="cpu").update(batch(2, 0))


def test_a_bad_batch_leaves_nothing_behind() -> None:
    class Fragile(torch.nn.Module):
        preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 1 / (images.mean((2, 3)) > 0).float() * images.mean((2, 3))

    metric = FID(backbone=Fragile(), device="cpu")
    metric.update(batch(5, 0), real=True).update(batch(5, 1))
    before = float(metric.compute())
    with pytest.raises(ComputationError, match="NaN or infinity"):
        metric.update(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert float(metric.compute()) == before


def test_a_reference_s_factor_is_computed_once(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_metrics.metrics import gaussian_transport

    made = []
    own = gaussian_transport._cholesky
    monkeypatch.setattr(gaussian_transport, "_cholesky", lambda cov: made.append(1) or own(cov))
    reference = gm.compute_stats(folders[0], backbone=LITE0)
    metric = FID(reference, device="cpu")
    values = [float(metric.update(batch(4, seed)).compute()) for seed in range(3)]
    assert len(made) == 1
    assert len(set(values)) == 3


def test_the_loss_lowers_the_distance_of_a_toy_generator() -> None:
    network, reals = Colours(), of_colours(300)
    backbone = gm.load_backbone(network, device="cpu")
    reference = gm.Features([str(i) for i in range(300)], backbone(reals).numpy(), backbone.spec)
    loss = FrechetLoss(reference, queue=100, backbone=network, device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        painter = Painter()
        step = torch.optim.Adam(painter.parameters(), 0.02)
        values = []
        for _ in range(150):
            value = loss(painter(torch.randn(32, 3)))
            step.zero_grad()
            value.backward()
            step.step()
            values.append(value.item())
    assert loss.held == 100  # batches of 32 do not divide it
    assert np.mean(values[-10:]) < 0.05 * values[0]
    assert painter.shift.abs().max() < 0.2
    assert painter.scale.abs().mean().item() == pytest.approx(40 / 127.5, rel=0.3)


def test_the_loss_has_the_gradient_of_its_batch() -> None:
    network, reals = Colours(), of_colours(50)
    loss = FrechetLoss(
        gm.Statistics(
            gm.Moments.from_features(gm.load_backbone(network, device="cpu")(reals)),
            gm.load_backbone(network).spec,
        ),
        queue=10, backbone=network, device="cpu",
    )  # fmt: skip
    earlier, now = (torch.rand(n, 3, 16, 16) * 2 - 1 for n in (10, 6))
    with torch.no_grad():
        loss(earlier)
    free = now.clone().requires_grad_()
    loss(free).backward()
    assert free.grad is not None
    direction = free.grad / free.grad.norm()
    ends = []
    for sign in (1, -1):
        loss.reset()
        with torch.no_grad():
            loss(earlier)
            ends.append(float(loss(now + sign * 0.05 * direction)))
    assert (ends[0] - ends[1]) / 0.1 == pytest.approx(float(free.grad.norm()), rel=1e-3)


def test_what_a_loss_refuses(folders: tuple[Path, Path]) -> None:
    loss = FrechetLoss(gm.compute_stats(folders[0], backbone=LITE0), device="cpu", queue=3)
    with pytest.raises(InputError, match="floating-point"):
        loss(batch(2, 0))
    with pytest.raises(InputError, match="NaN"):
        loss(torch.full((2, 3, 32, 32), torch.nan))
    with pytest.raises(ComputationError, match="at least two"):
        loss(torch.zeros(1, 3, 32, 32))
    for how in ({"queue": -1}, {"value_range": (255, 0)}):
        with pytest.raises(UsageError, match=next(iter(how))):
            FrechetLoss(folders[0], backbone=LITE0, device="cpu", **how)


def test_devices_by_any_name_and_pickled(folders: tuple[Path, Path]) -> None:
    values = set()
    for device in ("cpu", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)):
        metric = FID(backbone=LITE0, device=device).update(batch(5, 0), real=True)
        values.add(float(metric.update(batch(4, 1)).compute()))
        assert metric.device == torch.device("cpu")
    assert len(values) == 1
    assert float(gm.fid(*folders, backbone=LITE0, device=torch.device("cpu"))) > 0
    again = pickle.loads(pickle.dumps(metric))  # as for processes that are begun anew
    assert float(again.compute()) in values


def test_a_loader_is_the_real_side() -> None:
    images = batch(9, 0)
    labels = torch.arange(9)
    fake = batch(7, 1)
    expected = FID(backbone=LITE0, device="cpu").update(images, real=True).update(fake).compute()
    data = torch.utils.data.TensorDataset(images, labels)
    loaders: list[Any] = [
        torch.utils.data.DataLoader(data, 4),
        [images[:4], images[4:]],
        ({"image": part, "label": 0} for part in (images[:5], images[5:])),
    ]
    for loader in loaders:
        metric = FID(loader, backbone=LITE0, device="cpu")
        result = metric.update(fake).compute()
        assert float(result) == pytest.approx(float(expected), rel=1e-6)
        assert (result.n_real, result.n_fake) == (9, 7)
        assert float(metric.reset().update(fake).compute()) == result.value
    with pytest.raises(UsageError, match="update only generated images"):
        metric.update(images, real=True)
    with pytest.raises(InputError, match="that restarts"):
        FID(loaders[2], backbone=LITE0, device="cpu")  # used up
    with pytest.raises(InputError, match="mapping of picture"):
        FID([{"picture": images}], backbone=LITE0, device="cpu")
    with pytest.raises(InputError, match="of type int"):
        FID([3], backbone=LITE0, device="cpu")
    shared = torch.utils.data.DataLoader(
        data, 4, sampler=torch.utils.data.DistributedSampler(data, num_replicas=3, rank=1)
    )
    with pytest.raises(UsageError, match="rank 1 of 3"):
        FID(shared, backbone=LITE0, device="cpu")


def test_training_objects_keep_the_seed_of_the_protocol(tmp_path: Path) -> None:
    """tf1 draws KID's subsets and deals IS's images with its own seed, 2020."""
    same: dict[str, Any] = {
        "protocol": "tf1",
        "weights": "random",
        "arguments": {"kid": {"subset_size": 4, "subsets": 3}, "is": {"splits": 2}},
    }
    sets = [crops(7, seed, 48, 48) for seed in (1, 2)]
    folders = [write_folder(tmp_path / str(i), images) for i, images in enumerate(sets)]
    metrics = Metrics("kid,is", device="cpu", **same)
    metrics.update(batch(7, 1), real=True).update(batch(7, 2))
    found = metrics.compute()
    expected = gm.evaluate(*folders, metrics="kid,is", **same)
    other = gm.evaluate(*folders, metrics="kid,is", seed=0, **same)
    for name in ("kid", "is"):
        gap = abs(other[name].value - expected[name].value)
        assert gap > 0
        assert abs(found[name].value - expected[name].value) < 1e-3 * gap
