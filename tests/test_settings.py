from __future__ import annotations

from pathlib import Path

import pytest

from gan_metrics import settings
from gan_metrics.errors import UsageError


def test_environment_variables_move_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_METRICS_CACHE", "/c")
    monkeypatch.setenv("GAN_METRICS_HOME", "/h")
    monkeypatch.setenv("TORCH_HOME", "/t")
    assert settings.cache_dir() == Path("/c")
    assert settings.weights_dir() == Path("/h/weights")
    assert settings.pins_file() == Path("/h/pins.json")
    assert settings.torch_hub_checkpoints() == Path("/t/hub/checkpoints")


def test_without_them_the_platform_s_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GAN_METRICS_CACHE", "GAN_METRICS_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert settings.cache_dir().name == "gan-metrics"
    assert settings.home_dir() != settings.cache_dir()
    assert settings.torch_hub_checkpoints() == Path.home() / ".cache/torch/hub/checkpoints"


def test_torch_hub_s_folder_is_where_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.hub

    for name, value in (("TORCH_HOME", "/t"), ("TORCH_HOME", ""), ("XDG_CACHE_HOME", "/x")):
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
        assert settings.torch_hub_checkpoints() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_cache_dir", nowhere)
    assert settings.cache_dir().name == "cache"
    monkeypatch.delenv("GAN_METRICS_CACHE")
    with pytest.raises(UsageError, match="set GAN_METRICS_CACHE"):
        settings.cache_dir()


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True)])
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("GAN_METRICS_OFFLINE", value)
    assert settings.offline() is expected
