"""LPIPS and path lengths: definitions, properties, faults, and the way through every door."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call, refused
from conftest import LITE0
from data import scenes, write_folder
from torch import nn

import gan_metrics as gm
from gan_metrics.backbones import lpips
from gan_metrics.backbones.lpips import Lpips
from gan_metrics.errors import ComputationError, ImageError, InputError, UsageError, WeightsError
from gan_metrics.generators.generated import Generated
from gan_metrics.image_metrics import lpips_diversity, ppl
from gan_metrics.image_metrics.pairs import DecodedImages, _draw_pairs
from gan_metrics.image_metrics.path_length import _between
from gan_metrics.inputs.opening import open_source

pytestmark = pytest.mark.usefixtures("coarse_lite0")

pytest.importorskip("lpips")
RANDOM: dict[str, Any] = {"weights": "random", "device": "cpu"}


@pytest.fixture(scope="module")
def alex() -> Lpips:
    return Lpips("alex", **RANDOM)


@functools.cache
def random_lpips(net: str, seed: int) -> Lpips:
    return Lpips(net, seed=seed, **RANDOM)


@pytest.fixture(autouse=True, scope="module")
def _networks_of_random_weights_are_built_once() -> Iterator[None]:
    def build(net: str, *, weights: Any, seed: int, **rest: Any) -> Lpips:
        if weights == "random":
            return random_lpips(net, seed)
        return Lpips(net, weights=weights, seed=seed, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpips, "Lpips", build)
        yield


class Mean:
    """Stands for LPIPS: the squared difference of the images' means."""

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x.float().mean((1, 2, 3)) - y.float().mean((1, 2, 3))) ** 2


class Flat(nn.Module):
    """Grey images whose value is a linear function of z; w is z mirrored and stretched."""

    z_size = 3
    value_range = (0, 255)
    slope = torch.tensor([1.0, -2.0, 3.0])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.synthesis(self.mapping(z))

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        return z.flip(1) * 2

    def synthesis(self, w: torch.Tensor) -> torch.Tensor:
        value = 128 + (w.flip(1) / 2) @ self.slope
        return value[:, None, None, None].expand(-1, 3, 16, 16)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_it_is_lpips(net: str) -> None:
    """The package's own network with the same weights, put there by their names."""
    package = pytest.importorskip("lpips")
    import torchvision

    ours = Lpips(net, **RANDOM)
    name = {"alex": "alexnet", "squeeze": "squeezenet1_1"}[net]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk = getattr(torchvision.models, name)(weights=None).features
    theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    for number, layer in trunk.named_children():
        for part in theirs.net.children():
            if hasattr(part, number):
                getattr(part, number).load_state_dict(layer.state_dict())
    x, y = (torch.from_numpy(np.stack(scenes(5, s, 80))).permute(0, 3, 1, 2) for s in (0, 1))
    with torch.no_grad():
        expected = theirs(x / 127.5 - 1, y / 127.5 - 1).flatten()
    torch.testing.assert_close(ours(x, y), expected, rtol=1e-5, atol=1e-8)
    assert (ours(x, x) == 0).all()
    torch.testing.assert_close(ours(x, y), ours(y, x))
    torch.testing.assert_close(ours(x.float(), y.float()), ours(x, y))


def test_grey_images_are_taken_and_other_shapes_refused(alex: Lpips) -> None:
    grey = torch.from_numpy(np.stack(scenes(3, 0, 64))).permute(0, 3, 1, 2)[:, :1]
    wide = grey.expand(-1, 3, -1, -1)
    torch.testing.assert_close(alex(grey, grey.flip(0)), alex(wide, wide.flip(0)))
    with pytest.raises(InputError, match="two batches of images of equal shape"):
        alex(grey, grey[:2])
    small = torch.zeros(1, 3, 4, 4)
    with pytest.raises(InputError, match="4 × 4 pixels are too small for LPIPS"):
        alex(small, small)


def test_weights_are_needed_and_it_is_said_how_to_get_them() -> None:
    with pytest.raises(WeightsError, match="alexnet-owt"):
        Lpips("alex", device="cpu")


@pytest.mark.parametrize(("n", "pairs"), [(2, 5), (5, 10), (5, 4), (40, 300)])
def test_pairs_are_different_and_drawn_alike(n: int, pairs: int, tmp_path: Path) -> None:
    images = DecodedImages(open_source(write_folder(tmp_path, scenes(n, 0, 16))))
    drawn = _draw_pairs(images, pairs, False, 3)
    assert len(drawn) == min(pairs, n * (n - 1) // 2)
    unordered = {frozenset(pair) for pair in drawn.tolist()}
    assert len(unordered) == len(drawn)
    assert all(len(pair) == 2 and max(pair) < n for pair in unordered)
    if len(drawn) == n * (n - 1) // 2:
        assert unordered == {frozenset(p) for p in itertools.combinations(range(n), 2)}
    np.testing.assert_array_equal(drawn, _draw_pairs(images, pairs, False, 3))
    if 4 < len(drawn) < n * (n - 1) // 2:
        assert not np.array_equal(drawn, _draw_pairs(images, pairs, False, 4))


def test_pairs_within_classes(tmp_path: Path) -> None:
    for name, count in (("cat", 4), ("dog", 3), ("lonely", 1)):
        write_folder(tmp_path / name, scenes(count, len(name), 16))
    images = DecodedImages(open_source(tmp_path))
    drawn = _draw_pairs(images, 1000, True, 0)
    assert len(drawn) == 6 + 3
    for one, other in drawn:
        assert images.names[one].split("/")[0] == images.names[other].split("/")[0]
    flat = DecodedImages(open_source(tmp_path / "cat"))
    with pytest.raises(InputError, match="a folder for each class"):
        _draw_pairs(flat, 1000, True, 0)
    with pytest.raises(ComputationError, match="fewer than two images"):
        _draw_pairs(DecodedImages(open_source(tmp_path / "lonely")), 10, False, 0)


def test_diversity_is_the_mean_over_pairs(alex: Lpips, tmp_path: Path) -> None:
    images = scenes(7, 0, 48)
    source = open_source(write_folder(tmp_path, images))
    found = lpips_diversity(source, alex, pairs=1000)
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    pairs = list(itertools.combinations(range(7), 2))
    expected = [float(alex(x[[i]], x[[j]])) for i, j in pairs]
    assert found.value == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.details["pairs"] == 21
    two = lpips_diversity(open_source(write_folder(tmp_path / "two", images[:2])), alex)
    assert two.value == pytest.approx(expected[0], rel=1e-6)
    assert two.standard_error is None
    few = lpips_diversity(source, alex, pairs=4, seed=1)
    assert few.details["pairs"] == 4
    assert few.value in [
        pytest.approx(np.mean(part), rel=1e-6) for part in itertools.combinations(expected, 4)
    ]


@pytest.mark.parametrize("pairs", [60, pytest.param(780, marks=pytest.mark.slow)])
def test_the_error_bar_of_diversity_is_that_of_redraws(pairs: int, tmp_path: Path) -> None:
    """Images of one value each: pairs that share an image are far from independent."""

    class Values:
        description, warnings = "values", ()
        names = tuple(map(str, range(40)))

    rng = np.random.default_rng(0)
    values, errors = [], []
    for seed in range(400):
        images = DecodedImages(Values())  # type: ignore[arg-type]
        grey = rng.uniform(0, 255, 40)
        images.pixels = lambda i, g=grey: np.full((3, 2, 2), g[i])  # type: ignore[assignment,misc]
        found = lpips_diversity(images, Mean(), pairs=pairs, seed=seed)  # type: ignore[arg-type]
        values.append(found.value)
        errors.append(found.standard_error)
    assert 0.85 < np.mean(errors) / np.std(values) < 1.2


def test_sizes_must_be_one_or_be_brought_to_one(alex: Lpips, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [*scenes(3, 0, 48), *scenes(2, 1, 64)])
    with pytest.raises(UsageError, match=r"48 × 48.*64 × 64|64 × 64.*48 × 48"):
        lpips_diversity(open_source(folder), alex)
    found = lpips_diversity(open_source(folder), alex, resize=48)
    assert found.value > 0


def test_a_bad_image_is_refused_or_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, scenes(5, 0, 48))
    (folder / "0002.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"0002.png.*--on-error skip"):
        gm.evaluate(None, folder, metrics="lpips_diversity", weights="random")
    found = gm.evaluate(None, folder, metrics="lpips_diversity", weights="random", on_error="skip")[
        "lpips_diversity"
    ]
    assert (found.n_fake, found.details["pairs"]) == (4, 6)
    assert [name for name, _ in found.skipped_files] == ["0002.png"]


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("sampling", ["full", "end"])
def test_a_path_length_of_which_the_truth_is_known(space: str, sampling: str) -> None:
    """Images move by slope · (z1 − z0) per step, at any place of a straight path."""
    drawn = Generated(Flat(), 400, batch_size=64)
    found = ppl(drawn, Mean(), space=space, sampling=sampling, epsilon=0.5, resize=None,  # type: ignore[arg-type]
                discard=0.0)  # fmt: skip
    ends = [drawn.generator.latents(0, range(400), stream)[0].numpy() for stream in (0, 1)]
    moved = ((ends[1] - ends[0]) @ Flat.slope.numpy()) ** 2
    assert found.value == pytest.approx(moved.mean(), rel=1e-4)
    assert found.value == pytest.approx(2 * 14, rel=0.3)  # of infinitely many
    kept = ppl(drawn, Mean(), space=space, sampling=sampling, epsilon=0.5, resize=None)  # type: ignore[arg-type]
    low, high = np.percentile(moved, 1, method="lower"), np.percentile(moved, 99, method="higher")
    assert kept.value == pytest.approx(moved[(moved >= low) & (moved <= high)].mean(), rel=1e-4)
    assert kept.details["kept"] == ((moved >= low) & (moved <= high)).sum()


def test_the_error_bar_of_a_path_length_is_that_of_redraws() -> None:
    values, errors = [], []
    for seed in range(200):
        found = ppl(
            Generated(Flat(), 200, batch_size=200), Mean(), seed=seed, epsilon=0.5, resize=None
        )  # type: ignore[arg-type]
        values.append(found.value)
        errors.append(found.standard_error)
    assert 0.85 < np.mean(errors) / np.std(values) < 1.2


@pytest.mark.parametrize("interpolation", ["lerp", "slerp", "slerp_unit"])
def test_paths_begin_and_end_where_they_should(interpolation: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(6, 4, 3)).astype(np.float32)) for _ in range(2))
    if interpolation == "slerp":
        a, b = (x / x.flatten(1).norm(dim=1)[:, None, None] for x in (a, b))
    b[5] = a[5] * 2  # on one line
    ends = [_between(a, b, torch.full((6,), t, dtype=torch.float64), interpolation) for t in (0, 1)]
    if interpolation == "slerp_unit":
        a, b = (x / x.flatten(1).norm(dim=1)[:, None, None] for x in (a, b))
    torch.testing.assert_close(ends[0], a, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ends[1], b, rtol=1e-4, atol=1e-5)
    half = _between(a, b, torch.full((6,), 0.5, dtype=torch.float64), interpolation)
    if interpolation == "lerp":
        torch.testing.assert_close(half, (a + b) / 2)
    else:  # the arc is cut in two equal angles
        flat = [x.flatten(1)[:5] for x in (a, half, b)]
        cosines = [torch.cosine_similarity(x, flat[1]) for x in (flat[0], flat[2])]
        torch.testing.assert_close(cosines[0], cosines[1], rtol=1e-4, atol=1e-4)


def test_what_a_generator_draws_itself_is_the_same_at_both_ends() -> None:
    class Noisy(Flat):
        def synthesis(self, w: torch.Tensor) -> torch.Tensor:
            return super().synthesis(w) + 50 * torch.rand(len(w), 1, 1, 1)

    asked: dict[str, Any] = {"epsilon": 0.5, "resize": None}
    still = ppl(Generated(Flat(), 50), Mean(), **asked)  # type: ignore[arg-type]
    noisy = ppl(Generated(Noisy(), 50), Mean(), **asked)  # type: ignore[arg-type]
    assert noisy.value == pytest.approx(still.value, rel=1e-4)


def test_classes_are_the_same_at_both_ends() -> None:
    class ByClass(Flat):
        num_classes = 5

        def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(z) + 20 * labels[:, None, None, None]

    for draws in ("numpy", "numpy-legacy", "torch"):
        asked: dict[str, Any] = {"epsilon": 0.5, "resize": None, "draws": draws, "discard": 0.0}
        found = ppl(Generated(ByClass(), 100), Mean(), **asked)  # type: ignore[arg-type]
        plain = ppl(Generated(Flat(), 100), Mean(), **asked)  # type: ignore[arg-type]
        assert found.value == pytest.approx(plain.value, rel=1e-4)


@pytest.mark.parametrize("draws", ["numpy", "numpy-legacy", "torch"])
def test_latents_are_in_the_generator_s_precision(draws: str) -> None:
    class Weighted(Flat):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(self.slope)

        def synthesis(self, w: torch.Tensor) -> torch.Tensor:
            value = 128 + (w.flip(1) / 2) @ self.weight
            return value[:, None, None, None].expand(-1, 3, 16, 16)

    asked: dict[str, Any] = {"epsilon": 0.5, "resize": None, "draws": draws, "discard": 0.0}
    double = ppl(Generated(Weighted().double(), 50), Mean(), **asked)  # type: ignore[arg-type]
    single = ppl(Generated(Weighted(), 50), Mean(), **asked)  # type: ignore[arg-type]
    assert double.value == pytest.approx(single.value, rel=1e-4)


def test_path_lengths_clip_nothing_and_do_not_say_so() -> None:
    class Wide(Flat):
        value_range = (121, 135)

    found = gm.evaluate(None, Generated(Wide(), 20), metrics="ppl", weights="random")["ppl"]
    assert "clipped-values" not in dict(found.warnings)


def test_rounded_images_are_warned_of() -> None:
    class Bytes(Flat):
        value_range = None  # type: ignore[assignment]

        def synthesis(self, w: torch.Tensor) -> torch.Tensor:
            return super().synthesis(w).round().byte()

    found = ppl(Generated(Bytes(), 20), Mean())  # type: ignore[arg-type]
    assert "rounded-images" in dict(found.warnings)
    assert found.value == 0  # a step of 1e-4 moves no byte


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"space": "x"}, "space"),
        ({"sampling": "all"}, "sampling"),
        ({"interpolation": "arc"}, "interpolation"),
        ({"epsilon": 0}, "epsilon"),
        ({"discard": 50}, "discard"),
        ({"upper": "nearest"}, "upper"),
    ],
)
def test_wrong_arguments(how: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ppl(Generated(Flat(), 20), Mean(), **how)  # type: ignore[arg-type]


def test_generators_without_what_a_path_needs() -> None:
    def sampler(n: int, seed: int) -> torch.Tensor:
        return torch.zeros(n, 3, 8, 8, dtype=torch.uint8)

    with pytest.raises(UsageError, match="draws its own latents"):
        ppl(Generated(sampler, 20), Mean())  # type: ignore[arg-type]
    with pytest.raises(ComputationError, match="9 paths is meaningless"):
        ppl(Generated(Flat(), 9), Mean())  # type: ignore[arg-type]

    class OnlyZ(nn.Module):
        z_size, value_range = 3, (0, 255)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.full((len(z), 3, 8, 8), float("nan"))

    with pytest.raises(UsageError, match=r"no mapping\(z\) and synthesis\(w\)"):
        ppl(Generated(OnlyZ(), 20), Mean(), space="w")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="contain NaN"):
        ppl(Generated(OnlyZ(), 20), Mean())  # type: ignore[arg-type]


def test_through_evaluate(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", scenes(6, 0, 48))
    drawn = Generated(Flat(), 20)
    every = gm.evaluate(folder, drawn, metrics="all", backbone=LITE0)
    assert every.not_computed["ppl"].endswith("ask for it by name")
    without = gm.evaluate(folder, folder, metrics="all", backbone=LITE0)
    assert "it needs a generator (--generator)" in without.not_computed["ppl"]
    features = gm.extract_features(folder, backbone=LITE0)
    known = gm.evaluate(folder, features, metrics=["lpips_diversity", "vendi"], backbone=LITE0)
    assert "holds none" in known.not_computed["lpips_diversity"]
    mixed = gm.evaluate(
        folder, drawn, metrics="fid,ppl", backbone=LITE0, weights={"vgg16": "random"}
    )
    assert set(mixed) == {"fid", "ppl"}
    assert mixed["fid"].feature_spec.backbone == LITE0
    assert mixed["ppl"].feature_spec.backbone == "lpips-vgg"
    assert mixed["ppl"].n_fake == 20
    with pytest.raises(UsageError, match="nothing here is computed in vgg16"):
        gm.evaluate(folder, drawn, metrics="fid", backbone=LITE0, weights={"vgg16": "random"})


def test_what_chooses_images_and_pixels_is_heard(tmp_path: Path) -> None:
    from PIL import Image

    for i, image in enumerate(scenes(6, 0, 48)):
        alpha = np.full((48, 48, 1), 40 * i, np.uint8)
        Image.fromarray(np.concatenate([image, alpha], axis=2)).save(tmp_path / f"{i}.png")
    asked: dict[str, Any] = {"metrics": "lpips_diversity", "weights": "random"}
    plain, white, few = (
        gm.evaluate(None, tmp_path, **asked, **more)["lpips_diversity"]
        for more in ({}, {"alpha": "white"}, {"max_images": 4})
    )
    assert white.value < 0.9 * plain.value  # what shows through is white
    assert plain.feature_spec.differences(white.feature_spec) == ("departures",)
    assert (few.n_fake, few.details["pairs"], few.drawn) == (4, 6, {"max_images": 4})
    assert len({plain.digests, white.digests, few.digests}) == 2
    asked["metrics"] = "ppl"
    paths = gm.evaluate(None, Generated(Flat(), 40), **asked, max_images=20)["ppl"]
    assert paths.n_fake == 20
    for name, value in (("backbone", LITE0), ("layer", "fc7"), ("precision", "bf16")):
        with pytest.raises(UsageError, match=f"ppl is computed by LPIPS.*leave --{name} out"):
            gm.evaluate(None, Generated(Flat(), 40), **asked, **{name: value})


OWN = """
import torch
from torch import nn


class Net(nn.Module):
    z_size, value_range = 3, (-1, 1)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mapping = nn.Linear(3, 4)
        self.synthesis = nn.Sequential(nn.Linear(4, 3072), nn.Tanh(), nn.Unflatten(1, (3, 32, 32)))

    def forward(self, z):
        return self.synthesis(self.mapping(z))
"""


def test_the_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_paths.py").write_text(OWN)
    folder = write_folder(tmp_path / "f", scenes(6, 0, 48))
    asked = ("ppl", "--generator", "own_paths:Net", "--n-fake", 12, "--weights", "random")
    one = call(*asked, "-o", "r.json")
    assert one.code == 0, one.err
    assert one.out.startswith("PPL ")
    record = json.loads(Path("r.json").read_text())
    assert (record["n_fake"], record["feature_spec"]["backbone"]) == (12, "lpips-vgg")
    again = call("reproduce", "r.json", "--generator", "own_paths:Net", "--weights", "random")
    assert again.code == 0, again.err
    assert "agrees" in again.out
    w = json.loads(call(*asked, "--protocol", "stylegan3", "--json").out)
    assert w["details"]["space"] == "w"
    assert w["protocol"] == "stylegan3"
    assert w["value"] != record["value"]
    said = call(*asked, "--methods")
    assert "perceptual path length" in said.out
    pairs = call("lpips", folder, "--weights", "random", "--pairs", 5, "--json")
    assert json.loads(pairs.out)["details"]["pairs"] == 5
    refused(2, "ppl", says=("give --generator",))
    refused(4, "lpips", folder, says=("alexnet",))
    refused(2, "lpips", folder, "--net", "resnet", "--weights", "random", says=("net",))
