"""Results on disk: one JSON file per run, its arrays beside it, each checked by SHA-256 whenever it is read."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import write_bytes_atomic, write_json_atomic

__all__ = ["DamagedEntry", "cache_folder", "read_arrays", "read_row", "write_entry"]

CACHE_VARIABLE = "MIXUP_CACHE"
FRESH_VARIABLE = "MIXUP_FRESH_SINCE"  # seconds since 1970: entries written before count as absent


class DamagedEntry(Exception):
    """A cache entry that is not what was written; the message names the file and says what is wrong."""


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the cache: the one given, else `MIXUP_CACHE`, else a folder of the user.

    Args:
        cache_dir: A folder, or None.

    Returns:
        Its path; it need not exist.
    """
    if cache_dir is None:
        cache_dir = os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "mixup_theory" / "runs"
    return Path(cache_dir)


def _entry(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.json"


def _text(value: Any) -> Any:
    """Write the numbers JSON has no form for as words."""
    if isinstance(value, dict):
        return {name: _text(v) for name, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_entry(
    folder: Path, key: str, config: dict[str, Any], row: dict[str, Any], arrays: dict[str, NDArray]
) -> None:
    """Write one run: its arrays first, then the JSON file that names them, so that a kill leaves all or nothing.

    Args:
        folder: Folder of the cache.
        key: Key of the run.
        config: Fields of its config, for a reader of the file.
        row: Its row.
        arrays: Its arrays; the file is named by its content, so two writers cannot spoil each other's.

    Raises:
        OSError: If the folder cannot be written.
    """
    path, stored = _entry(folder, key), None
    if arrays:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        data = buffer.getvalue()
        stored = {
            "name": f"{key}.{hashlib.sha256(data).hexdigest()[:8]}.npz",
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        write_bytes_atomic(path.with_name(stored["name"]), data)
    content = {"key": key, "config": _text(config), "row": _text(row), "arrays": stored}
    write_json_atomic(path, {**content, "sha256": _digest(content)})


def _read(folder: Path, key: str) -> dict[str, Any] | None:
    path, since = _entry(folder, key), float(os.environ.get(FRESH_VARIABLE) or 0)
    try:
        if path.stat().st_mtime < since:
            return None
        content = json.loads(path.read_bytes())
        digest = content.pop("sha256")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DamagedEntry(f"{path} is not a whole JSON entry") from None
    if digest != _digest(content) or content.get("key") != key:
        raise DamagedEntry(f"{path} does not match its checksum")
    return content


def _array_bytes(folder: Path, key: str, stored: dict[str, str]) -> bytes:
    path = _entry(folder, key).with_name(stored["name"])
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedEntry(f"{path} is missing") from None
    if hashlib.sha256(data).hexdigest() != stored["sha256"]:
        raise DamagedEntry(f"{path} does not match its checksum")
    return data


def read_row(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the row of a run, having checked it and its arrays.

    Args:
        folder: Folder of the cache.
        key: Key of the run.

    Returns:
        The row, or None if the run is not there.

    Raises:
        DamagedEntry: If a file is not what was written.
    """
    content = _read(folder, key)
    if content is None:
        return None
    if content["arrays"]:
        _array_bytes(folder, key, content["arrays"])
    return {name: _number(value) for name, value in content["row"].items()}


def read_arrays(folder: Path, key: str) -> dict[str, NDArray] | None:
    """Read the arrays of a run.

    Args:
        folder: Folder of the cache.
        key: Key of the run.

    Returns:
        Arrays by name (none if none were asked for), or None if the run is not there.

    Raises:
        DamagedEntry: If a file is not what was written.
    """
    content = _read(folder, key)
    if content is None or not content["arrays"]:
        return None if content is None else {}
    data = _array_bytes(folder, key, content["arrays"])
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return dict(stored)
