"""The records of the peers: of which images and weights they are, and what the peers give today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import RECORDERS, RECORDS, STEP, Answers, Inputs, Recorder
from tolerances import FEATURES, frechet_error, path_length_error


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, inception_weights: Path) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), inception_weights)


def test_there_is_a_record_for_each_recorder() -> None:
    assert sorted(RECORDS.iterdir()) == sorted(recorder.path for recorder in RECORDERS.values())


@pytest.mark.parametrize(
    "name", ["inception", "vgg16", "mixed", "clustered", "many", "flawed", "scenes"]
)
def test_images_and_weights_are_those_of_the_records(name: str, inputs: Inputs) -> None:
    """Bit by bit, on every processor: else the records would be of something else."""
    recorded = [r.read()["inputs"][name] for r in RECORDERS.values() if name in r.inputs]
    assert recorded
    assert set(recorded) == {inputs.digest(name)}


def error(answers: Answers, name: str) -> dict[str, Any]:
    """The tolerance of an answer: arguments of ``assert_allclose``."""
    kind, _, layer = name.rpartition("-")
    if kind in ("features", "flawed"):
        return {"rtol": 0, "atol": FEATURES * answers[f"largest-{layer}"]}
    if kind in ("fid", "printed-many", "fid-many"):
        return {"rtol": 0, "atol": frechet_error(answers[name], answers[f"largest-{layer}"])}
    if kind == "ppl":
        return {"rtol": path_length_error(STEP, 24 * 64 * 64)}
    if kind == "printed":  # the square root of a singular matrix
        return {"rtol": 1e-3}
    if name == "is":  # mean and standard deviation
        return {"rtol": 0, "atol": 1e-5}
    return {"rtol": FEATURES}


def numbers(answer: Any) -> list[float]:
    """All numbers of an answer, in order."""
    if not isinstance(answer, list | tuple):
        return [answer]
    return [number for part in answer for number in numbers(part)]


@pytest.mark.slow
@pytest.mark.parametrize("recorder", RECORDERS.values(), ids=str)
def test_the_peer_gives_what_is_recorded(
    recorder: Recorder, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not recorder.installed:
        pytest.skip(f"{recorder.package} is not installed")
    monkeypatch.setenv("TORCH_HOME", str(inputs.torch_home))
    recorded, found = recorder.read(), recorder.run(inputs)
    assert found["inputs"] == recorded["inputs"]
    answers = recorded["answers"]
    assert found["answers"].keys() == answers.keys()
    for name, answer in found["answers"].items():
        np.testing.assert_allclose(
            numbers(answer), numbers(answers[name]), err_msg=name, **error(answers, name)
        )
