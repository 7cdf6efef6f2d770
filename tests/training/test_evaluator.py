"""A generator evaluated as it trains: the right numbers, and nothing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import Colours, NoisyPainter

import gan_metrics as gm
from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.training import Evaluator

Folders = tuple[Path, Path]
COLOURS = Colours()
OWN: dict[str, Any] = {"backbone": COLOURS, "device": "cpu"}


@pytest.fixture(scope="module")
def reference(folders: Folders) -> gm.Features:
    return gm.extract_features(folders[0], backbone=COLOURS, cache=False)


def test_it_gives_what_the_drawn_images_give(reference: gm.Features) -> None:
    evaluator = Evaluator(reference, ["fid", "kid"], n_fake=50, batch_size=32, **OWN)
    found = evaluator(NoisyPainter(), step=0)
    assert found is not None
    drawn = gm.Generated(NoisyPainter(), 50, batch_size=32)
    expected = gm.evaluate(reference, drawn, metrics=["fid", "kid"], backbone=COLOURS)
    for name in ("fid", "kid"):
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-4)
        assert found[name].n_fake == 50
        assert found[name].standard_error is not None


def test_points_of_a_curve_compare(reference: gm.Features) -> None:
    evaluator = Evaluator(reference, n_fake=20, **OWN)
    values = [
        float(evaluator(NoisyPainter(level), step)["fid"])  # type: ignore[index]
        for step, level in enumerate((0.0, 0.0, 1.0))
    ]
    assert values[0] == values[1] != values[2]
    other = Evaluator(reference, n_fake=20, seed=1, **OWN)(NoisyPainter())
    assert float(other["fid"]) != values[0]  # type: ignore[index]
    assert [step for step, _ in evaluator.history] == [0, 1, 2]


def test_the_training_goes_on_as_if_nothing_had_been(reference: gm.Features) -> None:
    generator = NoisyPainter()
    generator.train()
    generator.net[1].eval()
    z = torch.zeros(2, 6, requires_grad=True)
    loss = generator(z).sum()  # a graph that waits for its backward pass
    modes = [part.training for part in generator.modules()]
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    random = torch.get_rng_state()
    Evaluator(reference, n_fake=20, **OWN)(generator)
    assert modes == [part.training for part in generator.modules()]
    assert all(torch.equal(value, state[key]) for key, value in generator.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in generator.parameters())
    loss.backward()
    assert generator.level.grad is not None


def test_other_steps_cost_nothing(reference: gm.Features) -> None:
    evaluator, generator = Evaluator(reference, n_fake=20, every=10, **OWN), NoisyPainter()
    assert [evaluator(generator, step) for step in (1, 5, 9)] == [None] * 3
    assert generator.calls == 0
    assert evaluator(generator, 20) is not None


@pytest.mark.parametrize("leading", ["fid", "vendi"])
def test_the_best_is_kept(leading: str, reference: gm.Features, tmp_path: Path) -> None:
    evaluator = Evaluator(reference, [leading], n_fake=20, keep=tmp_path / "best.pt", **OWN)
    levels = (-3.0, 0.2, 3.0) if leading == "fid" else (3.0, 0.2, -3.0)
    generators = [NoisyPainter(level) for level in levels]
    values = [float(evaluator(g, step)[leading]) for step, g in enumerate(generators)]  # type: ignore[index]
    at = int(np.argmin(values) if leading == "fid" else np.argmax(values))
    assert at > 0
    assert evaluator.best == (at, values[at])
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    assert torch.equal(kept["level"], generators[at].level)
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]
    told: list[int] = []
    again = Evaluator(reference, [leading], n_fake=20, keep=lambda g, step, r: told.append(step),
                      **OWN)  # fmt: skip
    for step, generator in enumerate(generators):
        again(generator, step)
    running = np.minimum if leading == "fid" else np.maximum
    assert told == [0, *(np.flatnonzero(np.diff(running.accumulate(values))) + 1)]


def test_logs(reference: gm.Features, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    logs = [tmp_path / "log.jsonl", lambda step, result: told.append((step, float(result["fid"])))]
    evaluator = Evaluator(reference, ["fid"], n_fake=20, log=logs, **OWN)
    for step in (0, 100):
        evaluator(NoisyPainter(), step)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 100]
    assert [(line["step"], line["results"][0]["value"]) for line in lines] == told
    assert lines[0]["results"][0]["standard_error"] > 0


def test_clipped_values_are_told_of(reference: gm.Features) -> None:
    class Wide(NoisyPainter):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 1.4 * super().forward(z)

    evaluator = Evaluator(reference, ["fid", "vendi"], n_fake=20, **OWN)
    for generator, told in ((Wide(2.0), True), (NoisyPainter(2.0), False)):
        found = evaluator(generator)
        for result in found.values():  # type: ignore[union-attr]
            assert ("clipped-values" in dict(result.warnings)) == told


def test_latents_of_one_s_own(reference: gm.Features) -> None:
    asked = []

    def latent(n: int, seed: int) -> torch.Tensor:
        asked.append((n, seed))
        return torch.zeros(n, 6)

    evaluator = Evaluator(reference, ["vendi"], n_fake=20, latent=latent, seed=4, **OWN)
    still = evaluator(NoisyPainter())
    own = Evaluator(reference, ["vendi"], n_fake=20, seed=4, **OWN)(NoisyPainter())
    assert asked == [(20, 4)]
    assert float(still["vendi"]) < float(own["vendi"])  # type: ignore[index]
    with pytest.raises(InputError, match="returned 3 latents; expected 20"):
        Evaluator(reference, n_fake=20, latent=lambda n, seed: torch.zeros(3, 6), **OWN)


def test_averages_of_weights_and_autocast(reference: gm.Features) -> None:
    generator = NoisyPainter(0.1)
    average = torch.optim.swa_utils.AveragedModel(generator)
    evaluator = Evaluator(reference, n_fake=20, latent=6, value_range=(-1, 1), **OWN)
    plain, averaged = evaluator(generator), evaluator(average)
    assert float(averaged["fid"]) == pytest.approx(float(plain["fid"]), rel=1e-6)  # type: ignore[index]

    class Bytes(NoisyPainter):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", enabled=False):
                return super().forward(z.float())

    inside = Evaluator(reference, n_fake=20, **OWN)
    expected = float(inside(Bytes(0.1))["fid"])  # type: ignore[index]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = inside(Bytes(0.1))  # the network that looks at the images is not cast
    assert float(found["fid"]) == expected  # type: ignore[index]


def test_a_generator_that_fails_leaves_the_evaluator_whole(reference: gm.Features) -> None:
    evaluator = Evaluator(reference, n_fake=40, batch_size=16, **OWN)
    before = float(evaluator(NoisyPainter(), 0)["fid"])  # type: ignore[index]

    class Bad(NoisyPainter):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            found = super().forward(z)
            return found * torch.nan if self.calls == 2 else found

    generator = Bad()
    with pytest.raises(InputError, match="contain NaN"):
        evaluator(generator, 1)
    assert generator.training
    assert [step for step, _ in evaluator.history] == [0]
    assert evaluator.best == (0, before)
    assert float(evaluator(NoisyPainter(), 2)["fid"]) == before  # type: ignore[index]


def test_what_it_refuses(reference: gm.Features, tmp_path: Path) -> None:
    for name in ("n_fake", "every", "batch_size"):
        with pytest.raises(UsageError, match=f"{name} must be a whole number"):
            Evaluator(reference, **{name: 0}, **OWN)
    with pytest.raises(UsageError, match="needs a reference"):
        Evaluator(None, **OWN)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is a folder"):
        Evaluator(reference, keep=tmp_path, **OWN)
    keeper = Evaluator(reference, n_fake=20, keep=tmp_path / "g.pt", **OWN)
    with pytest.raises(UsageError, match="saves the state of a module"):
        keeper(lambda n, seed: torch.zeros(n, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="fid has no value"):
        Evaluator(reference, n_fake=1, **OWN)(NoisyPainter())
    with pytest.raises(ComputationError):
        gm.training.FID(reference, **OWN).compute()
