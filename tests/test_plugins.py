"""The plug-in of docs/how-to/plugin.md, as a distribution, from the command line."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data import crops, write_folder

import gan_metrics

ROOT = Path(gan_metrics.__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "plugin.md").read_text()
BLOCKS = dict(reversed(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)))  # the first of each
ORIGIN = {"name": "gan-metrics-example", "version": "1.2"}


def install(folder: Path, name: str, version: str, code: str, function: str = "register") -> None:
    """A distribution of one module, as an installer leaves it in a folder."""
    module = name.replace("-", "_")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    entry = f"[gan_metrics.plugins]\nexample = {module}:{function}\n"
    (info / "entry_points.txt").write_text(entry)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the plug-in of the guide."""
    assert 'example = "gan_metrics_example:register"' in BLOCKS["toml"]
    assert 'name = "gan-metrics-example"\nversion = "1.2"' in BLOCKS["toml"]
    folder = tmp_path / "site"
    install(folder, "gan-metrics-example", "1.2", BLOCKS["python"])
    return folder


def run(site: Path, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the program, or code after ``-c``, with the folder on the path."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    start = () if args[0] == "-c" else ("-m", "gan_metrics")
    return subprocess.run(
        [sys.executable, *start, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def test_what_it_provides_is_used_from_the_command_line(site: Path, tmp_path: Path) -> None:
    fake = write_folder(tmp_path / "fake", crops(12, 1, 40, 40))
    real = tmp_path / "real.b64"
    folder = write_folder(tmp_path / "real", crops(12, 0, 40, 40))
    images = [base64.b64encode(file.read_bytes()).decode() for file in sorted(folder.iterdir())]
    real.write_text("\n".join(images))
    command = ("evaluate", real, fake, "--metrics", "energy,fid", "--backbone", "tiny-edges")
    done = run(site, *command, "--set", "energy.power=0.5", "--json")
    assert done.returncode == 0, done.stderr
    energy, fd = json.loads(done.stdout)["results"]
    assert (energy["metric"], fd["metric"]) == ("energy", "fd")
    assert energy["plugins"] == fd["plugins"] == [ORIGIN]
    assert energy["arguments"] == {"power": 0.5}
    assert energy["value"] > 0
    spec = energy["feature_spec"]
    assert spec["plugins"] == {"gan-metrics-example": "1.2"}
    rebuilt = gan_metrics.FeatureSpec.from_json(spec)
    assert rebuilt.fingerprint() == spec["fingerprint"]
    assert rebuilt.plugins == (("gan-metrics-example", "1.2"),)
    refused = run(site, *command, "--set", "energy.power=2")
    assert refused.returncode == 2
    assert "energy.power must be above 0 and below 2, not 2" in refused.stderr
    off = run(site, *command, GAN_METRICS_PLUGINS="0")
    assert off.returncode == 2
    assert "unknown metric 'energy'" in off.stderr


def test_it_is_listed_and_failures_are_one_warning_each(site: Path) -> None:
    install(site, "broken-one", "0.1", "def register():\n    raise OSError('no such thing')\n")
    taken = BLOCKS["python"].replace('"energy"', '"fid"').replace("def register", "def start")
    install(site, "taken-name", "0.2", taken, "start")
    listed = run(site, "metrics", "--json")
    assert listed.returncode == 0, listed.stderr
    metrics = json.loads(listed.stdout)["metrics"]
    assert list(metrics)[-1] == "energy"
    assert metrics["energy"]["plugin"] == ORIGIN
    assert "plugin" not in metrics["fid"]
    assert listed.stderr.count("broken-one 0.1") == 1
    assert "OSError: no such thing" in listed.stderr
    assert listed.stderr.count("taken-name 0.2") == 1
    assert "the metric 'fid' is built in" in listed.stderr
    found = json.loads(run(site, "doctor", "--json").stdout)
    assert found["Plug-ins"]["gan-metrics-example 1.2: example"] == "loaded"
    assert "no such thing" in found["Plug-ins"]["broken-one 0.1: example"]
    assert "tiny-edges" not in found["Weights"]
    backbones = json.loads(run(site, "backbones", "--json").stdout)
    assert backbones["tiny-edges"]["plugin"] == ORIGIN


def test_names_that_are_built_in_load_no_plug_in(site: Path) -> None:
    code = """
import sys
import gan_metrics as gm
from gan_metrics.backbones.registry import is_built_in, recipe_of
from gan_metrics.protocols.table import protocol_for

gm.METRICS["fid"], gm.PROTOCOLS["tf1"], gm.BACKBONES["resnet50"]
assert "kid" in gm.METRICS and recipe_of("torchvision:alexnet") and protocol_for("ttur")
assert not is_built_in("tiny-edges")
import gan_metrics.analysis.reproduction, gan_metrics.api, gan_metrics.cli.app
assert "gan_metrics_example" not in sys.modules
assert "tiny-edges" in gm.BACKBONES
assert "gan_metrics_example" in sys.modules
assert not is_built_in("tiny-edges")  # a file still does not choose it
"""
    done = run(site, "-c", code)
    assert done.returncode == 0, done.stderr


def test_what_is_half_registered_is_removed(site: Path) -> None:
    code = BLOCKS["python"].replace('"energy",', '"energy2",')
    code = code.replace('"tiny-edges",', '"resnet50",')  # after the metric
    install(site, "half-done", "1", code)
    check = "import gan_metrics as gm; assert 'energy' in gm.METRICS; "
    check += "assert 'energy2' not in gm.METRICS, list(gm.METRICS)"
    done = run(site, "-c", check)
    assert done.returncode == 0, done.stderr
    assert "half-done 1" in done.stderr


def test_a_metric_that_fails_leaves_the_others(site: Path, tmp_path: Path) -> None:
    code = BLOCKS["python"].replace(
        "    X, Y = X.astype", "    raise KeyError('x')\n    X = X.astype"
    )
    (site / "gan_metrics_example.py").write_text(code)
    check = """
import numpy as np, gan_metrics as gm
from gan_metrics.metrics.registry import compute
class Set:
    array = np.random.default_rng(0).normal(size=(20, 3))
    moments = gm.Moments.from_features(array)
found = compute([gm.METRICS["fid"], gm.METRICS["energy"]], Set, Set)
assert isinstance(found["energy"], gm.ComputationError), found
assert "gan-metrics-example 1.2 failed (KeyError: 'x')" in str(found["energy"])
assert found["fid"].value < 1e-9
"""
    done = run(site, "-c", check)
    assert done.returncode == 0, done.stderr


def test_the_examples_of_the_functions() -> None:
    code = (
        "import doctest, gan_metrics.plugins as p; found = doctest.testmod(p); "
        "assert found.attempted > 15 and not found.failed, found"
    )
    done = run(Path(), "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_registered_in_a_script() -> None:
    code = """
import gan_metrics as gm
from gan_metrics import plugins
from gan_metrics.results.result import plugins_used
plugins.register_metric("mine", lambda X, Y, **_: 1.0, summary="one", needs="features")
assert plugins_used("mine", gm.FeatureSpec(), None) == (("__main__", ""),)
assert plugins_used("fid", gm.FeatureSpec(), "tf1") == ()
for name, how in [
    ("fd", {}), ("prdc", {}), ("all", {}), ("Mine", {}), ("a,b", {}),
    ("other", {"needs": "pixels"}), ("other", {"sides": 3}), ("other", {"better": "more"}),
]:
    try:
        plugins.register_metric(name, print, summary="", **how)
    except gm.UsageError:
        continue
    raise AssertionError((name, how))
try:
    plugins.register_protocol("p", {"fid": (gm.FeatureSpec(), {})}, summary="", aliases=("ttur",))
except gm.UsageError as error:
    assert "'ttur'" in str(error)
else:
    raise AssertionError
"""
    done = run(Path(), "-c", code)
    assert done.returncode == 0, done.stderr
