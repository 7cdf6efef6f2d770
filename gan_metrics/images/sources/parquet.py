"""Parquet files with a column of encoded images."""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from pathlib import Path
from typing import Any

from gan_metrics.errors import ImageError, InputError
from gan_metrics.files.probe import Probe, probe
from gan_metrics.files.process_lock import ProcessLock
from gan_metrics.images.sources.file_names import numbered
from gan_metrics.utils.optional import require

__all__ = ["ParquetSource"]

_BYTES = "bytes"
_KEPT = 2
"""Row groups that are kept, because threads read ahead of each other."""


class ParquetSource:
    """The images of a column: bytes, or a struct with ``bytes`` as written by ``datasets``.

    Memory does not grow with the file: two of its row groups are held.

    Args:
        given: The file, or its probe.
        column: The column; ``None``: the only one of a suitable type, or the one named ``image``.

    Attributes:
        description: The file's path.
        names: ``"000000"``, ``"000001"``, …: the rows.
        warnings: Always empty.

    Raises:
        InputError: If it is broken, or the column is missing or ambiguous.
    """

    warnings = ()

    def __init__(self, given: Path | Probe, column: str | None = None) -> None:
        require("pyarrow.parquet", "formats")
        looked = given if isinstance(given, Probe) else probe(given)
        looked.check()
        path = looked.path
        self.description, self._path = str(path), path
        found = [name for name, holds_bytes in looked.columns.items() if holds_bytes]
        if column is None and len(found) > 1:
            column = next((name for name in ("image", "img") if name in found), None)
            if column is None:
                raise InputError(
                    f"{path} has several columns of bytes: {', '.join(found)}; name one, as in "
                    f"{path}:{found[0]}"
                )
        column = found[0] if column is None and found else column
        if column not in found:
            raise InputError(
                f"{path} has no column of images{f' named {column!r}' if column else ''}; columns "
                f"of bytes: {', '.join(found) or 'none'}"
            )
        self._column = column
        about = _open(path).metadata
        groups = (about.row_group(i).num_rows for i in range(about.num_row_groups))
        self._ends = list(itertools.accumulate(groups))
        if not self._ends or not self._ends[-1]:
            raise InputError(f"{path} has no rows")
        self.names = numbered(self._ends[-1])
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {k: value for k, value in vars(self).items() if k not in ("_lock", "_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def _reset(self) -> None:
        self._lock = ProcessLock()
        self._groups: OrderedDict[int, Any] = OrderedDict()

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; see :meth:`ImageSource.read`."""
        index = range(len(self.names))[index]
        which = bisect.bisect_right(self._ends, index)
        start = self._ends[which - 1] if which else 0
        with self._lock:
            if which not in self._groups:
                try:
                    table = _open(self._path).read_row_group(which, columns=[self._column])
                except Exception as error:  # pyarrow's exceptions, and OSError
                    raise ImageError(f"cannot read row group {which}: {error}") from None
                self._groups[which] = table.column(0)
                if len(self._groups) > _KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(which)
            cell = self._groups[which][index - start].as_py()
        data = cell.get(_BYTES) if isinstance(cell, dict) else cell
        if not data:
            raise ImageError("this row has no bytes")
        return bytes(data)


def _open(path: Path) -> Any:
    parquet = require("pyarrow.parquet", "formats")
    try:
        return parquet.ParquetFile(path)
    except Exception as error:  # pyarrow's exceptions, and OSError
        raise InputError(f"{path} is broken or not a Parquet file: {error}") from None
