"""The pictures of concepts.md, drawn by the notebooks: `python docs/pictures.py`."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = {
    "disturbances": ("04_what_fid_sees", 1),
    "number-of-images": ("05_bias_and_error_bars", 0),
    "collapse-and-invention": ("07_precision_recall_memorization", 0),
}
"""Name of a picture to the notebook that draws it, and its place among the pictures there."""


def drawn(notebook: str) -> list[bytes]:
    """The pictures of a notebook, executed, as PNG."""
    path = ROOT / "notebooks" / f"{notebook}.ipynb"
    book = nbformat.read(path, 4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    found = [
        output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", ())
    ]
    return [base64.b64decode(one) for one in found]


def main() -> None:
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    for name, (notebook, place) in PICTURES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with Image.open(io.BytesIO(drawn(notebook)[place])) as picture:
            few_colours = picture.convert("RGB").quantize(64)
        few_colours.save(folder / f"{name}.png", optimize=True)
        print(name, (folder / f"{name}.png").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
