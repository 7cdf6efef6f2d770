from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0

import gan_metrics as gm
from gan_metrics.errors import InputError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.features.files import FORMATS, claims_features, load_features, save_features
from gan_metrics.files.probe import probe
from gan_metrics.protocols.spec import FeatureSpec, Preprocess

pytestmark = pytest.mark.usefixtures("coarse_lite0")

SPEC = FeatureSpec(
    "vgg19", "fc7", "none", "ab" * 32,
    Preprocess("shorter", 256, "pil-bilinear-uint8", 224, 255.0, (0.5,) * 3, (0.5,) * 3),
    "fp32", (("alpha", "white"),),
)  # fmt: skip
NAMES = ["plain.png", "sub folder/ünï🙂.jpg", "new\nline.png", "not\udcfftext.png", ",;\"'.png"]


def sample(shape: tuple[int, ...] = (7,), n: int = len(NAMES)) -> Features:
    rng = np.random.default_rng(0)
    return Features(
        names=NAMES[:n],
        array=rng.normal(size=(n, *shape)).astype(np.float32),
        spec=SPEC,
        skipped=[("bad.png", "cut off")],
        digest="cd" * 32,
        warnings=[("icc", "1 image")],
        protocol="imagenet",
    )


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("shape", [(7,), (3, 2, 2)])
def test_what_is_saved_comes_back(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    before = sample(shape)
    path = save_features(before, tmp_path / f"deep/x{suffix}")
    back = load_features(path)
    np.testing.assert_array_equal(back.array, before.array)
    assert back.array.dtype == np.float32
    escaped = [n.encode("utf-8", "backslashreplace").decode() for n in NAMES]
    assert list(back.names) == (escaped if suffix == ".parquet" else NAMES)
    assert back.spec == SPEC
    assert back.spec.fingerprint() == SPEC.fingerprint()
    assert (back.protocol, back.digest) == ("imagenet", "cd" * 32)
    assert back.skipped == [("bad.png", "cut off")]
    assert back.warnings == [("icc", "1 image")]
    assert claims_features(probe(path))


def test_other_programs_can_read_them(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet
    from safetensors.numpy import load_file

    features = sample()
    for suffix in FORMATS:
        save_features(features, tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), features.array)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["features"], features.array)
        assert archive["names"].tolist() == NAMES
    tensors = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(tensors["features"], features.array)
    assert json.loads(tensors["names"].tobytes()) == NAMES
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column("name").to_pylist()[:2] == NAMES[:2]
    np.testing.assert_array_equal(np.array(table.column("features").to_pylist(), np.float32),
                                  features.array)  # fmt: skip


def test_a_plain_array_is_features_of_an_unknown_space(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4))
    np.save(tmp_path / "x.npy", rows)
    back = load_features(tmp_path / "x.npy")
    assert back.names[:2] == ["0", "1"]
    assert back.spec == FeatureSpec()
    np.save(tmp_path / "y.npy", rows + 1)
    result = gm.fid(tmp_path / "x.npy", tmp_path / "y.npy")
    assert result.value == pytest.approx(4.0, rel=1e-4)
    assert result.standard_error is not None
    assert "declared" in [code for code, _ in result.warnings]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_cut_and_every_flip_is_noticed_or_harmless(tmp_path: Path, suffix: str) -> None:
    path = save_features(sample(), tmp_path / f"x{suffix}")
    whole = path.read_bytes()
    for keep in np.linspace(0, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError):
            load_features(path)
    path.write_bytes(whole)
    assert load_features(path).names[0] == "plain.png"


def test_what_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_features(tmp_path / "none.npy")
    with pytest.raises(UsageError, match="saved features end in"):
        load_features(tmp_path / "none.txt")
    with pytest.raises(UsageError, match=r"\.parquet; use one of these"):
        save_features(sample(), tmp_path / "x.csv")
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="pickled objects"):
        load_features(tmp_path / "objects.npy")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"\(3,\)"):
        load_features(tmp_path / "flat.npy")
    bad = sample()
    bad.array[3, 2] = np.nan
    save_features(bad, tmp_path / "nan.npy")
    with pytest.raises(InputError, match=r"not\\udcfftext.png|not.*text.png"):
        load_features(tmp_path / "nan.npy")
    save_features(sample(), tmp_path / "short.npy")
    np.save(tmp_path / "short.npy", np.zeros((2, 7), np.float32))
    with pytest.raises(InputError, match="2 rows and 5 names"):
        load_features(tmp_path / "short.npy")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_verb_and_back(folders: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"real{suffix}"
    done = call("features", folders[0], "-o", out, "--backbone", LITE0)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}: 12 × 1280")
    direct = json.loads(call("fid", *folders, "--backbone", LITE0, "--json").out)
    saved = json.loads(call("fid", out, folders[1], "--json").out)
    assert saved["value"] == pytest.approx(direct["value"], rel=1e-6)
    assert saved["standard_error"] == pytest.approx(direct["standard_error"], rel=1e-6)
    assert saved["feature_spec"] == direct["feature_spec"]
    assert saved["protocol"] == "imagenet"
    stats = call("stats", out, "-o", tmp_path / "s.npz")
    assert stats.code == 0, stats.err
    again = json.loads(call("fid", tmp_path / "s.npz", out, "--json").out)
    assert again["value"] == pytest.approx(0, abs=1e-6)


def test_maps_keep_their_shape(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "maps.npy"
    document = json.loads(
        call("features", folders[0], "-o", out, "--backbone", LITE0, "--layer", "conv_head",
             "--pool", "none", "--json").out
    )  # fmt: skip
    assert document["shape"] == [12, 1280, 2, 2]
    assert np.load(out, mmap_mode="r").shape == (12, 1280, 2, 2)
    again = gm.extract_features(folders[0], backbone=LITE0, layer="conv_head", pool="none")
    np.testing.assert_array_equal(again.array, np.load(out))  # from the cache
    refused(2, "fid", out, out, says=("maps", "vectors"))
    refused(2, "fid", *folders, "--backbone", LITE0, "--layer", "conv_head", "--pool", "none",
            says=("metrics need vectors",))  # fmt: skip


def test_bad_usage(folders: tuple[Path, Path], tmp_path: Path) -> None:
    refused(2, "features", folders[0], "-o", tmp_path / "x.csv", says=(".parquet",))
    refused(2, "features", folders[0], "-o", tmp_path, says=("is a folder",))
    (tmp_path / "broken.npy").write_bytes(b"text")
    refused(3, "fid", tmp_path / "broken.npy", folders[1], says=("broken.npy",))
    save_features(sample(), tmp_path / "x.npy")
    refused(4, "fid", tmp_path / "x.npy", folders[1], "--backbone", LITE0, says=("backbone",))


MILLION = """
import resource, sys
import numpy as np
from gan_metrics.features.files import save_features
from gan_metrics.features.features import Features
from gan_metrics.files.growing_array import GrowingArray
from gan_metrics.protocols.spec import FeatureSpec
rows, dim, out = int(sys.argv[1]), 64, sys.argv[2]
import gan_metrics.utils.optional
if out.endswith("parquet"):
    gan_metrics.utils.optional.require("pyarrow.parquet", "formats")
store = GrowingArray(rows)
block = np.ones((10_000, dim), np.float32)
for start in range(0, rows, len(block)):
    block[:, 0] = np.arange(start, start + len(block))
    store.add(block)
class Names:
    def __len__(self): return rows
    def __iter__(self): return (str(i) for i in range(rows))
    def __getitem__(self, at):
        return [str(i) for i in range(rows)[at]] if isinstance(at, slice) else str(range(rows)[at])
save_features(Features(Names(), store.array(), FeatureSpec()), out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, suffix: str) -> None:
    def peak(rows: int) -> int:
        command = [sys.executable, "-c", MILLION, str(rows), str(tmp_path / f"{rows}{suffix}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    # 256 MB of features against 77 MB; names, as text, are 12 bytes a row and held whole.
    assert peak(1_000_000) - peak(300_000) < 80
    if suffix == ".npy":
        rows = np.load(tmp_path / "1000000.npy", mmap_mode="r")
        assert rows.shape == (1_000_000, 64)
        assert rows[::100_000, 0].tolist() == list(range(0, 1_000_000, 100_000))


@pytest.mark.parametrize("suffix", FORMATS)
def test_flipped_bytes_are_noticed_or_harmless(tmp_path: Path, suffix: str) -> None:
    before = sample((40,))
    path = save_features(before, tmp_path / f"x{suffix}")
    whole = path.read_bytes()
    silent = 0
    for at in np.random.default_rng(0).integers(0, len(whole), 200):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            back = load_features(path)
        except InputError:
            continue
        escaped = [n.encode("utf-8", "backslashreplace").decode() for n in NAMES]
        named = [n.encode("utf-8", "backslashreplace").decode() for n in back.names]
        same = np.array_equal(back.array, before.array) and named == escaped
        # The end of a Parquet file, which says what it is, has no checksum.
        silent += not (same and (back.spec == before.spec or suffix == ".parquet"))
    assert silent == 0


def test_rows_that_were_saved_over_are_not_taken_for_the_old_ones(tmp_path: Path) -> None:
    path = save_features(sample(), tmp_path / "x.npy")
    np.save(path, np.zeros((5, 7), np.float32))
    with pytest.raises(InputError, match="rows or names differ from"):
        load_features(path)
    (tmp_path / "x.npy.json").unlink()
    assert load_features(path).spec == FeatureSpec()


def test_ragged_lists_are_no_features(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    for rows in ([[1.0], [2.0, 3.0, 4.0]], [[1.0, 2.0], None]):
        table = pa.table({"name": ["a", "b"], "features": pa.array(rows, pa.list_(pa.float32()))})
        parquet.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(InputError, match="have different lengths"):
            load_features(tmp_path / "x.parquet")
    even = pa.table({"name": ["a", "b"], "features": [[1.0, 2.0], [3.0, 4.0]]})
    parquet.write_table(even, tmp_path / "x.parquet")
    assert load_features(tmp_path / "x.parquet").array.tolist() == [[1, 2], [3, 4]]


def test_what_the_command_says_of_saved_features_must_be_so(tmp_path: Path) -> None:
    path = save_features(sample(), tmp_path / "x.npy")
    assert gm.extract_features(path, backbone="vgg19", layer="fc7").array.shape == (5, 7)
    for how in ({"backbone": "resnet50"}, {"layer": "fc6"}, {"precision": "bf16"}):
        with pytest.raises(gm.MismatchError):
            gm.extract_features(path, **how)
        with pytest.raises(gm.MismatchError):
            gm.compute_stats(path, **how)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_float64_that_float32_cannot_hold_is_refused(tmp_path: Path, scale: float) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(9, 3)) * scale)
    refused(3, "vendi", path, says=("too large or small for float32", "one constant"))
