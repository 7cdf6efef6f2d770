"""Saved features: names, rows and a header with their feature space, in four formats.

torch-fidelity's features, a ``.pt`` with one tensor, can also be read.

=============== ==============================================================================
``.npz``        arrays ``features``, ``names`` and ``header`` (JSON)
``.npy``        only the array, which can be memory-mapped; names and header are in
                ``….npy.json`` next to it
``.safetensors``  tensors ``features`` and ``names`` (UTF-8 JSON); the header in the metadata
``.parquet``    columns ``name`` and ``features`` (a list of fixed length); the header in the
                schema's metadata; needs the extra ``formats``
=============== ==============================================================================

Files are written in blocks of rows, so memory does not grow with the number of rows, and completely
or not at all. Pickled objects are never loaded.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import GanMetricsError, InputError, NotFoundError, UsageError, unreadable
from gan_metrics.features.features import Features
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.files.npz import StoredArray, read_arrays
from gan_metrics.files.probe import TORCH, Probe, probe
from gan_metrics.files.restricted_pickle import PickledArray, open_torch
from gan_metrics.images.sources.array_file import is_image_batch
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text, dumps, loads
from gan_metrics.utils.versions import versions

__all__ = [
    "FORMATS",
    "check_format",
    "claims_features",
    "load_features",
    "read_features",
    "save_features",
]

FORMATS = (".npz", ".npy", ".safetensors", ".parquet")
"""Lower-case extensions of feature files."""

_FORMAT = "gan-metrics features 1"
_ROWS = 4096
"""Rows that are written or read at a time."""

_Array = npt.NDArray[np.float32]
_FLOAT32 = np.finfo(np.float32)


def check_format(path: Path) -> None:
    """Refuse a file that features cannot be written to, before any work starts.

    Raises:
        UsageError: If its extension is not in :data:`FORMATS`, its extra is missing, or it is a
            folder.
    """
    check_target(path)
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: features can be saved as {', '.join(FORMATS)}; use one of these")
    if path.suffix.lower() == ".npy":
        check_target(_beside(path))
    if path.suffix.lower() == ".parquet":
        require("pyarrow.parquet", "formats")


def claims_features(found: Probe) -> bool:
    """Whether a file contains saved features, by its extension and content.

    Args:
        found: The probe of the file.
    """
    if found.suffix in TORCH:
        return found.is_one_tensor and len(found.arrays[""].shape) == 2
    if found.suffix not in FORMATS or found.container == "folder" or is_image_batch(found):
        return False
    if found.suffix == ".npz":
        return "features" in found.arrays
    if found.suffix == ".npy" and "" in found.arrays:
        return len(found.arrays[""].shape) < 3 or _beside(found.path).exists()
    return found.suffix != ".parquet" or "features" in found.columns


def save_features(features: Features, path: str | os.PathLike[str]) -> Path:
    """Write features with their names and feature space.

    Args:
        features: The features, from :func:`gan_metrics.extract_features`.
        path: The file to write; the extension selects the format.

    Returns:
        The path.

    Raises:
        UsageError: For an extension that is not in :data:`FORMATS`, or a missing extra.
        ResourceError: If the disk is full or not writable.
    """
    path = Path(path)
    check_format(path)
    write = {
        ".npz": _write_npz,
        ".npy": _write_npy,
        ".safetensors": _write_safetensors,
        ".parquet": _write_parquet,
    }[path.suffix.lower()]
    write(path, features, _header_of(features))
    return path


def load_features(path: str | os.PathLike[str]) -> Features:
    """Read saved features: of gan-metrics, or a plain array of ``n × D`` numbers in ``.npy``.

    ``.npy`` and ``.safetensors`` are memory-mapped and read when needed.

    Args:
        path: The file; its extension determines the format.

    Returns:
        The features; fields of the feature space that the file does not state are ``None``.

    Raises:
        NotFoundError: If it does not exist.
        InputError: If it is broken, or its parts do not match.
        UsageError: If the extra for the format is missing.
    """
    return read_features(probe(path))


def read_features(found: Probe) -> Features:
    """Read saved features; see :func:`load_features`.

    Args:
        found: The probe of the file.

    Raises:
        InputError, UsageError: As for :func:`load_features`.
    """
    path = found.path
    read = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".safetensors": _read_safetensors,
        ".parquet": _read_parquet,
        **dict.fromkeys(TORCH, _read_torch),
    }.get(found.suffix)
    if read is None:
        raise UsageError(f"{path}: saved features end in {', '.join(FORMATS)}")
    found.check()
    try:
        array, names, header = read(found)
        return _features(path, array, names, header)
    except (GanMetricsError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"{error.filename or path} does not exist") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # the formats' libraries raise nearly anything on broken bytes
        raise InputError(
            f"{path} does not contain readable features ({type(error).__name__}: {error}); save "
            "them again"
        ) from None


def _features(
    path: Path, array: _Array, names: Sequence[str] | None, header: Mapping[str, Any]
) -> Features:
    if array.ndim < 2 or array.dtype.kind != "f":
        raise InputError(
            f"{path} contains {array.dtype} of shape {array.shape}; expected floats, n × D"
        )
    if header.get("format", _FORMAT) != _FORMAT:
        raise InputError(f"{path} has the format {header['format']!r}; expected {_FORMAT!r}")
    if array.dtype.itemsize > 4:
        _check_range(path, array)
    if names is None:
        names = [str(i) for i in range(len(array))]
    if len(names) != len(array):
        raise InputError(f"{path} has {len(array)} rows and {len(names)} names")
    checksum = zlib.crc32(_json_bytes([as_text(name) for name in names]))
    for start, block in _blocks(array):
        finite = np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
        if not finite.all():
            bad = names[start + int(np.argmin(finite))]
            raise InputError(f"{path}: the features of {bad!r} contain NaN or infinity")
        checksum = zlib.crc32(block.tobytes(), checksum)
    if header.get("crc32", checksum) != checksum:
        raise InputError(
            f"{path}: rows or names differ from those the header was written for; save the "
            "features again, or use the array without its .json file"
        )
    source = header.get("source", {})
    return Features(
        names=names,
        array=array if array.dtype == np.float32 else np.asarray(array, np.float32),
        spec=FeatureSpec.from_json(header.get("feature_spec") or {}),
        skipped=[(str(name), str(why)) for name, why in source.get("skipped_files", ())],
        digest=str(source.get("digest", "")),
        warnings=[(str(w["code"]), str(w["message"])) for w in header.get("warnings", ())],
        protocol=header.get("protocol"),
        description=str(path),
    )


def _header_of(features: Features) -> dict[str, Any]:
    checksum = zlib.crc32(_json_bytes([as_text(name) for name in features.names]))
    for _, block in _blocks(features.array):
        checksum = zlib.crc32(block.tobytes(), checksum)
    return {
        "format": _FORMAT,
        "n": len(features.array),
        "shape": list(features.array.shape[1:]),
        "crc32": checksum,
        "feature_spec": features.spec.to_json(),
        "protocol": features.protocol,
        "source": {
            "digest": features.digest,
            "skipped_files": [list(pair) for pair in features.skipped],
        },
        "warnings": [{"code": c, "message": m} for c, m in features.warnings],
        "versions": versions(),
    }


def _check_range(path: Path, array: npt.NDArray[Any]) -> None:
    """Check that float64 values fit into float32.

    Raises:
        InputError: If the largest one would become infinite, or all would become zero.
    """
    largest = 0.0
    for start in range(0, len(array), _ROWS):
        block = np.abs(array[start : start + _ROWS])
        largest = max(largest, float(block.max(initial=0.0, where=np.isfinite(block))))
    if largest > float(_FLOAT32.max) or 0 < largest < float(_FLOAT32.tiny):
        raise InputError(
            f"{path} contains values of up to {largest:g}, too large or small for float32; "
            "multiply the features of all sets by one constant"
        )


def _blocks(array: _Array) -> Iterator[tuple[int, _Array]]:
    """Yield some rows at a time, so that a mapped file is not kept in memory."""
    mapping = getattr(array, "_mmap", None)
    for start in range(0, len(array), _ROWS):
        yield start, np.ascontiguousarray(array[start : start + _ROWS], np.float32)
        if mapping is not None and hasattr(mapping, "madvise"):
            mapping.madvise(mmap.MADV_DONTNEED)


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False).encode()


def _write_rows(file: IO[bytes], array: _Array) -> None:
    for _, block in _blocks(array):
        file.write(block.tobytes())


def _write_npy_array(file: IO[bytes], array: _Array) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_2_0(file, header)
    _write_rows(file, array)


def _write_npz(path: Path, features: Features, header: dict[str, Any]) -> None:
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        with archive.open("features.npy", "w", force_zip64=True) as file:
            _write_npy_array(file, features.array)
        for name, text in (
            ("names", np.array([*features.names], dtype=str)),
            ("header", np.array(dumps(header))),
        ):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, text, allow_pickle=False)


def _write_npy(path: Path, features: Features, header: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            _write_npy_array(file, features.array)
        with atomic_path(_beside(path)) as text:
            text.write_bytes(_json_bytes({**header, "names": list(features.names)}))


def _write_safetensors(path: Path, features: Features, header: dict[str, Any]) -> None:
    names = _json_bytes(list(features.names))
    size = features.array.size * 4
    about = {
        "__metadata__": {"gan_metrics": dumps(header)},
        "features": {
            "dtype": "F32",
            "shape": list(features.array.shape),
            "data_offsets": [0, size],
        },
        "names": {"dtype": "U8", "shape": [len(names)], "data_offsets": [size, size + len(names)]},
    }
    text = _json_bytes(about)
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        _write_rows(file, features.array)
        file.write(names)


def _write_parquet(path: Path, features: Features, header: dict[str, Any]) -> None:
    pa = require("pyarrow", "formats")
    parquet = require("pyarrow.parquet", "formats")
    dim = math.prod(features.array.shape[1:])
    schema = pa.schema(
        [("name", pa.string()), ("features", pa.list_(pa.float32(), dim))],
        metadata={"gan_metrics": dumps(header)},
    )
    with (
        atomic_path(path) as temporary,
        parquet.ParquetWriter(os.fspath(temporary), schema) as writer,
    ):
        for start, block in _blocks(features.array):
            names = [as_text(n) for n in features.names[start : start + len(block)]]
            lists = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), dim)
            writer.write_table(pa.table([pa.array(names, pa.string()), lists], schema=schema))


def _read_npz(found: Probe) -> tuple[_Array, list[str] | None, dict[str, Any]]:
    names = {*found.arrays, *found.other_members}
    if names not in ({"features"}, {"features", "names", "header"}):
        raise ValueError(
            f"it contains {', '.join(sorted(names))}; expected features, names, header"
        )
    with found.opened() as file:
        held = read_arrays(file, found.arrays)
    header = loads(str(held["header"][()])) if "header" in held else {}
    listed = [str(n) for n in held["names"]] if "names" in held else None
    return held["features"], listed, header


def _read_npy(found: Probe) -> tuple[_Array, list[str] | None, dict[str, Any]]:
    array = _mapped(found.arrays[""])
    if not _beside(found.path).exists():
        return array, None, {}
    header = loads(_beside(found.path).read_bytes())
    return array, [str(n) for n in header.pop("names")], header


def _read_safetensors(found: Probe) -> tuple[_Array, list[str] | None, dict[str, Any]]:
    if extra := set(found.arrays) - {"features", "names"}:
        raise ValueError(f"it contains {', '.join(sorted(extra))} in addition to features")
    if (features := found.arrays["features"]).dtype != np.float32:
        raise ValueError(f"features are {features.dtype}, not float32")
    text = found.metadata.get("gan_metrics")
    if "names" not in found.arrays:
        return _mapped(features), None, loads(text) if text else {}
    if not text:
        raise ValueError("it has names but no header")
    with open(found.path, "rb") as file:
        array = _mapped(features, file)
        file.seek(found.arrays["names"].offset or 0)
        names = loads(file.read(math.prod(found.arrays["names"].shape)))
    return array, [str(n) for n in names], loads(text)


def _mapped(stored: StoredArray, file: BinaryIO | None = None) -> _Array:
    """Return an array that is read from its file when used.

    Args:
        stored: The array.
        file: Its file, if it is open.
    """
    stored.refuse_objects()
    order: Literal["C", "F"] = "F" if stored.fortran else "C"
    where: Any = file or stored.path
    return np.memmap(where, stored.dtype, "r", stored.offset or 0, stored.shape, order)


def _read_torch(found: Probe) -> tuple[_Array, list[str] | None, dict[str, Any]]:
    """Read torch-fidelity's features: one tensor, N × D."""
    path = found.path
    with open_torch(path) as held:
        if not isinstance(held, PickledArray):
            raise InputError(f"{path} contains a {type(held).__name__}; expected one tensor, N × D")
        array = held.array()
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise InputError(
            f"{path} contains {array.dtype} of shape {array.shape}; expected floats, N × D"
        )
    return array, None, {}


def _read_parquet(found: Probe) -> tuple[_Array, list[str], dict[str, Any]]:
    parquet = require("pyarrow.parquet", "formats")
    compute = require("pyarrow.compute", "formats")
    with open(found.path, "rb") as opened, parquet.ParquetFile(opened) as file:
        metadata = file.schema_arrow.metadata or {}
        text = metadata.get(b"gan_metrics")
        header = loads(text) if text else {}
        parts, names = [], []
        lengths: set[int | None] = set()
        for batch in file.iter_batches(_ROWS):
            features = batch.column("features")
            lengths |= set(compute.list_value_length(features).to_pylist())
            if len(lengths) != 1 or None in lengths:
                raise ValueError("its lists of features have different lengths")
            names += batch.column("name").to_pylist()
            flat = features.flatten().to_numpy(zero_copy_only=False)
            parts.append(np.asarray(flat, np.float32).reshape(batch.num_rows, -1))
    array = np.concatenate(parts)
    shape = header.get("shape") or [array.shape[1]]
    return array.reshape(len(array), *shape), names, header


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")
