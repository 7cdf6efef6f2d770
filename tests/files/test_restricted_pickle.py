"""What a pickle could do to the one who reads it, beside running code."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gan_metrics.errors import InputError
from gan_metrics.files import pickle_stand_ins, restricted_pickle
from gan_metrics.files.restricted_pickle import PickledArray, read_pickle

HUGE = struct.pack("<I", 0x7FFFFFFF)


def read(path: Path, program: bytes) -> object:
    path.write_bytes(program)
    return read_pickle(path)


@pytest.mark.parametrize(
    "name", sorted(pickle_stand_ins._STAND_INS), ids=lambda name: str(name).replace(".", "-")
)
def test_no_pickle_changes_a_stand_in(tmp_path: Path, name: str) -> None:
    module, _, function = name.rpartition(".")
    named = f"c{module}\n{function}\n".encode()
    for state in (b"}X\x05\0\0\0_makeNs", b"N}X\x05\0\0\0_makeNs\x86", b"}X\x01\0\0\0aK\x01s"):
        with pytest.raises(InputError, match=r"x\.pkl is"):
            read(tmp_path / "x.pkl", b"\x80\x02" + named + state + b"b.")
    held = read(tmp_path / "x.pkl", pickle.dumps({"mu": np.arange(3.0)}, 4))
    assert isinstance(held, dict)
    np.testing.assert_array_equal(held["mu"].array(), np.arange(3.0))


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02Nr" + HUGE + b".",
        b"\x80\x02Np2147483647\n.",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
        b"\x80\x04B" + HUGE + b"x.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 30) + b"x.",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 30) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 30) + b"x.",
        b"\x80\x02\x8b" + HUGE + b"x.",
        b"\x80\x02X" + HUGE + b"x.",
        b"\x80\x02T" + HUGE + b"x.",
    ],
)
def test_a_length_beyond_the_file_takes_no_memory(tmp_path: Path, program: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.pkl is"):
        read(tmp_path / "x.pkl", program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_no_end_of_instructions_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restricted_pickle, "_MOST_INSTRUCTIONS", 1000)
    with pytest.raises(InputError, match="more than 1,000 instructions"):
        read(tmp_path / "x.pkl", b"\x80\x02" + b"N0" * 1000 + b"N.")
    assert read(tmp_path / "x.pkl", b"\x80\x02" + b"N0" * 400 + b"N.") is None


@pytest.mark.parametrize("end", [b"}h%cK\x01s.", b"}(h%cK\x01u.", b"(h%cK\x01d."])
def test_a_key_that_takes_forever_to_hash_is_refused(tmp_path: Path, end: bytes) -> None:
    """A tuple that holds another one twice, 200 times over."""
    tower = b"\x80\x02)q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(200))
    with pytest.raises(InputError, match="keys of a dict"):
        read(tmp_path / "x.pkl", tower + end % 200)


def test_every_sort_of_plain_data_comes_back(tmp_path: Path) -> None:
    value = {
        "text": ["ä" * 300, "", "\n"],
        "numbers": (1, -1, 300, 1 << 40, -(1 << 40), 1.5, True, False, None),
        3: {"bytes": [b"x" * 300, b""], "nested": [[], {}, (), ((1,), (1, 2), (1, 2, 3, 4))]},
    }
    value["again"] = value["text"]
    for protocol in range(2, 6):
        assert read(tmp_path / "x.pkl", pickle.dumps(value, protocol)) == value
    many = {str(i): i for i in range(2000)}
    assert read(tmp_path / "x.pkl", pickle.dumps(many)) == many


def test_an_array_without_a_type_is_an_error_when_it_is_made(tmp_path: Path) -> None:
    program = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R."
    held = read(tmp_path / "x.pkl", b"\x80\x04" + program)
    assert isinstance(held, PickledArray)
    with pytest.raises(ValueError, match="no type"):
        held.array()
