from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan_metrics.errors import ImageError, InputError
from gan_metrics.inputs.opening import open_source


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_the_order_is_that_of_the_bytes_of_the_paths(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a/z.JPG", "a.webp", "a/é.gif", "B.tiff", "a-.bmp", "10.png", "9.png")
    names = list(open_source(tmp_path).names)
    assert names == sorted(names, key=os.fsencode)
    assert names == ["10.png", "9.png", "B.tiff", "a-.bmp", "a.webp", "a/z.JPG", "a/é.gif", "b.png"]


def test_not_recursive_stays_in_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "deep/b.png")
    assert list(open_source(tmp_path, recursive=False).names) == ["a.png"]


def test_what_is_not_taken_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "notes.txt", "labels.csv", ".hidden.png", "README")
    source = open_source(tmp_path)
    assert list(source.names) == ["a.png"]
    ((code, message),) = source.warnings
    assert code == "other-files"
    for part in ("1 .txt", "1 .csv", "1 hidden", "1 no extension"):
        assert part in message


def test_nothing_to_say_means_no_warning(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert not open_source(tmp_path).warnings


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "x.png")
    touch(tmp_path / "set", "a.png", "sub/b.png")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "sub" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "c.png").symlink_to(tmp_path / "set" / "a.png")
    assert list(open_source(tmp_path / "set").names) == [
        "a.png", "c.png", "linked/x.png", "sub/b.png",
    ]  # fmt: skip


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x.png/a.png")
    assert list(open_source(tmp_path).names) == ["x.png/a.png"]


def test_a_link_to_itself_is_a_bad_image_not_a_bad_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    source = open_source(tmp_path)
    assert list(source.names) == ["a.png", "loop.png"]
    with pytest.raises(ImageError, match="symbolic links"):
        source.read(1)


@pytest.mark.parametrize("kind", ["dangling", "pipe", "unreadable"])
def test_what_cannot_be_read_is_an_error_of_that_image(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "dangling":
        path.symlink_to(tmp_path / "gone.png")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()  # a folder put in the file's place after listing
        source_dir = tmp_path
        touch(source_dir, "b.png")
        path.rmdir()
        touch(source_dir, "a.png")
        source = open_source(source_dir)
        path.unlink()
        path.mkdir()
        with pytest.raises(ImageError, match="regular file"):
            source.read(0)
        return
    source = open_source(tmp_path)
    assert list(source.names) == ["a.png"]
    with pytest.raises(ImageError, match=r"cannot read|regular file"):
        source.read(0)


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        open_source(tmp_path)


def test_a_folder_without_images_names_the_extensions_seen(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b.txt", "c.md")
    with pytest.raises(InputError, match=r"2 \.txt, 1 \.md") as error:
        open_source(tmp_path)
    assert ".png" in str(error.value)


def test_images_only_below_are_hinted_at(tmp_path: Path) -> None:
    touch(tmp_path, "deep/a.png")
    with pytest.raises(InputError, match="1 subfolders were not read"):
        open_source(tmp_path, recursive=False)


def test_a_file_that_is_no_source(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(InputError, match="is a single image; expected"):
        open_source(tmp_path / "a.png")


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = [b"new\nline.png", b"\xff\xfe.png", "😀.png".encode(), b"<script>.png"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    source = open_source(tmp_path)
    assert [os.fsencode(n) for n in source.names] == sorted(names)
    assert [source.read(i) for i in range(4)] == sorted(names)
