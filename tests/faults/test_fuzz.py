"""Whatever stands in a file: what it says, or an error that is meant for a person."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data import crops
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from records import record

import gan_metrics as gm
from gan_metrics.analysis.reproduction import reproduce
from gan_metrics.errors import GanMetricsError
from gan_metrics.features.features import Features
from gan_metrics.features.files import load_features, save_features
from gan_metrics.inputs.opening import open_source
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.files import load_stats, read_reference
from gan_metrics.stats.statistics import Statistics

TIMES = [30, pytest.param(5000, marks=pytest.mark.slow)]
ROWS = np.random.default_rng(0).normal(size=(30, 4))
STATS = Statistics(Moments.from_features(ROWS), FeatureSpec("inception", "pool3", "avg", "ab" * 32))
HEADER = STATS.header()
SIDES = [
    Features([f"{i}.png" for i in range(30)], (ROWS + shift).astype(np.float32), STATS.spec)
    for shift in (0, 1)
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some bytes changed, a piece of it cut out, put in twice, or its end lost."""
    data = bytearray(whole)
    places = st.integers(0, len(whole) - 1)
    for at, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        data[at] = value
    start, stop = sorted((draw(places), draw(places)))
    match draw(st.sampled_from(["", "cut", "twice", "end", "noise"])):
        case "cut":
            del data[start:stop]
        case "twice":
            data[stop:stop] = data[start:stop]
        case "end":
            del data[start:]
        case "noise":
            data[start:start] = draw(st.binary(max_size=40))
    return bytes(data)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crops(1, seed=seed, low=24, high=24)[0]).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"deep/{i}.png", png(i))


def tarred(path: Path) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for i in range(3):
            info = tarfile.TarInfo(f"deep/{i}.png")
            info.size = len(png(i))
            archive.addfile(info, io.BytesIO(png(i)))


def table(path: Path) -> None:
    parquet.write_table(pa.table({"image": [png(i) for i in range(3)]}), path)


def batch(path: Path) -> None:
    images = np.stack(crops(3, seed=1, low=8, high=8))
    np.save(path, images) if path.suffix == ".npy" else np.savez_compressed(path, arr_0=images)


def listed(path: Path) -> None:
    for i in range(3):
        (path.parent / f"{i}.png").write_bytes(png(i))
    path.write_text("path,class\n0.png,a\n1.png,b\n2.png,a\n")


def look(path: Path) -> None:
    """Each image is there with its bytes or its pixels, or the error is one for people."""
    source = open_source(path)
    names = source.names
    assert len(set(names)) == len(names)
    for i in range(len(names)):
        got = source.read(i)
        assert isinstance(got, bytes | np.ndarray)


def sound(statistics: Statistics) -> None:
    moments = statistics.moments
    assert moments.mean.dtype == moments.cov.dtype == np.float64
    assert np.isfinite(moments.mean).all()
    assert np.isfinite(moments.cov).all()
    np.testing.assert_array_equal(moments.cov, moments.cov.T)
    assert moments.n is None or moments.n > 1
    json.dumps(statistics.header(), allow_nan=False)


def read_statistics(path: Path) -> None:
    for one in load_stats(path).kinds.values():
        sound(one)


def pickled(path: Path) -> None:
    moments = STATS.moments
    path.write_bytes(pickle.dumps({"fid": {"mu": moments.mean, "sigma": moments.cov}}))


def read_peer(path: Path) -> None:
    for one in read_reference(path).statistics.kinds.values():
        assert np.isfinite(one.moments.mean).all()


def read_features(path: Path) -> None:
    found = load_features(path)
    assert np.isfinite(found.array).all()
    assert len(found.names) == len(found.array)


def write_features(path: Path) -> None:
    save_features(SIDES[0], path)


def write_result(path: Path) -> None:
    path.write_text(json.dumps(gm.fid(*SIDES).to_json()))


def read_result(path: Path) -> None:
    reproduce(path, *SIDES)


READERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], None]]] = {
    "statistics.npz": (STATS.save, read_statistics),
    "peer.pkl": (pickled, read_peer),
    "features.npy": (write_features, read_features),
    "features.npz": (write_features, read_features),
    "features.parquet": (write_features, read_features),
    "features.safetensors": (write_features, read_features),
    "images.zip": (zipped, look),
    "images.tar": (tarred, look),
    "images.tar.gz": (tarred, look),
    "images.parquet": (table, look),
    "images.npy": (batch, look),
    "images.npz": (batch, look),
    "images.csv": (listed, look),
    "result.json": (write_result, read_result),
}


def fuzz(
    what: str, times: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]
) -> None:
    """Try so many draws; errors that are meant for people are good ends, others are not."""
    tries = refused = 0

    @settings(
        max_examples=times, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def tried(drawn: Any) -> None:
        nonlocal tries, refused
        tries += 1
        try:
            check(drawn)
        except GanMetricsError:
            refused += 1

    tried()
    assert 0 < refused <= tries
    record(f"fuzzed: {what}", tries, f"{refused} refused, the rest sound")


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_bytes(name: str, times: int, tmp_path: Path) -> None:
    write, read = READERS[name]
    path = tmp_path / name
    write(path)
    read(path)
    whole = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.redirect_stderr(io.StringIO()):
            read(path)

    fuzz(name, times, spoilt(whole), check)


@pytest.mark.parametrize("times", TIMES)
def test_the_header_of_statistics(times: int, tmp_path: Path) -> None:
    fields = [
        *HEADER,
        "feature_spec.preprocess",
        *(f"feature_spec.{n}" for n in STATS.spec.to_json()),
    ]
    path = tmp_path / "x.npz"

    def check(drawn: tuple[str, Any]) -> None:
        field, value = drawn
        header = json.loads(json.dumps(HEADER))
        if field == "whole":
            header = value
        elif field.startswith("feature_spec."):
            header["feature_spec"][field.partition(".")[2]] = value
        else:
            header[field] = value
        np.savez(path, mu=STATS.moments.mean, sigma=STATS.moments.cov, n=30,
                 header=json.dumps(header))  # fmt: skip
        read_statistics(path)

    fuzz(
        "the header of statistics",
        times,
        st.tuples(st.sampled_from(["whole", *fields]), JSON),
        check,
    )


@pytest.mark.parametrize("times", TIMES)
def test_the_record_of_a_result(times: int, tmp_path: Path) -> None:
    whole = gm.fid(*SIDES).to_json()
    path = tmp_path / "x.json"

    def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return [at] + [
            place
            for key, one in inner
            for place in (places(one, (*at, key)) if isinstance(one, dict | list) else [(*at, key)])
        ]

    def check(drawn: tuple[tuple[Any, ...], Any]) -> None:
        at, value = drawn
        text = json.loads(json.dumps(whole))
        if not at:
            text = value
        else:
            inner = text
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = value
        path.write_text(json.dumps(text))
        read_result(path)

    fuzz("the record of a result", times, st.tuples(st.sampled_from(places(whole)), JSON), check)
