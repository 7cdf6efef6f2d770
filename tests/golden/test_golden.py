"""Golden records: what commands and calls gave before, they give now.

A record holds a command line or the name of a call and what came of it: the document, stderr, the
exit code, the files that were written. ``record.py`` makes records again; do so only for a change
that is meant, and read the difference. Documents are the same but for ``versions``; numbers are
within what :class:`golden_compare.Allowed` derives, or within 1e-9 where
``GAN_METRICS_GOLDEN_EXACT=1`` says that this is the machine that made the records.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden_inputs as inputs
import pytest
import record
from filelock import FileLock
from golden_commands import EMBEDDED, HELP_FAST
from golden_compare import Allowed, differences
from golden_files import decoder_versions
from golden_runs import inside, normal

FILES = inputs.FILES
MADE = dict(record.records())


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden")
    inputs.build(root)
    return root


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once, for all workers."""
    shared = tmp_path_factory.getbasetemp().parent
    path = shared / "golden-inception.safetensors"
    with FileLock(shared / "golden-inception.lock"):
        if not path.exists():
            inputs.write_inception(path.with_suffix(".part")).rename(path)
    return path


@pytest.fixture
def root(ready: Path, tmp_path: Path) -> Path:
    """A folder of the inputs for one test, which it may write into."""
    return Path(shutil.copytree(ready, tmp_path / "inputs"))


def _is_slow(made: Any) -> bool:
    return made not in HELP_FAST if isinstance(made, str) else bool(made.slow)


def _parameters() -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] * _is_slow(made), id=name)
        for name, made in MADE.items()
    ]


@pytest.mark.parametrize("name", _parameters())
def test_record(name: str, root: Path, request: pytest.FixtureRequest) -> None:
    made = MADE[name]
    if getattr(made, "inception", False):
        (root / "inception.safetensors").symlink_to(request.getfixturevalue("inception"))
    recorded = json.loads((record.RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    allowed = Allowed(getattr(made, "network", None))
    found = json.loads(json.dumps(record.run(made, root)))
    assert not "\n".join(differences(recorded, found, allowed))


def test_every_record_is_made() -> None:
    assert {path.stem for path in record.RECORDS.iterdir()} == set(MADE)


@pytest.mark.skipif(
    json.loads((FILES / "decoder.json").read_text(encoding="utf-8")) != decoder_versions(),
    reason="keys of the cache name the libraries that decode images, and these are others",
)
def test_the_cache_of_an_earlier_version_is_hit(root: Path) -> None:
    """Its features are taken without torch, and nothing is added to it."""
    script = "import sys\nfrom gan_metrics.cli import main\ntry:\n main()\nfinally:\n"
    script += " print('torch' in sys.modules, file=sys.stderr)"
    args = ["fid", "real", "fake", "--backbone", "efficientnet-lite0", "--cache", "files/cache"]
    kept = _bytes_of(root / "files" / "cache")
    with inside(root):
        done = subprocess.run(
            [sys.executable, "-c", script, *args, "--json", "--no-error-bars"],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    assert done.stderr.splitlines()[-1] == "False"
    assert _bytes_of(root / "files" / "cache") == kept
    recorded = json.loads((record.RECORDS / "command-fid-images-json.json").read_text("utf-8"))
    document = normal(json.loads(done.stdout), root)
    assert not "\n".join(differences(recorded["document"], document, Allowed(EMBEDDED)))


def _bytes_of(folder: Path) -> dict[str, bytes]:
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found
    return found
