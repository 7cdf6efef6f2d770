from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import inception_score_naive, inception_score_of_parts

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import class_predictions as module
from gan_metrics.metrics.class_predictions import inception_score, inception_score_estimate
from gan_metrics.metrics.estimate import influence_error


def sample(m: int, classes: int, seed: int, sharp: float = 3.0) -> np.ndarray:
    """Logits of images whose classes are of unequal frequency."""
    rng = np.random.default_rng(seed + 100)
    frequency = np.linspace(1, 3, classes)
    logits = rng.normal(size=(m, classes))
    logits[np.arange(m), rng.choice(classes, m, p=frequency / frequency.sum())] += sharp
    return logits


@pytest.mark.parametrize(("m", "splits"), [(200, 10), (203, 10), (203, 1), (20, 10), (101, 7)])
def test_against_the_definition(m: int, splits: int) -> None:
    logits = sample(m, 12, 0)
    estimate = inception_score_estimate(logits, splits=splits, shuffle=False)
    expected = inception_score_naive(logits, splits)
    assert estimate.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert estimate.details["split_std"] == pytest.approx(np.std(expected), rel=1e-9, abs=1e-12)
    assert estimate.details["whole"] == pytest.approx(inception_score_naive(logits, 1)[0])
    assert estimate.details["splits"] == splits
    assert inception_score(logits, splits=splits, shuffle=False) == estimate.value


def test_the_seeded_shuffle() -> None:
    logits = sample(203, 12, 0)
    order = np.random.default_rng(5).permutation(203)
    expected = np.mean(inception_score_naive(logits[order], 10))
    assert inception_score(logits, seed=5) == pytest.approx(expected, rel=1e-12)
    assert inception_score(logits) == inception_score(logits, seed=0)
    assert inception_score(logits) != inception_score(logits, seed=5)
    generator = np.random.default_rng(5)
    assert inception_score(logits, seed=generator) == inception_score(logits, seed=5)


@pytest.mark.parametrize("m", [200, 203])
def test_against_torch_fidelity(m: int) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_isc")
    logits = sample(m, 12, 0).astype(np.float32)
    theirs = peer.isc_features_to_metric(torch.from_numpy(logits))
    ours = inception_score_estimate(logits, seed=np.random.RandomState(2020))
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert ours.details["split_std"] == pytest.approx(theirs["inception_score_std"], rel=1e-9)
    theirs = peer.isc_features_to_metric(torch.from_numpy(logits), splits=4, shuffle=False)
    ours = inception_score_estimate(logits, splits=4, shuffle=False)
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)


def test_against_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.inception")
    logits = torch.from_numpy(sample(200, 12, 0))
    metric = image.InceptionScore(feature=torch.nn.Identity(), splits=10)
    metric.features = [logits]
    metric._update_count = 1
    torch.manual_seed(0)
    mean, std = metric.compute()
    torch.manual_seed(0)
    ours = inception_score_estimate(logits[torch.randperm(200)], shuffle=False)
    assert ours.value == pytest.approx(mean.item(), rel=1e-12)
    assert ours.details["split_std"] * np.sqrt(10 / 9) == pytest.approx(std.item(), rel=1e-9)


@pytest.mark.parametrize("m", [200, 203])
def test_torch_fidelity_by_arguments_alone(m: int) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_isc")
    logits = sample(m, 12, 0).astype(np.float32)
    theirs = peer.isc_features_to_metric(torch.from_numpy(logits), rng_seed=2020)
    ours = inception_score_estimate(logits, draws="numpy-legacy", seed=2020)
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert ours.details["split_std"] == pytest.approx(theirs["inception_score_std"], rel=1e-9)
    assert inception_score(logits, draws="numpy-legacy", seed=2020) == ours.value
    assert inception_score(logits, seed=2020) != pytest.approx(ours.value, rel=1e-6)


@pytest.mark.parametrize(("m", "splits"), [(200, 10), (203, 10), (41, 9), (203, 1)])
def test_torchmetrics_by_arguments_alone(m: int, splits: int) -> None:
    """41 in 9 by torch.chunk: eight parts of five and one of one, whose score is 1."""
    image = pytest.importorskip("torchmetrics.image.inception")
    logits = torch.from_numpy(sample(m, 12, 0))
    metric = image.InceptionScore(feature=torch.nn.Identity(), splits=splits)
    metric.features = [logits]
    metric._update_count = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        mean, std = metric.compute()
    how = {"splits": splits, "deal": "chunk", "draws": "torch", "seed": 3}
    ours = inception_score_estimate(logits, ddof=1, **how)
    assert ours.value == pytest.approx(mean.item(), rel=1e-12)
    assert inception_score(logits, **how) == ours.value
    if splits == 1:
        assert "split_std" not in ours.details
        assert inception_score_estimate(logits, ddof=0, **how).details["split_std"] == 0
        return
    assert ours.details["split_std"] == pytest.approx(std.item(), rel=1e-9)
    other = inception_score_estimate(logits, ddof=0, **how).details["split_std"]
    assert other == pytest.approx(std.item() * np.sqrt(1 - 1 / ours.details["splits"]), rel=1e-9)


def test_chunks_may_be_fewer_than_asked_for() -> None:
    logits = sample(21, 4, 0)
    ours = inception_score_estimate(logits, splits=10, deal="chunk", shuffle=False)
    parts = [part.numpy() for part in torch.arange(21).chunk(10)]
    assert ours.details["splits"] == len(parts) == 7
    expected = inception_score_of_parts(logits, parts)
    assert ours.value == pytest.approx(np.mean(expected), rel=1e-12)
    even = inception_score(logits, splits=10, shuffle=False)
    assert even == pytest.approx(np.mean(inception_score_naive(logits, 10)), rel=1e-12)
    assert even != pytest.approx(ours.value, rel=1e-3)


@pytest.mark.parametrize(("m", "size"), [(200, 50), (203, 50), (201, 50), (30, 50)])
def test_the_size_of_a_split_as_adm_has_it(m: int, size: int) -> None:
    logits = sample(m, 12, 0)
    expected = [
        inception_score_of_parts(logits, [np.arange(start, min(start + size, m))])[0]
        for start in range(0, m, size)
    ]
    ours = inception_score_estimate(logits, split_size=size, shuffle=False)
    assert ours.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert ours.details["splits"] == len(expected)
    assert ours.details["split_std"] == pytest.approx(np.std(expected), rel=1e-9, abs=1e-12)
    assert inception_score(logits, split_size=size, shuffle=False) == ours.value
    codes = [code for code, _ in ours.warnings]
    if m == 201:
        assert expected[-1] == 1
        assert codes == ["too-few-for-error-bar", "few-images-per-split"]
        assert all("a split_size of at least 12 that divides 201" in w for _, w in ours.warnings)
    elif m != 203:
        assert not codes
        assert ours.standard_error is not None
    order = np.random.default_rng(8).permutation(m)
    parts = [order[start : start + size] for start in range(0, m, size)]
    shuffled = inception_score(logits, split_size=size, seed=8)
    assert shuffled == pytest.approx(np.mean(inception_score_of_parts(logits, parts)), rel=1e-12)


def by_class(m: int, classes: int, seed: int, sharp: float = 6.0) -> np.ndarray:
    """Images that are sorted by class."""
    logits = np.random.default_rng(seed).normal(size=(m, classes))
    logits[np.arange(m), np.arange(m) * classes // m] += sharp
    return logits


@pytest.mark.parametrize(
    "how", [{}, {"splits": 2}, {"deal": "chunk", "splits": 7}, {"split_size": 100}]
)
def test_an_order_by_class_is_pointed_out(how: dict[str, Any]) -> None:
    logits = by_class(400, 8, 0)
    ours = inception_score_estimate(logits, shuffle=False, **how)
    shuffled = inception_score(logits, **how)
    assert ours.value < 0.9 * shuffled
    assert ours.details["shuffled"] == pytest.approx(shuffled, rel=1e-12)
    message = dict(ours.warnings)["unshuffled"]
    assert "sorted by class" in message
    assert f"{ours.value:.4g}" in message
    again = inception_score_estimate(logits, shuffle=True, **how)
    assert "unshuffled" not in dict(again.warnings)
    assert "shuffled" not in again.details
    whole = inception_score_estimate(logits, shuffle=False, splits=1)
    assert not whole.warnings
    assert "shuffled" not in whole.details


def test_an_order_that_does_not_matter_is_not() -> None:
    """Random ones, one class after the other in turn, and the same everywhere."""
    for seed in range(150):
        logits = np.random.default_rng(seed).normal(size=(60, 5)) * 2
        for splits in (2, 10):
            found = inception_score_estimate(logits, splits=splits, shuffle=False, error_bar=False)
            assert "unshuffled" not in dict(found.warnings)
    logits = by_class(400, 8, 0)[np.arange(400).reshape(8, 50).T.ravel()]
    in_turn = inception_score_estimate(logits, splits=50, shuffle=False)
    assert in_turn.value > 1.2 * in_turn.details["shuffled"]
    assert not in_turn.warnings
    hardly = inception_score_estimate(by_class(20_000, 8, 0, 0.2), splits=2, shuffle=False)
    assert 0.9992 < hardly.value / hardly.details["shuffled"] < 0.9998  # eleven times by chance
    assert not hardly.warnings
    assert not inception_score_estimate(np.ones((60, 1)) * np.arange(5), shuffle=False).warnings


@pytest.mark.parametrize("budget", [1, 300, 1 << 25])
def test_the_random_deals_by_the_definition(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = sample(103, 12, 0)
    monkeypatch.setattr(module, "_ROWS", 40)
    monkeypatch.setattr(module, "_SHARES", budget)
    sizes = np.array([40, 40, 23])
    entropy = module._softmax(logits)[1]
    found = module._shuffled(logits, entropy, sizes, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    for score in found:
        parts = np.split(rng.permutation(103), [40, 80])
        assert score == pytest.approx(np.mean(inception_score_of_parts(logits, parts)), rel=1e-12)
    assert len(found) == 20
    tensors = module._shuffled(torch.from_numpy(logits), entropy, sizes, np.random.default_rng(2))
    np.testing.assert_allclose(tensors, found, rtol=1e-12)


@pytest.mark.parametrize("splits", [1, 10])
def test_sure_and_uniform_gives_the_number_of_classes(splits: int) -> None:
    logits = 1000 * np.eye(8)[np.arange(800) % 8]
    assert inception_score(logits, splits=splits, shuffle=False) == pytest.approx(8, rel=1e-12)
    one_class = inception_score(1000 * np.eye(8)[[3] * 80], splits=splits)
    assert one_class == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("row", [np.zeros(5), np.full(5, 7), np.arange(5), sample(1, 5, -100)])
def test_the_same_everywhere_gives_one(row: np.ndarray) -> None:
    logits = np.ones((60, 1)) * row  # for the last one, rounding alone would give less than 1
    estimate = inception_score_estimate(logits)
    assert 1 <= estimate.value < 1 + 1e-12
    assert estimate.standard_error == pytest.approx(0, abs=1e-12)


def test_the_range() -> None:
    for sharp in (0.0, 3.0, 30.0):
        assert 1 < inception_score(sample(300, 6, 0, sharp), splits=3) < 6


def test_a_constant_per_image_changes_nothing() -> None:
    logits = sample(100, 6, 0)
    offset = np.random.default_rng(0).normal(size=(100, 1)) * 1000
    assert inception_score(logits + offset) == pytest.approx(inception_score(logits), rel=1e-9)


def test_order_matters_only_between_splits() -> None:
    logits = sample(100, 6, 0)
    backwards = inception_score_estimate(logits[::-1], splits=1)
    assert backwards.value == pytest.approx(inception_score(logits, splits=1), rel=1e-12)
    by_class = np.sort(np.arange(400) % 8)
    ordered = 1000 * np.eye(8)[by_class]
    assert inception_score(ordered, splits=8, shuffle=False) == pytest.approx(1, rel=1e-12)
    assert inception_score(ordered, splits=8) > 6


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_torch_agrees(dtype: type) -> None:
    logits = sample(203, 12, 0).astype(dtype)
    ours = inception_score_estimate(logits)
    theirs = inception_score_estimate(torch.from_numpy(logits))
    assert theirs.value == pytest.approx(ours.value, rel=1e-12)
    assert theirs.standard_error == pytest.approx(ours.standard_error, rel=1e-9)
    assert theirs.details == pytest.approx(ours.details, rel=1e-9)
    assert isinstance(theirs.fake_influence, np.ndarray)
    np.testing.assert_allclose(theirs.fake_influence, ours.fake_influence, atol=1e-12)


def test_the_code_for_a_device_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU are taken over by NumPy; here they stay tensors, as on a GPU."""
    logits = torch.from_numpy(sample(203, 12, 0))
    expected = inception_score_estimate(logits)
    monkeypatch.setattr(module, "is_tensor", lambda _: False)
    found = inception_score_estimate(logits)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)


def test_blocks_and_memory_maps_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = sample(103, 12, 0)
    expected = inception_score_estimate(logits)
    monkeypatch.setattr(module, "_ROWS", 4)
    np.save(tmp_path / "logits.npy", logits)
    found = inception_score_estimate(np.load(tmp_path / "logits.npy", mmap_mode="r"))
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(found.fake_influence, expected.fake_influence, atol=1e-12)


def test_influence_is_what_an_image_adds() -> None:
    """By leaving each out of its split and computing the score again."""
    logits, splits = sample(43, 5, 0), 4
    influence = inception_score_estimate(logits, splits=splits, shuffle=False).fake_influence
    assert influence is not None
    for i in range(splits):
        part = logits[i * 43 // splits : (i + 1) * 43 // splits]
        whole = inception_score_naive(part, 1)[0]
        added = np.array(
            [
                (len(part) - 1) * (whole - inception_score_naive(np.delete(part, j, 0), 1)[0])
                for j in range(len(part))
            ]
        )
        expected = (added - added.mean()) * 43 / (splits * len(part))
        found = influence[i * 43 // splits : (i + 1) * 43 // splits]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_splits_that_show_too_little_have_no_error_bar() -> None:
    estimate = inception_score_estimate(sample(40, 3, 0), splits=10)
    assert estimate.standard_error is estimate.fake_influence is None
    assert [code for code, _ in estimate.warnings] == ["too-few-for-error-bar"]
    bare = inception_score_estimate(sample(40, 3, 0), splits=10, error_bar=False)
    assert bare.warnings == ()


def test_influences_are_in_the_order_of_the_rows() -> None:
    logits = sample(200, 12, 0)
    logits[17] = 0.0  # an image that is sure of nothing lowers the score
    influence = inception_score_estimate(logits, splits=2).fake_influence
    assert influence is not None
    assert influence.shape == (200,)
    assert influence.argmin() == 17
    assert influence.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("m", "classes", "splits", "low", "high"),
    [
        (500, 10, 10, 0.85, 1.15),
        (500, 10, 1, 0.85, 1.15),
        (100, 10, 10, 0.9, 1.3),
        (200, 100, 10, 0.9, 1.3),
    ],
)
def test_the_standard_error_against_redrawing(
    m: int, classes: int, splits: int, low: float, high: float
) -> None:
    """400 redraws tell the true one to 3.5 %; few images per class make it somewhat too wide."""
    draws = [inception_score_estimate(sample(m, classes, s), splits=splits) for s in range(400)]
    claimed = np.sqrt(np.mean([float(d.standard_error or 0) ** 2 for d in draws]))
    assert low < claimed / np.std([d.value for d in draws], ddof=1) < high


def test_the_standard_error_is_that_of_the_influences() -> None:
    logits = sample(100, 6, 0)
    estimate = inception_score_estimate(logits)
    assert estimate.real_influence is None
    assert estimate.standard_error == influence_error(estimate.fake_influence)
    bare = inception_score_estimate(logits, error_bar=False)
    assert bare.standard_error is bare.fake_influence is None
    assert bare.value == estimate.value
    assert bare.details == estimate.details


def test_the_warning_about_small_splits() -> None:
    assert inception_score_estimate(sample(60, 6, 0)).warnings == ()
    ((code, message),) = inception_score_estimate(sample(59, 6, 0)).warnings
    assert code == "few-images-per-split"
    assert "5 images but there are 6 classes" in message
    assert "at least 60 images" in message


def test_bad_input_is_named() -> None:
    logits = sample(40, 4, 0)
    with pytest.raises(InputError, match=r"logits must have the shape"):
        inception_score(logits[0])
    with pytest.raises(InputError, match="two classes"):
        inception_score(logits[:, :1])
    for given in (torch.softmax(torch.from_numpy(logits), 1), np.eye(4)[np.arange(40) % 4]):
        with pytest.raises(InputError, match="probabilities"):
            inception_score(given)
    one_row_of_them = logits.copy()
    one_row_of_them[0] = 0.25
    assert inception_score(one_row_of_them) > 1
    one_row_of_them[20:] = 0.25
    assert inception_score(one_row_of_them, splits=2, shuffle=False) > 1
    with pytest.raises(ComputationError, match="NaN or infinity, first in row 3"):
        inception_score(np.where(np.arange(40)[:, None] == 3, np.nan, logits))
    with pytest.raises(ComputationError, match=r"at least 20 images, but there are 19.*splits=9"):
        inception_score(logits[:19])
    assert inception_score(logits[:20]) > 1
    with pytest.raises(ComputationError, match="there is 1; give more images"):
        inception_score(logits[:1], splits=1)
    with pytest.raises(UsageError, match="splits must be a whole number ≥ 1, not 0"):
        inception_score(logits, splits=0)
    with pytest.raises(UsageError, match="seed"):
        inception_score(logits, seed=-1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split_size": 1}, "split_size must be a whole number ≥ 2, not 1"),
        ({"split_size": "5000"}, "split_size must be a whole number ≥ 2, not '5000'"),
        ({"deal": "torch"}, "deal must be one of even or chunk, not 'torch'"),
        ({"ddof": 2}, "ddof must be a whole number ≤ 1, not 2"),
        ({"ddof": True}, "ddof must be a whole number ≥ 0, not True"),
        ({"draws": 3}, "draws must be one of numpy, numpy-legacy or torch, not 3"),
        ({"shuffle": False, "seed": -1}, "seed must be a whole number ≥ 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inception_score_estimate(sample(40, 4, 0), **arguments)


def test_too_few_images_for_what_was_asked() -> None:
    logits = sample(19, 4, 0)
    with pytest.raises(ComputationError, match=r"splits=10 needs at least 20 images.*splits=9"):
        inception_score(logits, deal="chunk")
    with pytest.raises(ComputationError, match=r"needs at least 2000000000 images"):
        inception_score(logits, splits=10**9)
    with pytest.raises(ComputationError, match=r"Score needs at least 2 images, but there is 1"):
        inception_score(logits[:1], split_size=5000)
    assert inception_score(logits, split_size=5000) > 1
