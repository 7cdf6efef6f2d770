from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from data import crops
from oracles import bilinear
from PIL import Image

from gan_metrics.backbones.registry import BACKBONES
from gan_metrics.errors import InputError, UsageError
from gan_metrics.images import resize as resize_module
from gan_metrics.images.preprocess import RESAMPLERS, apply
from gan_metrics.protocols.spec import Preprocess

PLAIN = {"divisor": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
SIZES = [(7, 5), (31, 64), (299, 299), (300, 301), (512, 333), (1, 9)]
TARGET = (37, 53)
"""Height and width; the sizes below are above and below them, equal on one axis or on both."""
AROUND = [(7, 5), (41, 29), (37, 90), (90, 53), (37, 53), (1, 9), (77, 1), (300, 411), (38, 52)]
KERNELS = ["box", "bilinear", "bicubic", "lanczos"]
ROUNDED = [name for name in RESAMPLERS if name.endswith("uint8")]
LINEAR = [name for name in RESAMPLERS if name not in ROUNDED]
ULP = 2.0**-15
"""Of float32, from 256 to 512; half of it below."""


def images(height: int, width: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def checkerboard(height: int, width: int) -> torch.Tensor:
    """Black and white squares of three pixels: every kernel with negative lobes overshoots."""
    rows, columns = torch.arange(height)[:, None] // 3, torch.arange(width) // 3
    return ((rows + columns) % 2 * 255).to(torch.uint8).expand(1, 3, -1, -1)


def resize(name: str, pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return RESAMPLERS[name](pixels, 1.0, height, width, (0, 0, height, width))


def by_pillow(
    image: Image.Image, width: int, height: int, how: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Pillow's two passes, the horizontal one first on every version of it."""
    return image.resize((width, image.height), how).resize((width, height), how)


def by_pillow_in_floats(image: torch.Tensor, height: int, width: int, name: str) -> np.ndarray:
    """Each channel as an image of mode ``F``; ``3 × H × W`` in and out."""
    how = Image.Resampling[name.upper()]
    channels = (Image.fromarray(channel) for channel in image.numpy().astype(np.float32))
    return np.stack([np.asarray(by_pillow(c, width, height, how)) for c in channels])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_torch_bilinear_is_the_definition(height: int, width: int) -> None:
    pixels = images(height, width, 1)
    out = apply(pixels, Preprocess("exact", 33, "torch-bilinear", None, **PLAIN))
    expected = bilinear(pixels[0, 1].double().numpy(), 33)
    # torch computes source coordinates in float32: off by up to 512·2⁻²⁴·255 grey levels.
    np.testing.assert_allclose(out[0, 1].numpy(), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "mode", "antialias"),
    [
        ("torch-bilinear", "bilinear", False),
        ("torch-bilinear-antialias", "bilinear", True),
        ("torch-bicubic-antialias", "bicubic", True),
    ],
)
@pytest.mark.parametrize(("height", "width"), AROUND)
def test_torch_is_torch(height: int, width: int, name: str, mode: str, antialias: bool) -> None:
    pixels = images(height, width)
    theirs = torch.nn.functional.interpolate(
        pixels.float(), TARGET, mode=mode, align_corners=False, antialias=antialias
    )
    assert torch.equal(resize(name, pixels, *TARGET), theirs)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), AROUND)
def test_torch_antialiased_is_pillow_but_for_float32_coefficients(
    height: int, width: int, kernel: str
) -> None:
    pixels = images(height, width, 1)
    ours = resize(f"torch-{kernel}-antialias", pixels, *TARGET)[0].numpy()
    theirs = by_pillow_in_floats(pixels[0], *TARGET, kernel)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


@pytest.mark.parametrize(("height", "width"), [*AROUND, (64, 64), (299, 300)])
@pytest.mark.parametrize("target", [TARGET, (299, 299)])
def test_tf1_is_torch_fidelity_to_the_last_bit(
    height: int, width: int, target: tuple[int, int]
) -> None:
    peer = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    tensorflow_1 = peer.interpolate_bilinear_2d_like_tensorflow1x
    pixels = images(height, width)
    theirs = tensorflow_1(pixels.float(), target, align_corners=False)
    assert torch.equal(resize("tf1-bilinear", pixels, *target), theirs)


def test_tf1_has_no_half_pixel_offset() -> None:
    pixels = torch.tensor([0, 10, 40], dtype=torch.uint8).expand(1, 3, 1, 3)
    out = resize("tf1-bilinear", pixels, 1, 6)
    assert out[0, 0, 0].tolist() == [0.0, 5.0, 10.0, 25.0, 40.0, 40.0]


@pytest.mark.parametrize(("height", "width"), [*AROUND, (64, 64)])
def test_tf1_grid_is_affine_grid_and_grid_sample(height: int, width: int) -> None:
    pixels, (h, w) = images(height, width).float(), TARGET
    theta = torch.eye(2, 3).repeat(2, 1, 1)
    theta[:, 0, 2] = torch.tensor(1.0) / width - torch.tensor(1.0) / w
    theta[:, 1, 2] = torch.tensor(1.0) / height - torch.tensor(1.0) / h
    grid = torch.nn.functional.affine_grid(theta, [2, 3, h, w], align_corners=False)
    theirs = torch.nn.functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(
        resize("tf1-bilinear-grid", pixels, h, w), theirs, rtol=0, atol=ULP / 2
    )


@pytest.mark.parametrize(("height", "width"), [*AROUND, (64, 64), (299, 300)])
def test_the_two_ways_of_tf1_differ_by_rounding(height: int, width: int) -> None:
    pixels = images(height, width)
    one, other = (resize(n, pixels, 299, 299) for n in ("tf1-bilinear", "tf1-bilinear-grid"))
    # Positions of up to `width`, of a slope of up to 255 grey levels.
    torch.testing.assert_close(one, other, rtol=0, atol=255 * 4 * max(height, width) * 2.0**-24)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("height", "width"), AROUND)
def test_pil_is_pillow_s_float_mode(height: int, width: int, name: str) -> None:
    pixels = images(height, width)
    ours = resize(f"pil-{name}", pixels, *TARGET).numpy()
    theirs = np.stack([by_pillow_in_floats(image, *TARGET, name) for image in pixels])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ULP)
    assert (ours == theirs).mean() > 0.99


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (256, 300), (300, 256), (256, 256)])
def test_pil_uint8_is_pillow_to_the_last_bit(height: int, width: int, name: str) -> None:
    pixels = images(height, width)
    out = apply(pixels, Preprocess("exact", 256, f"pil-{name}-uint8", None, **PLAIN))
    how = Image.Resampling[name.upper()]
    for image, ours in zip(pixels, out, strict=True):
        theirs = by_pillow(Image.fromarray(image.permute(1, 2, 0).numpy()), 256, 256, how)
        np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(theirs))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("height", "width"), [*AROUND, (5, 900), (900, 5)])
def test_pil_uint8_cuts_off_its_overshoot_as_pillow_does(
    height: int, width: int, name: str
) -> None:
    pixels = checkerboard(height, width)
    ours = resize(f"pil-{name}-uint8", pixels, *TARGET)[0].permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    theirs = by_pillow(picture, *TARGET[::-1], Image.Resampling[name.upper()])
    np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize(("height", "width"), AROUND)
def test_a_window_is_the_crop_of_the_whole(height: int, width: int, name: str) -> None:
    pixels = images(height, width)
    whole = resize(name, pixels, *TARGET)
    assert whole.dtype == torch.float32
    assert whole.shape == (2, 3, *TARGET)
    for top, left, h, w in [(0, 0, 5, 9), (3, 11, 30, 20), (36, 52, 1, 1), (20, 0, 17, 53)]:
        part = RESAMPLERS[name](pixels, 1.0, *TARGET, (top, left, h, w))
        assert torch.equal(part, whole[..., top : top + h, left : left + w])


@pytest.mark.parametrize("name", RESAMPLERS)
def test_many_images_are_each_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize_module, "_PIXELS_IN_CACHE", 3 * 40 * 70)
    pixels = images(40, 70, 7)
    together = resize(name, pixels, *TARGET)
    alone = torch.cat([resize(name, image[None], *TARGET) for image in pixels])
    exact = name in ROUNDED or name == "tf1-bilinear"
    torch.testing.assert_close(together, alone, rtol=0, atol=0 if exact else ULP)
    assert resize(name, pixels[:0], *TARGET).shape == (0, 3, *TARGET)


@pytest.mark.parametrize("name", RESAMPLERS)
def test_the_order_in_memory_does_not_matter(name: str) -> None:
    pixels = images(40, 70)
    last = pixels.contiguous(memory_format=torch.channels_last)
    # torch has another loop for channels that lie side by side.
    close = {"rtol": 0, "atol": 2e-4 if name.startswith("torch") else ULP}
    torch.testing.assert_close(resize(name, last, *TARGET), resize(name, pixels, *TARGET), **close)


@pytest.mark.parametrize("name", RESAMPLERS)
def test_the_divisor_divides(name: str) -> None:
    pixels = images(40, 70)
    divided = RESAMPLERS[name](pixels, 255.0, *TARGET, (0, 0, *TARGET))
    torch.testing.assert_close(divided * 255, resize(name, pixels, *TARGET), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["torch-bicubic-antialias", "pil-bicubic", "pil-lanczos"])
@pytest.mark.parametrize("divisor", [1.0, 255.0])
def test_overshoot_is_kept_unless_clipped(name: str, divisor: float) -> None:
    pixels, settings = checkerboard(40, 61), {**PLAIN, "divisor": divisor}
    kept = apply(pixels, Preprocess("exact", 29, name, 23, **settings))
    cut = apply(pixels, Preprocess("exact", 29, name, 23, **settings, clip=True))
    assert kept.min() < -1 / divisor
    assert kept.max() > 256 / divisor
    assert torch.equal(cut, kept.clamp(0, 255 / divisor))


def test_clean_fid_s_pixels() -> None:
    """Pillow's float bicubic, cut off at 0 and 255, not rounded; then (x − 128) / 128."""
    pixels = checkerboard(60, 47)
    spec = Preprocess("exact", 31, "pil-bicubic", None, 1.0, (128.0,) * 3, (128.0,) * 3, clip=True)
    theirs = by_pillow_in_floats(pixels[0], 31, 31, "bicubic").clip(0, 255)
    np.testing.assert_allclose(apply(pixels, spec)[0], (theirs - 128) / 128, atol=ULP / 128)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (62, 41), (50, 50), (7, 1), (3, 200)])
@pytest.mark.parametrize("crop", [None, 25])
def test_square_is_a_centred_crop_and_a_resize(height: int, width: int, crop: int | None) -> None:
    pixels, side = images(height, width), min(height, width)
    out = apply(pixels, Preprocess("square", 30, "pil-bicubic-uint8", crop, **PLAIN))
    top, left = (height - side) // 2, (width - side) // 2
    for image, ours in zip(pixels, out, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        square = picture.crop((left, top, left + side, top + side))
        theirs = np.asarray(by_pillow(square, 30, 30))
        if crop:
            theirs = theirs[2:27, 2:27]  # (30 − 25) / 2, rounded half to even
        np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), theirs)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (401, 299), (32, 32), (256, 999)])
def test_the_embedded_backbone_is_prepared_as_by_torchvision(height: int, width: int) -> None:
    from torchvision import transforms as tv

    resize, crop = tv.Resize(256, tv.InterpolationMode.BICUBIC), tv.CenterCrop(224)
    pixels = images(height, width)
    out = apply(pixels, BACKBONES["efficientnet-lite0"].preprocess)
    for image, ours in zip(pixels, out, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        resized = by_pillow(picture, *resize(picture).size)  # the size is torchvision's
        theirs = np.asarray(crop(resized))
        np.testing.assert_array_equal(ours.permute(1, 2, 0) * 128 + 127, theirs.astype(np.float32))


def test_pytorch_fid_s_arithmetic_to_the_last_bit() -> None:
    pixels = torch.from_numpy(crops(1, 5)[0].copy()).permute(2, 0, 1)[None]
    theirs = 2 * torch.nn.functional.interpolate(
        pixels.float() / 255, (299, 299), mode="bilinear", align_corners=False
    ) - 1  # fmt: skip
    assert torch.equal(apply(pixels, BACKBONES["inception"].preprocess), theirs)


@pytest.mark.parametrize("name", RESAMPLERS)
def test_a_constant_stays_constant(name: str) -> None:
    pixels = torch.full((1, 3, 40, 61), 77, dtype=torch.uint8)
    out = apply(pixels, Preprocess("exact", 29, name, None, **PLAIN))
    torch.testing.assert_close(out, torch.full((1, 3, 29, 29), 77.0))


def test_mean_and_std_belong_to_their_channels() -> None:
    spec = Preprocess("none", 0, "torch-bilinear", None, 255.0, (0.1, 0.2, 0.3), (1.0, 2.0, 4.0))
    out = apply(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), spec)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([0.9, 0.4, 0.175]))


def test_a_crop_without_a_resize_is_the_centre() -> None:
    pixels = images(10, 12)
    out = apply(pixels, Preprocess("none", 0, "torch-bilinear", 4, **PLAIN))
    assert torch.equal(out, pixels[..., 3:7, 4:8].float())


@pytest.mark.parametrize("name", RESAMPLERS)
def test_gradients_reach_the_pixels(name: str) -> None:
    pixels = torch.full((1, 3, 20, 20), 100.0, requires_grad=True)
    apply(pixels, Preprocess("exact", 10, name, None, **PLAIN)).sum().backward()
    assert pixels.grad is not None
    torch.testing.assert_close(pixels.grad.sum(), torch.tensor(300.0))


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize(("height", "width"), [(60, 80), (23, 53), (1, 9)])
def test_gradients_are_those_of_the_linear_map(height: int, width: int, name: str) -> None:
    """⟨g, A(x + d) − A(x)⟩ = ⟨Aᵀg, d⟩; a rounding resampler has the gradients of its kernel."""
    pixels = images(height, width, 1).float().requires_grad_()
    g = torch.randn((1, 3, *TARGET), generator=torch.Generator().manual_seed(5))
    out = resize(name, pixels, *TARGET)
    (out * g).sum().backward()
    assert pixels.grad is not None
    d = images(height + 1, width, 1)[..., :height, :].float() / 255
    step = resize(name.removesuffix("-uint8"), d, *TARGET)
    expected = (step.double() * g).sum()
    torch.testing.assert_close((pixels.grad.double() * d).sum(), expected, rtol=1e-4, atol=1e-2)
    assert torch.equal(out.detach(), resize(name, pixels.detach(), *TARGET))


@pytest.mark.parametrize("name", RESAMPLERS)
def test_what_was_kept_in_inference_mode_serves_gradients(name: str) -> None:
    resize_module._pil_bands.cache_clear()
    resize_module._tf1_taps.cache_clear()
    resize_module._grid.cache_clear()
    with torch.inference_mode():
        resize(name, images(40, 70), *TARGET)
    pixels = images(40, 70).float().requires_grad_()
    resize(name, pixels, *TARGET).sum().backward()
    assert pixels.grad is not None
    assert torch.isfinite(pixels.grad).all()
    assert pixels.grad.abs().sum() > 0


def test_no_gradient_comes_from_what_was_clipped() -> None:
    pixels = checkerboard(40, 61).float().requires_grad_()
    spec = Preprocess("exact", 29, "pil-bicubic", None, **PLAIN, clip=True)
    out = apply(pixels, spec)
    out[(out == 0) | (out == 255)].sum().backward()
    assert pixels.grad is not None
    assert (pixels.grad == 0).all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="N×3×H×W"):
        apply(torch.zeros(shape, dtype=torch.uint8), BACKBONES["inception"].preprocess)


def test_an_image_below_the_crop_is_an_error() -> None:
    with pytest.raises(InputError, match="smaller than the center crop"):
        apply(images(8, 8), Preprocess("none", 0, "torch-bilinear", 9, **PLAIN))


def test_an_unknown_interpolation_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown interpolation 'pil-bicubc'.*pil-bicubic"):
        apply(images(8, 8), Preprocess("exact", 9, "pil-bicubc", None, **PLAIN))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("pil-bicubic-uint8", resize_module._pil_bands),
        ("pil-lanczos", resize_module._pil_bands),
        ("tf1-bilinear", resize_module._tf1_taps),
    ],
)
def test_the_matrices_are_made_once(name: str, made: functools._lru_cache_wrapper) -> None:
    made.cache_clear()
    for _ in range(3):
        apply(images(30, 31), Preprocess("exact", 20, name, None, **PLAIN))
    assert made.cache_info().misses == 2
