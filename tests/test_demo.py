from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_metrics import demo
from gan_metrics.errors import UsageError
from gan_metrics.images.encode import enlarge, save_png, save_sheet

pytestmark = pytest.mark.usefixtures("coarse_lite0")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "IMAGES", 60)


@pytest.mark.usefixtures("few")
def test_better_models_come_closer(tmp_path: Path) -> None:
    rows = list(demo.run_demo(tmp_path / "demo"))
    assert [row.name for row in rows] == [*demo.MODELS, "held-out"]
    values = [row.result.value for row in rows]
    assert values == sorted(values, reverse=True)
    for row in rows:
        assert row.result.standard_error is not None
        assert row.result.n_fake == len(list(row.folder.iterdir())) == 60
    picture = np.asarray(Image.open(tmp_path / "demo" / "samples.png"))
    assert picture.shape[0] > 150
    assert picture.std() > 30
    first = (tmp_path / "demo" / "real" / "0000.png").read_bytes()
    list(demo.run_demo(tmp_path / "demo"))  # the same again
    assert (tmp_path / "demo" / "real" / "0000.png").read_bytes() == first


def test_it_does_not_write_over_other_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "IMAGES", 12)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="contains other files"):
        list(demo.run_demo(tmp_path))
    list(demo.run_demo(tmp_path / "demo"))
    (tmp_path / "demo" / "held-out" / "0003.png").unlink()  # as after an interruption
    list(demo.run_demo(tmp_path / "demo"))
    (tmp_path / "demo" / "real" / "extra.png").write_bytes(b"")
    with pytest.raises(UsageError, match="contains other files"):
        list(demo.run_demo(tmp_path / "demo"))


def test_pictures(tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_png(tmp_path / "deep" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png")), image)
    assert enlarge(image, 4).shape == (12, 16)
    save_sheet(tmp_path / "rows.png", [("one", [(image, "")] * 3), ("two", [(image, "")])])
    assert Image.open(tmp_path / "rows.png").size[1] == 4 + 2 * 7
