from __future__ import annotations

import numpy as np
import pytest
import torch
from data import crops
from oracles import bilinear
from PIL import Image

from gan_metrics import preprocess
from gan_metrics.backbones.registry import BACKBONES
from gan_metrics.errors import InputError
from gan_metrics.preprocess import RESAMPLERS, apply
from gan_metrics.specs import Preprocess

PLAIN = {"divisor": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
SIZES = [(7, 5), (31, 64), (299, 299), (300, 301), (512, 333), (1, 9)]


def images(height: int, width: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def by_pillow(
    image: Image.Image, width: int, height: int, how: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Pillow's two passes, the horizontal one first on every version of it."""
    return image.resize((width, image.height), how).resize((width, height), how)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_torch_bilinear_is_the_definition(height: int, width: int) -> None:
    pixels = images(height, width, 1)
    out = apply(pixels, Preprocess("exact", 33, "torch-bilinear", None, **PLAIN))
    expected = bilinear(pixels[0, 1].double().numpy(), 33)
    # torch computes source coordinates in float32: off by up to 512·2⁻²⁴·255 grey levels.
    np.testing.assert_allclose(out[0, 1].numpy(), expected, atol=1e-2)


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [*SIZES, (256, 300), (300, 256), (256, 256)])
def test_pil_uint8_is_pillow_to_the_last_bit(height: int, width: int, name: str) -> None:
    pixels = images(height, width)
    out = apply(pixels, Preprocess("exact", 256, f"pil-{name}-uint8", None, **PLAIN))
    how = Image.Resampling[name.upper()]
    for image, ours in zip(pixels, out, strict=True):
        theirs = by_pillow(Image.fromarray(image.permute(1, 2, 0).numpy()), 256, 256, how)
        np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(theirs))


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


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="N×3×H×W"):
        apply(torch.zeros(shape, dtype=torch.uint8), BACKBONES["inception"].preprocess)


def test_an_image_below_the_crop_is_an_error() -> None:
    with pytest.raises(InputError, match="smaller than the centre crop"):
        apply(images(8, 8), Preprocess("none", 0, "torch-bilinear", 9, **PLAIN))


def test_the_matrices_are_made_once() -> None:
    preprocess._pil_matrix.cache_clear()
    for _ in range(3):
        apply(images(30, 31), Preprocess("exact", 20, "pil-bicubic-uint8", None, **PLAIN))
    assert preprocess._pil_matrix.cache_info().misses == 2
