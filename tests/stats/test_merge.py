"""Statistics of parts are those of the whole, or are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused
from conftest import LITE0
from data import crops, write_folder
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FEATURES

import gan_metrics as gm
from gan_metrics.errors import InputError, MismatchError, UsageError
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics

pytestmark = pytest.mark.usefixtures("coarse_lite0")


def statistics(features: np.ndarray, **facts: object) -> Statistics:
    return Statistics(Moments.from_features(features), **facts)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 10))
def test_parts_make_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(1e3, 2.0, (sum(sizes), 5)) * [1, 2, 3, 1e3, 1e-3]
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    found = gm.merge_stats([statistics(part) for part in parts]).moments
    assert found.n == len(whole)
    np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-13)
    np.testing.assert_allclose(
        found.cov, np.cov(whole, rowvar=False), rtol=1e-9, atol=1e-9 * np.abs(found.cov).max()
    )


def test_the_verb_gives_what_one_job_gives(tmp_path: Path) -> None:
    images = crops(9, seed=0)
    whole = write_folder(tmp_path / "whole", images)
    files = []
    for i, part in enumerate((images[:2], images[2:6], images[6:])):
        folder = write_folder(tmp_path / f"part{i}", part)
        (folder / "zz.png").write_bytes(b"broken")
        stats = gm.compute_stats(folder, backbone=LITE0, on_error="skip")
        files.append(stats.save(tmp_path / f"part{i}.npz"))
    out = tmp_path / "all.npz"
    header = json.loads(call("merge", *files, "-o", out, "--json").out)
    expected, found = gm.compute_stats(whole, backbone=LITE0), gm.load_stats(out)
    assert found.moments.n == 9 == header["n"]
    # The parts are batches of other sizes, whose features rounding moves; see tolerances.py.
    moved = FEATURES * float(expected.moments.mean.max())
    widest = float(np.sqrt(np.diag(expected.moments.cov).max()))
    np.testing.assert_allclose(found.moments.mean, expected.moments.mean, rtol=0, atol=moved)
    np.testing.assert_allclose(
        found.moments.cov, expected.moments.cov, rtol=0, atol=2 * moved * widest
    )
    assert found.spec == expected.spec
    assert found.protocol == expected.protocol
    assert found.source["skipped"] == 3
    assert [part["n"] for part in found.source["merged"]] == [2, 4, 3]
    assert "skipped-images" in [code for code, _ in found.warnings]
    assert gm.fid(out, whole).value == pytest.approx(0.0, abs=1e-4)
    assert "9 images, 1280 dimensions" in call("merge", *files, "-o", out).out
    again = gm.merge_stats([gm.merge_stats(files[:2]), files[2]])
    np.testing.assert_allclose(again.moments.cov, found.moments.cov, rtol=1e-12, atol=1e-12)
    assert again.identity == found.identity
    with pytest.raises(InputError, match="count twice"):
        gm.merge_stats([out, files[1]])


def test_what_cannot_be_merged(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    rng = np.random.default_rng(0)
    a, b = (statistics(rng.normal(size=(9, 4)), description=name) for name in "ab")
    with pytest.raises(UsageError, match="nothing to merge"):
        gm.merge_stats([])
    with pytest.raises(InputError, match="b does not state its number of images"):
        gm.merge_stats([a, replace(b, moments=replace(b.moments, n=None))])
    with pytest.raises(InputError, match="count twice"):
        gm.merge_stats([a, b, a])
    with pytest.raises(MismatchError, match="dimensions 4 and 5"):
        gm.merge_stats([a, statistics(rng.normal(size=(9, 5)))])
    with pytest.raises(MismatchError, match="protocols pytorch-fid and tf1"):
        gm.merge_stats([replace(a, protocol="tf1"), replace(b, protocol="pytorch-fid")])
    with pytest.raises(MismatchError, match="backbone"):
        gm.merge_stats([replace(a, spec=FeatureSpec("x")), replace(b, spec=FeatureSpec("y"))])
    with pytest.raises(UsageError, match="not a statistics file"):
        gm.merge_stats([a, folders[0]])
    out = tmp_path / "out.npz"
    refused(3, "merge", tmp_path / "none.npz", "-o", out, says=("does not exist",))
    assert not out.exists()
