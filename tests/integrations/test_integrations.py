"""Trainers and loggers of others, each run for real."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torchmetrics
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset
from toys import Colours, Painter, of_colours

import gan_metrics as gm
from gan_metrics.errors import UsageError
from gan_metrics.integrations.ignite import GanMetricsHandler
from gan_metrics.integrations.lightning import GanMetricsCallback
from gan_metrics.integrations.loggers import TensorBoardLog, WandbLog, scalars
from gan_metrics.integrations.torchmetrics import TorchMetric
from gan_metrics.training import FID, Evaluator, FrechetLoss, Metrics

COLOURS = Colours()
OWN: dict[str, Any] = {
    "backbone": COLOURS, "device": "cpu", "n_fake": 60, "latent": 3, "value_range": (-1, 1)
}  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> gm.Features:
    backbone = gm.load_backbone(COLOURS, device="cpu")
    features = backbone(of_colours(80)).numpy()
    return gm.Features([str(i) for i in range(80)], features, backbone.spec)


def loss_of(reference: gm.Features) -> FrechetLoss:
    return FrechetLoss(reference, queue=64, backbone=COLOURS, device="cpu")


class Gan(pl.LightningModule):
    """A generator that learns from the distance itself."""

    def __init__(self, reference: gm.Features) -> None:
        super().__init__()
        self.generator = Painter()
        self._loss = loss_of(reference)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self._loss(self.generator(batch[0]))

    def validation_step(self, batch: Any, index: int) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.generator.parameters(), 0.05)


def latents(n: int = 128) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(n, 3, generator=generator)), 16)


def fit(module: pl.LightningModule, callbacks: list[Any], place: Path, **options: Any) -> Any:
    settings = {"max_epochs": 3, "num_sanity_val_steps": 1, "enable_checkpointing": True, **options}
    validation = settings.pop("validation", True)
    logger = pl.loggers.CSVLogger(place, name="", version="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu", logger=logger, callbacks=callbacks, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False, **settings,
        )  # fmt: skip
        trainer.fit(module, latents(), latents(16) if validation else None)
    return trainer


def logged(place: Path, name: str) -> list[float]:
    lines = (place / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index(name)
    return [float(cell) for line in lines[1:] if (cell := line.split(",")[column])]


def test_lightning_logs_after_each_validation(reference: gm.Features, tmp_path: Path) -> None:
    best = tmp_path / "best.ckpt"
    callback = GanMetricsCallback(reference, ["fid", "vendi"], checkpoint=best, **OWN)
    by_monitor = pl.callbacks.ModelCheckpoint(tmp_path / "monitor", monitor="fid")
    module = Gan(reference)
    trainer = fit(module, [callback, by_monitor], tmp_path)
    values = logged(tmp_path, "fid")
    assert len(values) == 3  # and none of the sanity check
    assert values[-1] < values[0] / 2
    assert {"fid_low", "fid_high", "vendi"} <= set(trainer.callback_metrics)
    low, high = logged(tmp_path, "fid_low"), logged(tmp_path, "fid_high")
    assert all(a <= b <= c for a, b, c in zip(low, values, high, strict=True))
    assert callback.evaluator is not None
    assert callback.evaluator.best == (24, pytest.approx(min(values)))
    assert module.training
    again = Evaluator(reference, ["fid"], **OWN)(module.generator)
    assert again is not None
    assert float(again["fid"]) == pytest.approx(values[-1], rel=1e-6)
    for path in (best, Path(by_monitor.best_model_path)):
        state = torch.load(path, weights_only=False)
        assert state["global_step"] == 24
        kept = GanMetricsCallback(reference, **OWN)
        kept.load_state_dict(state["callbacks"][callback.state_key])
        kept.setup(trainer, module, "fit")
        assert kept.evaluator is not None
        assert kept.evaluator.best is not None
        assert kept.evaluator.best[0] == 24


def test_lightning_every_so_many_steps(reference: gm.Features, tmp_path: Path) -> None:
    callback = GanMetricsCallback(
        reference, every_n_steps=5, generator=lambda module: module.generator, **OWN
    )
    fit(Gan(reference), [callback], tmp_path, validation=False)
    assert callback.evaluator is not None
    assert [step for step, _ in callback.evaluator.history] == [5, 10, 15, 20]
    assert len(logged(tmp_path, "fid")) == 4


def test_lightning_without_validation(reference: gm.Features, tmp_path: Path) -> None:
    callback = GanMetricsCallback(reference, **OWN)
    fit(Gan(reference), [callback], tmp_path, validation=False, max_epochs=2)
    assert callback.evaluator is not None
    assert [step for step, _ in callback.evaluator.history] == [8, 16]
    with pytest.raises(UsageError, match="no attribute 'ema'"):
        fit(Gan(reference), [GanMetricsCallback(reference, generator="ema", **OWN)], tmp_path)
    with pytest.raises(UsageError, match="every_n_steps"):
        GanMetricsCallback(reference, every=3, **OWN)
    with pytest.raises(UsageError, match="every_n_steps"):
        GanMetricsCallback(reference, every_n_steps=0, **OWN)


@pytest.mark.slow
def test_lightning_on_two_devices(reference: gm.Features, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for place, options in ((one, {}), (two, {"strategy": "ddp_spawn", "devices": 2})):
        callback = GanMetricsCallback(reference, checkpoint=place / "best.ckpt", **OWN)
        module = Gan(reference)
        torch.manual_seed(0)
        fit(module, [callback], place, **options)
        assert len(logged(place, "fid")) == 3  # one rank tells the logger
        state = torch.load(place / "best.ckpt", weights_only=False)
        module.load_state_dict(state["state_dict"])
        again = Evaluator(reference, ["fid"], **OWN)(module.generator)
        assert again is not None
        assert float(again["fid"]) == pytest.approx(min(logged(place, "fid")), rel=1e-5)


def test_ignite(reference: gm.Features) -> None:
    painter, loss = Painter(), loss_of(reference)
    optimizer = torch.optim.Adam(painter.parameters(), 0.05)

    def step(engine: Engine, batch: Any) -> float:
        optimizer.zero_grad()
        value = loss(painter(batch[0]))
        value.backward()
        optimizer.step()
        return value.item()

    engine = Engine(step)
    evaluator = Evaluator(reference, ["fid"], **OWN)
    GanMetricsHandler(evaluator, painter).attach(engine)
    seen: list[float] = []
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: seen.append(engine.state.metrics["fid"])
    )
    state = engine.run(latents(), max_epochs=3)
    assert [step for step, _ in evaluator.history] == [8, 16, 24]
    assert seen[-1] < seen[0] / 2
    assert state.metrics["fid_low"] <= state.metrics["fid"] <= state.metrics["fid_high"]
    other = Engine(step)
    GanMetricsHandler(evaluator, lambda: painter).attach(other, Events.ITERATION_COMPLETED(every=4))
    other.run(latents(), max_epochs=1)
    assert [step for step, _ in evaluator.history][3:] == [4, 8]


def test_tensorboard(reference: gm.Features, tmp_path: Path) -> None:
    evaluator = Evaluator(reference, ["fid", "vendi"], log=TensorBoardLog(tmp_path), **OWN)
    found = [evaluator(Painter(), step) for step in (0, 100)]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"gan-metrics/fid", "gan-metrics/fid_low", "gan-metrics/vendi"} <= set(
        events.Tags()["scalars"]
    )
    written = events.Scalars("gan-metrics/fid")
    assert [one.step for one in written] == [0, 100]
    assert found[1] is not None
    assert written[1].value == pytest.approx(float(found[1]["fid"]), rel=1e-6)
    images = events.Images("gan-metrics/samples")
    assert [one.step for one in images] == [0, 100]
    assert (images[0].width, images[0].height) == (8 * 18 + 2, 8 * 18 + 2)  # 60 of 16 pixels
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_wandb(reference: gm.Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    with pytest.raises(UsageError, match=r"wandb\.init"):
        WandbLog()
    said: list[tuple[int, dict[str, Any]]] = []

    class Run:
        def log(self, values: dict[str, Any], step: int) -> None:
            said.append((step, values))

    result = Evaluator(reference, ["fid"], log=WandbLog(Run()), **OWN)(Painter(), 7)
    assert result is not None
    assert [step for step, _ in said] == [7, 7]
    assert said[0][1]["gan-metrics/fid"] == float(result["fid"])
    assert isinstance(said[1][1]["gan-metrics/samples"], wandb.Image)


def test_torchmetrics(reference: gm.Features) -> None:
    fid = TorchMetric(FID(reference, backbone=COLOURS, device="cpu"))
    several = TorchMetric(Metrics(["kid", "vendi"], reference, backbone=COLOURS, device="cpu"))
    both = torchmetrics.MetricCollection({"fid": fid, "others": several})
    images = of_colours(80).roll(1, 1)
    both.update(images[:40])
    both.update(images[40:])
    found = both.compute()
    plain = Metrics(["fid", "kid", "vendi"], reference, backbone=COLOURS, device="cpu")
    expected = plain.update(images).compute()
    for name, value in found.items():
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-6)
    assert set(found) == {"fid", "kid", "vendi"}
    assert both["fid"].result.standard_error is not None
    both.reset()
    both.update(images[:20])
    assert both["fid"].result is not None
    assert float(both.compute()["fid"]) != pytest.approx(float(found["fid"]), rel=1e-3)
    fed = TorchMetric(FID(backbone=COLOURS, device="cpu"))
    fed.update(images, real=True)
    fed(images)
    assert float(fed.compute()) == pytest.approx(0.0, abs=1e-4)
    fed.reset()
    fed(images.flip(0))
    assert fed.to("cpu").compute().shape == ()


class Logged(Gan):
    """Logs a metric object, as Lightning has it."""

    def __init__(self, reference: gm.Features) -> None:
        super().__init__(reference)
        self.fid = TorchMetric(FID(reference, backbone=COLOURS, device="cpu", value_range=(-1, 1)))

    def validation_step(self, batch: Any, index: int) -> None:
        self.fid.update(self.generator(batch[0]))
        self.log("val_fid", self.fid, on_epoch=True)


def test_lightning_logs_a_metric_object(reference: gm.Features, tmp_path: Path) -> None:
    trainer = fit(Logged(reference), [], tmp_path, max_epochs=2)
    assert len(logged(tmp_path, "val_fid")) == 2
    assert trainer.callback_metrics["val_fid"] > 0


def test_ends_of_error_bars(reference: gm.Features) -> None:
    result = Evaluator(reference, ["fid"], error_bars=False, **OWN)(Painter())
    assert result is not None
    assert set(scalars(result)) == {"fid"}
