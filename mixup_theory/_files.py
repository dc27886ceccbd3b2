"""Files that are whole or absent: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_bytes_atomic", "write_json_atomic", "write_parquet_atomic", "write_text_atomic"]


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write bytes so that a kill at any moment leaves the old file or the new one, never a part of it.

    The folder is made when it is missing. A kill may leave `.NAME.*.tmp` behind, which nothing reads.

    Args:
        path: The file to write.
        data: Its content.

    Returns:
        The path written.

    Raises:
        OSError: If the folder cannot be made or written; the message names the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes_atomic(Path(folder) / "a" / "b.bin", b"12").read_bytes()
        b'12'
    """
    path = Path(path)
    # The process id and a random token keep two writers of one file apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())  # a full disk shows here, before the old file is replaced
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # gone after the rename; kept by nobody after an error
                temporary.unlink()
    except OSError as error:
        raise OSError(
            error.errno,
            f"Cannot write {path.name} in the folder {path.parent}: {error.strerror}. "
            "Free some space there or choose a folder that can be written",
        ) from error
    return path


def write_text_atomic(path: str | os.PathLike[str], text: str) -> Path:
    """Write UTF-8 text as `write_bytes_atomic` does; return the path."""
    return write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> Path:
    """Write indented JSON as `write_bytes_atomic` does; return the path.

    Args:
        path: The file to write.
        value: Anything JSON can say; numpy scalars and arrays are converted.

    Returns:
        The path written.

    Raises:
        ValueError: If the value holds NaN, an infinity, or a thing JSON cannot say.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`value` for {Path(path).name} must be JSON without NaN, got: {error}.") from error
    return write_text_atomic(path, text + "\n")


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays into what the json module knows."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_parquet_atomic(path: str | os.PathLike[str], frame: pd.DataFrame) -> Path:
    """Write a DataFrame, without its index, as `write_bytes_atomic` does; return the path."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return write_bytes_atomic(path, buffer.getvalue())
