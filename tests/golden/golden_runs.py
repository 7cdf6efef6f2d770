"""Runs one command or one call, and turns what comes out into a document without local facts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import gan_metrics as gm

__all__ = ["describe", "environment", "inside", "normal", "run_command"]

_WIDTH = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "TERM": "dumb", "NO_COLOR": "1"}
_UNSET = (
    *("GAN_METRICS_INCEPTION", "GAN_METRICS_CACHE_SIZE", "XDG_CACHE_HOME", "FORCE_COLOR"),
    *("PY_COLORS", "GITHUB_ACTIONS"),
)


def environment(root: Path) -> dict[str, str]:
    """The variables of every run: places of its own, no connections, a terminal of 80 columns."""
    return {
        **_WIDTH,
        "GAN_METRICS_HOME": str(root / "home"),
        "GAN_METRICS_CACHE": str(root / "cache"),
        "TORCH_HOME": str(root / "torch"),
        "HF_HOME": str(root / "hub"),
        "GAN_METRICS_OFFLINE": "1",
    }


@contextlib.contextmanager
def inside(root: Path) -> Iterator[None]:
    """Work in a folder, with its modules importable; all is afterwards as it was."""
    before = os.getcwd()
    with (
        mock.patch.dict(os.environ, environment(root)),
        mock.patch.object(sys, "path", [str(root), *sys.path]),
        warnings.catch_warnings(),
    ):
        for name in _UNSET:
            os.environ.pop(name, None)
        os.chdir(root)
        try:
            yield
        finally:
            os.chdir(before)


def run_command(args: Sequence[str], *, apart: bool = False) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of ``gan-metrics ARGS`` in the current folder.

    Args:
        args: Of the command line.
        apart: In a process of its own: for options that stay set in the process.
    """
    if apart:
        done = subprocess.run(
            [sys.executable, "-m", "gan_metrics", *args],
            capture_output=True,
            encoding="utf-8",
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr
    from gan_metrics.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    with (
        mock.patch.object(sys, "argv", ["gan-metrics", *args]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return code, texts[0], texts[1]


def normal(value: Any, root: Path) -> Any:
    """A document without versions, places of this machine and what depends on them.

    ``versions`` become ``null``. The identity of random weights names the libraries that draw
    them: these are left out, and the fingerprint is that of what is left. Arrays become lists.

    Args:
        value: What was found, of plain values, arrays and the package's ``to_json``.
        root: The folder of the inputs.
    """
    if isinstance(value, Mapping):
        found = {str(k): None if k == "versions" else normal(v, root) for k, v in value.items()}
        return _unversioned(found)
    if isinstance(value, np.ndarray):
        return normal(value.tolist(), root)
    if isinstance(value, np.generic):
        return normal(value.item(), root)
    if isinstance(value, list | tuple):
        return [normal(one, root) for one in value]
    if isinstance(value, str):
        return normal_text(value, root)
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "to_json"):
        return normal(value.to_json(), root)
    raise TypeError(f"{type(value).__name__} cannot be recorded")


def normal_text(text: str, root: Path) -> str:
    """A text without places of this machine."""
    for place, name in ((str(root), "<inputs>"), (sys.prefix, "<prefix>")):
        text = text.replace(place, name)
    text = re.sub(r"<prefix>/\S*site-packages", "<packages>", text)
    text = re.sub(r"\S*/reference_stats(?=/)", "<references>", text)
    text = re.sub(r"[\d.]+ MiB", "<size> MiB", text)
    text = re.sub(r" at 0x[0-9a-f]+", " at 0x…", text)
    return re.sub(r"\d+\.\d+\.\d+\S*", "<version>", text)


def _unversioned(found: dict[str, Any]) -> dict[str, Any]:
    weights = found.get("weights_sha256")
    if not isinstance(weights, str) or not weights.startswith("random:"):
        return found
    weights = weights.partition(",")[0]
    fields = {**found, "weights_sha256": weights}
    del fields["fingerprint"]
    return {**fields, "fingerprint": gm.FeatureSpec.from_json(fields).fingerprint()}


def words(text: str) -> str:
    """A page of help without its frames and line breaks, which belong to the libraries."""
    return " ".join(re.sub(r"[│╭╮╰╯─┌┐└┘]", " ", text).split())


def describe(path: Path, root: Path) -> Any:
    """What is in a file that was written: fields, types, shapes and values."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: _array(archive[name], root) for name in archive.files}
    if suffix == ".npy":
        return _array(np.load(path, allow_pickle=False), root)
    if suffix in (".png", ".jpg"):
        from PIL import Image

        with Image.open(path) as image:
            return {"format": image.format, "mode": image.mode, "size": list(image.size)}
    if suffix == ".safetensors":
        return _safetensors(path, root)
    if suffix == ".parquet":
        return _parquet(path, root)
    if suffix == ".pt":
        import torch

        # What torch-fidelity writes holds NumPy's arrays.
        held = torch.load(path, weights_only=False)
        return {name: _array(np.asarray(array), root) for name, array in held.items()}
    if suffix == ".pkl":
        import pickle

        return _arrays_of(pickle.loads(path.read_bytes()), root)
    text = path.read_text(encoding="utf-8")
    if suffix in (".json", ".jsonl"):
        return [normal(json.loads(line), root) for line in _documents(text, suffix)]
    if suffix == ".html":
        return _page(text, root)
    return normal_text(text, root).splitlines()


def _documents(text: str, suffix: str) -> list[str]:
    return text.splitlines() if suffix == ".jsonl" else [text]


def _array(array: Any, root: Path) -> Any:
    about = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.dtype.kind in "US" and array.ndim == 0:
        return {"header": normal(json.loads(str(array)), root)}
    if array.size <= 64 or array.dtype.kind in "US":
        return {**about, "values": normal(array, root)}
    rows = array.reshape(len(array), -1).astype(np.float64)
    return {**about, "means": rows.mean(0)[:16].tolist(), "squares": float((rows**2).mean())}


def _arrays_of(held: Mapping[str, Any], root: Path) -> dict[str, Any]:
    return {
        name: _arrays_of(value, root)
        if isinstance(value, Mapping)
        else _array(np.asarray(value), root)
        for name, value in held.items()
    }


def _safetensors(path: Path, root: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        metadata = file.metadata()
    return {
        "metadata": {name: normal(json.loads(text), root) for name, text in metadata.items()},
        **{name: _array(array, root) for name, array in arrays.items()},
    }


def _parquet(path: Path, root: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    return {
        "columns": {field.name: str(field.type) for field in table.schema},
        "metadata": {
            key.decode(): normal(json.loads(text), root)
            for key, text in metadata.items()
            if key == b"gan_metrics"
        },
        "rows": normal(table.to_pydict(), root),
    }


def _page(text: str, root: Path) -> list[str]:
    """The headings and cells of a page."""
    found = re.findall(r"<(h[1-6]|t[hd])\b[^>]*>(.*?)</\1>", text, re.DOTALL)
    cells = (f"{tag}: {' '.join(re.sub(r'<[^>]+>', ' ', body).split())}" for tag, body in found)
    return [normal_text(cell, root) for cell in cells]
