"""PackedDigests beside each other are a sequence like another."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from gan_metrics.files.packed_digests import PackedDigests

LIST = [hashlib.sha256(bytes([i])).digest() for i in range(7)]


@pytest.mark.parametrize("room", [0, 3, 5, 100])
def test_it_is_a_sequence(room: int) -> None:
    found = PackedDigests(LIST[:5], room=room)
    for digest in LIST[5:]:
        found.append(digest)
    assert found == LIST
    assert list(found) == LIST
    assert (len(found), found[0], found[-1]) == (7, LIST[0], LIST[-1])
    assert found[1:6:2] == LIST[1:6:2]
    assert found != LIST[:6]
    assert LIST[3] in found
    assert pickle.loads(pickle.dumps(found)) == LIST
    assert not PackedDigests(room=room)
    with pytest.raises(IndexError):
        found[7]


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        PackedDigests([bytes(31)])
