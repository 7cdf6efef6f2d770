"""Generators in memory: the same numbers as from files, and nothing that looks fine and is not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call, refused
from conftest import LITE0
from data import write_folder
from torch import nn

import gan_metrics as gm
from gan_metrics.errors import InputError, UsageError

pytestmark = pytest.mark.usefixtures("coarse_lite0")

Folders = tuple[Path, Path]


class Small(nn.Module):
    """Gives 24 × 20 pixels; its parts are in mixed modes, and it draws noise of its own."""

    z_size = 8
    value_range = (-1, 1)

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.noise = noise
        self.net = nn.Sequential(
            nn.Linear(8, 3 * 24 * 20), nn.BatchNorm1d(3 * 24 * 20), nn.Dropout(0.5), nn.Tanh()
        )
        self.net[1].eval()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        found = self.net(z).unflatten(1, (3, 24, 20))
        return found + self.noise * torch.randn_like(found) if self.noise else found


class ByClass(Small):
    num_classes = 3
    class_names = ("cat", "dog", "fish")

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(z + labels[:, None])


def naive(generator: nn.Module, n: int, seed: int = 0) -> np.ndarray:
    """Every image from a latent of its own, rounded to the nearest of 256 steps."""
    generator.eval()
    images = []
    for i in range(n):
        z = np.random.default_rng([seed, i]).standard_normal((1, 8), np.float32)
        with torch.no_grad():
            x = generator(torch.from_numpy(z))[0].numpy()
        images.append(np.clip(np.rint((x + 1) * 127.5), 0, 255).astype(np.uint8))
    return np.stack(images).transpose(0, 2, 3, 1)


def drawn(given: gm.Generated) -> np.ndarray:
    return np.stack([given.pixels(i) for i in range(len(given.names))])


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_images_are_those_of_their_latents(batch_size: int) -> None:
    found = drawn(gm.Generated(Small(), 9, seed=5, batch_size=batch_size))
    assert found.shape == (9, 24, 20, 3)
    gap = np.abs(found.astype(int) - naive(Small(), 9, seed=5))
    assert gap.max() <= 1  # the last bit of a float32 product may round the other way
    assert (gap > 0).mean() < 1e-3
    assert len({image.tobytes() for image in found}) == 9


def test_an_image_depends_on_neither_number_nor_order() -> None:
    few, many = gm.Generated(Small(), 5, batch_size=2), gm.Generated(Small(), 11, batch_size=2)
    backwards = np.stack([many.pixels(i) for i in range(10, -1, -1)])[::-1]
    np.testing.assert_array_equal(drawn(few)[:4], backwards[:4])
    assert not np.array_equal(drawn(few), drawn(gm.Generated(Small(), 5, seed=1, batch_size=2)))


def test_what_it_draws_itself_is_seeded() -> None:
    first, again = (drawn(gm.Generated(Small(noise=0.1), 6, batch_size=4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = drawn(gm.Generated(Small(noise=0.1), 6, batch_size=4, seed=1))
    assert not np.array_equal(first, other)


def test_it_is_left_as_it_was() -> None:
    generator = Small(noise=0.1)
    modes = [part.training for part in generator.modules()]
    state = {k: v.clone() for k, v in generator.state_dict().items()}
    random, grad = torch.get_rng_state(), torch.is_grad_enabled()
    drawn(gm.Generated(generator, 5))
    assert modes == [part.training for part in generator.modules()]
    assert len(set(modes)) == 2
    assert torch.equal(random, torch.get_rng_state())
    assert grad == torch.is_grad_enabled()
    assert all(torch.equal(v, state[k]) for k, v in generator.state_dict().items())
    z = torch.zeros(2, 8, requires_grad=True)
    generator(z).sum().backward()  # and can be trained on


def test_the_score_is_that_of_the_same_images_as_files(tmp_path: Path, folders: Folders) -> None:
    given = gm.Generated(Small(), 14)
    files = write_folder(tmp_path / "files", [*drawn(given)])
    asked = {"metrics": ["fid", "kid", "is", "prdc", "vendi"], "backbone": LITE0, "cache": False}
    here, there = (gm.evaluate(folders[0], fake, **asked) for fake in (given, files))
    for name, result in here.items():
        assert float(result) == pytest.approx(float(there[name]), rel=1e-6, abs=1e-9), name
        assert result.n_fake == 14


def test_nothing_of_it_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cache"
    gm.compute_stats(gm.Generated(Small(), 5), backbone=LITE0, cache=kept)
    assert not kept.exists() or not list(kept.rglob("*.npz"))


def test_classes_are_drawn_and_named(folders: Folders) -> None:
    given = gm.Generated(ByClass(), 40)
    assert {name.partition("/")[0] for name in given.names} == {"cat", "dog", "fish"}
    for i in (0, 7):
        rng = np.random.default_rng([0, i])
        z = torch.from_numpy(rng.standard_normal((1, 8), np.float32))
        label = int(rng.integers(3))
        assert given.names[i] == f"{ByClass.class_names[label]}/{i:06d}"
        with torch.no_grad():
            x = ByClass().eval()(z, torch.tensor([label]))[0].numpy()
        expected = np.rint((x.transpose(1, 2, 0) + 1) * 127.5)
        assert np.abs(given.pixels(i) - expected).max() <= 1


def test_single_images_are_named(folders: Folders) -> None:
    found = gm.evaluate(folders[0], gm.Generated(Small(), 12), metrics="fid", per_image=True,
                        backbone=LITE0)  # fmt: skip
    assert found.per_image is not None
    assert list(found.per_image.names) == [f"{i:06d}" for i in range(12)]


def sampler(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 24, 20, 3), dtype=np.uint8)


def test_a_sampler_draws_for_itself() -> None:
    one, other = (drawn(gm.Generated(sampler, 9, seed=s, batch_size=4)) for s in (0, 1))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:4], one[4:8])  # each batch has a seed of its own
    np.testing.assert_array_equal(one, drawn(gm.Generated(sampler, 9, batch_size=4)))


def test_images_of_several_forms_are_taken() -> None:
    from PIL import Image

    expected = drawn(gm.Generated(sampler, 3))

    def tensor(n: int, seed: int) -> torch.Tensor:
        return torch.from_numpy(sampler(n, seed)).permute(0, 3, 1, 2)

    def pillow(n: int, seed: int) -> list[Image.Image]:
        return [Image.fromarray(image) for image in sampler(n, seed)]

    def unit(n: int, seed: int) -> torch.Tensor:
        return tensor(n, seed).float() / 255

    def listed(n: int, seed: int) -> list[torch.Tensor]:
        return [image.requires_grad_() for image in unit(n, seed)]

    forms = ((tensor, None), (pillow, None), (unit, (0, 1)), (listed, (0, 1)))
    for form, declared in forms:
        np.testing.assert_array_equal(
            drawn(gm.Generated(form, 3, value_range=declared)), expected, form.__name__
        )

    def grey(n: int, seed: int) -> torch.Tensor:
        return tensor(n, seed)[:, :1]

    np.testing.assert_array_equal(drawn(gm.Generated(grey, 3)), expected[..., :1])

    def grey_pillow(n: int, seed: int) -> list[Image.Image]:
        return [Image.fromarray(image[..., 0]) for image in sampler(n, seed)]

    np.testing.assert_array_equal(drawn(gm.Generated(grey_pillow, 3)), expected[..., :1])
    array = gm.extract_features(gm.Generated(grey, 3), backbone=LITE0).array
    assert array.shape == (3, 1280)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's in the current folder, with generators in it."""
    here = Path(__file__).read_text()
    code = here[here.index("class Small") : here.index("def naive")]
    text = (
        "import numpy as np\nimport torch\nfrom torch import nn\n\n\n"
        + code.replace("# type: ignore[override]", "")
        + "ready = Small()\nbroken = 3\n"
        "def make():\n    print('made')\n    return Small()\n"
        "def made_of_nothing():\n    return 3\n"
        "def loud(n, seed):\n    print('loud'); return torch.zeros(n, 3, 8, 8, dtype=torch.uint8)\n"
        "def fails(n, seed):\n    raise KeyError('no such thing')\n"
    )
    (tmp_path / "own_generators.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_generators"
    sys.modules.pop("own_generators", None)


def onnx_of(generator: nn.Module, path: Path) -> Path:
    pytest.importorskip("onnxscript")
    torch.onnx.export(
        generator.eval(), (torch.zeros(2, 8),), str(path), dynamo=True, external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )  # fmt: skip
    return path


def test_by_name_as_torchscript_and_as_onnx(module: str, tmp_path: Path) -> None:
    expected = drawn(gm.Generated(Small(), 6)).astype(int)
    traced = tmp_path / "small.pt"
    torch.jit.trace(Small().eval(), torch.zeros(2, 8)).save(str(traced))
    pytest.importorskip("onnxruntime")
    ways = [
        gm.Generated(f"{module}:ready", 6),
        gm.Generated(f"{module}:make", 6),
        gm.Generated(f"{module}:Small", 6),
        gm.Generated(traced, 6, z_size=8, value_range=(-1, 1)),
        gm.Generated(onnx_of(Small(), tmp_path / "small.onnx"), 6, value_range=(-1, 1)),
    ]
    for way in ways:
        gap = np.abs(drawn(way) - expected)
        assert gap.max() <= 1, way.description
        assert (gap > 0).mean() < 1e-3


def test_what_a_file_does_not_say_must_be_said(tmp_path: Path) -> None:
    traced = tmp_path / "small.pt"
    torch.jit.trace(Small().eval(), torch.zeros(2, 8)).save(str(traced))
    with pytest.raises(UsageError, match="length of its latents; give --z-size"):
        gm.Generated(traced, 6)
    with pytest.raises(InputError, match=r"from -\d.* to .* declare the values of black"):
        drawn(gm.Generated(traced, 6, z_size=8))
    with pytest.raises(InputError, match=r"fails with latents of shape \(6, 7\)"):
        drawn(gm.Generated(traced, 6, z_size=7, value_range=(-1, 1)))


VERBS = [
    ("fid", "REAL"),
    ("kid", "REAL"),
    ("prdc", "REAL"),
    ("is",),
    ("vendi",),
    ("evaluate", "REAL", "--metrics", "fid,authpct"),
    ("compare", "REAL", "FAKE"),
    ("stats", "-o", "out.npz"),
    ("features", "-o", "out.npy"),
    ("search", "REAL"),
    ("map", "REAL", "-o", "map.png"),
    ("plot", "attribution", "REAL", "-o", "where.png"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_takes_one(verb: tuple[str, ...], module: str, folders: Folders) -> None:
    places = {"REAL": folders[0], "FAKE": folders[1]}
    asked = [places.get(part, part) for part in verb]
    done = call(*asked, "--generator", f"{module}:make", "--n-fake", 20, "--backbone", LITE0)
    assert done.code == 0, done.err
    assert "made" not in done.out  # what a user's code prints does not mix with results
    if verb[0] == "compare":
        assert f"generator {module}:make" in done.out
    if verb[0] == "search":
        assert "000019" in done.out


def test_a_seed_makes_other_images_and_a_record_repeats_them(
    module: str, folders: Folders, tmp_path: Path
) -> None:
    asked = ("fid", folders[0], "--generator", f"{module}:make", "--n-fake", 10, *LITE)
    one = json.loads(call(*asked, "--json").out)
    other = call(*asked, "--seed", 7, "-o", tmp_path / "r.json", "--json")
    assert one["value"] != json.loads(other.out)["value"]
    assert one["n_fake"] == 10
    again = call("reproduce", tmp_path / "r.json", folders[0], "--generator", f"{module}:make")
    assert again.code == 0, again.err
    assert "agrees" in again.out
    part = (*asked, "--max-images", 6, "-o", tmp_path / "p.json")
    assert call(*part).code == 0
    again = call("reproduce", tmp_path / "p.json", folders[0], "--generator", f"{module}:make")
    assert again.code == 0, again.err
    lower = call("reproduce", tmp_path / "r.json", folders[0], "--generator", f"{module}:loud")
    assert lower.code == 4


LITE = ("--backbone", LITE0)


@pytest.mark.parametrize(
    ("code", "given", "says"),
    [
        (2, ["FAKE", "--generator", "own_generators:make"], ("--generator replaces FAKE",)),
        (2, [], ("FAKE is missing",)),
        (2, ["--n-fake", "9"], ("--n-fake needs --generator", "needs --generator")),
        (2, ["--generator", "own_generators:none"], ("own_generators:none", "AttributeError")),
        (2, ["--generator", "no_such_module:f"], ("no_such_module", "importable from here")),
        (2, ["--generator", "own_generators:broken"], ("is of type int, which is not callable",)),
        (2, ["--generator", "own_generators:made_of_nothing"], ("is of type int",)),
        (2, ["--generator", "own_generators"], ("expected package.module:function",)),
        (3, ["--generator", "own_generators:fails"], ("KeyError", "no such thing")),
        (3, ["--generator", "none.pt"], ("none.pt does not exist",)),
        (3, ["--generator", "none.onnx"], ("none.onnx does not exist",)),
        (3, ["--generator", "bad.pt"], ("bad.pt is not a TorchScript",)),
        (3, ["--generator", "bad.onnx"], ("bad.onnx is not a usable ONNX model",)),
        (3, ["--generator", "state.pt"], ("state.pt is not a TorchScript", "torch.jit.trace")),
        (
            2,
            ["--generator", "own_generators:make", "--z-size", "x"],
            ("numbers separated by commas",),
        ),
        (2, ["--generator", "own_generators:make", "--value-range=1,0"], ("value_range",)),
        (2, ["--generator", "own_generators:make", "--z-size", "0"], ("above 0",)),
    ],
)
def test_a_generator_that_cannot_be_had(
    code: int, given: list[str], says: tuple[str, ...], module: str, folders: Folders
) -> None:
    pytest.importorskip("onnxruntime")
    Path("bad.pt").write_bytes(b"nothing of the kind")
    Path("bad.onnx").write_bytes(b"nothing of the kind")
    torch.save({"weight": torch.zeros(3)}, "state.pt")
    places = {"FAKE": str(folders[1])}
    asked = [places.get(part, part) for part in given]
    refused(code, "fid", folders[0], *asked, *LITE, says=says)


def pillow(mode: str, size: int = 8) -> object:
    from PIL import Image

    return Image.new(mode, (size, size))


def wrong(images: object) -> object:
    def draw(n: int, seed: int) -> object:
        return images(n) if callable(images) else images

    return draw


@pytest.mark.parametrize(
    ("images", "declared", "says"),
    [
        (lambda n: torch.full((n, 3, 8, 8), torch.nan), (-1, 1), "contain NaN, first in image 0"),
        (lambda n: torch.full((n, 3, 8, 8), torch.inf), (-1, 1), "contain infinity, first in"),
        (lambda n: torch.zeros(n, 3, 8, 8), None, "from 0 to 0.*--value-range"),
        (
            lambda n: torch.zeros(n, 3, 8, 8) + 200,
            (-1, 1),
            r"value_range=\(0, 255\)",
        ),
        (lambda n: torch.zeros(n, 3, 8, 8) - 1, (0, 1), r"from -1 to -1.*value_range=\(-1, 1\)"),
        (lambda n: torch.zeros(n - 1, 3, 8, 8).byte(), None, "returned 4 images .* for 5 latents"),
        (lambda n: torch.zeros(n, 2, 8, 8).byte(), None, r"\(5, 2, 8, 8\); expected N × H"),
        (
            lambda n: torch.zeros(n, 192).byte(),
            None,
            r"returned 1 images .*\(1, 1, 5, 192\)\) for 5",
        ),
        (lambda n: torch.zeros(n, 3, 0, 8).byte(), None, r"\(5, 3, 0, 8\)"),
        (lambda n: torch.zeros(n, 3, 8, 8).int(), None, "the type int32, with values from 0"),
        (lambda n: (torch.zeros(n, 3, 8, 8),) * 2, None, "a tuple of 2 .*, which is ambiguous"),
        (None, None, "of type NoneType"),
        (lambda n: [pillow("RGBA")] * n, None, "mode RGBA; expected RGB or L"),
        (lambda n: [pillow("YCbCr")] * n, None, "mode YCbCr; expected RGB or L"),
        (lambda n: [pillow("RGB", i) for i in range(9, 9 + n)], None, "in one list; expected one"),
        (lambda n: torch.zeros(n, 3, 8, 8).bool(), (-1, 1), "the type bool"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_generator_that_gives_something_else(
    images: object, declared: object, says: str, on_error: str, folders: Folders
) -> None:
    given = gm.Generated(wrong(images), 5, value_range=declared)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=says):
        gm.fid(folders[0], given, backbone=LITE0, on_error=on_error)


def test_after_a_failure_nothing_runs_and_all_is_as_it_was(folders: Folders) -> None:
    """Threads read ahead: none of them may draw once the caller is told."""

    class Failing(Small):
        calls = 0

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            time.sleep(0.2)
            raise ValueError("no such luck")

    generator = Failing()
    modes = [part.training for part in generator.modules()]
    random, out = torch.get_rng_state(), sys.stdout
    with pytest.raises(InputError, match="no such luck"):
        gm.fid(folders[0], gm.Generated(generator, 64), backbone=LITE0)
    assert modes == [part.training for part in generator.modules()]
    assert torch.equal(random, torch.get_rng_state())
    assert sys.stdout is out
    time.sleep(0.5)
    assert generator.calls == 1


def test_nor_after_a_failure_elsewhere(folders: Folders) -> None:
    """The network gives NaN for the first batch, while the generator draws others."""

    class Slow(Small):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            time.sleep(0.1)
            return super().forward(z)

    class Broken(nn.Module):
        preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) * torch.nan

    generator = Slow()
    random, out = torch.get_rng_state(), sys.stdout
    with pytest.raises(gm.ComputationError, match="NaN or infinity"):
        gm.compute_stats(gm.Generated(generator, 400, batch_size=4), backbone=Broken())
    assert any(part.training for part in generator.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert sys.stdout is out


def test_its_precision_is_that_of_its_parameters() -> None:
    expected = drawn(gm.Generated(Small(), 4)).astype(int)
    assert np.abs(drawn(gm.Generated(Small().double(), 4)) - expected).max() <= 1
    assert np.abs(drawn(gm.Generated(Small().bfloat16(), 4)) - expected).max() <= 8


def test_what_says_its_latents_is_no_factory(module: str, tmp_path: Path) -> None:
    code = (
        "import numpy as np\nimport torch\n"
        "def plain(z=None):\n    return z.view(-1, 1, 2, 4).repeat(1, 3, 4, 2).sigmoid()\n"
        "plain.z_size, plain.value_range = np.int64(8), (0, 1)\n"
    )
    (tmp_path / "own_plain.py").write_text(code)
    given = gm.Generated("own_plain:plain", 3)
    assert given.generator.z_shape == (8,)
    assert given.pixels(0).shape == (8, 8, 3)


def test_values_outside_the_range_are_clipped_and_it_is_said(folders: Folders) -> None:
    def wide(n: int, seed: int) -> torch.Tensor:
        values = torch.zeros(n, 3, 8, 8)
        values[:, :, 0] = 1.5
        return values

    given = gm.Generated(wide, 5, value_range=(-1, 1))
    assert set(np.unique(drawn(given))) == {128, 255}
    result = gm.fid(folders[0], gm.Generated(wide, 5, value_range=(-1, 1)), backbone=LITE0)
    assert "values (12.5%) were clipped to -1 … 1" in dict(result.warnings)["clipped-values"]
    tame = gm.fid(folders[0], gm.Generated(Small(), 5), backbone=LITE0)
    assert "clipped-values" not in dict(tame.warnings)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"n": 0}, "n must be"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"z_size": (8, 0)}, "z_size"),
        ({"value_range": (1, 1)}, "value_range"),
        ({"num_classes": 4}, "4 classes but names of 3"),
        ({"class_names": ("a", "a", "b")}, "must be different"),
        ({"class_names": ("a", "", "b")}, "not empty"),
        ({"class_names": ("a", "b/c", "b")}, "without '/'"),
    ],
)
def test_wrong_arguments(how: dict[str, object], says: str) -> None:
    generator = ByClass()
    generator.class_names = how.pop("class_names", generator.class_names)  # type: ignore[assignment]
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        gm.Generated(generator, **{"n": 4, **how})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="must be callable"):
        gm.Generated(3, 4)  # type: ignore[arg-type]
