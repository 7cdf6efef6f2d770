"""The rule for images in memory, held against its table in gan_metrics.images.in_memory."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from commands import call
from PIL import Image

import gan_metrics as gm
from gan_metrics.errors import InputError, UsageError
from gan_metrics.generators.calling import Generator
from gan_metrics.images.decode import decode
from gan_metrics.images.in_memory import (
    PixelConverter,
    batch_arrangement,
    channels_first,
    sample_arrangement,
)
from gan_metrics.images.sources import ImageSource
from gan_metrics.images.sources.samples import SampleReader
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import ImageSet
from gan_metrics.protocols.spec import Decoding
from gan_metrics.training import FID, Evaluator

pytestmark = pytest.mark.usefixtures("coarse_lite0")

LITE0 = "efficientnet-lite0"
N, H, W = 5, 8, 9
RGB = np.random.default_rng(0).integers(0, 256, (N, 3, H, W), dtype=np.uint8)
GRAY = RGB[:, 0]


def opened(given: Any, **declared: Any) -> ImageSource:
    found = open_set(given, Options(cache=False, **declared))
    assert isinstance(found, ImageSet)
    return found.source


def pixels(source: ImageSource, alpha: str = "drop") -> np.ndarray:
    decoding = Decoding(alpha=alpha)
    return np.stack([decode(source.read(i), decoding)[0] for i in range(len(source.names))])


def in_npy(array: np.ndarray, folder: Path) -> Path:
    np.save(folder / "images.npy", array)
    return folder / "images.npy"


def in_npz(array: np.ndarray, folder: Path) -> Path:
    np.savez_compressed(folder / "images.npz", labels=np.arange(N), images=array)
    return folder / "images.npz"


def in_pt(array: np.ndarray, folder: Path) -> Path:
    torch.save(torch.from_numpy(np.ascontiguousarray(array)), folder / "images.pt")
    return folder / "images.pt"


def in_hdf5(array: np.ndarray, folder: Path) -> Path:
    with h5py.File(folder / "images.h5", "w") as file:
        file["images"] = array
    return folder / "images.h5"


def in_loader(array: np.ndarray, folder: Path) -> Iterable[Any]:
    return torch.utils.data.DataLoader(torch.from_numpy(np.ascontiguousarray(array)), batch_size=2)


FORMS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "array": lambda array, folder: array,
    "tensor": lambda array, folder: torch.from_numpy(np.ascontiguousarray(array)),
    "npy": in_npy,
    "npz": in_npz,
    "pt": in_pt,
    "hdf5": in_hdf5,
    "loader": in_loader,
    "iterator": lambda array, folder: iter([array[:2], array[2:]]),
    "list of batches": lambda array, folder: [array[:2], array[2:]],
    "dataset": lambda array, folder: list(array),
}

SHAPES = {
    "N × 3 × H × W": RGB,
    "N × H × W × 3": RGB.transpose(0, 2, 3, 1),
    "N × 1 × H × W": GRAY[:, None],
    "N × H × W × 1": GRAY[..., None],
    "N × H × W": GRAY,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_form_and_shape_gives_the_same_pixels(shape: str, form: str, tmp_path: Path) -> None:
    given = FORMS[form](SHAPES[shape], tmp_path)
    expected = RGB if "3" in shape else np.repeat(GRAY[:, None], 3, axis=1)
    np.testing.assert_array_equal(pixels(opened(given)), expected)


@pytest.mark.parametrize("form", FORMS)
def test_four_channels_follow_alpha(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (N, H, W, 4), dtype=np.uint8)
    for name, array in {"last": rgba, "first": rgba.transpose(0, 3, 1, 2)}.items():
        (tmp_path / name).mkdir()
        source = opened(FORMS[form](array, tmp_path / name))
        np.testing.assert_array_equal(pixels(source), rgba[..., :3].transpose(0, 3, 1, 2))
    white = [Image.new("RGBA", (W, H), "white") for _ in rgba]
    composited = [
        np.asarray(Image.alpha_composite(back, Image.fromarray(one)).convert("RGB"))
        for back, one in zip(white, rgba, strict=True)
    ]
    expected = np.stack(composited).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(pixels(source, "white"), expected)


RANGES = {
    "float32 0…1": (RGB.astype(np.float32) / 255, (0, 1)),
    "float64 0…1": (RGB / 255, (0, 1)),
    "float32 −1…1": (RGB.astype(np.float32) / 127.5 - 1, (-1, 1)),
    "float64 0…255": (RGB.astype(np.float64), (0, 255)),
    "uint16 0…65535": (RGB.astype(np.uint16) * 257, (0, 65535)),
    "int8 −128…127": ((RGB.astype(np.int16) - 128).astype(np.int8), (-128, 127)),
    "int64 0…255": (RGB.astype(np.int64), (0, 255)),
    "int32 of 31 bits": (RGB.astype(np.int32) * 8421504, (0, 255 * 8421504)),
    "uint8, whatever is declared": (RGB, (-1, 1)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("declared", RANGES)
def test_a_declared_range_becomes_0_to_255(declared: str, form: str, tmp_path: Path) -> None:
    array, value_range = RANGES[declared]
    if form in ("tensor", "pt", "loader") and array.dtype == np.uint16:
        pytest.skip("a test of NumPy's types")
    source = opened(FORMS[form](array, tmp_path), value_range=value_range)
    np.testing.assert_array_equal(pixels(source), RGB)
    assert not source.warnings


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("array", "says"),
    [
        (
            RGB / 255,
            r"float64, with values from 0 to 1; .*=\(0, 1\) \(--value-range=0,1",
        ),
        (RGB / 127.5 - 1, r"from -1 to 1; .* value_range=\(-1, 1\)"),
        (RGB.astype(np.float32), r"from 0 to 255; .* value_range=\(0, 255\)"),
        (RGB * 257.0, r"from 0 to 65535; .*value_range=\(BLACK, WHITE\)"),
        (RGB.astype(np.int16) - 128, r"int16, with values from -128 to 127; .*\(BLACK, WHITE\)"),
        (RGB / 255 * 4 - 2, r"from -2 to 2; .*value_range=\(BLACK, WHITE\)"),
        (RGB > 7, r"the type bool; expected uint8"),
    ],
)
def test_values_of_unknown_range_are_refused(
    array: np.ndarray, says: str, form: str, tmp_path: Path
) -> None:
    array = array.copy()
    if array.dtype != bool:  # every part that a form reads first has both ends
        array[:, 0, 0, 0], array[:, 0, 0, 1] = array.min(), array.max()
    if form == "pt" and array.dtype == bool:
        pytest.skip("no type of tensors that is unpickled")
    with pytest.raises(InputError, match=says):
        opened(FORMS[form](array, tmp_path))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bad", "says"), [(np.nan, "NaN"), (np.inf, "infinity")])
@pytest.mark.parametrize("declared", [None, (0, 1)])
def test_nan_and_infinity_are_refused_with_their_place(
    declared: Any, bad: float, says: str, form: str, tmp_path: Path
) -> None:
    array = (RGB / 255).astype(np.float32)
    array[0, 2, 3, 4] = bad
    with pytest.raises(InputError, match=rf"{says}, first in image 0 at .* 2, 3, 4"):
        opened(FORMS[form](array, tmp_path), value_range=declared)


def test_complex_numbers_and_objects_are_refused() -> None:
    for array in (RGB.astype(np.complex64), RGB.astype(object)):
        for declared in (None, (0, 1)):
            with pytest.raises(InputError, match=r"the type (complex64|object)"):
                PixelConverter(declared).convert(array)


def test_values_outside_are_clipped_and_counted() -> None:
    converter = PixelConverter((0.0, 1.0), whose="those")
    given = np.array([[-0.5, 0.0, 0.5, 1.0, 1.5, 7.0] + [0.5] * 94], np.float32)
    found = converter.convert(given)
    np.testing.assert_array_equal(found[0, :6], [0, 0, 128, 255, 255, 255])
    ((code, text),) = converter.warnings
    assert code == "clipped-values"
    assert "those: 3 of 100 values (3.0%) were clipped to 0 … 1" in text
    assert "-0.5 to 7" in text
    converter.convert(np.full((1, 10_000), 0.5, np.float32))
    assert not converter.warnings  # 3 of 10,100


@pytest.mark.parametrize(
    ("declared", "array", "meant"),
    [
        ((-1, 1), RGB.astype(np.float32), (0, 255)),
        ((0, 1), RGB.astype(np.float32), (0, 255)),
        ((0, 1), RGB / 127.5 - 1, (-1, 1)),
        ((0, 255), RGB / 255, (0, 1)),
        ((0, 255), RGB / 127.5 - 1, (-1, 1)),
        ((-1, 1), RGB.astype(np.int32), (0, 255)),
    ],
)
def test_another_usual_range_than_the_declared_one_is_refused(
    declared: Any, array: np.ndarray, meant: tuple[int, int]
) -> None:
    expected = re.escape(f"value_range=({meant[0]}, {meant[1]}) ")
    for given in (array, torch.from_numpy(array)):
        with pytest.raises(InputError, match=expected):
            PixelConverter(declared).convert(given)


def test_what_is_near_the_declared_range_is_taken() -> None:
    """What has no final tanh leaves its range far and often, and dark images use little of it."""
    untrained = np.random.default_rng(0).normal(0, 2, (4, 3, 8, 8)).astype(np.float32)
    assert [code for code, _ in warned(untrained, (-1, 1))] == ["clipped-values"]
    dark = np.zeros((2, 3, 8, 8), np.float32)
    dark[0, 0, 0, 0] = 1
    assert not warned(dark, (0, 255))
    assert not warned(dark / 300, (0, 1))


def warned(array: np.ndarray, value_range: tuple[float, float]) -> Any:
    converter = PixelConverter(value_range)
    converter.convert(array)
    return converter.warnings


def test_half_of_a_symmetric_range_is_warned_of() -> None:
    array = (RGB / 255).astype(np.float32)
    ((code, text),) = warned(array, (-1, 1))
    assert code == "half-of-range"
    assert "0 … 1, the upper half" in text
    assert "value_range=(0, 1)" in text
    assert not warned(array * 2 - 1, (-1, 1))
    result = gm.fid(array, RGB, value_range=(-1, 1), backbone=LITE0, cache=False)
    assert "half-of-range" in [code for code, _ in result.warnings]


def test_floats_are_rounded_or_cut_off_and_integers_rounded() -> None:
    halves = np.array([0.2, 0.7, 254.49, 254.51], np.float32)
    np.testing.assert_array_equal(PixelConverter((0, 255)).convert(halves), [0, 1, 254, 255])
    cut = PixelConverter((0, 255), floor=True)
    np.testing.assert_array_equal(cut.convert(halves), [0, 0, 254, 254])
    np.testing.assert_array_equal(cut.convert(torch.from_numpy(halves)), [0, 0, 254, 254])
    sixteen = np.array([128, 129, 65535], np.uint16)
    for floor in (False, True):
        converter = PixelConverter((0, 65535), floor=floor)
        np.testing.assert_array_equal(converter.convert(sixteen), [0, 1, 255])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_of_torch(dtype: torch.dtype) -> None:
    given = torch.tensor([[-1.0, -0.5, 0.0, 0.5, 1.0]], dtype=dtype)
    found = PixelConverter((-1, 1)).convert(given)
    assert found.dtype == torch.uint8
    assert found.tolist() == [[0, 64, 128, 191, 255]]


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((8, 9, 3), "may be one image or 8 gray ones.*layout='NHW'"),
        ((3, 8, 9), "may be one image or 3 gray ones"),
        ((8, 9, 4), "may be one image"),
        ((8, 9, 2), "may be one image"),
        ((5, 3, 8, 3), "N × 3 × H × W or N × H × W × 3; declare layout='NCHW' or 'NHWC'"),
        ((5, 1, 8, 3), "N × 1 × H × W or N × H × W × 3"),
        ((5, 8, 9, 5), "expected N × H × W × 3"),
        ((0, 8, 9, 3), "expected N × H × W × 3"),
        ((8, 9), "expected N × H × W × 3"),
        ((2, 5, 3, 8, 8), "expected N × H × W × 3"),
    ],
)
def test_shapes_that_are_no_set_or_have_two_readings(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        batch_arrangement(shape, "those")


def test_a_declared_layout_decides() -> None:
    array = np.arange(5 * 3 * 8 * 3, dtype=np.uint8).reshape(5, 3, 8, 3)
    np.testing.assert_array_equal(pixels(opened(array, layout="NCHW")), array)
    np.testing.assert_array_equal(pixels(opened(array, layout="NHWC")), array.transpose(0, 3, 1, 2))
    gray = RGB[0]
    found = pixels(opened(gray, layout="NHW"))
    np.testing.assert_array_equal(found, np.repeat(gray[:, None], 3, axis=1))
    with pytest.raises(InputError, match="not NHWC"):
        opened(RGB, layout="NHWC")
    with pytest.raises(UsageError, match="layout='HWC': expected NCHW, NHWC or NHW"):
        opened(RGB, layout="HWC")


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((8, 9), (1, 8, 9, 1)),
        ((8, 9, 3), (1, 8, 9, 3)),
        ((3, 8, 9), (1, 8, 9, 3)),
        ((1, 8, 9), (1, 8, 9, 1)),
        ((4, 8, 9), (1, 8, 9, 4)),
        ((1, 3, 8, 9), (1, 8, 9, 3)),
        ((5, 8, 9), (5, 8, 9, 1)),
        ((5, 8, 9, 3), (5, 8, 9, 3)),
    ],
)
def test_arrays_of_a_loader(shape: tuple[int, ...], found: tuple[int, ...]) -> None:
    arrangement = sample_arrangement(shape, "those")
    assert arrangement[:4] == found
    n, height, width, channels = found
    array = np.zeros(shape, np.uint8)
    assert channels_first(array, arrangement).shape == (n, channels, height, width)


def test_a_last_batch_of_three_grey_images_is_no_color_image() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (11, H, W), dtype=np.uint8)
    source = opened(iter([whole[:8], whole[8:]]))
    np.testing.assert_array_equal(pixels(source), np.repeat(whole[:, None], 3, axis=1))
    with pytest.raises(InputError, match="a batch of gray images, but earlier ones were single"):
        opened(iter([whole[8:], whole[:8]]))


def as_pillow(array: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(one.transpose(1, 2, 0)) for one in array]


class Output:
    """What a pipeline of diffusers returns."""

    def __init__(self, images: Any) -> None:
        self.images = images


SAMPLES: dict[str, Callable[[np.ndarray], Any]] = {
    "a list of tensors": lambda x: list(torch.from_numpy(x)),
    "a tuple of arrays": tuple,
    "a list of Pillow's": as_pillow,
    "a list of bytes": lambda x: [png(image) for image in as_pillow(x)],
    "(list of tensors, labels)": lambda x: (list(torch.from_numpy(x)), [0] * len(x)),
    "(batch, labels)": lambda x: (torch.from_numpy(x), torch.arange(len(x))),
    "(batch, one-hot labels)": lambda x: (torch.from_numpy(x), torch.zeros(len(x), 10)),
    "[batch, labels]": lambda x: [torch.from_numpy(x), torch.arange(len(x))],
    "{'image': batch}": lambda x: {"image": x, "label": np.arange(len(x))},
    "{'images': list}": lambda x: {"images": list(x)},
    "{'pixel_values': list of Pillow's}": lambda x: {"pixel_values": as_pillow(x)},
    "({'image': batch}, labels)": lambda x: ({"image": x}, np.arange(len(x))),
    "a list of mappings": lambda x: [{"image": one} for one in as_pillow(x)],
    "an object with images": lambda x: Output(as_pillow(x)),
}


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def halves(sample: Callable[[np.ndarray], Any]) -> Iterator[Any]:
    yield sample(RGB[:3])
    yield sample(RGB[3:])


@pytest.mark.parametrize("kind", SAMPLES)
def test_batches_of_every_kind_count_all_their_images(kind: str) -> None:
    np.testing.assert_array_equal(pixels(opened(halves(SAMPLES[kind]))), RGB)
    reader = SampleReader(PixelConverter())
    found = np.concatenate([np.asarray(reader.batch(one)) for one in halves(SAMPLES[kind])])
    np.testing.assert_array_equal(found, RGB)


@pytest.mark.parametrize("kind", ["a list of tensors", "a list of Pillow's", "(batch, labels)"])
def test_lists_reach_features_training_and_generators(kind: str) -> None:
    expected = gm.extract_features(RGB, backbone=LITE0, cache=False).array
    found = gm.extract_features(halves(SAMPLES[kind]), backbone=LITE0, cache=False).array
    np.testing.assert_array_equal(found, expected)
    fid = FID(RGB, backbone=LITE0, device="cpu")
    for batch in halves(SAMPLES[kind]):
        fid.update(batch)
    assert fid.compute().n_fake == N
    if not kind.startswith("("):
        drawn = Generator(lambda z: SAMPLES[kind](RGB[: len(z)]), z_size=4).images(0, range(N))
        np.testing.assert_array_equal(drawn, RGB)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ((torch.from_numpy(RGB), torch.from_numpy(RGB)), r"a tuple of 2 \(Tensor, Tensor\), which"),
        ((torch.from_numpy(RGB), torch.from_numpy(GRAY)), "which is ambiguous"),
        (("a", 3), r"a tuple of 2 \(str, int\); expected Pillow images"),
        ({"picture": RGB}, "a mapping of picture; expected Pillow images.*'pixel_values'"),
        (7, "of type int"),
        ([], r"a list of 0"),
        (np.zeros(4, np.uint8), r"arrays of shape \(4,\), which cannot be images; for features"),
        ([RGB[0], RGB[0, :, :4]], "the shapes .* in one list; expected one"),
    ],
)
def test_samples_that_are_no_images_or_have_two_readings(sample: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        SampleReader(PixelConverter()).batch(sample)


def test_a_dataset_gives_one_image_for_each_number() -> None:
    class Batches:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> np.ndarray:
            return RGB[:2]

    with pytest.raises(InputError, match="returns 2 images in one sample"):
        opened(Batches())


def test_a_dataset_is_asked_for_one_sample_at_a_time() -> None:
    """Threads read ahead, and a data set need not be made for that."""

    class Careless:
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> np.ndarray:
            self.place = index
            time.sleep(0.002)
            return RGB[self.place]

    source = opened(Careless())
    with ThreadPoolExecutor(4) as threads:
        for files in zip(*(threads.map(source.read, range(N)) for _ in range(8)), strict=True):
            assert len(set(files)) == 1
        found = list(threads.map(source.read, range(N)))
    np.testing.assert_array_equal([decode(file, Decoding())[0] for file in found], RGB)


def test_lists_of_paths(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for path, image in zip(paths, as_pillow(RGB), strict=True):
        image.save(path)
    np.testing.assert_array_equal(pixels(opened(paths[::-1])), RGB[::-1])
    np.testing.assert_array_equal(pixels(opened([str(path) for path in paths])), RGB)
    with pytest.raises(InputError, match="the folder"):
        opened([paths[0], tmp_path])
    with pytest.raises(InputError, match="holds int; expected only paths"):
        opened([paths[0], 3])


def test_training_takes_what_files_give() -> None:
    """Grey and RGBA, in every order of axes, give the features of the same images in files."""
    rgba = np.random.default_rng(1).integers(0, 256, (N, 4, H, W), dtype=np.uint8)
    for array in (GRAY, GRAY[..., None], RGB.transpose(0, 2, 3, 1), rgba):
        expected = gm.fid(RGB, array, backbone=LITE0, cache=False, device="cpu")
        for given in (array, torch.from_numpy(np.ascontiguousarray(array))):
            found = FID(RGB, backbone=LITE0, device="cpu").update(given).compute()
            assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_an_evaluator_takes_what_a_generator_gives_whatever_the_layout_of_the_reals() -> None:
    """Four channels and one; ``layout`` is that of the real images."""
    real = np.ascontiguousarray(RGB.transpose(0, 2, 3, 1))
    rgba = np.concatenate([RGB, RGB[:, :1]], axis=1)
    for array, same in ((rgba, RGB), (RGB[:, :1], np.repeat(RGB[:, :1], 3, axis=1))):
        evaluator = Evaluator(
            real, n_fake=N, batch_size=N, latent=4, layout="NHWC", backbone=LITE0, device="cpu"
        )
        found = evaluator(lambda z, array=array: torch.from_numpy(array))["fid"]
        expected = gm.fid(RGB, same, backbone=LITE0, cache=False, device="cpu")
        assert float(found) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


def test_the_command_line_takes_the_range_and_the_layout(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", (RGB / 127.5 - 1).astype(np.float32))
    np.save(tmp_path / "b.npy", RGB)
    fid = ["fid", tmp_path / "a.npy", tmp_path / "b.npy", "--backbone", LITE0, "--no-cache"]
    done = call(*fid)
    assert done.code == 3
    assert "--value-range=-1,1" in done.err
    done = call(*fid, "--value-range=-1,1", "--layout", "NCHW")
    assert done.code == 0
    assert float(done.out.split()[1]) < 1e-9
    done = call(*fid, "--value-range=x")
    assert done.code == 2
    assert "--value-range=x: expected numbers separated by commas" in done.err
