"""Compare each protocol with its tool; print the table of docs/.

The tools run by their own entry points, on the same images and the same weights file; those that
cannot be installed are rebuilt from their published definitions (``tests/rebuilt.py``).
The weights are seeded random ones: same network, same weights, only the tool differs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "against_peers")]

import rebuilt  # noqa: E402
from data import crops, random_inception_weights, write_folder  # noqa: E402
from oracles import frechet_nuclear, short_precision_recall  # noqa: E402
from tools import (  # noqa: E402
    TOOLS,
    VGG16,
    Tool,
    install_weights,
    quietly,
    random_vgg16_weights,
)

import gan_metrics as gm  # noqa: E402
from gan_metrics.protocols.table import CLIP  # noqa: E402

Row = tuple[str, str, str, float | None, float | None, float, float]
"""Protocol, tool, what, the tool's value, ours, the difference, its bound."""

HEAD = """# Protocols and their tools

Made by `python benchmarks/protocols.py`: the same images (PNG, mixed sizes from 20 to 400 pixels,
odd, not square, one gray; counts in brackets) and the same seeded random weights for both. The
tools run with their own entry points, seeds and order of draws; tools that cannot be installed are
rebuilt from their definitions. Differences are relative; for features, relative to the largest
value. With fewer images than dimensions, the tools take the square root of a singular matrix: then
the distance is computed exactly from their features, and the printed value is compared with a
tolerance of 1e-3. torch {torch},
torchvision {torchvision}.
"""

N, M = 40, 37
MANY_N, MANY_M = 240, 225
WIDTH = "192"


def sets(root: Path) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """A few images of every kind, and more than the second layer has dimensions."""
    rng = np.random.default_rng(0)

    def noisy(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.clip(i + rng.normal(0, 30, i.shape), 0, 255).astype(np.uint8) for i in images]

    real = [*crops(N - 9, 1, 21, 200), *crops(6, 2, 310, 400), *crops(2, 3, 299, 299)]
    real += [crops(1, 4)[0][..., 0]]  # grey
    fake = noisy([*crops(M - 5, 5, 21, 200), *crops(5, 6, 301, 390)])
    many = crops(MANY_N, 7, 20, 60), noisy(crops(MANY_M, 8, 20, 60))
    return (
        (write_folder(root / "real", real), write_folder(root / "fake", fake)),
        (write_folder(root / "many-real", many[0]), write_folder(root / "many-fake", many[1])),
    )


def apart(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / abs(theirs)


def beside_tool(
    tool: Tool, few: tuple[Path, Path], many: tuple[Path, Path], weights: dict[str, Path]
) -> Iterator[Row]:
    name, label = tool.name, f"{tool.package} {tool.version}"
    given = {"protocol": name, "weights": weights}
    sides = [tool.features(folder) for folder in few]
    largest = 0.0
    for folder, theirs in zip(few, sides, strict=True):
        found = gm.extract_features(folder, **given).array
        largest = max(largest, float(np.abs(found - theirs).max() / np.abs(theirs).max()))
    yield name, label, "features, 2048-d", None, None, largest, 1e-5
    ours = gm.fid(*few, **given).value
    exact = frechet_nuclear(*sides)
    yield name, label, f"FID of its features ({N}/{M})", exact, ours, apart(ours, exact), 1e-5
    if name != "piq":
        printed = tool.fid(*few)
        yield (
            name,
            label,
            f"FID as it prints it ({N}/{M})",
            printed,
            ours,
            apart(ours, printed),
            1e-3,
        )
    if WIDTH in tool.layers and name != "piq":
        ours = gm.fid(*many, layer=WIDTH, **given).value
        printed = tool.fid(*many, WIDTH)
        what = f"FD, {WIDTH}-d, as it prints it ({MANY_N}/{MANY_M})"
        yield name, label, what, printed, ours, apart(ours, printed), 1e-5
    size = min(N, M) - 7
    theirs = tool.kid(*few, subset_size=size)
    if theirs is not None and name != "piq":
        found = gm.evaluate(*few, metrics="kid", arguments={"kid": {"subset_size": size}}, **given)[
            "kid"
        ].value
        yield name, label, f"KID, 100 × {size}", theirs, found, apart(found, theirs), 1e-5
    score = tool.inception_score(few[1])
    if score is not None:
        found = gm.evaluate(None, few[1], metrics="is", **given)["is"].value
        yield name, label, "Inception Score", score[0], found, apart(found, score[0]), 1e-5
    pair = tool.precision_recall(*few)
    if pair is not None:
        found = gm.evaluate(*few, metrics="precision,recall", **given)
        for metric, theirs in zip(("precision", "recall"), pair, strict=True):
            value = found[metric].value
            yield name, label, metric, theirs, value, apart(value, theirs), 1e-4


def beside_definition(few: tuple[Path, Path], weights: dict[str, Path]) -> Iterator[Row]:
    inception = rebuilt.Inception(weights[""])
    label = "its definition"

    def embedded(resize: object) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return [
            inception([(resize(x, 299) - 128) / 128 for x in rebuilt.pixels(f)])  # type: ignore[operator]
            for f in few
        ]

    def row(name: str, what: str, theirs: float, ours: float, bound: float = 1e-5) -> Row:
        return name, label, what, theirs, ours, apart(ours, theirs), bound

    real, fake = embedded(rebuilt.by_tensorflow)
    metrics = "fid,sfid,is,precision,recall"
    found = gm.evaluate(*few, metrics=metrics, protocol="adm", weights=weights)
    yield row("adm", "FID", frechet_nuclear(real[0], fake[0]), found["fid"].value)
    yield row("adm", "sFID", frechet_nuclear(real[2], fake[2]), found["sfid"].value)
    score = rebuilt.naive_inception_score(fake[1], [slice(None)])
    yield row("adm", "Inception Score", score, found["is"].value)
    pair = short_precision_recall(real[0], fake[0], 3, "float16-squared")
    for metric, theirs in zip(("precision", "recall"), pair, strict=True):
        yield row("adm", f"{metric}, squared float16", theirs, found[metric].value, 1e-4)

    real, fake = embedded(rebuilt.by_grid)
    metrics = "fid,kid,is,precision,recall"
    size = {"kid": {"subset_size": 30}}
    found = gm.evaluate(
        *few, metrics=metrics, protocol="stylegan3", weights=weights, arguments=size
    )
    yield row("stylegan3", "FID", rebuilt.divided_by_n(real[0], fake[0]), found["fid"].value)
    kid = rebuilt.naive_kid(real[0], fake[0], 30, 100)
    yield row("stylegan3", "KID, 100 × 30", kid, found["kid"].value)
    parts = [slice(i * M // 10, (i + 1) * M // 10) for i in range(10)]
    score = rebuilt.naive_inception_score(fake[1], parts)
    yield row("stylegan3", "Inception Score", score, found["is"].value)
    sides = rebuilt.vgg16_features(few, weights["vgg16"])
    pair = short_precision_recall(*sides, 3, "float16")
    for metric, theirs in zip(("precision", "recall"), pair, strict=True):
        yield row("stylegan3", f"{metric}, float16", theirs, found[metric].value, 1e-4)

    ours = gm.fid(*few, protocol="edm2", weights=weights).value
    yield row("edm2", "FID", frechet_nuclear(real[0], fake[0]), ours)
    part = tuple(beginning(folder, 6) for folder in few)
    for name, sides in rebuilt.dinov2_tokens(part).items():
        found = gm.evaluate(*part, metrics="fd_dinov2", protocol=name, weights="random")
        ours = found["fd_dinov2"].value
        yield row(name, "FD-DINOv2 (6/6)", frechet_nuclear(*sides), ours)
    theirs = rebuilt.naive_cmmd(part)
    ours = gm.evaluate(*part, metrics="cmmd", protocol="cmmd", weights="random")["cmmd"].value
    yield row("cmmd", f"CMMD in {CLIP} (6/6)", theirs, ours, 1e-4)


def beginning(folder: Path, n: int) -> Path:
    """The first images of a folder."""
    part = folder.with_name(f"{folder.name}-{n}")
    part.mkdir()
    for file in sorted(folder.iterdir())[:n]:
        (part / file.name).symlink_to(file)
    return part


def piq_prints(many: tuple[Path, Path], weights: dict[str, Path]) -> str:
    tool = next(tool for tool in TOOLS if tool.name == "piq")
    ours = gm.fid(*many, protocol="piq", weights=weights, layer="64").value
    exact = frechet_nuclear(*(tool.features(folder, "64") for folder in many))
    printed = tool.fid(*many, "64")
    return (
        f"piq's own FID is not in the table: its Newton-Schulz iteration stops before it has the\n"
        f"root. In 64 dimensions ({MANY_N}/{MANY_M} images) it prints {printed:.6g} where its own\n"
        f"features have {exact:.6g} (ours: {ours:.6g}); in 2048 dimensions it takes minutes."
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.environ |= {
            "TORCH_HOME": str(root / "torch"),
            "GAN_METRICS_HOME": str(root / "home"),
            "GAN_METRICS_CACHE": str(root / "cache"),
            "GAN_METRICS_OFFLINE": "1",
        }
        inception = random_inception_weights(root / "inception.pth")
        install_weights(root / "torch", inception)
        vgg16 = random_vgg16_weights(root / "torch" / "hub" / "checkpoints" / VGG16)
        weights = {"": inception, "vgg16": vgg16}
        few, many = sets(root)
        print(HEAD.format(torch=torch.__version__, torchvision=torchvision.__version__))
        print("| protocol | tool | what | its value | ours | difference | bound |")
        print("|---|---|---|---|---|---|---|")
        failed = 0
        sources = [beside_tool(tool, few, many, weights) for tool in TOOLS]
        for rows in [*sources, beside_definition(few, weights)]:
            with contextlib.suppress(StopIteration):
                while True:
                    with quietly():
                        row = next(rows)
                    name, label, what, theirs, ours, difference, bound = row
                    values = ["" if v is None else f"{v:.8g}" for v in (theirs, ours)]
                    failed += not difference <= bound
                    mark = "" if difference <= bound else " **outside**"
                    print(
                        f"| `{name}` | {label} | {what} | {values[0]} | {values[1]} | "
                        f"{difference:.1e}{mark} | {bound:.0e} |",
                        flush=True,
                    )
        with quietly():
            note = piq_prints(many, weights)
        print(f"\n{note}")
    if failed:
        sys.exit(f"{failed} rows are outside their bounds")


if __name__ == "__main__":
    main()
