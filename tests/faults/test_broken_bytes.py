"""Broken files: an error that names the file, or the picture that a strict Pillow sees."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from conftest import LITE0
from data import crops
from PIL import Image
from records import record

import gan_metrics as gm
from gan_metrics.errors import ImageError
from gan_metrics.images.decode import decode
from gan_metrics.protocols.spec import Decoding

pytestmark = pytest.mark.usefixtures("coarse_lite0")

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
PLAIN = ("RGB", "L", "P", "1")


def file(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crops(1, seed=3, low=48, high=48)[0]).save(buffer, format_)
    return buffer.getvalue()


def strict(data: bytes) -> tuple[str, np.ndarray] | None:
    """The mode and the picture as Pillow alone has them; ``None``: it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.load()
                return image.mode, np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except Exception:
            return None


def judged(data: bytes) -> str:
    """``"error"`` or ``"same"``; fails where a picture comes out that Pillow does not have."""
    try:
        pixels, _ = decode(data, Decoding())
    except ImageError:
        return "error"
    expected = strict(data)
    assert expected is not None, "a picture where Pillow has none"
    if expected[0] in PLAIN:
        np.testing.assert_array_equal(pixels, expected[1])
    return "same"


@pytest.mark.parametrize("format_", FORMATS)
def test_truncated(format_: str) -> None:
    whole = file(format_)
    places = np.linspace(0, len(whole) - 1, 20).astype(int)
    seen = Counter(judged(whole[:place]) for place in places)
    assert seen["error"] >= 18  # a few bytes at the end may be padding
    record(f"{format_} truncated", 20, f"{seen['error']} errors, {seen['same']} as Pillow")


@pytest.mark.parametrize("format_", FORMATS)
def test_random_bytes_flipped(format_: str) -> None:
    whole = file(format_)
    rng = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    for _ in range(200):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        seen[judged(bytes(broken))] += 1
    record(f"{format_}, a byte flipped", 200, f"{seen['error']} errors, {seen['same']} as Pillow")


def oddities(folder: Path) -> dict[str, str]:
    """Puts what is no image into a folder, under the names of images; name to kind."""
    found = {
        "empty.png": "zero length",
        "text.jpg": "a text",
        "dangling.png": "a dangling link",
        "circle.png": "a link to itself",
        "pipe.png": "a named pipe",
        "line\nbreak.png": "a line break in its name",
        os.fsdecode(b"not-utf8-\xff.png"): "a name that is no UTF-8",
        "\N{CAT FACE}.png": "an emoji in its name",
    }
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("hello")
    (folder / "dangling.png").symlink_to(folder / "nowhere")
    (folder / "circle.png").symlink_to("circle.png")
    os.mkfifo(folder / "pipe.png")
    for name, kind in found.items():
        if "name" in kind and not (folder / name).exists() and "pipe" not in kind:
            (folder / name).write_bytes(b"no image")
    return found


def test_what_is_no_image_is_named_or_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "folder.png").mkdir(parents=True)
    for i, image in enumerate(crops(5, seed=0)):
        Image.fromarray(image).save(folder / "folder.png" / f"good{i}.png")
    jpeg_named_png = folder / "jpeg.png"
    Image.fromarray(crops(1, seed=9)[0]).save(jpeg_named_png, "JPEG")
    found = oddities(folder)
    features = gm.extract_features(folder, backbone=LITE0, on_error="skip")
    assert {name for name, _ in features.skipped} == set(found)
    assert len(features.names) == 6  # the JPEG too, which is one whatever its name
    record("in a folder: a folder named x.png", 1, "its images")
    record("in a folder: another format than the name says", 1, "decoded as what it is")
    for name in found:
        alone = tmp_path / "alone"
        alone.mkdir(exist_ok=True)
        for old in alone.iterdir():
            old.unlink()
        os.rename(folder / name, alone / name)
        with pytest.raises(ImageError) as caught:
            gm.extract_features(alone, backbone=LITE0)
        assert repr(name)[1:-1] in str(caught.value) or name in str(caught.value)
        record(f"in a folder: {found[name]}", 2, "named, or left out and listed")


def test_no_permission() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are for their owner alone
        folder = Path(name)
        folder.chmod(0o755)
        for file in ("a.png", "b.png"):
            Image.fromarray(crops(1, seed=0)[0]).save(folder / file)
        (folder / "a.png").chmod(0)
        with nobody():
            with pytest.raises(ImageError, match=r"a\.png.*Permission"):
                gm.extract_features(folder, backbone=LITE0, cache=False)
            found = gm.extract_features(folder, backbone=LITE0, cache=False, on_error="skip")
        assert found.names == ["b.png"]
        assert found.skipped[0][0] == "a.png"
    record("in a folder: no permission", 2, "named, or left out and listed")


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not read everything, where the tests are run by one who may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_links_in_circles(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for i, image in enumerate(crops(3, seed=0)):
        Image.fromarray(image).save(folder / "deep" / f"{i}.png")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert len(gm.extract_features(folder, backbone=LITE0, cache=False).names) == 3
    record("in a folder: links to folders in circles", 3, "each image once")


LMDB = """
import sys
from gan_metrics.errors import InputError
from gan_metrics.inputs.opening import open_source
for path in sys.argv[1:]:
    try:
        source = open_source(path)
        [source.read(i) for i in range(len(source.names))]
    except InputError:
        print("refused")
    else:
        print("whole")
"""


def test_a_database_that_is_cut_short(tmp_path: Path) -> None:
    """In a process of its own: the library would end it with a bus error."""
    whole = tmp_path / "whole.lmdb"
    with (
        lmdb.open(str(whole), subdir=False, map_size=1 << 20) as database,
        database.begin(write=True) as write,
    ):
        for i in range(30):
            write.put(f"{i:03d}".encode(), file("PNG"))
    data = whole.read_bytes()
    paths = [str(whole)]
    for keep in np.linspace(0, len(data) - 1, 20).astype(int):
        paths.append(str(tmp_path / f"{keep}.lmdb"))
        Path(paths[-1]).write_bytes(data[:keep])
    done = subprocess.run(
        [sys.executable, "-c", LMDB, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["whole"] + ["refused"] * 20
    record("LMDB truncated", 20, "20 errors")
